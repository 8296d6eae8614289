import Series
import Testing

@testable import LogStore

@Suite struct LogLimitTests {
    @Test func `entries out of order are taken within the window and refused behind it`() throws {
        let folder = try TemporaryFolder()
        let store = try LogStore(folder.path, limits: LogStoreTests.small)
        let receipt = try store.append(
            [(LogStoreTests.api, page([(100, "new"), (50, "edge"), (49, "late"), (99, "ok")]))], now: 100)
        #expect(receipt.accepted == 3)
        #expect(receipt.refusals.map(\.reason) == [.tooFarBehind])
        #expect(try store.lines() == ["edge", "ok", "new"])
        // The window outlives a restart and a flush.
        try store.flush()
        let again = try LogStore(folder.path, limits: LogStoreTests.small)
        #expect(try again.append([(LogStoreTests.api, page([(49, "late")]))], now: 100).refused == 1)
    }

    @Test func `a line over the limit is refused, or cut between characters, and it is said`() throws {
        let folder = try TemporaryFolder()
        var limits = LogStoreTests.small
        limits.lineBytes = 5
        let store = try LogStore(folder.path, limits: limits)
        let batch = page([(1, "short"), (2, "abcdé and more"), (3, "ok")])
        let refused = try store.append([(LogStoreTests.api, batch)], now: 0)
        #expect(refused.accepted == 2 && refused.refusals.first?.reason == .lineTooLong)
        #expect(refused.refusals.first?.message == "a line has 15 bytes; 5 are allowed")
        limits.cutsLongLines = true
        let other = try TemporaryFolder()
        let cutting = try LogStore(other.path, limits: limits)
        #expect(try cutting.append([(LogStoreTests.api, batch)], now: 0).cut == 1)
        #expect(try cutting.lines() == ["short", "abcd", "ok"])
    }

    @Test func `too many streams name the label that makes them`() throws {
        let folder = try TemporaryFolder()
        var limits = LogStoreTests.small
        limits.streams = 3
        let store = try LogStore(folder.path, name: "shop", limits: limits)
        let streams = (0..<5).map { (Labels(["app": "api", "request": "\($0)"]), page([(1, "x")])) }
        let receipt = try store.append(streams, now: 0)
        #expect(receipt.accepted == 3 && receipt.refused == 2)
        // Streams that came with the same push are not in the index yet: the next push names the label.
        let next = try store.append([streams[4]], now: 0)
        #expect(
            next.refusals.first?.message
                == "\"shop\" has 3 streams, and 3 are allowed; the label \"request\" alone has 3 values")
        // Known streams go on.
        #expect(try store.append([(streams[0].0, page([(2, "y")]))], now: 0).accepted == 1)
    }

    @Test func `labels that are none, too many or too long are refused by name`() throws {
        let folder = try TemporaryFolder()
        var limits = LogStoreTests.small
        (limits.labelsPerStream, limits.labelNameBytes, limits.labelValueBytes) = (2, 5, 6)
        let store = try LogStore(folder.path, limits: limits)
        let streams = [
            Labels.none, Labels(["a": "1", "b": "2", "c": "3"]), Labels(["longname": "1"]), Labels(["a": "longvalue"]),
        ]
        let receipt = try store.append(streams.map { ($0, page([(1, "x")])) }, now: 0)
        #expect(receipt.refusals.map(\.reason) == [.noLabels, .tooManyLabels, .labelName, .labelValue])
        #expect(try store.lines().isEmpty)
    }

    @Test func `entries too old or too far ahead of now are refused`() throws {
        let folder = try TemporaryFolder()
        var limits = LogLimits()
        (limits.oldest, limits.ahead) = (100, 10)
        let store = try LogStore(folder.path, limits: limits)
        let receipt = try store.append(
            [(LogStoreTests.api, page([(899, "old"), (900, "a"), (1_010, "b"), (1_011, "ahead")]))], now: 1_000)
        #expect(receipt.refusals.map(\.reason) == [.tooOld, .tooFarAhead])
        #expect(try store.lines() == ["a", "b"])
    }

    @Test func `blocks go when their stream's rule says so, and the segment with the last of them`() throws {
        let folder = try TemporaryFolder()
        let store = try LogStore(folder.path, limits: LogStoreTests.small)
        _ = try store.append([(LogStoreTests.api, page([(1, "a")])), (LogStoreTests.web, page([(1, "b")]))], now: 0)
        try store.flush()
        var retention = LogRetention()
        retention.rules = [.init([LabelMatcher("app", .equal, "api")], keep: 10)]
        retention.keep = 100
        try store.maintain(retention, now: 11)
        #expect(try Set(store.lines()) == ["a", "b"])
        try store.maintain(retention, now: 12)
        #expect(try store.lines() == ["b"])
        #expect(try LogStore(folder.path, limits: LogStoreTests.small).lines() == ["b"])
        try store.maintain(retention, now: 102)
        #expect(try store.lines().isEmpty)
        #expect(store.status.segments == 0 && store.status.streams == 0)
    }

    @Test func `the oldest segments go when all are larger than allowed`() throws {
        let folder = try TemporaryFolder()
        let store = try LogStore(folder.path, limits: LogStoreTests.small)
        for number in 0..<4 {
            _ = try store.append([(LogStoreTests.api, page([(Int64(number), "line \(number)")]))], now: 0)
            try store.flush()
        }
        var retention = LogRetention()
        retention.bytes = store.status.segmentBytes / 2 + 1
        try store.maintain(retention, now: 0)
        #expect(try store.lines() == ["line 2", "line 3"])
    }

    @Test func `a stream that is deleted stays deleted, in memory, on disk and after a restart`() throws {
        let folder = try TemporaryFolder()
        let store = try LogStore(folder.path, limits: LogStoreTests.small)
        let both = { (time: Int64) in
            [(LogStoreTests.api, page([(time, "secret")])), (LogStoreTests.web, page([(time, "b")]))]
        }
        _ = try store.append(both(1), now: 0)
        try store.flush()
        _ = try store.append(both(2), now: 0)
        #expect(try store.delete([LabelMatcher("app", .equal, "api")]) == 1)
        #expect(try store.lines() == ["b", "b"])
        let copy = try folder.copy()
        #expect(try LogStore(copy.path, limits: LogStoreTests.small).lines() == ["b", "b"])
        // It may come again.
        _ = try store.append([(LogStoreTests.api, page([(3, "again")]))], now: 0)
        #expect(try LogStore(folder.path, limits: LogStoreTests.small).lines() == ["b", "b", "again"])
    }

    @Test func `lines wait in memory until they are old enough`() throws {
        let folder = try TemporaryFolder()
        var limits = LogStoreTests.small
        limits.headAge = 100
        let store = try LogStore(folder.path, limits: limits)
        _ = try store.append([(LogStoreTests.api, page([(1, "a")]))], now: 1)
        try store.maintain(LogRetention(), now: 101)
        #expect(store.status.segments == 0)
        try store.maintain(LogRetention(), now: 102)
        #expect(store.status.segments == 1 && store.status.memoryEntries == 0)
    }

    @Test func `who follows gets what comes, loses the oldest when slow, and is told`() throws {
        let folder = try TemporaryFolder()
        let store = try LogStore(folder.path, limits: LogStoreTests.small)
        let (token, tail) = try store.follow([LabelMatcher("app", .equal, "api")], capacity: 2) {}
        _ = try store.append(
            [(LogStoreTests.api, page([(1, "a"), (2, "b"), (3, "c")])), (LogStoreTests.web, page([(1, "x")]))], now: 0)
        let (entries, dropped) = tail.take()
        #expect(entries.map(\.line) == ["b", "c"] && dropped == 1)
        #expect(tail.take().dropped == 0)
        store.unfollow(token)
        _ = try store.append([(LogStoreTests.api, page([(4, "d")]))], now: 0)
        #expect(tail.take().entries.isEmpty)
    }

    @Test func `streams, labels and volumes are told for a range of time`() throws {
        let folder = try TemporaryFolder()
        let store = try LogStore(folder.path, limits: LogStoreTests.small)
        _ = try store.append(
            [(LogStoreTests.api, page([(1, "abc")])), (LogStoreTests.web, page([(10, "de")]))], now: 0)
        try store.flush()
        #expect(try store.series([], from: 0, to: 5) == [LogStoreTests.api])
        #expect(try store.labelNames(from: 0, to: 20) == ["app"])
        #expect(try store.labelValues("app", from: 0, to: 20) == ["api", "web"])
        #expect(try store.labelValues("app", [[LabelMatcher("app", .matches, "w.+")]], from: 0, to: 20) == ["web"])
        let volumes = try store.volume([], by: nil, from: 0, to: 20)
        #expect(volumes[LogStoreTests.api] == LogVolume(streams: 1, chunks: 1, entries: 1, bytes: 3))
        #expect(try store.volume([], from: 0, to: 20)[.none]?.bytes == 5)
    }
}
