#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// What can be estimated from buckets.
extension FloatHistogram {
    /// What an estimate has to say besides its number.
    package enum Note: Hashable, Sendable {
        /// NaN was observed: the result is NaN.
        case isNaN
        /// NaN was observed: the result is too high.
        case isSkewed
        /// NaN was observed: it counts to no fraction.
        case isLeftOut
    }

    /// The quantile (0 to 1): exponential interpolation in exponential buckets, linear in the zero bucket and custom ones.
    package func quantile(_ q: Double) -> (value: Double, note: Note?) {
        if q < 0 { return (-.infinity, nil) }
        if q > 1 { return (.infinity, nil) }
        if count == 0 || q.isNaN { return (.nan, nil) }
        let isForward = sum.isNaN || q < 0.5
        let buckets = isForward ? allBuckets : allBuckets.reversed()
        var rank = isForward ? q * count : (1 - q) * count
        var (reached, position): (Double, Int) = (0, 0)
        var bucket = Bucket(lower: 0, upper: 0, count: 0)
        while position < buckets.count {
            let next = buckets[position]
            position += 1
            bucket = next
            if next.count == 0 { continue }
            reached += next.count
            if reached >= rank { break }
        }
        if !usesCustomBuckets {
            if bucket.lower < 0, bucket.upper > 0 { narrow(&bucket) }
        } else if bucket.lower == -.infinity {
            if bucket.upper <= 0 { return (bucket.upper, nil) }
            bucket.lower = 0
        } else if bucket.upper == .infinity {
            return (bucket.lower, nil)
        }
        reached = min(reached, count)
        if reached < rank { return sum.isNaN ? (.nan, .isNaN) : (bucket.upper, nil) }
        rank = isForward ? rank - (reached - bucket.count) : reached - rank
        var note: Note?
        if sum.isNaN {
            let all = buckets[position...].reduce(reached) { $0 + $1.count }
            if all < count { note = .isSkewed }
        }
        return (interpolated(bucket, rank / bucket.count), note)
    }

    /// A histogram with observations on one side only has none on the other side of the zero bucket.
    private func narrow(_ bucket: inout Bucket) {
        if negativeBuckets.isEmpty, !positiveBuckets.isEmpty { bucket.lower = 0 }
        if positiveBuckets.isEmpty, !negativeBuckets.isEmpty { bucket.upper = 0 }
    }

    private func interpolated(_ bucket: Bucket, _ share: Double) -> Double {
        if usesCustomBuckets || (bucket.lower <= 0 && bucket.upper >= 0) {
            return bucket.lower + (bucket.upper - bucket.lower) * share
        }
        let (low, high) = (log2(bucket.lower.magnitude), log2(bucket.upper.magnitude))
        return bucket.lower > 0 ? exp2(low + (high - low) * share) : -exp2(high + (low - high) * (1 - share))
    }

    /// The share of observations between two values.
    package func fraction(from lower: Double, to upper: Double) -> (value: Double, note: Note?) {
        if count == 0 || lower.isNaN || upper.isNaN { return (.nan, nil) }
        if lower >= upper { return (0, nil) }
        var (rank, total): (Double, Double) = (0, 0)
        var (lowerRank, upperRank): (Double?, Double?)
        for var bucket in allBuckets {
            total += bucket.count
            if lowerRank != nil, upperRank != nil { continue }
            let isZero = bucket.lower <= 0 && bucket.upper >= 0
            if isZero { narrow(&bucket) }
            if lowerRank == nil, bucket.lower >= lower { lowerRank = rank }
            if upperRank == nil, bucket.lower >= upper { upperRank = rank }
            if lowerRank == nil, bucket.lower < lower, bucket.upper > lower {
                lowerRank = rank + bucket.count * share(of: lower, in: bucket, isLinear: usesCustomBuckets || isZero)
            }
            if upperRank == nil, bucket.lower < upper, bucket.upper > upper {
                upperRank = rank + bucket.count * share(of: upper, in: bucket, isLinear: usesCustomBuckets || isZero)
            }
            rank += bucket.count
        }
        let observed = sum.isNaN ? total : count
        let share = (min(upperRank ?? observed, observed) - min(lowerRank ?? observed, observed)) / count
        return (share, sum.isNaN && total < count ? .isLeftOut : nil)
    }

    private func share(of value: Double, in bucket: Bucket, isLinear: Bool) -> Double {
        if isLinear { return (value - bucket.lower) / (bucket.upper - bucket.lower) }
        let (low, high, middle) = (log2(bucket.lower.magnitude), log2(bucket.upper.magnitude), log2(value.magnitude))
        return value > 0 ? (middle - low) / (high - low) : 1 - (middle - high) / (low - high)
    }

    /// The estimated variance of the observations: each counts as the middle of its bucket.
    package var variance: Double {
        let mean = sum / count
        var total: Double = 0
        for bucket in allBuckets where bucket.count != 0 {
            let middle: Double
            if usesCustomBuckets {
                middle = (bucket.upper + bucket.lower) / 2
            } else if bucket.lower <= 0, bucket.upper >= 0 {
                middle = 0
            } else {
                let size = (bucket.upper * bucket.lower).squareRoot()
                middle = bucket.upper < 0 ? -size : size
            }
            total += bucket.count * (middle - mean) * (middle - mean)
        }
        return total / count
    }
}
