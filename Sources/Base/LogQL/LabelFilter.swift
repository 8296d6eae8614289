internal import Series

/// A condition on the value of one label, as text.
struct StringTest: Sendable {
    let comparison: LabelMatcher.Comparison
    let value: String
    let pattern: LabelPattern?

    /// - Throws: `PatternError`.
    init(_ comparison: LabelMatcher.Comparison, _ value: String) throws {
        self.comparison = comparison
        self.value = value
        pattern = comparison == .matches || comparison == .doesNotMatch ? try LabelPattern(value) : nil
    }

    func holds(_ text: String) -> Bool {
        switch comparison {
        case .equal: text == value
        case .notEqual: text != value
        case .matches: pattern?.matches(text) ?? false
        case .doesNotMatch: !(pattern?.matches(text) ?? false)
        }
    }
}

/// A condition on the labels of a line.
indirect enum LabelFilter: Sendable {
    enum Unit: Sendable { case number, duration, bytes }

    case text(String, StringTest)
    case quantity(String, BinaryOperation.Operator, Double, Unit)
    case both(LabelFilter, LabelFilter)
    case either(LabelFilter, LabelFilter)

    func keeps(_ state: inout LineState) -> Bool {
        switch self {
        case .text(let name, let test): return test.holds(state[name] ?? "")
        case .both(let left, let right): return left.keeps(&state) && right.keeps(&state)
        case .either(let left, let right): return left.keeps(&state) || right.keeps(&state)
        case .quantity(let name, let comparison, let wanted, let unit):
            guard let text = state[name] else { return false }
            let value: Double? =
                switch unit {
                case .number: Double(text)
                case .duration: Quantities.duration(text)
                case .bytes: Quantities.bytes(text)
                }
            // As Loki: what is no number stays, with a label that says so, unless a later stage drops it.
            guard let value else {
                state.fail(.labelFilter, "\"\(text)\" of \"\(name)\" is no \(unit)")
                return true
            }
            return comparison.compare(value, wanted)
        }
    }

    /// Values that labels must have for a line to be kept.
    var requiredValues: [(name: String, value: String)] {
        switch self {
        case .text(let name, let test):
            test.comparison == .equal && !test.value.isEmpty ? [(name, test.value)] : []
        case .both(let left, let right): left.requiredValues + right.requiredValues
        case .either, .quantity: []
        }
    }
}

extension BinaryOperation.Operator {
    func compare(_ left: Double, _ right: Double) -> Bool {
        switch self {
        case .equal: left == right
        case .notEqual: left != right
        case .less: left < right
        case .lessOrEqual: left <= right
        case .greater: left > right
        case .greaterOrEqual: left >= right
        default: false
        }
    }
}
