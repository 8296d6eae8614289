import Manifests

/// Who has read what of a file: in the end each key is either mapped or in a note.
final class Ledger {
    private let document: YAMLDocument
    private(set) var mapped: Set<[String]> = []
    private var notes: [ConversionNote] = []

    init(_ document: YAMLDocument) { self.document = document }

    func map(_ path: [String]) { mapped.insert(path) }

    func note(_ kind: ConversionNote.Kind, _ path: [String], _ reason: String) {
        let placed = document.placing(ManifestError(at: path, message: ""))
        let note = ConversionNote(kind: kind, path: path, line: placed.mark?.line, reason: reason)
        if !notes.contains(note) { notes.append(note) }
    }

    /// Lists each key that was neither read nor noted.
    func sweep(_ value: JSONValue, at path: [String] = []) {
        if notes.contains(where: { $0.kind != .changed && $0.path == path }) { return }
        guard path.isEmpty || mapped.contains(path) else {
            return note(.lost, path, "\"\(path.last ?? "")\" has no counterpart that this converter knows")
        }
        switch value {
        case .object(let members): for (key, member) in members { sweep(member, at: path + [key]) }
        case .array(let items):
            for (index, item) in items.enumerated() where mapped.contains(path + ["\(index)"]) || item.isNested {
                sweep(item, at: path + ["\(index)"])
            }
        default: break
        }
    }

    /// Whether that was said of any place.
    func says(_ reason: String) -> Bool { notes.contains { $0.reason == reason } }

    /// In the order of the file.
    var sortedNotes: [ConversionNote] {
        notes.enumerated().sorted { ($0.element.line ?? 0, $0.offset) < ($1.element.line ?? 0, $1.offset) }
            .map(\.element)
    }
}

extension JSONValue {
    fileprivate var isNested: Bool { object != nil || array != nil }

    /// Text, numbers and truth values as they are written.
    var scalarText: String? {
        switch self {
        case .string(let text): text
        case .bool, .integer: text
        case .number(let number): number == number.rounded() && abs(number) < 1e15 ? "\(number)" : text
        default: nil
        }
    }
}

/// A place in the file.
///
/// Reading a value through it notes that it was read.
struct Cursor {
    let value: JSONValue
    let path: [String]
    let ledger: Ledger

    /// The member of that name, noted as read; what is in it is not.
    func take(_ key: String) -> Cursor? {
        guard let member = value[key] else { return nil }
        ledger.map(path + [key])
        return Cursor(value: member, path: path + [key], ledger: ledger)
    }

    /// The members, each noted as read.
    var members: [(key: String, value: Cursor)] {
        (value.object ?? [:]).compactMap { key, _ in take(key).map { (key, $0) } }
    }

    /// The items, each noted as read; a lone value is a list of itself.
    var items: [Cursor] {
        guard let items = value.array else { return value.isNull ? [] : [self] }
        return items.enumerated().map { index, item in
            ledger.map(path + ["\(index)"])
            return Cursor(value: item, path: path + ["\(index)"], ledger: ledger)
        }
    }

    /// All of it, noted as read down to the last key.
    var whole: JSONValue {
        func mark(_ value: JSONValue, _ path: [String]) {
            ledger.map(path)
            for (key, member) in value.object ?? [:] { mark(member, path + [key]) }
            for (index, item) in (value.array ?? []).enumerated() { mark(item, path + ["\(index)"]) }
        }
        mark(value, path)
        return value
    }

    var text: String? { value.scalarText }

    /// The texts of a list, or of a lone value.
    var texts: [String] { items.compactMap(\.text) }

    func lost(_ reason: String) { ledger.note(.lost, path, reason) }
    func changed(_ reason: String) { ledger.note(.changed, path, reason) }
    /// Said at the first of many places only.
    func changed(once reason: String) { if !ledger.says(reason) { changed(reason) } }
    func needless(_ reason: String) { ledger.note(.needless, path, reason) }

    /// Lists the members of these names as lost.
    func lose(_ keys: [String: String]) {
        for key in value.object?.keys ?? [] { if let reason = keys[key] { take(key)?.lost(reason) } }
    }
}
