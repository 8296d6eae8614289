import Foundation
import Testing

@testable import Stats

struct LatencyHistogramTests {
    @Test func `any duration from ten microseconds to a hundred seconds comes back within five percent`() throws {
        var duration = 10.0
        while duration < 1e8 {
            var histogram = LatencyHistogram()
            histogram.record(microseconds: UInt64(duration))
            let median = try #require(histogram.quantile(0.5))
            #expect(isClose(median, duration.rounded(.down), relative: 0.05))
            duration *= 1.013
        }
        #expect(LatencyHistogram.bucketCount <= 200)
    }

    @Test func `quantiles are those of the sorted durations`() throws {
        print("seed \(testSeed)")
        var random = SplitMix64(seed: testSeed)
        let durations = (0..<5_000).map { _ in UInt64(exp(7 + 1.5 * random.normal())) + 10 }
        var histogram = LatencyHistogram()
        for duration in durations { histogram.record(microseconds: duration) }
        let sorted = durations.sorted()
        for q in [0.01, 0.5, 0.9, 0.99, 1] {
            let exact = Double(sorted[max(0, Int((q * 5_000).rounded(.up)) - 1)])
            #expect(isClose(try #require(histogram.quantile(q)), exact, relative: 0.05))
        }
        #expect(histogram.count == 5_000)
        #expect(histogram.totalMicroseconds == durations.reduce(0, +))
    }

    @Test func `nothing counted has no quantile, and extremes go to the ends`() {
        var histogram = LatencyHistogram()
        #expect(histogram.quantile(0.5) == nil)
        #expect(histogram.mean == nil)
        histogram.record(microseconds: 0)
        histogram.record(microseconds: .max)
        #expect(histogram.quantile(0) == 10)
        #expect(histogram.quantile(1) == 1e8)
        #expect(histogram.quantile(.nan) == nil)
        #expect(histogram.count(above: 1_000) == 1)
    }

    @Test func `the difference of two states is what came between`() {
        var earlier = LatencyHistogram()
        for duration in [100, 2_000, 50_000] as [UInt64] { earlier.record(microseconds: duration) }
        var between = LatencyHistogram()
        for duration in [70, 70_000] as [UInt64] { between.record(microseconds: duration) }
        let later = earlier + between
        #expect(later.count == 5)
        #expect(later - earlier == between)
        // A source that was restarted counts from nothing again.
        #expect((between - later).count == 0)
    }

    @Test func `it is stored by its filled buckets, and damaged ones are refused`() throws {
        var histogram = LatencyHistogram()
        for duration in [100, 2_000, 50_000, 50_001] as [UInt64] { histogram.record(microseconds: duration) }
        let data = try JSONEncoder().encode(histogram)
        #expect(data.count < 100)
        #expect(try JSONDecoder().decode(LatencyHistogram.self, from: data) == histogram)
        for text in [#"{"buckets":[200,1],"total_microseconds":1}"#, #"{"buckets":[1],"total_microseconds":1}"#] {
            #expect(throws: DecodingError.self) {
                try JSONDecoder().decode(LatencyHistogram.self, from: Data(text.utf8))
            }
        }
    }
}
