internal import Yams

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
        var nodes: [Node] = []
        do {
            // The sequence ends at an error as it ends at the last document; only its `error` tells them apart.
            var sequence = try Yams.compose_all(yaml: text, .basic)
            while let node = sequence.next() { nodes.append(node) }
            if let error = sequence.error { throw error }
        } catch {
            throw YAML.error(error, file: file)
        }
        var reader = Reader()
        var documents: [YAMLDocument] = []
        for node in nodes {
            do {
                var places = MarkTree()
                let value = try reader.read(node, depth: 0, into: &places)
                if value != .null { documents.append(YAMLDocument(value: value, places: places, file: file)) }
            } catch {
                var placed = error
                placed.file = file
                throw placed
            }
        }
        return documents
    }

    private static func error(_ error: any Error, file: String?) -> ManifestError {
        guard let error = error as? YamlError else {
            return ManifestError(at: [], message: "the YAML cannot be read", hint: "\(error)", file: file)
        }
        switch error {
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            let place = context.map { " \($0.text)" } ?? ""
            return ManifestError(
                at: [], message: "not valid YAML: \(problem)\(place)",
                hint: "Check the indentation and quotes near this line.",
                mark: Mark(line: mark.line, column: mark.column), file: file)
        case .duplicatedKeysInMapping(let keys, let context):
            return ManifestError(
                at: [], message: "the key \"\(keys.map { "\($0)" }.joined(separator: ", "))\" is written twice",
                hint: "Remove one of them.", mark: Mark(line: context.mark.line, column: context.mark.column),
                file: file)
        default:
            return ManifestError(at: [], message: "the YAML cannot be read", hint: "\(error)", file: file)
        }
    }

    private struct Reader {
        var count = 0

        /// Fills in the places of what lies below, and the value's own unless a key has set it.
        mutating func read(_ node: Node, depth: Int, into places: inout MarkTree) throws(ManifestError) -> JSONValue {
            count += 1
            if places.mark == nil { places.mark = Mark(node.mark) }
            guard depth < depthLimit, count < valueLimit else {
                throw ManifestError(
                    at: [], message: "the file nests too deep or has too many values", hint: "Split it.",
                    mark: places.mark)
            }
            switch node {
            case .scalar(let scalar): return YAML.resolve(scalar)
            case .sequence(let sequence):
                var items: [JSONValue] = []
                items.reserveCapacity(sequence.count)
                for item in sequence {
                    var place = MarkTree()
                    items.append(try read(item, depth: depth + 1, into: &place))
                    places.below.append(place)
                }
                return .array(items)
            case .mapping(let mapping):
                var members = Ordered<JSONValue>()
                for (key, value) in mapping {
                    var place = MarkTree(mark: Mark(key.mark))
                    let name = key.scalar?.string ?? ""
                    guard key.scalar != nil, members[name] == nil else {
                        throw ManifestError(
                            at: [name], message: "the key \"\(name)\" is written twice or is not text", mark: place.mark
                        )
                    }
                    members[name] = try read(value, depth: depth + 1, into: &place)
                    places.below.append(place)
                }
                return .object(members)
            case .alias:
                throw ManifestError(at: [], message: "an alias points to nothing", mark: places.mark)
            }
        }
    }

    private static func resolve(_ scalar: Node.Scalar) -> JSONValue {
        guard scalar.style == .plain || scalar.style == .any else { return .string(scalar.string) }
        let text = scalar.string
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

extension Mark {
    fileprivate init?(_ mark: Yams.Mark?) {
        guard let mark else { return nil }
        self.init(line: mark.line, column: mark.column)
    }
}
