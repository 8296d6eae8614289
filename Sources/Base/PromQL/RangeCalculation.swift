import Series

/// Computes one range function over windows.
struct RangeCalculation {
    let function: Function
    /// Where notes point: the range vector, and the first argument.
    let place: Range<Int>
    let firstPlace: Range<Int>
    let range: Int64
    /// Scalar arguments by step, in the order they are written.
    let parameters: [[Double]]
    private var labels = Labels.none
    /// Positions of numbers that are less than the one before.
    private var resets: [Int] = []
    private var firstReset = 0
    private var scratch: [Double] = []
    private var histogram: FloatHistogram?

    init(_ function: Function, place: Range<Int>, firstPlace: Range<Int>, range: Int64, parameters: [[Double]]) {
        self.function = function
        self.place = place
        self.firstPlace = firstPlace
        self.range = range
        self.parameters = parameters
    }

    /// Does nothing: stands in while the other is in use.
    static let idle = RangeCalculation(.countOverTime, place: 0..<0, firstPlace: 0..<0, range: 0, parameters: [])

    var metricName: String { labels.metricName ?? "" }

    mutating func begin(_ samples: WindowSamples, _ labels: Labels) {
        self.labels = labels
        guard function == .rate || function == .increase else { return }
        resets.removeAll(keepingCapacity: true)
        firstReset = 0
        samples.values.withUnsafeBufferPointer { values in
            for index in 1..<max(values.count, 1) where values[index] < values[index - 1] { resets.append(index) }
        }
    }

    /// The histogram that the last call gave instead of a number.
    mutating func takeHistogram() -> FloatHistogram? {
        defer { histogram = nil }
        return histogram
    }

    private mutating func give(_ result: FloatHistogram?) -> Double {
        histogram = result
        return Absent.value
    }

    /// The number at a step, or the mark of absence: then there is a histogram to take, or nothing.
    mutating func value(_ window: Window, _ step: Int, _ lane: Lane) throws(PromQLError) -> Double {
        switch function {
        case .rate: return extrapolated(window, isCounter: true, isRate: true, lane)
        case .increase: return extrapolated(window, isCounter: true, isRate: false, lane)
        case .delta: return extrapolated(window, isCounter: false, isRate: false, lane)
        case .irate: return ofLastTwo(window, isRate: true, lane)
        case .idelta: return ofLastTwo(window, isRate: false, lane)
        case .sumOverTime, .avgOverTime: return total(window, lane)
        case .countOverTime: return Double(window.count + window.histogramCount)
        case .presentOverTime, .absentOverTime: return 1
        case .lastOverTime: return end(window, isLast: true)
        case .firstOverTime: return end(window, isLast: false)
        case .tsOfLastOverTime, .tsOfFirstOverTime: return timeOfEnd(window)
        case .changes, .resets: return differences(window)
        default: return try ofNumbers(window, step, lane)
        }
    }

    /// Functions that see numbers only.
    private mutating func ofNumbers(_ window: Window, _ step: Int, _ lane: Lane) throws(PromQLError) -> Double {
        let needed = function == .deriv || function == .predictLinear || function == .doubleExponentialSmoothing ? 2 : 1
        if function == .doubleExponentialSmoothing { try checkFactors(step) }
        if window.count > 0, window.histogramCount > 0 { lane.notes.ignoredHistograms(metricName, at: place) }
        if window.count < needed { return Absent.value }
        switch function {
        case .minOverTime, .maxOverTime, .tsOfMinOverTime, .tsOfMaxOverTime: return extreme(window)
        case .stdvarOverTime: return variance(window)
        case .stddevOverTime: return variance(window).squareRoot()
        case .quantileOverTime:
            lane.notes.invalidQuantile(parameters[0][step], at: firstPlace)
            scratch.removeAll(keepingCapacity: true)
            scratch += window.values[window.low..<window.high]
            return Mathematics.quantile(parameters[0][step], &scratch)
        case .madOverTime: return medianDeviation(window)
        case .deriv: return regression(window, at: window.times[window.low]).slope
        case .predictLinear:
            let line = regression(window, at: window.now)
            return line.slope * parameters[0][step] + line.intercept
        case .doubleExponentialSmoothing: return smoothed(window, parameters[0][step], parameters[1][step])
        default: return Absent.value
        }
    }

    // MARK: Rates

    private mutating func extrapolated(_ window: Window, isCounter: Bool, isRate: Bool, _ lane: Lane) -> Double {
        if window.histogramCount > 0 {
            return extrapolatedHistogram(window, isCounter: isCounter, isRate: isRate, lane)
        }
        guard window.count > 1 else { return Absent.value }
        var growth = window.last - window.first
        if isCounter {
            while firstReset < resets.count, resets[firstReset] <= window.low { firstReset += 1 }
            var index = firstReset
            while index < resets.count, resets[index] < window.high {
                growth += window.values[resets[index] - 1]
                index += 1
            }
        }
        let (first, last) = (window.times[window.low], window.times[window.high - 1])
        let floor = isCounter && growth > 0 && window.first >= 0 ? window.first : .infinity
        let extent = extent(window, first, last, gaps: window.count - 1, floor: floor, growth: growth)
        let sampled = Double(last - first)
        return growth * extent / (isRate ? sampled * (Double(range) / 1_000) : sampled)
    }

    /// How long a time the samples stand for, in milliseconds: up to the range's ends where samples come close to them.
    ///
    /// - Parameter floor: A counter's first value: it cannot have begun below zero. Infinity: nothing to heed.
    private func extent(
        _ window: Window, _ first: Int64, _ last: Int64, gaps: Int, floor: Double, growth: Double
    ) -> Double {
        var toStart = Double(first - window.start)
        var toEnd = Double(window.end - last)
        let sampled = Double(last - first)
        let gaps = Double(gaps)
        // Further away than a tenth more than the mean distance: the series is taken to have begun or ended in between.
        let threshold = sampled * 1.1
        if toStart * gaps >= threshold { toStart = sampled / gaps / 2 }
        if floor < .infinity, sampled * floor < toStart * growth { toStart = sampled * (floor / growth) }
        if toEnd * gaps >= threshold { toEnd = sampled / gaps / 2 }
        return sampled + toStart + toEnd
    }

    private mutating func extrapolatedHistogram(_ window: Window, isCounter: Bool, isRate: Bool, _ lane: Lane) -> Double
    {
        if window.count > 0 {
            lane.notes.mixedFloatsAndHistograms(metricName, at: place)
            return Absent.value
        }
        guard window.histogramCount > 1 else { return Absent.value }
        do throws(HistogramMismatch) {
            let points = UnsafeBufferPointer(rebasing: window.histograms[window.histogramLow..<window.histogramHigh])
            var result = try growth(points, isCounter: isCounter, lane)
            let (first, last) = (
                window.histogramTimes[window.histogramLow], window.histogramTimes[window.histogramHigh - 1]
            )
            let sampled = Double(last - first)
            let factor = extent(window, first, last, gaps: points.count - 1, floor: .infinity, growth: 0) / sampled
            result.multiply(by: isRate ? factor / (Double(range) / 1_000) : factor)
            return give(result)
        } catch {
            lane.notes.mismatch(error, metricName, at: place)
            return Absent.value
        }
    }

    private func growth(
        _ points: UnsafeBufferPointer<FloatHistogram>, isCounter: Bool, _ lane: Lane
    ) throws(HistogramMismatch) -> FloatHistogram {
        var previous = points[0]
        let last = points[points.count - 1]
        if isCounter, points.contains(where: { $0.counterReset == .gauge }) {
            lane.notes.notCounter(metricName, at: place)
        }
        // Reset right after the first: what the first was laid out like does not matter.
        if isCounter, points[1].isReset(after: previous) {
            previous = FloatHistogram()
            previous.schema = points[1].schema
            previous.customValues = points[1].customValues
        }
        if last.usesCustomBuckets != previous.usesCustomBuckets { throw .schemas }
        var schema = min(previous.schema, last.schema)
        if isCounter {
            for point in points.dropFirst().dropLast() {
                schema = min(schema, point.schema)
                if point.usesCustomBuckets != previous.usesCustomBuckets { throw .schemas }
            }
        }
        var result = last.usesCustomBuckets ? last : last.reduced(to: schema)
        try result.subtract(previous)
        if isCounter {
            for point in points.dropFirst() {
                if point.isReset(after: previous) { try result.add(previous) }
                previous = point
            }
        } else if points[0].counterReset != .gauge || last.counterReset != .gauge {
            lane.notes.notGauge(metricName, at: place)
        }
        result.counterReset = .gauge
        result.compact()
        return result
    }

    private mutating func ofLastTwo(_ window: Window, isRate: Bool, _ lane: Lane) -> Double {
        guard window.count + window.histogramCount >= 2 else { return Absent.value }
        // The two latest of both kinds.
        var (number, histogram) = (window.high - 1, window.histogramHigh - 1)
        var picked: [(time: Int64, value: Double, histogram: FloatHistogram?)] = []
        while picked.count < 2 {
            let hasNumber = number >= window.low
            let takesNumber =
                hasNumber
                && (histogram < window.histogramLow || window.times[number] > window.histogramTimes[histogram])
            if takesNumber {
                picked.append((window.times[number], window.values[number], nil))
                number -= 1
            } else {
                picked.append((window.histogramTimes[histogram], 0, window.histograms[histogram]))
                histogram -= 1
            }
        }
        let (last, before) = (picked[0], picked[1])
        let seconds = Double(last.time - before.time) / 1_000
        if seconds == 0 { return Absent.value }
        switch (last.histogram, before.histogram) {
        case (nil, nil):
            let difference = isRate && last.value < before.value ? last.value : last.value - before.value
            return isRate ? difference / seconds : difference
        case (let one?, let other?): return ofTwo(one, other, seconds, isRate: isRate, lane)
        default:
            lane.notes.mixedFloatsAndHistograms(metricName, at: place)
            return Absent.value
        }
    }

    private mutating func ofTwo(
        _ last: FloatHistogram, _ before: FloatHistogram, _ seconds: Double, isRate: Bool, _ lane: Lane
    ) -> Double {
        let hints = [last.counterReset, before.counterReset]
        if isRate, hints.contains(.gauge) { lane.notes.notCounter(metricName, at: place) }
        if !isRate, hints != [.gauge, .gauge] { lane.notes.notGauge(metricName, at: place) }
        var result = last
        if !isRate || !last.isReset(after: before) {
            do throws(HistogramMismatch) {
                try result.subtract(before)
            } catch {
                lane.notes.mismatch(error, metricName, at: place)
                return Absent.value
            }
        }
        result.counterReset = .gauge
        result.compact()
        if isRate { result.divide(by: seconds) }
        return give(result)
    }

    // MARK: Over time

    private mutating func total(_ window: Window, _ lane: Lane) -> Double {
        let isMean = function == .avgOverTime
        if window.histogramCount > 0 {
            if window.count > 0 {
                lane.notes.mixedFloatsAndHistograms(metricName, at: place)
                return Absent.value
            }
            do throws(HistogramMismatch) {
                var sum = window.histograms[window.histogramLow]
                for index in (window.histogramLow + 1)..<window.histogramHigh { try sum.add(window.histograms[index]) }
                if isMean { sum.divide(by: Double(window.histogramCount)) }
                return give(sum)
            } catch {
                lane.notes.mismatch(error, metricName, at: place)
                return Absent.value
            }
        }
        var (sum, rest): (Double, Double) = (0, 0)
        if isMean { sum = window.first }
        for index in (isMean ? window.low + 1 : window.low)..<window.high {
            Mathematics.add(window.values[index], &sum, &rest)
        }
        if !isMean { return sum.isInfinite ? sum : sum + rest }
        let count = Double(window.count)
        return sum.isInfinite ? incrementalMean(window) : sum / count + rest / count
    }

    /// The mean without a sum that overflows.
    private func incrementalMean(_ window: Window) -> Double {
        var (mean, rest, count): (Double, Double, Double) = (window.first, 0, 1)
        for index in (window.low + 1)..<window.high {
            count += 1
            let share = (count - 1) / count
            mean *= share
            rest *= share
            Mathematics.add(window.values[index] / count, &mean, &rest)
        }
        return mean + rest
    }

    private mutating func end(_ window: Window, isLast: Bool) -> Double {
        guard window.histogramCount > 0 else { return isLast ? window.last : window.first }
        let position = isLast ? window.histogramHigh - 1 : window.histogramLow
        if window.count > 0 {
            let (number, histogram) = (
                window.times[isLast ? window.high - 1 : window.low], window.histogramTimes[position]
            )
            if isLast ? number > histogram : number < histogram { return isLast ? window.last : window.first }
        }
        return give(window.histograms[position])
    }

    private func timeOfEnd(_ window: Window) -> Double {
        var times: [Int64] = []
        let isLast = function == .tsOfLastOverTime
        if window.count > 0 { times.append(window.times[isLast ? window.high - 1 : window.low]) }
        if window.histogramCount > 0 {
            times.append(window.histogramTimes[isLast ? window.histogramHigh - 1 : window.histogramLow])
        }
        return Double((isLast ? times.max() : times.min()) ?? 0) / 1_000
    }

    private func extreme(_ window: Window) -> Double {
        var (best, position) = (window.first, window.low)
        let wantsLater = function == .tsOfMinOverTime || function == .tsOfMaxOverTime
        let wantsMost = function == .maxOverTime || function == .tsOfMaxOverTime
        for index in window.low..<window.high {
            let value = window.values[index]
            if (wantsMost ? value > best : value < best) || best.isNaN || (wantsLater && value == best) {
                (best, position) = (value, index)
            }
        }
        return wantsLater ? Double(window.times[position]) / 1_000 : best
    }

    private func differences(_ window: Window) -> Double {
        var found = 0
        if window.histogramCount == 0 {
            for index in (window.low + 1)..<max(window.high, window.low + 1) {
                let (before, now) = (window.values[index - 1], window.values[index])
                if function == .resets ? now < before : now != before && !(now.isNaN && before.isNaN) { found += 1 }
            }
            return Double(found)
        }
        var (number, position) = (window.low, window.histogramLow)
        var before: (value: Double, histogram: FloatHistogram?)?
        while number < window.high || position < window.histogramHigh {
            let now: (value: Double, histogram: FloatHistogram?)
            if position == window.histogramHigh
                || (number < window.high && window.times[number] < window.histogramTimes[position])
            {
                now = (window.values[number], nil)
                number += 1
            } else {
                now = (0, window.histograms[position])
                position += 1
            }
            if let before, isDifferent(before, now) { found += 1 }
            before = now
        }
        return Double(found)
    }

    private func isDifferent(
        _ before: (value: Double, histogram: FloatHistogram?), _ now: (value: Double, histogram: FloatHistogram?)
    ) -> Bool {
        switch (before.histogram, now.histogram) {
        case (nil, nil):
            function == .resets
                ? now.value < before.value : now.value != before.value && !(now.value.isNaN && before.value.isNaN)
        case (let one?, let other?): function == .resets ? other.isReset(after: one) : !other.isSame(as: one)
        default: true
        }
    }
}
