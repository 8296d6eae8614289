import API
import Manifests

/// What the measurements of one metric add up to.
struct Tally: Manifest, Equatable {
    var successful = 0
    var failed = 0
    var inconclusive = 0
    var error = 0
    var consecutive_error = 0
    var consecutive_successful = 0

    init() {}
    static let fields: [Field<Self>] = [
        .optional("successful", \.successful, "Good."), .optional("failed", \.failed, "Bad."),
        .optional("inconclusive", \.inconclusive, "Neither."), .optional("error", \.error, "No answer."),
        .optional("consecutive_error", \.consecutive_error, "No answer, in a row."),
        .optional("consecutive_successful", \.consecutive_successful, "Good, in a row."),
    ]

    /// Measurements; one without an answer is none.
    var count: Int { successful + failed + inconclusive }

    mutating func add(_ phase: AnalysisRun.Phase) {
        switch phase {
        case .successful: successful += 1
        case .failed: failed += 1
        case .inconclusive: inconclusive += 1
        case .error: error += 1
        case .pending, .running: return
        }
        consecutive_error = phase == .error ? consecutive_error + 1 : 0
        consecutive_successful = phase == .successful ? consecutive_successful + 1 : 0
    }
}

/// The algebra of measurements, metrics and runs (as Argo Rollouts' evaluate.go and analysis.go have it). Pure.
enum MetricAlgebra {
    /// One value under its conditions; `nil` for a condition that was not written.
    ///
    /// Both true is a failure; with one condition only, its opposite is the other; neither of both is inconclusive. Without
    /// any there is nothing to judge by: such a metric is refused when it is applied, so none comes here.
    static func measure(success: Bool?, failure: Bool?) -> AnalysisRun.Phase {
        switch (success, failure) {
        case (_, true?), (false?, nil): .failed
        case (true?, _), (nil, false?): .successful
        case (false?, false?), (nil, nil): .inconclusive
        }
    }

    /// What a metric says after these measurements; nil: it goes on.
    ///
    /// When several limits trip at once, an error is told before an inconclusive result, and that before a failure.
    ///
    /// - Parameter count: Measurements that are taken; nil: they go on for ever.
    static func assess(_ tally: Tally, _ spec: AnalysisSpec, count: Int?) -> AnalysisRun.Phase? {
        if tally.consecutive_error > spec.consecutive_error_limit { return .error }
        if spec.inconclusive_limit >= 0, tally.inconclusive > spec.inconclusive_limit { return .inconclusive }
        if spec.failure_limit >= 0, tally.failed > spec.failure_limit { return .failed }
        if let enough = spec.success_limit, tally.consecutive_successful >= enough { return .successful }
        guard let count, tally.count >= count else { return nil }
        guard spec.success_limit != nil else { return .successful }
        return spec.failure_limit == -1 ? .failed : .inconclusive
    }

    /// From good to bad: a run is as bad as the worst of its metrics.
    static let order: [AnalysisRun.Phase] = [.successful, .running, .pending, .inconclusive, .error, .failed]

    /// What a run of these metrics says; metrics without a say left out before.
    static func worst(_ phases: [AnalysisRun.Phase]) -> AnalysisRun.Phase {
        phases.max { (order.firstIndex(of: $0) ?? 0) < (order.firstIndex(of: $1) ?? 0) } ?? .successful
    }
}

extension AnalysisStatus.Verdict {
    init(_ phase: AnalysisRun.Phase) {
        switch phase {
        case .successful: self = .passed
        case .failed: self = .failed
        case .error: self = .error
        case .inconclusive: self = .inconclusive
        case .pending, .running: self = .running
        }
    }

    /// As the algebra says it.
    func phase(hasBegun: Bool) -> AnalysisRun.Phase {
        switch self {
        case .running: hasBegun ? .running : .pending
        case .passed: .successful
        case .failed: .failed
        case .inconclusive: .inconclusive
        case .error: .error
        }
    }
}
