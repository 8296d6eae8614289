package import Series

/// The text of a label set, as Loki's clients write it: `{app="api", zone="eu"}`.
package enum LabelSetText {
    /// - Throws: `WireError.invalidSeries`, the text named.
    package static func parse(_ text: String) throws -> Labels {
        var parser = Parser(bytes: Array(text.utf8))
        var pairs: [(name: String, value: String)] = []
        do {
            try parser.expect(UInt8(ascii: "{"))
            while !parser.take(UInt8(ascii: "}")) {
                guard pairs.count < LokiPush.labelLimit else { throw LokiPush.tooManyLabels }
                let name = parser.name()
                try check(name: name)
                try parser.expect(UInt8(ascii: "="))
                let value = try parser.value()
                guard !pairs.contains(where: { $0.name == name }) else {
                    throw WireError(.invalidSeries, "the label \"\(name)\" is there twice")
                }
                pairs.append((name, value))
                if !parser.take(UInt8(ascii: ",")) {
                    try parser.expect(UInt8(ascii: "}"))
                    break
                }
            }
            guard parser.isAtEnd else { throw WireError(.invalidSeries, "text goes on after }") }
        } catch let error as WireError {
            throw WireError(error.code, "the labels \(text.prefix(200)) could not be read: \(error.description)")
        }
        return Labels(pairs)
    }

    /// Letters, digits and underscores, a digit not first.
    static func check(name: String) throws {
        guard let first = name.utf8.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first),
            name.utf8.allSatisfy(isNameByte)
        else { throw WireError(.invalidSeries, "no label can be named \"\(name.prefix(100))\"") }
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        (byte | 0x20 >= UInt8(ascii: "a") && byte | 0x20 <= UInt8(ascii: "z")) || byte == UInt8(ascii: "_")
            || (byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9"))
    }

    private struct Parser {
        let bytes: [UInt8]
        var position = 0

        var isAtEnd: Bool {
            mutating get {
                skipSpace()
                return position == bytes.count
            }
        }

        mutating func skipSpace() {
            while position < bytes.count, bytes[position] == 0x20 || bytes[position] == 0x09 { position += 1 }
        }

        mutating func take(_ byte: UInt8) -> Bool {
            skipSpace()
            guard position < bytes.count, bytes[position] == byte else { return false }
            position += 1
            return true
        }

        mutating func expect(_ byte: UInt8) throws {
            guard take(byte) else {
                throw WireError(.invalidSeries, "\(Character(Unicode.Scalar(byte))) is missing at byte \(position)")
            }
        }

        mutating func name() -> String {
            skipSpace()
            let start = position
            while position < bytes.count, LabelSetText.isNameByte(bytes[position]) { position += 1 }
            return String(decoding: bytes[start..<position], as: UTF8.self)
        }

        /// In double quotes with Go's usual escapes, or in backticks with none.
        mutating func value() throws -> String {
            skipSpace()
            guard position < bytes.count, [UInt8(ascii: "\""), UInt8(ascii: "`")].contains(bytes[position]) else {
                throw WireError(.invalidSeries, "a value is not in quotes at byte \(position)")
            }
            let quote = bytes[position]
            position += 1
            var out: [UInt8] = []
            while position < bytes.count {
                let byte = bytes[position]
                position += 1
                if byte == quote { return String(decoding: out, as: UTF8.self) }
                guard byte == UInt8(ascii: "\\"), quote == UInt8(ascii: "\""), position < bytes.count else {
                    out.append(byte)
                    continue
                }
                let escaped = bytes[position]
                position += 1
                switch escaped {
                case UInt8(ascii: "n"): out.append(0x0a)
                case UInt8(ascii: "t"): out.append(0x09)
                case UInt8(ascii: "r"): out.append(0x0d)
                case UInt8(ascii: "\\"), UInt8(ascii: "\""), UInt8(ascii: "'"): out.append(escaped)
                case UInt8(ascii: "x"): try unicode(digits: 2, into: &out)
                case UInt8(ascii: "u"): try unicode(digits: 4, into: &out)
                case UInt8(ascii: "U"): try unicode(digits: 8, into: &out)
                default: throw WireError(.invalidSeries, "a value has an escape that does not exist")
                }
            }
            throw WireError(.invalidSeries, "a value does not end")
        }

        /// Go quotes what cannot be printed by its number; `\x` means a byte.
        private mutating func unicode(digits: Int, into out: inout [UInt8]) throws {
            var code: UInt32 = 0
            guard bytes.count - position >= digits else { throw WireError(.invalidSeries, "a value does not end") }
            for _ in 0..<digits {
                guard let digit = hexDigit(bytes[position]), code < 0x1000_0000 else {
                    throw WireError(.invalidSeries, "an escape has no \(digits) hexadecimal digits")
                }
                code = code << 4 | UInt32(digit)
                position += 1
            }
            if digits == 2 { return out.append(UInt8(code)) }
            guard let scalar = Unicode.Scalar(code) else {
                throw WireError(.invalidSeries, "an escape stands for no character")
            }
            out.append(contentsOf: String(Character(scalar)).utf8)
        }
    }
}
