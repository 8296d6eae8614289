import Series
import Testing

@testable import TSDB

@Suite struct SelectTests {
    private static func labels(_ id: Int) -> Labels { Labels(["__name__": "m", "id": "\(id)"]) }

    private static func histogram(_ count: Double) -> FloatHistogram {
        var histogram = FloatHistogram()
        (histogram.count, histogram.sum) = (count, count)
        return histogram
    }

    /// The newest sample of each series, by its labels.
    private static func newest(_ store: TSDB, from: Int64, to: Int64, newestOnly: Bool) throws -> [Labels: String] {
        var selection = Selection([LabelMatcher("__name__", .equal, "m")], from: from, to: to)
        selection.newestOnly = newestOnly
        let set = try store.select(selection)
        var (newest, buffer) = ([Labels: String](), SampleBuffer())
        for index in 0..<set.count {
            try set.read(index, into: &buffer)
            guard let time = buffer.times.last, let value = buffer.values.last else { continue }
            let histogram =
                buffer.hasHistograms && buffer.histogramAt[buffer.count - 1] >= 0 ? buffer.histograms.last : nil
            newest[set.labels(at: index)] = "\(time) \(value.bitPattern) \(histogram?.count ?? -1)"
        }
        return newest
    }

    @Test func `who wants the newest sample only gets the same newest sample`() throws {
        let folder = try Folder()
        var options = TSDBOptions()
        (options.blockRange, options.outOfOrderWindow) = (100_000, 60_000)
        let store = try TSDB(folder: folder.path, options: options)
        var random = SystemRandomNumberGenerator()
        var clock: Int64 = 0
        for round in 0..<60 {
            clock += 5_000
            var batch = Batch()
            for id in 0..<20 where Int.random(in: 0..<4, using: &random) > 0 {
                let time = clock - (Int.random(in: 0..<6, using: &random) == 0 ? 12_345 : 0)
                switch Int.random(in: 0..<12, using: &random) {
                case 0: batch.add(Self.labels(id), time, StaleMarker.value)
                case 1: batch.add(Self.labels(id), time, Self.histogram(Double(round)))
                default: batch.add(Self.labels(id), time, Double(Int.random(in: 0..<1_000, using: &random)))
                }
            }
            _ = try store.append(batch)
            if round == 30 { _ = try store.cut(before: 100_000) }
            if round % 13 == 12 {
                _ = try store.delete([LabelMatcher("id", .equal, "\(round % 20)")], from: clock - 7_000, to: clock)
            }
            for (from, to) in [(clock - 20_000, clock), (0, clock), (clock - 40_000, clock - 11_000), (0, 90_000)] {
                let all = try Self.newest(store, from: from, to: to, newestOnly: false)
                #expect(try Self.newest(store, from: from, to: to, newestOnly: true) == all)
            }
        }
    }

    @Test func `a series that comes or goes between two same selections shows`() throws {
        let folder = try Folder()
        let store = try TSDB(folder: folder.path)
        func found() throws -> [String] {
            try store.all([LabelMatcher("__name__", .equal, "m")]).keys.map { $0["id"] ?? "" }.sorted()
        }
        func append(_ id: Int, _ time: Int64) throws {
            var batch = Batch()
            batch.add(Self.labels(id), time, 1)
            _ = try store.append(batch)
        }
        try append(1, 1_000)
        #expect(try found() == ["1"])
        try append(0, 2_000)
        #expect(try found() == ["0", "1"])
        #expect(try store.delete([LabelMatcher("id", .equal, "1")], from: 0, to: 5_000) > 0)
        _ = try store.cut(before: 0)
        #expect(try found() == ["0"])
        try append(2, 3_000)
        try append(1, 3_000)
        #expect(try found() == ["0", "1", "2"])
    }

    @Test func `thousands of new series are sorted in between those that are there`() throws {
        let folder = try Folder()
        let store = try TSDB(folder: folder.path)
        for part in 0..<3 {
            var batch = Batch()
            for id in stride(from: part, to: 6_000, by: 3) { batch.add(Self.labels(id), 1_000, 1) }
            _ = try store.append(batch)
            // Order is looked at there.
            #expect(try store.all().count == (part + 1) * 2_000)
        }
    }
}
