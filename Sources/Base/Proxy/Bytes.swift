/// The bytes that HTTP/1 is punctuated with.
enum Ascii {
    static let tab: UInt8 = 0x09
    static let lf: UInt8 = 0x0A
    static let cr: UInt8 = 0x0D
    static let space: UInt8 = 0x20
    static let comma: UInt8 = 0x2C
    static let slash: UInt8 = 0x2F
    static let zero: UInt8 = 0x30
    static let colon: UInt8 = 0x3A
    static let semicolon: UInt8 = 0x3B
    static let question: UInt8 = 0x3F
}

/// A run of bytes inside a head, counted from the head's first byte.
struct ByteRange: Equatable {
    var start: UInt32
    var end: UInt32

    static let none = ByteRange(0, 0)

    init(_ start: Int, _ end: Int) {
        self.start = UInt32(truncatingIfNeeded: start)
        self.end = UInt32(truncatingIfNeeded: end)
    }

    var count: Int { Int(end) - Int(start) }
    var isEmpty: Bool { start == end }

    /// The bytes themselves, in the head they were found in.
    func of(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: bytes[Int(start)..<Int(end)])
    }
}

/// Questions about single bytes and short runs of them.
enum Bytes {
    /// `tchar` of RFC 9110 §5.6.2.
    @inline(__always)
    static func isToken(_ byte: UInt8) -> Bool {
        if byte < 64 { return (0x03FF_6CFA_0000_0000 as UInt64) >> UInt64(byte) & 1 == 1 }
        return byte < 128 && (0x57FF_FFFF_C7FF_FFFE as UInt64) >> UInt64(byte - 64) & 1 == 1
    }

    /// A byte that may stand in a field value: no control character but the tab (RFC 9110 §5.5).
    @inline(__always)
    static func isFieldValue(_ byte: UInt8) -> Bool {
        byte >= 0x20 ? byte != 0x7F : byte == Ascii.tab
    }

    /// A byte that may stand in a request target: visible, and not a fragment's `#`.
    @inline(__always)
    static func isTarget(_ byte: UInt8) -> Bool {
        byte > 0x20 && byte < 0x7F && byte != 0x23
    }

    @inline(__always)
    static func isBlank(_ byte: UInt8) -> Bool { byte == Ascii.space || byte == Ascii.tab }

    @inline(__always)
    static func isDigit(_ byte: UInt8) -> Bool { byte &- Ascii.zero < 10 }

    @inline(__always)
    static func isLetter(_ byte: UInt8) -> Bool { (byte | 0x20) &- 0x61 < 26 }

    /// Value of a hexadecimal digit in either case.
    @inline(__always)
    static func hexDigit(_ byte: UInt8) -> UInt64? {
        if isDigit(byte) { return UInt64(byte &- Ascii.zero) }
        let letter = (byte | 0x20) &- 0x61
        return letter < 6 ? UInt64(letter) + 10 : nil
    }

    /// Whether bytes spell a word of lower-case letters, digits and punctuation, in any case.
    static func equals(_ bytes: UnsafeRawBufferPointer, _ word: StaticString) -> Bool {
        guard bytes.count == word.utf8CodeUnitCount else { return false }
        let letters = word.utf8Start
        for index in 0..<bytes.count {
            let byte = bytes[index]
            guard (isLetter(byte) ? byte | 0x20 : byte) == letters[index] else { return false }
        }
        return true
    }

    /// Whether bytes begin with a word, case and all.
    static func begins(_ bytes: UnsafeRawBufferPointer, with word: StaticString) -> Bool {
        guard bytes.count >= word.utf8CodeUnitCount else { return false }
        let letters = word.utf8Start
        for index in 0..<word.utf8CodeUnitCount where bytes[index] != letters[index] { return false }
        return true
    }

    /// Whether bytes spell a lower-case name, in any case.
    static func equals(_ bytes: UnsafeRawBufferPointer, lowercased name: [UInt8]) -> Bool {
        guard bytes.count == name.count else { return false }
        for index in 0..<bytes.count {
            let byte = bytes[index]
            guard (isLetter(byte) ? byte | 0x20 : byte) == name[index] else { return false }
        }
        return true
    }

    /// Whether two runs are alike but for the case of letters.
    static func equalsIgnoringCase(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Bool {
        guard a.count == b.count else { return false }
        for index in 0..<a.count where a[index] != b[index] {
            guard isLetter(a[index]), a[index] ^ b[index] == 0x20 else { return false }
        }
        return true
    }

    /// Decimal digits only, at most 18 of them.
    static func number(_ bytes: UnsafeRawBufferPointer) -> Int? {
        guard !bytes.isEmpty, bytes.count <= 18 else { return nil }
        var value = 0
        for byte in bytes {
            guard isDigit(byte) else { return nil }
            value = value * 10 + Int(byte - Ascii.zero)
        }
        return value
    }

    // FNV-1a, 64 bits (Fowler, Noll, Vo). Keys come from the operator, so nobody outside can pick colliding ones.
    static let hashSeed: UInt64 = 0xCBF2_9CE4_8422_2325

    @inline(__always)
    static func hash(_ hash: UInt64, _ byte: UInt8) -> UInt64 {
        (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3
    }

    static func hash(_ bytes: [UInt8]) -> UInt64 {
        bytes.reduce(hashSeed) { hash($0, $1) }
    }

    static func lowercasedHash(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        var result = hashSeed
        for byte in bytes { result = hash(result, isLetter(byte) ? byte | 0x20 : byte) }
        return result
    }
}
