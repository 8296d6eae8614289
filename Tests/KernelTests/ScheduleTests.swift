import API
import Testing

@testable import Kernel

@Suite struct ScheduleTests {
    private func at(_ seconds: Int64) -> Timestamp { Timestamp(microseconds: seconds * 1_000_000) }

    @Test func `keys come when they are due, each once, the newest word about it counting`() {
        var schedule = Schedule<Int>()
        for key in 0..<1000 { schedule.succeeded(key, .again(in: .seconds((key * 37) % 100 + 1)), at: at(0)) }
        #expect(schedule.nextWake(before: at(500)) == at(1))
        for second in 1...100 {
            let due = schedule.dueKeys(at: at(Int64(second)))
            #expect(due.count == 10 && Set(due).count == 10)
            #expect(due.allSatisfy { ($0 * 37) % 100 + 1 == second })
            for key in due {
                // Twice the same word is one word; the third takes it back.
                schedule.succeeded(key, .again(in: .seconds(200)), at: at(0))
                schedule.succeeded(key, .again(in: .seconds(200)), at: at(0))
                if key.isMultiple(of: 2) { schedule.succeeded(key, .settled, at: at(0)) }
            }
        }
        #expect(schedule.nextWake(before: at(500)) == at(200))
        let late = schedule.dueKeys(at: at(200))
        #expect(late.count == 500 && Set(late).count == 500)
    }

    @Test func `a key that fails is tried later and later, and no bell hurries it`() {
        var schedule = Schedule<String>()
        var waits: [Duration] = []
        for _ in 0..<11 { waits.append(schedule.failed("a", at: at(0))) }
        #expect(waits.prefix(4) == [.seconds(1), .seconds(2), .seconds(4), .seconds(8)])
        #expect(waits.last == .seconds(300))
        #expect(!schedule.isFree("a", at: at(299)) && schedule.isFree("a", at: at(300)))
        schedule.keep([])
        #expect(schedule.nextWake(before: at(900)) == at(900))
    }
}
