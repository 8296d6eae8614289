import Series
import Testing

@testable import TSDB

/// Random work against a dictionary that cannot be wrong.
@Suite struct ModelTests {
    private static let range: Int64 = 20_000
    private static let names = (0..<6).map {
        Labels(["__name__": "m\($0 % 2)", "id": "\($0)", "odd": $0 % 2 == 1 ? "yes" : ""])
    }

    private struct Model {
        var samples: [Labels: [Int64: UInt64]] = [:]
        var newest = Int64.min

        func buffer(_ labels: Labels, from: Int64, to: Int64) -> SampleBuffer {
            var buffer = SampleBuffer()
            for (time, bits) in (samples[labels] ?? [:]).sorted(by: { $0.key < $1.key })
            where time >= from && time <= to {
                buffer.append(time, Double(bitPattern: bits))
            }
            return buffer
        }
    }

    @Test(arguments: 0..<12)
    func `random appends, deletions, compactions and restarts leave what the model has`(round: Int) throws {
        let seed = UInt64.random(in: 0 ... .max)
        var random = Seeded(state: seed)
        var options = TSDBOptions()
        (options.blockRange, options.blockRangeAtMost) = (Self.range, Self.range * 9)
        options.outOfOrderWindow = round % 3 == 0 ? 0 : (round % 3 == 1 ? 15_000 : 100_000)
        (options.downsampleAfter, options.segmentBytes) = (nil, 2_000)
        let folder = try Folder()
        var store: TSDB? = try TSDB(folder: folder.path, options: options)
        var model = Model()
        var now: Int64 = 0
        for step in 0..<1_500 {
            let note = "seed \(seed), step \(step)"
            let choice = Int.random(in: 0..<100, using: &random)
            if choice >= 98 {
                store = nil
                var report = RecoveryReport()
                store = try TSDB(folder: folder.path, options: options) { report = $0 }
                try #require(report.dropped.isEmpty, "\(note)")
            }
            let open = try #require(store)
            switch choice {
            case 0..<90:
                now += Int64.random(in: 0...300, using: &random)
                try Self.append(open, &model, now, options.outOfOrderWindow, &random, note)
            case 90..<93: try Self.delete(open, &model, now, &random)
            case 93..<96: try open.compact()
            case 96: try open.cut(before: now)
            case 97: try open.cleanTombstones()
            default: break
            }
            if step % 50 == 49 { try Self.compare(open, model, now, &random, note) }
        }
        if let open = store { try Self.compare(open, model, now, &random, "seed \(seed), end") }
    }

    private static func append(
        _ store: TSDB, _ model: inout Model, _ now: Int64, _ window: Int64, _ random: inout Seeded, _ note: String
    ) throws {
        let labels = names.randomElement(using: &random) ?? .none
        var time = now
        if Int.random(in: 0..<4, using: &random) == 0 { time -= Int64.random(in: 0...120_000, using: &random) }
        var batch = Batch()
        let value = random.value()
        batch.add(labels, time, value)
        let result = try store.append(batch)
        let known = model.samples[labels]?[time]
        if result.accepted == 1 {
            if known == nil { model.samples[labels, default: [:]][time] = value.bitPattern }
        } else if result.duplicates == 1 {
            try #require(known == value.bitPattern, "\(note)")
        } else if result.counts[.conflict] == 1 {
            try #require(known != nil && known != value.bitPattern, "\(note)")
        } else {
            // The newest time may have been rounded up to a block's end by a restart.
            try #require(time < max(model.newest, now) + range - window, "\(note): \(result)")
        }
        model.newest = max(model.newest, time)
    }

    private static func delete(_ store: TSDB, _ model: inout Model, _ now: Int64, _ random: inout Seeded) throws {
        let from = Int64.random(in: -1_000...max(0, now), using: &random)
        let to = from + Int64.random(in: 0...30_000, using: &random)
        let (matcher, isHit): (LabelMatcher, (Labels) -> Bool) =
            switch Int.random(in: 0..<4, using: &random) {
            case 0: (LabelMatcher("id", .equal, "3"), { $0["id"] == "3" })
            case 1: (LabelMatcher("id", .matches, "[0-2]"), { ["0", "1", "2"].contains($0["id"]) })
            case 2: (LabelMatcher("odd", .equal, ""), { $0["odd"] == nil })
            default: (LabelMatcher("odd", .notEqual, ""), { $0["odd"] != nil })
            }
        let count = try store.delete([matcher], from: from, to: to)
        var touched = 0
        for labels in names where isHit(labels) {
            let before = model.samples[labels]?.count ?? 0
            model.samples[labels] = model.samples[labels]?.filter { $0.key < from || $0.key > to }
            if (model.samples[labels]?.count ?? 0) < before { touched += 1 }
        }
        #expect(count >= touched)
    }

    private static func compare(
        _ store: TSDB, _ model: Model, _ now: Int64, _ random: inout Seeded, _ note: String
    ) throws {
        let from = Int64.random(in: -200_000...max(0, now), using: &random)
        for (low, high) in [(Int64.min, Int64.max), (from, from + 50_000)] {
            let found = try store.all(from: low, to: high)
            for labels in names {
                let wanted = model.buffer(labels, from: low, to: high)
                try #require(found[labels] ?? SampleBuffer() == wanted, "\(note): \(labels) \(low)...\(high)")
            }
        }
    }
}
