extension JSONValue {
    /// The value as compact JSON text, members in their order.
    public var text: String { String(decoding: bytes, as: UTF8.self) }

    /// The value as compact JSON in UTF-8.
    public var bytes: [UInt8] {
        var out: [UInt8] = []
        write(to: &out, indent: nil)
        return out
    }

    /// The value as JSON for people: two spaces a level.
    public var prettyText: String {
        var out: [UInt8] = []
        write(to: &out, indent: 0)
        return String(decoding: out, as: UTF8.self)
    }

    /// The value with the members of every object sorted: equal values give equal text, so that it can be hashed.
    public var canonicalText: String { sorted.text }

    private var sorted: JSONValue {
        switch self {
        case .array(let items): .array(items.map(\.sorted))
        case .object(let members):
            .object(Ordered(members.keys.sorted().compactMap { key in members[key].map { (key, $0.sorted) } }))
        default: self
        }
    }

    /// Appends the value to `out`; `indent` is the present depth, or nil for compact text.
    public func write(to out: inout [UInt8], indent: Int?) {
        switch self {
        case .null: out.append(contentsOf: "null".utf8)
        case .bool(let value): out.append(contentsOf: (value ? "true" : "false").utf8)
        case .integer(let value): out.append(contentsOf: String(value).utf8)
        case .number(let value): Self.write(value, to: &out)
        case .string(let value): Self.write(value, to: &out)
        case .array(let items):
            Self.block("[", "]", count: items.count, indent: indent, to: &out) { index, out, inner in
                items[index].write(to: &out, indent: inner)
            }
        case .object(let members):
            let (keys, values) = (members.keys, members.values)
            Self.block("{", "}", count: keys.count, indent: indent, to: &out) { index, out, inner in
                Self.write(keys[index], to: &out)
                out.append(UInt8(ascii: ":"))
                if inner != nil { out.append(0x20) }
                values[index].write(to: &out, indent: inner)
            }
        }
    }

    private static func block(
        _ open: Unicode.Scalar, _ close: Unicode.Scalar, count: Int, indent: Int?, to out: inout [UInt8],
        item: (Int, inout [UInt8], Int?) -> Void
    ) {
        out.append(UInt8(ascii: open))
        for index in 0..<count {
            if index > 0 { out.append(UInt8(ascii: ",")) }
            if let indent { newLine(indent + 1, to: &out) }
            item(index, &out, indent.map { $0 + 1 })
        }
        if let indent, count > 0 { newLine(indent, to: &out) }
        out.append(UInt8(ascii: close))
    }

    private static func newLine(_ depth: Int, to out: inout [UInt8]) {
        out.append(0x0A)
        out.append(contentsOf: repeatElement(0x20, count: depth * 2))
    }

    /// JSON has no infinities: they are written as text, as MLflow and Prometheus write them.
    public static func write(_ value: Double, to out: inout [UInt8]) {
        if value.isNaN {
            out.append(contentsOf: "\"NaN\"".utf8)
        } else if value.isInfinite {
            out.append(contentsOf: (value < 0 ? "\"-Infinity\"" : "\"Infinity\"").utf8)
        } else {
            out.append(contentsOf: "\(value)".utf8)
        }
    }

    /// Appends `text` as a JSON string, quotes included.
    public static func write(_ text: String, to out: inout [UInt8]) {
        out.append(UInt8(ascii: "\""))
        defer { out.append(UInt8(ascii: "\"")) }
        // Most texts are written as they are.
        let isPlain = text.utf8.allSatisfy { $0 >= 0x20 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") }
        if isPlain { return out.append(contentsOf: text.utf8) }
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""): out.append(contentsOf: "\\\"".utf8)
            case UInt8(ascii: "\\"): out.append(contentsOf: "\\\\".utf8)
            case 0x0A: out.append(contentsOf: "\\n".utf8)
            case 0x0D: out.append(contentsOf: "\\r".utf8)
            case 0x09: out.append(contentsOf: "\\t".utf8)
            case ..<0x20:
                let digits = Array("0123456789abcdef".utf8)
                out.append(contentsOf: "\\u00".utf8)
                out.append(digits[Int(byte >> 4)])
                out.append(digits[Int(byte & 15)])
            default: out.append(byte)
            }
        }
    }
}
