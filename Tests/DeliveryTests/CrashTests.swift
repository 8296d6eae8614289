import API
import Kernel
import KernelTesting
import Manifests
import SQL
import Testing

@testable import Delivery

/// The server dies after its n-th commit, for every n, and starts again on what is left.
@Suite(.timeLimit(.minutes(5))) struct CrashTests {
    private struct Died: Error {}

    /// Deploys, promotes, aborts and undoes; each request is made again until it is answered.
    private static let requests: [@Sendable (Rig) async throws -> Void] = [
        { try await $0.house.apply(web("{ strategy: canary, steps: [{ weight: 50 }, { pause: {} }] }", replicas: 2)) },
        { _ = try await $0.deploy("good") },
        { rig in
            let status = try await rig.status()
            if status.stable_revision == 1 { _ = try await rig.promote() }
        },
        { _ = try await $0.deploy("bad") },
        { rig in
            let status = try await rig.status()
            if !status.aborted { _ = try await rig.abort() }
        },
        { _ = try await $0.undo(to: 1) },
        { try await $0.pass(1) },
    ]

    /// Does a request and all that follows; a database that died is opened again.
    private func work(dieAt death: Int?) async throws -> (rig: Rig, deaths: Int) {
        let home = try TestHouse()
        let platform = FakePlatform(time: home.time)
        var deaths = 0
        func open(_ death: Int?) async throws -> Rig {
            try await Rig.open(folder: home.folder, time: home.time, platform: platform) { commit in
                if commit == death { throw Died() }
            }
        }
        await home.store.close()
        var rig: Rig
        do {
            rig = try await open(death)
        } catch let error as SQLError where error.code == .closed {
            deaths += 1
            rig = try await open(nil)
        }
        for request in Self.requests {
            var isDone = false
            while !isDone {
                do {
                    try await request(rig)
                    try await rig.settle()
                    isDone = true
                } catch let error as SQLError where error.code == .closed {
                    deaths += 1
                    await rig.house.store.close()
                    rig = try await open(nil)
                    try await rig.settle()
                } catch let problem as Problem where problem.code == "revision.stable" {
                    // The undo had been done before the server died.
                    isDone = true
                }
            }
        }
        keep(home)
        return (rig, deaths)
    }

    private func keep(_ house: TestHouse) { withExtendedLifetime(house) {} }

    private func check(_ rig: Rig, _ death: Int) async throws {
        let status = try await rig.status()
        #expect((status.phase, status.stable_revision) == (.healthy, 1), "died at \(death): \(status.message)")
        #expect(status.weights == [1: 100], "died at \(death)")
        #expect(rig.platform.starts.values.allSatisfy { $0 == 1 }, "died at \(death)")
        #expect(rig.platform.running(1).count == 2, "died at \(death)")
        let counts = try await rig.house.events().reduce(into: [String: Int]()) { $0[$1.name, default: 0] += 1 }
        #expect(counts["service.revision-created"] == 3, "died at \(death)")
        #expect(counts["rollout.promoted"] == 2, "died at \(death)")
        #expect(counts["rollout.aborted"] == 1, "died at \(death)")
        #expect(counts["rollout.rolled-back"] == 1, "died at \(death)")
        #expect(counts["instance.lost"] == nil, "died at \(death)")
        #expect(try await rig.house.call(Events.verify, Nothing()).intact, "died at \(death)")
    }

    @Test func `a server that dies after any commit goes on where it was`() async throws {
        let (whole, none) = try await work(dieAt: nil)
        #expect(none == 0)
        try await check(whole, 0)
        var death = 1
        var deaths = 0
        while true {
            let (rig, died) = try await work(dieAt: death)
            if died == 0 { break }
            deaths += died
            try await check(rig, death)
            death += 1
        }
        #expect(deaths == death - 1)
        #expect(deaths > 25, "died \(deaths) times")
    }
}
