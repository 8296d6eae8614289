import Series

/// The statistics among the range functions.
extension RangeCalculation {
    func variance(_ window: Window) -> Double {
        var (count, mean, meanRest, total, totalRest): (Double, Double, Double, Double, Double) = (0, 0, 0, 0, 0)
        for index in window.low..<window.high {
            let value = window.values[index]
            count += 1
            let difference = value - (mean + meanRest)
            Mathematics.add(difference / count, &mean, &meanRest)
            Mathematics.add(difference * (value - (mean + meanRest)), &total, &totalRest)
        }
        return (total + totalRest) / count
    }

    func medianDeviation(_ window: Window) -> Double {
        var values = Array(window.values[window.low..<window.high])
        let median = Mathematics.quantile(0.5, &values)
        for index in values.indices { values[index] = (values[index] - median).magnitude }
        return Mathematics.quantile(0.5, &values)
    }

    /// Least squares through the numbers: per-second slope, and the line's value at a time.
    func regression(_ window: Window, at time: Int64) -> (slope: Double, intercept: Double) {
        var (x, xRest, y, yRest): (Double, Double, Double, Double) = (0, 0, 0, 0)
        var (xy, xyRest, xx, xxRest): (Double, Double, Double, Double) = (0, 0, 0, 0)
        let first = window.first
        var isConstant = true
        for index in window.low..<window.high {
            let value = window.values[index]
            if value != first, index > window.low { isConstant = false }
            let seconds = Double(window.times[index] - time) / 1_000
            Mathematics.add(seconds, &x, &xRest)
            Mathematics.add(value, &y, &yRest)
            Mathematics.add(seconds * value, &xy, &xyRest)
            Mathematics.add(seconds * seconds, &xx, &xxRest)
        }
        if isConstant { return first.isInfinite ? (.nan, .nan) : (0, first) }
        let count = Double(window.count)
        (x, y, xy, xx) = (x + xRest, y + yRest, xy + xyRest, xx + xxRest)
        let slope = (xy - x * y / count) / (xx - x * x / count)
        return (slope, y / count - slope * x / count)
    }

    func checkFactors(_ step: Int) throws(PromQLError) {
        for (index, name) in [(0, "smoothing"), (1, "trend")] {
            let factor = parameters[index][step]
            if factor <= 0 || factor >= 1 {
                let short = name == "smoothing" ? "sf" : "tf"
                let message = "invalid \(name) factor. Expected: 0 < \(short) < 1, got: \(NumberText.general(factor))"
                throw PromQLError(.execution, message, at: place)
            }
        }
    }

    /// Holt's linear smoothing.
    func smoothed(_ window: Window, _ smoothing: Double, _ trendFactor: Double) -> Double {
        var (before, level): (Double, Double) = (0, window.first)
        var trend = window.values[window.low + 1] - window.first
        for index in (window.low + 1)..<window.high {
            if index > window.low + 1 { trend = trendFactor * (level - before) + (1 - trendFactor) * trend }
            (before, level) = (level, smoothing * window.values[index] + (1 - smoothing) * (level + trend))
        }
        return level
    }
}
