#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Buckets as places on the number line.
extension FloatHistogram {
    /// One bucket with its ends. A positive bucket holds its upper end, a negative one its lower, the zero bucket both.
    package struct Bucket: Hashable, Sendable {
        package var lower: Double
        package var upper: Double
        package var count: Double
    }

    /// Index and count of each bucket of one side, empty ones of the spans included.
    package struct Populated: Hashable, Sendable {
        package var index: Int32
        package var count: Double
    }

    /// The upper end of the bucket with this index, for schemas with exponential bounds.
    package static func exponentialBound(_ index: Int32, schema: Int32) -> Double {
        let (mantissa, exponent): (Double, Int)
        if schema <= 0 {
            (mantissa, exponent) = (1, Int(index) << Int(-max(schema, -32)))
        } else {
            let share = index & ((1 << min(schema, 30)) - 1)
            (mantissa, exponent) = (exp2(Double(share) / Double(1 << min(schema, 30))), Int(index >> min(schema, 30)))
        }
        // The bucket of the greatest numbers ends at the greatest number, not beyond.
        if mantissa == 1, exponent == 1_024 { return .greatestFiniteMagnitude }
        return scalbn(mantissa, Int32(clamping: exponent))
    }

    /// The ends of a bucket on the positive side.
    package func bounds(_ index: Int32) -> (lower: Double, upper: Double) {
        guard usesCustomBuckets else {
            return (Self.exponentialBound(index &- 1, schema: schema), Self.exponentialBound(index, schema: schema))
        }
        let position = Int(index)
        let lower = position > 0 && position <= customValues.count ? customValues[position - 1] : -.infinity
        let upper = position >= 0 && position < customValues.count ? customValues[position] : .infinity
        return (lower, upper)
    }

    package static func populated(_ spans: [Span], _ buckets: [Double]) -> [Populated] {
        var result: [Populated] = []
        result.reserveCapacity(buckets.count)
        var index: Int32 = 0
        for span in spans {
            index &+= span.offset
            for _ in 0..<min(Int(span.length), buckets.count - result.count) {
                result.append(Populated(index: index, count: buckets[result.count]))
                index &+= 1
            }
        }
        return result
    }

    package static func spans(_ populated: [Populated]) -> [Span] {
        var spans: [Span] = []
        var next: Int32 = 0
        for bucket in populated {
            if !spans.isEmpty, bucket.index == next {
                spans[spans.count - 1].length += 1
            } else {
                spans.append(Span(offset: bucket.index &- next, length: 1))
            }
            next = bucket.index &+ 1
        }
        return spans
    }

    package var positive: [Populated] {
        get { Self.populated(positiveSpans, positiveBuckets) }
        set {
            positiveSpans = Self.spans(newValue)
            positiveBuckets = newValue.map(\.count)
        }
    }

    package var negative: [Populated] {
        get { Self.populated(negativeSpans, negativeBuckets) }
        set {
            negativeSpans = Self.spans(newValue)
            negativeBuckets = newValue.map(\.count)
        }
    }

    /// All buckets from the lowest to the highest, the zero bucket among them when it holds something. Ends that reach into
    /// the zero bucket are cut off at it.
    package var allBuckets: [Bucket] {
        var result: [Bucket] = []
        for bucket in negative.reversed() {
            let (lower, upper) = bounds(bucket.index)
            result.append(Bucket(lower: -upper, upper: min(-lower, -zeroThreshold), count: bucket.count))
        }
        if zeroCount > 0 { result.append(Bucket(lower: -zeroThreshold, upper: zeroThreshold, count: zeroCount)) }
        for bucket in positive {
            let (lower, upper) = bounds(bucket.index)
            let cut = lower > 0 && lower < zeroThreshold ? zeroThreshold : lower
            result.append(Bucket(lower: cut, upper: upper, count: bucket.count))
        }
        return result
    }

    /// How many plain samples take the memory of this one.
    package var sampleCount: Int {
        let spans = positiveSpans.count + negativeSpans.count
        let numbers = positiveBuckets.count + negativeBuckets.count + customValues.count
        return (176 + 8 * (spans + numbers)) / 16
    }
}
