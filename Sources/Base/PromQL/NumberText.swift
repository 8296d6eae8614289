/// Numbers and lengths of time as PromQL reads and writes them.
package enum NumberText {
    /// `12`, `1_000`, `0x1f`, `017` (octal), `1.5e3`, `inf`, `NaN`, signed or not; nil when it is none.
    package static func parse(_ text: String) -> Double? {
        var word = Substring(text)
        var isNegative = false
        if let sign = word.first, sign == "-" || sign == "+" {
            isNegative = sign == "-"
            word.removeFirst()
        }
        guard let first = word.utf8.first, first != UInt8(ascii: "-"), first != UInt8(ascii: "+") else { return nil }
        let value: Double
        switch word.lowercased() {
        case "inf", "infinity": value = .infinity
        case "nan": value = .nan
        default:
            let plain = word.replacingUnderscores
            if let integer = integer(plain) {
                value = integer
            } else if let number = Double(plain), (first &- 0x30 < 10 || first == UInt8(ascii: ".")) {
                value = number
            } else {
                return nil
            }
        }
        return isNegative ? -value : value
    }

    private static func integer(_ text: String) -> Double? {
        let lower = text.lowercased()
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] where lower.hasPrefix(prefix) {
            return Int64(lower.dropFirst(2), radix: radix).map(Double.init)
        }
        guard lower.count > 1, lower.hasPrefix("0") else { return nil }
        return Int64(lower, radix: 8).map(Double.init)
    }

    /// The shortest digits that read back as the same number, never with an exponent (Go's `'f'` with precision -1).
    package static func plain(_ value: Double) -> String {
        if let special = special(value) { return special }
        let (sign, digits, point) = parts(value)
        if point <= 0 { return sign + "0." + String(repeating: "0", count: -point) + digits }
        if point >= digits.count { return sign + digits + String(repeating: "0", count: point - digits.count) }
        return sign + digits.prefix(point) + "." + digits.dropFirst(point)
    }

    /// The same with an exponent for very large and small numbers (Go's `%g`).
    package static func general(_ value: Double) -> String {
        if let special = special(value) { return special }
        let (sign, digits, point) = parts(value)
        let exponent = point - 1
        guard exponent < -4 || exponent >= 6 else { return plain(value) }
        let tail = digits.count > 1 ? "." + digits.dropFirst() : ""
        let size = abs(exponent)
        return sign + digits.prefix(1) + tail + (exponent < 0 ? "e-" : "e+") + (size < 10 ? "0\(size)" : "\(size)")
    }

    private static func special(_ value: Double) -> String? {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        if value == 0 { return value.sign == .minus ? "-0" : "0" }
        return nil
    }

    /// Sign, shortest digits without zeros at the ends, and how many digits stand before the point.
    private static func parts(_ value: Double) -> (sign: String, digits: String, point: Int) {
        var text = Substring(value.magnitude.description)
        var exponent = 0
        if let mark = text.firstIndex(where: { $0 == "e" || $0 == "E" }) {
            exponent = Int(text[text.index(after: mark)...].drop { $0 == "+" }) ?? 0
            text = text[..<mark]
        }
        let halves = text.split(separator: ".", omittingEmptySubsequences: false)
        let whole = String(halves[0])
        var digits = whole + (halves.count > 1 ? halves[1] : "")
        var point = whole.count + exponent
        while digits.hasSuffix("0"), digits.count > 1 { digits.removeLast() }
        while digits.hasPrefix("0"), digits.count > 1 {
            digits.removeFirst()
            point -= 1
        }
        return (value < 0 ? "-" : "", digits, point)
    }
}

extension Substring {
    fileprivate var replacingUnderscores: String { String(filter { $0 != "_" }) }
}

extension DurationText {
    private static let units: [(name: String, milliseconds: Int64)] = [
        ("y", 365 * 86_400_000), ("w", 7 * 86_400_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000),
        ("s", 1_000), ("ms", 1),
    ]

    /// `1h30m`: units from the greatest to the smallest, each at most once; nil when it is no duration or too long.
    package static func parse(_ text: String) -> Int64? {
        var rest = Substring(text)
        var (total, previous): (Int64, Int) = (0, -1)
        guard !rest.isEmpty else { return nil }
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isASCII && $0.isNumber }
            rest = rest.dropFirst(digits.count)
            let unit = rest.prefix { $0.isASCII && $0.isLetter }
            rest = rest.dropFirst(unit.count)
            guard let count = Int64(digits), let index = units.firstIndex(where: { $0.name == unit }), index > previous
            else { return nil }
            let (product, overflows) = count.multipliedReportingOverflow(by: units[index].milliseconds)
            let (sum, overflowsToo) = total.addingReportingOverflow(product)
            if overflows || overflowsToo { return nil }
            (total, previous) = (sum, index)
        }
        return total
    }

    /// The shortest way to write a length: `1h30m`.
    package static func format(_ milliseconds: Int64) -> String {
        if milliseconds == 0 { return "0s" }
        if milliseconds < 0 { return "-" + format(milliseconds == .min ? .max : -milliseconds) }
        var (rest, text) = (milliseconds, "")
        for unit in units {
            // Years and weeks only where nothing is left over, as the reader would not guess otherwise.
            if unit.name == "y" || unit.name == "w", rest % unit.milliseconds != 0 { continue }
            let count = rest / unit.milliseconds
            if count > 0 { text += "\(count)\(unit.name)" }
            rest -= count * unit.milliseconds
        }
        return text
    }

    init(_ milliseconds: Int64) { self.init(milliseconds: milliseconds, text: Self.format(milliseconds)) }
}
