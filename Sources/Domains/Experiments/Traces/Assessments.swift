import API
import Manifests
import SQL

/// What somebody, or something, said of a trace or of one of its spans: a judgement, what should have come out, or an issue it shows.
struct StoredAssessment: Sendable {
    enum Kind: String, Sendable {
        case feedback, expectation, issue
    }

    var id: String
    var trace: String
    var name: String
    var kind: Kind
    /// Of an issue its name.
    var value: JSONValue
    /// Why there is no judgement: `error_code`, `error_message`, `stack_trace`.
    var error: JSONValue?
    /// Milliseconds since 1970.
    var created: Int64
    var updated: Int64
    var sourceType: String
    var source: String?
    var span: String?
    var rationale: String?
    /// The judgement that this one takes the place of, which is valid no longer.
    var overrides: String?
    var isValid = true
    var metadata: Ordered<JSONValue> = [:]

}

extension StoredAssessment {
    static let sourceTypes = ["SOURCE_TYPE_UNSPECIFIED", "HUMAN", "LLM_JUDGE", "CODE"]
    private static let format = "JSON_FORMAT"
    /// Characters of a stack trace; of more the last are kept, as in MLflow.
    private static let stackLength = 10_000
    private static let cutMark = "[earlier calls are left out]\n"

    // MARK: As it comes

    /// Reads an assessment of a request.
    ///
    /// - Parameter id: Its id, unless it brings one.
    init(_ json: JSONValue, of trace: String, id: String, at now: Int64) throws(MLflowError) {
        let told = json["assessment_id"]?.string ?? ""
        self.id = told.isEmpty ? id : told
        self.trace = trace
        name = json["assessment_name"]?.string ?? ""
        (kind, value, error) = try Self.value(in: json)
        sourceType = try Self.sourceType(json["source"]?["source_type"])
        source = Self.text(json["source"]?["source_id"])
        created = try Self.time(json, "create_time") ?? now
        updated = try Self.time(json, "last_update_time") ?? now
        span = Self.text(json["span_id"])
        if kind != .expectation { rationale = Self.text(json["rationale"]) }
        if kind == .feedback { overrides = Self.text(json["overrides"]) }
        metadata = try Self.metadata(json["metadata"])
    }

    private static func text(_ value: JSONValue?) -> String? { value?.string.flatMap { $0.isEmpty ? nil : $0 } }

    private static func sourceType(_ value: JSONValue?) throws(MLflowError) -> String {
        switch MLflowInput.present(value) {
        case nil: return sourceTypes[0]
        case .string(let name)? where sourceTypes.contains(name): return name
        case .integer(let number)? where sourceTypes.indices.contains(Int(clamping: number)):
            return sourceTypes[Int(number)]
        case let other?: throw .wrong("assessment.source.source_type", other)
        }
    }

    private static func time(_ json: JSONValue, _ name: String) throws(MLflowError) -> Int64? {
        guard let value = MLflowInput.present(json[name]) else { return nil }
        guard let time = value.string.flatMap({ Timestamp($0) }) else { throw .wrong("assessment.\(name)", value) }
        return time.microseconds / 1000
    }

    static func metadata(_ value: JSONValue?) throws(MLflowError) -> Ordered<JSONValue> {
        guard let value = MLflowInput.present(value) else { return [:] }
        guard let members = value.object else { throw .wrong("assessment.metadata", value) }
        for (_, member) in members where member.string == nil { throw .wrong("assessment.metadata", member) }
        return members
    }

    /// Which kind it is, by the one member that is there.
    private static func value(in json: JSONValue) throws(MLflowError) -> (Kind, JSONValue, JSONValue?) {
        if let feedback = MLflowInput.present(json["feedback"]) {
            let (value, error) = self.feedback(feedback)
            return (.feedback, value, error)
        }
        if let expected = MLflowInput.present(json["expectation"]) {
            return (.expectation, try expectation(expected), nil)
        }
        if let issue = MLflowInput.present(json["issue"]) {
            return (.issue, ["issue_name": .string(issue["issue_name"]?.string ?? "")], nil)
        }
        throw .invalid("Unknown assessment type: None")
    }

    static func feedback(_ json: JSONValue) -> (value: JSONValue, error: JSONValue?) {
        var error: Ordered<JSONValue>?
        if let told = MLflowInput.present(json["error"]) {
            error = ["error_code": .string(told["error_code"]?.string ?? "")]
            if let message = text(told["error_message"]) { error?["error_message"] = .string(message) }
            if let stack = text(told["stack_trace"]) {
                let isLong = stack.unicodeScalars.count > stackLength
                let kept = String(String.UnicodeScalarView(stack.unicodeScalars.suffix(stackLength - cutMark.count)))
                error?["stack_trace"] = .string(isLong ? cutMark + kept : stack)
            }
        }
        return (json["value"] ?? .null, error.map { .object($0) })
    }

    static func expectation(_ json: JSONValue) throws(MLflowError) -> JSONValue {
        var value = json["value"] ?? .null
        if let packed = MLflowInput.present(json["serialized_value"]) {
            let told = packed["serialization_format"]?.string ?? ""
            guard told == format else {
                throw .invalid("Unknown serialization format: \(told). Only \(format) is supported.")
            }
            guard let read = try? JSONParser.parse(packed["value"]?.string ?? "") else {  // told as unreadable
                throw .invalid("The serialized value of an expectation must be JSON.")
            }
            value = read
        }
        guard !value.isNull else { throw .invalid("The `value` field must be specified.") }
        return value
    }

    // MARK: As it is shown

    var json: JSONValue {
        var json: Ordered<JSONValue> = [
            "assessment_id": .string(id), "assessment_name": .string(name), "trace_id": .string(trace),
        ]
        if let span { json["span_id"] = .string(span) }
        var from: Ordered<JSONValue> = ["source_type": .string(sourceType)]
        if let source { from["source_id"] = .string(source) }
        json["source"] = .object(from)
        json["create_time"] = .string(Timestamp(milliseconds: created).description)
        json["last_update_time"] = .string(Timestamp(milliseconds: updated).description)
        json[kind.rawValue] = shown
        if let rationale { json["rationale"] = .string(rationale) }
        if !metadata.isEmpty { json["metadata"] = .object(metadata) }
        if let overrides { json["overrides"] = .string(overrides) }
        json["valid"] = .bool(isValid)
        return .object(json)
    }

    private var shown: JSONValue {
        switch (kind, value) {
        case (.issue, _): return value
        case (.feedback, _):
            var json: Ordered<JSONValue> = ["value": value]
            if let error { json["error"] = error }
            return .object(json)
        case (.expectation, .array), (.expectation, .object):
            return ["serialized_value": ["serialization_format": .string(Self.format), "value": .string(value.text)]]
        case (.expectation, _): return ["value": value]
        }
    }

    // MARK: As it is searched

    /// The value as a filter names it: a text without its quotes, all else as it stands in JSON.
    var text: String { value.string ?? value.text }

    /// Its number, when it is one.
    var number: Double? {
        guard let number = value.double, number.isFinite else { return nil }
        return number
    }

    /// What metrics of assessments reckon with.
    var aggregate: Double? {
        switch value {
        case .bool(let truth): truth ? 1 : 0
        case .string(let text):
            switch text.lowercased().trimmed {
            case "yes": 1
            case "no": 0
            default: nil
            }
        default: number
        }
    }
}

extension String {
    /// Without the white space around it.
    fileprivate var trimmed: String {
        let start = drop(while: \.isWhitespace)
        guard let end = start.lastIndex(where: { !$0.isWhitespace }) else { return "" }
        return String(start[...end])
    }
}

extension Connection {
    private static let columns: StaticString =
        """
        id, trace, name, kind, value, error, created, updated, source_type, source, span, rationale, overrides, is_valid, metadata
        """

    private func read(_ row: Row) throws -> StoredAssessment {
        func json(_ position: Int) throws -> JSONValue? {
            try row.get(position, as: String?.self).map { try JSONParser.parse($0) }
        }
        return StoredAssessment(
            id: try row.get(0), trace: try row.get(1), name: try row.get(2),
            kind: StoredAssessment.Kind(rawValue: try row.get(3)) ?? .feedback, value: try json(4) ?? .null,
            error: try json(5), created: try row.get(6), updated: try row.get(7), sourceType: try row.get(8),
            source: try row.get(9), span: try row.get(10), rationale: try row.get(11), overrides: try row.get(12),
            isValid: try row.get(13), metadata: try json(14)?.object ?? [:])
    }

    func assessments(of trace: String) throws -> [StoredAssessment] {
        try rows("SELECT \(raw: Self.columns) FROM assessment WHERE trace = \(trace) ORDER BY created, id").map(read)
    }

    func assessment(_ id: String, of trace: String) throws -> StoredAssessment? {
        try row("SELECT \(raw: Self.columns) FROM assessment WHERE id = \(id) AND trace = \(trace)").map(read)
    }

    /// Whether there was none of this id.
    func insert(_ assessment: StoredAssessment) throws -> Bool {
        try run(
            """
            INSERT INTO assessment (id, trace, name, kind, value, text, number, aggregate, error, created, updated,
                source_type, source, span, rationale, overrides, is_valid, metadata)
            VALUES (\(assessment.id), \(assessment.trace), \(assessment.name), \(assessment.kind.rawValue),
                \(assessment.value.text), \(assessment.text), \(assessment.number.sqlValue),
                \(assessment.aggregate.sqlValue), \((assessment.error?.text).sqlValue), \(assessment.created),
                \(assessment.updated), \(assessment.sourceType), \(assessment.source.sqlValue),
                \(assessment.span.sqlValue), \(assessment.rationale.sqlValue), \(assessment.overrides.sqlValue),
                \(assessment.isValid), \(JSONValue.object(assessment.metadata).text))
            ON CONFLICT (id) DO NOTHING
            """) > 0
    }

    /// Writes what may change of an assessment.
    func update(_ assessment: StoredAssessment) throws {
        try run(
            """
            UPDATE assessment SET name = \(assessment.name), value = \(assessment.value.text), text = \(assessment.text),
                number = \(assessment.number.sqlValue), aggregate = \(assessment.aggregate.sqlValue),
                error = \((assessment.error?.text).sqlValue), updated = \(assessment.updated),
                rationale = \(assessment.rationale.sqlValue),
                metadata = \(JSONValue.object(assessment.metadata).text)
            WHERE id = \(assessment.id)
            """)
    }

    /// Whether the trace has such an assessment.
    func mark(assessment id: String, of trace: String, isValid: Bool) throws -> Bool {
        try run("UPDATE assessment SET is_valid = \(isValid) WHERE id = \(id) AND trace = \(trace)") > 0
    }

    func deleteAssessment(_ id: String) throws { try run("DELETE FROM assessment WHERE id = \(id)") }
}
