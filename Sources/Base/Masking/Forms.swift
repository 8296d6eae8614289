/// The ways in which a secret may be written.
enum Forms {
    /// All forms of a secret; none shorter than ``Masking/shortest``. Empty when the secret itself is shorter.
    static func all(of secret: String) -> Set<[UInt8]> {
        let value = Array(secret.utf8)
        var forms: Set<[UInt8]> = []
        guard value.count >= Masking.shortest else { return forms }
        var parts: Set<[UInt8]> = [value, trimmed(value)]
        for line in value.split(whereSeparator: { $0 == 0x0A || $0 == 0x0D }) {
            parts.insert(Array(line))
            parts.insert(trimmed(Array(line)))
        }
        for part in parts where part.count >= Masking.shortest {
            forms.insert(part)
            if part.count <= Masking.longestInAllForms { add(part, to: &forms) }
        }
        return forms.filter { $0.count >= Masking.shortest }
    }

    private static func add(_ value: [UInt8], to forms: inout Set<[UInt8]>) {
        forms.formUnion(base64(value))
        forms.formUnion(percent(value))
        forms.formUnion(hex(value))
        let text = String(decoding: value, as: UTF8.self)
        let once = json(text)
        forms.formUnion(once.map { Array($0.utf8) })
        // JSON that is told inside a JSON text, as structured logs do.
        for form in once.union([text]) {
            for (slash, ascii) in [(false, false), (true, false), (false, true)] {
                forms.insert(Array(escaped(form, markup: "", slash: slash, ascii: ascii) { unicode($0) }.utf8))
            }
        }
        forms.formUnion(source(value))
        forms.formUnion(xml(text).map { Array($0.utf8) })
        forms.formUnion(shell(text).map { Array($0.utf8) })
    }

    private static func trimmed(_ bytes: [UInt8]) -> [UInt8] {
        func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
        guard let start = bytes.firstIndex(where: { !isSpace($0) }), let end = bytes.lastIndex(where: { !isSpace($0) })
        else { return [] }
        return Array(bytes[start...end])
    }

    // MARK: Base64 (RFC 4648 §4, §5)

    private static let standard = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    private static let urlSafe = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
    /// Columns at which programs break lines: coreutils and MIME, PEM.
    private static let columns = [76, 64]

    private static func base64(_ value: [UInt8]) -> Set<[UInt8]> {
        var forms: Set<[UInt8]> = []
        for alphabet in [standard, urlSafe] {
            let bare = encode(value, alphabet)
            let whole = bare + [UInt8](repeating: UInt8(ascii: "="), count: (4 - bare.count % 4) % 4)
            forms.formUnion([bare, whole])
            // Behind 0, 1 or 2 bytes of something else: the characters that those cannot change.
            for offset in 0..<3 {
                let first = (8 * offset + 5) / 6
                let end = (8 * (offset + value.count)) / 6
                let shifted = encode([UInt8](repeating: 0, count: offset) + value, alphabet)
                forms.insert(Array(shifted[first..<end]))
            }
            for width in columns where whole.count > width {
                let lines = stride(from: 0, to: whole.count, by: width).map { whole[$0..<min($0 + width, whole.count)] }
                forms.insert(Array(lines.joined(separator: [0x0A])))
                forms.formUnion(lines.filter { $0.count >= 8 }.map(Array.init))
            }
        }
        return forms
    }

    /// Without padding.
    private static func encode(_ bytes: [UInt8], _ alphabet: [UInt8]) -> [UInt8] {
        var out: [UInt8] = []
        var (bits, count) = (UInt32(0), 0)
        for byte in bytes {
            bits = bits << 8 | UInt32(byte)
            count += 8
            while count >= 6 {
                count -= 6
                out.append(alphabet[Int(bits >> UInt32(count)) & 63])
            }
            bits &= (1 << UInt32(count)) - 1
        }
        if count > 0 { out.append(alphabet[Int(bits << UInt32(6 - count)) & 63]) }
        return out
    }

    // MARK: Percent (RFC 3986 §2) and hexadecimal

    /// What encoders leave as it is besides letters and digits: RFC 3986's unreserved, Python's quote,
    /// encodeURIComponent, encodeURI, forms, and one that leaves nothing.
    private static let left = ["-._~", "-._~/", "-._~!'()*", "-._~!'()*;/?:@&=+$,#", "-._*"]

    private static func percent(_ value: [UInt8]) -> Set<[UInt8]> {
        var forms: Set<[UInt8]> = []
        for isUpper in [true, false] {
            forms.insert(value.flatMap { [UInt8(ascii: "%")] + digits($0, isUpper: isUpper) })
            for kept in left {
                for plus in [true, false] {
                    forms.insert(
                        value.flatMap { byte -> [UInt8] in
                            if plus, byte == 0x20 { return [UInt8(ascii: "+")] }
                            if isWord(byte) || kept.utf8.contains(byte) { return [byte] }
                            return [UInt8(ascii: "%")] + digits(byte, isUpper: isUpper)
                        })
                }
            }
        }
        return forms
    }

    private static func hex(_ value: [UInt8]) -> Set<[UInt8]> {
        var forms: Set<[UInt8]> = []
        for isUpper in [true, false] {
            let pairs = value.map { digits($0, isUpper: isUpper) }
            for separator in ["", " ", ":"] { forms.insert(Array(pairs.joined(separator: Array(separator.utf8)))) }
            forms.insert(pairs.flatMap { Array("\\x".utf8) + $0 })
        }
        return forms
    }

    private static func isWord(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
    }

    private static func digits(_ byte: UInt8, isUpper: Bool) -> [UInt8] {
        let all = Array((isUpper ? "0123456789ABCDEF" : "0123456789abcdef").utf8)
        return [all[Int(byte >> 4)], all[Int(byte & 15)]]
    }

    /// As a literal of a programming language: backslashes, quotes and line breaks escaped, all but ASCII by number or not.
    private static func source(_ value: [UInt8]) -> Set<[UInt8]> {
        let breaks: [UInt8: String] = [0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r"]
        var forms: Set<[UInt8]> = []
        for quotes in ["", "'", "\"", "'\""] {
            for number in 0..<3 {
                forms.insert(
                    value.flatMap { byte -> [UInt8] in
                        if byte == UInt8(ascii: "\\") || quotes.utf8.contains(byte) {
                            return [UInt8(ascii: "\\"), byte]
                        }
                        if let known = breaks[byte] { return Array(known.utf8) }
                        guard number > 0, byte < 0x20 || byte > 0x7E else { return [byte] }
                        if number == 1 { return Array("\\x".utf8) + digits(byte, isUpper: false) }
                        return [UInt8(ascii: "\\")] + [byte >> 6, byte >> 3 & 7, byte & 7].map { 0x30 + $0 }
                    })
            }
        }
        return forms
    }

    // MARK: JSON (RFC 8259 §7)

    private static let short: [Unicode.Scalar: String] = [
        "\"": "\\\"", "\\": "\\\\", "\u{08}": "\\b", "\u{0C}": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t",
    ]

    /// As writers differ: "/" escaped or not, markup escaped or not, all but ASCII escaped or not, digits of either case.
    private static func json(_ text: String) -> Set<String> {
        var forms: Set<String> = []
        for isUpper in [false, true] {
            forms.insert(text.unicodeScalars.map { unicode($0, isUpper: isUpper) }.joined())
            for markup in ["", "<>&", "<>&'\"", "<>&'\"+`"] {
                for (slash, ascii) in [(false, false), (false, true), (true, false), (true, true)] {
                    forms.insert(
                        escaped(text, markup: markup, slash: slash, ascii: ascii) { unicode($0, isUpper: isUpper) })
                }
            }
        }
        return forms
    }

    /// "\u00e9", or a pair of them.
    private static func unicode(_ scalar: Unicode.Scalar, isUpper: Bool = false) -> String {
        String(scalar).utf16.map { unit in
            let bytes = digits(UInt8(unit >> 8), isUpper: isUpper) + digits(UInt8(unit & 255), isUpper: isUpper)
            return "\\u" + String(decoding: bytes, as: UTF8.self)
        }.joined()
    }

    private static func escaped(
        _ text: String, markup: String, slash: Bool, ascii: Bool, _ unicode: (Unicode.Scalar) -> String
    ) -> String {
        var out = ""
        for scalar in text.unicodeScalars {
            if markup.unicodeScalars.contains(scalar) {
                out += unicode(scalar)
            } else if let known = short[scalar] {
                out += known
            } else if scalar == "/", slash {
                out += "\\/"
            } else if scalar.value < 0x20 || scalar.value == 0x7F || ascii && !scalar.isASCII {
                out += unicode(scalar)
            } else {
                out.unicodeScalars.append(scalar)
            }
        }
        return out
    }

    // MARK: XML and HTML

    private static func xml(_ text: String) -> Set<String> {
        let markup = ["&": "&amp;", "<": "&lt;", ">": "&gt;"]
        let quotes: [[Character: String]] = [
            [:], ["\"": "&quot;"], ["\"": "&quot;", "'": "&apos;"], ["\"": "&quot;", "'": "&#39;"],
            ["\"": "&quot;", "'": "&#x27;"], ["\"": "&#34;", "'": "&#39;"], ["\"": "&quot;", "'": "&#039;"],
        ]
        var forms: Set<String> = []
        for set in quotes {
            for breaks in [[:], ["\n": "&#10;", "\r": "&#13;", "\t": "&#9;"], ["\n": "&#xA;", "\r": "&#xD;"]] {
                forms.insert(
                    text.unicodeScalars.map { scalar in
                        let word = String(scalar)
                        return markup[word] ?? set[Character(scalar)] ?? breaks[word] ?? word
                    }.joined())
            }
        }
        return forms
    }

    // MARK: Shells

    private static func shell(_ text: String) -> Set<String> {
        var forms: Set<String> = []
        func replaced(_ with: (Unicode.Scalar) -> String) { forms.insert(text.unicodeScalars.map(with).joined()) }
        replaced { $0 == "'" ? "'\\''" : String($0) }
        replaced { $0 == "'" ? "'\"'\"'" : String($0) }
        replaced { "\"$`\\".unicodeScalars.contains($0) ? "\\\($0)" : String($0) }
        replaced { "\"$`\\!".unicodeScalars.contains($0) ? "\\\($0)" : String($0) }
        // printf %q and shlex: whatever may mean something gets a backslash.
        let plain = "-_./:=@%+,^"
        func isPlain(_ scalar: Unicode.Scalar, _ kept: String) -> Bool {
            !scalar.isASCII || isWord(UInt8(scalar.value)) || kept.unicodeScalars.contains(scalar)
        }
        for kept in [plain, "-_./:=@%+", "-_./:@%+=", ""] {
            replaced { isPlain($0, kept) ? String($0) : "\\\($0)" }
        }
        // $'…'
        let escapes: [Unicode.Scalar: String] = [
            "\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\u{1B}": "\\E",
        ]
        replaced { escapes[$0] ?? String($0) }
        return forms
    }
}
