import API
import Kernel
import Testing

@testable import Delivery

@Suite struct RecallTests {
    @Test func `what was read is known until a bell rings about it`() async throws {
        let bells = Bells()
        let recall = Recall<String, Int>(bells) { $0 == $1 }
        func ask(_ key: String, finds number: Int) async throws -> Int { try await recall.value(of: key) { number }.0 }
        #expect(try await ask("a", finds: 1) == 1)
        #expect(try await ask("b", finds: 1) == 1)
        #expect(try await ask("a", finds: 2) == 1)
        bells.ring(["Service", "Service/a"])
        #expect(try await ask("a", finds: 3) == 3)
        #expect(try await ask("b", finds: 3) == 1)
        bells.ring(["Copy"])
        #expect(try await ask("b", finds: 4) == 4)
        bells.ring(["Run"])
        #expect(try await ask("b", finds: 5) == 4)
        recall.forget("b")
        #expect(try await ask("b", finds: 6) == 6)
    }

    @Test func `what was read while a bell rang is not kept, whoever heard it`() async throws {
        let bells = Bells()
        let recall = Recall<String, Int>(bells) { _, _ in true }
        let first = try await recall.value(of: "a") {
            bells.ring(["Copy"])
            // Somebody else hears the bell and reads what is true now.
            _ = try await recall.value(of: "b") { 2 }
            return 1
        }
        #expect(first.0 == 1)
        #expect(try await recall.value(of: "a") { 2 }.0 == 2)
        #expect(try await recall.value(of: "b") { 3 }.isNew == false)
    }
}
