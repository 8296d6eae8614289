import Glibc
import Segments
import Testing

@testable import Points

@Suite struct PointRecoveryTests {
    let folder: TemporaryFolder
    let run = RunID(high: 1, low: 2)

    init() throws { folder = try TemporaryFolder() }

    private func batch(_ number: Int) -> [MetricPoints] {
        let points = (0..<3).map { MetricPoint(timestamp: Int64(number), step: Int64($0), value: 0.1 * Double(number)) }
        return [MetricPoints(run: run, key: "loss", points: points)]
    }

    @Test func `a log that was cut off at any byte gives each whole batch and tells the rest`() async throws {
        let store = try PointStore(folder.path)
        for number in 1...8 { try await store.append(batch(number)) }
        let log = try #require(try Disk.names(in: folder.path).first { $0.hasSuffix(".wal") })
        let bytes = try OpenFile("\(folder.path)/\(log)", O_RDONLY).read()
        var last = 0
        for length in 0...bytes.count {
            let copy = try TemporaryFolder()
            try Disk.replace("\(copy.path)/\(log)") { try Disk.writeAll(Array(bytes.prefix(length)), to: $0) }
            let opened = try PointStore(copy.path)
            let points = try await opened.history(run, "loss")
            #expect(points.count % 3 == 0)
            #expect(points.count >= last)
            #expect(points.count == opened.recovery.points)
            #expect(points == (1...8).flatMap { batch($0)[0].points }.prefix(points.count).map { $0 })
            last = points.count
            try await opened.append(batch(9))
            #expect(try await PointStore(copy.path).history(run, "loss").count == last + 3)
        }
        #expect(last == 24)
    }

    @Test func `a byte that turned in the log ends it there and is told`() async throws {
        let store = try PointStore(folder.path)
        for number in 1...4 { try await store.append(batch(number)) }
        let log = try #require(try Disk.names(in: folder.path).first { $0.hasSuffix(".wal") })
        var bytes = try OpenFile("\(folder.path)/\(log)", O_RDONLY).read()
        bytes[bytes.count / 2] ^= 0x10
        let copy = try TemporaryFolder()
        try Disk.replace("\(copy.path)/\(log)") { try Disk.writeAll(bytes, to: $0) }
        let opened = try PointStore(copy.path)
        #expect(opened.recovery.tornBytes > 0)
        #expect([3, 6].contains(try await opened.history(run, "loss").count))
    }

    @Test func `a segment cut off or changed at any byte is put aside or told as damaged, and never crashes`()
        async throws
    {
        let store = try PointStore(folder.path)
        for number in 1...4 { try await store.append(batch(number)) }
        let many = (0..<1_500).map { MetricPoint(timestamp: Int64($0), step: Int64($0), value: 0.3 * Double($0 * $0)) }
        try await store.append([MetricPoints(run: run, key: "many", points: many)])
        try await store.flush()
        let name = try #require(try Disk.names(in: folder.path).first { $0.hasSuffix(".points") })
        let bytes = try OpenFile("\(folder.path)/\(name)", O_RDONLY).read()
        for place in stride(from: 0, to: bytes.count, by: max(1, bytes.count / 400)) {
            for isCut in [true, false] {
                let copy = try TemporaryFolder()
                var changed = isCut ? Array(bytes.prefix(place)) : bytes
                if !isCut { changed[place] ^= 0xff }
                try Disk.replace("\(copy.path)/\(name)") { try Disk.writeAll(changed, to: $0) }
                let opened = try PointStore(copy.path)
                if opened.recovery.damaged.isEmpty {
                    #expect(!isCut)
                    await #expect(throws: StorageError.self) {
                        _ = try await opened.history(run, "loss")
                        _ = try await opened.history(run, "many")
                    }
                } else {
                    #expect(try await opened.history(run, "many").isEmpty)
                    #expect(try Disk.names(in: copy.path).contains(name + ".damaged"))
                }
            }
        }
    }

    @Test func `segments whose place another took are removed when the end came before that`() async throws {
        var limits = PointStore.Limits()
        limits.segmentsOfOneSize = 100
        let store = try PointStore(folder.path, limits: limits)
        for number in 1...5 {
            try await store.append(batch(number))
            if number == 4 { try await store.delete([run]) }
            try await store.flush()
        }
        let before = try folder.copy()
        try await store.compact()
        // All files of before and the merged one: as if the end came right after it was moved to its place.
        let merged = try #require(try Disk.names(in: folder.path).first { $0.hasSuffix(".points") })
        let bytes = try OpenFile("\(folder.path)/\(merged)", O_RDONLY).read()
        try Disk.replace("\(before.path)/\(merged)") { try Disk.writeAll(bytes, to: $0) }
        let opened = try PointStore(before.path)
        #expect(opened.recovery.segments == 1)
        #expect(try await opened.history(run, "loss") == batch(5)[0].points)
        #expect(try Disk.names(in: before.path).filter { $0.hasSuffix(".points") } == [merged])
    }

    @Test func `a file that was not finished is removed`() async throws {
        try Disk.replace("\(folder.path)/000000000007.points.tmp") { try Disk.writeAll([1, 2, 3], to: $0) }
        _ = try PointStore(folder.path)
        #expect(try Disk.names(in: folder.path).allSatisfy { $0.hasSuffix(".wal") })
    }

    @Test func `segments become few, and memory stays within its bound`() async throws {
        var limits = PointStore.Limits()
        (limits.headBytes, limits.smallSegment) = (16 << 10, 16 << 10)
        let store = try PointStore(folder.path, limits: limits)
        for number in 0..<400 as Range<Int64> {
            let points = (0..<100).map {
                MetricPoint(timestamp: number * 100 + $0, step: $0, value: 1 / Double($0 + 1))
            }
            try await store.append([
                MetricPoints(run: RunID(high: UInt64(number % 50), low: 0), key: "loss", points: points)
            ])
            #expect(store.status.memoryBytes < 6 * limits.headBytes)
        }
        try await store.flush()
        #expect(store.status.points == 40_000)
        try await store.compact()
        #expect(store.status.segments == 1)
        for number in 0..<50 as Range<UInt64> {
            #expect(try await store.history(RunID(high: number, low: 0), "loss").count == 800)
        }
    }

    @Test func `a name that is too long is refused, and nothing of its batch is kept`() async throws {
        var limits = PointStore.Limits()
        limits.keyBytes = 8
        let store = try PointStore(folder.path, limits: limits)
        let long = MetricPoints(run: run, key: "123456789", points: batch(1)[0].points)
        await #expect(throws: StorageError.self) { try await store.append(batch(1) + [long]) }
        #expect(try await store.history(run, "loss").isEmpty)
        #expect(store.status.points == 0)
    }

    @Test func `changes are told once, again when they are given back, and after a restart when nobody confirmed them`()
        async throws
    {
        let store = try PointStore(folder.path, following: .segments)
        #expect(!store.hasChanges)
        try await store.append(batch(1))
        try await store.append(batch(2))
        let first = store.ticket()
        let taken = store.takeChanges(first)
        #expect(taken.latest.map(\.run) == [run])
        #expect(taken.latest[0].metrics == [LatestPoint(key: "loss", point: batch(2)[0].points[2])])
        // Whoever reads now must wait for it.
        #expect(store.hasChanges)
        let between = store.takeChanges(store.ticket())
        #expect(between.latest.isEmpty && between.through == nil)
        store.giveBack(first)
        let second = store.ticket()
        #expect(store.takeChanges(second).latest.map(\.metrics) == taken.latest.map(\.metrics))
        store.confirm(second)
        #expect(!store.hasChanges)
        try await store.flush()
        let through = try #require(store.takeChanges(store.ticket()).through)
        // In a segment that nobody confirmed, and in the log.
        try await store.append([MetricPoints(run: run, key: "a", points: [batch(5)[0].points[0]])])
        try await store.flush()
        try await store.append([MetricPoints(run: run, key: "b", points: [batch(6)[0].points[0]])])
        let again = try PointStore(folder.path, following: .through(through))
        #expect(again.takeChanges(again.ticket()).latest.flatMap(\.metrics).map(\.key).sorted() == ["a", "b"])
        let all = try PointStore(folder.path, following: .segments)
        let last = all.takeChanges(all.ticket())
        #expect(last.latest.flatMap(\.metrics).map(\.key) == ["b"])
        // What was written down once is not told at each start, though it is in a log still.
        #expect(try !PointStore(folder.path, following: .through(#require(last.through))).hasChanges)
    }
}
