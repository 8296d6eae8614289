import API
import Foundation
import Kernel
import KernelTesting
import SQL
import Synchronization
import Testing

@testable import Monitors

@Suite struct IngestTests {
    @Test func `a repeated prediction is kept once and changes nothing`() async throws {
        let room = try await MonitorRoom()
        let text = MonitorRoom.lines("a", at: "2017-03-01T00:00:00Z")
        try room.write(text)
        try await room.work()
        try room.write(text)
        try room.write(text, to: "other/000001.jsonl")
        try await room.work()
        #expect(try await room.predictionCount() == 200)
        #expect(try await room.sums().predictions == 200)
        #expect(try await room.report().windows.map(\.restated) == [0])
    }

    @Test func `a torn last line waits until it is whole`() async throws {
        let room = try await MonitorRoom()
        let line = MonitorRoom.line("a", at: "2018-01-01", age: "3", sex: "null", score: 0.5)
        let cut = line.index(line.startIndex, offsetBy: 60)
        try room.write(line.replacingOccurrences(of: "\"a\"", with: "\"b\"") + line[..<cut])
        try await room.ingest()
        #expect(try await room.predictionCount() == 1)
        try room.write(String(line[cut...].dropLast()))
        try await room.ingest()
        #expect(try await room.predictionCount() == 1)
        try room.write("\n")
        try await room.ingest()
        #expect(try await room.predictionCount() == 2)
        #expect(try await room.sums().garbage == 0)
    }

    @Test func `lines that are no prediction are skipped and counted`() async throws {
        let room = try await MonitorRoom()
        let good = MonitorRoom.line("a", at: "2018-01-01", age: "3", sex: "null", score: 0.5)
        let garbage = [
            "not json", "{}", "[]", "{\"id\":1}", String(good.dropLast(3)),
            good.dropLast() + "}", good.replacingOccurrences(of: "\"score\":0.5", with: "\"score\":\"high\""),
            good.replacingOccurrences(of: "\"age\":3", with: "\"age\":[3]"),
            good.replacingOccurrences(of: "\"age\":3", with: "\"age\":0x3"),
            good.replacingOccurrences(of: "\"age\":3", with: "\"age\":nan"),
            good.replacingOccurrences(of: "\"id\":\"a\"", with: "\"id\":\"\\u0000\""),
            good.replacingOccurrences(of: "\"id\":\"a\"", with: "\"id\":\"\""),
            good.replacingOccurrences(of: "\"event_time\":1", with: "\"event_time\":99999999"),
        ]
        for line in garbage { try room.write(line.replacingOccurrences(of: "\n", with: "") + "\n") }
        try room.write("\n" + good)
        try await room.work()
        #expect(try await room.predictionCount() == 1)
        #expect(try await room.sums().garbage == Int64(garbage.count))
        let condition = try await room.typed()?.conditions.first { $0.name == "Readable" }
        #expect(condition?.truth == .no && condition?.message.hasPrefix("\(garbage.count) lines") == true)
    }

    @Test func `a house that opens again reads on where it stopped`() async throws {
        let first = try await MonitorRoom()
        try first.write(MonitorRoom.lines("a", at: "2017-03-01T00:00:00Z"))
        try await first.work()
        let before = try await first.report()
        await first.house.store.close()
        let second = try await MonitorRoom(folder: first.house.folder, time: first.house.time)
        try await second.work()
        #expect(try await second.report() == before)
        try second.write(MonitorRoom.lines("b", at: "2018-03-01T00:00:00Z"))
        try await second.work()
        #expect(try await second.report().windows.map(\.rows) == [200, 200])
        #expect(try await second.house.events(named: "monitor.window-told").count == 2)
    }

    @Test(arguments: [1, 2, 3])
    func `rows come in once although the server dies at a commit`(crash: Int) async throws {
        struct Crash: Error {}
        let left = Mutex(Int.max)
        let first = try await MonitorRoom(commitHook: { _ in
            let isNow = left.withLock { left in
                if left < Int.max { left -= 1 }
                return left == 0
            }
            if isNow { throw Crash() }
        })
        let count = SegmentBatch.rowLimit * 2 + 500
        try first.write(MonitorRoom.lines("a", at: "2017-03-01T00:00:00Z", count: count))
        left.withLock { $0 = crash }
        await #expect(throws: (any Error).self) { try await first.ingest() }
        await first.house.store.close()
        let second = try await MonitorRoom(folder: first.house.folder, time: first.house.time)
        let before = try await second.predictionCount()
        #expect(before >= (crash - 1) * SegmentBatch.rowLimit && before <= count)
        try await second.work()
        #expect(try await second.predictionCount() == count)
        #expect(try await second.sums().predictions == Int64(count))
        #expect(try await second.report().windows.map(\.rows) == [count])
    }

    @Test func `files are removed once they were read and their writer has gone on`() async throws {
        let room = try await MonitorRoom()
        for number in 1...3 {
            try room.write(
                MonitorRoom.line("r\(number)", at: "2018-01-01", age: "3", sex: "null", score: 0.5),
                to: "a-00000\(number).jsonl")
            try FileManager.default.setAttributes(
                [.modificationDate: Date(timeIntervalSince1970: 1_000_000 + Double(number))],
                ofItemAtPath: "\(room.predictions)/a-00000\(number).jsonl")
        }
        try room.write("torn", to: "a-000002.jsonl")
        try FileManager.default.setAttributes(
            [.modificationDate: Date(timeIntervalSince1970: 1_000_002)],
            ofItemAtPath: "\(room.predictions)/a-000002.jsonl")
        try await room.ingest()
        let left = try FileManager.default.contentsOfDirectory(atPath: room.predictions).sorted()
        #expect(left == ["a-000002.jsonl", "a-000003.jsonl"])
        // A writer that begins again at 1 is read from its beginning, and its file stays while it is the newer one.
        try room.write(MonitorRoom.line("r4", at: "2018-01-01", age: "3", sex: "null", score: 0.5))
        try await room.ingest()
        #expect(try await room.predictionCount() == 4)
        #expect(FileManager.default.fileExists(atPath: "\(room.predictions)/a-000001.jsonl"))
    }

    @Test func `a line longer than a batch is skipped`() async throws {
        let room = try await MonitorRoom()
        try room.write(String(repeating: "x", count: SegmentBatch.bytesLimit + 100) + "\n")
        try room.write(MonitorRoom.line("a", at: "2018-01-01", age: "3", sex: "null", score: 0.5))
        try await room.ingest()
        #expect(try await room.predictionCount() == 1)
        #expect(try await room.sums().garbage > 0)
    }

    @Test func `features are kept as they were written`() async throws {
        let line = MonitorRoom.line("a\\u00e9", at: "2018-01-01", age: "-1.5e2", sex: "\"l\\\"a\"", score: 1)
        let bytes = Array(line.utf8)
        let prediction = try #require(
            bytes.withUnsafeBufferPointer { $0.baseAddress.flatMap { Prediction($0, bytes.count - 1) } })
        #expect(prediction.id == "aé" && prediction.score == 1 && prediction.version == "1")
        #expect(prediction.moment == MonitorRoom.micros("2018-01-01"))
        #expect(prediction.features == "{\"age\":-1.5e2,\"member\":false,\"sex\":\"l\\\"a\"}")
    }
}
