/// What stands between a binary operator and its right side.
struct BinaryModifiers {
    var returnsBool = false
    var matching = BinaryOperation.Matching()
    var hasMatching = false
}

/// Whether parts that were read fit together.
extension Parser {
    mutating func parse(_ modifiers: inout BinaryModifiers) throws(PromQLError) {
        modifiers.returnsBool = take(keyword: "bool")
        guard let word = keyword, word == "on" || word == "ignoring" else { return }
        // `on` is no name of a metric, so it can only be the clause.
        advance()
        modifiers.hasMatching = true
        modifiers.matching.isOn = word == "on"
        modifiers.matching.labels = try groupingLabels()
        guard let side = keyword, side == "group_left" || side == "group_right" else { return }
        advance()
        modifiers.matching.cardinality = side == "group_left" ? .manyToOne : .oneToMany
        if current.isSymbol("(") { modifiers.matching.included = try groupingLabels() }
    }

    func expectType(_ expression: Expression, _ wanted: ValueType, _ context: String) throws(PromQLError) {
        if expression.type == wanted { return }
        throw failure(
            "expected type \(wanted.rawValue) in \(context), got \(expression.type.rawValue)", at: expression.range,
            .type)
    }

    func check(_ function: Function, _ arguments: [Expression], at range: Range<Int>) throws(PromQLError) {
        let signature = function.signature
        let (listed, given) = (signature.arguments.count, arguments.count)
        let name = "call to \"\(function.rawValue)\""
        if signature.variadic == 0 {
            if given != listed { throw failure("expected \(listed) argument(s) in \(name), got \(given)", at: range) }
        } else if given < listed - 1 {
            throw failure("expected at least \(listed - 1) argument(s) in \(name), got \(given)", at: range)
        } else if signature.variadic > 0, given > listed - 1 + signature.variadic {
            throw failure(
                "expected at most \(listed - 1 + signature.variadic) argument(s) in \(name), got \(given)", at: range)
        }
        for (index, argument) in arguments.enumerated() {
            let wanted = signature.arguments[min(index, listed - 1)]
            try expectType(argument, wanted, "call to function \"\(function.rawValue)\"")
        }
        if function == .info, given > 1 {
            guard case .selector(let selector) = arguments[1].kind, selector.name == nil else {
                throw failure(
                    "expected label selectors only, got vector selector instead", at: arguments[1].range, .type)
            }
        }
    }

    func checked(
        _ operation: BinaryOperation.Operator, _ left: Expression, _ right: Expression, _ modifiers: BinaryModifiers,
        at place: Range<Int>
    ) throws(PromQLError) -> Expression {
        let range = left.range.lowerBound..<right.range.upperBound
        if modifiers.returnsBool, !operation.isComparison {
            throw failure("bool modifier can only be used on comparison operators", at: place)
        }
        for side in [left, right] where side.type != .scalar && side.type != .vector {
            throw failure("binary expression must contain only scalar and instant vector types", at: side.range, .type)
        }
        let areScalars = left.type == .scalar && right.type == .scalar
        if operation.isComparison, !modifiers.returnsBool, areScalars {
            throw failure("comparisons between scalars must use BOOL modifier", at: place, .type)
        }
        var matching = modifiers.matching
        if matching.isOn, let twice = matching.labels.first(where: { matching.included.contains($0) }) {
            throw failure("label \"\(twice)\" must not occur in ON and GROUP clause at once", at: place)
        }
        if left.type != .vector || right.type != .vector {
            if operation.isSet {
                throw failure(
                    "set operator \"\(operation.rawValue)\" not allowed in binary scalar expression", at: range, .type)
            }
            if !matching.labels.isEmpty {
                throw failure("vector matching only allowed between instant vectors", at: range, .type)
            }
        } else if operation.isSet {
            if matching.cardinality != .oneToOne {
                throw failure("no grouping allowed for \"\(operation.rawValue)\" operation", at: range)
            }
            matching.cardinality = .manyToMany
        }
        let binary = BinaryOperation(
            operation: operation, left: left, right: right, returnsBool: modifiers.returnsBool, matching: matching,
            hasMatching: modifiers.hasMatching)
        return Expression(kind: .binary(binary), range: range)
    }
}

/// Names of labels: any UTF-8 that is not empty.
enum LabelName {
    /// The text, when the bytes are UTF-8 and some.
    static func valid(_ bytes: [UInt8]) -> String? {
        bytes.isEmpty ? nil : String(validating: bytes, as: UTF8.self)
    }

    /// With quotes and escapes, for error messages.
    static func quoted(_ bytes: [UInt8]) -> String {
        if let text = String(validating: bytes, as: UTF8.self) { return PrettyPrinter.quoted(text) }
        var text = ""
        for byte in bytes {
            if byte < 0x80 {
                text += String(PrettyPrinter.quoted(String(Character(Unicode.Scalar(byte)))).dropFirst().dropLast())
            } else {
                text += "\\x" + String(byte, radix: 16)
            }
        }
        return "\"\(text)\""
    }
}
