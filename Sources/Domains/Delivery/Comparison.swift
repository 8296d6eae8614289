/// A simple comparison such as `result < 0.01`.
struct Comparison: Sendable, Equatable {
    enum Sign: String, CaseIterable {
        case atMost = "<=", atLeast = ">=", equal = "==", unequal = "!=", below = "<", above = ">"
    }
    var sign: Sign
    var bound: Double

    /// Reads a sign and a number after the word "result"; the number may end in % or ms.
    init?(_ text: String) {
        let rest = text.filter { !$0.isWhitespace }
        guard rest.hasPrefix("result") else { return nil }
        let tail = rest.dropFirst("result".count)
        guard let sign = Sign.allCases.first(where: { tail.hasPrefix($0.rawValue) }) else { return nil }
        var number = tail.dropFirst(sign.rawValue.count)
        var scale = 1.0
        if number.hasSuffix("%") { (number, scale) = (number.dropLast(), 0.01) }
        if number.hasSuffix("ms") { number = number.dropLast(2) }
        guard let bound = Double(number), bound.isFinite else { return nil }
        self.sign = sign
        self.bound = bound * scale
    }

    func holds(for value: Double) -> Bool {
        switch sign {
        case .below: value < bound
        case .atMost: value <= bound
        case .above: value > bound
        case .atLeast: value >= bound
        case .equal: value == bound
        case .unequal: value != bound
        }
    }
}
