import Series

/// Makes a long series short without changing what is asked of it most.
///
/// Of each window at most `kept` samples stay, and they are plain samples, so that nothing that reads them has to know:
/// the first and the last, the least and the greatest, each at its own time; both sides of a drop when there are few of them
/// (a counter that began anew); staleness markers. What is then missing to `kept` is filled by samples whose value brings the
/// mean of those that stay to the mean of the window. So over whole windows `rate`, `increase`, `min_over_time` and
/// `max_over_time` stay what they were, and `avg_over_time` does unless a window's mean lies so near one of its ends that no
/// fill between least and greatest can say it, or a counter began anew in it.
enum Thinning {
    static let windows: [Int64] = [5 * TSDBOptions.minute, TSDBOptions.hour]
    static let kept = 8
    /// With more drops than this in a window the series is no counter.
    static let drops = 4
    /// Of histograms the first and the last of a window stay.
    static let keptHistograms = 2

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
        var fill: (indices: [Int], value: Double)?
        if let first = numbers.first, let last = numbers.last {
            let ends = [
                first, last, numbers.min { buffer.values[$0] < buffer.values[$1] } ?? first,
                numbers.max { buffer.values[$0] < buffer.values[$1] } ?? first,
            ]
            chosen.formUnion(ends)
            let falls = zip(numbers, numbers.dropFirst()).filter { buffer.values[$1] < buffer.values[$0] }
            if (1...drops).contains(falls.count) {
                for (before, after) in falls { chosen.formUnion([before, after]) }
            } else {
                fill = filling(buffer, numbers, Set(ends))
            }
        }
        let filled = Set(fill?.indices ?? [])
        for index in chosen.union(filled).sorted() {
            if let fill, filled.contains(index) {
                thinned.append(buffer.times[index], fill.value)
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

    /// Where samples go whose value makes the mean right, and that value.
    ///
    /// A rising window stays rising: its fills lie between the values around them, all in one gap between what stays.
    private static func filling(
        _ buffer: SampleBuffer, _ numbers: [Int], _ ends: Set<Int>
    ) -> (indices: [Int], value: Double)? {
        let values = numbers.map { buffer.values[$0] }
        guard let least = values.min(), let greatest = values.max(), least.isFinite, greatest.isFinite else {
            return nil
        }
        let free = numbers.filter { !ends.contains($0) }
        let room = min(kept - ends.count, free.count)
        guard room > 0 else { return nil }
        let mean = values.reduce(0) { $0 + $1 / Double(values.count) }
        let staying = ends.reduce(0) { $0 + buffer.values[$1] }
        let wanted = (mean * Double(ends.count + room) - staying) / Double(room)
        let value = min(max(wanted, least), greatest)
        // Spread over the window: a fill has the time of a sample that it stands for.
        let indices = (0..<room).map { free[$0 * free.count / room] }
        return (indices, value)
    }
}
