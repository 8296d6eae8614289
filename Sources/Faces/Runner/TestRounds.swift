import API
import Foundation
import Kernel
import Synchronization

/// A step that runs tests: run again while some have failed, and forgiven for those in quarantine.
///
/// Which tests a step has run is told by the JUnit reports that it wrote anew. A step that fails without a failed test in
/// them has failed, whatever its tests say.
struct TestRounds: Sendable {
    let pattern: String
    let reruns: Int
    /// Tests that may fail: "suite.name".
    let quarantined: Set<String>
    let workspace: String
    let ledger: TestLedger
    let say: @Sendable (String) async throws -> Void

    /// Variable that holds the names of the tests to run again, one a line.
    static let variable = "VAGUS_RERUN_TESTS"
    /// More failed tests than these are no flakiness.
    static let rerunLimit = 200
    /// Names that are told in one line.
    private static let namesShown = 10

    /// Nil for a step that has nothing to do with tests.
    init?(_ order: StepOrder, in steps: StepsWork) {
        guard let pattern = steps.lease.reports.junit, order.verb == "run" else { return nil }
        self.pattern = pattern
        reruns = steps.lease.reports.flaky?.rerun ?? 0
        quarantined = Set(steps.lease.quarantined)
        workspace = steps.folder.workspace
        ledger = steps.ledger
        let output = steps.output
        say = { try await output.say($0) }
    }

    /// Runs the step as often as it takes.
    ///
    /// - Parameter step: Runs it once; the names are of the tests to run again, none at first. Gives how it ended and the
    ///   number of its attempts.
    func run(_ step: ([String]) async throws -> (StepOutcome, Int)) async throws -> (StepOutcome, Int) {
        var before = marks()
        var (outcome, attempts) = try await step([])
        guard var latest = cases(since: before) else { return (outcome, attempts) }
        ledger.add(latest, round: 0)
        guard outcome.status == .failed, Self.isOfTests(outcome) else { return (outcome, attempts) }
        var open = Self.failed(latest)
        if open.isEmpty { return (outcome, attempts) }
        var later: [String] = []
        for round in stride(from: 1, through: reruns, by: 1) {
            let wanted = open.filter { !quarantined.contains($0) }
            if wanted.isEmpty { break }
            guard wanted.count <= Self.rerunLimit else {
                try await say("! \(wanted.count) tests failed: too many to be run again")
                break
            }
            try await say("── runs \(Self.words(wanted)) again, \(round) of \(reruns)")
            before = marks()
            let (again, more) = try await step(wanted)
            (outcome, attempts) = (again, attempts + more)
            latest = cases(since: before) ?? []
            ledger.add(latest, round: round)
            let passed = Set(latest.filter { $0.verdict == .passed }.map(\.id))
            later += open.filter(passed.contains)
            open.removeAll(where: passed.contains)
            if outcome.status == .failed, !Self.isOfTests(outcome) { return (outcome, attempts) }
        }
        return (try await judged(outcome, open: open, later: later, latest: latest), attempts)
    }

    private func judged(_ outcome: StepOutcome, open: [String], later: [String], latest: [TestCase]) async throws
        -> StepOutcome
    {
        var judged = outcome
        if !later.isEmpty { try await note("flaky, passed when run again: \(Self.words(later))", in: &judged) }
        let remaining = open.filter { !quarantined.contains($0) }
        let isExplained = outcome.status == .succeeded || !Self.failed(latest).isEmpty
        guard isExplained, remaining.isEmpty else {
            if outcome.status == .succeeded {
                (judged.status, judged.reason) = (
                    .failed, "failed, and did not pass when run again: \(Self.words(remaining))"
                )
                try await say("✘ \(judged.reason ?? "")")
            }
            return judged
        }
        if !open.isEmpty { try await note("in quarantine, may fail: \(Self.words(open))", in: &judged) }
        (judged.status, judged.reason) = (.succeeded, nil)
        return judged
    }

    private func note(_ text: String, in outcome: inout StepOutcome) async throws {
        try await say("! \(text)")
        var annotation = Annotation()
        (annotation.level, annotation.message) = (.warning, text)
        outcome.annotations.append(annotation)
    }

    /// Whether the step ended by itself, so that its tests may be the reason.
    private static func isOfTests(_ outcome: StepOutcome) -> Bool {
        guard let code = outcome.exitCode else { return false }
        return (1..<128).contains(code) && !(outcome.reason?.hasPrefix(StepWork.timeoutWords) ?? false)
    }

    private static func failed(_ cases: [TestCase]) -> [String] {
        var seen: Set<String> = []
        return cases.filter { $0.hasFailed && seen.insert($0.id).inserted }.map(\.id)
    }

    private static func words(_ names: [String]) -> String {
        let more = names.count > namesShown ? " and \(names.count - namesShown) more" : ""
        return names.prefix(namesShown).joined(separator: ", ") + more
    }

    // MARK: Reports

    private struct Mark: Equatable {
        var inode: UInt64
        var size: Int64
        var seconds: Int
        var nanoseconds: Int
    }

    /// The reports as they stand.
    private func marks() -> [String: Mark] {
        let files = (try? GlobWalk.files(matching: [pattern], in: workspace)) ?? []  // a bad pattern is told at the end
        return Dictionary(
            files.compactMap { file in
                var status = stat()
                guard stat("\(workspace)/\(file)", &status) == 0 else { return nil }
                return (
                    file,
                    Mark(
                        inode: UInt64(status.st_ino), size: Int64(status.st_size), seconds: status.st_mtim.tv_sec,
                        nanoseconds: status.st_mtim.tv_nsec)
                )
            }, uniquingKeysWith: { first, _ in first })
    }

    /// What reports say that were written meanwhile; nil when none was.
    private func cases(since before: [String: Mark]) -> [TestCase]? {
        let fresh = marks().filter { before[$0.key] != $0.value }.keys.sorted()
        if fresh.isEmpty { return nil }
        return fresh.flatMap { file -> [TestCase] in
            guard let bytes = JUnitReader.bytes(of: "\(workspace)/\(file)") else { return [] }
            return (try? JUnitReader.parse(bytes))?.cases ?? []  // a broken one is told at the end of the job
        }
    }
}

/// What the tests of a job have said, round by round.
final class TestLedger: Sendable {
    private let rounds = Mutex<[[TestCase]]>([])

    func add(_ cases: [TestCase], round: Int) {
        rounds.withLock { rounds in
            while rounds.count <= round { rounds.append([]) }
            rounds[round] += cases
        }
    }

    /// All that is to be told of, by rounds, with what reports say at the end that nobody has looked at before.
    func told(with last: [TestCase]) -> [[TestCase]] {
        rounds.withLock { rounds in
            let known = Set(rounds.joined().map(\.id))
            let others = last.filter { !known.contains($0.id) }
            return rounds.isEmpty ? [others] : [rounds[0] + others] + rounds.dropFirst()
        }
    }

    /// The sums, a test that passed once having passed; nil when nothing was run again.
    func summary(with last: [TestCase]) -> TestSummary? {
        let all = told(with: last)
        guard all.count > 1 else { return nil }
        let passed = Set(all.dropFirst().joined().filter { $0.verdict == .passed }.map(\.id))
        var sum = TestSummary()
        for test in all[0] {
            sum.tests += 1
            if test.hasFailed, passed.contains(test.id) {
                sum.flaky += 1
                continue
            }
            switch test.verdict {
            case .passed: continue
            case .skipped:
                sum.skipped += 1
                continue
            case .failed: sum.failures += 1
            case .broken: sum.errors += 1
            }
            if sum.failed_names.count < JUnitReader.namesLimit { sum.failed_names.append(test.id) }
        }
        return sum
    }
}
