internal import Segments

/// Points of one metric that lie together, in the order of a history: a chunk, or what memory has.
struct PointPiece {
    private enum Place {
        case memory([MetricPoint])
        case file(PointSegment, PointChunkHead, offset: Int)
    }

    let first: PointPlace
    let last: PointPlace
    let steps: ClosedRange<Int64>
    let count: Int
    private let place: Place

    /// - Parameter points: Sorted; nil when there are none.
    init?(_ points: [MetricPoint]) {
        guard let first = points.first, let last = points.last else { return nil }
        let head = PointChunkHead(points[...], length: 0)
        (self.first, self.last) = (PointPlace(first), PointPlace(last))
        steps = head.leastStep...head.greatestStep
        count = points.count
        place = .memory(points)
    }

    private init(_ segment: PointSegment, _ head: PointChunkHead, offset: Int) throws {
        guard head.leastStep <= head.greatestStep, head.first <= head.last else {
            throw StorageError.damaged("a chunk of \"\(segment.path)\" ends before it begins")
        }
        (first, last, count) = (head.first, head.last, head.count)
        steps = head.leastStep...head.greatestStep
        place = .file(segment, head, offset: offset)
    }

    /// The pieces of a metric in a segment.
    static func of(_ series: PointSegment.Series, in segment: PointSegment) throws -> [PointPiece] {
        if series.count == 1 { return [PointPiece([series.latest])].compactMap { $0 } }
        if !series.inline.isEmpty {
            var points: [MetricPoint] = []
            try series.readInline(into: &points)
            return [PointPiece(points)].compactMap { $0 }
        }
        var offset = series.offset
        return try series.chunks.map { chunk in
            defer { offset += chunk.length + PointSegment.checksumBytes }
            return try PointPiece(segment, chunk, offset: offset)
        }
    }

    private func load(into points: inout [MetricPoint]) throws {
        switch place {
        case .memory(let own): points.append(contentsOf: own)
        case .file(let segment, let head, let offset): try segment.read(head, at: offset, into: &points)
        }
    }

    /// Shows the points of all pieces in the order of a history, each once, in runs, until the body says no.
    ///
    /// Only pieces that overlap are in memory together.
    static func walk(_ pieces: [PointPiece], _ body: (ArraySlice<MetricPoint>) throws -> Bool) throws {
        var pending: [MetricPoint] = []
        for piece in pieces.sorted(by: { $0.first < $1.first }) {
            if !pending.isEmpty {
                pending.sortOnce()
                let settled = pending.firstIndex(notBefore: piece.first)
                if settled > 0, try !body(pending[..<settled]) { return }
                if settled == pending.count {
                    pending.removeAll(keepingCapacity: true)
                } else {
                    pending.removeFirst(settled)
                }
            }
            try piece.load(into: &pending)
        }
        pending.sortOnce()
        if !pending.isEmpty { _ = try body(pending[...]) }
    }
}

extension Array where Element == MetricPoint {
    /// The place of the first of sorted points that does not lie before one.
    fileprivate func firstIndex(notBefore place: PointPlace) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if PointPlace(self[middle]) < place { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
