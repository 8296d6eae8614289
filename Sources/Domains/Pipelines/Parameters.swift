import API
import Manifests

/// Reads what was given to a run against what its pipeline declares.
enum Parameters {
    /// Bytes of one value.
    static let sizeLimit = 64 << 10

    /// Every declared parameter with its value.
    ///
    /// - Throws: `Problem` for an unknown name, a value of another type, or a missing one.
    static func read(_ given: Ordered<JSONValue>, for spec: PipelineSpec) throws(Problem) -> Ordered<JSONValue> {
        let known = spec.parameters.keys
        for name in given.keys where spec.parameters[name] == nil {
            throw Problem(
                "parameter.unknown", status: 422, "the pipeline has no parameter \"\(name)\"",
                hint: suggestion(for: name, among: known, called: "parameter"), location: "parameters.\(name)")
        }
        var values = Ordered<JSONValue>()
        for (name, declared) in spec.parameters {
            if let value = given[name] {
                let typed = try coerce(value, to: declared.type, name: name)
                try declared.hold(typed, name: name)
                values[name] = typed
            } else if let value = declared.default {
                values[name] = try coerce(value, to: declared.type, name: name)
            } else if !declared.required {
                values[name] = .null
            } else {
                throw Problem(
                    "parameter.missing", status: 422, "the parameter \"\(name)\" must be given",
                    hint: "Add: -p \(name)=VALUE", location: "parameters.\(name)")
            }
        }
        return values
    }

    /// The value in its declared type; text that spells one is taken, as the command line knows nothing but text.
    static func coerce(
        _ value: JSONValue, to type: ParameterSpec.ValueType, name: String
    ) throws(Problem) -> JSONValue {
        switch (type, value) {
        case (.string, .string(let text)) where text.utf8.count <= sizeLimit: return value
        case (.string, .integer), (.string, .number), (.string, .bool): return .string(value.text)
        case (.int, .string(let text)):
            if let whole = Int64(text) { return .integer(whole) }
        case (.int, _):
            if let whole = value.int { return .integer(Int64(whole)) }
        case (.number, .string(let text)):
            if let number = Double(text), number.isFinite { return .number(number) }
        case (.number, _):
            if let number = value.double, number.isFinite { return value }
        case (.bool, .bool): return value
        case (.bool, .string("true")): return true
        case (.bool, .string("false")): return false
        default: break
        }
        throw Problem(
            "parameter.type", status: 422, "the parameter \"\(name)\" must be of type \(type.rawValue)",
            hint: "It was given as: \(value.text.prefix(80))", location: "parameters.\(name)")
    }
}
