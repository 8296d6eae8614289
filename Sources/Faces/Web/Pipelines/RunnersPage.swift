import API
import Manifests

/// The fleet: who takes jobs, what of it is taken, who has fallen silent.
struct RunnersPage: PageBody {
    static let template = "runners"
    static let section = Section.runners
    static let lead: String? =
        "Who takes jobs, what they offer, and what they are at."

    struct Row: Sendable {
        let name: String
        let labels: String
        let status: Badge
        let executors: String
        let taken: String
        let size: String
        let jobs: [Link]
        let version: String
        let seen: When
    }
    let note: String
    let table: Rows<Row>?
    let empty: EmptyState?

    /// Seconds of silence after which the server counts on a runner no more.
    static let silence = 90.0

    init(_ runners: [RunnerInfo], now: Double) {
        let awake = runners.filter { !Self.isSilent($0, now) }
        let places = awake.reduce(0) { $0 + $1.capacity }
        let taken = awake.reduce(0) { $0 + $1.jobs.count }
        note =
            "\(awake.count) of \(Format.plural(runners.count, "runner")) heard of lately, "
            + "\(taken) of \(Format.plural(places, "place")) taken"
        table = Rows(runners.map { Self.row($0, now: now) })
        empty =
            !runners.isEmpty
            ? nil
            : EmptyState(
                icon: "system", title: "No runner yet",
                text:
                    "A runner needs no open port: it asks this server for jobs. Make it a token, then start it anywhere.",
                commands: [
                    "vagus token create runner-1 --permission agent",
                    "vagus runner --server URL --token TOKEN --data /var/lib/vagus-runner",
                ])
    }

    private static func isSilent(_ runner: RunnerInfo, _ now: Double) -> Bool {
        now - runner.seen_at.seconds > silence
    }

    private static func row(_ runner: RunnerInfo, now: Double) -> Row {
        Row(
            name: runner.name, labels: runner.labels.joined(separator: ", "), status: badge(runner, now),
            executors: runner.executors.map(\.rawValue).joined(separator: ", "),
            taken: "\(runner.jobs.count) of \(runner.capacity)",
            size: [runner.cpu.map { "\($0) cpu" }, runner.memory.map { Format.memory($0.bytes) }].compactMap { $0 }
                .joined(separator: ", "),
            jobs: runner.jobs.map(link), version: runner.version, seen: When(runner.seen_at.seconds, now: now))
    }

    private static func badge(_ runner: RunnerInfo, _ now: Double) -> Badge {
        if isSilent(runner, now) { return Badge(.bad, "failed", "Silent") }
        if runner.is_draining { return Badge(.warn, "paused", "Draining") }
        if runner.jobs.isEmpty { return Badge(.ok, "ok", "Free") }
        return runner.jobs.count < runner.capacity ? Badge(.run, "running", "Busy") : Badge(.run, "running", "Full")
    }

    /// "run/stage/job" as a link.
    private static func link(_ held: String) -> Link {
        let parts = held.split(separator: "/", maxSplits: 1).map(String.init)
        guard parts.count == 2 else { return Link(held, "/runs") }
        let job = parts[1].split(separator: "/").map(String.init)
        return Link(
            job.count == 2 ? RunWords.job(job[0], job[1]) : parts[1], Links.run(parts[0], job: parts[1]))
    }
}

extension Visitor {
    func runners() async throws -> WebResponse {
        try await render { RunnersPage(try await ask(Runners.list, Nothing()).items, now: now) }
    }
}
