internal import Yams

/// One document of a YAML file, with the place of everything in it.
public struct YAMLDocument: Sendable {
    public var value: JSONValue
    /// Where each key or item begins, by its path; the empty path is the document itself.
    let marks: [[String]: Mark]
    public let file: String?

    /// `error` with line and column, when its path is known here; else with those of the nearest thing above it.
    public func placing(_ error: ManifestError) -> ManifestError {
        var placed = error
        placed.file = file
        var path = error.at
        while placed.mark == nil {
            placed.mark = marks[path]
            if path.popLast() == nil { break }
        }
        return placed
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
            reader.marks = [:]
            do {
                let value = try reader.read(node, at: [])
                if value != .null { documents.append(YAMLDocument(value: value, marks: reader.marks, file: file)) }
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
        var marks: [[String]: Mark] = [:]
        var count = 0

        mutating func read(_ node: Node, at path: [String]) throws(ManifestError) -> JSONValue {
            count += 1
            let mark = node.mark.map { Mark(line: $0.line, column: $0.column) }
            if marks[path] == nil { marks[path] = mark }
            guard path.count < depthLimit, count < valueLimit else {
                throw ManifestError(
                    at: path, message: "the file nests too deep or has too many values", hint: "Split it.", mark: mark)
            }
            switch node {
            case .scalar(let scalar): return YAML.resolve(scalar)
            case .sequence(let sequence):
                var items: [JSONValue] = []
                for (index, item) in sequence.enumerated() { items.append(try read(item, at: path + ["\(index)"])) }
                return .array(items)
            case .mapping(let mapping):
                var members = Ordered<JSONValue>()
                for (key, value) in mapping {
                    let name = key.scalar?.string ?? ""
                    marks[path + [name]] = key.mark.map { Mark(line: $0.line, column: $0.column) }
                    guard key.scalar != nil, members[name] == nil else {
                        throw ManifestError(
                            at: path + [name], message: "the key \"\(name)\" is written twice or is not text",
                            mark: key.mark.map { Mark(line: $0.line, column: $0.column) })
                    }
                    members[name] = try read(value, at: path + [name])
                }
                return .object(members)
            case .alias:
                throw ManifestError(at: path, message: "an alias points to nothing", mark: mark)
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
