package import Series

/// A query, parsed and found well typed.
package struct Expression: Sendable {
    package indirect enum Kind: Sendable {
        /// Durations are numbers of seconds.
        case number(Double)
        /// Bytes, as an escape may write what is not UTF-8.
        case string([UInt8])
        case selector(VectorSelector)
        case range(VectorSelector, DurationText)
        case subquery(Expression, Subquery)
        case call(Function, [Expression])
        case aggregate(Aggregation)
        case binary(BinaryOperation)
        case unary(isNegative: Bool, Expression)
        case parenthesis(Expression)
    }

    package var kind: Kind
    /// The expression's bytes within the query.
    package var range: Range<Int>

    /// The type of what it evaluates to.
    package var type: ValueType {
        switch kind {
        case .number: .scalar
        case .string: .string
        case .selector, .aggregate: .vector
        case .range, .subquery: .matrix
        case .call(let function, _): function.signature.result
        case .binary(let operation):
            operation.left.type == .scalar && operation.right.type == .scalar ? .scalar : .vector
        case .unary(_, let inner), .parenthesis(let inner): inner.type
        }
    }

    /// Every selector of the query, in the order they are written.
    package var selectors: [VectorSelector] {
        switch kind {
        case .number, .string: []
        case .selector(let selector), .range(let selector, _): [selector]
        default: children.flatMap(\.selectors)
        }
    }

    /// The expressions that this one is made of.
    package var children: [Expression] {
        switch kind {
        case .number, .string, .selector, .range: []
        case .subquery(let inner, _), .unary(_, let inner), .parenthesis(let inner): [inner]
        case .call(_, let arguments): arguments
        case .aggregate(let aggregation): (aggregation.parameter.map { [$0] } ?? []) + [aggregation.operand]
        case .binary(let operation): [operation.left, operation.right]
        }
    }

    /// Without parentheses around it.
    var unwrapped: Expression {
        if case .parenthesis(let inner) = kind { inner.unwrapped } else { self }
    }
}

package enum ValueType: String, Sendable {
    case scalar, string
    case vector = "instant vector"
    case matrix = "range vector"
}

package struct VectorSelector: Hashable, Sendable {
    /// The metric's name when it stands before the braces.
    package var name: String?
    /// All conditions, the name's included.
    package var matchers: [LabelMatcher]
    package var offset: DurationText?
    package var at: AtModifier?
    package var range: Range<Int>
}

package enum AtModifier: Hashable, Sendable {
    /// Milliseconds since 1970.
    case time(Int64)
    /// The first and the last time of the whole query.
    case start, end
}

/// A length of time and how it was written.
package struct DurationText: Hashable, Sendable {
    package var milliseconds: Int64
    /// Canonical text: `5m`, `-1h`, `2m * 15`.
    package var text: String
}

package struct Subquery: Hashable, Sendable {
    package var range: DurationText
    /// Nil: the engine's default.
    package var step: DurationText?
    package var offset: DurationText?
    package var at: AtModifier?
}

package struct Aggregation: Sendable {
    package enum Operator: String, Sendable, CaseIterable {
        case sum, avg, min, max, count, group, stddev, stdvar, topk, bottomk, quantile, limitk
        case countValues = "count_values"
        case limitRatio = "limit_ratio"

        var hasParameter: Bool {
            switch self {
            case .topk, .bottomk, .quantile, .limitk, .countValues, .limitRatio: true
            default: false
            }
        }

        package var isExperimental: Bool { self == .limitk || self == .limitRatio }
    }

    package var operation: Operator
    package var operand: Expression
    package var parameter: Expression?
    package var labels: [String]
    /// `without`: the labels are those that go.
    package var isWithout: Bool
}

package struct BinaryOperation: Sendable {
    package enum Operator: String, Sendable {
        case add = "+"
        case subtract = "-"
        case multiply = "*"
        case divide = "/"
        case modulo = "%"
        case power = "^"
        case atan2
        case equal = "=="
        case notEqual = "!="
        case greater = ">"
        case less = "<"
        case greaterOrEqual = ">="
        case lessOrEqual = "<="
        case and, or, unless

        var isComparison: Bool {
            switch self {
            case .equal, .notEqual, .greater, .less, .greaterOrEqual, .lessOrEqual: true
            default: false
            }
        }

        var isSet: Bool { self == .and || self == .or || self == .unless }

        /// How tightly it binds; higher is tighter.
        var precedence: Int {
            switch self {
            case .or: 1
            case .and, .unless: 2
            case .add, .subtract: 4
            case .multiply, .divide, .modulo, .atan2: 5
            case .power: 6
            default: 3
            }
        }
    }

    package enum Cardinality: Sendable { case oneToOne, manyToOne, oneToMany, manyToMany }

    package struct Matching: Sendable {
        package var cardinality: Cardinality = .oneToOne
        package var isOn = false
        package var labels: [String] = []
        /// Labels that are taken over from the "one" side.
        package var included: [String] = []
    }

    package var operation: Operator
    package var left: Expression
    package var right: Expression
    package var returnsBool: Bool
    package var matching: Matching
    /// Whether `on` or `ignoring` was written.
    package var hasMatching: Bool
}
