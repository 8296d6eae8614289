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

    public var isNull: Bool {
        if case .null = self { true } else { false }
    }

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
///
/// Most have a handful of members, and those are found quickest by looking at one after the other: an index is made only
/// for more.
@frozen
public struct Ordered<Value: Sendable>: Sendable {
    // Inlinable throughout: what is generic and used by all others is slow unless they see its insides.
    @usableFromInline var names: [String]
    @usableFromInline var stored: [Value]
    /// Positions by key, once there are more than `scanned`.
    @usableFromInline var index: [String: Int]
    @usableFromInline static var scanned: Int { 12 }

    @inlinable public init() { (names, stored, index) = ([], [], [:]) }

    /// In the order in which they were first written.
    @inlinable public var keys: [String] { names }
    /// The values of the keys, in their order.
    @inlinable public var values: [Value] { stored }

    /// Later pairs replace earlier ones of the same key, in the earlier one's place.
    @inlinable public init(_ pairs: [(String, Value)]) {
        self.init()
        names.reserveCapacity(pairs.count)
        stored.reserveCapacity(pairs.count)
        for (key, value) in pairs { self[key] = value }
    }

    @inlinable public var count: Int { names.count }
    @inlinable public var isEmpty: Bool { names.isEmpty }

    @inlinable func position(of key: String) -> Int? {
        names.count > Self.scanned ? index[key] : names.firstIndex(of: key)
    }

    @inlinable public subscript(key: String) -> Value? {
        get { position(of: key).map { stored[$0] } }
        set {
            // No switch over both: what is generic makes a type of each pair that it sees.
            let position = position(of: key)
            if let value = newValue {
                if let position { stored[position] = value } else { append(key, value) }
            } else if let position {
                names.remove(at: position)
                stored.remove(at: position)
                makeIndex()
            }
        }
    }

    @inlinable public func has(_ key: String) -> Bool { position(of: key) != nil }

    /// Adds a member whose key is not there yet.
    @inlinable mutating func append(_ key: String, _ value: Value) {
        names.append(key)
        stored.append(value)
        if names.count == Self.scanned + 1 {
            makeIndex()
        } else if names.count > Self.scanned {
            index[key] = names.count - 1
        }
    }

    @inlinable mutating func makeIndex() {
        index = [:]
        guard names.count > Self.scanned else { return }
        for (position, key) in names.enumerated() { index[key] = position }
    }

    @inlinable public func map<T: Sendable>(_ transform: (Value) throws -> T) rethrows -> Ordered<T> {
        var result = Ordered<T>()
        for position in names.indices { result.append(names[position], try transform(stored[position])) }
        return result
    }
}

extension Ordered: Sequence {
    @frozen
    public struct Iterator: IteratorProtocol {
        @usableFromInline let members: Ordered
        @usableFromInline var position = 0

        @inlinable init(_ members: Ordered) { self.members = members }

        @inlinable public mutating func next() -> (key: String, value: Value)? {
            guard position < members.names.count else { return nil }
            defer { position += 1 }
            return (members.names[position], members.stored[position])
        }
    }

    @inlinable public func makeIterator() -> Iterator { Iterator(self) }
}

extension Ordered: Equatable where Value: Equatable {
    /// Order is for people: two maps with the same members are equal.
    public static func == (left: Self, right: Self) -> Bool {
        if left.keys == right.keys { return left.values == right.values }
        return left.count == right.count && left.allSatisfy { right[$0.key] == $0.value }
    }
}

extension Ordered: Hashable where Value: Hashable {
    public func hash(into hasher: inout Hasher) {
        // Whatever their order: equal maps have equal hashes.
        var sum = 0
        for (key, value) in self {
            var member = Hasher()
            member.combine(key)
            member.combine(value)
            sum &+= member.finalize()
        }
        hasher.combine(sum)
    }
}

extension Ordered: ExpressibleByDictionaryLiteral {
    public init(dictionaryLiteral elements: (String, Value)...) {
        self.init()
        for (key, value) in elements { self[key] = value }
    }
}
