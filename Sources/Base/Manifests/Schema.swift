/// The part of JSON Schema (draft 2020-12) that vagus writes.
public struct Schema: Sendable {
    public var type: String
    public var title: String?
    public var description: String?
    public var cases: [String] = []
    public var pattern: String?
    public var range: ClosedRange<Double>?
    public var defaultValue: JSONValue?
    public var properties: [(name: String, schema: Schema)] = []
    public var required: [String] = []
    /// Exactly one of these properties must be there.
    public var exactlyOne: [String] = []
    /// Items of an array, or nil.
    public var items: [Schema] = []
    /// Values of a free map, or nil when `properties` are all there is.
    public var values: [Schema] = []
    /// Other forms that the value may take.
    public var alternatives: [Schema] = []

    public init(type: String, description: String? = nil) {
        self.type = type
        self.description = description
    }

    /// The schema as JSON.
    public var json: JSONValue {
        var out = Ordered<JSONValue>()
        if let title { out["title"] = .string(title) }
        if let description { out["description"] = .string(description) }
        if !alternatives.isEmpty {
            out["anyOf"] = .array(alternatives.map(\.json))
            return .object(out)
        }
        if type != "any" { out["type"] = .string(type) }
        if !cases.isEmpty { out["enum"] = .array(cases.map(JSONValue.string)) }
        if let pattern { out["pattern"] = .string(pattern) }
        if let range {
            out["minimum"] = Self.number(range.lowerBound)
            if range.upperBound.isFinite { out["maximum"] = Self.number(range.upperBound) }
        }
        if let defaultValue { out["default"] = defaultValue }
        if let item = items.first { out["items"] = item.json }
        if type == "object" { writeObject(to: &out) }
        return .object(out)
    }

    private func writeObject(to out: inout Ordered<JSONValue>) {
        if let value = values.first {
            out["additionalProperties"] = value.json
            return
        }
        out["properties"] = .object(Ordered(properties.map { ($0.name, $0.schema.json) }))
        if !required.isEmpty { out["required"] = .array(required.map(JSONValue.string)) }
        if !exactlyOne.isEmpty { out["oneOf"] = .array(exactlyOne.map { ["required": [.string($0)]] }) }
        out["additionalProperties"] = false
    }

    private static func number(_ value: Double) -> JSONValue {
        Int64(exactly: value).map(JSONValue.integer) ?? .number(value)
    }

    /// What the field takes, in few words, for `vagus explain` and the reference page.
    public var shortType: String {
        if !alternatives.isEmpty { return alternatives.map(\.shortType).joined(separator: " or ") }
        if !cases.isEmpty { return cases.joined(separator: " | ") }
        if let item = items.first { return "list of \(item.shortType)" }
        if let value = values.first { return "map of \(value.shortType)" }
        return type == "object" ? (title ?? "map") : (title ?? type)
    }
}
