import Series
import Testing

@testable import TSDB

/// Numbers from a seed, so that a failure can be run again.
struct Seeded: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// Values as they come and as they must not break anything.
    mutating func value() -> Double {
        switch Int.random(in: 0..<12, using: &self) {
        case 0: Double(bitPattern: next())
        case 1:
            [0, -0.0, .infinity, -.infinity, .nan, StaleMarker.value, .leastNonzeroMagnitude, .greatestFiniteMagnitude]
                .randomElement(using: &self) ?? 0
        case 2: Double(bitPattern: 0x7ff8_0000_0000_0000 | next() >> 13)
        case 3: 9_007_199_254_740_992 + Double(Int.random(in: -3...3, using: &self))
        case 4, 5: Double(Int.random(in: -500...500, using: &self)) / 100
        case 6: Double.random(in: -1...1, using: &self)
        default: Double(Int.random(in: 0...100_000, using: &self))
        }
    }
}

@Suite struct ChunkTests {
    private static func bits(_ values: [Double]) -> [UInt64] { values.map(\.bitPattern) }

    private static func roundTrip(_ times: [Int64], _ values: [Double]) throws -> SampleBuffer {
        let bytes = times.withUnsafeBufferPointer { times in
            values.withUnsafeBufferPointer { FloatChunk.encode(times, $0) }
        }
        var buffer = SampleBuffer()
        try decode(bytes, from: .min, to: .max, into: &buffer)
        return buffer
    }

    @Test(arguments: [
        [0, -0.0, 0], [Double.nan, StaleMarker.value, Double.nan], [Double.infinity, -Double.infinity, 1], [1, 1, 1],
        [0.1, 0.2, 0.30000000000000004],
        [9_007_199_254_740_992, 9_007_199_254_740_991, -9_007_199_254_740_991],
        [1e300, -1e-300, .leastNonzeroMagnitude],
        [Double(bitPattern: 0x7ff0_0000_0000_0001), Double(bitPattern: .max)], [5], [1, 2_147_483_648, -2_147_483_648],
    ])
    func `a chunk gives back the bits it was given`(values: [Double]) throws {
        let times = values.indices.map { Int64($0) * 15_000 }
        let buffer = try Self.roundTrip(times, values)
        #expect(buffer.times == times)
        #expect(Self.bits(buffer.values) == Self.bits(values))
    }

    @Test(arguments: [
        [Int64.min, 0, .max], [0, 1, 3, 1_000_000_000_000], [-15_000, 0, 15_000, 30_001], [1_700_000_000_000],
        [0, 63, 127, 2_000, 40_000, 3_000_000_000, 3_000_000_001],
    ])
    func `a chunk gives back irregular times`(times: [Int64]) throws {
        let buffer = try Self.roundTrip(times, times.map { _ in 1 })
        #expect(buffer.times == times)
    }

    @Test func `random chunks come back, whole and in part`() throws {
        let seed = UInt64.random(in: 0 ... .max)
        var random = Seeded(state: seed)
        for _ in 0..<2_000 {
            let count = Int.random(in: 1...120, using: &random)
            let isRegular = Bool.random(using: &random)
            var (times, values, time) = (
                [Int64](), [Double](), Int64.random(in: -5_000...2_000_000_000_000, using: &random)
            )
            let isPlain = Bool.random(using: &random)
            for _ in 0..<count {
                time +=
                    isRegular
                    ? 15_000 : Int64.random(in: 1...(Bool.random(using: &random) ? 100 : 5_000_000), using: &random)
                times.append(time)
                values.append(isPlain ? Double(Int.random(in: 0...10_000, using: &random)) / 10 : random.value())
            }
            let buffer = try Self.roundTrip(times, values)
            try #require(buffer.times == times, "seed \(seed)")
            try #require(Self.bits(buffer.values) == Self.bits(values), "seed \(seed)")

            let (low, high) = (times[count / 3], times[count - 1 - count / 4])
            let bytes = times.withUnsafeBufferPointer { times in
                values.withUnsafeBufferPointer { FloatChunk.encode(times, $0) }
            }
            var part = SampleBuffer()
            try decode(bytes, from: low, to: high, into: &part)
            try #require(part.times == times.filter { $0 >= low && $0 <= high }, "seed \(seed)")
        }
    }

    @Test func `an open chunk and its sealed form say the same`() throws {
        let seed = UInt64.random(in: 0 ... .max)
        var random = Seeded(state: seed)
        for _ in 0..<200 {
            var series = HeadSeries(labels: Labels(["a": "b"]), hash: 1)
            var (times, values, time) = ([Int64](), [Double](), Int64(0))
            for _ in 0..<Int.random(in: 1...400, using: &random) {
                time += Int64.random(in: 1...60_000, using: &random)
                times.append(time)
                values.append(random.value())
                series.append(time, values[values.count - 1].bitPattern, range: 7_200_000)
            }
            var (before, after) = (SampleBuffer(), SampleBuffer())
            try series.read(from: .min, to: .max, into: &before)
            series.seal()
            try series.read(from: .min, to: .max, into: &after)
            try #require(before.times == times && after.times == times, "seed \(seed)")
            try #require(Self.bits(before.values) == Self.bits(values), "seed \(seed)")
            try #require(Self.bits(after.values) == Self.bits(values), "seed \(seed)")
        }
    }

    @Test func `damaged chunks are told, whatever the damage`() throws {
        let seed = UInt64.random(in: 0 ... .max)
        var random = Seeded(state: seed)
        for _ in 0..<3_000 {
            let count = Int.random(in: 1...60, using: &random)
            let times = (0..<count).map { Int64($0) * 15_000 }
            let values = times.map { _ in random.value() }
            var bytes =
                Bool.random(using: &random)
                ? times.withUnsafeBufferPointer { times in
                    values.withUnsafeBufferPointer { FloatChunk.encode(times, $0) }
                }
                : HistogramChunk.encode(times.prefix(20).map { .init(time: $0, histogram: histogram(Double($0))) }[...])
            let place = Int.random(in: 0..<bytes.count, using: &random)
            if Bool.random(using: &random) {
                bytes[place] ^= UInt8.random(in: 1...255, using: &random)
            } else {
                bytes.removeLast(bytes.count - place)
            }
            var buffer = SampleBuffer()
            // Thrown or nonsense, both are fine: the file's checksum tells. It must not crash.
            try? decode(bytes, from: .min, to: .max, into: &buffer)
            #expect(buffer.times.count == buffer.values.count)
        }
    }

    @Test func `counters and gauges take less than two bytes`() {
        var random = Seeded(state: 7)
        let times = (0..<120).map { Int64($0) * 15_000 }
        var total = 0.0
        let counter = times.map { _ in
            total += Double(Int.random(in: 0..<100, using: &random))
            return total
        }
        let gauge = times.map { _ in Double(Int.random(in: 4_500..<5_500, using: &random)) / 100 }
        for values in [counter, gauge] {
            let bytes = times.withUnsafeBufferPointer { times in
                values.withUnsafeBufferPointer { FloatChunk.encode(times, $0) }
            }
            #expect(bytes[0] == ChunkKind.packed.rawValue)
            #expect(bytes.count < 240)
        }
    }

    @Test func `histograms come back`() throws {
        var samples = (0..<50).map { HistogramChunk.Timed(time: Int64($0) * 15_000, histogram: histogram(Double($0))) }
        samples[20].histogram.schema = -53
        samples[20].histogram.customValues = [1, 2.5, 10]
        samples[30].histogram.sum = StaleMarker.value
        samples[31].histogram.counterReset = .gauge
        samples[40].histogram.positiveBuckets = []
        samples[40].histogram.positiveSpans = []
        let bytes = HistogramChunk.encode(samples[...])
        var buffer = SampleBuffer()
        try decode(bytes, from: .min, to: .max, into: &buffer)
        #expect(buffer.times == samples.map(\.time))
        for (left, right) in zip(buffer.histograms, samples) { #expect(HistogramChunk.isSame(left, right.histogram)) }
    }
}

/// A histogram that differs by a number.
func histogram(_ number: Double) -> FloatHistogram {
    var histogram = FloatHistogram()
    histogram.schema = 1
    (histogram.zeroThreshold, histogram.zeroCount) = (0.001, number)
    (histogram.count, histogram.sum) = (number * 4, number * 1.5)
    histogram.positiveSpans = [.init(offset: -2, length: 2), .init(offset: 3, length: 1)]
    histogram.positiveBuckets = [number, number + 1, number / 3]
    histogram.negativeSpans = [.init(offset: 0, length: 1)]
    histogram.negativeBuckets = [number * 2]
    return histogram
}

private func decode(_ bytes: [UInt8], from: Int64, to: Int64, into buffer: inout SampleBuffer) throws {
    let store = ChunkStore.make(bytes)
    try withExtendedLifetime(store) { try ChunkKind.decode(store.chunk, from: from, to: to, into: &buffer) }
}
