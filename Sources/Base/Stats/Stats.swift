// Stats: numbers that decide something, as plain functions over arrays of Double.
//
// `Descriptive` and `Special` are the ground. `Drift` compares two samples, `Classification`, `Regression` and
// `GroupFairness` judge a model, `Sequential` and `DriftBet` gather evidence that may be looked at every minute without
// crying wolf, and `LatencyHistogram` counts durations in fixed buckets. Everything is deterministic and free of clocks;
// values are finite: callers leave missing ones out.

/// The reason why a statistic has no value.
package struct StatsError: Error, Equatable, CustomStringConvertible {
    /// The closed set of what can go wrong.
    package enum Code: String, Sendable {
        case tooFewValues = "too_few_values"
        case lengthMismatch = "length_mismatch"
        case oneClassOnly = "one_class_only"
        case notFinite = "not_finite"
        case invalidArgument = "invalid_argument"
    }

    package let code: Code
    /// What is wrong: a lower-case clause.
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { message }

    static func require(_ values: [Double], atLeast count: Int, _ name: String) throws(StatsError) {
        guard values.count >= count else {
            throw StatsError(.tooFewValues, "\(name) has \(values.count) values and \(count) are needed")
        }
        guard values.allSatisfy(\.isFinite) else {
            throw StatsError(.notFinite, "\(name) has values that are missing or infinite")
        }
    }

    static func requireSameCount(_ first: Int, _ second: Int, _ names: String) throws(StatsError) {
        guard first == second else { throw StatsError(.lengthMismatch, "\(names) have \(first) and \(second) values") }
    }
}
