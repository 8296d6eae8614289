package import Series

/// What the language may hold.
package struct LanguageOptions: Hashable, Sendable {
    /// Functions and aggregations that Prometheus calls experimental.
    package var experimentalFunctions = true
    /// Arithmetic in durations: `[5m * 2]`.
    package var durationExpressions = true

    package init() {}
}

/// Parses and checks a query.
///
/// - Throws: `PromQLError` of kind `syntax` or `type`, with the place.
package func parseExpression(_ text: String, _ options: LanguageOptions = LanguageOptions()) throws(PromQLError)
    -> Expression
{
    var parser = try Parser(text, options)
    if parser.current.kind == .end { throw PromQLError(.syntax, "no expression found in input", at: 0..<0, in: text) }
    let expression = try parser.expression()
    try parser.expectEnd()
    return expression
}

/// Parses a selector alone, as `match[]` parameters hold it: `up{job="api"}`.
package func parseSelector(_ text: String) throws(PromQLError) -> [LabelMatcher] {
    var parser = try Parser(text, LanguageOptions())
    let selector = try parser.selector(mayBeEmpty: false)
    try parser.expectEnd()
    return selector.matchers
}

struct Parser {
    /// Deeper nesting is refused: each level is a call on the stack.
    static let depthLimit = 250
    static let lengthLimit = 1 << 20

    let text: String
    let options: LanguageOptions
    private let tokens: [Token]
    private var index = 0
    private var depth = 0

    init(_ text: String, _ options: LanguageOptions) throws(PromQLError) {
        if text.utf8.count > Self.lengthLimit {
            throw PromQLError(.syntax, "query is longer than \(Self.lengthLimit) bytes")
        }
        self.text = text
        self.options = options
        tokens = try Lexer.tokens(of: text)
    }

    var current: Token { tokens[min(index, tokens.count - 1)] }
    var following: Token { tokens[min(index + 1, tokens.count - 1)] }

    /// Where the last word that was taken ends.
    private var end: Int { index > 0 ? tokens[index - 1].range.upperBound : 0 }

    mutating func advance() { if index < tokens.count - 1 { index += 1 } }

    func failure(_ message: String, at range: Range<Int>? = nil, _ kind: PromQLError.Kind = .syntax) -> PromQLError {
        PromQLError(kind, message, at: range ?? current.range, in: text)
    }

    func unexpected(in context: String, expected: String? = nil) -> PromQLError {
        failure(
            "unexpected \(current.description)" + (context.isEmpty ? "" : " in \(context)")
                + (expected.map { ", expected \($0)" } ?? ""))
    }

    mutating func take(_ symbol: String) -> Bool {
        guard current.isSymbol(symbol) else { return false }
        advance()
        return true
    }

    mutating func expect(_ symbol: String, in context: String) throws(PromQLError) {
        if !take(symbol) { throw unexpected(in: context, expected: "\"\(symbol)\"") }
    }

    func expectEnd() throws(PromQLError) {
        if current.kind != .end { throw unexpected(in: "") }
    }

    /// The word in lower case when it is a name or keyword.
    var keyword: String? { if case .identifier = current.kind { current.text.lowercased() } else { nil } }

    mutating func take(keyword wanted: String) -> Bool {
        guard keyword == wanted else { return false }
        advance()
        return true
    }

    /// An expression whose operators bind at least so tightly.
    mutating func expression(_ least: Int = 0) throws(PromQLError) -> Expression {
        depth += 1
        defer { depth -= 1 }
        if depth > Self.depthLimit { throw failure("expression nests deeper than \(Self.depthLimit) levels") }
        var left = try unary()
        while let operation = binaryOperator, operation.precedence >= least {
            let place = current.range
            advance()
            var modifiers = BinaryModifiers()
            try parse(&modifiers)
            let right = try expression(operation == .power ? operation.precedence : operation.precedence + 1)
            left = try checked(operation, left, right, modifiers, at: place)
        }
        return left
    }

    private var binaryOperator: BinaryOperation.Operator? {
        switch current.kind {
        case .symbol: BinaryOperation.Operator(rawValue: current.text)
        case .identifier:
            ["and", "or", "unless", "atan2"].contains(keyword) ? BinaryOperation.Operator(rawValue: keyword ?? "") : nil
        default: nil
        }
    }

    private mutating func unary() throws(PromQLError) -> Expression {
        guard current.isSymbol("-") || current.isSymbol("+") else { return try postfix(primary()) }
        let isNegative = current.isSymbol("-")
        let start = current.range.lowerBound
        advance()
        // A sign binds like a multiplication: only powers go first.
        let inner = try expression(BinaryOperation.Operator.power.precedence)
        let range = start..<inner.range.upperBound
        if case .number(let value) = inner.kind {
            return Expression(kind: .number(isNegative ? -value : value), range: range)
        }
        guard inner.type == .scalar || inner.type == .vector else {
            let message =
                "unary expression only allowed on expressions of type scalar or instant vector, got \"\(inner.type.rawValue)\""
            throw failure(message, at: range, .type)
        }
        return Expression(kind: .unary(isNegative: isNegative, inner), range: range)
    }

    private mutating func primary() throws(PromQLError) -> Expression {
        let token = current
        switch token.kind {
        case .number(let value):
            advance()
            return Expression(kind: .number(value), range: token.range)
        case .duration(let milliseconds):
            advance()
            return Expression(kind: .number(Double(milliseconds) / 1_000), range: token.range)
        case .string(let bytes):
            advance()
            return Expression(kind: .string(bytes), range: token.range)
        case .symbol where token.text == "(":
            advance()
            let inner = try expression()
            if !take(")") {
                throw current.kind == .end ? failure("unclosed left parenthesis", at: token.range) : unexpected(in: "")
            }
            return Expression(kind: .parenthesis(inner), range: token.range.lowerBound..<end)
        case .symbol where token.text == "{": return try selectorExpression()
        case .identifier(let isMetricOnly): return try named(token, isMetricOnly: isMetricOnly)
        case .symbol, .end: throw unexpected(in: "")
        }
    }

    private mutating func named(_ token: Token, isMetricOnly: Bool) throws(PromQLError) -> Expression {
        let next = following
        let startsCall = next.isSymbol("(")
        if !isMetricOnly, let operation = Aggregation.Operator(rawValue: token.text.lowercased()),
            startsCall || ["by", "without"].contains(nextKeyword)
        {
            return try aggregation(operation)
        }
        if startsCall { return try call(token) }
        if ["bool", "group_left", "group_right", "ignoring", "on", "atan2"].contains(token.text.lowercased()) {
            throw unexpected(in: "")
        }
        return try selectorExpression()
    }

    private var nextKeyword: String { if case .identifier = following.kind { following.text.lowercased() } else { "" } }

    private mutating func selectorExpression() throws(PromQLError) -> Expression {
        let selector = try selector(mayBeEmpty: mayOmitMatchers)
        return Expression(kind: .selector(selector), range: selector.range)
    }

    /// Set while `info`'s second argument is read, which may select every label.
    private var mayOmitMatchers = false

    private mutating func call(_ name: Token) throws(PromQLError) -> Expression {
        guard let function = Function(rawValue: name.text) else {
            throw failure("unknown function with name \"\(name.text)\"", at: name.range)
        }
        if function.isExperimental, !options.experimentalFunctions {
            throw failure("function \"\(name.text)\" is experimental and not switched on", at: name.range)
        }
        advance()
        advance()
        let arguments = try arguments(of: function, in: "function call")
        let expression = Expression(kind: .call(function, arguments), range: name.range.lowerBound..<end)
        try check(function, arguments, at: expression.range)
        return expression
    }

    /// Arguments up to the closing parenthesis.
    private mutating func arguments(of function: Function?, in context: String) throws(PromQLError) -> [Expression] {
        var arguments: [Expression] = []
        if take(")") { return [] }
        while true {
            let outer = mayOmitMatchers
            mayOmitMatchers = function == .info && arguments.count == 1
            arguments.append(try expression())
            mayOmitMatchers = outer
            if take(")") { return arguments }
            if !take(",") { throw unexpected(in: context, expected: "\",\" or \")\"") }
            if current.isSymbol(")") { throw failure("trailing commas not allowed in function call args") }
        }
    }

    private mutating func aggregation(_ operation: Aggregation.Operator) throws(PromQLError) -> Expression {
        let start = current.range.lowerBound
        advance()
        var grouping: (labels: [String], isWithout: Bool)?
        if !current.isSymbol("(") { grouping = try groupingClause() }
        try expect("(", in: "aggregation")
        let arguments = try arguments(of: nil, in: "aggregation")
        if grouping == nil { grouping = try groupingClause() }
        let range = start..<end
        if arguments.isEmpty { throw failure("no arguments for aggregate expression provided", at: range) }
        if operation.isExperimental, !options.experimentalFunctions {
            throw failure("\(operation.rawValue)() is experimental and not switched on", at: range)
        }
        let expected = operation.hasParameter ? 2 : 1
        if arguments.count != expected {
            throw failure(
                "wrong number of arguments for aggregate expression provided, expected \(expected), got \(arguments.count)",
                at: range)
        }
        let operand = arguments[expected - 1]
        try expectType(operand, .vector, "aggregation expression")
        if operation.hasParameter {
            try expectType(arguments[0], operation == .countValues ? .string : .scalar, "aggregation parameter")
        }
        let aggregation = Aggregation(
            operation: operation, operand: operand, parameter: operation.hasParameter ? arguments[0] : nil,
            labels: grouping?.labels ?? [], isWithout: grouping?.isWithout ?? false)
        return Expression(kind: .aggregate(aggregation), range: range)
    }

    private mutating func groupingClause() throws(PromQLError) -> (labels: [String], isWithout: Bool)? {
        guard let word = keyword, word == "by" || word == "without" else { return nil }
        advance()
        return (try groupingLabels(), word == "without")
    }

    /// `(a, b, "c.d")`
    mutating func groupingLabels() throws(PromQLError) -> [String] {
        try expect("(", in: "grouping opts")
        var labels: [String] = []
        while !take(")") {
            switch current.kind {
            case .identifier(isMetricOnly: false): labels.append(current.text)
            case .number: labels.append(current.text)
            case .string(let bytes):
                guard let name = LabelName.valid(bytes) else {
                    throw failure("invalid label name for grouping: \(LabelName.quoted(bytes))")
                }
                labels.append(name)
            default: throw unexpected(in: "grouping opts", expected: "label")
            }
            advance()
            if !take(","), !current.isSymbol(")") { throw unexpected(in: "grouping opts", expected: "\",\" or \")\"") }
        }
        return labels
    }

    /// A metric's name, conditions in braces, or both.
    mutating func selector(mayBeEmpty: Bool) throws(PromQLError) -> VectorSelector {
        let start = current.range.lowerBound
        var name: String?
        if case .identifier = current.kind {
            name = current.text
            advance()
        } else if !current.isSymbol("{") {
            throw unexpected(in: "")
        }
        var matchers: [LabelMatcher] = []
        if take("{") { matchers = try self.matchers() }
        if let name {
            if let other = matchers.first(where: { $0.name == Labels.metricNameLabel }) {
                throw failure("metric name must not be set twice: \"\(name)\" or \"\(other.value)\"", at: start..<end)
            }
            matchers.append(LabelMatcher(Labels.metricNameLabel, .equal, name))
        } else if !mayBeEmpty, try allMatchEmpty(matchers) {
            throw failure("vector selector must contain at least one non-empty matcher", at: start..<end)
        }
        return VectorSelector(name: name, matchers: matchers, offset: nil, at: nil, range: start..<end)
    }

    private func allMatchEmpty(_ matchers: [LabelMatcher]) throws(PromQLError) -> Bool {
        for matcher in matchers where try !matchesEmpty(matcher) { return false }
        return true
    }

    private func matchesEmpty(_ matcher: LabelMatcher) throws(PromQLError) -> Bool {
        do {
            switch matcher.comparison {
            case .equal: return matcher.value.isEmpty
            case .notEqual: return !matcher.value.isEmpty
            case .matches: return try LabelPattern(matcher.value).matches("")
            case .doesNotMatch: return try !LabelPattern(matcher.value).matches("")
            }
        } catch {
            throw failure("\(error)")
        }
    }

    private mutating func matchers() throws(PromQLError) -> [LabelMatcher] {
        var matchers: [LabelMatcher] = []
        while !take("}") {
            matchers.append(try matcher())
            if !take(","), !current.isSymbol("}") { throw unexpected(in: "label matching", expected: "\",\" or \"}\"") }
        }
        return matchers
    }

    private mutating func matcher() throws(PromQLError) -> LabelMatcher {
        let nameToken = current
        let name: String
        switch nameToken.kind {
        case .identifier: name = nameToken.text
        case .string(let bytes):
            guard let valid = LabelName.valid(bytes) else {
                throw failure("invalid label name \(LabelName.quoted(bytes))")
            }
            name = valid
            if following.isSymbol(",") || following.isSymbol("}") {
                advance()
                return LabelMatcher(Labels.metricNameLabel, .equal, name)
            }
        default: throw unexpected(in: "label matching", expected: "identifier or \"}\"")
        }
        advance()
        guard current.kind == .symbol, let comparison = LabelMatcher.Comparison(rawValue: current.text) else {
            throw unexpected(in: "label matching", expected: "label matching operator")
        }
        advance()
        guard case .string(let bytes) = current.kind else { throw unexpected(in: "label matching", expected: "string") }
        let value = String(decoding: bytes, as: UTF8.self)
        if comparison == .matches || comparison == .doesNotMatch {
            do { _ = try LabelPattern(value) } catch {
                throw failure("\(error)", at: nameToken.range.lowerBound..<current.range.upperBound)
            }
        }
        advance()
        return LabelMatcher(name, comparison, value)
    }

    /// Ranges, subqueries, `offset` and `@` behind an expression.
    private mutating func postfix(_ base: Expression) throws(PromQLError) -> Expression {
        var expression = base
        while true {
            if current.isSymbol("[") {
                expression = try bracket(expression)
            } else if keyword == "offset" {
                let place = current.range
                advance()
                let offset = try offsetDuration()
                try modify(&expression, "offset", place, offset: offset, at: nil)
            } else if current.isSymbol("@") {
                let place = current.range
                advance()
                let at = try atModifier()
                try modify(&expression, "@", place, offset: nil, at: at)
            } else {
                return expression
            }
        }
    }

    private mutating func bracket(_ inner: Expression) throws(PromQLError) -> Expression {
        let open = current.range
        advance()
        let range = try positiveDuration()
        if take(":") {
            let step = current.isSymbol("]") ? nil : try positiveDuration()
            if !take("]") { throw unexpected(in: "subquery selector", expected: "\"]\"") }
            let whole = inner.range.lowerBound..<end
            if inner.type != .vector {
                throw failure(
                    "subquery is only allowed on instant vector, got \(inner.type.rawValue) instead", at: whole, .type)
            }
            let subquery = Subquery(range: range, step: step, offset: nil, at: nil)
            return Expression(kind: .subquery(inner, subquery), range: whole)
        }
        if !take("]") { throw unexpected(in: "subquery or range", expected: "\":\" or \"]\"") }
        let brackets = open.lowerBound..<end
        guard case .selector(let selector) = inner.kind else {
            throw failure("ranges only allowed for vector selectors", at: brackets)
        }
        if selector.offset != nil { throw failure("no offset modifiers allowed before range", at: brackets) }
        if selector.at != nil { throw failure("no @ modifiers allowed before range", at: brackets) }
        return Expression(kind: .range(selector, range), range: inner.range.lowerBound..<end)
    }

    private mutating func atModifier() throws(PromQLError) -> AtModifier {
        if let word = keyword, word == "start" || word == "end" {
            advance()
            try expect("(", in: "@")
            try expect(")", in: "@")
            return word == "start" ? .start : .end
        }
        let isNegative = current.isSymbol("-")
        if isNegative || current.isSymbol("+") { advance() }
        var seconds: Double
        switch current.kind {
        case .number(let value): seconds = value
        case .duration(let milliseconds): seconds = Double(milliseconds) / 1_000
        default: throw unexpected(in: "@", expected: "timestamp")
        }
        if isNegative { seconds = -seconds }
        guard let time = Int64(exactly: (seconds * 1_000).rounded()), abs(seconds) < 9e15 else {
            throw failure("timestamp out of bounds for @ modifier: \(NumberText.general(seconds))")
        }
        advance()
        return .time(time)
    }

    private mutating func modify(
        _ expression: inout Expression, _ word: String, _ place: Range<Int>, offset: DurationText?, at: AtModifier?
    ) throws(PromQLError) {
        func merged<Value>(_ old: Value?, _ new: Value?, _ message: String) throws(PromQLError) -> Value? {
            guard let new else { return old }
            if old != nil { throw failure(message, at: expression.range) }
            return new
        }
        let (twice, atTwice) = ("offset may not be set multiple times", "@ <timestamp> may not be set multiple times")
        switch expression.kind {
        case .selector(var selector):
            selector.offset = try merged(selector.offset, offset, twice)
            selector.at = try merged(selector.at, at, atTwice)
            expression.kind = .selector(selector)
        case .range(var selector, let range):
            selector.offset = try merged(selector.offset, offset, twice)
            selector.at = try merged(selector.at, at, atTwice)
            expression.kind = .range(selector, range)
        case .subquery(let inner, var subquery):
            subquery.offset = try merged(subquery.offset, offset, twice)
            subquery.at = try merged(subquery.at, at, atTwice)
            expression.kind = .subquery(inner, subquery)
        default:
            throw failure(
                "\(word) modifier must be preceded by an instant vector selector or range vector selector or a subquery",
                at: place)
        }
        expression.range = expression.range.lowerBound..<end
    }
}
