import API

/// The tests of a pipeline: how they end, which cannot be relied on, which are in quarantine; one of them with its history.
struct TestsPage: PageBody {
    static let template = "testlist"
    static let section = Section.pipelines

    /// What is listed.
    enum Filter: String, CaseIterable { case all, flaky, failing, quarantined }

    struct Row: Sendable {
        let href: String
        let name: String
        let file: String?
        let verdict: Badge
        let flaky: Badge?
        let runs: String
        let failures: String
        let takes: String
        let quarantine: String?
    }
    struct Result: Sendable {
        let href: String
        let run: String
        let commit: String?
        let job: String
        let verdict: Badge
        let flaky: Badge?
        let took: String
        let message: String?
        let at: When
    }
    struct History: Sendable {
        let title: String
        let note: String
        let strip: Markup
        let rows: [Result]
        let acts: Listing<Action>?
    }

    let head: PageHead
    let tabs: [Tab]
    let history: History?
    let table: Rows<Row>?
    let empty: EmptyState?
    let more: String?

    init(
        _ pipeline: String, _ tests: [TestRecord], filter: Filter, next: String?, history: TestHistory?, csrf: String,
        now: Double
    ) {
        head = PageHead(
            "Tests", in: [Link("Pipelines", "/pipelines"), Link(pipeline, Links.pipeline(pipeline))],
            lead: "What the JUnit reports of \(pipeline) have told.")
        tabs = Filter.allCases.map { one in
            Tab(
                one.rawValue.prefix(1).uppercased() + one.rawValue.dropFirst(),
                Links.path(["pipelines", pipeline, "tests"], ["show": one == .all ? nil : one.rawValue]),
                current: one == filter)
        }
        self.history = history.map { Self.history($0, of: pipeline, csrf: csrf, now: now) }
        table = Rows(tests.map { Self.row($0, pipeline) })
        empty =
            !tests.isEmpty
            ? nil
            : EmptyState(
                icon: "ok", title: filter == .all ? "No test has been told of yet" : "No such test",
                text: filter == .all
                    ? "A job that names its JUnit file under reports has its tests listed here." : "All the better.",
                commands: filter == .all ? ["vagus explain Pipeline.stages.jobs.reports"] : [])
        more = next.map { next in
            Links.path(
                ["pipelines", pipeline, "tests"], ["show": filter == .all ? nil : filter.rawValue, "after": next])
        }
    }

    private static let flakyBadge = Badge(.warn, "warn", "Flaky")

    private static func row(_ test: TestRecord, _ pipeline: String) -> Row {
        Row(
            href: Links.path(["pipelines", pipeline, "tests"], ["test": test.id]), name: test.id, file: test.file,
            verdict: Badge(status: test.verdict.rawValue), flaky: test.is_flaky ? flakyBadge : nil,
            runs: Format.count(test.runs), failures: Format.count(test.failures),
            takes: Format.duration(test.mean_seconds), quarantine: test.quarantine.map(words))
    }

    private static func words(_ quarantine: TestQuarantine) -> String {
        let time =
            quarantine.has_expired ? "expired" : "until \(Moment(quarantine.until.seconds).rfc3339.prefix(10))"
        return "\(quarantine.owner), \(time)"
    }

    private static func history(_ history: TestHistory, of pipeline: String, csrf: String, now: Double) -> History {
        let test = history.test
        var note = "\(Format.plural(test.runs, "run")), \(test.failures) failed, \(test.flakes) flaky"
        if let quarantine = test.quarantine {
            note += "; in quarantine: \(words(quarantine))" + (quarantine.reason.map { ", \($0)" } ?? "")
        }
        let strip = history.results.prefix(24).reversed().map { result in
            let badge = Badge(status: result.verdict.rawValue)
            return (name: "#\(result.number)", tone: badge.tone, status: badge.text.lowercased())
        }
        return History(
            title: test.id, note: note, strip: Sparkline.strip(Array(strip)),
            rows: history.results.map { result in
                Result(
                    href: Links.run(result.run, job: result.job), run: "#\(result.number)",
                    commit: result.commit.map { Format.short($0) },
                    job: result.job + (result.attempt > 1 ? ", try \(result.attempt)" : "")
                        + (result.round > 0 ? ", rerun \(result.round)" : ""),
                    verdict: Badge(status: result.verdict.rawValue), flaky: result.is_flaky ? flakyBadge : nil,
                    took: Format.duration(result.seconds), message: result.message.map { Format.clipped($0, 300) },
                    at: When(result.at.seconds, now: now))
            }, acts: Listing([act(on: test, of: pipeline, csrf: csrf)]))
    }

    /// What a person may do about a test: let its failures not count for a while, or count again.
    private static func act(on test: TestRecord, of pipeline: String, csrf: String) -> Action {
        let hidden = [Action.Pair(name: "test", value: test.id)]
        let target = "/ui/pipelines/\(Links.encoded(pipeline))/"
        if test.quarantine.map({ !$0.has_expired }) == true {
            return Action(
                id: "act-release", label: "End the quarantine", icon: "undo", look: "", isDanger: false,
                target: target + "release", question: "Let its failures count again?",
                consequences: ["From the next run on, a failure of this test fails its job."],
                confirm: "End the quarantine", csrf: csrf, hidden: hidden)
        }
        return Action(
            id: "act-quarantine", label: "Quarantine", icon: "warn", look: "", isDanger: false,
            target: target + "quarantine", question: "Let its failures not fail the job?",
            consequences: ["It is run and shown as before.", "After 30 days its failures count again."],
            confirm: "Put it in quarantine", csrf: csrf, hidden: hidden,
            asks: [
                Action.Question(
                    id: "q-owner", name: "owner", label: "Who looks after it, like team:payments or user:ana",
                    isRequired: true, isLong: false),
                Action.Question(
                    id: "q-reason", name: "reason", label: "Why (you may leave it out)", isRequired: false, isLong: true
                ),
            ])
    }
}

extension Visitor {
    func tests(of pipeline: String) async throws -> WebResponse {
        try await render(title: "Tests of \(pipeline)") {
            let filter = TestsPage.Filter(rawValue: request.query["show"] ?? "") ?? .all
            var query = TestQuery()
            (query.project, query.pipeline, query.after) = (project, pipeline, typed("after"))
            (query.flaky, query.failing, query.quarantined) = (
                filter == .flaky, filter == .failing, filter == .quarantined
            )
            let list = try await ask(Tests.list, query)
            var history: TestHistory?
            if let test = request.query["test"] {
                var asked = TestHistoryQuery()
                (asked.project, asked.pipeline, asked.test) = (project, pipeline, test)
                history = try await find(Tests.history, asked)
            }
            return TestsPage(
                pipeline, list.items, filter: filter, next: list.next, history: history, csrf: csrf, now: now)
        }
    }

    /// Puts a test in quarantine or takes it out, then leads back to the test.
    func quarantine(_ verb: String, in pipeline: String) async throws -> WebResponse {
        let test = given("test") ?? ""
        if verb == "release" {
            var input = TestName()
            (input.project, input.pipeline, input.test) = (project, pipeline, test)
            _ = try await ask(Tests.release, input)
        } else {
            var input = QuarantineInput()
            (input.project, input.pipeline, input.test) = (project, pipeline, test)
            (input.owner, input.reason) = (given("owner") ?? "", given("reason"))
            _ = try await ask(Tests.quarantine, input)
        }
        return .redirect(Links.path(["pipelines", pipeline, "tests"], ["test": test, "done": verb]))
    }
}
