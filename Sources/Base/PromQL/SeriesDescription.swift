package import Series

/// A series and its values in the notation of rule tests: `up{job="a"} 1 2+1x3 _ stale {{count:3 buckets:[1 2]}}`.
package struct SeriesDescription: Sendable {
    package enum Value: Hashable, Sendable {
        case omitted
        case number(Double)
        case histogram(FloatHistogram)
    }

    package var labels: Labels
    package var values: [Value]

    /// More values than this in one line are refused.
    package static let valueLimit = 1_000_000
}

/// Parses a series description.
package func parseSeriesDescription(_ text: String) throws(PromQLError) -> SeriesDescription {
    var reader = DescriptionReader(text)
    let labels = try reader.labels()
    return SeriesDescription(labels: labels, values: try reader.values())
}

private struct DescriptionReader {
    private let text: String
    private let bytes: [UInt8]
    private var position = 0

    init(_ text: String) {
        self.text = text
        bytes = Array(text.utf8)
    }

    private func failure(_ message: String) -> PromQLError {
        PromQLError(.syntax, message, at: position..<max(position, bytes.count), in: text)
    }

    private var current: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipSpace() {
        while let byte = current, byte == 0x20 || byte == 0x09 { position += 1 }
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard current == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    /// Bytes up to one that ends a word.
    private mutating func word(_ isPart: (UInt8) -> Bool) -> String {
        let start = position
        while let byte = current, isPart(byte) { position += 1 }
        return String(decoding: bytes[start..<position], as: UTF8.self)
    }

    private static func isName(_ byte: UInt8) -> Bool {
        (byte | 0x20) &- 0x61 < 26 || byte &- 0x30 < 10 || byte == UInt8(ascii: "_") || byte == UInt8(ascii: ":")
    }

    mutating func labels() throws(PromQLError) -> Labels {
        skipSpace()
        var pairs: [(name: String, value: String)] = []
        let name = word(Self.isName)
        if !name.isEmpty { pairs.append((Labels.metricNameLabel, name)) }
        guard take("{") else {
            if name.isEmpty { throw failure("expected a metric") }
            return Labels(pairs)
        }
        skipSpace()
        while !take("}") {
            let isQuoted = current == UInt8(ascii: "\"")
            let label = isQuoted ? try string() : word(Self.isName)
            if label.isEmpty { throw failure("unexpected character in label set, expected identifier or \"}\"") }
            skipSpace()
            if take("=") {
                skipSpace()
                pairs.append((label, try string()))
            } else if isQuoted {
                pairs.append((Labels.metricNameLabel, label))
            } else {
                throw failure("unexpected character in label set, expected \"=\"")
            }
            skipSpace()
            if !take(","), current != UInt8(ascii: "}") {
                throw failure("unexpected character in label set, expected \",\" or \"}\"")
            }
            skipSpace()
        }
        return Labels(pairs)
    }

    private mutating func string() throws(PromQLError) -> String {
        guard let quote = current,
            quote == UInt8(ascii: "\"") || quote == UInt8(ascii: "'") || quote == UInt8(ascii: "`")
        else {
            throw failure("unexpected character in label set, expected string")
        }
        var end = position
        let value = try StringLiteral.scan(bytes, &end) { PromQLError(.syntax, $0) }
        position = end
        return String(decoding: value, as: UTF8.self)
    }

    mutating func values() throws(PromQLError) -> [SeriesDescription.Value] {
        var values: [SeriesDescription.Value] = []
        skipSpace()
        while current != nil {
            if startsHistogram {
                try appendHistograms(to: &values)
            } else {
                try appendNumbers(word { $0 != 0x20 && $0 != 0x09 }, to: &values)
            }
            if values.count > SeriesDescription.valueLimit {
                throw failure("more than \(SeriesDescription.valueLimit) values")
            }
            skipSpace()
        }
        return values
    }

    private func times(_ text: Substring) throws(PromQLError) -> Int {
        guard let count = Int(text), count >= 0, count <= SeriesDescription.valueLimit else {
            throw failure("invalid repetition \"\(text)\"")
        }
        return count
    }

    private func number(_ text: Substring) throws(PromQLError) -> Double {
        guard let value = NumberText.parse(String(text)) else { throw failure("error parsing number \"\(text)\"") }
        return value
    }

    /// `5`, `_`, `_x3`, `stale`, `7x3`, `1+2x3`
    private func appendNumbers(_ item: String, to values: inout [SeriesDescription.Value]) throws(PromQLError) {
        if item == "_" { return values.append(.omitted) }
        if item == "stale" { return values.append(.number(StaleMarker.value)) }
        guard let mark = item.lastIndex(of: "x") else { return values.append(.number(try number(Substring(item)))) }
        let count = try times(item[item.index(after: mark)...])
        let head = item[..<mark]
        if head == "_" {
            values += repeatElement(.omitted, count: count)
            return
        }
        var (start, increment) = (head, 0.0)
        var index = head.startIndex
        while let sign = head[index...].firstIndex(where: { $0 == "+" || $0 == "-" }) {
            index = head.index(after: sign)
            let isExponent = sign > head.startIndex && "eE".contains(head[head.index(before: sign)])
            if sign == head.startIndex || isExponent { continue }
            start = head[..<sign]
            increment = try number(head[index...]) * (head[sign] == "-" ? -1 : 1)
            break
        }
        var value = try number(start)
        for _ in 0...count {
            values.append(.number(value))
            value += increment
        }
    }

    // MARK: Histograms

    private var startsHistogram: Bool {
        position + 1 < bytes.count && bytes[position] == UInt8(ascii: "{") && bytes[position + 1] == UInt8(ascii: "{")
    }

    private mutating func appendHistograms(to values: inout [SeriesDescription.Value]) throws(PromQLError) {
        let first = try histogram()
        var (change, isNegative): (FloatHistogram?, Bool) = (nil, false)
        if current == UInt8(ascii: "+") || current == UInt8(ascii: "-") {
            isNegative = current == UInt8(ascii: "-")
            position += 1
            guard startsHistogram else { throw failure("expected a histogram") }
            change = try histogram()
        }
        guard take("x") else {
            if change != nil { throw failure("expected a repetition") }
            return values.append(.histogram(first))
        }
        let count = try times(Substring(word { $0 &- 0x30 < 10 }))
        var value = first
        for index in 0...count {
            values.append(.histogram(value))
            guard let change, index < count else { continue }
            if value.schema > change.schema {
                throw failure(
                    "error combining histograms: cannot merge from schema \(change.schema) to \(value.schema)")
            }
            do throws(HistogramMismatch) {
                if isNegative { try value.subtract(change) } else { try value.add(change) }
            } catch {
                throw failure("histograms do not fit together")
            }
        }
    }

    /// `{{schema:1 count:3 buckets:[1 2]}}`
    private mutating func histogram() throws(PromQLError) -> FloatHistogram {
        position += 2
        var fields: [String: String] = [:]
        skipSpace()
        while !(take("}") && take("}")) {
            let key = word(Self.isKey)
            guard take(":"), !key.isEmpty else { throw failure("unexpected character in histogram description") }
            let value: String
            if take("[") {
                value = word { $0 != UInt8(ascii: "]") }
                if !take("]") { throw failure("unterminated bucket set") }
            } else {
                value = word { $0 != 0x20 && $0 != UInt8(ascii: "}") }
            }
            if fields.updateValue(value, forKey: key) != nil { throw failure("duplicate key \"\(key)\" in histogram") }
            skipSpace()
            if current == nil { throw failure("unterminated histogram") }
        }
        return try histogram(fields)
    }

    private static func isKey(_ byte: UInt8) -> Bool { (byte | 0x20) &- 0x61 < 26 || byte == UInt8(ascii: "_") }

    private func histogram(_ fields: [String: String]) throws(PromQLError) -> FloatHistogram {
        var result = FloatHistogram()
        var offsets: (Int32, Int32) = (0, 0)
        for (key, value) in fields {
            switch key {
            case "schema": result.schema = try integer(value)
            case "sum": result.sum = try number(Substring(value))
            case "count": result.count = try number(Substring(value))
            case "z_bucket": result.zeroCount = try number(Substring(value))
            case "z_bucket_w": result.zeroThreshold = try number(Substring(value))
            case "custom_values": result.customValues = try numbers(value)
            case "buckets": result.positiveBuckets = try numbers(value)
            case "n_buckets": result.negativeBuckets = try numbers(value)
            case "offset": offsets.0 = try integer(value)
            case "n_offset": offsets.1 = try integer(value)
            case "counter_reset_hint": result.counterReset = try hint(value)
            default: throw failure("bad histogram descriptor found: \"\(key)\"")
            }
        }
        result.positiveSpans = Self.spans(offsets.0, result.positiveBuckets.count)
        result.negativeSpans = Self.spans(offsets.1, result.negativeBuckets.count)
        return result
    }

    private static func spans(_ offset: Int32, _ count: Int) -> [FloatHistogram.Span] {
        count > 0 ? [FloatHistogram.Span(offset: offset, length: UInt32(count))] : []
    }

    private func integer(_ text: String) throws(PromQLError) -> Int32 {
        guard let value = Int32(text) else { throw failure("error parsing number \"\(text)\"") }
        return value
    }

    private func numbers(_ text: String) throws(PromQLError) -> [Double] {
        var result: [Double] = []
        for item in text.split(separator: " ") { result.append(try number(item)) }
        return result
    }

    private func hint(_ text: String) throws(PromQLError) -> FloatHistogram.CounterReset {
        switch text {
        case "unknown": .unknown
        case "reset": .reset
        case "not_reset": .notReset
        case "gauge": .gauge
        default: throw failure("error parsing counter_reset_hint: unknown value \(text)")
        }
    }
}
