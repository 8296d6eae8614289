import API
import Foundation
import Kernel
import Logging
import Manifests
import Testing

@testable import Pipelines
@testable import Server

/// Table 1.1 of delivery: the rows that gates, environments and secrets answer for. The whole server, its real vault, and a
/// runner's words through the front door.
@Suite struct GateScenarios {
    /// A server without its loops; the test brings what they would do about by asking the house's own loops to run.
    private struct World {
        let house: House
        let folder: String

        init() async throws {
            folder = NSTemporaryDirectory() + "vagus-gates-\(UUID().uuidString)"
            var logger = Logger(label: "test")
            logger.logLevel = .critical
            var options = ServerOptions(data: folder, executable: "/bin/false") { _ in }
            options.config.url = "https://vagus.example.com"
            house = try await House(options, logger: logger)
        }

        /// Runs the loops of the house while `body` does.
        func alive<T: Sendable>(_ body: @escaping @Sendable () async throws -> T) async throws -> T {
            let loops = house.loops
            return try await withThrowingTaskGroup(of: T?.self) { group in
                for loop in loops {
                    group.addTask {
                        do { try await loop.run() } catch is CancellationError {}
                        return nil
                    }
                }
                group.addTask { try await body() }
                defer { group.cancelAll() }
                while let result = try await group.next() { if let result { return result } }
                throw Problem("test", status: 500, "the loops ended early")
            }
        }

        func call<I: Manifest, O: Manifest>(
            _ operation: API.Operation<I, O>, _ input: I, as actor: String = "token:bob"
        ) async throws -> O {
            let permission: Permission = actor.hasPrefix("runner:") ? .agent : .admin
            return try await house.switchboard.call(
                operation, input, as: Call(actor: actor, correlation: "test", permission: permission))
        }

        func apply(_ yaml: String) async throws {
            var input = ApplyInput()
            input.documents = try YAML.documents(yaml).map(\.value)
            _ = try await call(Resources.apply, input)
        }

        func set(_ name: String, _ value: String, environments: [String]? = nil) async throws {
            var input = SecretInput()
            (input.name, input.value, input.environments) = (name, .string(value), environments)
            _ = try await call(Secrets.set, input)
        }

        func start(_ pipeline: String, labels: [String] = []) async throws -> Run {
            var input = RunInput()
            (input.pipeline, input.labels) = (pipeline, labels)
            return try await call(Runs.start, input)
        }

        /// Lays a run of "shop" as a pull request of a fork does.
        func layPullRequest() async throws {
            let reference = Reference<PipelineKind>(project: "default", name: "shop")
            try await house.store.change(.system("test")) { change in
                guard let spec = try change.sql.resource(PipelineKind.self, reference)?.spec else { return }
                var trigger = Trigger()
                (trigger.type, trigger.actor, trigger.is_trusted) = (.api, "git:Eve <eve@example.com>", false)
                trigger.ref = "refs/pull/7/head"
                let request = RunRequest(project: "default", pipeline: "shop", spec: spec, trigger: trigger)
                _ = try change.lay(request, id: "run_pull_request")
            }
        }

        func run(_ name: String) async throws -> Run {
            try await call(Runs.get, RunName(project: "default", run: name))
        }

        /// Waits for a level, each time the house tells of a run; at most ten seconds.
        func until(_ name: String, _ what: String, _ isSo: @escaping @Sendable (Run) -> Bool) async throws -> Run {
            let deadline = house.store.time.now.advanced(by: .seconds(10))
            let found = try await house.store.bells.poll(["Run"], until: deadline, by: house.store.time) {
                let run = try await run(name)
                return isSo(run) ? run : nil
            }
            return try #require(found, "waited for \(what)")
        }

        func hello() async throws {
            var hello = RunnerHello()
            (hello.name, hello.incarnation) = ("one", "a")
            _ = try await call(Runners.hello, hello, as: "runner:one")
        }

        func lease() async throws -> Lease {
            var input = LeaseInput()
            (input.name, input.incarnation) = ("one", "a")
            return try #require(try await call(Runners.lease, input, as: "runner:one").lease)
        }

        func say(_ verdict: Approval.Verdict, _ run: String, as actor: String) async throws {
            var input = VerdictInput()
            (input.run, input.comment) = (run, "looked at it")
            _ = try await call(verdict == .approved ? Approvals.approve : Approvals.reject, input, as: actor)
        }

        func events(_ name: String? = nil) async throws -> [Event] {
            var query = EventQuery()
            query.name = name
            return try await call(Events.list, query).items
        }
    }

    static let pipeline = """
        kind: Pipeline
        name: shop
        stages:
          - name: test
            jobs: { unit: { secrets: [NPM_TOKEN], steps: [{ run: "echo ${{ secrets.NPM_TOKEN }}" }] } }
          - name: deploy
            needs: []
            environment: production
            jobs: { app: { id_token: sts.example.com, steps: [{ run: ./deploy }] } }
        """

    @Test func `manual gate: two of a team, neither the author, then the job begins`() async throws {
        let world = try await World()
        try await world.apply(
            """
            kind: Pipeline
            name: shop
            stages: [{ name: deploy, environment: production, jobs: { app: { steps: [{ run: ./deploy }] } } }]
            ---
            { kind: Team, name: sre, members: [bob, cleo, dan] }
            ---
            kind: Environment
            name: production
            approval_gates: { approvals: { min: 2, from: ["team:sre"], comment: required } }
            """)
        try await world.alive {
            try await world.hello()
            _ = try await world.start("shop")
            _ = try await world.until("shop:1", "the job to wait") { $0.gates.first?.asked_at != nil }
            let refused = await #expect(throws: Problem.self) {
                try await world.say(.approved, "shop:1", as: "token:bob")
            }
            #expect(refused?.code == "approval.author")
            try await world.say(.approved, "shop:1", as: "token:cleo")
            try await world.say(.approved, "shop:1", as: "user:dan")
            let lease = try await world.lease()
            #expect(lease.stage == "deploy")
            let gate = try #require(try await world.run("shop:1").gates.first)
            #expect(gate.status == .open && gate.approvals.map(\.by) == ["cleo", "dan"])
        }
    }

    @Test func `protected env and scoped secrets: a pull request's run reads none, an approved job reads its own`()
        async throws
    {
        let world = try await World()
        try await world.set("kv/shop/prod#db_url", "db-canary-51", environments: ["production"])
        try await world.set("NPM_TOKEN", "npm-canary-51")
        try await world.apply(
            Self.pipeline + """

                ---
                kind: Environment
                name: production
                tier: production
                approval_gates: { approvals: { min: 1 } }
                secrets: { DB_URL: "vault:kv/shop/prod#db_url" }
                """)
        try await world.alive {
            try await world.hello()
            _ = try await world.start("shop")
            let test = try await world.lease()
            #expect(test.secrets == ["NPM_TOKEN": "npm-canary-51"])
            _ = try await world.until("shop:1", "the job to wait") { $0.gates.first?.asked_at != nil }
            try await world.say(.approved, "shop:1", as: "token:cleo")
            let deploy = try await world.lease()
            #expect(deploy.secrets == ["DB_URL": "db-canary-51"])
            #expect(try await world.events("secret.released").map { $0.data["names"] } == [["DB_URL"], ["NPM_TOKEN"]])

            try await world.layPullRequest()
            #expect(try await world.lease().secrets.isEmpty)
            #expect(try await world.events("secret.withheld").map { $0.data["reason"] } == ["its code is not trusted"])
            let refused = try await world.until("shop:2", "the job to be refused") { $0.jobs[1].status == .failed }
            #expect(
                refused.jobs[1].reason == "environment \"production\" is protected, and this run's code is not trusted")
            #expect(try await world.events("secret.released").count == 2)
        }
        // What is on disk and what can be asked for says nothing of the values.
        let told = try await world.run("shop:1").json.text + world.events().map(\.json.text).joined()
        #expect(!told.contains("canary-51"))
        for file in try FileManager.default.subpathsOfDirectory(atPath: world.folder) {
            let bytes = FileManager.default.contents(atPath: "\(world.folder)/\(file)") ?? Data()
            #expect(bytes.range(of: Data("canary-51".utf8)) == nil, "\(file) holds a secret")
        }
    }

    @Test func `deploy freeze: held by the server, let pass by its allow list`() async throws {
        let world = try await World()
        try await world.apply(
            """
            kind: Pipeline
            name: shop
            stages: [{ name: deploy, environment: production, jobs: { app: { steps: [{ run: ./deploy }] } } }]
            ---
            kind: Environment
            name: production
            freeze:
              - { name: for-now, from: 2020-01-01T00:00:00Z, to: 2120-01-01T00:00:00Z, allow: [rollback, "label:hotfix"] }
            """)
        try await world.alive {
            try await world.hello()
            _ = try await world.start("shop")
            // It first comes to the gate; the freeze is what it then waits for.
            _ = try await world.until("shop:1", "the job to be held by the freeze") {
                $0.jobs[0].reason == "environment \"production\" is frozen by \"for-now\" until 2120-01-01T00:00:00Z"
            }
            let hotfix = try await world.start("shop", labels: ["hotfix"])
            #expect(try await world.lease().run == hotfix.id)
        }
    }

    @Test func `OIDC to clouds: a job's token is checked with the published keys`() async throws {
        let world = try await World()
        try await world.apply(Self.pipeline + "\n---\n{ kind: Environment, name: production, branches: [] }")
        try await world.set("NPM_TOKEN", "x")
        try await world.alive {
            try await world.hello()
            _ = try await world.start("shop")
            let leases = [try await world.lease(), try await world.lease()]
            let deploy = try #require(leases.first { $0.stage == "deploy" })
            let token = try await world.call(Runners.idToken, deploy.key, as: "runner:one")
            #expect(token.token.split(separator: ".").count == 3)
            let keys = try await world.call(Identity.keys, Nothing()).keys
            #expect(keys.count == 1 && keys[0].alg == .es256)
            let told = try await world.call(Identity.configuration, Nothing())
            #expect(told.issuer == "https://vagus.example.com")
        }
    }

    @Test(arguments: ["approvals.md", "secrets.md"])
    func `the manifests of the pages are accepted`(page: String) async throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let text = try String(contentsOf: root.appending(path: "docs/how-to/\(page)"), encoding: .utf8)
        let examples = text.components(separatedBy: "```yaml\n").dropFirst().compactMap {
            $0.components(separatedBy: "```").first
        }
        #expect(examples.count >= 2)
        let world = try await World()
        for example in examples { try await world.apply(example) }
    }
}
