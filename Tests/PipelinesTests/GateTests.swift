import API
import Foundation
import Kernel
import KernelTesting
import Manifests
import SQL
import Synchronization
import Testing

@testable import Pipelines

@Suite struct GateTests {
    static let pipeline = """
        kind: Pipeline
        name: p
        stages:
          - { name: deploy, environment: production, jobs: { app: { steps: [{ run: ./deploy }] } } }
          - { name: after, jobs: { j: { steps: [{ run: a }] } } }
        """

    // MARK: Approvals

    static let two = "approval_gates: { approvals: { min: 2, from: [\"team:sre\", \"user:ana\"], expires: 24h } }"

    @Test func `a job begins once enough people have said yes, and not before`() async throws {
        let it = try await PipelineHouse.gated(Self.two)
        let run = try await it.begin()
        #expect(run.jobs[0].status == .waiting)
        #expect(
            run.jobs[0].reason
                == "environment \"production\" has 0 of 2 approvals; it waits for more from team:sre, user:ana until 2026-01-06T08:00:00Z"
        )
        #expect(try await !it.isReady())
        try await it.say(.approved, run, by: "ana", comment: "looks right")
        #expect(try await !it.isReady())
        let gate = try await it.say(.approved, run, by: "cleo")
        #expect(gate.approvals.map(\.by) == ["ana", "cleo"])
        let lease = try await it.lease()
        #expect(lease.stage == "deploy" && lease.environment == "production")
        let evidence = try #require(try await it.run(run.id).gates.first)
        #expect(evidence.status == .open && evidence.digest.hasPrefix("sha256:"))
        #expect(evidence.approvals.map(\.comment) == ["looks right", nil])
        #expect(
            try await it.names("approval.", "gate.")
                == ["approval.requested", "approval.granted", "approval.granted", "gate.opened"])
        try await it.finish(lease)
        try await it.end(lease)
        try await it.work()
        #expect(try await it.run(run.id).status == .succeeded)
    }

    @Test func `neither who started a run nor who wrote its commit may approve it`() async throws {
        let it = try await PipelineHouse.gated("approval_gates: { approvals: { min: 1 } }")
        let run = try await it.push("c1", author: "Ana <ana@example.com>")
        for name in ["bob", "ana"] {
            let refused = await #expect(throws: Problem.self) { try await it.say(.approved, run, by: name) }
            #expect(refused?.code == "approval.author")
        }
        #expect(try await it.inbox("ana", mine: true).isEmpty)
        #expect(try await it.inbox("cleo", mine: true).map(\.run) == [run.id])
        try await it.say(.approved, run, by: "cleo")
        #expect(try await it.isReady())
    }

    @Test func `who was not asked, and who is no person, cannot approve`() async throws {
        let it = try await PipelineHouse.gated("approval_gates: { approvals: { from: [\"team:sre\"] } }")
        let run = try await it.begin()
        var refused = await #expect(throws: Problem.self) { try await it.say(.approved, run, by: "ana") }
        #expect(refused?.code == "approval.not-asked" && refused?.status == 403)
        var input = VerdictInput()
        input.run = run.id
        let sent = input
        refused = await #expect(throws: Problem.self) { try await it.house.call(Approvals.approve, sent) }
        #expect(refused?.code == "approval.person")
        let reader = PipelineHouse.person("cleo", permission: .read)
        refused = await #expect(throws: Problem.self) {
            try await it.house.caller.call(Approvals.approve, sent, as: reader)
        }
        #expect(refused?.code == "forbidden")
    }

    @Test func `the same person twice counts once, and is told once`() async throws {
        let it = try await PipelineHouse.gated(Self.two)
        let run = try await it.begin()
        for _ in 0..<3 { try await it.say(.approved, run, by: "ana") }
        #expect(try await !it.isReady())
        #expect(try await it.house.events(named: "approval.granted").count == 1)
        #expect(try await it.inbox("ana", mine: true).isEmpty)
    }

    @Test func `people who approve at the same moment all count, and the gate opens once`() async throws {
        let it = try await PipelineHouse.gated("approval_gates: { approvals: { min: 5 } }")
        let run = try await it.begin()
        var input = VerdictInput()
        input.run = run.id
        let sent = input
        try await withThrowingTaskGroup(of: Void.self) { group in
            for name in ["a", "b", "c", "d", "e", "a", "b"] {
                group.addTask {
                    _ = try await it.house.caller.call(Approvals.approve, sent, as: PipelineHouse.person(name))
                }
            }
            try await group.waitForAll()
        }
        try await it.settle()
        #expect(try await it.isReady())
        #expect(try await it.house.events(named: "approval.granted").count == 5)
        #expect(try await it.house.events(named: "gate.opened").count == 1)
    }

    @Test func `a comment that is wanted must be given`() async throws {
        let it = try await PipelineHouse.gated("approval_gates: { approvals: { comment: required } }")
        let run = try await it.begin()
        for comment in [nil, " \n"] {
            let refused = await #expect(throws: Problem.self) {
                try await it.say(.approved, run, by: "ana", comment: comment)
            }
            #expect(refused?.code == "approval.comment")
        }
        try await it.say(.approved, run, by: "ana", comment: "tested")
        #expect(try await it.isReady())
    }

    @Test func `one no ends the job, whoever has said yes`() async throws {
        let it = try await PipelineHouse.gated(Self.two)
        let run = try await it.begin()
        try await it.say(.approved, run, by: "ana")
        let gate = try await it.say(.rejected, run, by: "cleo", comment: "locks the orders table")
        #expect(gate.status == .rejected)
        let ended = try await it.run(run.id)
        #expect(ended.status == .failed)
        #expect(
            ended.jobs[0].reason == "cleo has rejected it for environment \"production\": locks the orders table")
        #expect(ended.jobs[1].status == .skipped)
        let late = await #expect(throws: Problem.self) { try await it.say(.approved, run, by: "ana") }
        #expect(late?.code == "approval.nothing")
        #expect(
            try await it.names("approval.", "gate.") == ["approval.requested", "approval.granted", "approval.rejected"])
    }

    @Test func `a job whose approvals come too late fails, and says what it had`() async throws {
        let it = try await PipelineHouse.gated(Self.two)
        let run = try await it.begin()
        try await it.say(.approved, run, by: "ana")
        it.house.time.advance(by: .seconds(86_399))
        try await it.settle()
        #expect(try await it.run(run.id).jobs[0].status == .waiting)
        it.house.time.advance(by: .seconds(1))
        try await it.settle()
        let ended = try await it.run(run.id)
        #expect(ended.status == .failed)
        #expect(
            ended.jobs[0].reason
                == "approval for environment \"production\" expired at 2026-01-06T08:00:00Z: it had 1 of 2 approvals (ana)"
        )
        #expect(ended.gates.map(\.status) == [.expired])
        #expect(try await it.house.events(named: "approval.expired").count == 1)
    }

    @Test func `a change of what waits voids what was said of it`() async throws {
        let it = try await PipelineHouse.gated(Self.two)
        let run = try await it.begin()
        let before = try await it.say(.approved, run, by: "ana")
        try await it.apply(Self.two + "\nvariables: { LOG_LEVEL: debug }")
        try await it.settle()
        let refused = await #expect(throws: Problem.self) { try await it.say(.approved, run, by: "cleo") }
        #expect(refused?.code == "approval.changed" && refused?.status == 409)
        let gate = try #require(try await it.inbox("cleo").first)
        #expect(gate.digest != before.digest)
        #expect(gate.approvals.map(\.is_void) == [true])
        try await it.say(.approved, run, by: "cleo")
        #expect(try await !it.isReady(), "a void approval counted")
        try await it.say(.approved, run, by: "ana")
        #expect(try await it.lease().steps[0].environment["LOG_LEVEL"] == "debug")
        #expect(try await it.names("approval.voided") == ["approval.voided"])
        #expect(try await it.names("approval.requested").count == 2)
    }

    @Test func `a change at the last moment keeps the job out`() async throws {
        let it = try await PipelineHouse.gated("approval_gates: { approvals: { min: 1 } }")
        let run = try await it.begin()
        var input = VerdictInput()
        input.run = run.id
        // Approved, and not yet let in, when the environment changes.
        _ = try await it.house.caller.call(Approvals.approve, input, as: PipelineHouse.person("ana"))
        try await it.apply("approval_gates: { approvals: { min: 1 } }\nvariables: { A: b }")
        try await it.settle()
        #expect(try await !it.isReady())
        #expect(try await it.names("approval.voided", "gate.opened") == ["approval.voided"])
    }

    @Test func `who approves a digest approves nothing else`() async throws {
        let it = try await PipelineHouse.gated("approval_gates: { approvals: { min: 1 } }")
        let run = try await it.begin()
        let refused = await #expect(throws: Problem.self) {
            try await it.say(.approved, run, by: "ana", digest: "0000")
        }
        #expect(refused?.code == "approval.changed")
        let digest = try #require(try await it.inbox("ana").first?.digest)
        try await it.say(.approved, run, by: "ana", digest: String(digest.dropFirst("sha256:".count).prefix(12)))
        #expect(try await it.isReady())
    }

    @Test func `a newer run that is let in supersedes older ones that wait`() async throws {
        let it = try await PipelineHouse.gated("approval_gates: { approvals: { min: 1, supersede: true } }")
        let (first, second, third) = (try await it.begin(), try await it.begin(), try await it.begin())
        try await it.say(.approved, second, by: "ana")
        try await it.settle()
        let older = try await it.run(first.id)
        #expect(older.status == .superseded)
        #expect(older.jobs[0].reason == "superseded by p:2, which was let into environment \"production\"")
        #expect(older.jobs[1].status == .skipped)
        #expect(try await it.run(third.id).jobs[0].status == .waiting)
        #expect(try await it.lease().run == second.id)
        #expect(try await it.names("gate.superseded").count == 1)
    }

    @Test func `without supersede older runs wait on`() async throws {
        let it = try await PipelineHouse.gated("approval_gates: { approvals: { min: 1 } }")
        let (first, second) = (try await it.begin(), try await it.begin())
        try await it.say(.approved, second, by: "ana")
        #expect(try await it.run(first.id).jobs[0].status == .waiting)
    }

    @Test func `what waits in several stages must be named`() async throws {
        let it = try await PipelineHouse.gated(
            "approval_gates: { approvals: { min: 1 } }",
            pipeline: """
                kind: Pipeline
                name: p
                stages:
                  - { name: eu, environment: production, jobs: { app: { steps: [{ run: a }] } } }
                  - { name: us, needs: [], environment: production, jobs: { app: { steps: [{ run: b }] } } }
                """)
        let run = try await it.begin()
        let refused = await #expect(throws: Problem.self) { try await it.say(.approved, run, by: "ana") }
        #expect(refused?.code == "approval.which")
        #expect(try await it.say(.approved, run, by: "ana", stage: "us").stage == "us")
        #expect(try await it.inbox("cleo").map(\.stage) == ["eu"])
    }

    @Test func `a cancelled run leaves nothing in the inbox`() async throws {
        let it = try await PipelineHouse.gated("approval_gates: { approvals: { min: 1 } }")
        let run = try await it.begin()
        _ = try await it.house.call(Runs.cancel, RunName(project: "default", run: run.id))
        try await it.settle()
        let ended = try await it.run(run.id)
        #expect(ended.status == .cancelled)
        #expect(ended.gates.map(\.status) == [.closed])
        #expect(try await it.inbox("ana").isEmpty)
    }

    // MARK: Branches, freezes, waits

    @Test func `a run of another branch is turned away, with the reason kept`() async throws {
        let it = try await PipelineHouse.gated("branches: [main]")
        let run = try await it.push("c1") { $0.ref = "refs/heads/feature" }
        #expect(run.status == .failed)
        #expect(run.jobs[0].reason == "environment \"production\" takes only runs of main, not of feature")
        #expect(run.gates.map(\.status) == [.refused])
        #expect(try await it.names("gate.") == ["gate.refused"])
    }

    @Test func `an environment that goes away lets nobody in`() async throws {
        let it = try await PipelineHouse.gated("approval_gates: { approvals: { min: 1 } }")
        let run = try await it.begin()
        let name = ResourceName(project: "default", kind: "environments", name: "production")
        _ = try await it.house.call(Resources.delete, name)
        try await it.settle()
        let ended = try await it.run(run.id)
        #expect(ended.jobs[0].status == .failed)
        #expect(ended.jobs[0].reason == "there is no environment \"production\" in project \"default\"")
    }

    @Test func `a freeze holds jobs back until it ends, and lets a rollback pass`() async throws {
        let freeze =
            "freeze: [{ name: winter, from: 2026-01-06T00:00:00Z, to: 2026-01-07T00:00:00Z, allow: [rollback, \"label:hotfix\"] }]"
        let it = try await PipelineHouse.gated(freeze)
        for commit in ["good", "bad"] {
            let run = try await it.push(commit)
            for _ in 0..<2 { try await it.work() }
            #expect(try await it.run(run.id).status == .succeeded)
        }
        it.house.time.advance(by: .seconds(17 * 3600))
        let fresh = try await it.push("newest")
        #expect(
            fresh.jobs[0].reason == "environment \"production\" is frozen by \"winter\" until 2026-01-07T00:00:00Z")
        let rollback = try await it.push("good")
        #expect(try await it.lease().run == rollback.id)
        let hotfix = try await it.push("fix") { $0.labels = ["hotfix"] }
        #expect(try await it.lease().run == hotfix.id)
        #expect(try await !it.isReady())
        it.house.time.advance(by: .seconds(23 * 3600))
        #expect(try await it.lease().run == fresh.id)
    }

    @Test func `a wait is waited, then the job begins by itself`() async throws {
        let it = try await PipelineHouse.gated("approval_gates: { wait: 5m }")
        let run = try await it.begin()
        #expect(
            run.jobs[0].reason == "environment \"production\" lets it in at 2026-01-05T08:05:00Z, after 5m")
        it.house.time.advance(by: .seconds(299))
        try await it.settle()
        #expect(try await !it.isReady())
        it.house.time.advance(by: .seconds(1))
        try await it.settle()
        #expect(try await it.isReady())
    }

    // MARK: Checks

    static let hook = "approval_gates: { checks: [{ webhook: \"https://itsm.local/change\", timeout: 1m }] }"

    @Test func `a webhook is asked until it says yes, each time under the same key, signed`() async throws {
        let systems = FakeSystems()
        systems.answer([
            (202, "{\"message\": \"in the board\"}"), (503, ""), (200, "{\"message\": \"CHG-7 is approved\"}"),
        ])
        let it = try await PipelineHouse.gated(Self.hook, systems: systems)
        let run = try await it.begin()
        try await it.check()
        #expect(
            try await it.run(run.id).jobs[0].reason
                == "waits for the answer of webhook https://itsm.local/change: in the board")
        try await it.check()
        #expect(systems.asked.count == 1, "it was asked again before its time")
        for _ in 0..<2 {
            it.house.time.advance(by: .seconds(10))
            try await it.check()
        }
        #expect(try await it.isReady())
        let asked = systems.asked
        #expect(asked.count == 3)
        #expect(Set(asked.map { $0.headers.first { $0.0 == "Idempotency-Key" }?.1 }).count == 1)
        let body = try JSONParser.parse(asked[0].body)
        #expect(body["run"]?.string == run.id && body["environment"] == "production")
        #expect(body["digest"]?.string == (try await it.run(run.id)).gates[0].digest)
        let token = try #require(asked[0].headers.first { $0.0 == "X-Vagus-Token" }?.1)
        let claims = try JSONParser.parse(String(token.dropFirst("fake.".count)))
        #expect(claims["aud"] == "https://itsm.local/change" && claims["body_sha256"]?.string?.count == 64)
        #expect(try await it.run(run.id).gates[0].checks.map(\.message) == ["CHG-7 is approved"])
    }

    @Test func `a webhook that says no ends the job with its words`() async throws {
        let systems = FakeSystems()
        systems.answer([(409, "{\"message\": \"change CHG-7 is not approved\"}")])
        let it = try await PipelineHouse.gated(Self.hook, systems: systems)
        let run = try await it.begin()
        try await it.check()
        let ended = try await it.run(run.id)
        #expect(ended.status == .failed)
        #expect(
            ended.jobs[0].reason
                == "webhook https://itsm.local/change has said no: change CHG-7 is not approved")
        #expect(try await it.names("gate.") == ["gate.check-failed", "gate.refused"])
    }

    @Test func `a webhook that says nothing in time keeps the job out`() async throws {
        let it = try await PipelineHouse.gated(Self.hook)
        let run = try await it.begin()
        for _ in 0..<7 {
            try await it.check()
            it.house.time.advance(by: .seconds(10))
        }
        try await it.check()
        #expect(
            try await it.run(run.id).jobs[0].reason
                == "webhook https://itsm.local/change has said no: it was not yes within 1m; the last answer was: nobody answers"
        )
    }

    static let answers: [(status: Int, body: String, answer: CheckReconciler.Answer)] = [
        (200, vector("0.97"), .passed("0.97")), (200, vector("0.5"), .notYet("0.5 is below 0.9")),
        (200, vector("1.5"), .notYet("1.5 is above 1.0")), (200, vector("NaN"), .notYet("the query gives NaN")),
        (200, vector(), .notYet("the query finds nothing")), (200, vector("0.97", "0.1"), .notYet("0.1 is below 0.9")),
        (200, "{\"status\":\"success\",\"data\":{\"resultType\":\"scalar\",\"result\":[1,\"0.95\"]}}", .passed("0.95")),
        (400, "{\"status\":\"error\",\"error\":\"parse error\"}", .failed("parse error")),
        (503, "{\"status\":\"error\",\"error\":\"not ready\"}", .notYet("not ready")),
        (200, "<html>", .notYet("it answered 200 without JSON")),
    ]

    static func vector(_ values: String...) -> String {
        let samples = values.map { "{\"metric\":{},\"value\":[1767600000,\"\($0)\"]}" }.joined(separator: ",")
        return "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[\(samples)]}}"
    }

    @Test(arguments: answers.indices)
    func `a query passes when all that it finds lies within its bounds`(row: Int) throws {
        let (status, body, answer) = Self.answers[row]
        let spec = try GateCheckSpec(yaml: "{ query: up, source: \"http://prometheus:9090\", min: 0.9, max: 1 }")
        #expect(CheckReconciler.reading(query: Outside.Reply(status: status, body: Array(body.utf8)), spec) == answer)
    }

    @Test func `a query is asked of the Prometheus that is named`() async throws {
        let systems = FakeSystems()
        systems.answer([(200, Self.vector("1"))])
        let it = try await PipelineHouse.gated(
            "approval_gates: { checks: [{ query: 'up{job=\"a b\"} > 0', source: \"http://prometheus:9090/\" }] }",
            systems: systems)
        _ = try await it.begin()
        try await it.check()
        #expect(try await it.isReady())
        #expect(systems.asked.map(\.url) == ["http://prometheus:9090/api/v1/query"])
        #expect(
            systems.asked.map { String(decoding: $0.body, as: UTF8.self) }
                == ["query=up%7Bjob%3D%22a%20b%22%7D%20%3E%200"])
    }

    @Test func `checks come before approvals are asked for`() async throws {
        let systems = FakeSystems()
        systems.answer([(200, "")])
        let it = try await PipelineHouse.gated(
            "approval_gates: { checks: [{ webhook: \"https://a\" }], approvals: { min: 1 } }", systems: systems)
        let run = try await it.begin()
        #expect(try await it.house.events(named: "approval.requested").isEmpty)
        try await it.check()
        #expect(try await it.house.events(named: "approval.requested").count == 1)
        try await it.say(.approved, run, by: "ana")
        #expect(try await it.isReady())
    }
}
