/// Numbers as Go writes them: the values of `le` and `quantile` are compared as text, so that each digit matters.
package enum GoFloat {
    /// As `strconv.FormatFloat(value, 'g', -1, 64)`: the shortest digits; with an exponent below 1e-4 and from 1e6 on.
    package static func general(_ value: Double) -> String {
        guard value.isFinite else { return special(value) }
        let number = Decimal(value)
        return number.point < -3 || number.point > 6 ? number.scientific : number.plain
    }

    /// As `strconv.FormatFloat(value, 'f', -1, 64)`: the shortest digits, never an exponent.
    package static func plain(_ value: Double) -> String {
        value.isFinite ? Decimal(value).plain : special(value)
    }

    /// As OpenMetrics wants `le` and `quantile`: a number is told from a whole one by its point or exponent.
    package static func openMetrics(_ value: Double) -> String {
        let text = general(value)
        return !value.isFinite || text.utf8.contains(where: { $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "e") })
            ? text : text + ".0"
    }

    private static func special(_ value: Double) -> String { value.isNaN ? "NaN" : value < 0 ? "-Inf" : "+Inf" }

    /// The shortest digits that mean the number, and where its point is: `0.digits × 10^point`.
    private struct Decimal {
        let sign: String
        let digits: [UInt8]
        let point: Int

        init(_ value: Double) {
            sign = value.sign == .minus ? "-" : ""
            var (digits, point, exponent): ([UInt8], Int?, Int) = ([], nil, 0)
            // Swift writes the shortest digits, too: `12.5`, `1e-05`, `1.5e+16`.
            let text = value.magnitude.description.utf8
            var index = text.startIndex
            while index < text.endIndex {
                switch text[index] {
                case UInt8(ascii: "."): point = digits.count
                case UInt8(ascii: "e"):
                    exponent = Int(String(Substring(text[text.index(after: index)...]))) ?? 0
                    index = text.index(before: text.endIndex)
                case let digit: digits.append(digit)
                }
                index = text.index(after: index)
            }
            var place = (point ?? digits.count) + exponent
            let leading = digits.prefix { $0 == UInt8(ascii: "0") }.count
            digits.removeFirst(leading)
            place -= leading
            while digits.last == UInt8(ascii: "0") { digits.removeLast() }
            self.digits = digits.isEmpty ? [UInt8(ascii: "0")] : digits
            self.point = digits.isEmpty ? 1 : place
        }

        var plain: String {
            let text = String(decoding: digits, as: UTF8.self)
            if point <= 0 { return sign + "0." + String(repeating: "0", count: -point) + text }
            if point >= digits.count { return sign + text + String(repeating: "0", count: point - digits.count) }
            return sign + text.prefix(point) + "." + text.dropFirst(point)
        }

        var scientific: String {
            let text = String(decoding: digits, as: UTF8.self)
            let exponent = point - 1
            let magnitude = exponent.magnitude < 10 ? "0\(exponent.magnitude)" : "\(exponent.magnitude)"
            let rest = digits.count > 1 ? "." + text.dropFirst() : ""
            return sign + text.prefix(1) + rest + (exponent < 0 ? "e-" : "e+") + magnitude
        }
    }

    private static let powers: [Double] = [
        1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
    ]

    /// Reads a number as Go's `ParseFloat` does (`+Inf`, `nan` and hexadecimal floats, too); nil when it is none, or
    /// too large.
    package static func parse(_ text: UnsafeBufferPointer<UInt8>) -> Double? {
        if let simple = simple(text) { return simple }
        // Swift takes `nan(…)`, which nobody else does.
        guard !text.isEmpty, text.count <= 400, !text.contains(UInt8(ascii: "(")) else { return nil }
        guard let value = Double(String(decoding: text, as: UTF8.self)) else { return nil }
        let isInfinity = text.contains { $0 | 0x20 == UInt8(ascii: "i") }
        return value.isInfinite && !isInfinity ? nil : value
    }

    /// Up to fifteen digits are exact, and so is one division by an exact power: no need for the long way.
    private static func simple(_ text: UnsafeBufferPointer<UInt8>) -> Double? {
        guard text.count <= 17 else { return nil }
        var (number, digits, fraction, index) = (0, 0, -1, 0)
        let isNegative = text.first == UInt8(ascii: "-")
        if isNegative { index = 1 }
        while index < text.count {
            let byte = text[index]
            if byte >= 0x30, byte <= 0x39 {
                number = number * 10 + Int(byte - 0x30)
                digits += 1
                if fraction >= 0 { fraction += 1 }
            } else if byte == UInt8(ascii: "."), fraction < 0 {
                fraction = 0
            } else {
                return nil
            }
            index += 1
        }
        guard digits > 0, digits <= 15 else { return nil }
        let value = fraction > 0 ? Double(number) / powers[fraction] : Double(number)
        return isNegative ? -value : value
    }
}
