import Series

/// Warnings and infos of a query. The texts are Prometheus's, as clients look for them.
struct Notes {
    private(set) var all: [String: QueryAnswer.Note] = [:]

    mutating func warn(_ text: String, at range: Range<Int>) { add(true, "PromQL warning: " + text, range) }
    mutating func inform(_ text: String, at range: Range<Int>) { add(false, "PromQL info: " + text, range) }

    private mutating func add(_ isWarning: Bool, _ text: String, _ range: Range<Int>) {
        if all[text] == nil { all[text] = QueryAnswer.Note(isWarning: isWarning, text: text, range: range) }
    }

    mutating func merge(_ other: Notes) { all.merge(other.all) { first, _ in first } }

    mutating func invalidQuantile(_ q: Double, at range: Range<Int>) {
        if q.isNaN || q < 0 || q > 1 {
            warn("quantile value should be between 0 and 1, got \(NumberText.general(q))", at: range)
        }
    }

    mutating func mixedFloatsAndHistograms(_ name: String, at range: Range<Int>) {
        warn("encountered a mix of histograms and floats for metric name \(PrettyPrinter.quoted(name))", at: range)
    }

    mutating func mixedAggregation(at range: Range<Int>) {
        warn("encountered a mix of histograms and floats for aggregation", at: range)
    }

    mutating func ignoredHistogram(in aggregation: String, at range: Range<Int>) {
        inform("ignored histogram in \(aggregation) aggregation", at: range)
    }

    mutating func ignoredHistograms(_ name: String, at range: Range<Int>) {
        let name = PrettyPrinter.quoted(name)
        inform("ignored histograms in a range containing both floats and histograms for metric name \(name)", at: range)
    }

    mutating func notCounter(_ name: String, at range: Range<Int>) {
        warn("this native histogram metric is not a counter: \(PrettyPrinter.quoted(name))", at: range)
    }

    mutating func notGauge(_ name: String, at range: Range<Int>) {
        warn("this native histogram metric is not a gauge: \(PrettyPrinter.quoted(name))", at: range)
    }

    mutating func mismatch(_ mismatch: HistogramMismatch, _ name: String, at range: Range<Int>) {
        let name = PrettyPrinter.quoted(name)
        switch mismatch {
        case .schemas:
            warn(
                "vector contains a mix of histograms with exponential and custom buckets schemas for metric name \(name)",
                at: range)
        case .customBounds:
            warn("vector contains histograms with incompatible custom buckets for metric name \(name)", at: range)
        }
    }

    mutating func note(_ note: FloatHistogram.Note?, _ name: String, at range: Range<Int>) {
        let name = PrettyPrinter.quoted(name)
        switch note {
        case .isNaN:
            inform("input to histogram_quantile has NaN observations, result is NaN for metric name \(name)", at: range)
        case .isSkewed:
            inform(
                "input to histogram_quantile has NaN observations, result is skewed higher for metric name \(name)",
                at: range)
        case .isLeftOut:
            let what = "input to histogram_fraction has NaN observations, which are excluded from all fractions"
            inform("\(what) for metric name \(name)", at: range)
        case nil: break
        }
    }
}
