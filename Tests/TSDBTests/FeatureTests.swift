import Foundation
import Series
import Testing

@testable import TSDB

@Suite struct FeatureTests {
    private static let up = Labels(["__name__": "up", "job": "api"])

    private static func append(_ store: TSDB, _ labels: Labels, _ samples: [(Int64, Double)], now: Int64? = nil) throws
        -> AppendResult
    {
        var batch = Batch()
        for (time, value) in samples { batch.add(labels, time, value) }
        return try store.append(batch, now: now)
    }

    @Test func `an older sample is refused without a window, and the rest of the batch goes in`() throws {
        let folder = try Folder()
        let store = try TSDB(folder: folder.path)
        let result = try Self.append(store, Self.up, [(1_000, 1), (500, 2), (1_000, 1), (1_000, 3), (2_000, 4)])
        #expect(result.accepted == 2)
        #expect(result.duplicates == 1)
        #expect(result.counts == [.outOfOrder: 1, .conflict: 1])
        #expect(result.refusals.map(\.reason.rawValue) == ["out of order sample", "duplicate sample for timestamp"])
        #expect(result.refusals[0].message.contains("up{job=\"api\"}"))
        #expect(try store.all()[Self.up]?.values == [1, 4])
    }

    @Test func `a sample within the out-of-order window is sorted in, also across blocks and restarts`() throws {
        let folder = try Folder()
        var options = TSDBOptions()
        (options.blockRange, options.outOfOrderWindow) = (10_000, 30_000)
        do {
            let store = try TSDB(folder: folder.path, options: options)
            _ = try Self.append(store, Self.up, stride(from: 0, to: 40_000, by: 1_000).map { (Int64($0), Double($0)) })
            try store.cut(before: 30_000)
            let result = try Self.append(store, Self.up, [(15_500, 7), (5_000, 9), (38_500, 8)])
            #expect(result.accepted == 2)
            #expect(result.counts == [.outOfOrder: 1])
            #expect(try store.all(from: 15_000, to: 16_000)[Self.up]?.values == [15_000, 7, 16_000])
        }
        let store = try TSDB(folder: folder.path, options: options)
        #expect(try store.all(from: 15_000, to: 16_000)[Self.up]?.values == [15_000, 7, 16_000])
        _ = try Self.append(store, Self.up, [(60_000, 1)])
        try store.compact()
        try store.compact()
        #expect(store.statistics().headLateSamples == 0)
        #expect(try store.all(from: 15_000, to: 16_000)[Self.up]?.values == [15_000, 7, 16_000])
        #expect(try store.all(from: 38_000, to: 39_000)[Self.up]?.values == [38_000, 8, 39_000])
    }

    @Test func `a sample far in the future is refused when the time is told`() throws {
        let folder = try Folder()
        let store = try TSDB(folder: folder.path)
        let result = try Self.append(store, Self.up, [(1_000, 1), (1_000_000, 1)], now: 2_000)
        #expect(result.accepted == 1)
        #expect(result.counts == [.tooFarInFuture: 1])
    }

    @Test func `series after series may be loaded from time zero while compaction runs`() throws {
        let folder = try Folder()
        let store = try TSDB(folder: folder.path)
        for id in 0..<3 {
            let labels = Labels(["__name__": "m", "id": "\(id)"])
            let result = try Self.append(store, labels, (0..<100).map { (Int64($0) * 600_000, 1) })
            #expect(result.refused == 0)
            #expect(try store.compact().cut == 0)
        }
        #expect(try store.compact().cut > 0)
        #expect(try store.all().count == 3)
    }

    @Test func `limits name the offender`() throws {
        let folder = try Folder()
        var options = TSDBOptions()
        (options.seriesAtMost, options.labelsAtMost, options.nameBytesAtMost, options.valueBytesAtMost) = (3, 3, 10, 20)
        let store = try TSDB(folder: folder.path, options: options)
        func refusal(_ labels: [String: String]) throws -> String {
            try Self.append(store, Labels(labels), [(1, 1)]).refusals.first.map { "\($0.reason): \($0.message)" } ?? ""
        }
        #expect(
            try refusal(["__name__": "many", "a": "1", "b": "1", "c": "1"]) == "limit: many has 4 labels, at most 3")
        #expect(try refusal(["__name__": "long", "abcdefghijk": "1"]).contains("label name abcdefghijk"))
        #expect(
            try refusal(["__name__": "long", "a": "123456789012345678901"]).contains("value of label a is 21 bytes"))
        for id in 0..<3 { #expect(try refusal(["__name__": "explosive", "id": "\(id)"]) == "") }
        let last = try refusal(["__name__": "other"])
        #expect(last.contains("3 series are there") && last.contains("most are of explosive: 3"))
        #expect(try refusal(["__name__": "explosive", "id": "1"]) == "")
    }

    @Test(
        arguments: [
            [], [1], [200, 1], [1, 97, 0], [1, 98, 1, 49, 1, 97, 1, 49], [1, 255, 1, 49], [1, 97, 1, 49, 1, 97, 1, 50],
        ] as [[UInt8]])
    func `bytes that are no labels are refused`(bytes: [UInt8]) throws {
        let folder = try Folder()
        let store = try TSDB(folder: folder.path)
        let result = try Self.append(store, Labels(encoded: bytes), [(1, 1)])
        #expect(result.accepted == 0)
        #expect((result.counts[.malformed] ?? 0) > 0)
    }

    @Test func `deleted samples are gone from memory, blocks and after a restart`() throws {
        let folder = try Folder()
        var options = TSDBOptions()
        options.blockRange = 10_000
        let other = Labels(["__name__": "up", "job": "web"])
        func check(_ store: TSDB) throws {
            #expect(try store.all()[Self.up]?.times == [0, 1_000, 2_000, 38_000, 39_000])
            #expect(try store.all()[other]?.count == 40)
        }
        do {
            let store = try TSDB(folder: folder.path, options: options)
            for labels in [Self.up, other] {
                _ = try Self.append(store, labels, (0..<40).map { (Int64($0) * 1_000, 1) })
            }
            try store.cut(before: 30_000)
            #expect(try store.delete([LabelMatcher("job", .equal, "api")], from: 2_001, to: 37_999) == 1)
            try check(store)
        }
        let store = try TSDB(folder: folder.path, options: options)
        try check(store)
        #expect(try store.cleanTombstones() == 3)
        try check(store)
        #expect(try store.cleanTombstones() == 0)
        #expect(try store.labelValues("job", [], from: 0, to: 40_000) == ["api", "web"])
        #expect(try store.delete([], from: .min, to: .max) == 2)
        #expect(try store.all().isEmpty)
    }

    @Test func `histograms and staleness markers are kept through blocks and restarts`() throws {
        let folder = try Folder()
        var options = TSDBOptions()
        options.blockRange = 100_000
        let labels = Labels(["__name__": "latency"])
        do {
            let store = try TSDB(folder: folder.path, options: options)
            var batch = Batch()
            batch.series(labels)
            for step in 0..<150 { batch.add(Int64(step) * 1_000, histogram(Double(step))) }
            batch.add(150_000, StaleMarker.value)
            batch.add(151_000, histogram(3))
            #expect(try store.append(batch).accepted == 152)
            #expect(try store.append(batch).duplicates == 152)
        }
        for _ in 0..<2 {
            let store = try TSDB(folder: folder.path, options: options)
            let found = try #require(try store.all()[labels])
            #expect(found.histograms == (0..<150).map { histogram(Double($0)) } + [histogram(3)])
            #expect(found.histogramAt[150] == -1)
            #expect(StaleMarker.isStale(found.values[150]))
            try store.cut(before: 100_000)
        }
    }

    @Test func `exemplars and metadata survive`() throws {
        let folder = try Folder()
        let exemplar = Exemplar(labels: Labels(["trace_id": "abc"]), time: 5, value: 1.5)
        do {
            let store = try TSDB(folder: folder.path)
            var batch = Batch()
            batch.add(Self.up, 5, 1)
            batch.add(exemplar)
            batch.describe("up", MetricMetadata(type: "gauge", help: "whether it is up", unit: ""))
            #expect(try store.append(batch).exemplars == 1)
        }
        for _ in 0..<2 {
            let store = try TSDB(folder: folder.path)
            #expect(store.metadata() == ["up": MetricMetadata(type: "gauge", help: "whether it is up", unit: "")])
            let found = try store.exemplars([LabelMatcher("job", .equal, "api")], from: 0, to: 10)
            if Files.exists(folder.path + "/metadata") { break }
            #expect(found.map(\.exemplars) == [[exemplar]])
            #expect(try store.exemplars([LabelMatcher("job", .equal, "x")], from: 0, to: 10).isEmpty)
            try store.cut(before: 100_000_000)
        }
    }

    @Test func `a snapshot is a store of its own`() throws {
        let (folder, place) = (try Folder(), try Folder())
        var options = TSDBOptions()
        (options.blockRange, options.outOfOrderWindow) = (10_000, 50_000)
        let store = try TSDB(folder: folder.path, options: options)
        _ = try Self.append(store, Self.up, (0..<40).map { (Int64($0) * 1_000, Double($0)) })
        try store.cut(before: 30_000)
        _ = try Self.append(store, Self.up, [(3_500, 1)])
        let whole = try store.all()
        try store.snapshot(to: place.path + "/copy")
        _ = try store.delete([], from: .min, to: .max)
        #expect(try TSDB(folder: place.path + "/copy", options: options).all() == whole)
        #expect(throws: SeriesError.self) { try store.snapshot(to: place.path + "/copy") }
    }

    @Test func `a folder has one user`() throws {
        let folder = try Folder()
        let store = try TSDB(folder: folder.path)
        #expect(throws: SeriesError.self) { try TSDB(folder: folder.path) }
        try store.close()
    }

    @Test func `names and values are listed, for all series and for some`() throws {
        let folder = try Folder()
        var options = TSDBOptions()
        options.blockRange = 10_000
        let store = try TSDB(folder: folder.path, options: options)
        _ = try Self.append(store, Labels(["__name__": "old", "zone": "é"]), [(0, 1)])
        _ = try Self.append(store, Self.up, [(50_000, 1)])
        try store.cut(before: 40_000)
        #expect(try store.labelNames([], from: 0, to: 60_000) == ["__name__", "job", "zone"])
        #expect(try store.labelNames([], from: 40_000, to: 60_000) == ["__name__", "job"])
        #expect(
            try store.labelNames([[LabelMatcher("job", .equal, "api")]], from: 0, to: 60_000) == ["__name__", "job"])
        #expect(try store.labelValues("__name__", [], from: 0, to: 60_000) == ["old", "up"])
        #expect(try store.labelValues("zone", [[LabelMatcher("__name__", .matches, "o.*")]], from: 0, to: 9) == ["é"])
        let statistics = store.statistics()
        #expect(statistics.headSeries == 1 && statistics.blockSeries == 1 && statistics.blocks == 1)
        #expect(statistics.seriesByMetric.map(\.name) == ["up"])
    }

    @Test func `more series than asked for are a refusal`() throws {
        let folder = try Folder()
        let store = try TSDB(folder: folder.path)
        for id in 0..<5 { _ = try Self.append(store, Labels(["id": "\(id)"]), [(0, 1)]) }
        var selection = Selection([], from: 0, to: 1)
        selection.seriesLimit = 4
        #expect(throws: SeriesError.self) { try store.select(selection) }
        #expect(throws: SeriesError.self) { try store.select(Selection([.init("a", .matches, "(")], from: 0, to: 1)) }
    }
}
