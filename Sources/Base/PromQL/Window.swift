import Series

/// The samples of one series within one range: what a range function sees.
struct Window {
    let times: UnsafeBufferPointer<Int64>
    let values: UnsafeBufferPointer<Double>
    let histogramTimes: UnsafeBufferPointer<Int64>
    let histograms: UnsafeBufferPointer<FloatHistogram>
    /// The end (included) and the start (not included), in milliseconds, and the length.
    var start: Int64 = 0
    var end: Int64 = 0
    /// The step's own time.
    var now: Int64 = 0
    /// Numbers from the first to before the last index, histograms likewise.
    var low = 0
    var high = 0
    var histogramLow = 0
    var histogramHigh = 0

    var count: Int { high - low }
    var histogramCount: Int { histogramHigh - histogramLow }
    var first: Double { values[low] }
    var last: Double { values[high - 1] }

    /// Moves to another end, later than before or the same.
    @inline(__always)
    mutating func move(to end: Int64, range: Int64, now: Int64) {
        self.end = end
        self.now = now
        start = end - range
        while high < times.count, times[high] <= end { high += 1 }
        while low < high, times[low] <= start { low += 1 }
        if histogramTimes.isEmpty { return }
        while histogramHigh < histogramTimes.count, histogramTimes[histogramHigh] <= end { histogramHigh += 1 }
        while histogramLow < histogramHigh, histogramTimes[histogramLow] <= start { histogramLow += 1 }
    }
}

/// Slides a window over each series and writes a function's values.
final class RangeFunctionSink<Down: RowSink>: WindowSink {
    let down: Down
    var samples = WindowSamples()
    private var calculation: RangeCalculation
    private let steps: Steps
    private let judgesCounters: Bool
    private let keepsName: Bool
    private var lastCounter: [UInt8] = []

    init(_ down: Down, _ calculation: RangeCalculation, _ steps: Steps) {
        self.down = down
        self.calculation = calculation
        self.steps = steps
        judgesCounters = calculation.function == .rate || calculation.function == .increase
        keepsName = calculation.function == .lastOverTime || calculation.function == .firstOverTime
    }

    func take(_ row: inout Row, _ times: Steps, _ range: Int64, _ lane: Lane) throws(PromQLError) {
        let hasNumbers = try slide(&row, times, range, lane)
        if judgesCounters, hasNumbers { judge(row.labels, lane) }
        if row.isEmpty { return }
        if !keepsName { lane.dropName(&row) }
        try down.take(&row, lane)
    }

    /// - Returns: Whether any step got a number.
    private func slide(_ row: inout Row, _ times: Steps, _ range: Int64, _ lane: Lane) throws(PromQLError) -> Bool {
        // Worked on outside of the object, whose every access is checked.
        var calculation = self.calculation
        self.calculation = .idle
        defer { self.calculation = calculation }
        calculation.begin(samples, row.labels)
        var failure: PromQLError?
        var hasNumbers = false
        var histograms: [(step: Int, histogram: FloatHistogram)] = []
        samples.withWindow { window in
            row.values.withUnsafeMutableBufferPointer { values in
                var window = window
                for step in 0..<times.count {
                    window.move(to: times.time(step), range: range, now: steps.time(step))
                    if window.count == 0, window.histogramCount == 0 { continue }
                    do throws(PromQLError) {
                        let value = try calculation.value(window, step, lane)
                        values[step] = value
                        if !Absent.isAbsent(value) {
                            hasNumbers = true
                        } else if let histogram = calculation.takeHistogram() {
                            histograms.append((step, histogram))
                        }
                    } catch {
                        failure = error
                        return
                    }
                }
            }
        }
        if let failure { throw failure }
        for (step, histogram) in histograms { row.set(histogram, at: step) }
        return hasNumbers
    }

    /// Tells of a rate over what does not look like a counter. Series of one metric come in a row, so most are told by bytes.
    private func judge(_ labels: Labels, _ lane: Lane) {
        let isKnown = labels.bytes.withUnsafeBufferPointer { bytes -> Bool in
            var cursor = LabelCursor(bytes)
            while let pair = cursor.next() {
                guard pair.name.elementsEqual("__name__".utf8) else { continue }
                if !lane.options.typeAndUnitLabels, pair.value.elementsEqual(lastCounter) { return true }
                lastCounter = Array(pair.value)
                return false
            }
            return true
        }
        if isKnown { return }
        let name = labels.metricName ?? ""
        if lane.options.typeAndUnitLabels {
            let type = labels["__type__"] ?? ""
            if type != "counter" {
                let text =
                    "metric might not be a counter, __type__ label is not set to \"counter\", got \"\(type)\": \"\(name)\""
                lane.notes.inform(text, at: calculation.place)
            }
        } else if !["_total", "_sum", "_count", "_bucket"].contains(where: { name.hasSuffix($0) }) {
            let text = "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"\(name)\""
            lane.notes.inform(text, at: calculation.place)
        }
    }
}

extension WindowSamples {
    /// Calls the body with a window before the first sample.
    fileprivate func withWindow(_ body: (Window) -> Void) {
        times.withUnsafeBufferPointer { times in
            values.withUnsafeBufferPointer { values in
                histogramTimes.withUnsafeBufferPointer { histogramTimes in
                    histograms.withUnsafeBufferPointer { histograms in
                        body(
                            Window(times: times, values: values, histogramTimes: histogramTimes, histograms: histograms)
                        )
                    }
                }
            }
        }
    }
}
