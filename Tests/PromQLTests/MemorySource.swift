import Series

/// Series in memory, for tests.
struct MemorySource: SeriesSource {
    private var series: [Labels: SampleBuffer] = [:]

    mutating func append(_ labels: Labels, _ time: Int64, _ value: SeriesValue) {
        var buffer = series[labels] ?? SampleBuffer()
        if let last = buffer.times.last, last >= time { buffer = buffer.without(time) }
        switch value {
        case .number(let number): buffer.append(time, number)
        case .histogram(let histogram): buffer.append(time, histogram)
        }
        series[labels] = buffer.sorted
    }

    enum SeriesValue {
        case number(Double)
        case histogram(FloatHistogram)
    }

    /// Labels where they stay as they are.
    private final class Bytes: @unchecked Sendable {  // written by `init` alone
        let all: UnsafeMutableBufferPointer<UInt8>

        init(_ labels: Labels) {
            all = .allocate(capacity: labels.bytes.count)
            _ = all.initialize(from: labels.bytes)
        }

        deinit { all.deallocate() }
    }

    private struct Found: SeriesSet {
        let found: [(labels: Labels, samples: SampleBuffer)]
        let bytes: [Bytes]
        let selection: Selection

        var count: Int { found.count }
        func labels(at index: Int) -> Labels { found[index].labels }

        func newest(at index: Int) -> NewestNumber? {
            guard selection.newestOnly else { return nil }
            var buffer = SampleBuffer()
            read(index, into: &buffer)
            guard !buffer.hasHistograms, let time = buffer.times.last, let value = buffer.values.last else {
                return nil
            }
            return NewestNumber(labels: UnsafeBufferPointer(bytes[index].all), time: time, value: value)
        }

        func read(_ index: Int, into buffer: inout SampleBuffer) {
            buffer.removeAll()
            let all = found[index].samples
            for position in all.times.indices
            where all.times[position] >= selection.from && all.times[position] <= selection.to {
                if all.hasHistograms, all.histogramAt[position] >= 0 {
                    buffer.append(all.times[position], all.histograms[Int(all.histogramAt[position])])
                } else {
                    buffer.append(all.times[position], all.values[position])
                }
            }
        }
    }

    func select(_ selection: Selection) throws -> any SeriesSet {
        let tests = try selection.matchers.map { matcher -> (String, (String) -> Bool) in
            switch matcher.comparison {
            case .equal: return (matcher.name, { $0 == matcher.value })
            case .notEqual: return (matcher.name, { $0 != matcher.value })
            case .matches:
                let pattern = try LabelPattern(matcher.value)
                return (matcher.name, { pattern.matches($0) })
            case .doesNotMatch:
                let pattern = try LabelPattern(matcher.value)
                return (matcher.name, { !pattern.matches($0) })
            }
        }
        let found = series.filter { labels, _ in tests.allSatisfy { $0.1(labels[$0.0] ?? "") } }
        let sorted = found.sorted { $0.key < $1.key }.map { (labels: $0.key, samples: $0.value) }
        return Found(found: sorted, bytes: sorted.map { Bytes($0.labels) }, selection: selection)
    }

    func labelNames(_ matchers: [[LabelMatcher]], from: Int64, to: Int64) -> [String] {
        Set(series.keys.flatMap { $0.pairs.map(\.name) }).sorted()
    }

    func labelValues(_ name: String, _ matchers: [[LabelMatcher]], from: Int64, to: Int64) -> [String] {
        Set(series.keys.compactMap { $0[name] }).sorted()
    }
}

extension SampleBuffer {
    fileprivate var points: [(time: Int64, value: Double, histogram: FloatHistogram?)] {
        times.indices.map { index in
            let at = hasHistograms ? Int(histogramAt[index]) : -1
            return (times[index], values[index], at >= 0 ? histograms[at] : nil)
        }
    }

    fileprivate init(_ points: [(time: Int64, value: Double, histogram: FloatHistogram?)]) {
        self.init()
        for point in points {
            if let histogram = point.histogram {
                append(point.time, histogram)
            } else {
                append(point.time, point.value)
            }
        }
    }

    fileprivate func without(_ time: Int64) -> SampleBuffer { SampleBuffer(points.filter { $0.time != time }) }

    fileprivate var sorted: SampleBuffer {
        guard times.count > 1, times[times.count - 1] < times[times.count - 2] else { return self }
        return SampleBuffer(points.sorted { $0.time < $1.time })
    }
}
