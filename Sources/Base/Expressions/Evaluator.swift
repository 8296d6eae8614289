import Manifests

/// One evaluation: counts its steps and remembers what it looked up.
final class Evaluator {
    /// A value, or the list that `.*` makes, on which a further access works item by item.
    private enum Outcome {
        case value(Value)
        case filtered([Value])

        var value: Value {
            switch self {
            case .value(let value): value
            case .filtered(let items): .array(items)
            }
        }
    }

    private let context: Context
    private var stepsLeft = ExpressionLimits.steps
    private var bytesLeft = ExpressionLimits.resultBytes
    private var found: [String: Value] = [:]

    init(_ context: Context) { self.context = context }

    func value(_ node: Node) throws -> Value { try outcome(node).value }

    private func outcome(_ node: Node) throws -> Outcome {
        try step(1, node)
        switch node.kind {
        case .literal(let value): return .value(value)
        case .name(let name): return .value(try lookup(name, node))
        case .member(let base, let name): return try access(try outcome(base), .string(name), node)
        case .index(let base, let index): return try access(try outcome(base), try value(index), node)
        case .filter(let base): return try filter(try outcome(base), node)
        case .call(let function, let arguments): return .value(try call(function, arguments, node))
        case .not(let operand): return .value(.bool(try !value(operand).isTruthy))
        case .negate(let operand): return .value(.number(-(try operandNumber(operand))))
        case .all(let nodes): return .value(try firstValue(of: nodes) { !$0.isTruthy })
        case .any(let nodes): return .value(try firstValue(of: nodes) { $0.isTruthy })
        case .compare(let comparison, let left, let right):
            return .value(.bool(try compare(comparison, left, right)))
        case .arithmetic(let operation, let left, let right):
            return .value(.number(operation.apply(try operandNumber(left), try operandNumber(right))))
        }
    }

    // MARK: Operators

    /// The first operand that decides, else the last one; what comes after it is never looked at.
    private func firstValue(of nodes: [Node], where decides: (Value) -> Bool) throws -> Value {
        var last = Value.null
        for node in nodes {
            last = try value(node)
            if decides(last) { break }
        }
        return last
    }

    private func compare(_ comparison: Node.Comparison, _ left: Node, _ right: Node) throws -> Bool {
        let (first, second) = (try value(left), try value(right))
        if case .string(let a) = first, case .string(let b) = second {
            try step((a.utf8.count + b.utf8.count) / 64, left)
        }
        if comparison != .equal, comparison != .notEqual {
            try requirePresent(first, left)
            try requirePresent(second, right)
        }
        var isEqual: Bool {
            // Arrays and objects equal only themselves: the same path of the same context.
            if !first.isPrimitive, !second.isPrimitive, let path = left.path {
                return path.map { $0.lowercased() } == right.path?.map { $0.lowercased() }
            }
            return first.isLooselyEqual(to: second)
        }
        return switch comparison {
        case .equal: isEqual
        case .notEqual: !isEqual
        case .less: first.isLooselyLess(than: second)
        case .lessOrEqual: first.isLooselyLess(than: second) || isEqual
        case .greater: second.isLooselyLess(than: first)
        case .greaterOrEqual: second.isLooselyLess(than: first) || isEqual
        }
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
        case .value(let value):
            if let member = value.element(key) { return .value(member) }
            guard context.missing == .null else {
                throw missing(node.path?.joined(separator: ".") ?? key.text, node)
            }
            return .value(.null)
        case .filtered(let items):
            try step(items.count, node)
            return .filtered(items.compactMap { $0.element(key) })
        }
    }

    private func filter(_ base: Outcome, _ node: Node) throws -> Outcome {
        let items: [Value] =
            switch base {
            case .value(let value): value.elements
            case .filtered(let items): items.flatMap(\.elements)
            }
        try step(items.count, node)
        return .filtered(items)
    }

    // MARK: Functions

    private func call(_ function: Function, _ nodes: [Node], _ node: Node) throws -> Value {
        if function.isStatus { return .bool(try status(function, node)) }
        let arguments = try nodes.map { try value($0) }
        for case .string(let text) in arguments { try step(text.utf8.count / 64, node) }
        switch function {
        case .contains:
            if case .array(let items) = arguments[0] { try step(items.count, node) }
            return .bool(Function.contains(arguments[0], arguments[1]))
        case .startsWith: return .bool(Function.startsWith(arguments[0], arguments[1]))
        case .endsWith: return .bool(Function.endsWith(arguments[0], arguments[1]))
        case .format:
            let pattern = arguments[0].text
            return try text(
                try Function.format(pattern, Array(arguments.dropFirst()), at: node.position), node)
        case .join:
            return try text(
                try Function.join(arguments[0], separator: arguments.dropFirst().first, at: node.position), node)
        case .toJSON: return try text(arguments[0].jsonValue.prettyText, node)
        case .fromJSON: return try fromJSON(arguments[0].text, node)
        case .hashFiles:
            guard let hashFiles = context.hashFiles else {
                throw ExpressionError(.wrongArguments, "hashFiles() has no files to read here", at: node.position)
            }
            return .string(try hashFiles(arguments.map(\.text)))
        case .success, .failure, .always, .cancelled: return .bool(try status(function, node))
        }
    }

    private func status(_ function: Function, _ node: Node) throws -> Bool {
        if function == .always { return true }
        guard let status = context.status else {
            throw ExpressionError(
                .wrongArguments, "\(function.rawValue)() has no run to ask here", at: node.position,
                hint: "It belongs into an if: of a pipeline.")
        }
        return switch function {
        case .success: status.isSuccess
        case .failure: status.isFailure
        default: status.isCancelled
        }
    }

    private func fromJSON(_ json: String, _ node: Node) throws -> Value {
        try step(json.utf8.count / 16, node)
        do throws(ManifestError) { return Value(try JSONParser.parse(json)) } catch {
            throw ExpressionError(.invalidValue, "fromJSON() was given no JSON: \(error.message)", at: node.position)
        }
    }

    // MARK: Limits

    private func step(_ count: Int, _ node: Node) throws {
        stepsLeft -= count
        guard stepsLeft >= 0 else {
            throw ExpressionError(
                .limit, "the evaluation takes more than \(ExpressionLimits.steps) steps", at: node.position)
        }
    }

    private func text(_ text: String, _ node: Node) throws -> Value {
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

extension Value {
    /// The items of an array, or the members of an object in the order of their names.
    fileprivate var elements: [Value] {
        switch self {
        case .array(let items): items
        case .object(let members): members.sorted { $0.key < $1.key }.map(\.value)
        default: []
        }
    }

    /// The member of that name, or the item at that index; nil when there is none.
    fileprivate func element(_ key: Value) -> Value? {
        guard key.isPrimitive else { return nil }
        guard case .array(let items) = self else { return member(key.text) }
        let number = key.number.rounded(.down)
        return number >= 0 && number < Double(items.count) ? items[Int(number)] : nil
    }
}
