internal import Series

/// What goes wrong with one line; told in its label `__error__`, never by ending the query.
enum LineFault: String, Sendable {
    case json = "JSONParserErr"
    case logfmt = "LogfmtParserErr"
    case labelFilter = "LabelFilterErr"
    case template = "TemplateFormatErr"
    case sample = "SampleExtractionErr"
}

/// A line on its way through a pipeline: its text and its labels so far.
struct LineState {
    static let errorLabel = "__error__"
    static let errorDetails = "__error_details__"

    /// The stream's labels, shared by its lines.
    private(set) var base: [(name: String, value: String)] = []
    /// Labels that the line has beside the stream's, or instead of them.
    private(set) var own: [(name: String, value: String)] = []
    /// Names of the stream's labels that the line has lost.
    private var lost: [String] = []
    /// The text once a stage has changed it.
    var changedLine: [UInt8]?
    private(set) var time: Int64 = 0

    mutating func begin(_ stream: [(name: String, value: String)], time: Int64, metadata: UnsafeBufferPointer<UInt8>) {
        base = stream
        self.time = time
        own.removeAll(keepingCapacity: true)
        lost.removeAll(keepingCapacity: true)
        changedLine = nil
        var cursor = LabelCursor(metadata)
        while let pair = cursor.next() {
            own.append((String(decoding: pair.name, as: UTF8.self), String(decoding: pair.value, as: UTF8.self)))
        }
    }

    /// Whether the labels are those of the stream.
    var hasOwnLabels: Bool { !own.isEmpty || !lost.isEmpty }

    subscript(name: String) -> String? {
        for pair in own where pair.name == name { return pair.value }
        for pair in base where pair.name == name { return lost.contains(name) ? nil : pair.value }
        return nil
    }

    /// Sets a label, whatever it was before; an empty value takes it away.
    mutating func set(_ name: String, _ value: String) {
        guard !value.isEmpty else { return remove(name) }
        if let place = own.firstIndex(where: { $0.name == name }) {
            own[place].value = value
        } else {
            own.append((name, value))
        }
    }

    mutating func remove(_ name: String) {
        own.removeAll { $0.name == name }
        if base.contains(where: { $0.name == name }), !lost.contains(name) { lost.append(name) }
    }

    /// Adds a label that a parser found. The stream's own keep their names: a second one of that name gets a suffix.
    mutating func extract(_ name: String, _ value: String) {
        guard !name.isEmpty else { return }
        set(base.contains { $0.name == name } ? name + "_extracted" : name, value)
    }

    mutating func fail(_ fault: LineFault, _ details: String) {
        guard self[Self.errorLabel] == nil else { return }
        set(Self.errorLabel, fault.rawValue)
        set(Self.errorDetails, details)
    }

    /// All labels, in no order.
    var pairs: [(name: String, value: String)] {
        if !hasOwnLabels { return base }
        return base.filter { pair in !lost.contains(pair.name) && !own.contains { $0.name == pair.name } } + own
    }

    var labels: Labels { Labels(pairs) }
}

/// A name that a label may have, of any text: what is not a letter, a digit or `_` becomes `_`.
func labelName(_ text: some StringProtocol) -> String {
    var bytes: [UInt8] = []
    for scalar in text.unicodeScalars {
        let isPlain = scalar == "_" || scalar.isASCII && scalar.properties.isAlphabetic || ("0"..."9").contains(scalar)
        if bytes.isEmpty, ("0"..."9").contains(scalar) { bytes.append(UInt8(ascii: "_")) }
        bytes.append(isPlain ? UInt8(truncatingIfNeeded: scalar.value) : UInt8(ascii: "_"))
    }
    return String(decoding: bytes, as: UTF8.self)
}
