package import Manifests

/// One cell of a raw row, as a caller of a served model sends it.
package enum RawValue: Sendable, Equatable {
    case number(Double)
    case text(String)
    case bool(Bool)
    case missing

    /// What kind of value this is, in the words of an error message.
    var kindName: String {
        switch self {
        case .number: "a number"
        case .text: "text"
        case .bool: "true or false"
        case .missing: "nothing"
        }
    }

    /// The name of the level a value of a category stands for; nil is missing.
    ///
    /// A whole number has no fraction, so that 3 and "3" are one level whether they came from CSV or JSON.
    var level: String? {
        switch self {
        case .number(let value): value.isNaN ? nil : Self.level(of: value)
        case .text(let text): text
        case .bool(let value): value ? "true" : "false"
        case .missing: nil
        }
    }

    static func level(of number: Double) -> String { Int64(exactly: number).map(String.init) ?? "\(number)" }
}

extension RawValue: WireValue {
    package static var schema: Schema { Schema(type: "any") }

    package init(json: JSONValue, at path: [String]) throws(ManifestError) {
        switch json {
        case .null: self = .missing
        case .bool(let value): self = .bool(value)
        case .integer(let value): self = .number(Double(value))
        case .number(let value): self = .number(value)
        case .string(let text): self = .text(text)
        case .array, .object:
            throw ManifestError(
                at: path, message: "\"\(path.last ?? "value")\" must be one value, not \(json.kindName)",
                hint: "Write a number, a text, true, false or null.")
        }
    }

    package var json: JSONValue {
        switch self {
        case .number(let value): .number(value)
        case .text(let text): .string(text)
        case .bool(let value): .bool(value)
        case .missing: .null
        }
    }
}
