/// A type that can stand in a field of a ``Manifest``.
public protocol WireValue: Sendable, Equatable {
    static var schema: Schema { get }
    /// - Parameter path: Where in the document the value stands, for messages.
    init(json: JSONValue, at path: [String]) throws(ManifestError)
    var json: JSONValue { get }
}

extension String: WireValue {
    public static var schema: Schema { Schema(type: "string") }
    /// Numbers written without quotes are taken as their text: `version: 6` is "6".
    public init(json: JSONValue, at path: [String]) throws(ManifestError) {
        switch json {
        case .string(let text): self = text
        case .integer(let number): self = String(number)
        case .number(let number): self = "\(number)"
        default: throw .expected("text", at: path, found: json)
        }
    }
    public var json: JSONValue { .string(self) }
}

extension Bool: WireValue {
    public static var schema: Schema { Schema(type: "boolean") }
    public init(json: JSONValue, at path: [String]) throws(ManifestError) {
        guard case .bool(let value) = json else { throw .expected("true or false", at: path, found: json) }
        self = value
    }
    public var json: JSONValue { .bool(self) }
}

extension Int: WireValue {
    public static var schema: Schema { Schema(type: "integer") }
    public init(json: JSONValue, at path: [String]) throws(ManifestError) {
        if let number = json.int {
            self = number
        } else if let text = json.string, let number = Int(text) {
            self = number
        } else {
            throw .expected("a whole number", at: path, found: json)
        }
    }
    public var json: JSONValue { .integer(Int64(self)) }
}

extension Int64: WireValue {
    public static var schema: Schema { Schema(type: "integer") }
    public init(json: JSONValue, at path: [String]) throws(ManifestError) {
        self = Int64(try Int(json: json, at: path))
    }
    public var json: JSONValue { .integer(self) }
}

extension Double: WireValue {
    public static var schema: Schema { Schema(type: "number") }
    public init(json: JSONValue, at path: [String]) throws(ManifestError) {
        if let number = json.double {
            self = number
        } else {
            switch json.string {
            case "NaN": self = .nan
            case "Infinity": self = .infinity
            case "-Infinity": self = -.infinity
            case let text?:
                guard let number = Double(text) else { throw .expected("a number", at: path, found: json) }
                self = number
            case nil: throw .expected("a number", at: path, found: json)
            }
        }
    }
    public var json: JSONValue { .number(self) }
}

extension JSONValue: WireValue {
    public static var schema: Schema { Schema(type: "any") }
    public init(json: JSONValue, at path: [String]) { self = json }
    public var json: JSONValue { self }
}

extension Array: WireValue where Element: WireValue {
    public static var schema: Schema {
        var schema = Schema(type: "array")
        schema.items = [Element.schema]
        return schema
    }
    public init(json: JSONValue, at path: [String]) throws(ManifestError) {
        guard case .array(let items) = json else { throw .expected("a list", at: path, found: json) }
        self = []
        reserveCapacity(items.count)
        for index in items.indices {
            // Its place is put into words only when something is wrong there.
            do throws(ManifestError) { append(try Element(json: items[index], at: [])) } catch {
                throw error.below(path + ["\(index)"])
            }
        }
    }
    public var json: JSONValue { .array(written) }

    /// Where the items are in memory: to copy one costs more than to look at it.
    fileprivate var written: [JSONValue] {
        var written: [JSONValue] = []
        written.reserveCapacity(count)
        withUnsafeBufferPointer { items in
            for position in items.indices { written.append(items[position].json) }
        }
        return written
    }
}

extension Ordered: WireValue where Value: WireValue {
    public static var schema: Schema {
        var schema = Schema(type: "object")
        schema.values = [Value.schema]
        return schema
    }
    public init(json: JSONValue, at path: [String]) throws(ManifestError) {
        guard case .object(let members) = json else { throw .expected("a map", at: path, found: json) }
        self.init()
        let (keys, values) = (members.keys, members.values)
        for position in keys.indices {
            do throws(ManifestError) { append(keys[position], try Value(json: values[position], at: [])) } catch {
                throw error.below(path + [keys[position]])
            }
        }
    }
    public var json: JSONValue {
        var members = Ordered<JSONValue>()
        (members.names, members.index, members.stored) = (names, index, stored.written)
        return .object(members)
    }
}

extension Optional: WireValue where Wrapped: WireValue {
    public static var schema: Schema { Wrapped.schema }
    public init(json: JSONValue, at path: [String]) throws(ManifestError) {
        self = json == .null ? nil : try Wrapped(json: json, at: path)
    }
    public var json: JSONValue { self?.json ?? .null }
}

/// A closed set of words, spelled in snake_case on the wire.
public protocol WireEnum: WireValue, CaseIterable, RawRepresentable, Codable where RawValue == String {}

extension WireEnum {
    public static var schema: Schema {
        var schema = Schema(type: "string")
        schema.cases = allCases.map(\.rawValue)
        return schema
    }
    public init(json: JSONValue, at path: [String]) throws(ManifestError) {
        guard case .string(let text) = json else {
            let names = Self.allCases.map(\.rawValue).joined(separator: ", ")
            throw .expected("one of \(names)", at: path, found: json)
        }
        guard let value = Self(rawValue: text) else {
            throw ManifestError(
                at: path, message: "\"\(text)\" is not a value of \"\(path.last ?? "this field")\"",
                hint: suggestion(for: text, among: Self.allCases.map(\.rawValue), called: "value"))
        }
        self = value
    }
    public var json: JSONValue { .string(rawValue) }
}

extension ManifestError {
    public static func expected(_ what: String, at path: [String], found json: JSONValue) -> ManifestError {
        let text = json.text
        let shown = text.count > 40 ? String(text.prefix(40)) + "…" : text
        return ManifestError(
            at: path, message: "\"\(path.last ?? "value")\" must be \(what), not \(json.kindName)",
            hint: "It says: \(shown)")
    }
}

extension JSONValue: Codable {
    public init(from decoder: any Decoder) throws {
        if let keyed = try? decoder.container(keyedBy: AnyKey.self) {  // asks whether it is an object
            var members = Ordered<JSONValue>()
            for key in keyed.allKeys { members[key.stringValue] = try keyed.decode(JSONValue.self, forKey: key) }
            self = .object(members)
        } else if var list = try? decoder.unkeyedContainer() {  // asks whether it is an array
            var items: [JSONValue] = []
            while !list.isAtEnd { items.append(try list.decode(JSONValue.self)) }
            self = .array(items)
        } else {
            self = try Self(single: decoder.singleValueContainer())
        }
    }

    private init(single value: any SingleValueDecodingContainer) throws {
        if value.decodeNil() {
            self = .null
        } else if let bool = try? value.decode(Bool.self) {  // asks whether it is one
            self = .bool(bool)
        } else if let whole = try? value.decode(Int64.self) {  // asks whether it is one
            self = .integer(whole)
        } else if let number = try? value.decode(Double.self) {  // asks whether it is one
            self = .number(number)
        } else {
            self = .string(try value.decode(String.self))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        switch self {
        case .array(let items):
            var list = encoder.unkeyedContainer()
            for item in items { try list.encode(item) }
        case .object(let members):
            var keyed = encoder.container(keyedBy: AnyKey.self)
            for (key, value) in members { try keyed.encode(value, forKey: AnyKey(stringValue: key)) }
        default:
            var single = encoder.singleValueContainer()
            switch self {
            case .bool(let value): try single.encode(value)
            case .integer(let value): try single.encode(value)
            case .number(let value): try single.encode(value)
            case .string(let value): try single.encode(value)
            default: try single.encodeNil()
            }
        }
    }
}

private struct AnyKey: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
}
