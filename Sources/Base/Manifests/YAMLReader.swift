internal import CYaml

/// Makes values of YAML, event by event as libyaml reads it: no tree of nodes stands between the text and the value, since of a
/// graph of ten thousand jobs that tree alone took a third of a second.
struct YAMLReader: ~Copyable {
    /// What an anchor names.
    private struct Anchor {
        var value: JSONValue
        var places: MarkTree
        /// As it was written, when it is a scalar.
        var text: String?
        /// Values in it, itself too, and how deep it nests.
        var count = 1
        var height = 0
    }

    private let events: YAMLEvents
    private var anchors: [String: Anchor] = [:]
    private var count = 0

    private init(_ events: YAMLEvents) { self.events = events }

    /// Every document of `text` that is not empty, with the places of everything in it.
    ///
    /// - Throws: `ManifestError` with line and column.
    static func documents(_ text: String) throws(ManifestError) -> [(value: JSONValue, places: MarkTree)] {
        var text = text
        let result = text.withUTF8 { bytes -> Result<[(value: JSONValue, places: MarkTree)], ManifestError> in
            do throws(ManifestError) {
                var reader = YAMLReader(try YAMLEvents(bytes))
                return .success(try reader.all())
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    private mutating func all() throws(ManifestError) -> [(value: JSONValue, places: MarkTree)] {
        var documents: [(value: JSONValue, places: MarkTree)] = []
        while true {
            switch try events.next() {
            case YAML_DOCUMENT_START_EVENT:
                var places = MarkTree()
                _ = try events.next()
                let value = try read(depth: 0, into: &places).value
                if value != .null { documents.append((value, places)) }
            case YAML_STREAM_END_EVENT, YAML_NO_EVENT: return documents
            default: continue
            }
        }
    }

    /// Reads the value that begins with the event that was read last.
    ///
    /// Fills in the places of what lies below, and the value's own unless a key has set it.
    private mutating func read(
        depth: Int, into places: inout MarkTree
    ) throws(ManifestError) -> (value: JSONValue, height: Int) {
        let mark = events.mark
        if places.mark == nil { places.mark = mark }
        count += 1
        guard depth < YAML.depthLimit, count < YAML.valueLimit else { throw Self.tooMuch(places.mark) }
        let (name, before) = (events.anchor, count)
        var text: String?
        let value: JSONValue
        var height = 0
        switch events.kind {
        case YAML_ALIAS_EVENT: return try repeated(name, depth: depth, mark, into: &places)
        case YAML_SCALAR_EVENT:
            let scalar = events.text
            text = name == nil ? nil : scalar
            value = events.isPlain ? YAML.resolve(scalar) : .string(scalar)
        case YAML_SEQUENCE_START_EVENT: value = try items(depth: depth, into: &places, &height)
        default: value = try members(depth: depth, into: &places, &height)
        }
        if let name {
            anchors[name] = Anchor(
                value: value, places: places, text: text, count: count - before + 1, height: height)
        }
        return (value, height)
    }

    private mutating func items(
        depth: Int, into places: inout MarkTree, _ height: inout Int
    ) throws(ManifestError) -> JSONValue {
        var items: [JSONValue] = []
        while try events.next() != YAML_SEQUENCE_END_EVENT {
            var place = MarkTree()
            let item = try read(depth: depth + 1, into: &place)
            items.append(item.value)
            places.below.append(place)
            height = max(height, item.height + 1)
        }
        return .array(items)
    }

    private mutating func members(
        depth: Int, into places: inout MarkTree, _ height: inout Int
    ) throws(ManifestError) -> JSONValue {
        var members = Ordered<JSONValue>()
        while try events.next() != YAML_MAPPING_END_EVENT {
            var place = MarkTree(mark: events.mark)
            let key = try key()
            guard let key, !members.has(key) else {
                throw ManifestError(
                    at: [key ?? ""], message: "the key \"\(key ?? "")\" is written twice or is not text",
                    hint: "Each key of a map is a text of its own.", mark: place.mark)
            }
            _ = try events.next()
            let member = try read(depth: depth + 1, into: &place)
            members.append(key, member.value)
            places.below.append(place)
            height = max(height, member.height + 1)
        }
        return .object(members)
    }

    /// The key that the last event is; nil when it is no text.
    private mutating func key() throws(ManifestError) -> String? {
        switch events.kind {
        case YAML_SCALAR_EVENT:
            let text = events.text
            if let name = events.anchor {
                anchors[name] = Anchor(
                    value: events.isPlain ? YAML.resolve(text) : .string(text), places: MarkTree(mark: events.mark),
                    text: text)
            }
            return text
        case YAML_ALIAS_EVENT: return try anchor(events.anchor).text
        default: return nil
        }
    }

    private func anchor(_ name: String?) throws(ManifestError) -> Anchor {
        if let name, let found = anchors[name] { return found }
        throw ManifestError(
            at: [], message: "not valid YAML: found undefined alias",
            hint: "Write the anchor, with its \"&\", before the place that repeats it.", mark: events.mark)
    }

    /// What an alias repeats; it counts as if it were written again.
    private mutating func repeated(
        _ name: String?, depth: Int, _ mark: Mark, into places: inout MarkTree
    ) throws(ManifestError) -> (value: JSONValue, height: Int) {
        let found = try anchor(name)
        count += found.count - 1
        guard count < YAML.valueLimit, depth + found.height < YAML.depthLimit else { throw Self.tooMuch(mark) }
        places.below = found.places.below
        return (found.value, found.height)
    }

    private static func tooMuch(_ mark: Mark?) -> ManifestError {
        ManifestError(
            at: [], message: "the file nests too deep or has too many values", hint: "Split it.", mark: mark)
    }
}

/// The events of a text, one after the other.
///
/// Used within the life of the bytes, by one thread.
private final class YAMLEvents {
    // libyaml keeps a pointer to its own state: it must not move.
    private let parser = UnsafeMutablePointer<yaml_parser_t>.allocate(capacity: 1)
    private var event = yaml_event_t()
    private let bytes: UnsafeBufferPointer<UInt8>

    init(_ bytes: UnsafeBufferPointer<UInt8>) throws(ManifestError) {
        self.bytes = bytes
        parser.initialize(to: yaml_parser_t())
        guard yaml_parser_initialize(parser) == 1 else {
            throw ManifestError(at: [], message: "the YAML cannot be read", hint: "There is no memory for it.")
        }
        yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
        yaml_parser_set_input_string(parser, bytes.baseAddress, bytes.count)
    }

    deinit {
        yaml_event_delete(&event)
        yaml_parser_delete(parser)
        parser.deallocate()
    }

    /// Goes to the next event; `YAML_NO_EVENT` after the end.
    func next() throws(ManifestError) -> yaml_event_type_t {
        yaml_event_delete(&event)
        guard yaml_parser_parse(parser, &event) == 1 else { throw problem }
        return event.type
    }

    var kind: yaml_event_type_t { event.type }

    /// Where the event begins.
    var mark: Mark { Mark(line: Int(event.start_mark.line) + 1, column: Int(event.start_mark.column) + 1) }

    /// The anchor of a value, or that which an alias means.
    var anchor: String? {
        let name =
            switch event.type {
            case YAML_ALIAS_EVENT: event.data.alias.anchor
            case YAML_SCALAR_EVENT: event.data.scalar.anchor
            case YAML_SEQUENCE_START_EVENT: event.data.sequence_start.anchor
            case YAML_MAPPING_START_EVENT: event.data.mapping_start.anchor
            default: nil as UnsafeMutablePointer<yaml_char_t>?
            }
        return name.map { String(cString: $0) }
    }

    /// A scalar, escapes and folds undone; it may hold any character.
    var text: String {
        String(
            decoding: UnsafeBufferPointer(start: event.data.scalar.value, count: event.data.scalar.length),
            as: UTF8.self)
    }

    /// Whether a scalar stands without quotes, on a line.
    var isPlain: Bool { event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE }

    private var problem: ManifestError {
        let (problem, context) = (parser.pointee.problem, parser.pointee.context)
        let words = problem.map { String(cString: $0) } ?? "it cannot be read"
        let place = context.map { " " + String(cString: $0) } ?? ""
        let at = parser.pointee.problem_mark
        var mark = Mark(line: Int(at.line) + 1, column: Int(at.column) + 1)
        if parser.pointee.error == YAML_READER_ERROR {
            // Of what is no text it tells the byte alone.
            let before = bytes.prefix(parser.pointee.problem_offset)
            let line = before.lastIndex(of: 0x0A).map { before.distance(from: $0, to: before.endIndex) - 1 }
            mark = Mark(line: before.count { $0 == 0x0A } + 1, column: (line ?? before.count) + 1)
        }
        return ManifestError(
            at: [], message: "not valid YAML: \(words)\(place)",
            hint: "Check the indentation and quotes near this line.", mark: mark)
    }
}
