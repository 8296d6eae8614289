import API
import Crypto
import Foundation
import Kernel
import KernelTesting
import Manifests
import Outbound
import SQL
import Synchronization
import Testing

@testable import Pipelines

@Suite struct ForgeSignatureTests {
    private static let now = Timestamp(microseconds: 1_614_265_330_000_000)

    private func holds(
        _ forge: RemoteSpec.Forge?, _ headers: [String: String], _ body: String, _ secret: String,
        at now: Timestamp = now
    ) -> Bool {
        ForgeSignature.holds(forge, headers: headers, body: Array(body.utf8), secret: secret, at: now)
    }

    /// GitHub Docs, "Validating webhook deliveries": "Testing the webhook payload validation".
    @Test func `GitHub's documented signature holds, and no other`() {
        let code = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        let secret = "It's a Secret to Everybody"
        #expect(holds(.github, ["x-hub-signature-256": code], "Hello, World!", secret))
        #expect(holds(nil, ["x-hub-signature-256": code], "Hello, World!", secret))
        #expect(!holds(.github, ["x-hub-signature-256": code], "Hello, World?", secret))
        #expect(!holds(.github, ["x-hub-signature-256": code], "Hello, World!", "other"))
        #expect(!holds(.github, ["x-hub-signature-256": code + "00"], "Hello, World!", secret))
        #expect(!holds(.github, ["x-hub-signature-256": "sha256="], "Hello, World!", secret))
        #expect(!holds(.github, ["x-hub-signature": code], "Hello, World!", secret))
        #expect(!holds(.github, [:], "Hello, World!", secret))
        #expect(!holds(.github, ["x-hub-signature-256": code], "Hello, World!", ""))
    }

    /// Bitbucket Support, "Secure webhooks": "Test a payload with a secret".
    @Test func `Bitbucket's documented signature holds, and no other`() {
        let code = "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"
        let secret = "It's a Secret to Everybody"
        #expect(holds(.bitbucket, ["x-hub-signature": code], "Hello World!", secret))
        #expect(!holds(.bitbucket, ["x-hub-signature": code], "Hello, World!", secret))
        #expect(!holds(.bitbucket, ["x-hub-signature-256": code], "Hello World!", secret))
    }

    @Test func `Gitea signs without a prefix`() {
        let code = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        #expect(holds(.gitea, ["x-gitea-signature": code], "Hello, World!", "It's a Secret to Everybody"))
        #expect(!holds(.gitea, ["x-gitea-signature": code], "Hello, World!", "x"))
    }

    @Test func `GitLab's token must be the secret`() {
        #expect(holds(.gitlab, ["x-gitlab-token": "s3cret"], "{}", "s3cret"))
        #expect(!holds(.gitlab, ["x-gitlab-token": "s3cret "], "{}", "s3cret"))
        #expect(!holds(.gitlab, ["x-gitlab-token": "whsec_AAAA"], "{}", "whsec_AAAA"))
    }

    /// Standard Webhooks, reference libraries' test vector.
    @Test func `a GitLab hook with a signing token is checked by id, time and body`() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        let body = "{\"test\": 2432232314}"
        var headers = [
            "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
            "webhook-signature": "v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ]
        #expect(holds(.gitlab, headers, body, secret))
        #expect(!holds(.gitlab, headers, body + " ", secret))
        #expect(!holds(.gitlab, headers, body, secret, at: Self.now.advanced(by: .seconds(301))))
        headers["webhook-id"] = "msg_other"
        #expect(!holds(.gitlab, headers, body, secret))
    }
}

@Suite struct ForgeEventTests {
    private func read(_ forge: RemoteSpec.Forge, _ headers: [String: String], _ body: String) throws -> ForgeEvent {
        try ForgeEvent.read(forge, headers: headers, JSONParser.parse(body))
    }

    private func hub(_ action: String, from: String = "o/r", merged: Bool = false) -> String {
        """
        {"action":"\(action)","number":7,"pull_request":{"title":"T","html_url":"https://x/7","merged":\(merged),
         "merge_commit_sha":"m","user":{"login":"ana"},"head":{"ref":"topic","sha":"abc","repo":{"full_name":"\(from)"}},
         "base":{"ref":"main","repo":{"full_name":"o/r"}}}}
        """
    }

    @Test(arguments: [
        ("opened", PullRequestTrigger.Action.opened), ("synchronize", .synchronize), ("synchronized", .synchronize),
        ("reopened", .reopened), ("closed", .closed), ("edited", .edited), ("labeled", .labeled),
    ])
    func `a pull request of GitHub and Gitea is read`(word: String, action: PullRequestTrigger.Action) throws {
        for (forge, header) in [(RemoteSpec.Forge.github, "x-github-event"), (.gitea, "x-gitea-event")] {
            guard case .pull(let pull, let found) = try read(forge, [header: "pull_request"], hub(word)) else {
                Issue.record("it is no pull request")
                continue
            }
            #expect(found == action && pull.number == 7 && pull.head_ref == "refs/heads/topic" && !pull.is_fork)
            #expect(pull.base_ref == "refs/heads/main" && pull.author == "ana" && pull.head_commit == "abc")
        }
    }

    @Test func `a fork is told from its base, also one that is gone`() throws {
        guard
            case .pull(let fork, _) = try read(.github, ["x-github-event": "pull_request"], hub("opened", from: "e/r")),
            case .pull(let merged, _) = try read(
                .github, ["x-github-event": "pull_request"], hub("closed", merged: true)),
            case .pull(let gone, _) = try read(
                .github, ["x-github-event": "pull_request"],
                hub("opened").replacingOccurrences(
                    of: "\"sha\":\"abc\",\"repo\":{\"full_name\":\"o/r\"}", with: "\"sha\":\"abc\",\"repo\":null"))
        else {
            Issue.record("no pull request")
            return
        }
        #expect(fork.is_fork && gone.is_fork)
        #expect(merged.state == .merged && merged.merged_commit == "m")
    }

    @Test func `pushes, tags, pings and the rest`() throws {
        #expect(try read(.github, ["x-github-event": "push"], "{}") == .refs)
        #expect(try read(.github, ["x-github-event": "ping"], "{}") == .ping)
        #expect(try read(.github, ["x-github-event": "star"], "{}") == .ignored("star"))
        #expect(try read(.gitea, ["x-gitea-event": "create"], "{}") == .refs)
        #expect(try read(.gitlab, ["x-gitlab-event": "Tag Push Hook"], "{}") == .refs)
        #expect(try read(.gitlab, ["x-gitlab-event": "Note Hook"], "{}") == .ignored("Note Hook"))
        #expect(try read(.bitbucket, ["x-event-key": "repo:push"], "{}") == .refs)
        #expect(throws: Problem.self) { try read(.github, ["x-github-event": "pull_request"], "{}") }
    }

    @Test func `a merge request of GitLab is read`() throws {
        func body(_ action: String, _ more: String = "", source: Int = 1) -> String {
            """
            {"user":{"username":"ana"},"object_attributes":{"iid":3,"title":"T","url":"https://x/3","action":"\(action)"\(more),
             "source_branch":"topic","target_branch":"main","source_project_id":\(source),"target_project_id":1,
             "last_commit":{"id":"abc"},"merge_commit_sha":"m"}}
            """
        }
        let headers = ["x-gitlab-event": "Merge Request Hook"]
        func action(_ word: String, _ more: String = "") throws -> PullRequestTrigger.Action? {
            guard case .pull(_, let action) = try read(.gitlab, headers, body(word, more)) else { return nil }
            return action
        }
        #expect(try action("open") == .opened)
        #expect(try action("update") == .edited)
        #expect(try action("update", ",\"oldrev\":\"def\"") == .synchronize)
        #expect(try action("merge") == .closed)
        #expect(try action("approved") == nil)
        guard case .pull(let fork, _) = try read(.gitlab, headers, body("open", source: 2)) else { return }
        #expect(fork.is_fork && fork.number == 3)
    }

    @Test func `a pull request of Bitbucket is read`() throws {
        let body = """
            {"pullrequest":{"id":5,"title":"T","author":{"nickname":"ana"},"links":{"html":{"href":"https://x/5"}},
             "source":{"branch":{"name":"topic"},"commit":{"hash":"abc"},"repository":{"full_name":"o/r"}},
             "destination":{"branch":{"name":"main"},"repository":{"full_name":"o/r"}},"merge_commit":{"hash":"m"}}}
            """
        for (key, action) in [
            ("pullrequest:created", PullRequestTrigger.Action.opened), ("pullrequest:updated", .synchronize),
            ("pullrequest:fulfilled", .closed), ("pullrequest:rejected", .closed),
        ] {
            guard case .pull(let pull, let found) = try read(.bitbucket, ["x-event-key": key], body) else {
                Issue.record("\(key) is no pull request")
                continue
            }
            #expect(found == action && pull.number == 5 && !pull.is_fork)
            #expect((pull.state == .merged) == (key == "pullrequest:fulfilled"))
        }
    }
}

/// Webhooks, mirrors and what is told back, with the real git and a remote that is a folder.
@Suite struct RemoteTests {
    static let secret = "s3cret"
    static let manifest = """
        kind: Pipeline
        name: check
        triggers: [{ push: { branches: [main] } }, { pull_request: { trusted: true } }]
        stages: [{ name: s, jobs: { j: { steps: [{ run: make }] } } }]
        """

    struct Place {
        let it: PipelineHouse
        let clone: RepositoryTests.Clone
        let remotes: RemoteReconciler
        let hooks: Webhooks

        func look() async throws {
            for key in try await remotes.keys() { _ = try await remotes.reconcile(key) }
            for key in try await it.repositories.keys() { _ = try await it.repositories.reconcile(key) }
        }

        func runs() async throws -> [Run] { try await it.house.call(Runs.list, RunQuery()).items.reversed() }

        func post(
            _ event: String, _ body: String, delivery: String, secret: String = RemoteTests.secret,
            path: [String] = ["default", "shop"]
        ) async throws -> JSONValue {
            let code = HMAC<SHA256>.authenticationCode(
                for: Array(body.utf8), using: SymmetricKey(data: Array(secret.utf8))
            ).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
            let headers = [
                "x-github-event": event, "x-github-delivery": delivery, "x-hub-signature-256": "sha256=\(code)",
            ]
            return try await hooks.receive(
                Webhooks.Request(path: path, headers: headers, body: Array(body.utf8), call: nil), correlation: "test")
        }
    }

    private func place() async throws -> Place {
        let it = try await PipelineHouse()
        let remote = "\(it.house.folder)/remote.git"
        let clone = RepositoryTests.Clone(folder: "\(it.house.folder)/clone", remote: remote)
        try FileManager.default.createDirectory(atPath: clone.folder, withIntermediateDirectories: true)
        try await clone.git("init", "--quiet", "--bare", "--initial-branch=main", remote)
        try await clone.git("init", "--quiet", "--initial-branch=main")
        try await clone.push([".vagus/check.yaml": Self.manifest], "first")
        try await it.house.apply(
            "{ kind: Repository, name: shop, remote: { url: 'file://\(remote)', forge: github, webhook_secret: HOOK, poll: 5m } }"
        )
        var settings = it.domain.settings
        settings.readSecret = { _, name in name == "HOOK" ? Self.secret : nil }
        let place = Place(
            it: it, clone: clone,
            remotes: RemoteReconciler(context: it.house.context, git: it.domain.git, settings: settings),
            hooks: Webhooks(context: it.house.context, settings: settings))
        try await place.look()
        return place
    }

    @Test func `a remote is fetched, and a push to it is seen at the next poll`() async throws {
        let place = try await place()
        #expect(try await place.runs().map(\.trigger.message) == ["first"])
        try await place.clone.push(["a": "1"], "second")
        try await place.look()
        #expect(try await place.runs().count == 1, "it is not time yet")
        place.it.house.time.advance(by: .seconds(301))
        try await place.look()
        #expect(try await place.runs().map(\.trigger.message) == ["first", "second"])
        let shown = try await place.it.house.call(
            Resources.get, ResourceName(project: "default", kind: "repositories", name: "shop"))
        #expect(shown.conditions.contains { $0.name == "Fetched" && $0.truth == .yes })
    }

    @Test func `a signed webhook makes it look at once, and the same one again is dropped`() async throws {
        let place = try await place()
        try await place.clone.push(["a": "1"], "second")
        let body = "{\"ref\":\"refs/heads/main\",\"after\":\"x\"}"
        #expect(try await place.post("push", body, delivery: "d1")["outcome"] == "accepted")
        try await place.look()
        #expect(try await place.runs().count == 2)
        #expect(try await place.post("push", body, delivery: "d1")["outcome"] == "dropped")
        #expect(try await place.post("push", body, delivery: "d2")["outcome"] == "dropped", "only its name is new")
        #expect(try await place.post("push", body + " ", delivery: "d1")["outcome"] == "dropped")
        #expect(try await place.it.house.events(named: "webhook.received").count == 1)
    }

    @Test func `a forged webhook is refused and leaves an event`() async throws {
        let place = try await place()
        let problem = await #expect(throws: Problem.self) {
            try await place.post("push", "{}", delivery: "d", secret: "guess")
        }
        #expect(problem?.status == 403)
        let told = try #require(try await place.it.house.events(named: "webhook.refused").first)
        #expect(told.subject.name == "shop" && told.data["delivery"] == "d")
        for number in 0..<200 {
            _ = try? await place.post("push", "{}", delivery: "d\(number)", secret: "guess")
        }
        #expect(try await place.it.house.events(named: "webhook.refused").count <= 60)
    }

    @Test func `pull requests run on the head that git has, and a fork is never trusted`() async throws {
        let place = try await place()
        try await place.clone.git("checkout", "--quiet", "-b", "topic")
        try await place.clone.push(["b": "1"], "topic", branch: "topic")
        let head = String(try await place.clone.git("rev-parse", "HEAD").prefix(40))
        for number in [7, 8] {
            try await place.clone.git("push", "--quiet", place.clone.remote, "HEAD:refs/pull/\(number)/head")
        }
        func body(_ number: Int, from: String) -> String {
            """
            {"action":"opened","number":\(number),"pull_request":{"title":"T\(number)","user":{"login":"ana"},
             "head":{"ref":"topic","sha":"\(head)","repo":{"full_name":"\(from)"}},"base":{"ref":"main","repo":{"full_name":"o/r"}}}}
            """
        }
        _ = try await place.post("pull_request", body(7, from: "o/r"), delivery: "d7")
        _ = try await place.post("pull_request", body(8, from: "evil/r"), delivery: "d8")
        try await place.look()
        let runs = try await place.runs().filter { $0.trigger.type == .pull_request }
        #expect(runs.map(\.commit) == [head, head])
        #expect(runs.map(\.trigger.is_trusted) == [true, false])
        #expect(runs.map(\.trigger.ref) == ["refs/pull/7/head", "refs/pull/8/head"])
        #expect(runs.first?.trigger.event?["pull_request"]?["author"] == "ana")
        try await place.clone.git("push", "--quiet", place.clone.remote, ":refs/heads/topic")
        place.it.house.time.advance(by: .seconds(301))
        try await place.look()
        var input = RunInput()
        (input.pipeline, input.commit) = ("check", head)
        #expect(try await !place.it.house.call(Runs.start, input).trigger.is_trusted, "only a pull request holds it")
        let gone = body(9, from: "o/r").replacingOccurrences(of: head, with: String(repeating: "a", count: 40))
        try await place.clone.git("push", "--quiet", place.clone.remote, "HEAD:refs/pull/9/head")
        _ = try await place.post("pull_request", gone, delivery: "d9")
        try await place.look()
        #expect(try await place.it.house.events(named: "repository.pull-unreachable").count == 1)
    }

    @Test func `a remote that is not there is told, and asked later and later`() async throws {
        let place = try await place()
        try FileManager.default.removeItem(atPath: place.clone.remote)
        var waits: [Duration] = []
        for _ in 0..<4 {
            place.it.house.time.advance(by: .seconds(3600))
            let key = try #require(try await place.remotes.keys().first)
            guard case .again(let wait) = try await place.remotes.reconcile(key) else { break }
            waits.append(wait)
        }
        #expect(waits == [.seconds(5), .seconds(10), .seconds(20), .seconds(40)])
        let shown = try await place.it.house.call(
            Resources.get, ResourceName(project: "default", kind: "repositories", name: "shop"))
        #expect(shown.conditions.contains { $0.name == "Fetched" && $0.truth == .no })
        #expect(try await place.runs().count == 1)
    }

    @Test func `a request to a pipeline is its event, and is let in by its signature or a token`() async throws {
        let place = try await place()
        try await place.it.house.apply(
            """
            kind: Pipeline
            name: release
            triggers: [{ webhook: { secret: HOOK }, if: event.action == 'released', parameters: { tag: '${{ event.tag }}' } }]
            parameters: { tag: {} }
            stages: [{ name: s, jobs: { j: { steps: [{ run: make }] } } }]
            """)
        let path = ["default", "pipelines", "release"]
        let answer = try await place.post("x", "{\"action\":\"released\",\"tag\":\"v1\"}", delivery: "d1", path: path)
        #expect(answer["outcome"] == "accepted" && answer["runs"]?.array?.count == 1)
        #expect(
            try await place.post("x", "{\"action\":\"edited\"}", delivery: "d2", path: path)["outcome"] == "ignored")
        #expect(
            try await place.post("x", "{\"action\":\"released\",\"tag\":\"v1\"}", delivery: "d1", path: path)["outcome"]
                == "dropped")
        await #expect(throws: Problem.self) {
            try await place.post("x", "{}", delivery: "d3", secret: "guess", path: path)
        }
        #expect(
            try await place.post("x", "{\"action\":\"released\",\"tag\":\"v1\"}", delivery: "d4", path: path)["outcome"]
                == "dropped", "its name is not signed")
        let call = Call(actor: "token:ci", correlation: "t", permission: .run)
        let body = Array("{\"action\":\"released\",\"tag\":\"v2\"}".utf8)
        // Who holds a token may say the same twice, unless it is the same delivery.
        for headers in [[:], [:], ["x-vagus-delivery": "a"], ["x-vagus-delivery": "a"]] as [[String: String]] {
            _ = try await place.hooks.receive(
                Webhooks.Request(path: path, headers: headers, body: body, call: call), correlation: "t")
        }
        let runs = try await place.runs().filter { $0.pipeline == "release" }
        #expect(runs.compactMap { $0.parameters["tag"]?.string }.sorted() == ["v1", "v2", "v2", "v2"])
        #expect(runs.allSatisfy { $0.trigger.type == .webhook })
    }
}

@Suite struct ForgeReportTests {
    private func request(
        _ forge: RemoteSpec.Forge, _ url: String, api: String? = nil, _ state: CommitStatus.State = .failure
    ) throws -> (url: String, headers: [String: String], body: JSONValue) {
        var remote = RemoteSpec()
        (remote.url, remote.forge, remote.api) = (url, forge, api)
        var status = CommitStatus()
        (status.commit, status.pipeline, status.run, status.number) = ("abc", "check", "run_1", 4)
        (status.state, status.description) = (state, "stage \"s\" failed")
        let made = try ForgeReport.request(status, forge, remote, token: "t0k", target: "http://ci/runs/run_1")
        guard case .bytes(let bytes) = made.body else { throw Problem("test", status: 500, "no body") }
        #expect(made.method == "POST")
        return (made.url, Dictionary(made.headers) { $1 }, try JSONParser.parse(bytes))
    }

    @Test func `each forge is told in its own words`() throws {
        let hub = try request(.github, "https://github.com/o/r.git")
        #expect(hub.url == "https://api.github.com/repos/o/r/statuses/abc")
        #expect(hub.headers["Authorization"] == "Bearer t0k" && hub.body["state"] == "failure")
        #expect(hub.body["context"] == "vagus/check" && hub.body["target_url"] == "http://ci/runs/run_1")
        let lab = try request(.gitlab, "git@git.example.com:group/sub/r.git")
        #expect(lab.url == "https://git.example.com/api/v4/projects/group%2Fsub%2Fr/statuses/abc")
        #expect(lab.headers["PRIVATE-TOKEN"] == "t0k" && lab.body["state"] == "failed")
        let tea = try request(.gitea, "http://127.0.0.1:3000/o/r", .success)
        #expect(tea.url == "http://127.0.0.1:3000/api/v1/repos/o/r/statuses/abc")
        #expect(tea.headers["Authorization"] == "token t0k" && tea.body["state"] == "success")
        let bucket = try request(.bitbucket, "https://bitbucket.org/o/r.git", .error)
        #expect(bucket.url == "https://api.bitbucket.org/2.0/repositories/o/r/commit/abc/statuses/build")
        #expect(bucket.body["state"] == "STOPPED" && bucket.body["key"] == "vagus/check")
        let own = try request(.github, "ssh://git@git.example.com/o/r.git", api: "http://127.0.0.1:1/api/")
        #expect(own.url == "http://127.0.0.1:1/api/repos/o/r/statuses/abc")
        #expect(throws: Problem.self) { try request(.github, "nonsense") }
    }

    @Test func `an address is told without the password in it`() {
        #expect(RemoteReconciler.public("https://ana:pw@git.example.com/o/r") == "https://git.example.com/o/r")
        #expect(RemoteReconciler.public("https://git.example.com/o@x/r") == "https://git.example.com/o@x/r")
    }
}
