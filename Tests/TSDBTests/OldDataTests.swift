import Series
import Testing

@testable import TSDB

/// What happens to data as it gets old: merging, retention, thinning.
@Suite struct OldDataTests {
    private static let hour = TSDBOptions.hour

    /// A counter that begins anew once, and a gauge, every 15 s.
    private static func fill(_ store: TSDB, hours: Int64) throws {
        for window in 0..<hours {
            var batch = Batch()
            for step in 0..<240 {
                let time = window * hour + Int64(step) * 15_000
                let number = Double(window * 240 + Int64(step))
                batch.add(counter, time, number < 1_003 ? number * 3 : (number - 1_003) * 3)
                batch.add(gauge, time, (number * 0.7).remainder(dividingBy: 11) * 1.25)
            }
            #expect(try store.append(batch).refused == 0)
        }
    }

    private static let counter = Labels(["__name__": "requests_total", "kind": "keep"])
    private static let gauge = Labels(["__name__": "load", "kind": "short"])

    @Test func `blocks grow by threes and say the same`() throws {
        let folder = try Folder()
        let store = try TSDB(folder: folder.path)
        try Self.fill(store, hours: 24)
        let whole = try store.all()
        try store.compact()
        let done = try store.compact()
        #expect(done.cut == 11 && done.merged == 4)
        #expect(store.statistics().blocks == 3)
        #expect(try store.all() == whole)
        #expect(store.statistics().headSamples == 2 * 240 * 2)
        #expect(try TSDB.reopened(store, folder).all() == whole)
    }

    @Test func `what is older than the retention goes, block by block, counted from the newest sample`() throws {
        let folder = try Folder()
        var options = TSDBOptions()
        (options.retention, options.blockRangeAtMost) = (6 * Self.hour, 2 * Self.hour)
        let store = try TSDB(folder: folder.path, options: options)
        try Self.fill(store, hours: 24)
        try store.compact()
        try store.compact()
        #expect(try store.applyRetention(now: 2_000_000_000_000) > 0)
        let first = try #require(try store.all()[Self.counter]?.times.first)
        #expect(first == 16 * Self.hour)
        #expect(try store.applyRetention(now: 2_000_000_000_000) == 0)
    }

    @Test func `a rule keeps some series shorter and others longer`() throws {
        let folder = try Folder()
        var options = TSDBOptions()
        (options.retention, options.blockRangeAtMost) = (10 * Self.hour, 2 * Self.hour)
        options.retentionRules = [
            .init([LabelMatcher("kind", .equal, "short")], 4 * Self.hour),
            .init([LabelMatcher("kind", .equal, "keep")], 0),
        ]
        let store = try TSDB(folder: folder.path, options: options)
        try Self.fill(store, hours: 24)
        try store.compact()
        try store.compact()
        try store.applyRetention(now: .max)
        #expect(try store.all()[Self.counter]?.times.first == 0)
        #expect(try store.all()[Self.gauge]?.times.first == 18 * Self.hour)
    }

    @Test func `the oldest blocks go when all are too large`() throws {
        let folder = try Folder()
        var options = TSDBOptions()
        (options.retention, options.blockRangeAtMost, options.retentionBytes) = (0, 2 * Self.hour, 20_000)
        let store = try TSDB(folder: folder.path, options: options)
        try Self.fill(store, hours: 48)
        try store.compact()
        try store.compact()
        #expect(store.statistics().blockBytes > 20_000)
        try store.applyRetention(now: .max)
        let bytes = store.statistics().blockBytes
        #expect(bytes <= 20_000 && bytes > 10_000)
        #expect(try store.all()[Self.counter]?.times.last == 48 * Self.hour - 15_000)
    }

    @Test(arguments: [5 * TSDBOptions.minute, TSDBOptions.hour])
    func `thinned data keeps increase, least and greatest, and the mean of plain windows`(window: Int64) throws {
        let folder = try Folder()
        var options = TSDBOptions()
        options.downsampleAfter = 6 * Self.hour
        let store = try TSDB(folder: folder.path, options: options)
        try Self.fill(store, hours: 26)
        try store.compact()
        #expect(try store.compact().thinned > 0)
        #expect(try store.compact().thinned == 0)
        let end = 12 * Self.hour - 1
        let exact = try store.all(from: 0, to: end)
        let thinned = try store.all(from: 0, to: end, resolution: window)
        for labels in [Self.counter, Self.gauge] {
            let (all, few) = (try #require(exact[labels]), try #require(thinned[labels]))
            #expect(few.count <= Int(end / window + 1) * (Thinning.kept + 2))
            for start in stride(from: Int64(0), to: end, by: Int(window)) {
                let (one, two) = (Self.values(all, start, window), Self.values(few, start, window))
                #expect(one.min() == two.min() && one.max() == two.max())
                #expect(abs(Self.increase(one) - Self.increase(two)) < 1e-6 || labels == Self.gauge)
                let (mean, near) = (one.reduce(0, +) / Double(one.count), two.reduce(0, +) / Double(two.count))
                let beganAnew = labels == Self.counter && zip(one, one.dropFirst()).contains { $1 < $0 }
                #expect(abs(mean - near) < 1e-6 * max(1, abs(mean)) || beganAnew, "\(labels) at \(start)")
            }
        }
        // Where the asker wants every sample, or no thinned copy is there, the samples are as they came.
        #expect(
            try store.all(from: 0, to: end, resolution: window - 1)[Self.counter]?.count ?? 0 > thinned[Self.counter]?
                .count ?? 0)
        #expect(try store.all(from: 22 * Self.hour, to: .max, resolution: window)[Self.counter]?.count == 960)
    }

    private static func values(_ buffer: SampleBuffer, _ start: Int64, _ window: Int64) -> [Double] {
        zip(buffer.times, buffer.values).filter { $0.0 >= start && $0.0 < start + window }.map(\.1)
    }

    private static func increase(_ values: [Double]) -> Double {
        zip(values, values.dropFirst()).reduce(0) { $0 + ($1.1 < $1.0 ? $1.1 : $1.1 - $1.0) }
    }

    @Test func `thinned data answers when the samples themselves are gone`() throws {
        let folder = try Folder()
        var options = TSDBOptions()
        (options.downsampleAfter, options.retention, options.blockRangeAtMost) = (
            6 * Self.hour, 8 * Self.hour, 2 * Self.hour
        )
        let store = try TSDB(folder: folder.path, options: options)
        try Self.fill(store, hours: 24)
        try store.compact()
        try store.compact()
        try store.applyRetention(now: .max)
        let found = try #require(try store.all()[Self.counter])
        #expect(found.times.first == 0)
        #expect(found.times.filter { $0 < Self.hour }.count == 12 * Thinning.kept)
    }
}

extension TSDB {
    /// The same folder opened again next to the first, by way of a snapshot: a folder has one user.
    static func reopened(_ store: TSDB, _ folder: Folder) throws -> TSDB {
        try store.snapshot(to: folder.path + "/again")
        return try TSDB(folder: folder.path + "/again", options: store.options)
    }
}
