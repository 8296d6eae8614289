package import Series
import Synchronization

/// How queries run.
package struct EngineOptions: Sendable {
    /// How far a selector looks back for a sample, in milliseconds.
    package var lookback: Int64 = 5 * 60_000
    /// The step of a subquery that names none, in milliseconds.
    package var defaultSubqueryStep: Int64 = 60_000
    /// Samples that a query may hold in memory at once; a histogram counts by its size.
    package var maximumSamples = 50_000_000
    /// How long a query may run.
    package var timeout: Duration = .seconds(120)
    /// Takes a metric's name away at the end of a query instead of at each function, so that `label_replace` can still
    /// read it (Prometheus's `promql-delayed-name-removal`).
    package var delayedNameRemoval = true
    /// `rate` judges by the `__type__` label instead of the name's end whether a metric is a counter.
    package var typeAndUnitLabels = false
    /// Threads for one query; the first is the caller's.
    package var lanes = 2
    package var language = LanguageOptions()

    package init() {}
}

/// Stops a running query from another thread.
package final class CancelFlag: Sendable {
    private let flag = Atomic(false)

    package init() {}
    package func cancel() { flag.store(true, ordering: .relaxed) }
    package var isCancelled: Bool { flag.load(ordering: .relaxed) }
}

/// Answers queries. Calls block while they read and compute: they belong on threads of their own. One engine serves any number
/// of threads.
package struct PromQLEngine: Sendable {
    package let options: EngineOptions

    package init(_ options: EngineOptions = EngineOptions()) { self.options = options }

    /// The value at one time, in milliseconds since 1970.
    ///
    /// - Throws: `PromQLError`.
    package func instant(
        _ expression: Expression, text: String? = nil, at time: Int64, source: any SeriesSource,
        cancel: CancelFlag? = nil
    ) throws(PromQLError) -> QueryAnswer {
        let steps = Steps(start: time, interval: 1, count: 1)
        let evaluator = Evaluator(options, source, cancel, steps, text ?? expression.description)
        return try evaluator.answer(expression, isRange: false)
    }

    /// The value at every step from the first time to the last, both included; milliseconds.
    ///
    /// - Throws: `PromQLError`; of kind `execution` when the step is not positive or the query is no scalar or vector.
    package func range(
        _ expression: Expression, text: String? = nil, from: Int64, to: Int64, step: Int64, source: any SeriesSource,
        cancel: CancelFlag? = nil
    ) throws(PromQLError) -> QueryAnswer {
        guard step > 0 else {
            throw PromQLError(.execution, "zero or negative query resolution step widths are not accepted")
        }
        guard to >= from else { throw PromQLError(.execution, "end timestamp must not be before start time") }
        guard expression.type == .scalar || expression.type == .vector else {
            let message =
                "invalid expression type \"\(expression.type.rawValue)\" for range query, must be Scalar or instant Vector"
            throw PromQLError(.execution, message)
        }
        let steps = Steps(start: from, interval: step, count: Int((to - from) / step) + 1)
        let evaluator = Evaluator(options, source, cancel, steps, text ?? expression.description)
        return try evaluator.answer(expression, isRange: true)
    }
}

/// The times at which something is evaluated, in milliseconds.
struct Steps: Hashable, Sendable {
    var start: Int64
    var interval: Int64
    var count: Int

    func time(_ index: Int) -> Int64 { start + Int64(index) * interval }
    var end: Int64 { time(max(count, 1) - 1) }
    var first: Steps { Steps(start: start, interval: interval, count: 1) }
}
