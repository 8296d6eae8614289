/// Builds the tree of an expression, by precedence: `||`, `&&`, `== !=`, `< <= > >=`, `+ -`, `* /`, `! -`, `. [ ]`.
struct Parser {
    private let tokens: [Token]
    private var offset = 0
    private var nesting = 0

    init(_ tokens: [Token]) { self.tokens = tokens }

    mutating func run() throws(ExpressionError) -> Node {
        guard current.kind != .end else {
            throw ExpressionError(.syntax, "an expression is expected", at: current.position)
        }
        let node = try disjunction()
        guard current.kind == .end else { throw unexpected() }
        return node
    }

    private mutating func disjunction() throws(ExpressionError) -> Node {
        let position = current.position
        var nodes = [try conjunction()]
        while take("||") != nil { nodes.append(try conjunction()) }
        return nodes.count == 1 ? nodes[0] : try Node(.any(nodes), at: position)
    }

    private mutating func conjunction() throws(ExpressionError) -> Node {
        let position = current.position
        var nodes = [try equality()]
        while take("&&") != nil { nodes.append(try equality()) }
        return nodes.count == 1 ? nodes[0] : try Node(.all(nodes), at: position)
    }

    private mutating func equality() throws(ExpressionError) -> Node {
        var left = try order()
        while let token = take("==", "!="), let comparison = Node.Comparison(rawValue: token.spelling) {
            left = try Node(.compare(comparison, left, try order()), at: token.position)
        }
        return left
    }

    private mutating func order() throws(ExpressionError) -> Node {
        var left = try sum()
        while let token = take("<", "<=", ">", ">="), let comparison = Node.Comparison(rawValue: token.spelling) {
            left = try Node(.compare(comparison, left, try sum()), at: token.position)
        }
        return left
    }

    private mutating func sum() throws(ExpressionError) -> Node {
        var left = try product()
        while let token = take("+", "-"), let arithmetic = Node.Arithmetic(rawValue: token.spelling) {
            left = try Node(.arithmetic(arithmetic, left, try product()), at: token.position)
        }
        return left
    }

    private mutating func product() throws(ExpressionError) -> Node {
        var left = try unary()
        while let token = take("*", "/"), let arithmetic = Node.Arithmetic(rawValue: token.spelling) {
            left = try Node(.arithmetic(arithmetic, left, try unary()), at: token.position)
        }
        return left
    }

    private mutating func unary() throws(ExpressionError) -> Node {
        nesting += 1
        defer { nesting -= 1 }
        // The parser descends with each level: it must stop before the tree is there to be measured.
        guard nesting <= ExpressionLimits.depth else { throw Node.tooDeep(at: current.position) }
        if let token = take("!") { return try Node(.not(try unary()), at: token.position) }
        if let token = take("-") { return try Node(.negate(try unary()), at: token.position) }
        return try access()
    }

    private mutating func access() throws(ExpressionError) -> Node {
        var node = try primary()
        while let token = take(".", "[") {
            if token.kind == .symbol(".") {
                if take("*") != nil {
                    node = try Node(.filter(node), at: token.position)
                } else if case .name(let name) = current.kind {
                    node = try Node(.member(node, name), at: current.position)
                    offset += 1
                } else {
                    throw unexpected(hint: "After a dot comes a name or *; other keys go into ['…'].")
                }
            } else if current.kind == .symbol("*"), tokens[offset + 1].kind == .symbol("]") {
                offset += 2
                node = try Node(.filter(node), at: token.position)
            } else {
                node = try Node(.index(node, try disjunction()), at: token.position)
                try expect("]")
            }
        }
        return node
    }

    private mutating func primary() throws(ExpressionError) -> Node {
        let token = current
        switch token.kind {
        case .literal(let value):
            offset += 1
            return try Node(.literal(value), at: token.position)
        case .name(let name):
            offset += 1
            return take("(") == nil ? try Node(.name(name), at: token.position) : try call(name, at: token.position)
        case .symbol("("):
            offset += 1
            let node = try disjunction()
            try expect(")")
            return node
        default: throw unexpected()
        }
    }

    private mutating func call(_ name: String, at position: Position) throws(ExpressionError) -> Node {
        guard let function = Function(name: name) else {
            throw ExpressionError(
                .unknownFunction, "no function \"\(name)\"", at: position,
                hint: "There are \(Function.allCases.map(\.rawValue).joined(separator: ", ")).")
        }
        var arguments: [Node] = []
        if take(")") == nil {
            repeat { arguments.append(try disjunction()) } while take(",") != nil
            try expect(")")
        }
        guard function.argumentCount.contains(arguments.count) else {
            throw ExpressionError(
                .wrongArguments,
                "\(function.rawValue)() takes \(function.argumentWords), not \(arguments.count)", at: position)
        }
        guard function != .case || !arguments.count.isMultiple(of: 2) else {
            throw ExpressionError(
                .wrongArguments, "case() takes pairs of condition and value, and then a value for all other cases",
                at: position)
        }
        return try Node(.call(function, arguments), at: position)
    }

    private var current: Token { tokens[min(offset, tokens.count - 1)] }

    private mutating func take(_ symbols: String...) -> Token? {
        guard case .symbol(let symbol) = current.kind, symbols.contains(symbol) else { return nil }
        defer { offset += 1 }
        return current
    }

    private mutating func expect(_ symbol: String) throws(ExpressionError) {
        guard take(symbol) == nil else { return }
        throw ExpressionError(
            .syntax, "\"\(symbol)\" is expected, not \"\(current.spelling)\"", at: current.position)
    }

    private func unexpected(hint: String? = nil) -> ExpressionError {
        ExpressionError(.syntax, "unexpected \"\(current.spelling)\"", at: current.position, hint: hint)
    }
}
