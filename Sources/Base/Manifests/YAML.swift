/// One document of a YAML file, with the place of everything in it.
public struct YAMLDocument: Sendable {
    public var value: JSONValue
    let places: MarkTree
    public let file: String?

    /// `error` with line and column, when its path is known here; else with those of the nearest thing above it.
    public func placing(_ error: ManifestError) -> ManifestError {
        var placed = error
        placed.file = file
        if placed.mark == nil { placed.mark = places.nearest(to: error.at, in: value) }
        return placed
    }
}

/// Where a value and all within it begin; of the same form as the value.
struct MarkTree: Sendable {
    /// Of the key, in a map; else of the value itself.
    var mark: Mark?
    /// In the order of the items or members.
    var below: [MarkTree] = []

    /// The place of what a path names, or of the nearest thing above it.
    func nearest(to path: [String], in value: JSONValue) -> Mark? {
        var (tree, value, mark) = (self, value, self.mark)
        for word in path {
            let position: Int?
            switch value {
            case .object(let members):
                position = members.keys.firstIndex(of: word)
                if let position { value = members.values[position] }
            case .array(let items):
                position = Int(word).flatMap { items.indices.contains($0) ? $0 : nil }
                if let position { value = items[position] }
            default: position = nil
            }
            guard let position, tree.below.indices.contains(position) else { break }
            tree = tree.below[position]
            mark = tree.mark ?? mark
        }
        return mark
    }
}

/// Reads YAML by the core schema of YAML 1.2: `yes`, `on` and `0777` are text or decimal, not traps.
public enum YAML {
    /// Bytes of one file.
    public static let sizeLimit = 4 << 20
    /// Values in one file, aliases counted each time: stops "billion laughs".
    public static let valueLimit = 200_000
    public static let depthLimit = 64

    /// Every document of `text`; empty ones are left out.
    ///
    /// - Throws: `ManifestError` with line and column.
    public static func documents(_ text: String, file: String? = nil) throws(ManifestError) -> [YAMLDocument] {
        guard text.utf8.count <= sizeLimit else {
            throw ManifestError(
                at: [], message: "the file is larger than \(sizeLimit >> 20) MiB", hint: "Split it.", file: file)
        }
        do throws(ManifestError) {
            return try YAMLReader.documents(text).map { YAMLDocument(value: $0, places: $1, file: file) }
        } catch {
            var placed = error
            placed.file = file
            throw placed
        }
    }

    /// What a scalar without quotes stands for.
    static func resolve(_ text: String) -> JSONValue {
        // Nearly all texts begin with a letter that none of the words below begins with.
        switch text.utf8.first ?? 0 {
        case UInt8(ascii: "a")...UInt8(ascii: "e"), UInt8(ascii: "g")...UInt8(ascii: "m"),
            UInt8(ascii: "o")...UInt8(ascii: "s"), UInt8(ascii: "u")...UInt8(ascii: "z"), UInt8(ascii: "/"):
            return .string(text)
        default: break
        }
        switch text {
        case "", "~", "null", "Null", "NULL": return .null
        case "true", "True", "TRUE": return .bool(true)
        case "false", "False", "FALSE": return .bool(false)
        case ".nan", ".NaN", ".NAN": return .number(.nan)
        case ".inf", ".Inf", "+.inf": return .number(.infinity)
        case "-.inf", "-.Inf": return .number(-.infinity)
        default: return number(text) ?? .string(text)
        }
    }

    private static func number(_ text: String) -> JSONValue? {
        guard let first = text.utf8.first, first < 0x3A, first != UInt8(ascii: "/") else { return nil }
        if text.hasPrefix("0x"), let value = Int64(text.dropFirst(2), radix: 16) { return .integer(value) }
        if text.hasPrefix("0o"), let value = Int64(text.dropFirst(2), radix: 8) { return .integer(value) }
        let isNumeric = text.utf8.allSatisfy { byte in
            (0x30...0x39).contains(byte) || byte == UInt8(ascii: ".") || byte == UInt8(ascii: "-")
                || byte == UInt8(ascii: "+") || byte | 0x20 == UInt8(ascii: "e")
        }
        guard isNumeric, text.utf8.contains(where: { (0x30...0x39).contains($0) }) else { return nil }
        if let value = Int64(text) { return .integer(value) }
        return Double(text).map(JSONValue.number)
    }
}
