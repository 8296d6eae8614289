/// Why two histograms cannot be put together.
package enum HistogramMismatch: Error, Hashable, Sendable {
    /// One has exponential bounds, the other its own.
    case schemas
    /// Both have their own bounds, and these differ.
    case customBounds
}

/// Sums, differences, scaling: the algebra of native histograms (specification 1.0).
extension FloatHistogram {
    /// Adds another's observations. The coarser of the two resolutions and the wider zero bucket win.
    package mutating func add(_ other: FloatHistogram) throws(HistogramMismatch) {
        try checkFits(other)
        if counterReset != other.counterReset {
            counterReset = counterReset == .gauge || other.counterReset == .gauge ? .gauge : .unknown
        }
        merge(other, sign: 1)
    }

    /// Takes another's observations away; counts may fall below zero.
    package mutating func subtract(_ other: FloatHistogram) throws(HistogramMismatch) {
        try checkFits(other)
        merge(other, sign: -1)
    }

    private func checkFits(_ other: FloatHistogram) throws(HistogramMismatch) {
        if usesCustomBuckets != other.usesCustomBuckets { throw .schemas }
        if usesCustomBuckets, !Self.areSame(customValues, other.customValues) { throw .customBounds }
    }

    private mutating func merge(_ other: FloatHistogram, sign: Double) {
        let hasSameLayout =
            schema == other.schema && zeroThreshold == other.zeroThreshold && positiveSpans == other.positiveSpans
            && negativeSpans == other.negativeSpans && positiveBuckets.count == other.positiveBuckets.count
            && negativeBuckets.count == other.negativeBuckets.count
        zeroCount += sign * (usesCustomBuckets ? 0 : reconcileZeroBucket(with: other))
        count += sign * other.count
        sum += sign * other.sum
        if hasSameLayout {
            for index in positiveBuckets.indices { positiveBuckets[index] += sign * other.positiveBuckets[index] }
            for index in negativeBuckets.indices { negativeBuckets[index] += sign * other.negativeBuckets[index] }
            return
        }
        var (own, theirs) = ((positive, negative), (other.positive, other.negative))
        if !usesCustomBuckets, schema != other.schema {
            let common = min(schema, other.schema)
            own = (Self.reduced(own.0, from: schema, to: common), Self.reduced(own.1, from: schema, to: common))
            theirs = (
                Self.reduced(theirs.0, from: other.schema, to: common),
                Self.reduced(theirs.1, from: other.schema, to: common)
            )
            schema = common
        }
        positive = merged(own.0, theirs.0, sign)
        negative = merged(own.1, theirs.1, sign)
    }

    /// Both lists by index; of the second nothing that the zero bucket holds already.
    private func merged(_ own: [Populated], _ others: [Populated], _ sign: Double) -> [Populated] {
        var result: [Populated] = []
        result.reserveCapacity(own.count + others.count)
        var (mine, theirs) = (0, 0)
        if !usesCustomBuckets, zeroThreshold > 0 {
            while theirs < others.count, Self.exponentialBound(others[theirs].index, schema: schema) <= zeroThreshold {
                theirs += 1
            }
        }
        while mine < own.count || theirs < others.count {
            if theirs == others.count || (mine < own.count && own[mine].index < others[theirs].index) {
                result.append(own[mine])
                mine += 1
            } else if mine == own.count || others[theirs].index < own[mine].index {
                result.append(Populated(index: others[theirs].index, count: sign * others[theirs].count))
                theirs += 1
            } else {
                result.append(Populated(index: own[mine].index, count: own[mine].count + sign * others[theirs].count))
                mine += 1
                theirs += 1
            }
        }
        return result
    }

    /// Multiplies all counts and the sum.
    package mutating func multiply(by factor: Double) {
        zeroCount *= factor
        count *= factor
        sum *= factor
        for index in positiveBuckets.indices { positiveBuckets[index] *= factor }
        for index in negativeBuckets.indices { negativeBuckets[index] *= factor }
    }

    /// Divides all counts and the sum. Divided by zero, no bucket is left.
    package mutating func divide(by divisor: Double) {
        zeroCount /= divisor
        count /= divisor
        sum /= divisor
        if divisor == 0 {
            (positiveSpans, positiveBuckets, negativeSpans, negativeBuckets) = ([], [], [], [])
            return
        }
        for index in positiveBuckets.indices { positiveBuckets[index] /= divisor }
        for index in negativeBuckets.indices { negativeBuckets[index] /= divisor }
    }

    /// Leaves out empty buckets.
    package mutating func compact() {
        if !Self.isCompact(positiveSpans, positiveBuckets) { positive = positive.filter { $0.count != 0 } }
        if !Self.isCompact(negativeSpans, negativeBuckets) { negative = negative.filter { $0.count != 0 } }
    }

    package func compacted() -> FloatHistogram {
        var copy = self
        copy.compact()
        return copy
    }

    private static func isCompact(_ spans: [Span], _ buckets: [Double]) -> Bool {
        !buckets.contains(0) && spans.indices.allSatisfy { spans[$0].length > 0 && ($0 == 0 || spans[$0].offset != 0) }
    }

    /// The same at a coarser resolution; itself when the schema is not lower or the bounds are custom.
    package func reduced(to target: Int32) -> FloatHistogram {
        guard !usesCustomBuckets, target < schema, target != Self.customBuckets else { return self }
        var copy = self
        copy.positive = Self.reduced(positive, from: schema, to: target)
        copy.negative = Self.reduced(negative, from: schema, to: target)
        copy.schema = target
        return copy
    }

    private static func reduced(_ buckets: [Populated], from schema: Int32, to target: Int32) -> [Populated] {
        let shift = min(schema - target, 31)
        if shift <= 0 { return buckets }
        var result: [Populated] = []
        for bucket in buckets {
            let index = ((bucket.index &- 1) >> shift) &+ 1
            if let last = result.last, last.index == index {
                result[result.count - 1].count += bucket.count
            } else {
                result.append(Populated(index: index, count: bucket.count))
            }
        }
        return result
    }

    /// Widens the own zero bucket to the other's where that is wider.
    ///
    /// - Returns: What the other's zero bucket holds at the width both have then.
    private mutating func reconcileZeroBucket(with other: FloatHistogram) -> Double {
        var (theirs, width) = (other.zeroCount, other.zeroThreshold)
        while width != zeroThreshold {
            if zeroThreshold > width { (theirs, width) = other.zeroBucket(widenedTo: zeroThreshold) }
            if width > zeroThreshold {
                let own = zeroBucket(widenedTo: width)
                (zeroCount, zeroThreshold) = (own.count, own.threshold)
                positive = positive.filter { bounds($0.index).lower >= zeroThreshold }
                negative = negative.filter { bounds($0.index).lower >= zeroThreshold }
            }
            if width.isNaN || zeroThreshold.isNaN { break }
        }
        return theirs
    }

    /// The zero bucket's count at a wider threshold, and that threshold: wider still where a bucket straddles it.
    private func zeroBucket(widenedTo wanted: Double) -> (count: Double, threshold: Double) {
        if !(wanted > zeroThreshold) { return (zeroCount, wanted) }
        var threshold = wanted
        let sides = (positive, negative)
        widening: while true {
            var total = zeroCount
            for (isNegative, side) in [(false, sides.0), (true, sides.1)] {
                for bucket in side {
                    let (lower, upper) = bounds(bucket.index)
                    if lower >= threshold { break }
                    total += bucket.count
                    guard upper > threshold else { continue }
                    if bucket.count != 0 {
                        threshold = upper
                        if isNegative { continue widening }
                    }
                    break
                }
            }
            return (total, threshold)
        }
    }

    /// Whether a counter was reset between an earlier sample and this one: something has become less.
    package func isReset(after previous: FloatHistogram) -> Bool {
        if counterReset == .reset { return true }
        if counterReset == .notReset { return false }
        if count < previous.count || usesCustomBuckets != previous.usesCustomBuckets { return true }
        if usesCustomBuckets, !Self.areSame(customValues, previous.customValues) { return true }
        if schema > previous.schema || zeroThreshold < previous.zeroThreshold { return true }
        if !usesCustomBuckets {
            let before = previous.zeroBucket(widenedTo: zeroThreshold)
            if before.threshold != zeroThreshold || zeroCount < before.count { return true }
        }
        return hasLess(positive, than: previous.positive, of: previous.schema)
            || hasLess(negative, than: previous.negative, of: previous.schema)
    }

    private func hasLess(_ current: [Populated], than previous: [Populated], of previousSchema: Int32) -> Bool {
        let before = usesCustomBuckets ? previous : Self.reduced(previous, from: previousSchema, to: schema)
        var position = 0
        for bucket in before where bucket.count != 0 {
            if !usesCustomBuckets, Self.exponentialBound(bucket.index, schema: schema) <= zeroThreshold { continue }
            while position < current.count, current[position].index < bucket.index { position += 1 }
            guard position < current.count, current[position].index == bucket.index else { return true }
            if current[position].count < bucket.count { return true }
        }
        return false
    }

    /// Whether both say the same, bit by bit; what they hint about resets does not count.
    package func isSame(as other: FloatHistogram) -> Bool {
        schema == other.schema && zeroThreshold == other.zeroThreshold
            && Self.areSame([count, sum, zeroCount], [other.count, other.sum, other.zeroCount])
            && (!usesCustomBuckets || Self.areSame(customValues, other.customValues))
            && positiveSpans == other.positiveSpans && negativeSpans == other.negativeSpans
            && Self.areSame(positiveBuckets, other.positiveBuckets)
            && Self.areSame(negativeBuckets, other.negativeBuckets)
    }

    private static func areSame(_ one: [Double], _ other: [Double]) -> Bool {
        one.count == other.count && zip(one, other).allSatisfy { $0.bitPattern == $1.bitPattern }
    }
}
