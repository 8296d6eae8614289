import PromQL
import Series

/// JSON written straight into bytes: answers of a hundred thousand samples are written with no value between.
struct JSONOut {
    private(set) var bytes: [UInt8] = []

    init(capacity: Int = 0) { bytes.reserveCapacity(capacity) }

    /// Writes what is JSON already.
    mutating func raw(_ text: StaticString) {
        bytes.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    mutating func raw(_ text: String) { bytes.append(contentsOf: text.utf8) }
    mutating func raw(_ other: [UInt8]) { bytes.append(contentsOf: other) }

    /// Takes the last brace away, for one more member.
    mutating func reopen() {
        if bytes.last == UInt8(ascii: "}") { bytes.removeLast() }
    }

    mutating func comma(_ index: Int) {
        if index > 0 { bytes.append(UInt8(ascii: ",")) }
    }

    mutating func text(_ text: String) {
        var text = text
        text.withUTF8 { self.text($0) }
    }

    mutating func text(_ utf8: UnsafeBufferPointer<UInt8>) {
        bytes.append(UInt8(ascii: "\""))
        var plain = 0
        for (index, byte) in utf8.enumerated()
        where byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
            bytes.append(contentsOf: utf8[plain..<index])
            escape(byte)
            plain = index + 1
        }
        bytes.append(contentsOf: utf8[plain...])
        bytes.append(UInt8(ascii: "\""))
    }

    private mutating func escape(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""): raw("\\\"")
        case UInt8(ascii: "\\"): raw("\\\\")
        case UInt8(ascii: "\n"): raw("\\n")
        case UInt8(ascii: "\r"): raw("\\r")
        case UInt8(ascii: "\t"): raw("\\t")
        default:
            raw("\\u00")
            for half in [byte >> 4, byte & 15] { bytes.append(half < 10 ? half + 0x30 : half + 0x57) }
        }
    }

    mutating func integer(_ value: Int64) {
        if value < 0 { bytes.append(UInt8(ascii: "-")) }
        var rest = value.magnitude
        var digits: (UInt64, UInt64, UInt64) = (0, 0, 0)
        withUnsafeMutableBytes(of: &digits) { buffer in
            var place = buffer.count
            repeat {
                place -= 1
                buffer[place] = UInt8(truncatingIfNeeded: rest % 10) + 0x30
                rest /= 10
            } while rest > 0
            bytes.append(contentsOf: buffer[place...])
        }
    }

    /// Numbers up to here are written as integers when they are.
    private static let exact = 1e15

    /// A sample's value as Prometheus writes it: digits in quotes.
    mutating func sample(_ value: Double) {
        bytes.append(UInt8(ascii: "\""))
        if value.magnitude < Self.exact, value == value.rounded(.towardZero), value != 0 || value.sign == .plus {
            integer(Int64(value))
        } else {
            raw(NumberText.plain(value))
        }
        bytes.append(UInt8(ascii: "\""))
    }

    /// Milliseconds as seconds, with the digits that are needed.
    mutating func time(_ milliseconds: Int64) {
        if milliseconds < 0 {
            bytes.append(UInt8(ascii: "-"))
        }
        let size = milliseconds.magnitude
        integer(Int64(truncatingIfNeeded: size / 1000))
        var rest = Int64(size % 1000)
        guard rest > 0 else { return }
        bytes.append(UInt8(ascii: "."))
        var unit: Int64 = 100
        while rest > 0 {
            bytes.append(UInt8(rest / unit) + 0x30)
            rest %= unit
            unit /= 10
        }
    }

    mutating func labels(_ labels: Labels) {
        raw("{")
        var count = 0
        labels.forEach { name, value in
            comma(count)
            text(name)
            raw(":")
            text(value)
            count += 1
        }
        raw("}")
    }

    mutating func texts(_ list: [String]) {
        raw("[")
        for (index, item) in list.enumerated() {
            comma(index)
            text(item)
        }
        raw("]")
    }

    /// A histogram as Prometheus's API has it: its buckets with their bounds, those with observations.
    mutating func histogram(_ histogram: FloatHistogram) {
        raw("{\"count\":")
        sample(histogram.count)
        raw(",\"sum\":")
        sample(histogram.sum)
        let buckets = HistogramBuckets(histogram).all
        if !buckets.isEmpty {
            raw(",\"buckets\":[")
            for (index, bucket) in buckets.enumerated() {
                comma(index)
                raw("[")
                integer(bucket.rule)
                for number in [bucket.lower, bucket.upper, bucket.count] {
                    raw(",")
                    sample(number)
                }
                raw("]")
            }
            raw("]")
        }
        raw("}")
    }
}

/// The buckets of a native histogram that hold something, from the lowest up.
struct HistogramBuckets {
    struct Bucket {
        /// Prometheus's `boundary_rule`: 0 open to the left, 1 open to the right, 2 to both sides, 3 to none.
        var rule: Int64
        var lower: Double
        var upper: Double
        var count: Double
    }

    private let histogram: FloatHistogram

    init(_ histogram: FloatHistogram) { self.histogram = histogram }

    var all: [Bucket] {
        var found: [Bucket] = []
        for (index, count) in indexed(histogram.negativeSpans, histogram.negativeBuckets).reversed() where count != 0 {
            found.append(Bucket(rule: 1, lower: -bound(index), upper: -bound(index - 1), count: count))
        }
        if histogram.zeroCount != 0 {
            let width = histogram.zeroThreshold
            found.append(Bucket(rule: 3, lower: -width, upper: width, count: histogram.zeroCount))
        }
        for (index, count) in indexed(histogram.positiveSpans, histogram.positiveBuckets) where count != 0 {
            found.append(Bucket(rule: 0, lower: lower(index), upper: bound(index), count: count))
        }
        return found
    }

    private func indexed(_ spans: [FloatHistogram.Span], _ counts: [Double]) -> [(index: Int, count: Double)] {
        var (index, place, found) = (0, 0, [(index: Int, count: Double)]())
        found.reserveCapacity(counts.count)
        for span in spans {
            index += Int(span.offset)
            for _ in 0..<span.length where place < counts.count {
                found.append((index, counts[place]))
                index += 1
                place += 1
            }
        }
        return found
    }

    private func lower(_ index: Int) -> Double {
        guard histogram.usesCustomBuckets, index == 0 else { return bound(index - 1) }
        return (histogram.customValues.first ?? 0) > 0 ? 0 : -.infinity
    }

    private func bound(_ index: Int) -> Double {
        if histogram.usesCustomBuckets {
            if index < 0 { return -.infinity }
            return index < histogram.customValues.count ? histogram.customValues[index] : .infinity
        }
        // 2^(index / 2^schema), with the whole part exact.
        let schema = Int(histogram.schema)
        if schema <= 0 { return Double(sign: .plus, exponent: index << -schema, significand: 1) }
        let (whole, rest) = (index >> schema, index & ((1 << schema) - 1))
        let fraction = twoToThe(Double(rest) / Double(1 << schema))
        return Double(sign: .plus, exponent: whole, significand: fraction)
    }

}
