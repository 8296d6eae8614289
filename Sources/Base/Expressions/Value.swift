import Foundation
package import Manifests

/// A value that an expression reads or yields.
package enum Value: Sendable, Equatable {
    case null
    case bool(Bool)
    case number(Double)
    case string(String)
    case array([Value])
    /// Its members, in the order in which they came.
    case object(Ordered<Value>)

    /// Whether an `if:` holds for it: all but null, false, 0, NaN and the empty text.
    package var isTruthy: Bool {
        switch self {
        case .null: false
        case .bool(let flag): flag
        case .number(let number): !(number == 0 || number.isNaN)
        case .string(let text): !text.isEmpty
        case .array, .object: true
        }
    }

    /// The text that stands for it in a template; null is empty, an array is `Array`, an object `Object`.
    package var text: String {
        switch self {
        case .null: ""
        case .bool(let flag): flag ? "true" : "false"
        case .number(let number): Self.text(of: number)
        case .string(let text): text
        case .array: "Array"
        case .object: "Object"
        }
    }

    /// The number that loose comparison sees: text is parsed, null is 0, what is no number is NaN.
    package var number: Double {
        switch self {
        case .null: 0
        case .bool(let flag): flag ? 1 : 0
        case .number(let number): number
        case .string(let text): Self.number(in: text)
        case .array, .object: .nan
        }
    }

    /// Whether it is neither an array nor an object.
    var isPrimitive: Bool {
        switch self {
        case .array, .object: false
        default: true
        }
    }

    /// Reads a member by name, whatever its case; an exact match comes first.
    package func member(_ name: String) -> Value? { key(of: name).flatMap { key in members?[key] } }

    /// The name that a member really has; nil when there is none.
    func key(of name: String) -> String? {
        guard let members else { return nil }
        if members[name] != nil { return name }
        let folded = name.caseFolded
        return members.keys.filter { $0.caseFolded == folded }.min()
    }

    private var members: Ordered<Value>? {
        guard case .object(let members) = self else { return nil }
        return members
    }

    /// Fifteen significant digits, as .NET's `G15`, which GitHub's runner uses.
    private static func text(of number: Double) -> String {
        if number == 0 { return number.sign == .minus ? "-0" : "0" }
        if number.isNaN { return "NaN" }
        if number.isInfinite { return number < 0 ? "-Infinity" : "Infinity" }
        return String(format: "%.15g", number).uppercased()
    }

    /// Numbers as GitHub documents them for conversion: decimal, exponent, `0x`, `0o`; empty text is 0.
    static func number(in text: String) -> Double {
        let text = text.trimmingCharacters(in: .whitespacesAndNewlines)
        if text.isEmpty { return 0 }
        for (prefix, radix) in [("0x", 16), ("0o", 8)] where text.hasPrefix(prefix) {
            let digits = text.dropFirst(2)
            guard digits.first?.isHexDigit == true else { return .nan }
            return UInt32(digits, radix: radix).map { Double(Int32(bitPattern: $0)) } ?? .nan
        }
        // .NET reads these words whatever their case.
        switch text.lowercased() {
        case "infinity", "+infinity": return .infinity
        case "-infinity": return -.infinity
        default: break
        }
        // `Double(_:)` also reads "inf", "nan" and hexadecimal fractions, which are no numbers here.
        let allowed = text.utf8.allSatisfy {
            (0x30...0x39).contains($0) || [0x2B, 0x2D, 0x2E, 0x45, 0x65].contains($0)
        }
        return allowed ? Double(text) ?? .nan : .nan
    }
}

// MARK: - Comparison

extension Value {
    /// Loose equality: equal kinds compare as such, text without regard to case; other kinds compare as numbers.
    ///
    /// Arrays and objects are never equal here: GitHub asks for the same instance, which only the evaluator can tell
    /// (`Origin`).
    func isLooselyEqual(to other: Value) -> Bool {
        switch (self, other) {
        case (.null, .null): true
        case (.bool(let left), .bool(let right)): left == right
        case (.string(let left), .string(let right)): left.caseFolded == right.caseFolded
        case (.array, .array), (.object, .object): false
        default: number == other.number
        }
    }

    /// Loose order: text by code unit without regard to case, other kinds as numbers; NaN is in no order.
    func isLooselyLess(than other: Value) -> Bool {
        switch (self, other) {
        case (.string(let left), .string(let right)):
            left.caseFolded.utf16.lexicographicallyPrecedes(right.caseFolded.utf16)
        case (.null, .null), (.array, .array), (.object, .object): false
        default: number < other.number
        }
    }
}

extension String {
    /// Upper case, one scalar for one scalar, so that lengths and order stay as GitHub's ordinal comparison has them.
    var caseFolded: String {
        if utf8.allSatisfy({ $0 < 0x80 }) { return uppercased() }
        var folded = String.UnicodeScalarView()
        for scalar in unicodeScalars {
            let upper = scalar.properties.uppercaseMapping.unicodeScalars
            folded.append(upper.count == 1 ? upper[upper.startIndex] : scalar)
        }
        return String(folded)
    }
}
