import Series

/// Makes a long series short without changing what is asked of it most.
///
/// Of each window about `kept` samples stay, and they are plain samples, so that nothing that reads them has to know: the first
/// and the last, the least and the greatest, each at its own time; both sides of a drop when there are few of them (a counter
/// that began anew); staleness markers. Up to `kept` there are fills: samples at times of the window whose values bring the mean
/// of what stays to the mean of the window without rising or falling where the window did not. So over whole windows `rate`,
/// `increase`, `min_over_time` and `max_over_time` stay what they were, and `avg_over_time` does unless a window's mean lies so
/// near one of its ends that no fill can say it, as where a counter began anew.
enum Thinning {
    static let windows: [Int64] = [5 * TSDBOptions.minute, TSDBOptions.hour]
    static let kept = 8
    /// With more drops than this in a window the series is no counter.
    static let drops = 4
    static let fillsAtLeast = 2

    static func thin(_ buffer: SampleBuffer, window: Int64) -> SampleBuffer {
        var thinned = SampleBuffer()
        var start = 0
        while start < buffer.count {
            let end = rangeEnd(buffer.times[start], window)
            var stop = start + 1
            while stop < buffer.count, buffer.times[stop] < end { stop += 1 }
            keep(buffer, start..<stop, into: &thinned)
            start = stop
        }
        return thinned
    }

    private static func keep(_ buffer: SampleBuffer, _ window: Range<Int>, into thinned: inout SampleBuffer) {
        if window.count <= kept {
            for index in window { thinned.copy(buffer, index) }
            return
        }
        var chosen = Set<Int>()
        var numbers: [Int] = []
        var histograms: [Int] = []
        for index in window {
            if buffer.hasHistograms, buffer.histogramAt[index] >= 0 {
                if StaleMarker.isStale(buffer.histograms[Int(buffer.histogramAt[index])].sum) { chosen.insert(index) }
                histograms.append(index)
            } else if buffer.values[index].isNaN {
                chosen.insert(index)
            } else {
                numbers.append(index)
            }
        }
        if let first = histograms.first, let last = histograms.last {
            chosen.formUnion([first, last])
            chosen.formUnion(resets(buffer, histograms))
        }
        var fills: [Int: Double] = [:]
        if let first = numbers.first, let last = numbers.last {
            var staying: Set<Int> = [
                first, last, numbers.min { buffer.values[$0] < buffer.values[$1] } ?? first,
                numbers.max { buffer.values[$0] < buffer.values[$1] } ?? first,
            ]
            let falls = zip(numbers, numbers.dropFirst()).filter { buffer.values[$1] < buffer.values[$0] }
            let mayBeCounter = falls.count <= drops
            if mayBeCounter { for (before, after) in falls { staying.formUnion([before, after]) } }
            chosen.formUnion(staying)
            fills = filling(buffer, numbers, staying.sorted(), keepsRising: mayBeCounter)
        }
        for index in chosen.union(fills.keys).sorted() {
            if let value = fills[index] {
                thinned.append(buffer.times[index], value)
            } else {
                thinned.copy(buffer, index)
            }
        }
    }

    /// Histograms on both sides of a point at which the count went down.
    private static func resets(_ buffer: SampleBuffer, _ indices: [Int]) -> [Int] {
        zip(indices, indices.dropFirst()).filter { before, after in
            let (left, right) = (Int(buffer.histogramAt[before]), Int(buffer.histogramAt[after]))
            return buffer.histograms[right].count < buffer.histograms[left].count
        }.flatMap { [$0.0, $0.1] }
    }

    /// Samples whose values make the mean right, by the place whose time they take.
    ///
    /// Each lies between the values that stay on both sides of it, where the series must go on rising, else between least and
    /// greatest; all lie equally far from the lower end to the upper one.
    private static func filling(
        _ buffer: SampleBuffer, _ numbers: [Int], _ staying: [Int], keepsRising: Bool
    ) -> [Int: Double] {
        let values = numbers.map { buffer.values[$0] }
        guard let least = values.min(), let greatest = values.max(), least.isFinite, greatest.isFinite else {
            return [:]
        }
        let kept = Set(staying)
        let free = numbers.filter { !kept.contains($0) }
        let count = min(max(Self.kept - staying.count, fillsAtLeast), free.count)
        guard count > 0 else { return [:] }
        let mean = values.reduce(0) { $0 + $1 / Double(values.count) }
        let wanted = mean * Double(staying.count + count) - staying.reduce(0) { $0 + buffer.values[$1] }
        let places = (0..<count).map { free[($0 * 2 + 1) * free.count / (count * 2)] }
        let bounds = places.map { place -> (low: Double, high: Double) in
            guard keepsRising, let after = staying.firstIndex(where: { $0 > place }), after > 0 else {
                return (least, greatest)
            }
            let (left, right) = (buffer.values[staying[after - 1]], buffer.values[staying[after]])
            return (min(left, right), max(left, right))
        }
        let (low, high) = (bounds.reduce(0) { $0 + $1.low }, bounds.reduce(0) { $0 + $1.high })
        let part = high > low ? min(max((wanted - low) / (high - low), 0), 1) : 0
        var fills: [Int: Double] = [:]
        for (place, bound) in zip(places, bounds) { fills[place] = bound.low + part * (bound.high - bound.low) }
        return fills
    }
}
