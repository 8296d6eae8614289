package import Series

extension LogQuery {
    /// Bytes of a query.
    package static let lengthLimit = 128 << 10

    /// Reads a query.
    ///
    /// - Throws: `LogQLError` with the place.
    package init(_ text: String) throws {
        let bytes = Array(text.utf8)
        guard bytes.count <= Self.lengthLimit else {
            throw LogQLError("the query is longer than \(Self.lengthLimit) bytes")
        }
        var parser = LogQLParser(text: bytes, tokens: try LogQLLexer.tokens(bytes))
        self.text = text
        root = try parser.query()
    }

    /// Reads a stream selector alone, as `match[]` has it: `{app="api"}`.
    package static func selector(_ text: String) throws -> [LabelMatcher] {
        let bytes = Array(text.utf8)
        var parser = LogQLParser(text: bytes, tokens: try LogQLLexer.tokens(bytes))
        let matchers = try parser.selector()
        try parser.expectEnd()
        return matchers
    }
}

/// Reads tokens into a tree, from the loosest binary operator down.
struct LogQLParser {
    static let depthLimit = 100
    /// Binary operators and label conditions of a query: each makes the tree deeper.
    static let operatorLimit = 200
    /// 31 years, in nanoseconds.
    static let longestDuration = 1e18

    let text: [UInt8]
    let tokens: [LogQLToken]
    var index = 0
    var depth = 0
    var operators = 0

    init(text: [UInt8], tokens: [LogQLToken]) {
        self.text = text
        self.tokens = tokens
    }

    var kind: LogQLToken.Kind { tokens[index].kind }
    var position: Int { tokens[index].position }

    func fail(_ message: String, at place: Int? = nil) -> LogQLError {
        LogQLError(message, at: place ?? position, in: text)
    }

    /// Gives an error without a place the one where it was met.
    func placed<Result>(at place: Int, _ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch let error as LogQLError where error.position == nil {
            throw fail(error.message, at: place)
        } catch let error as PatternError {
            throw fail(error.description, at: place)
        }
    }

    mutating func advance() { index = min(index + 1, tokens.count - 1) }

    mutating func take(_ symbol: String) -> Bool {
        guard kind == .symbol(symbol) else { return false }
        advance()
        return true
    }

    mutating func takeWord(_ word: String) -> Bool {
        guard case .word(let found) = kind, found.lowercased() == word else { return false }
        advance()
        return true
    }

    mutating func expect(_ symbol: String) throws {
        if !take(symbol) { throw fail("unexpected \(described), expecting \"\(symbol)\"") }
    }

    func expectEnd() throws { if kind != .end { throw fail("unexpected \(described)") } }

    var described: String {
        switch kind {
        case .word(let text), .symbol(let text), .number(let text), .flag(let text): "\"\(text)\""
        case .text: "a text"
        case .end: "end of the query"
        }
    }

    mutating func name() throws -> String {
        guard case .word(let name) = kind, name.utf8.allSatisfy({ $0 < 0x80 }) else {
            throw fail("unexpected \(described), expecting a label")
        }
        advance()
        return name
    }

    mutating func quoted() throws -> String {
        guard case .text(let text) = kind else { throw fail("unexpected \(described), expecting a text in quotes") }
        advance()
        return text
    }

    mutating func number() throws -> Double {
        let isNegative = take("-")
        guard case .number(let digits) = kind, let value = Double(digits) else {
            throw fail("unexpected \(described), expecting a number")
        }
        advance()
        return isNegative ? -value : value
    }

    /// Nanoseconds.
    mutating func duration() throws -> Int64 {
        let isNegative = take("-")
        guard case .number(let digits) = kind, let value = Quantities.duration(digits),
            abs(value) <= Self.longestDuration
        else {
            throw fail("unexpected \(described), expecting a duration as 5m")
        }
        advance()
        return Int64(isNegative ? -value : value)
    }

    // MARK: - Expressions

    mutating func query() throws -> LogExpression {
        let root = try binary(1)
        try expectEnd()
        return root
    }

    mutating func binary(_ least: Int) throws -> LogExpression {
        depth += 1
        defer { depth -= 1 }
        if depth > Self.depthLimit { throw fail("the query nests too deeply") }
        var left = try unary()
        while let function = binaryOperator, function.precedence >= least {
            let place = position
            try countOperator()
            advance()
            let operation = try modifiers(function)
            // `^` binds to the right.
            let right = try binary(function == .power ? function.precedence : function.precedence + 1)
            try check(operation, left, right, place)
            left = Self.folded(operation, left, right)
        }
        return left
    }

    mutating func countOperator() throws {
        operators += 1
        if operators > Self.operatorLimit { throw fail("the query has more than \(Self.operatorLimit) operators") }
    }

    private var binaryOperator: BinaryOperation.Operator? {
        switch kind {
        case .symbol(let symbol): BinaryOperation.Operator(rawValue: symbol)
        case .word(let word): ["and", "or", "unless"].contains(word) ? BinaryOperation.Operator(rawValue: word) : nil
        default: nil
        }
    }

    private mutating func modifiers(_ function: BinaryOperation.Operator) throws -> BinaryOperation {
        var operation = BinaryOperation(function: function)
        let place = position
        if takeWord("bool") {
            operation.returnsBool = true
            if !function.isComparison { throw fail("bool stands behind comparisons only", at: place) }
        }
        let isOn = kind == .word("on")
        guard isOn || kind == .word("ignoring") else { return operation }
        advance()
        operation.matching = Grouping(isWithout: !isOn, names: Set(try names()))
        for (word, many) in [("group_left", BinaryOperation.Many.left), ("group_right", .right)] where takeWord(word) {
            if function.isSet { throw fail("\"\(function.rawValue)\" takes no grouping") }
            operation.many = many
            if kind == .symbol("(") { operation.included = try names() }
        }
        return operation
    }

    private func check(
        _ operation: BinaryOperation, _ left: LogExpression, _ right: LogExpression, _ place: Int
    ) throws {
        for side in [left, right] {
            if case .lines = side {
                throw fail("\"\(operation.function.rawValue)\" takes figures, not lines", at: place)
            }
            if case .number = side, operation.function.isSet {
                throw fail("\"\(operation.function.rawValue)\" takes vectors, not numbers", at: place)
            }
        }
        if case .number = left, case .number = right, operation.function.isComparison, !operation.returnsBool {
            throw fail("a comparison of two numbers needs bool", at: place)
        }
    }

    private static func folded(
        _ operation: BinaryOperation, _ left: LogExpression, _ right: LogExpression
    ) -> LogExpression {
        guard case .number(let one) = left, case .number(let two) = right else {
            return .binary(operation, left, right)
        }
        return .number(operation.compute(one, two) ?? .nan)
    }

    private mutating func unary() throws -> LogExpression {
        switch kind {
        case .symbol("("):
            advance()
            let inner = try binary(1)
            try expect(")")
            return inner
        case .symbol("{"): return .lines(try lineSource())
        case .symbol("-"), .symbol("+"), .number:
            let isNegative = take("-")
            if !isNegative { _ = take("+") }
            let value = try number()
            return .number(isNegative ? -value : value)
        case .word(let word): return try call(word)
        default: throw fail("unexpected \(described)")
        }
    }

    private mutating func call(_ word: String) throws -> LogExpression {
        let place = position
        advance()
        if let function = RangeAggregation.Function(rawValue: word) {
            return .range(try rangeAggregation(function, place))
        }
        if let function = VectorAggregation.Function(rawValue: word) { return try vectorAggregation(function) }
        switch word {
        case "vector":
            try expect("(")
            let value = try number()
            try expect(")")
            return .vector(value)
        case "label_replace":
            try expect("(")
            let inner = try binary(1)
            if case .lines = inner { throw fail("label_replace takes figures, not lines", at: place) }
            var texts: [String] = []
            var patternPlace = position
            for _ in 0..<4 {
                try expect(",")
                patternPlace = position
                texts.append(try quoted())
            }
            try expect(")")
            let pattern = try placed(at: patternPlace) { try LabelPattern(texts[3]) }
            return .labelReplace(
                LabelReplacement(target: texts[0], replacement: texts[1], source: texts[2], pattern: pattern), inner)
        default: throw fail("unexpected \"\(word)\"", at: place)
        }
    }

    private mutating func vectorAggregation(_ function: VectorAggregation.Function) throws -> LogExpression {
        var grouping = try self.grouping()
        try expect("(")
        var parameter = 0
        if function == .topk || function == .bottomk {
            let place = position
            guard let count = Int(exactly: try number()), count > 0 else {
                throw fail("\(function.rawValue) needs a whole number above 0", at: place)
            }
            parameter = count
            try expect(",")
        }
        let place = position
        let inner = try binary(1)
        if case .lines = inner { throw fail("\(function.rawValue) takes figures, not lines", at: place) }
        try expect(")")
        if grouping == nil { grouping = try self.grouping() }
        let all = Grouping(isWithout: false, names: [])
        return .aggregation(
            VectorAggregation(function: function, grouping: grouping ?? all, parameter: parameter), inner)
    }

    mutating func grouping() throws -> Grouping? {
        let isWithout = kind == .word("without")
        guard isWithout || kind == .word("by") else { return nil }
        advance()
        return Grouping(isWithout: isWithout, names: Set(try names()))
    }

    private mutating func names() throws -> [String] {
        try expect("(")
        var names: [String] = []
        if take(")") { return names }
        repeat { names.append(try name()) } while take(",")
        try expect(")")
        return names
    }

    private mutating func rangeAggregation(
        _ function: RangeAggregation.Function, _ place: Int
    ) throws -> RangeAggregation {
        var grouping = try self.grouping()
        try expect("(")
        var parameter = 0.0
        if function == .quantile {
            parameter = try number()
            try expect(",")
        }
        var source = LineSource(matchers: try selector())
        var (range, offset, unwrap): (Int64?, Int64, RangeAggregation.Unwrap?) = (nil, 0, nil)
        while true {
            if kind == .symbol("["), range == nil {
                let place = position
                advance()
                range = try duration()
                if (range ?? 0) <= 0 { throw fail("a range must be longer than nothing", at: place) }
                try expect("]")
            } else if takeWord("offset") {
                offset = try duration()
            } else if kind == .symbol("|"), tokens[index + 1].kind == .word("unwrap") {
                if unwrap != nil { throw fail("one unwrap only") }
                advance()
                advance()
                unwrap = try self.unwrap()
            } else if let stage = try stage() {
                if unwrap == nil { source.stages.append(stage) } else { unwrap?.stages.append(stage) }
            } else {
                break
            }
        }
        guard let range else { throw fail("\(function.rawValue) needs a range as [5m]") }
        try expect(")")
        if grouping == nil { grouping = try self.grouping() }
        if unwrap == nil, function.needsUnwrap { throw fail("\(function.rawValue) needs an unwrap", at: place) }
        if unwrap != nil, [.count, .bytes, .bytesRate].contains(function) {
            throw fail("\(function.rawValue) takes no unwrap", at: place)
        }
        return RangeAggregation(
            function: function, parameter: parameter, source: source, unwrap: unwrap, range: range, offset: offset,
            grouping: grouping)
    }

    private mutating func unwrap() throws -> RangeAggregation.Unwrap {
        let place = position
        let first = try name()
        guard take("(") else { return .init(label: first, conversion: .number) }
        guard let conversion = RangeAggregation.Conversion(rawValue: first), conversion != .number else {
            throw fail("unwrap knows duration, duration_seconds and bytes, not \"\(first)\"", at: place)
        }
        let label = try name()
        try expect(")")
        return .init(label: label, conversion: conversion)
    }
}
