/// Any JSON value, with the order of an object's members kept as they were written.
///
/// Everything that crosses a wire in vagus passes through this type once: a manifest read from YAML, the body of a
/// request, a column of free JSON. Numbers that are whole stay whole.
public enum JSONValue: Sendable, Hashable {
    case null
    case bool(Bool)
    case integer(Int64)
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object(Ordered<JSONValue>)
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByFloatLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    public init(stringLiteral value: String) { self = .string(value) }
    public init(integerLiteral value: Int64) { self = .integer(value) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(floatLiteral value: Double) { self = .number(value) }
    public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    public init(dictionaryLiteral elements: (String, JSONValue)...) {
        self = .object(Ordered(elements.map { ($0.0, $0.1) }))
    }
}

extension JSONValue {
    /// The member called `key`, or nil when this is no object or has none.
    public subscript(key: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        return members[key]
    }

    public subscript(index: Int) -> JSONValue? {
        guard case .array(let items) = self, items.indices.contains(index) else { return nil }
        return items[index]
    }

    public var isNull: Bool { self == .null }

    public var string: String? {
        guard case .string(let text) = self else { return nil }
        return text
    }

    public var bool: Bool? {
        guard case .bool(let value) = self else { return nil }
        return value
    }

    /// The value as a floating-point number, from a number of either form.
    public var double: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .number(let value): value
        default: nil
        }
    }

    /// The value as a whole number; 3.0 counts, 3.5 does not.
    public var int: Int? {
        switch self {
        case .integer(let value): Int(value)
        case .number(let value): Int(exactly: value)
        default: nil
        }
    }

    public var array: [JSONValue]? {
        guard case .array(let items) = self else { return nil }
        return items
    }

    public var object: Ordered<JSONValue>? {
        guard case .object(let members) = self else { return nil }
        return members
    }

    /// What kind of value this is, in the words of an error message.
    public var kindName: String {
        switch self {
        case .null: "nothing"
        case .bool: "true or false"
        case .integer: "a whole number"
        case .number: "a number"
        case .string: "text"
        case .array: "a list"
        case .object: "a map"
        }
    }
}

/// A dictionary that keeps the order in which its keys were first written.
public struct Ordered<Value: Sendable>: Sendable {
    public private(set) var keys: [String] = []
    private var stored: [String: Value] = [:]

    public init() {}

    /// Later pairs replace earlier ones of the same key, in the earlier one's place.
    public init(_ pairs: [(String, Value)]) {
        for (key, value) in pairs { self[key] = value }
    }

    public var count: Int { keys.count }
    public var isEmpty: Bool { keys.isEmpty }
    public var values: [Value] { keys.compactMap { stored[$0] } }

    public subscript(key: String) -> Value? {
        get { stored[key] }
        set {
            if let newValue {
                if stored.updateValue(newValue, forKey: key) == nil { keys.append(key) }
            } else if stored.removeValue(forKey: key) != nil {
                keys.removeAll { $0 == key }
            }
        }
    }

    public func map<T: Sendable>(_ transform: (Value) throws -> T) rethrows -> Ordered<T> {
        var result = Ordered<T>()
        for (key, value) in self { result[key] = try transform(value) }
        return result
    }
}

extension Ordered: Sequence {
    public func makeIterator() -> AnyIterator<(key: String, value: Value)> {
        var index = 0
        return AnyIterator {
            guard index < keys.count else { return nil }
            defer { index += 1 }
            let key = keys[index]
            return stored[key].map { (key: key, value: $0) }
        }
    }
}

extension Ordered: Equatable where Value: Equatable {
    /// Order is for people: two maps with the same members are equal.
    public static func == (left: Self, right: Self) -> Bool { left.stored == right.stored }
}

extension Ordered: Hashable where Value: Hashable {
    public func hash(into hasher: inout Hasher) { hasher.combine(stored) }
}

extension Ordered: ExpressibleByDictionaryLiteral {
    public init(dictionaryLiteral elements: (String, Value)...) {
        for (key, value) in elements { self[key] = value }
    }
}
