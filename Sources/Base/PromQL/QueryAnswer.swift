package import Series

/// What a query gave.
package struct QueryAnswer: Sendable {
    package enum Value: Sendable {
        /// One number at one time (instant queries).
        case scalar(Double, at: Int64)
        case string(String, at: Int64)
        /// One sample each, in the order that the query gave (instant queries).
        case vector(SeriesList)
        /// Samples over time, sorted by labels.
        case matrix(SeriesList)
    }

    package var value: Value
    /// Texts with the place in the query, as Prometheus words them; each once.
    package var warnings: [String]
    package var infos: [String]
    /// The same texts without places.
    package var notes: [Note]

    package struct Note: Hashable, Sendable {
        package var isWarning: Bool
        package var text: String
        package var range: Range<Int>
    }
}

/// Series of an answer, column by column.
package struct SeriesList: Sendable {
    enum Storage: Sendable {
        /// A value for each series and step; absent ones are marked.
        case table(Table, Steps)
        case samples([SampleBuffer])
    }

    package private(set) var labels: [Labels]
    private let storage: Storage

    init(labels: [Labels], _ storage: Storage) {
        self.labels = labels
        self.storage = storage
    }

    package var count: Int { labels.count }

    /// Calls the body with each sample of one series, oldest first. Where a histogram is given, the number means nothing.
    @inline(__always)
    package func forEachSample(
        of index: Int, _ body: (_ time: Int64, _ value: Double, _ histogram: FloatHistogram?) throws -> Void
    ) rethrows {
        switch storage {
        case .samples(let buffers):
            let buffer = buffers[index]
            for position in buffer.times.indices {
                let histogram =
                    buffer.hasHistograms && buffer.histogramAt[position] >= 0
                    ? buffer.histograms[Int(buffer.histogramAt[position])] : nil
                try body(buffer.times[position], buffer.values[position], histogram)
            }
        case .table(let table, let steps):
            let histograms = table.histograms[index]
            for step in 0..<steps.count {
                let value = table.values[index * steps.count + step]
                if !Absent.isAbsent(value) {
                    try body(steps.time(step), value, nil)
                } else if let histogram = histograms?[step] {
                    try body(steps.time(step), 0, histogram)
                }
            }
        }
    }

    /// All samples of one series.
    package func samples(of index: Int) -> SampleBuffer {
        var buffer = SampleBuffer()
        forEachSample(of: index) { time, value, histogram in
            if let histogram { buffer.append(time, histogram) } else { buffer.append(time, value) }
        }
        return buffer
    }
}
