import API
import Kernel
import Manifests
import Synchronization
import Testing

@testable import Web

struct WaitingPageTests {
    private func page(_ path: String, _ query: [String: String] = [:]) async throws -> String {
        try #require(try await SampleHouse().face().handle(SampleHouse.look(path, query))).page
    }

    @Test func `the inbox tells what waits, for how many, and what was said`() async throws {
        let html = try await page("/approvals")
        #expect(html.contains("shop #15: deploy into production"))
        #expect(html.contains("<dd>1 of 2</dd>"))
        #expect(html.contains("<code>9f86d081884c</code>"))
        #expect(html.contains("Approved 9f86d081884c: seen &lt;img src=x&gt;"))
        #expect(html.contains("Approved 1b4f0e985197, void: what waits has changed since"))
        #expect(html.contains("in 23 h"))
    }

    @Test func `a form to approve says what was looked at and asks why where that is wanted`() async throws {
        let html = try await page("/approvals")
        let rest = html.split(separator: "action=\"/ui/runs/run_01kb15/approve\"").last
        let own = try #require(rest?.split(separator: "</form>").first)
        #expect(own.contains("name=\"digest\" value=\"\(SampleWaiting.digest)\""))
        #expect(own.contains("name=\"comment\" rows=\"3\" maxlength=\"4000\" required"))
        #expect(own.contains("It is the last approval that was missing."))
    }

    @Test func `who may not approve is told why, and may still reject`() async throws {
        let html = try await page("/approvals")
        #expect(html.contains("You have started this run or written its commit: somebody else must approve it."))
        #expect(!html.contains("/ui/runs/run_01kb14/approve"))
        #expect(html.contains("/ui/runs/run_01kb14/reject"))
    }

    @Test func `a token that only looks is offered nothing`() async throws {
        var look = SampleHouse.look("/approvals", permission: .read)
        look.call = Call(actor: "token:viewer", correlation: "req", permission: .read)
        let html = try #require(try await SampleHouse().face().handle(look)).page
        #expect(html.contains("Your token may only look"))
        #expect(!html.contains("/reject\""))
    }

    @Test func `the navigation counts what waits at gates`() async throws {
        #expect(try await page("/runs").contains("<span class=\"count\">2<span class=\"sr\"> waiting</span></span>"))
        #expect(try await page("/approvals", ["show": "mine"]).matches(of: /aria-labelledby="gate-/).count == 1)
    }

    @Test(arguments: [
        ("approve", "approvals.approve", "", "/approvals?done=approve"),
        ("reject", "approvals.reject", "/runs/run_01kb15", "/runs/run_01kb15?done=reject"),
        ("approve", "approvals.approve", "//evil.example", "/approvals?done=approve"),
    ])
    func `a word at a gate is one operation for one digest`(
        verb: String, operation: String, back: String, target: String
    ) async throws {
        let house = SampleHouse()
        let form = [
            "stage": "deploy", "job": "deploy", "digest": SampleWaiting.digest, "comment": "seen", "back": back,
        ]
        let answer = try await house.face().handle(SampleHouse.post("/ui/runs/run_01kb15/\(verb)", form))
        #expect(try #require(answer).target == target)
        let asked = house.asked.withLock { $0 }
        #expect(asked.map(\.operation) == [operation])
        #expect(asked.first?.input["digest"]?.string == SampleWaiting.digest)
        #expect(asked.first?.input["comment"]?.string == "seen")
        #expect(asked.first?.input["stage"]?.string == "deploy")
    }

    @Test func `a refusal at a gate is shown with its hint and a way back`() async throws {
        let form = ["digest": "sha256:other", "back": "/approvals"]
        let answer = try #require(
            try await SampleHouse().face().handle(SampleHouse.post("/ui/runs/run_01kb15/approve", form)))
        #expect(answer.status == 403)
        #expect(answer.page.contains("Ana has started this run or written its commit."))
        #expect(answer.page.contains("wants the approval of somebody else"))
        #expect(answer.page.contains("href=\"/approvals\""))
    }

    @Test func `a run tells what it waits for, its gate and who may open it`() async throws {
        let html = try await page("/runs/run_01kb15")
        #expect(html.contains("id=\"wait-h\">Waiting</h2><span class=\"note\">2 jobs</span>"))
        #expect(html.contains("no runner has the label gpu"))
        #expect(html.contains("action=\"/ui/runs/run_01kb15/approve\""))
        #expect(html.contains("name=\"back\" value=\"/runs/run_01kb15\""))
    }

    @Test func `cells of a matrix stand under their job, and share a line of the graph`() async throws {
        let html = try await page("/runs/run_01kb15")
        #expect(html.contains("<div class=\"cells\">unit</div>"))
        #expect(html.contains("<span class=\"ellipsis\">debian4, 6.3</span>"))
        #expect(html.contains("aria-label=\"unit, 5 cells: Running"))
    }

    @Test func `each try of a job leads to its place in the log`() async throws {
        let html = try await page("/runs/run_01kb15", ["job": "test/unit.2"])
        #expect(html.contains("href=\"/runs/run_01kb15?job=test%2Funit.2&amp;from=60#bench\""))
        #expect(html.contains("on runner attic · runner lost · no word for 15 s"))
        let later = try await page("/runs/run_01kb15", ["job": "test/unit.2", "from": "60"])
        #expect(!later.contains("xgboost 3.2.0"))
    }

    @Test func `the queue tells why, what is needed and for how long, oldest first`() async throws {
        let html = try await page("/queue")
        let rows = html.split(separator: "<tbody>").dropFirst().first?.split(separator: "<tr>") ?? []
        #expect(rows.count == 2)
        // The gate is reached when the build ends, 5 s before the cell is ready.
        #expect(rows.first?.contains("waits for 1 of 2 approvals") == true)
        #expect(rows.last?.contains("no runner has the label gpu") == true)
        #expect(rows.last?.contains("gpu · podman · 2 cpu, 1Gi") == true)
        #expect(rows.last?.contains("8m 25s") == true)
        #expect(html.contains("1 for a runner, 1 for a gate, a turn or a time; 5 more jobs behind others of their run"))
    }

    @Test func `the fleet tells who is silent and what is taken`() async throws {
        let html = try await page("/runners")
        #expect(html.contains("2 of 3 runners heard of lately, 2 of 3 places taken"))
        #expect(html.contains("href=\"/runs/run_01kb15?job=test%2Funit.2\""))
        for word in ["Silent", "Full", "Draining"] { #expect(html.contains("</svg>\(word)</span>")) }
        #expect(html.contains("4 cpu, 8Gi"))
    }

    @Test func `a pipeline tells what sets it off and when next`() async throws {
        let html = try await page("/pipelines/employment")
        #expect(html.contains("A push to main, release/*<span class=\"sub\">when src/** changes</span>"))
        #expect(html.contains("Schedule 0 3 * * * (Europe/Berlin)"))
        #expect(html.contains("title=\"24 Nov 2026, 02:00:00 UTC\""))
    }

    @Test func `open pull requests are linked where that is a web page`() async throws {
        let html = try await page("/pipelines/employment")
        #expect(html.contains("href=\"https://forge.example/shop/pulls/6\""))
        #expect(html.contains("more into main, from a fork"))
        #expect(!html.contains("javascript:"))
    }

    @Test(
        arguments: [
            (["push": [:]], "a push to the default branch"), (["push": ["tags": ["v*"]]], "a tag v*"),
            (["push": ["branches_ignore": ["wip/*"]]], "a push to any branch but wip/*"),
            (["pull_request": ["branches": ["main"]]], "a pull request into main"), (["tag": [:]], "a tag"),
            (["pipeline": ["name": "base"]], "a run of base that ended succeeded"),
            (["model": ["name": "m", "alias": "champion"]], "alias champion of model m"),
            (["artifact": ["pipeline": "p", "name": "app"]], "artifact app of pipeline p"),
            (["webhook": [:]], "a webhook"),
        ] as [(JSONValue, String)])
    func `a trigger is told in words`(json: JSONValue, words: String) throws {
        #expect(TriggerWords.short(try TriggerSpec(json: json, at: [])) == words)
    }
}

struct CriticalPathTests {
    private func job(_ name: String, _ needs: [String], _ seconds: Double?, from start: Double = 0) -> Job {
        var job = Job()
        (job.stage, job.name, job.needs) = (name, name, needs)
        guard let seconds else { return job }
        job.started_at = Timestamp(microseconds: Int64(start * 1_000_000))
        job.finished_at = Timestamp(microseconds: Int64((start + seconds) * 1_000_000))
        job.status = .succeeded
        return job
    }

    private func path(_ jobs: [Job], now: Double = 0) -> [String] {
        JobNeeds(jobs).criticalPath(now: now).map(\.key)
    }

    @Test func `the longest chain counts, not the one with most jobs`() {
        let jobs = [
            job("a", [], 1), job("b", ["a"], 1), job("c", ["b"], 1), job("d", ["c"], 1), job("slow", ["a"], 10),
            job("end", ["d", "slow"], 2),
        ]
        #expect(path(jobs) == ["a/a", "slow/slow", "end/end"])
    }

    @Test func `a job that runs counts as far as it has come`() {
        var live = job("live", ["a"], 0, from: 5)
        (live.status, live.finished_at) = (.running, nil)
        let jobs = [job("a", [], 1), live, job("other", ["a"], 8)]
        #expect(path(jobs, now: 6) == ["a/a", "other/other"])
        #expect(path(jobs, now: 60) == ["a/a", "live/live"])
    }

    @Test func `the cells of a matrix are needed under their job's name`() {
        var short = job("test", ["a"], 2)
        (short.name, short.matrix) = ("unit.1", ["n": 1])
        var long = job("test", ["a"], 7)
        (long.name, long.matrix) = ("unit.2", ["n": 2])
        #expect(path([job("a", [], 1), short, long, job("b", ["test/unit"], 1)]) == ["a/a", "test/unit.2", "b/b"])
        #expect(path([job("a", [], 1), short, long, job("b", ["test/unit.1"], 9)]) == ["a/a", "test/unit.1", "b/b"])
    }

    @Test func `jobs that have not begun are left out, and lead on`() {
        let jobs = [job("a", [], 3), job("skipped", ["a"], nil), job("b", ["skipped"], 2), job("alone", [], 4)]
        #expect(path(jobs) == ["a/a", "b/b"])
        #expect(path([job("a", [], nil)]).isEmpty)
        #expect(path([]).isEmpty)
    }

    @Test func `needs in a circle or of nobody do not hang it`() {
        let jobs = [job("a", ["b"], 1), job("b", ["a"], 1), job("c", ["ghost"], 1), job("d", ["d"], 9)]
        #expect(path(jobs) == ["c/c"])
    }

    @Test func `a stage of many jobs that needs one of many is quick`() {
        let jobs = (0..<8000).map { index -> Job in
            var one = job(index < 4000 ? "first" : "second", index < 4000 ? [] : ["first"], Double(index % 97))
            one.name = "job\(index)"
            return one
        }
        let clock = ContinuousClock()
        let taken = clock.measure { #expect(path(jobs).count == 2) }
        // 16 million edges, one for each pair, would take far longer.
        #expect(taken < .seconds(5))
    }

    @Test func `its share is of the time since the first job began`() throws {
        var run = Run()
        (run.started_at, run.finished_at) = (.zero, Timestamp(microseconds: 40_000_000))
        let view = try #require(PathView([job("a", [], 10), job("b", ["a"], 20)], of: run, now: 0))
        #expect(view.note == "30s, 75 % of the time since the first job began")
        #expect(view.parts.map(\.note) == ["10s, 25 %", "20s, 50 %"])
        #expect(PathView([job("a", [], 10)], of: run, now: 0) == nil)
    }
}
