import API
import Manifests

/// What runs, what is wrong, and the four numbers.
struct OverviewPage: PageBody {
    static let template = "overview"
    static let section = Section.overview
    static let lead: String? = "What runs, what is wrong, and how fast changes reach people."

    struct ProblemRow: Sendable {
        let tone: Tone
        let icon: String
        let what: String
        let why: String
        let href: String
        let when: When?
    }
    struct Line: Sendable {
        let status: Badge
        let name: String
        let phase: String
        let message: String
        let href: String
    }

    let empty: EmptyState?
    let problemNote: String
    let problems: [ProblemRow]
    let dora: [DoraCard]
    let showsRuns: Bool
    let runNote: String
    let runs: RunTable?
    let noRuns: EmptyState?
    let services: [Line]
    let monitors: [Line]

    init(
        runs: [Run], services: [ServiceStatus], monitors: [Resource], pipelines: [String], dora report: DoraReport,
        now: Double
    ) {
        problems = Self.problems(runs, services, monitors, now: now)
        problemNote = problems.isEmpty ? "" : Format.plural(problems.count, "thing")
        dora = DoraCard.all(report, href: "/dora")
        let active = runs.count { !$0.status.hasEnded }
        runNote = active == 0 ? "none running" : "\(active) running"
        self.runs = RunTable(Array(runs.prefix(10)), caption: "Latest runs", now: now)
        let isBare = runs.isEmpty && services.isEmpty && pipelines.isEmpty
        showsRuns = !isBare
        empty = isBare ? Self.welcome : nil
        noRuns = runs.isEmpty && !isBare ? RunsPage.nothing(isFiltered: false, pipelines: pipelines) : nil
        self.services = services.map { one in
            let badge = Badge(status: one.phase.rawValue)
            return Line(
                status: badge, name: one.service, phase: badge.text, message: one.message,
                href: Links.service(one.service))
        }
        self.monitors = monitors.map { Self.line($0) }
    }

    static let welcome = EmptyState(
        icon: "pipelines", title: "Welcome to Vagus",
        text: "Declare a repository and push to it: its pipelines, datasets, services and monitors come along.",
        commands: [
            "vagus apply -f examples/employment/repository.yaml", "vagus get repositories", "git push vagus main",
        ])

    private static func status(_ monitor: Resource) -> MonitorStatus? {
        // A status that another version of vagus wrote may not read; the monitor then says nothing.
        monitor.status.flatMap { try? MonitorStatus(json: $0, at: []) }  // unreadable: as if not told
    }

    private static func line(_ monitor: Resource) -> Line {
        let status = status(monitor)
        let badge: Badge =
            status.map { $0.windows == 0 } != false
            ? Badge(.mute, "queued", "Nothing seen yet")
            : status?.breaches.isEmpty == true ? Badge(.ok, "ok", "Steady") : Badge(.bad, "failed", "Out of bounds")
        let seen = status.map {
            "\(Format.plural($0.windows, "window")), \(Format.plural(Int($0.predictions), "prediction"))"
        }
        return Line(
            status: badge, name: monitor.name, phase: badge.text, message: status?.breaches.first ?? seen ?? "",
            href: Links.monitor(monitor.name))
    }

    private static func problems(
        _ runs: [Run], _ services: [ServiceStatus], _ monitors: [Resource], now: Double
    ) -> [ProblemRow] {
        var rows: [ProblemRow] = services.compactMap { one in
            guard one.phase == .degraded || one.phase == .paused || one.aborted else { return nil }
            let badge =
                one.aborted && one.phase == .healthy
                ? Badge(.warn, "abort", "Aborted") : Badge(status: one.phase.rawValue)
            return ProblemRow(
                tone: badge.tone, icon: badge.icon,
                what: one.aborted
                    ? "\(one.service): the newest rollout was aborted" : "\(one.service) is \(badge.text.lowercased())",
                why: one.message, href: Links.service(one.service),
                when: one.rollout_started_at.map { When($0.seconds, now: now) })
        }
        // A failed run matters until a later one succeeds: only the newest ended run of a pipeline counts.
        var seen: Set<String> = []
        for run in runs where run.status.hasEnded && ![.superseded, .skipped, .cancelled].contains(run.status) {
            guard seen.insert(run.pipeline).inserted, run.status == .failed else { continue }
            let failed = run.jobs.first { $0.status == .failed }
            rows.append(
                ProblemRow(
                    tone: .bad, icon: "failed", what: "\(run.pipeline) #\(run.number) failed",
                    why: failed.map { "\($0.key): \($0.reason ?? "failed")" } ?? run.reason ?? "",
                    href: Links.run(run.id),
                    when: run.finished_at.map { When($0.seconds, now: now) }))
        }
        for monitor in monitors {
            guard let status = status(monitor), let first = status.breaches.first else { continue }
            rows.append(
                ProblemRow(
                    tone: .bad, icon: "monitors", what: "\(monitor.name) is out of bounds",
                    why: status.breaches.count == 1 ? first : "\(first), and \(status.breaches.count - 1) more",
                    href: Links.monitor(monitor.name), when: status.updated_at.map { When($0.seconds, now: now) }))
        }
        return rows
    }
}
