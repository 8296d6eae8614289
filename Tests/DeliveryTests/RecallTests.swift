import API
import Kernel
import KernelTesting
import Testing

@testable import Delivery

@Suite struct RecallTests {
    @Test func `what was read is known until a bell rings about it`() async throws {
        let bells = Bells()
        let recall = Recall<String, Int>(bells) { $0 }
        func ask(_ key: String, finds number: Int) async throws -> Int { try await recall.value(of: key) { number }.0 }
        #expect(try await ask("a", finds: 1) == 1)
        #expect(try await ask("b", finds: 1) == 1)
        #expect(try await ask("a", finds: 2) == 1)
        bells.ring(["Service", "Service/a"])
        #expect(try await ask("a", finds: 3) == 3)
        #expect(try await ask("b", finds: 3) == 1)
        bells.ring(["Service"])
        #expect(try await ask("b", finds: 4) == 4)
        bells.ring(["Run"])
        #expect(try await ask("b", finds: 5) == 4)
        recall.forget("b")
        #expect(try await ask("b", finds: 6) == 6)
    }

    @Test func `thousands of copies are looked at when something has changed, and seldom else; a few every second`() {
        let sights = Lookout.Sights()
        func isQuiet(_ changes: UInt64?, copies: Int, _ seconds: Double) -> Bool {
            sights.isQuiet(.process, changes, copies: copies, at: second(seconds))
        }
        #expect(!isQuiet(7, copies: 6_000, 0), "never looked at yet")
        sights.note(.process, 7, at: second(0))
        #expect(isQuiet(7, copies: 6_000, 19))
        #expect(!isQuiet(8, copies: 6_000, 1), "something has changed")
        #expect(!isQuiet(7, copies: 6_000, 20), "it was long ago")
        #expect(!isQuiet(7, copies: 200, 0), "few cost nothing")
        #expect(!isQuiet(nil, copies: 6_000, 1), "nobody tells")
        sights.note(.process, nil, at: second(1))
        #expect(!isQuiet(7, copies: 6_000, 1))
    }

    @Test func `a service that waits for the proxies is told of when one has taken another table`() async throws {
        let rig = try await Rig.open()
        let watch = ProxyWatch()
        let service = ServiceReference(project: "default", name: "web")
        func ask(_ version: Int64) async throws -> Acknowledgement {
            let now = rig.house.time.now
            return try await rig.house.store.read {
                try watch.acknowledgement(of: version, for: service, at: now, in: $0)
            }
        }
        #expect(watch.note("proxy", table: 1, at: rig.house.time.now).isNews)
        #expect(try await ask(1) == .yes)
        #expect(try await ask(2) == .waiting)
        #expect(watch.note("proxy", table: 1, at: rig.house.time.now).isNews == false)
        let told = watch.note("proxy", table: 2, at: rig.house.time.now)
        #expect(told.isNews && told.waiting == [service])
        #expect(watch.note("proxy", table: 3, at: rig.house.time.now).waiting.isEmpty, "told once")
    }

    @Test func `what was read while a bell rang is not kept, whoever heard it`() async throws {
        let bells = Bells()
        let recall = Recall<String, Int>(bells)
        let first = try await recall.value(of: "a") {
            bells.ring(["Service", "Service/a"])
            // Somebody else hears the bell and reads what is true now.
            _ = try await recall.value(of: "b") { 2 }
            return 1
        }
        #expect(first.0 == 1)
        #expect(try await recall.value(of: "a") { 2 }.0 == 2)
        #expect(try await recall.value(of: "b") { 3 }.isNew == false)
    }

    @Test func `a bell about another service does not undo a read`() async throws {
        let bells = Bells()
        let recall = Recall<String, Int>(bells) { $0 }
        func read(while names: Set<String>, _ number: Int) async throws -> Int {
            try await recall.value(of: "a") {
                bells.ring(names)
                _ = try await recall.value(of: "b") { 0 }
                return number
            }.0
        }
        #expect(try await read(while: ["Service", "Service/b"], 1) == 1)
        #expect(try await recall.value(of: "a") { 2 }.0 == 1)
        recall.forget("a")
        #expect(try await read(while: ["Service", "Service/a"], 3) == 3)
        #expect(try await recall.value(of: "a") { 4 }.0 == 4)
    }
}
