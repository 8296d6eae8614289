import API
import Kernel
import KernelTesting
import Synchronization
import Testing

@Suite struct BellTests {
    @Test func `rung while nobody listens it is still heard, and only once`() async throws {
        let (bell, time) = (Bell(), ManualTime())
        bell.ring()
        bell.ring()
        #expect(try await bell.wait(until: time.now.advanced(by: .seconds(1)), by: time))
        async let second = bell.wait(until: time.now.advanced(by: .seconds(1)), by: time)
        await time.untilSomeoneSleeps()
        time.advance(by: .seconds(1))
        #expect(try await second == false)
    }

    @Test func `a wait that was cancelled leaves the bell whole`() async throws {
        let bell = Bell()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await bell.wait() }
            group.cancelAll()
            do {
                try await group.waitForAll()
                Issue.record("the wait was not cancelled")
            } catch is CancellationError {}
        }
        bell.ring()
        try await bell.wait()
    }

    @Test func `a wait that timed out leaves the bell whole`() async throws {
        let (bell, time) = (Bell(), ManualTime())
        #expect(try await bell.wait(until: time.now, by: time) == false)
        bell.ring()
        #expect(try await bell.wait(until: time.now.advanced(by: .seconds(1)), by: time))
    }

    @Test func `a topic rings those who listen to it, and those who listen to all`() async throws {
        let (bells, time) = (Bells(), ManualTime())
        let (run, service, all) = (bells.listen(to: ["Run"]), bells.listen(to: ["Service"]), bells.listen(to: ["*"]))
        bells.ring(["Run"])
        #expect(try await run.wait(until: time.now.advanced(by: .seconds(1)), by: time))
        #expect(try await all.wait(until: time.now.advanced(by: .seconds(1)), by: time))
        #expect(try await service.wait(until: time.now, by: time) == false)
        bells.remove(run)
        bells.ring(["Run"])
        #expect(try await run.wait(until: time.now, by: time) == false)
    }

    @Test func `closing the bells ends a long poll before its deadline, and every later one at once`() async throws {
        let (bells, time) = (Bells(), ManualTime())
        let deadline = time.now.advanced(by: .seconds(20))
        async let answer = bells.poll(["Run"], until: deadline, by: time) { () -> Int? in nil }
        await time.untilSomeoneSleeps()
        bells.close()
        #expect(try await answer == nil)
        #expect(time.now < deadline)
        #expect(try await bells.poll(["Run"], until: deadline, by: time) { () -> Int? in nil } == nil)
    }

    @Test func `a poll answers at the ring that brings something, or gives up at its deadline`() async throws {
        let (bells, time) = (Bells(), ManualTime())
        let value = Shared(0)
        async let answer = bells.poll(["Run"], until: time.now.advanced(by: .seconds(20)), by: time) { () -> Int? in
            value.get > 1 ? value.get : nil
        }
        await time.untilSomeoneSleeps()
        value.set(1)
        bells.ring(["Run"])
        await time.untilSomeoneSleeps()
        value.set(2)
        bells.ring(["Run"])
        #expect(try await answer == 2)
        let none = try await bells.poll(["Run"], until: time.now, by: time) { () -> Int? in nil }
        #expect(none == nil)
    }
}

/// A value that several tasks may touch.
final class Shared<Value: Sendable>: Sendable {
    private let stored: Mutex<Value>
    init(_ value: Value) { stored = Mutex(value) }
    var get: Value { stored.withLock { $0 } }
    func set(_ value: Value) { stored.withLock { $0 = value } }
    @discardableResult
    func change<T: Sendable>(_ body: @Sendable (inout Value) -> T) -> T { stored.withLock { body(&$0) } }
}
