import API
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Pipelines

@Suite struct JobTokenTests {
    private static let pipeline =
        "{ kind: Pipeline, name: p, stages: [{ name: s, jobs: { j: { steps: [{ run: x }] } } }] }"
    private static let own = Reference<RepositoryKind>(project: "default", name: "shop")
    private static let other = Reference<RepositoryKind>(project: "default", name: "tools")

    /// A job under way of a run of repository "shop", and its token.
    private func begin(_ it: PipelineHouse, isTrusted: Bool) async throws -> (lease: Lease, token: String) {
        try await it.house.apply(Self.pipeline)
        try await it.hello()
        var request = RunRequest(
            project: "default", pipeline: "p", spec: try PipelineSpec(json: try await spec(it), at: []),
            trigger: Trigger())
        (request.repository, request.trigger.is_trusted) = ("shop", isTrusted)
        let (asked, id) = (request, it.house.context.ids.next("run"))
        _ = try await it.house.store.change(.system("test")) { try $0.lay(asked, id: id) }
        try await it.settle()
        let lease = try await it.lease()
        let key = JobKey(run: lease.run, stage: lease.stage, job: lease.job)
        return (lease, try await it.house.store.change(.system("test")) { try $0.giveToken(to: key) })
    }

    private func spec(_ it: PipelineHouse) async throws -> JSONValue {
        let found = try await it.house.store.read {
            try $0.resource(kind: PipelineKind.name, project: "default", name: "p")
        }
        return try #require(found).spec
    }

    @Test func `the token of an untrusted run reads its own repository and no other`() async throws {
        let it = try await PipelineHouse()
        let (_, token) = try await begin(it, isTrusted: false)
        let tokens = JobTokens(store: it.house.store)
        let call = try await tokens.call(for: token, at: Self.own, correlation: "test")
        #expect(call?.permission == .read && call?.project == "default")
        let problem = await #expect(throws: Problem.self) {
            try await tokens.call(for: token, at: Self.other, correlation: "test")
        }
        #expect(problem?.status == 403)
    }

    @Test func `the token of a trusted run reads its project and dies with the job`() async throws {
        let it = try await PipelineHouse()
        let (lease, token) = try await begin(it, isTrusted: true)
        let tokens = JobTokens(store: it.house.store)
        #expect(try await tokens.call(for: token, at: Self.other, correlation: "test") != nil)
        #expect(try await tokens.call(for: "vgj_other", at: Self.own, correlation: "test") == nil)
        try await it.finish(lease)
        try await it.end(lease)
        #expect(try await tokens.call(for: token, at: Self.own, correlation: "test") == nil)
    }
}
