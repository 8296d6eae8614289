import API
import Foundation
import Kernel
import KernelTesting
import Manifests
import SQL
import Synchronization
import Testing

@testable import Pipelines

/// Other systems that a gate asks: each answers what a test has told it, and remembers what it was asked.
final class FakeSystems: Sendable {
    struct State {
        var replies: [Outside.Reply] = []
        var asked: [Outside.Question] = []
    }
    let state = Mutex(State())
    let metrics = FakeMetrics()

    /// The answers to come; the last one is repeated.
    func answer(_ replies: [(Int, String)]) {
        state.withLock { $0.replies = replies.map { Outside.Reply(status: $0.0, body: Array($0.1.utf8)) } }
    }

    var asked: [Outside.Question] { state.withLock { $0.asked } }

    func outside(_ secrets: FakeSecrets = FakeSecrets()) -> Outside {
        Outside(secrets: secrets, tokens: secrets, metrics: metrics) { question, _ in
            try self.state.withLock { state in
                state.asked.append(question)
                guard let next = state.replies.first else {
                    throw Problem("outbound.refused", status: 502, "nobody answers")
                }
                if state.replies.count > 1 { state.replies.removeFirst() }
                return next
            }
        }
    }
}

extension PipelineHouse {
    /// A house with a pipeline whose first stage deploys to environment "production", which has this spec.
    static func gated(
        _ environment: String, pipeline: String = GateTests.pipeline, systems: FakeSystems = FakeSystems(),
        secrets: FakeSecrets = FakeSecrets()
    ) async throws -> PipelineHouse {
        let it = try await PipelineHouse(outside: systems.outside(secrets))
        try await it.house.apply(pipeline)
        try await it.apply(environment)
        try await it.hello()
        return it
    }

    /// Applies environment "production" with this spec, and a team.
    func apply(_ environment: String) async throws {
        try await house.apply("kind: Environment\nname: production\n\(environment == "{}" ? "" : environment)")
        try await house.apply("{ kind: Team, name: sre, members: [cleo, dan] }")
    }

    /// A call of a person, by their token.
    static func person(_ name: String, permission: Permission = .run) -> Call {
        Call(actor: "token:\(name)", correlation: "test", permission: permission)
    }

    @discardableResult
    func say(
        _ verdict: Approval.Verdict, _ run: Run, by name: String, stage: String? = nil, comment: String? = nil,
        digest: String? = nil
    ) async throws -> Gate {
        var input = VerdictInput()
        (input.run, input.stage, input.comment, input.digest) = (run.id, stage, comment, digest)
        let operation = verdict == .approved ? Approvals.approve : Approvals.reject
        let gates = try await house.caller.call(operation, input, as: Self.person(name)).items
        try await settle()
        return try #require(gates.first)
    }

    func inbox(_ name: String, mine: Bool = false) async throws -> [Gate] {
        var query = GateQuery()
        query.mine = mine
        return try await house.caller.call(Approvals.list, query, as: Self.person(name)).items
    }

    /// Starts a run as a person does, and brings it as far as it gets.
    func begin(_ pipeline: String = "p", by name: String = "bob") async throws -> Run {
        var input = RunInput()
        input.pipeline = pipeline
        let run = try await house.caller.call(Runs.start, input, as: Self.person(name))
        try await settle()
        return try await self.run(run.id)
    }

    /// Lays a run of a commit, as a push does.
    func push(_ commit: String, author: String? = nil, edit: (inout Trigger) -> Void = { _ in }) async throws -> Run {
        let reference = Reference<PipelineKind>(project: "default", name: "p")
        let spec = try #require(try await house.store.read { try $0.resource(PipelineKind.self, reference)?.spec })
        var trigger = Trigger()
        (trigger.type, trigger.actor, trigger.ref) = (.push, "token:bob", "refs/heads/main")
        trigger.event = author.map { ["author": .string($0)] }
        edit(&trigger)
        var request = RunRequest(project: "default", pipeline: "p", spec: spec, trigger: trigger)
        request.commit = commit
        let (final, id) = (request, house.context.ids.next("run"))
        _ = try await house.store.change(.system("test")) { try $0.lay(final, id: id) }
        try await settle()
        return try await run(id)
    }

    /// Asks every check that is due, then brings the runs forward.
    func check() async throws {
        let checks = domain.checkReconciler
        for key in try await checks.keys() { _ = try await checks.reconcile(key) }
        try await settle()
    }

    func names(_ events: String...) async throws -> [String] {
        try await house.events().map(\.name).filter { name in events.contains { name.hasPrefix($0) } }
    }
}
