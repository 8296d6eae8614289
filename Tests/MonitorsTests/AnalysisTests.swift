import API
import Blobs
import Foundation
import Kernel
import KernelTesting
import Manifests
import SQL
import Synchronization
import Testing

@testable import Monitors

@Suite struct AnalysisTests {
    @Test(arguments: [
        (WindowSpec.Every.year, "2018", "2018-01-01T00:00:00.000Z", "2019-01-01T00:00:00.000Z"),
        (.month, "2018-12", "2018-12-01T00:00:00.000Z", "2019-01-01T00:00:00.000Z"),
        (.week, "2019-W01", "2018-12-31T00:00:00.000Z", "2019-01-07T00:00:00.000Z"),
        (.day, "2018-12-31", "2018-12-31T00:00:00.000Z", "2019-01-01T00:00:00.000Z"),
        (.hour, "2018-12-31T23", "2018-12-31T23:00:00.000Z", "2019-01-01T00:00:00.000Z"),
    ])
    func `windows are named by the calendar`(every: WindowSpec.Every, name: String, from: String, to: String) {
        let window = Window(at: MonitorRoom.micros("2018-12-31T23:59:59Z"), every: every)
        #expect(window.name == name && window.from.description == from && window.to.description == to)
    }

    @Test func `weeks follow ISO 8601 and times before 1970 have windows too`() {
        #expect(Window(at: MonitorRoom.micros("2021-01-03"), every: .week).name == "2020-W53")
        #expect(Window(at: MonitorRoom.micros("2018-02-01"), every: .week).name == "2018-W05")
        #expect(Window(at: MonitorRoom.micros("1969-12-31T23:30:00Z"), every: .hour).name == "1969-12-31T23")
        #expect(Window(at: MonitorRoom.micros("1965-06-01"), every: .day).from == Timestamp("1965-06-01"))
        #expect(Window(at: Prediction.moments.lowerBound, every: .year).name == "0001")
        #expect(Window(at: Prediction.moments.upperBound - 1, every: .year).name == "9998")
    }

    @Test func `a window is computed when its data is quiet`() async throws {
        let room = try await MonitorRoom()
        try room.write(MonitorRoom.lines("a", at: "2017-03-01T00:00:00Z"))
        try await room.ingest()
        room.house.time.advance(by: .seconds(1))
        try await room.analyse()
        #expect(try await room.report().windows.isEmpty)
        room.house.time.advance(by: .seconds(1))
        try await room.analyse()
        #expect(try await room.report().windows.count == 1)
    }

    @Test func `data that never is quiet is looked at every ten seconds`() async throws {
        let room = try await MonitorRoom()
        var rows: [Int] = []
        for second in 0..<25 {
            try room.write(MonitorRoom.lines("s\(second)-", at: "2017-03-01T00:00:00Z", count: 40))
            try await room.ingest()
            try await room.analyse()
            rows.append(try await room.report().windows.first?.rows ?? 0)
            room.house.time.advance(by: .seconds(1))
        }
        #expect(rows[9] == 0 && rows[10] == 440 && rows[19] == 440 && rows[20] == 840)
        #expect(try await room.report().windows[0].restated == 0, "the newest window grows; it is not restated")
    }

    @Test func `rows that come after their window are a restatement`() async throws {
        let room = try await MonitorRoom()
        try room.write(MonitorRoom.lines("a", at: "2017-03-01T00:00:00Z"))
        try room.write(MonitorRoom.lines("b", at: "2018-03-01T00:00:00Z"))
        try await room.work()
        try room.write(MonitorRoom.lines("c", at: "2017-03-02T00:00:00Z", count: 50))
        try await room.work()
        #expect(try await room.report().windows.map(\.restated) == [1, 0])
        #expect(try await room.report().windows.map(\.rows) == [250, 200])
    }

    @Test func `another reference is another question and no restatement`() async throws {
        let room = try await MonitorRoom()
        try room.write(MonitorRoom.lines("a", at: "2017-03-01T00:00:00Z"))
        try await room.work()
        #expect(try await room.report().windows[0].state == .ok)
        let next = try await MonitorRoom.version(2, shift: 40, room.blobs, in: room.house.folder)
        room.champion.version.withLock { $0 = next }
        try await room.work()
        let report = try await room.report()
        #expect(report.model == "churn@2")
        #expect(report.windows[0].state == .drift && report.windows[0].restated == 0)
        #expect(try await room.healthy()?.reason == "Drift")
    }

    @Test func `without a reference the monitor says why and goes on when there is one`() async throws {
        let room = try await MonitorRoom()
        let version = room.champion.version.withLock { version in
            defer { version = nil }
            return version
        }
        try room.write(MonitorRoom.lines("a", at: "2017-03-01T00:00:00Z"))
        try await room.work()
        #expect(try await room.report().windows.isEmpty)
        let condition = try await room.healthy()
        #expect(condition?.truth == .unknown && condition?.reason == "NoReference")
        #expect(condition?.message.contains("\"churn\"") == true)
        #expect(try await room.typed()?.status?.predictions == 200)
        room.champion.version.withLock { $0 = version }
        try await room.work()
        #expect(try await room.report().windows.map(\.state) == [.ok])
        #expect(try await room.healthy()?.truth == .yes)
    }

    @Test func `a model folder without reference rows is told as such`() async throws {
        let room = try await MonitorRoom()
        let folder = "\(room.house.folder)/bare"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try Data("weights".utf8).write(to: URL(filePath: "\(folder)/model.bin"))
        let digest = try await Tree.pack(folder: folder, into: room.blobs).digest.description
        room.champion.version.withLock { $0?.digest = digest }
        try await room.work()
        #expect(try await room.healthy()?.message.contains("no file reference.vgf") == true)
    }

    @Test func `other windows replace those of before`() async throws {
        let room = try await MonitorRoom()
        try room.write(MonitorRoom.lines("a", at: "2017-03-01T00:00:00Z"))
        try room.write(MonitorRoom.lines("b", at: "2017-05-01T00:00:00Z"))
        try await room.work()
        try await room.house.apply(MonitorRoom.manifest.replacingOccurrences(of: "every: year", with: "every: month"))
        try await room.work()
        #expect(try await room.report().windows.map(\.window) == ["2017-03", "2017-05"])
        #expect(try await room.typed()?.status?.windows == 2)
    }

    @Test func `a monitor that is removed and made anew tells its windows again`() async throws {
        let room = try await MonitorRoom()
        try room.write(MonitorRoom.lines("a", at: "2017-03-01T00:00:00Z"))
        try await room.work()
        try await room.work()
        var name = ResourceName()
        (name.kind, name.name) = ("Monitor", "churn")
        _ = try await room.house.call(Resources.delete, name)
        let left: Int? = try await room.house.store.read { try $0.value("SELECT count(*) FROM monitors_window") }
        #expect(left == 0)
        try await room.house.apply(MonitorRoom.manifest)
        try await room.work()
        #expect(try await room.report().windows.map(\.rows) == [200])
        #expect(try await room.house.events(named: "monitor.window-told").count == 2)
    }

    @Test func `a quiet monitor writes nothing`() async throws {
        let room = try await MonitorRoom()
        try room.write(MonitorRoom.lines("a", at: "2017-03-01T00:00:00Z"))
        try await room.work()
        try await room.work()
        let before = try await room.typed()?.status?.updated_at
        for _ in 0..<5 { try await room.work() }
        #expect(before != nil)
        #expect(try await room.typed()?.status?.updated_at == before)
    }

    @Test(.timeLimit(.minutes(1))) func `the loops do all that by themselves`() async throws {
        let room = try await MonitorRoom()
        try room.write(MonitorRoom.lines("a", at: "2017-03-01T00:00:00Z"))
        let told = try await withThrowingTaskGroup(of: Void.self) { group in
            for loop in room.domain.loops { group.addTask { try await loop.run() } }
            defer { group.cancelAll() }
            for _ in 0..<60 {
                await room.house.time.untilSleeping(2)
                if try await room.report().windows.count == 1 { return true }
                room.house.time.advance(by: .seconds(1))
            }
            return false
        }
        #expect(told)
    }
}
