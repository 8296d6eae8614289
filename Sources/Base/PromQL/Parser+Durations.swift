/// Lengths of time in ranges, steps and offsets; with the language's switch also arithmetic over them.
extension Parser {
    /// A length above zero, of a range or step.
    mutating func positiveDuration() throws(PromQLError) -> DurationText {
        let start = current.range.lowerBound
        let value = try durationExpression()
        let range = start..<max(start, current.range.lowerBound)
        let duration = try rounded(value, at: range)
        if duration.milliseconds <= 0 { throw failure("duration must be greater than 0", at: range) }
        return duration
    }

    /// A length of either sign: a number with a sign at most, or an expression in parentheses.
    mutating func offsetDuration() throws(PromQLError) -> DurationText {
        let start = current.range.lowerBound
        let value = try durationOperand(mayNest: false)
        return try rounded(value, at: start..<max(start, current.range.lowerBound))
    }

    /// Seconds and canonical text.
    private struct Length {
        var seconds: Double
        var text: String
    }

    private func rounded(_ length: Length, at range: Range<Int>) throws(PromQLError) -> DurationText {
        let milliseconds = length.seconds * 1_000
        guard milliseconds.magnitude < 9.2e12, milliseconds.isFinite else {
            throw failure("duration out of range", at: range)
        }
        return DurationText(milliseconds: Int64(milliseconds.rounded()), text: length.text)
    }

    private mutating func durationExpression(_ least: Int = 0, depth: Int = 0) throws(PromQLError) -> Length {
        if depth > Self.depthLimit { throw failure("expression nests deeper than \(Self.depthLimit) levels") }
        var left = try durationOperand(mayNest: true, depth: depth)
        while current.kind == .symbol, let operation = BinaryOperation.Operator(rawValue: current.text),
            operation.precedence >= least,
            operation.precedence >= BinaryOperation.Operator.add.precedence
        {
            let place = current.range
            try requireArithmetic()
            advance()
            let next = operation == .power ? operation.precedence : operation.precedence + 1
            let right = try durationExpression(next, depth: depth + 1)
            left.text = "\(left.text) \(operation.rawValue) \(right.text)"
            left.seconds = try apply(operation, left.seconds, right.seconds, at: place)
        }
        return left
    }

    private func apply(
        _ operation: BinaryOperation.Operator, _ left: Double, _ right: Double, at place: Range<Int>
    ) throws(PromQLError) -> Double {
        switch operation {
        case .add: return left + right
        case .subtract: return left - right
        case .multiply: return left * right
        case .divide:
            if right == 0 { throw failure("division by zero", at: place) }
            return left / right
        case .modulo:
            if right == 0 { throw failure("modulo by zero", at: place) }
            return left.truncatingRemainder(dividingBy: right)
        case .power: return Mathematics.power(left, right)
        default: throw failure("unexpected duration expression operator \"\(operation.rawValue)\"", at: place)
        }
    }

    private func requireArithmetic() throws(PromQLError) {
        if !options.durationExpressions { throw failure("experimental duration expression is not enabled") }
    }

    private mutating func durationOperand(mayNest: Bool, depth: Int = 0) throws(PromQLError) -> Length {
        if depth > Self.depthLimit { throw failure("expression nests deeper than \(Self.depthLimit) levels") }
        let token = current
        switch token.kind {
        case .number(let value):
            advance()
            return Length(
                seconds: value, text: NumberText.plain(value) == token.text ? token.text : NumberText.plain(value))
        case .duration(let milliseconds):
            advance()
            return Length(seconds: Double(milliseconds) / 1_000, text: DurationText.format(milliseconds))
        case .symbol where token.text == "(":
            try requireArithmetic()
            advance()
            let inner = try durationExpression(depth: depth + 1)
            try expect(")", in: "duration")
            return Length(seconds: inner.seconds, text: "(\(inner.text))")
        case .symbol where token.text == "-" || token.text == "+":
            advance()
            // In a bracket a power goes before the sign; behind `offset` the sign belongs to the number.
            let power = BinaryOperation.Operator.power.precedence
            let inner =
                try mayNest
                ? durationExpression(power, depth: depth + 1) : durationOperand(mayNest: false, depth: depth + 1)
            return token.text == "-" ? Length(seconds: -inner.seconds, text: "-\(inner.text)") : inner
        default: throw unexpected(in: "duration", expected: "number or duration")
        }
    }
}
