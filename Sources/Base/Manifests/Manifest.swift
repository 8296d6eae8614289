/// A value people write by hand in YAML and programs send as JSON.
///
/// Declare the stored properties once with defaults, then list them once in ``fields``. From that one table vagus
/// derives decoding (defaults, unknown-key hints, range checks), encoding, JSON Schema, `vagus explain` and the
/// reference page.
public protocol Manifest: WireValue, Codable {
    /// Creates a value with every default in place.
    init()
    /// Every field, in the order people should read them.
    static var fields: [Field<Self>] { get }
    /// Names of fields of which exactly one must be written ("one step, one verb"); empty: no such rule.
    static var choices: [String] { get }
    /// What a value of this type is called in messages: "stage".
    static var noun: String { get }
    /// Rules across fields. Paths are relative to this value.
    static func check(_ value: Self) -> [ManifestError]
    /// A short form: what a value that is not a map stands for, if anything (`checkout: true`).
    static func shorthand(_ json: JSONValue) -> Self?
}

extension Manifest {
    public static var choices: [String] { [] }
    public static func check(_ value: Self) -> [ManifestError] { [] }
    public static func shorthand(_ json: JSONValue) -> Self? { nil }

    public static var noun: String {
        var words = ""
        let name = "\(Self.self)"
        for character in name.hasSuffix("Spec") ? name.dropLast(4) : name[...] {
            if character.isUppercase, !words.isEmpty { words += " " }
            words += character.lowercased()
        }
        return words
    }

    public init(json: JSONValue, at path: [String]) throws(ManifestError) {
        guard case .object(let members) = json else {
            if let short = Self.shorthand(json) {
                self = short
                return
            }
            throw ManifestError(
                at: path, message: "a \(Self.noun) is a map, not \(json.kindName)",
                hint: "Its fields are: \(Self.fields.map(\.name).joined(separator: ", ")).")
        }
        self.init()
        let fields = Self.fields
        var found = 0
        do throws(ManifestError) {
            try Self.checkChoices(members, at: path)
            for field in fields {
                let written = members[field.name]
                if written != nil || field.isRequired, try field.decode(written, &self, path) { found += 1 }
            }
        } catch {
            // A name that is misspelt is most often why something else is missing.
            try Self.checkNames(members, at: path)
            throw error
        }
        if found != members.count { try Self.checkNames(members, at: path) }
        if let problem = Self.check(self).first { throw problem.below(path) }
    }

    private static func checkNames(_ members: Ordered<JSONValue>, at path: [String]) throws(ManifestError) {
        let names = fields.map { $0.name }
        guard let unknown = members.keys.first(where: { !names.contains($0) }) else { return }
        throw ManifestError(
            at: path + [unknown], message: "\"\(unknown)\" is not a field of a \(noun)",
            hint: suggestion(for: unknown, among: names, called: "field"))
    }

    private static func checkChoices(_ members: Ordered<JSONValue>, at path: [String]) throws(ManifestError) {
        let choices = choices
        guard !choices.isEmpty else { return }
        let named = choices.filter { members.has($0) }
        let written = named.filter { members[$0] != .null }
        if written.count == 1 { return }
        let list = choices.joined(separator: ", ")
        if written.isEmpty, let empty = named.first {
            throw ManifestError(
                at: path + [empty], message: "there is nothing behind \"\(empty)\"",
                hint: "Write \(empty): {} for all that it stands for, if it needs no more.")
        }
        if written.isEmpty {
            throw ManifestError(
                at: path, message: "a \(noun) says nothing of what it does", hint: "Write exactly one of: \(list).")
        }
        throw ManifestError(
            at: path + [written[1]],
            message: "a \(noun) has both \"\(written[0])\" and \"\(written[1])\"",
            hint: "Write exactly one of: \(list).")
    }

    public var json: JSONValue { written }

    /// The map form, for types that also have a short one; fields that stand at their default are left out.
    public var written: JSONValue {
        var members = Ordered<JSONValue>()
        let fields = Self.fields
        withUnsafeBytes(of: self) { bytes in
            for field in fields where !(field.standard?.stand(in: bytes) ?? false) {
                if let value = field.encode(self) { members.append(field.name, value) }
            }
        }
        return .object(members)
    }

    public init(from decoder: any Decoder) throws {
        try self.init(json: JSONValue(from: decoder), at: [])
    }

    public func encode(to encoder: any Encoder) throws { try json.encode(to: encoder) }

    /// The JSON Schema of this type (draft 2020-12).
    public static var schema: Schema { writtenSchema }

    /// The schema of the map form.
    public static var writtenSchema: Schema {
        var object = Schema(type: "object")
        object.properties = fields.map { ($0.name, $0.schema()) }
        object.required = fields.filter(\.isRequired).map(\.name)
        object.exactlyOne = choices
        object.title = noun
        return object
    }
}

/// A manifest that cannot be accepted: where, what, and how to mend it.
public struct ManifestError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Keys and indices from the top of the document.
    public var at: [String]
    public var message: String
    public var hint: String?
    public var mark: Mark?
    /// The file, as the person named it.
    public var file: String?

    public init(at: [String], message: String, hint: String? = nil, mark: Mark? = nil, file: String? = nil) {
        self.at = at
        self.message = message
        self.hint = hint
        self.mark = mark
        self.file = file
    }

    /// The same problem, seen from `path` above.
    public func below(_ path: [String]) -> ManifestError {
        var error = self
        error.at = path + at
        return error
    }

    /// "pipeline.yaml:7:5", "stages.2.needs", or nil when nothing is known.
    public var location: String? {
        if let mark { return "\(file ?? "input"):\(mark.line):\(mark.column)" }
        let path = at.joined(separator: ".")
        return file.map { path.isEmpty ? $0 : "\($0): \(path)" } ?? (path.isEmpty ? nil : path)
    }

    public var description: String {
        (location.map { $0 + ": " } ?? "") + message + (hint.map { "\n  hint: " + $0 } ?? "")
    }
}

/// A place in a text, both from 1.
public struct Mark: Sendable, Hashable {
    public var line: Int
    public var column: Int
    public init(line: Int, column: Int) { (self.line, self.column) = (line, column) }
}
