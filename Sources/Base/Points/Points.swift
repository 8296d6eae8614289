/// The id of an experiment run: 32 hexadecimal digits, kept as 16 bytes.
package struct RunID: Hashable, Sendable, Comparable, CustomStringConvertible {
    package static let byteCount = 16
    private static let digits = Array("0123456789abcdef".utf8)

    package let high: UInt64
    package let low: UInt64

    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// Nil unless the text is 32 digits or lower-case letters `a` to `f`, so that each id has one spelling.
    package init?(_ text: some StringProtocol) {
        var (high, low, count): (UInt64, UInt64, Int) = (0, 0, 0)
        for byte in text.utf8 {
            let digit: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
            default: return nil
            }
            high = high << 4 | low >> 60
            low = low << 4 | UInt64(digit)
            count += 1
            if count > 32 { return nil }
        }
        guard count == 32 else { return nil }
        (self.high, self.low) = (high, low)
    }

    package var description: String {
        String(unsafeUninitializedCapacity: 32) { buffer in
            for place in 0..<32 {
                let word = place < 16 ? high : low
                buffer[place] = Self.digits[Int(word >> UInt64(60 - place % 16 * 4) & 15)]
            }
            return 32
        }
    }

    package static func < (left: RunID, right: RunID) -> Bool {
        left.high == right.high ? left.low < right.low : left.high < right.high
    }
}

/// One value of a metric. Two are the same when all three are, the value bit for bit (so NaN is itself).
package struct MetricPoint: Hashable, Sendable, Comparable {
    /// Milliseconds since 1970.
    package var timestamp: Int64
    package var step: Int64
    package var value: Double

    package init(timestamp: Int64, step: Int64, value: Double) {
        self.timestamp = timestamp
        self.step = step
        self.value = value
    }

    /// What MLflow compares for a value: it keeps NaN as a zero with a mark beside it.
    private var rank: Double { value.isNaN ? 0 : value }

    package static func == (left: MetricPoint, right: MetricPoint) -> Bool {
        left.timestamp == right.timestamp && left.step == right.step
            && left.value.bitPattern == right.value.bitPattern
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(timestamp)
        hasher.combine(step)
        hasher.combine(value.bitPattern)
    }

    /// The order of a history: timestamp, step, value; then the bits, so that no two differ in nothing.
    package static func < (left: MetricPoint, right: MetricPoint) -> Bool {
        if left.timestamp != right.timestamp { return left.timestamp < right.timestamp }
        if left.step != right.step { return left.step < right.step }
        if left.rank != right.rank { return left.rank < right.rank }
        return left.value.bitPattern < right.value.bitPattern
    }

    /// MLflow's rule of the latest value: the greatest step, of these the greatest timestamp, of these the greatest value.
    package func isLater(than other: MetricPoint) -> Bool {
        if step != other.step { return step > other.step }
        if timestamp != other.timestamp { return timestamp > other.timestamp }
        return rank > other.rank
    }
}

/// Points of one metric of one run, in any order.
package struct MetricPoints: Sendable, Hashable {
    package var run: RunID
    package var key: String
    package var points: [MetricPoint]

    package init(run: RunID, key: String, points: [MetricPoint]) {
        self.run = run
        self.key = key
        self.points = points
    }
}

/// The latest point of a metric, after `MetricPoint.isLater`.
package struct LatestPoint: Sendable, Hashable {
    package var key: String
    package var point: MetricPoint
}

/// Along which axis points are thinned for a picture.
package enum PointAxis: Sendable, Hashable {
    case step
    case time
}

/// Points of a metric for a picture: all of them, or of each bucket the first, the last, the least and the greatest.
package struct SampledPoints: Sendable, Hashable {
    /// In order of the axis.
    package var points: [MetricPoint] = []
    /// How many there are in the range.
    package var total = 0
    /// Whether `points` is all of them.
    package var isWhole: Bool { points.count == total }
}
