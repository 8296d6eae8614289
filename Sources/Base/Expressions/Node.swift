/// A parsed expression: an operation and what it works on.
struct Node: Sendable {
    indirect enum Kind: Sendable {
        case literal(Value)
        /// The name of a context.
        case name(String)
        case member(Node, String)
        case index(Node, Node)
        /// `.*` or `[*]`.
        case filter(Node)
        case call(Function, [Node])
        case not(Node)
        case negate(Node)
        case all([Node])
        case any([Node])
        case compare(Comparison, Node, Node)
        case arithmetic(Arithmetic, Node, Node)
    }

    enum Comparison: String {
        case equal = "==", notEqual = "!=", less = "<", lessOrEqual = "<=", greater = ">",
            greaterOrEqual = ">="
    }
    enum Arithmetic: String { case add = "+", subtract = "-", multiply = "*", divide = "/" }

    let kind: Kind
    let position: Position
    let depth: Int

    init(_ kind: Kind, at position: Position) throws(ExpressionError) {
        (self.kind, self.position) = (kind, position)
        depth = 1 + (kind.children.map(\.depth).max() ?? 0)
        guard depth <= ExpressionLimits.depth else { throw Self.tooDeep(at: position) }
    }

    static func tooDeep(at position: Position) -> ExpressionError {
        ExpressionError(
            .limit, "more than \(ExpressionLimits.depth) operations inside each other", at: position,
            hint: "Compute a part of it in a step and use its output.")
    }

    /// The path of names and literal indexes that the node reads; nil when it reads none.
    var path: [String]? {
        switch kind {
        case .name(let name): return [name]
        case .member(let base, let name): return base.path.map { $0 + [name] }
        case .filter(let base): return base.path.map { $0 + ["*"] }
        case .index(let base, let index):
            guard case .literal(let value) = index.kind, value.isPrimitive else { return nil }
            return base.path.map { $0 + [value.text] }
        default: return nil
        }
    }
}

extension Node.Kind {
    var children: [Node] {
        switch self {
        case .literal, .name: []
        case .member(let base, _), .filter(let base), .not(let base), .negate(let base): [base]
        case .index(let left, let right), .compare(_, let left, let right), .arithmetic(_, let left, let right):
            [left, right]
        case .call(_, let nodes), .all(let nodes), .any(let nodes): nodes
        }
    }
}
