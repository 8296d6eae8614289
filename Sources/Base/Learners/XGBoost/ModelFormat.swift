/// Reads the version out of a saved XGBoost model without the library.
///
/// A library silently misreads models of a newer one (1.7.4 takes 3.2.0's `base_score` for its default and predicts
/// wrong), so the version is looked at before the library sees the bytes.
enum ModelFormat {
    /// How deep a model may nest; XGBoost's own stay below 10.
    static let depthLimit = 64

    /// The version of the library that wrote a model in JSON or UBJSON.
    static func version(of bytes: [UInt8]) throws(LearnerError) -> XGBoostLibrary.Version {
        guard bytes.count > 2, bytes[0] == UInt8(ascii: "{") else { throw broken("it does not start with \"{\"") }
        var numbers: [Int] = []
        // UBJSON gives the length of a key by a typed number (L, i, …); JSON opens with a quote or a space.
        if isJSON(bytes) {
            var scanner = JSONScanner(bytes: bytes)
            numbers = try scanner.topLevelIntegers(of: "version")
        } else {
            var scanner = UBJSONScanner(bytes: bytes)
            numbers = try scanner.topLevelIntegers(of: "version")
        }
        guard numbers.count == 3 else { throw broken("it has no version of three numbers") }
        return XGBoostLibrary.Version(major: numbers[0], minor: numbers[1], patch: numbers[2])
    }

    static func isJSON(_ bytes: [UInt8]) -> Bool {
        bytes.count > 1 && [0x22, 0x20, 0x0A, 0x0D, 0x09, UInt8(ascii: "}")].contains(bytes[1])
    }

    static func broken(_ why: String) -> LearnerError {
        LearnerError(
            .badModel, "this is no XGBoost model: \(why)",
            hint: "Save models as JSON or UBJSON with XGBoost 1.7 or newer; the old binary format cannot be read.")
    }
}

/// Walks JSON text at its top level; what lies deeper is stepped over, not built.
struct JSONScanner {
    let bytes: [UInt8]
    private var at = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    /// The integers of the array at a key of the outermost object; empty when there is none.
    mutating func topLevelIntegers(of wanted: String) throws(LearnerError) -> [Int] {
        try find(wanted) ? integers() : []
    }

    /// Goes to the value at a key of the outermost object; false when there is none.
    mutating func find(_ wanted: String) throws(LearnerError) -> Bool {
        let name = Array(wanted.utf8)
        var depth = 0
        while at < bytes.count {
            let byte = bytes[at]
            switch byte {
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                depth += 1
                guard depth <= ModelFormat.depthLimit else { throw ModelFormat.broken("it nests too deep") }
                at += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                at += 1
            case UInt8(ascii: "\""):
                let text = try string()
                if depth == 1, bytes[text].elementsEqual(name), skipTo(UInt8(ascii: ":")) { return true }
            default: at += 1
            }
        }
        guard depth == 0 else { throw ModelFormat.broken("it ends too early") }
        return false
    }

    /// Steps over a string, and tells where its content stands.
    private mutating func string() throws(LearnerError) -> Range<Int> {
        let start = at + 1
        at = start
        while at < bytes.count, bytes[at] != UInt8(ascii: "\"") {
            at += bytes[at] == UInt8(ascii: "\\") ? 2 : 1
        }
        guard at < bytes.count else { throw ModelFormat.broken("it ends within a text") }
        defer { at += 1 }
        return start..<at
    }

    private mutating func skipSpace() {
        while at < bytes.count, [0x20, 0x0A, 0x0D, 0x09].contains(bytes[at]) { at += 1 }
    }

    private mutating func skipTo(_ byte: UInt8) -> Bool {
        skipSpace()
        guard at < bytes.count, bytes[at] == byte else { return false }
        at += 1
        return true
    }

    private mutating func integers() -> [Int] {
        guard skipTo(UInt8(ascii: "[")) else { return [] }
        guard let end = bytes[at...].firstIndex(of: UInt8(ascii: "]")) else { return [] }
        let text = String(decoding: bytes[at..<end], as: UTF8.self)
        let parts = text.split(separator: ",").map { part in Int(String(part.filter { !$0.isWhitespace })) }
        return parts.contains(nil) ? [] : parts.compactMap(\.self)
    }
}

/// Walks UBJSON (draft 12, as XGBoost writes it) at its top level.
struct UBJSONScanner {
    let bytes: [UInt8]
    private var at = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    /// The integers of the array at a key of the outermost object; empty when there is none.
    mutating func topLevelIntegers(of wanted: String) throws(LearnerError) -> [Int] {
        at = 1
        let name = Array(wanted.utf8)
        while try peek() != UInt8(ascii: "}") {
            let key = try text()
            if bytes[key].elementsEqual(name) { return try integers() }
            try skip(try byte(), depth: 1)
        }
        return []
    }

    private mutating func integers() throws(LearnerError) -> [Int] {
        guard try byte() == UInt8(ascii: "[") else { return [] }
        let header = try container()
        var numbers: [Int] = []
        while try goesOn(header, after: numbers.count, until: UInt8(ascii: "]")) {
            guard numbers.count < 16 else { return [] }
            numbers.append(try integer(marker(header)))
        }
        return numbers
    }

    /// The optional type and count that follow "[" or "{".
    private mutating func container() throws(LearnerError) -> (type: UInt8?, count: Int?) {
        var type: UInt8?
        if try peek() == UInt8(ascii: "$") {
            at += 1
            type = try byte()
        }
        guard try peek() == UInt8(ascii: "#") else {
            guard type == nil else { throw ModelFormat.broken("a typed list has no count") }
            return (nil, nil)
        }
        at += 1
        return (type, try integer(try byte()))
    }

    private func goesOn(
        _ header: (type: UInt8?, count: Int?), after index: Int, until end: UInt8
    ) throws(LearnerError) -> Bool {
        if let count = header.count { return index < count }
        return try peek() != end
    }

    /// The type of the next element: the container's, or the element's own.
    private mutating func marker(_ header: (type: UInt8?, count: Int?)) throws(LearnerError) -> UInt8 {
        if let type = header.type { return type }
        return try byte()
    }

    private mutating func skip(_ marker: UInt8, depth: Int) throws(LearnerError) {
        guard depth <= ModelFormat.depthLimit else { throw ModelFormat.broken("it nests too deep") }
        switch marker {
        case UInt8(ascii: "["): try skipList(depth: depth)
        case UInt8(ascii: "{"): try skipObject(depth: depth)
        case UInt8(ascii: "S"), UInt8(ascii: "H"): _ = try text()
        default: try advance(try Self.width(of: marker))
        }
    }

    private mutating func skipList(depth: Int) throws(LearnerError) {
        let header = try container()
        if let count = header.count, let type = header.type, let width = try? Self.width(of: type) {  // no width: below
            let (length, overflow) = count.multipliedReportingOverflow(by: width)
            guard !overflow else { throw ModelFormat.broken("a list is too long") }
            return try advance(length)
        }
        var index = 0
        while try goesOn(header, after: index, until: UInt8(ascii: "]")) {
            try skip(marker(header), depth: depth + 1)
            index += 1
        }
        if header.count == nil { at += 1 }
    }

    private mutating func skipObject(depth: Int) throws(LearnerError) {
        let header = try container()
        var index = 0
        while try goesOn(header, after: index, until: UInt8(ascii: "}")) {
            _ = try text()
            try skip(marker(header), depth: depth + 1)
            index += 1
        }
        if header.count == nil { at += 1 }
    }

    /// Steps over a length and that many bytes, and tells where the bytes stand.
    private mutating func text() throws(LearnerError) -> Range<Int> {
        let length = try integer(try byte())
        let start = at
        try advance(length)
        return start..<at
    }

    private mutating func integer(_ marker: UInt8) throws(LearnerError) -> Int {
        guard
            [UInt8(ascii: "i"), UInt8(ascii: "U"), UInt8(ascii: "I"), UInt8(ascii: "l"), UInt8(ascii: "L")]
                .contains(marker)
        else { throw ModelFormat.broken("a number is missing at byte \(at)") }
        let width = try Self.width(of: marker)
        let start = at
        try advance(width)
        var value: UInt64 = 0
        for byte in bytes[start..<at] { value = value << 8 | UInt64(byte) }
        switch marker {
        case UInt8(ascii: "i"): return Int(Int8(truncatingIfNeeded: value))
        case UInt8(ascii: "U"): return Int(value)
        case UInt8(ascii: "I"): return Int(Int16(truncatingIfNeeded: value))
        case UInt8(ascii: "l"): return Int(Int32(truncatingIfNeeded: value))
        default: return Int(Int64(bitPattern: value))
        }
    }

    private static func width(of marker: UInt8) throws(LearnerError) -> Int {
        switch marker {
        case UInt8(ascii: "Z"), UInt8(ascii: "N"), UInt8(ascii: "T"), UInt8(ascii: "F"): 0
        case UInt8(ascii: "i"), UInt8(ascii: "U"), UInt8(ascii: "C"): 1
        case UInt8(ascii: "I"): 2
        case UInt8(ascii: "l"), UInt8(ascii: "d"): 4
        case UInt8(ascii: "L"), UInt8(ascii: "D"): 8
        default: throw ModelFormat.broken("byte \(marker) stands for no type")
        }
    }

    private func peek() throws(LearnerError) -> UInt8 {
        guard at < bytes.count else { throw ModelFormat.broken("it ends too early") }
        return bytes[at]
    }

    private mutating func byte() throws(LearnerError) -> UInt8 {
        let byte = try peek()
        at += 1
        return byte
    }

    private mutating func advance(_ length: Int) throws(LearnerError) {
        guard length >= 0, length <= bytes.count - at else { throw ModelFormat.broken("it ends too early") }
        at += length
    }
}
