/// Takes points one after the other and keeps of each bucket the first, the last, the least and the greatest.
struct PointThinning {
    private struct Bucket {
        var first: MetricPoint
        var last: MetricPoint
        var least: MetricPoint
        var greatest: MetricPoint
    }

    /// Points of a bucket at most.
    private static let perBucket = 4

    private let axis: PointAxis
    private let range: ClosedRange<Int64>
    private let width: Double
    private var buckets: [Bucket?]
    /// All points, as long as there are no more than buckets would give.
    private var all: [MetricPoint] = []
    private var total = 0

    init(_ axis: PointAxis, _ range: ClosedRange<Int64>, buckets: Int) {
        self.axis = axis
        self.range = range
        // The distance of any two whole numbers fits without a sign.
        width = (Double(UInt64(bitPattern: range.upperBound &- range.lowerBound)) + 1) / Double(buckets)
        self.buckets = Array(repeating: nil, count: buckets)
    }

    mutating func add(_ points: ArraySlice<MetricPoint>) {
        for point in points {
            let place = axis == .step ? point.step : point.timestamp
            guard range.contains(place) else { continue }
            total += 1
            if total <= buckets.count * Self.perBucket { all.append(point) }
            let distance = Double(UInt64(bitPattern: place &- range.lowerBound))
            let number = min(Int(distance / width), buckets.count - 1)
            Self.add(point, to: &buckets[number], axis)
        }
    }

    private static func add(_ point: MetricPoint, to bucket: inout Bucket?, _ axis: PointAxis) {
        guard bucket != nil else {
            bucket = Bucket(first: point, last: point, least: point, greatest: point)
            return
        }
        if isBefore(point, bucket?.first, axis) { bucket?.first = point }
        if !isBefore(point, bucket?.last, axis) { bucket?.last = point }
        // NaN is neither the least nor the greatest of anything, unless there is nothing else.
        if point.value.isNaN { return }
        if let least = bucket?.least.value, least.isNaN || point.value < least { bucket?.least = point }
        if let greatest = bucket?.greatest.value, greatest.isNaN || point.value > greatest { bucket?.greatest = point }
    }

    private static func isBefore(_ left: MetricPoint, _ right: MetricPoint?, _ axis: PointAxis) -> Bool {
        guard let right else { return true }
        if axis == .time { return left < right }
        return left.step == right.step ? left < right : left.step < right.step
    }

    func finish() -> SampledPoints {
        let axis = axis
        if total == all.count {
            return SampledPoints(points: all.sorted { Self.isBefore($0, $1, axis) }, total: total)
        }
        var points: [MetricPoint] = []
        for case let bucket? in buckets {
            let kept = [bucket.first, bucket.least, bucket.greatest, bucket.last].sorted { Self.isBefore($0, $1, axis) }
            for point in kept where points.last != point { points.append(point) }
        }
        return SampledPoints(points: points, total: total)
    }
}
