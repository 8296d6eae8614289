package import Manifests
import Synchronization

/// How many of one kind there are on both sides.
package struct MoveCount: Manifest {
    package var kind = ""
    package var source: Int64 = 0
    package var target: Int64 = 0
    package init() {}
    package static let fields: [Field<Self>] = [
        .told("kind", \.kind, "What is counted."),
        .told("source", \.source, "How many the source has."),
        .told("target", \.target, "How many of them the other side has."),
    ]
}

/// How a move ended.
package struct MoveReport: Manifest {
    package var source = ""
    package var target = ""
    package var is_equal = false
    package var counts: [MoveCount] = []
    package var passed_over = 0
    package var mapped: [String] = []
    package var differences: [String] = []
    package var more_differences = 0
    package var missing: [String] = []
    package var not_taken: [String] = []
    package var seconds = 0.0
    package init() {}
    package static let fields: [Field<Self>] = [
        .told("source", \.source, "What was read."),
        .told("target", \.target, "Where it went."),
        .told("is_equal", \.is_equal, "Whether nothing is missing on the other side."),
        .told("counts", \.counts, "How many there are on both sides, by kind."),
        .told("passed_over", \.passed_over, "How many runs were there already, whole."),
        .optional("mapped", \.mapped, "What got another name or number."),
        .optional("differences", \.differences, "What is missing or was refused."),
        .optional("more_differences", \.more_differences, "How many more differences are not listed."),
        .optional("missing", \.missing, "Files that the source names and that could not be found."),
        .optional("not_taken", \.not_taken, "What is in the source and is not moved."),
        .told("seconds", \.seconds, "How long it took."),
    ]

    /// Differences that are listed.
    private static let listed = 50

    package mutating func differ(_ words: String) {
        if differences.count < Self.listed { differences.append(words) } else { more_differences += 1 }
    }

    /// The kinds in the order in which they first come.
    package mutating func count(_ kind: String, source: Int64 = 0, target: Int64 = 0) {
        if let place = counts.firstIndex(where: { $0.kind == kind }) {
            counts[place].source += source
            counts[place].target += target
        } else {
            var count = MoveCount()
            (count.kind, count.source, count.target) = (kind, source, target)
            counts.append(count)
        }
    }

    package mutating func count(_ kind: String, source: Int = 0, target: Int = 0) {
        count(kind, source: Int64(source), target: Int64(target))
    }
}

/// What a move is asked to be.
package struct MoveOptions: Sendable {
    /// Names of experiments; empty: all.
    package var experiments: Set<String> = []
    /// Whether nothing is sent and only the source is counted.
    package var isDry = false

    package init() {}

    func includes(_ name: String) -> Bool { experiments.isEmpty || experiments.contains(name) }
}

/// Tells how far a move is, now and then.
package final class MoveProgress: Sendable {
    private struct State {
        var runs = 0
        var bytes: Int64 = 0
        var total: Int?
        var last: ContinuousClock.Instant
    }
    private let state: Mutex<State>
    private let start = ContinuousClock.now
    private let tell: @Sendable (Line) -> Void
    private static let interval: Duration = .seconds(1)

    package struct Line: Sendable {
        package var runs: Int
        package var total: Int?
        package var bytes: Int64
        /// Nil while it cannot be told.
        package var left: Duration?
        package var isLast: Bool
    }

    package init(_ tell: @escaping @Sendable (Line) -> Void) {
        self.tell = tell
        state = Mutex(State(last: start))
    }

    var elapsed: Duration { start.duration(to: .now) }

    func expect(_ runs: Int?) { state.withLock { $0.total = runs } }
    func moved(bytes: Int64) { note { $0.bytes += bytes } }
    func moved(runs: Int) { note { $0.runs += runs } }
    func end() { note(isLast: true) { _ in } }

    private func note(isLast: Bool = false, _ change: (inout State) -> Void) {
        let now = ContinuousClock.now
        let line = state.withLock { state -> Line? in
            change(&state)
            guard isLast || state.last.duration(to: now) >= Self.interval else { return nil }
            state.last = now
            var line = Line(runs: state.runs, total: state.total, bytes: state.bytes, isLast: isLast)
            if let total = state.total, state.runs > 0, total >= state.runs {
                line.left = start.duration(to: now) / state.runs * (total - state.runs)
            }
            return line
        }
        if let line { tell(line) }
    }
}

/// A lock around a report that several tasks write.
final class SharedReport: Sendable {
    private let report: Mutex<MoveReport>
    init(_ report: MoveReport) { self.report = Mutex(report) }
    func change(_ body: (inout MoveReport) -> Void) { report.withLock { body(&$0) } }
    var value: MoveReport { report.withLock { $0 } }
}
