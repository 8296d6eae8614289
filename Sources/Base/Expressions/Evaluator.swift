import Manifests

/// One evaluation: counts its steps and remembers what it looked up.
final class Evaluator {
    /// A value and where it came from, or the list that `.*` makes, on which a further access works item by item.
    enum Outcome {
        case value(Value, Origin?)
        case filtered([Item])

        var value: Value {
            switch self {
            case .value(let value, _): value
            case .filtered(let items): .array(items.map(\.value))
            }
        }

        /// Nil for text and numbers, which are equal by value, and for a list that was just made.
        var origin: Origin? {
            guard case .value(let value, let origin) = self, !value.isPrimitive else { return nil }
            return origin
        }
    }

    struct Item {
        var value: Value
        var origin: Origin?
    }

    let context: Context
    private var stepsLeft = ExpressionLimits.steps
    private var bytesLeft = ExpressionLimits.resultBytes
    private var found: [String: Value] = [:]
    var made = 0

    init(_ context: Context) { self.context = context }

    func value(_ node: Node) throws -> Value { try outcome(node).value }

    func outcome(_ node: Node) throws -> Outcome {
        try step(1, node)
        switch node.kind {
        case .literal(let value): return .value(value, nil)
        case .name(let name): return .value(try lookup(name, node), Origin(root: name.lowercased()))
        case .member(let base, let name): return try access(try outcome(base), .string(name), node)
        case .index(let base, let index): return try access(try outcome(base), try value(index), node)
        case .filter(let base): return try filter(try outcome(base), node)
        case .call(let function, let arguments): return try call(function, arguments, node)
        case .not(let operand): return .value(.bool(try !value(operand).isTruthy), nil)
        case .negate(let operand): return .value(.number(-(try operandNumber(operand))), nil)
        case .all(let nodes): return try first(of: nodes) { !$0.isTruthy }
        case .any(let nodes): return try first(of: nodes) { $0.isTruthy }
        case .compare(let comparison, let left, let right):
            return .value(.bool(try compare(comparison, left, right)), nil)
        case .arithmetic(let operation, let left, let right):
            return .value(.number(operation.apply(try operandNumber(left), try operandNumber(right))), nil)
        }
    }

    // MARK: Operators

    /// The first operand that decides, else the last one; what comes after it is never looked at.
    private func first(of nodes: [Node], where decides: (Value) -> Bool) throws -> Outcome {
        var last = Outcome.value(.null, nil)
        for node in nodes {
            last = try outcome(node)
            if decides(last.value) { break }
        }
        return last
    }

    private func compare(_ comparison: Node.Comparison, _ left: Node, _ right: Node) throws -> Bool {
        let (one, other) = (try outcome(left), try outcome(right))
        let (first, second) = (one.value, other.value)
        if case .string(let a) = first, case .string(let b) = second {
            try step((a.utf8.count + b.utf8.count) / 64, left)
        }
        if comparison != .equal, comparison != .notEqual {
            try requirePresent(first, left)
            try requirePresent(second, right)
        }
        let isEqual = Self.isEqual(first, one.origin, second, other.origin)
        return switch comparison {
        case .equal: isEqual
        case .notEqual: !isEqual
        case .less: first.isLooselyLess(than: second)
        case .lessOrEqual: first.isLooselyLess(than: second) || isEqual
        case .greater: second.isLooselyLess(than: first)
        case .greaterOrEqual: second.isLooselyLess(than: first) || isEqual
        }
    }

    /// Loose equality; arrays and objects equal only themselves: what came from the same place.
    static func isEqual(_ first: Value, _ one: Origin?, _ second: Value, _ other: Origin?) -> Bool {
        if first.isPrimitive || second.isPrimitive { return first.isLooselyEqual(to: second) }
        return one != nil && one == other
    }

    /// A number to calculate with: unlike in a comparison, null is none, so that what is absent never counts as 0.
    private func operandNumber(_ node: Node) throws -> Double {
        let value = try value(node)
        try requirePresent(value, node)
        if value == .null || value == .string("") { return .nan }
        return value.number
    }

    /// Where all values must be there, null can be asked for with `==`, but never measured.
    private func requirePresent(_ value: Value, _ node: Node) throws {
        guard value == .null, context.missing == .error else { return }
        throw missing(node.path?.joined(separator: ".") ?? "null", node)
    }

    private func missing(_ name: String, _ node: Node) -> ExpressionError {
        ExpressionError(
            .missing, "no value \"\(name)\"", at: node.position,
            hint: "Look at the names that the run recorded, and at their spelling.")
    }

    // MARK: Contexts

    private func lookup(_ name: String, _ node: Node) throws -> Value {
        let key = name.lowercased()
        if let value = found[key] { return value }
        guard let value = try context.lookup(name) else {
            throw ExpressionError(
                .unknownName, "no value \"\(name)\"", at: node.position,
                hint: name.contains("-") ? "A name may contain \"-\": for a subtraction, put blanks around it." : nil)
        }
        found[key] = value
        return value
    }

    private func access(_ base: Outcome, _ key: Value, _ node: Node) throws -> Outcome {
        switch base {
        case .value(let value, let origin):
            if let found = value.element(key) { return .value(found.value, origin?[found.key]) }
            guard context.missing == .null else {
                throw missing(node.path?.joined(separator: ".") ?? key.text, node)
            }
            return .value(.null, nil)
        case .filtered(let items):
            try step(items.count, node)
            return .filtered(
                items.compactMap { item in
                    item.value.element(key).map { Item(value: $0.value, origin: item.origin?[$0.key]) }
                })
        }
    }

    private func filter(_ base: Outcome, _ node: Node) throws -> Outcome {
        switch base {
        case .value(let value, let origin):
            if value.isPrimitive {
                guard context.missing == .null else {
                    throw missing(node.path?.joined(separator: ".") ?? "*", node)
                }
                return .value(.null, nil)
            }
            let items = Self.items(of: value, origin)
            try step(items.count, node)
            return .filtered(items)
        case .filtered(let outer):
            let items = outer.flatMap { Self.items(of: $0.value, $0.origin) }
            try step(items.count, node)
            return .filtered(items)
        }
    }

    /// The items of an array, or the members of an object in their order.
    static func items(of value: Value, _ origin: Origin?) -> [Item] {
        switch value {
        case .array(let items):
            items.enumerated().map { Item(value: $0.element, origin: origin?["\($0.offset)"]) }
        case .object(let members): members.map { Item(value: $0.value, origin: origin?[$0.key]) }
        default: []
        }
    }

    // MARK: Limits

    func step(_ count: Int, _ node: Node) throws {
        stepsLeft -= count
        guard stepsLeft >= 0 else {
            throw ExpressionError(
                .limit, "the evaluation takes more than \(ExpressionLimits.steps) steps", at: node.position)
        }
    }

    func text(_ text: String, _ node: Node) throws -> Value {
        bytesLeft -= text.utf8.count
        guard bytesLeft >= 0 else { throw ExpressionError.tooLarge(at: node.position) }
        return .string(text)
    }
}

extension Node.Arithmetic {
    fileprivate func apply(_ left: Double, _ right: Double) -> Double {
        switch self {
        case .add: left + right
        case .subtract: left - right
        case .multiply: left * right
        case .divide: left / right
        }
    }
}
