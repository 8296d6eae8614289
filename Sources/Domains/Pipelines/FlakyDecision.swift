import API
import Kernel

/// The bounds of what is kept of tests.
package enum TestLimits {
    /// Runs of a pipeline whose results are kept.
    package static let runs = 500
    /// Results with which a new one is compared.
    static let compared = 20
    /// How long a test counts as flaky after it was found so.
    static let memory: Duration = .seconds(30 * 86_400)
    /// The longest quarantine.
    static let quarantine: Duration = .seconds(366 * 86_400)
    /// Flaky tests of one call that are told of as events; the others are in the list.
    static let told = 20
}

/// Whether a result contradicts others on the same code. Pure.
enum FlakyDecision {
    /// - Parameters:
    ///   - sighting: The new result.
    ///   - others: Earlier results of the same test in the same job, newest first.
    ///   - numbers: Runs of the same commit; nil when the run has none.
    static func isFlaky(_ sighting: TestSighting, among others: [TestSighting], ofSameCommit numbers: [Int]?) -> Bool {
        guard sighting.verdict != .skipped else { return false }
        let others = others.filter { $0.verdict != .skipped }
        // Attempts and reruns within a run are of the same code, whatever it was.
        if others.contains(where: { $0.number == sighting.number && $0.hasFailed != sighting.hasFailed }) {
            return true
        }
        if let numbers {
            return others.contains { numbers.contains($0.number) && $0.hasFailed != sighting.hasFailed }
        }
        // Nothing is known of the code: a failure may be a change and a pass its mend. Back and forth again is neither.
        let line = [sighting] + others.filter { $0.number != sighting.number }.prefix(9)
        return zip(line, line.dropFirst()).count { $0.hasFailed != $1.hasFailed } >= 3
    }
}
