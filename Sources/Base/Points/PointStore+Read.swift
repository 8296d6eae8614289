internal import Blobs
internal import Segments
internal import Synchronization

/// Reading: memory and files as they are at one moment.
extension PointStore {
    /// Points of a metric in the order of timestamp, step and value, as MLflow's `get-history` has them.
    ///
    /// - Parameters:
    ///   - run: A run; of one that logged nothing there are no points.
    ///   - key: The metric.
    ///   - after: The last point of the page before. As a cursor it neither repeats nor hides a point when others append meanwhile.
    ///   - limit: How many at most.
    /// - Throws: `StorageError.damaged`.
    package func history(
        _ run: RunID, _ key: String, after: MetricPoint? = nil, limit: Int = .max
    ) async throws -> [MetricPoint] {
        try await readers.run { [self] in
            var found: [MetricPoint] = []
            if limit <= 0 { return found }
            var pieces = try pieces(run, PointKey(key))
            if let after { pieces.removeAll { $0.last < PointPlace(after) } }
            if pieces.count < 1_000 { found.reserveCapacity(min(limit, pieces.reduce(0) { $0 + $1.count })) }
            try PointPiece.walk(pieces) { points in
                var points = points
                if let after, let first = points.first, !(after < first) {
                    points = points[points.partitioned { !(after < $0) }...]
                }
                found.append(contentsOf: points.prefix(limit - found.count))
                return found.count < limit
            }
            return found
        }
    }

    /// The latest point of each metric of a run, sorted by the bytes of the names.
    ///
    /// - Throws: `StorageError.damaged`.
    package func latest(_ run: RunID) async throws -> [LatestPoint] {
        try await readers.run { [self] in
            let (heads, segments) = state.withLock { state in
                state.sources(of: run) { $0.runs[run].map { $0.mapValues(\.latest) } }
            }
            var latest: [PointKey: MetricPoint] = [:]
            func see(_ key: PointKey, _ point: MetricPoint) {
                if latest[key].map({ point.isLater(than: $0) }) ?? true { latest[key] = point }
            }
            for head in heads { for (key, point) in head { see(key, point) } }
            for segment in segments { for series in try segment.series(of: run) { see(series.key, series.latest) } }
            return latest.sorted { $0.key < $1.key }.map { LatestPoint(key: $0.key.text, point: $0.value) }
        }
    }

    /// Points of a metric for a picture: all when there are few, else of each bucket the first, last, least and greatest.
    ///
    /// A line through these covers the same pixels as one through all, when a bucket is a column of pixels (M4: Jugel et al. 2014);
    /// no peak is lost.
    ///
    /// - Parameters:
    ///   - run: A run.
    ///   - key: The metric.
    ///   - axis: What the buckets divide.
    ///   - from: First place on the axis; nil for the first that there is.
    ///   - to: Last place, included; nil for the last that there is.
    ///   - buckets: Of even width, 1...100,000.
    /// - Throws: `StorageError.damaged`, `.invalid` for a number of buckets that is not allowed.
    package func sampled(
        _ run: RunID, _ key: String, axis: PointAxis = .step, from: Int64? = nil, to: Int64? = nil, buckets: Int
    ) async throws -> SampledPoints {
        guard (1...Self.mostBuckets).contains(buckets) else {
            throw StorageError(
                .invalid, "\(buckets) buckets are not 1...\(Self.mostBuckets)",
                hint: "Ask for as many as there are pixels.")
        }
        return try await readers.run { [self] in
            let all = try pieces(run, PointKey(key))
            let bounds = all.map { axis == .step ? $0.steps : $0.first.timestamp...$0.last.timestamp }
            let least = from ?? bounds.map(\.lowerBound).min() ?? 0
            let greatest = to ?? bounds.map(\.upperBound).max() ?? 0
            guard least <= greatest, !all.isEmpty else { return SampledPoints() }
            let range = least...greatest
            let within = zip(all, bounds).filter { $1.overlaps(range) }.map(\.0)
            var thinning = PointThinning(axis, range, buckets: buckets)
            try PointPiece.walk(within) { points in
                thinning.add(points)
                return true
            }
            return thinning.finish()
        }
    }

    /// The most buckets of one picture.
    package static let mostBuckets = 100_000

    private func pieces(_ run: RunID, _ key: PointKey) throws -> [PointPiece] {
        let (heads, segments) = state.withLock { state in state.sources(of: run) { $0.runs[run]?[key] } }
        var pieces = heads.compactMap { PointPiece($0.sorted) }
        for segment in segments {
            for series in try segment.series(of: run, key: key) { pieces += try PointPiece.of(series, in: segment) }
        }
        return pieces
    }
}

extension PointStore.State {
    /// What heads have of a run, and the segments that may have some: all that are not older than its last removal.
    fileprivate func sources<Part>(of run: RunID, _ part: (PointHead) -> Part?) -> ([Part], [PointSegment]) {
        var parts: [Part] = []
        for head in [head] + frozen.reversed() {
            if let part = part(head) { parts.append(part) }
            if head.deleted.contains(run) { return (parts, []) }
        }
        var chosen: [PointSegment] = []
        for segment in segments.reversed() {
            chosen.append(segment)
            if segment.deleted.contains(run) { break }
        }
        return (parts, chosen)
    }
}

extension ArraySlice where Element == MetricPoint {
    /// The place of the first element of which the body is false; it is true of all before and of none behind.
    fileprivate func partitioned(_ body: (MetricPoint) -> Bool) -> Int {
        var (low, high) = (startIndex, endIndex)
        while low < high {
            let middle = (low + high) / 2
            if body(self[middle]) { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
