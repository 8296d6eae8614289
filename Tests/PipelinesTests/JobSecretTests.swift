import API
import Kernel
import KernelTesting
import Manifests
import SQL
import Testing

@testable import Pipelines

@Suite struct JobSecretTests {
    static let pipeline = """
        kind: Pipeline
        name: p
        stages:
          - name: build
            jobs: { j: { secrets: [NPM_TOKEN], steps: [{ run: "echo ${{ secrets.NPM_TOKEN }}" }] } }
          - name: deploy
            environment: production
            jobs: { j: { id_token: sts.example.com, steps: [{ run: ./deploy }] } }
        """
    static let environment = """
        kind: Environment
        name: production
        approval_gates: { approvals: { min: 1 } }
        secrets: { DB_URL: "vault:kv/shop/prod#db_url" }
        """

    private func house(_ secrets: FakeSecrets) async throws -> PipelineHouse {
        let it = try await PipelineHouse(outside: FakeSystems().outside(secrets))
        try await it.house.apply(Self.pipeline)
        try await it.house.apply(Self.environment)
        try await it.hello()
        return it
    }

    /// Asks for a job for as long as a runner does.
    private func askInVain(_ it: PipelineHouse) async throws -> Lease? {
        async let outcome = it.house.call(Runners.lease, LeaseInput.of("one", "a"))
        await it.house.time.untilSomeoneSleeps()
        it.house.time.advance(by: PipelineLimits.leaseWait)
        return try await outcome.lease
    }

    private let secrets = FakeSecrets([
        "default/NPM_TOKEN": "npm-canary", "default/kv/shop/prod#db_url": "db-canary",
    ])

    @Test func `a job is given the secrets that it names, and the log says which`() async throws {
        let it = try await house(secrets)
        _ = try await it.begin()
        let lease = try await it.lease()
        #expect(lease.secrets == ["NPM_TOKEN": "npm-canary"])
        #expect(lease.steps[0].settings == "echo ${{ secrets.NPM_TOKEN }}", "the server must leave it to the runner")
        let told = try #require(try await it.house.events(named: "secret.released").first)
        #expect(told.data["names"] == ["NPM_TOKEN"] && told.data["job"] == "j")
    }

    @Test func `an environment's secrets are given once its gate is open, to its jobs only`() async throws {
        let it = try await house(secrets)
        let run = try await it.begin()
        let build = try await it.lease()
        #expect(build.secrets["DB_URL"] == nil)
        try await it.finish(build)
        try await it.end(build)
        try await it.settle()
        #expect(secrets.asked.map(\.name) == ["NPM_TOKEN"], "a secret was read before its gate was open")
        try await it.say(.approved, run, by: "ana")
        let deploy = try await it.lease()
        #expect(deploy.secrets == ["DB_URL": "db-canary"])
        #expect(secrets.asked.last?.use == .job(pipeline: "p", environment: "production"))
    }

    @Test func `no secret is stored, told or answered`() async throws {
        let it = try await house(secrets)
        let run = try await it.begin()
        let lease = try await it.lease()
        try await it.finish(lease)
        try await it.end(lease)
        try await it.settle()
        try await it.say(.approved, run, by: "ana")
        _ = try await it.lease()
        var all = try await it.run(run.id).json.text
        all += try await it.house.events().map(\.json.text).joined()
        all += try await it.house.store.read { sql in
            try ["pipelines_job", "pipelines_run", "pipelines_step", "pipelines_gate"].flatMap { table in
                try sql.rows(Statement.all(of: table)).map { row in
                    row.columnNames.indices.map { "\(row[$0])" }.joined()
                }
            }.joined()
        }
        #expect(all.contains("NPM_TOKEN"))
        #expect(!all.contains("canary"))
    }

    @Test func `the run of a pull request is given nothing, and goes on without`() async throws {
        let it = try await house(secrets)
        let run = try await it.push("c1") { $0.is_trusted = false }
        let lease = try await it.lease()
        #expect(lease.secrets.isEmpty)
        #expect(secrets.asked.isEmpty)
        let told = try #require(try await it.house.events(named: "secret.withheld").first)
        #expect(told.data["reason"] == "its code is not trusted" && told.data["names"] == ["NPM_TOKEN"])
        try await it.finish(lease)
        try await it.end(lease)
        try await it.settle()
        let ended = try await it.run(run.id)
        #expect(ended.jobs[1].reason == "environment \"production\" is protected, and this run's code is not trusted")
    }

    @Test func `a job whose secret is not there fails and says so`() async throws {
        let it = try await house(FakeSecrets())
        let run = try await it.begin()
        try await it.settle()
        #expect(try await askInVain(it) == nil)
        try await it.settle()
        #expect(try await it.run(run.id).jobs[0].reason == "no secret \"NPM_TOKEN\"")
    }

    @Test func `a secret that is not for the job keeps it from running`() async throws {
        secrets.refuse("NPM_TOKEN")
        let it = try await house(secrets)
        let run = try await it.begin()
        #expect(try await askInVain(it) == nil)
        try await it.settle()
        #expect(try await it.run(run.id).status == .failed)
    }

    @Test func `other secrets than those approved are not given`() async throws {
        let it = try await house(secrets)
        let run = try await it.begin()
        try await it.work()
        try await it.say(.approved, run, by: "ana")
        try await it.house.apply(Self.environment.replacing("kv/shop/prod#db_url", with: "NPM_TOKEN"))
        #expect(try await askInVain(it) == nil)
        #expect(
            try await it.run(run.id).jobs[1].reason
                == "environment \"production\" has changed since it let this job in")
    }

    // MARK: Identity

    @Test func `an identity token says which job it is for`() async throws {
        let it = try await house(secrets)
        let run = try await it.push("c1")
        try await it.work()
        try await it.say(.approved, run, by: "ana")
        let lease = try await it.lease()
        #expect(lease.id_token?.audience == "sts.example.com")
        let token = try await it.house.call(Runners.idToken, lease.key)
        #expect(token.expires_at == it.house.time.now.advanced(by: .seconds(600)))
        let claims = try JSONParser.parse(String(token.token.dropFirst("fake.".count)))
        #expect(claims["sub"] == "project:default:pipeline:p:environment:production:ref:refs/heads/main")
        #expect(claims["aud"] == "sts.example.com" && claims["commit"] == "c1" && claims["actor"] == "token:bob")
        #expect(claims["job"] == "deploy/j" && claims["run"]?.string == run.id)
    }

    @Test func `no identity token is signed for a job that asks for none, or is not held`() async throws {
        let it = try await house(secrets)
        _ = try await it.begin()
        let lease = try await it.lease()
        #expect(lease.id_token == nil)
        var refused = await #expect(throws: Problem.self) { try await it.house.call(Runners.idToken, lease.key) }
        #expect(refused?.code == "oidc.not-for-job" && refused?.status == 403)
        var old = lease.key
        old.epoch = 0
        let stale = old
        refused = await #expect(throws: Problem.self) { try await it.house.call(Runners.idToken, stale) }
        #expect(refused?.code == "lease.lost")
    }

    @Test func `the run of a pull request is signed nothing`() async throws {
        let it = try await house(secrets)
        try await it.house.apply(Self.pipeline.replacing("environment: production\n    ", with: ""))
        _ = try await it.push("c1") { $0.is_trusted = false }
        try await it.work()
        let lease = try await it.lease()
        #expect(lease.stage == "deploy" && lease.id_token == nil)
        let refused = await #expect(throws: Problem.self) { try await it.house.call(Runners.idToken, lease.key) }
        #expect(refused?.message == "its code is not trusted")
    }

    @Test func `an environment's oidc gives its jobs a token`() async throws {
        let it = try await house(secrets)
        try await it.house.apply("{ kind: Environment, name: production, oidc: { audience: vault } }")
        try await it.house.apply(Self.pipeline.replacing("id_token: sts.example.com, ", with: ""))
        _ = try await it.begin()
        try await it.work()
        #expect(try await it.lease().id_token?.audience == "vault")
    }

    @Test func `a job that the server does itself is not given secrets in vain`() throws {
        let spec = try PipelineSpec(
            yaml: """
                stages:
                  - { name: s, jobs: { j: { secrets: [A], steps: [{ deploy: { service: x } }] } } }
                """)
        let error = #expect(throws: ManifestError.self) { try Admission.check(spec) }
        #expect(error?.at == ["stages", "0", "jobs", "j", "secrets"])
    }
}

extension Statement {
    fileprivate static func all(of table: String) -> Statement { Statement(stringLiteral: "SELECT * FROM \(table)") }
}
