import API
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Delivery

/// Questions that copies are asked, and what their answers do.
@Suite(.timeLimit(.minutes(2))) struct HealthTests {
    private func health(_ yaml: String) throws -> HealthSpec {
        try HealthSpec(json: YAML.documents(yaml)[0].value, at: [])
    }

    private func questions(_ yaml: String, isModel: Bool = false, hasBegun: Bool = true) throws -> [HealthQuestion] {
        ProbePlan.plans(try health(yaml), isModel: isModel, hasBegun: hasBegun, isReady: true).map(\.question)
    }

    // MARK: - What is asked

    @Test func `an open port is well unless something else is said, and a model says it itself`() throws {
        #expect(try questions("{}") == [.port])
        #expect(try questions("{}", isModel: true) == [.path("/v2/health/ready")])
        #expect(try questions("{ tcp: true }", isModel: true) == [.port])
        #expect(try questions("{ http: /healthz }") == [.path("/healthz")])
        #expect(try questions("{ exec: pg_isready -q }") == [.command(["/bin/sh", "-c", "pg_isready -q"])])
        #expect(try questions("{ exec: [pg_isready, -q] }") == [.command(["pg_isready", "-q"])])
    }

    @Test func `the start comes first, and then the others`() throws {
        let yaml = "{ http: /ready, start: { exec: a }, live: { tcp: true, interval: 7s, delay: 1m } }"
        #expect(try questions(yaml, hasBegun: false) == [.command(["/bin/sh", "-c", "a"])])
        #expect(try questions(yaml) == [.path("/ready"), .port])
        let plans = ProbePlan.plans(try health(yaml), isModel: false, hasBegun: true, isReady: false)
        // A copy that is not well yet is asked often, but only for its traffic.
        #expect(plans.map(\.interval) == [ProbePlan.eagerness, .seconds(7)])
        #expect(plans.map(\.delay) == [.zero, .seconds(60)])
        #expect(plans.map(\.badAfter) == [3, ProbePlan.livePatience])
    }

    @Test(arguments: [
        ("{ http: /a, exec: b }", "not by both"), ("{ live: {} }", "says nothing of what it does"),
        ("{ live: { http: /a, tcp: true } }", "has both"), ("{ exec: [] }", "a command, as one line or as a list"),
        ("{ start: { exec: a, unhealthy_after: 0 } }", "unhealthy_after"),
    ])
    func `what cannot be asked is refused where it is written`(yaml: String, words: String) throws {
        let error = #expect(throws: ManifestError.self) { try health(yaml) }
        #expect(error?.message.contains(words) ?? false, "\(String(describing: error))")
    }

    @Test func `bad answers in a row count, and a good one begins the count anew`() {
        let book = ProbeBook(Bells())
        let plan = ProbePlan(role: .live, question: .port, interval: .seconds(5), timeout: .seconds(1), badAfter: 3)
        let id = InstanceID("default/web/1/1")
        let answers = [false, false, true, false, false, false].enumerated().map { index, isGood in
            book.note(id, plan, isGood: isGood, at: second(Double(index)))
        }
        #expect(answers == [nil, nil, true, nil, nil, false])
        #expect(book.next(id, plan, startedAt: second(0)) == second(10))
        var late = plan
        (late.role, late.delay) = (.start, .seconds(30))
        #expect(book.next(id, late, startedAt: second(0)) == second(30))
    }

    // MARK: - What the answers do

    @Test func `a copy that does not live is replaced, each time later, and keeps no traffic`() async throws {
        let rig = try await Rig.open()
        try await rig.house.apply(
            web(more: "health: { http: /ready, live: { http: /live, interval: 1s, unhealthy_after: 2 } }"))
        try await rig.settle()
        #expect(try await rig.status().stable_revision == 1)
        let first = try #require(rig.platform.running(1).first?.id)
        rig.platform.setGood(false, .path("/live"))
        try await rig.pass(1)
        #expect(rig.platform.running(1).map(\.id) == [first], "one bad answer is forgiven")
        try await rig.pass(8)
        #expect(!rig.platform.running(1).map(\.id).contains(first))
        let lost = try await rig.events("instance.lost")
        #expect(lost.first?.data["reason"]?.string == "it did not live: 2 bad answers in a row")
        // The pause doubles from 1 s: with two bad answers a life, not more than three lives fit into nine seconds.
        #expect((2...3).contains(lost.count), "\(lost.count)")
        rig.platform.setGood(true, .path("/live"))
        try await rig.pass(10)
        #expect(try await rig.status().phase == .healthy)
        #expect(try await rig.events("instance.lost").count <= lost.count + 1)
    }

    @Test func `a copy is asked for its traffic only when it has started, also after a crash of the server`()
        async throws
    {
        let rig = try await Rig.open()
        rig.platform.setGood(false, .command(["begun"]))
        try await rig.house.apply(
            web(more: "health: { http: /ready, start: { exec: [begun], interval: 1s }, live: { tcp: true } }"))
        try await rig.pass(5)
        let id = try #require(rig.platform.running(1).first?.id)
        #expect(Set(rig.platform.questions(to: id)) == [.command(["begun"])])
        #expect(try await rig.status().revision(1)?.ready == 0)
        rig.platform.setGood(true, .command(["begun"]))
        try await rig.pass(2)
        #expect(try await rig.status().phase == .healthy)
        #expect(Set(rig.platform.questions(to: id)) == [.command(["begun"]), .path("/ready"), .port])
        // A start that would be bad by now is not asked about again.
        rig.platform.setGood(false, .command(["begun"]))
        let again = try await Rig.open(folder: rig.house.folder, time: rig.time, platform: rig.platform)
        try await again.pass(120)
        #expect(again.platform.running(1).map(\.id) == [id])
        #expect(try await again.status().phase == .healthy)
    }

    @Test func `what was found of a copy is told while it is not well, written once, and forgotten when it is`()
        async throws
    {
        let rig = try await Rig.open()
        rig.platform.setWell(false, revision: 1)
        rig.platform.complain("nothing listens on its port 20001", revision: 1)
        try await rig.house.apply(web())
        try await rig.pass(5)
        #expect(
            try await rig.status().message
                == "Revision 1: 0 of 1 copies are well (nothing listens on its port 20001).")
        let id = try #require(rig.platform.running(1).first?.id)
        func reason() async throws -> String? {
            try await rig.house.store.read { try CopyRow.find(id, in: $0)?.reason }
        }
        #expect(try await reason() == "nothing listens on its port 20001")
        rig.platform.complain("/health answered 503", revision: 1)
        try await rig.pass(2)
        #expect(try await reason() == "/health answered 503")
        rig.platform.setWell(true, revision: 1)
        try await rig.pass(2)
        #expect(try await reason() == nil)
        #expect(try await rig.status().phase == .healthy)
    }

    @Test func `a copy that does not start in its time is replaced`() async throws {
        let rig = try await Rig.open()
        rig.platform.setGood(false, .command(["begun"]))
        try await rig.house.apply(
            web(more: "health: { start: { exec: [begun], interval: 1s, unhealthy_after: 3, delay: 2s } }"))
        try await rig.pass(2)
        let id = try #require(rig.platform.running(1).first?.id)
        #expect(try await rig.events("instance.lost").isEmpty)
        try await rig.pass(6)
        #expect(!rig.platform.running(1).map(\.id).contains(id))
        #expect(
            try await rig.events("instance.lost").first?.data["reason"]?.string
                == "it did not start: 3 bad answers, the last: it is ill")
    }
}
