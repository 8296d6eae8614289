/// The name of a metric, byte for byte: texts that Unicode holds for equal are two metrics.
struct PointKey: Hashable, Sendable, Comparable {
    let bytes: [UInt8]

    init(_ text: String) { bytes = Array(text.utf8) }

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var text: String { String(decoding: bytes, as: UTF8.self) }

    static func < (left: PointKey, right: PointKey) -> Bool { left.bytes.lexicographicallyPrecedes(right.bytes) }
}

/// Points that are in the log and in no segment yet.
struct PointHead: Sendable {
    struct Series: Sendable {
        var points: [MetricPoint]
        var latest: MetricPoint
        /// Whether each point comes after the one before it: so none is there twice.
        var isSorted = true

        init(_ first: MetricPoint) { (points, latest) = ([first], first) }

        mutating func add(_ point: MetricPoint) {
            if isSorted, let last = points.last, !(last < point) {
                if last == point { return }
                isSorted = false
            }
            points.append(point)
            if point.isLater(than: latest) { latest = point }
        }

        /// In the order of a history, each once.
        var sorted: [MetricPoint] { isSorted ? points : points.sortedOnce() }
    }

    /// Bytes that a run and a metric take beside their points; measured roughly, for the bound of memory.
    private static let runWeight = 160
    private static let seriesWeight = 160

    /// The number of the log that it mirrors, and of the segment that it becomes.
    let number: UInt64
    private(set) var runs: [RunID: [PointKey: Series]] = [:]
    /// Runs of which nothing counts that is older than this head.
    private(set) var deleted: Set<RunID> = []
    private(set) var points = 0
    private(set) var weight = 0

    init(number: UInt64) { self.number = number }

    var isEmpty: Bool { runs.isEmpty && deleted.isEmpty }

    mutating func add(_ record: PointRecord) {
        switch record {
        case .points(let series): for one in series { add(one) }
        case .deletion(let runs): for run in runs { remove(run) }
        }
    }

    private mutating func add(_ new: MetricPoints) {
        guard !new.points.isEmpty else { return }
        let key = PointKey(new.key)
        if runs[new.run] == nil { weight += Self.runWeight }
        let before = Self.add(new.points, to: &runs[new.run, default: [:]][key])
        let after = runs[new.run]?[key]?.points.count ?? 0
        points += after - (before ?? 0)
        weight += (after - (before ?? 0)) * MemoryLayout<MetricPoint>.stride
        if before == nil { weight += Self.seriesWeight + key.bytes.count }
    }

    /// - Returns: How many there were; nil for a metric that is new.
    private static func add(_ points: [MetricPoint], to series: inout Series?) -> Int? {
        let before = series?.points.count
        for point in points {
            if series == nil { series = Series(point) } else { series?.add(point) }
        }
        return before
    }

    private mutating func remove(_ run: RunID) {
        if let series = runs.removeValue(forKey: run) {
            points -= series.values.reduce(0) { $0 + $1.points.count }
        }
        if deleted.insert(run).inserted { weight += Self.runWeight }
    }
}

extension Array where Element == MetricPoint {
    /// In the order of a history, each once.
    func sortedOnce() -> [MetricPoint] {
        var result = self
        result.sortOnce()
        return result
    }

    mutating func sortOnce() {
        var isSorted = true
        var index = 1
        while index < count && isSorted {
            isSorted = self[index - 1] < self[index]
            index += 1
        }
        if isSorted { return }
        sort()
        var kept = 0
        for index in indices.dropFirst() where self[index] != self[kept] {
            kept += 1
            if kept != index { self[kept] = self[index] }
        }
        if kept + 1 < count { removeLast(count - kept - 1) }
    }
}
