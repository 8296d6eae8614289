import API
import Kernel
import Manifests

/// Checks of gates that ask about metrics: those that Telemetry has, or whom it asks.
///
/// Whatever keeps the answer from being yes keeps the job out: no data, no such objective, nobody who answers.
struct MetricChecks: Sendable {
    let metrics: any MetricSource
    let now: Timestamp

    typealias Answer = CheckReconciler.Answer

    func ask(query: String, _ spec: GateCheckSpec) async throws -> Answer {
        do {
            return Self.reading(try await metrics.query(query, at: now).map(\.value), spec)
        } catch let problem as Problem where problem.status == 422 {
            // A query that cannot be read will not be read the next time.
            return .failed(problem.message)
        }
    }

    /// Yes when there are values, and all of them lie within the bounds.
    static func reading(_ values: [Double], _ spec: GateCheckSpec) -> Answer {
        guard !values.isEmpty else { return .notYet("the query finds nothing") }
        for value in values {
            if value.isNaN { return .notYet("the query gives NaN") }
            if let least = spec.min, value < least { return .notYet("\(value) is below \(least)") }
            if let most = spec.max, value > most { return .notYet("\(value) is above \(most)") }
        }
        return .passed(values.map { "\($0)" }.prefix(5).joined(separator: ", "))
    }

    /// - Parameter slo: nil when nobody has declared it.
    func ask(slo: SloSpec?, _ spec: GateCheckSpec, project: String) async throws -> Answer {
        guard let slo else { return .failed("there is no Slo \"\(spec.slo ?? "")\" in project \"\(project)\"") }
        let queries = slo.queries(project: project)
        do {
            let errors = try await metrics.query(queries.errors, at: now).map(\.value)
            let total = try await metrics.query(queries.total, at: now).map(\.value)
            return Self.reading(errors: errors, total: total, slo, atLeast: spec.min_budget?.fraction ?? 0)
        } catch let problem as Problem where problem.status == 422 {
            return .failed(problem.message)
        }
    }

    static func reading(errors: [Double], total: [Double], _ slo: SloSpec, atLeast: Double) -> Answer {
        guard total.count == 1, let all = total.first, all.isFinite, all > 0 else {
            return .notYet(total.count > 1 ? "the query of all finds \(total.count) series" : "nothing was counted yet")
        }
        guard errors.count == 1, let bad = errors.first else {
            return .notYet("the query of errors finds \(errors.count) series, not one")
        }
        guard bad.isFinite, bad >= 0 else { return .notYet("the query of errors gives no number") }
        let left = slo.budget(errors: bad, total: all)
        let counted = "\(whole(bad)) of \(whole(all)) were bad in \(slo.window), \(slo.target) good is wanted"
        guard left + tolerance >= atLeast, atLeast > 0 || left > tolerance else {
            return .notYet("\(percent(left)) of the budget is left, \(percent(atLeast)) is needed: \(counted)")
        }
        return .passed("\(percent(left)) of the budget is left: \(counted)")
    }

    /// Shares like 99.9% are no binary fractions.
    private static let tolerance = 1e-9

    /// Increases are extrapolated: figures of counters that people know are whole.
    private static func whole(_ number: Double) -> String { "\(Int64(min(number.rounded(), 1e15)))" }

    private static func percent(_ share: Double) -> String {
        let tenths = ((max(-1000, min(1, share)) + tolerance) * 1000).rounded(.down) / 10
        return (tenths == tenths.rounded() ? "\(Int(tenths))" : "\(tenths)") + "%"
    }
}
