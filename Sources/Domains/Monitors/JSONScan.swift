import Glibc
import Manifests

/// Walks over the bytes of flat JSON without building anything: hundreds of thousands of rows pass here.
///
/// The bytes must be followed by one that is no part of a number (a newline, or the NUL that ends a text).
struct JSONScan {
    /// A text between its quotes.
    struct Text {
        var from: Int
        var to: Int
        var isEscaped: Bool
    }

    /// A value that is neither object nor array.
    enum Scalar {
        case text(Text)
        case number(Double)
        case yes
        case no
        case null
    }

    let start: UnsafePointer<UInt8>
    let count: Int
    private(set) var at = 0
    /// Something was not as JSON has it.
    private(set) var isBroken = false

    init(_ start: UnsafePointer<UInt8>, _ count: Int) { (self.start, self.count) = (start, count) }

    mutating func skipSpace() {
        while at < count {
            let byte = start[at]
            guard byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D else { return }
            at += 1
        }
    }

    mutating func take(_ byte: UInt8) -> Bool {
        guard at < count, start[at] == byte else { return false }
        at += 1
        return true
    }

    /// Enters an object.
    mutating func enter() -> Bool {
        skipSpace()
        return take(0x7B)
    }

    /// Goes on to the next key and past its colon; nil at the end of the object, or when `isBroken`.
    mutating func nextKey(_ isFirst: inout Bool) -> Text? {
        skipSpace()
        if take(0x7D) { return nil }
        if !isFirst {
            guard take(0x2C) else { return broken() }
            skipSpace()
        }
        isFirst = false
        guard let key = text() else { return broken() }
        skipSpace()
        guard take(0x3A) else { return broken() }
        skipSpace()
        return key
    }

    private mutating func broken<T>() -> T? {
        isBroken = true
        return nil
    }

    mutating func text() -> Text? {
        guard take(0x22) else { return nil }
        let from = at
        var isEscaped = false
        while at < count {
            let byte = start[at]
            if byte == 0x22 {
                at += 1
                return Text(from: from, to: at - 1, isEscaped: isEscaped)
            }
            if byte < 0x20 { return nil }
            if byte == 0x5C {
                isEscaped = true
                at += 1
            }
            at += 1
        }
        return nil
    }

    /// Reads a text, number, truth value or null; nil for anything else.
    mutating func scalar() -> Scalar? {
        guard at < count else { return nil }
        switch start[at] {
        case 0x22: return text().map(Scalar.text)
        case 0x74: return word("true") ? .yes : nil
        case 0x66: return word("false") ? .no : nil
        case 0x6E: return word("null") ? .null : nil
        default: return number().map(Scalar.number)
        }
    }

    private mutating func number() -> Double? {
        let digit = start[at] == 0x2D ? at + 1 : at
        guard digit < count, start[digit] >= 0x30, start[digit] <= 0x39 else { return nil }
        // What strtod reads beyond JSON: hexadecimal numbers.
        if digit + 1 < count, start[digit] == 0x30, start[digit + 1] | 0x20 == 0x78 { return nil }
        return start.withMemoryRebound(to: CChar.self, capacity: count + 1) { text in
            var end: UnsafeMutablePointer<CChar>?
            let value = strtod(text + at, &end)
            guard let end, value.isFinite else { return nil }
            at = UnsafePointer(end) - text
            return at <= count ? value : nil
        }
    }

    /// Reads a whole number; nil for one with a fraction.
    mutating func integer() -> Int64? {
        guard at < count, start[at] == 0x2D || (start[at] >= 0x30 && start[at] <= 0x39) else { return nil }
        let isNegative = take(0x2D)
        var value: Int64 = 0
        var digits = 0
        while at < count, start[at] >= 0x30, start[at] <= 0x39, digits < 18 {
            value = value * 10 + Int64(start[at] - 0x30)
            at += 1
            digits += 1
        }
        guard digits > 0 else { return nil }
        return isNegative ? -value : value
    }

    private mutating func word(_ text: StaticString) -> Bool {
        let length = text.utf8CodeUnitCount
        guard at + length <= count, memcmp(start + at, text.utf8Start, length) == 0 else { return false }
        at += length
        return true
    }

    /// Whether a text is exactly this one.
    func `is`(_ text: Text, _ other: StaticString) -> Bool {
        let length = other.utf8CodeUnitCount
        return text.to - text.from == length && memcmp(start + text.from, other.utf8Start, length) == 0
    }

    /// A text as a string, its escapes undone; nil when an escape is unknown.
    func string(_ text: Text) -> String? {
        let bytes = UnsafeBufferPointer(start: start + text.from, count: text.to - text.from)
        guard text.isEscaped else { return String(decoding: bytes, as: UTF8.self) }
        let quoted = [0x22] + Array(bytes) + [0x22]
        return (try? JSONParser.parse(quoted))?.string  // nil is the answer: not a text
    }
}
