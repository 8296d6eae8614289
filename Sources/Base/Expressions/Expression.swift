/// One expression, in the dialect of GitHub Actions, with arithmetic added.
///
///     try Expression(parsing: "ref == 'main' && !failure()").evaluate(in: context).isTruthy
///     try Expression(parsing: "auc - champion.auc >= -0.005").evaluate(in: metrics).isTruthy
///
/// Reference: https://docs.github.com/actions/reference/workflows-and-actions/expressions. What is more
/// here: `case(condition, value, …, otherwise)`, `+ - * /` (a subtraction of names has blanks around its sign, as names may contain `-`) and a minus before any
/// operand. Absent and empty operands of arithmetic are NaN, so that no comparison with their result holds.
package struct Expression: Sendable {
    /// The text it was parsed from.
    package let source: String
    /// The context paths that it reads, in order of appearance.
    package let references: [Reference]
    /// Whether it calls `success()`, `failure()`, `always()` or `cancelled()`.
    package let usesStatus: Bool
    /// Whether it calls `hashFiles()`, and so is evaluated where the files are.
    package let readsFiles: Bool
    private let root: Node

    /// Parses the text between `${{` and `}}`, or an `if:` without them.
    package init(parsing source: String) throws(ExpressionError) {
        try self.init(parsing: source, at: Position())
    }

    init(parsing source: String, at start: Position) throws(ExpressionError) {
        // A UTF-16 unit takes at most three bytes: what is far too long is not even counted.
        let isShort = source.utf8.count <= 3 * ExpressionLimits.sourceCharacters
        guard isShort, source.utf16.count <= ExpressionLimits.sourceCharacters else {
            throw ExpressionError(
                .limit, "the expression is longer than \(ExpressionLimits.sourceCharacters) characters", at: start,
                hint: "Compute a part of it in a step and use its output.")
        }
        var lexer = Lexer(source, at: start)
        var parser = Parser(try lexer.run())
        root = try parser.run()
        self.source = source
        var collector = Collector()
        collector.visit(root)
        (references, usesStatus) = (collector.references, collector.usesStatus)
        readsFiles = collector.readsFiles
    }

    /// Evaluates within the limits of `ExpressionLimits`.
    ///
    /// - Throws: `ExpressionError`, or what the closures of the context throw.
    package func evaluate(in context: Context) throws -> Value {
        try evaluate(with: Evaluator(context))
    }

    /// Evaluates on the budget of several expressions.
    func evaluate(with evaluator: Evaluator) throws -> Value { try evaluator.value(root) }
}

/// A context path that an expression reads: `needs.build.outputs.digest`.
package struct Reference: Sendable, Equatable, CustomStringConvertible {
    /// Names and literal indexes, a star for a filter, up to an index that is computed.
    package let path: [String]
    package let position: Position

    package var description: String { path.joined(separator: ".") }
}

private struct Collector {
    var references: [Reference] = []
    var usesStatus = false
    var readsFiles = false

    mutating func visit(_ node: Node) {
        if let path = node.path {
            references.append(Reference(path: path, position: start(of: node)))
            return
        }
        if case .call(let function, _) = node.kind {
            if function.isStatus { usesStatus = true }
            if function == .hashFiles { readsFiles = true }
        }
        for child in node.kind.children { visit(child) }
    }

    /// Where the path of the node begins.
    private func start(of node: Node) -> Position {
        var node = node
        while let base = node.kind.children.first { node = base }
        return node.position
    }
}
