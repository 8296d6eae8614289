import Glibc

/// Reads single values out of bytes without making a `String` of them.
enum CellParser {
    /// Powers of ten that a double holds exactly.
    private static let exactPowers: [Double] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
        1e20, 1e21, 1e22,
    ]
    /// The longest text that is looked at as a number.
    static let numberBytes = 400

    /// A number as it was spelled: `mantissa · 10^exponent`.
    struct Decimal {
        var mantissa: UInt64 = 0
        var exponent = 0
        var isNegative = false
        /// Whether digits did not fit the mantissa.
        var isTruncated = false
        /// Whether it is digits alone, with a sign at most.
        var isWhole = true
        /// Whether it starts with a zero that says nothing, as codes do: `007`.
        var hasLeadingZero = false
    }

    /// The spelling of a number, or nil when the bytes are no decimal number; infinities are none.
    static func decimal(_ p: UnsafePointer<UInt8>, _ count: Int) -> Decimal? {
        guard count > 0, count <= numberBytes else { return nil }
        var number = Decimal()
        var i = 0
        if p[0] == UInt8(ascii: "-") || p[0] == UInt8(ascii: "+") {
            number.isNegative = p[0] == UInt8(ascii: "-")
            i = 1
        }
        let first = i
        var digits = 0
        var significant = 0
        var fraction = 0
        while i < count {
            let digit = p[i] &- 48
            if digit < 10 {
                digits += 1
                if significant < 19 {
                    number.mantissa = number.mantissa &* 10 &+ UInt64(digit)
                    if number.mantissa != 0 { significant += 1 }
                    if !number.isWhole { fraction += 1 }
                } else {
                    number.isTruncated = true
                    if number.isWhole { fraction -= 1 }
                }
            } else if p[i] == UInt8(ascii: "."), number.isWhole {
                number.isWhole = false
            } else {
                break
            }
            i += 1
        }
        guard digits > 0 else { return nil }
        number.hasLeadingZero = p[first] == 48 && first + 1 < count && p[first + 1] &- 48 < 10
        number.exponent = -fraction
        if i < count {
            guard let power = exponent(p, from: i, count) else { return nil }
            number.isWhole = false
            number.exponent += power
        }
        return number
    }

    /// The power of ten behind `e`, up to the end of the bytes.
    private static func exponent(_ p: UnsafePointer<UInt8>, from start: Int, _ count: Int) -> Int? {
        var i = start
        guard p[i] | 0x20 == UInt8(ascii: "e") else { return nil }
        i += 1
        var isNegative = false
        if i < count, p[i] == UInt8(ascii: "-") || p[i] == UInt8(ascii: "+") {
            isNegative = p[i] == UInt8(ascii: "-")
            i += 1
        }
        guard i < count else { return nil }
        var power = 0
        while i < count {
            let digit = p[i] &- 48
            guard digit < 10 else { return nil }
            if power < 100_000 { power = power * 10 + Int(digit) }
            i += 1
        }
        return isNegative ? -power : power
    }

    /// A finite number, or nil.
    static func float(_ p: UnsafePointer<UInt8>, _ count: Int) -> Double? {
        let (p, count) = trimmed(p, count)
        guard let number = decimal(p, count) else { return nil }
        // Both factors are exact, so one rounding gives the nearest double (Clinger 1990).
        if !number.isTruncated, number.mantissa <= 1 << 53, abs(number.exponent) <= 22 {
            let magnitude = Double(number.mantissa)
            let scale = exactPowers[abs(number.exponent)]
            let value = number.exponent < 0 ? magnitude / scale : magnitude * scale
            return number.isNegative ? -value : value
        }
        let value = withUnsafeTemporaryAllocation(of: CChar.self, capacity: count + 1) { text in
            for i in 0..<count { text[i] = CChar(bitPattern: p[i]) }
            text[count] = 0
            return text.baseAddress.map { strtod($0, nil) } ?? .nan
        }
        return value.isFinite ? value : nil
    }

    /// A whole number, or nil; `12.0` is one, as tables with gaps are often written so.
    static func int(_ p: UnsafePointer<UInt8>, _ count: Int) -> Int64? {
        let (p, count) = trimmed(p, count)
        guard let number = decimal(p, count), !number.isTruncated else { return nil }
        if number.isWhole { return whole(number.mantissa, isNegative: number.isNegative) }
        guard number.exponent <= 0, number.exponent >= -19 else { return nil }
        var mantissa = number.mantissa
        for _ in 0..<(-number.exponent) {
            guard mantissa % 10 == 0 else { return nil }
            mantissa /= 10
        }
        return whole(mantissa, isNegative: number.isNegative)
    }

    private static func whole(_ magnitude: UInt64, isNegative: Bool) -> Int64? {
        if isNegative { return magnitude <= 1 << 63 ? Int64(truncatingIfNeeded: 0 &- magnitude) : nil }
        return Int64(exactly: magnitude)
    }

    /// A truth value: `true`, `t`, `yes`, `1`, `1.0` and their opposites, in any case.
    static func bool(_ p: UnsafePointer<UInt8>, _ count: Int) -> Bool? {
        let (p, count) = trimmed(p, count)
        if word(p, count) == true { return true }
        if word(p, count) == false { return false }
        switch count {
        case 1:
            switch p[0] | 0x20 {
            case UInt8(ascii: "t"), UInt8(ascii: "y"): return true
            case UInt8(ascii: "f"), UInt8(ascii: "n"): return false
            default: break
            }
            return p[0] == 49 ? true : p[0] == 48 ? false : nil
        case 2: return matches(p, count, "no") ? false : nil
        case 3:
            if matches(p, count, "yes") || matches(p, count, "1.0") { return true }
            return matches(p, count, "0.0") ? false : nil
        default: return nil
        }
    }

    /// A truth value that is spelled out as `true` or `false`, in any case.
    static func word(_ p: UnsafePointer<UInt8>, _ count: Int) -> Bool? {
        if count == 4, matches(p, count, "true") { return true }
        if count == 5, matches(p, count, "false") { return false }
        return nil
    }

    /// Tells whether a cell of a number, truth value or instant is missing: empty, `NA`, `N/A`, `NaN` or `null`.
    static func isMissing(_ p: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        switch count {
        case 0: return true
        case 2: return matches(p, count, "na")
        case 3: return matches(p, count, "nan") || matches(p, count, "n/a")
        case 4: return matches(p, count, "null")
        default: return false
        }
    }

    /// Compares without regard to ASCII case; `word` is in lower case.
    private static func matches(_ p: UnsafePointer<UInt8>, _ count: Int, _ word: StaticString) -> Bool {
        guard count == word.utf8CodeUnitCount else { return false }
        for i in 0..<count {
            let byte = p[i]
            let lower = byte >= 65 && byte <= 90 ? byte | 0x20 : byte
            if lower != word.utf8Start[i] { return false }
        }
        return true
    }

    /// Drops blanks and tabs at both ends.
    static func trimmed(_ p: UnsafePointer<UInt8>, _ count: Int) -> (UnsafePointer<UInt8>, Int) {
        var start = 0
        var end = count
        while start < end, p[start] == 32 || p[start] == 9 { start += 1 }
        while end > start, p[end - 1] == 32 || p[end - 1] == 9 { end -= 1 }
        return (p + start, end - start)
    }
}
