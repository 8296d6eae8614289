import API

/// The jobs of a run beside the log of one of them.
struct RunBench: Sendable {
    struct StageJobs: Sendable {
        let name: String
        let groups: [Group]
    }
    /// Jobs of their own, or the cells of one matrix under its name.
    struct Group: Sendable {
        let name: String?
        let jobs: [JobLink]
    }
    struct JobLink: Sendable {
        let href: String
        let name: String
        let isCurrent: Bool
        let status: Badge
        let elapsed: Elapsed?
    }

    struct JobPanel: Sendable {
        let title: String
        let status: Badge
        let note: String
        let why: Notice?
        let tries: Rows<Try>?
        let steps: [StepRow]
        let log: LogPanel?
    }
    struct Try: Sendable {
        let name: String
        let status: Badge
        let elapsed: Elapsed?
        let words: String
        let href: String
    }
    struct StepRow: Sendable {
        let name: String
        let status: Badge
        let elapsed: Elapsed?
        let message: String?
    }

    struct LogPanel: Sendable {
        let lines: Markup
        let next: String
        let line: Int
        let group: Bool
        let done: Bool
        let more: String
        let raw: String
        let earlier: String?
    }

    let stages: [StageJobs]
    let job: JobPanel?

    init(_ run: Run, _ stages: [RunStages.Stage], chosen: Job?, log: LogPanel?, now: Double) {
        self.stages = stages.map { stage in
            StageJobs(
                name: stage.name,
                groups: stage.groups.map { group in
                    Group(
                        name: group.name,
                        jobs: group.jobs.map { job in
                            JobLink(
                                href: Links.run(run.id, job: job.key) + "#bench",
                                name: group.name == nil ? job.title ?? job.name : job.cell,
                                isCurrent: job.key == chosen?.key, status: Badge(status: job.status.rawValue),
                                elapsed: Elapsed(from: job.started_at?.seconds, to: job.finished_at?.seconds, now: now))
                        })
                })
        }
        job = chosen.map { Self.panel($0, of: run, log: log, now: now) }
    }

    private static func panel(_ job: Job, of run: Run, log: LogPanel?, now: Double) -> JobPanel {
        var notes: [String] = []
        if job.attempt > 1 { notes.append("try \(job.attempt)") }
        if let runner = job.runner { notes.append(runner == "server" ? "on the server" : "on runner \(runner)") }
        let badge = Badge(status: job.status.rawValue)
        return JobPanel(
            title: RunWords.job(job), status: badge, note: notes.joined(separator: ", "),
            why: (job.reason ?? standardReason(job)).map { text in
                Notice(tone: badge.tone, icon: badge.icon, title: "\(badge.text) because", text: text)
            },
            tries: Rows(job.attempts.map { tried($0, of: job, in: run, now: now) }),
            steps: job.steps.map { step in
                var words = [step.reason].compactMap { $0 }
                if let code = step.exit_code, code != 0 { words.append("exit code \(code)") }
                if step.attempts > 1 { words.append("begun \(step.attempts) times") }
                return StepRow(
                    name: step.name, status: Badge(status: step.status.rawValue),
                    elapsed: Elapsed(from: step.started_at?.seconds, to: step.finished_at?.seconds, now: now),
                    message: words.isEmpty ? nil : words.joined(separator: " · "))
            }, log: log)
    }

    private static func tried(_ one: JobAttempt, of job: Job, in run: Run, now: Double) -> Try {
        let place = one.runner.map { $0 == "server" ? "on the server" : "on runner \($0)" }
        let cause = one.cause.map { $0.rawValue.replacing("_", with: " ") }
        return Try(
            name: "Try \(one.attempt)", status: Badge(status: one.status.rawValue),
            elapsed: Elapsed(from: one.started_at?.seconds, to: one.finished_at?.seconds, now: now),
            words: [place, cause, one.reason].compactMap { $0 }.joined(separator: " · "),
            href: Links.path(["runs", run.id], ["job": job.key, "from": "\(one.log_offset)"]) + "#bench")
    }

    /// Why a job stands as it does, when the server gave no reason of its own.
    private static func standardReason(_ job: Job) -> String? {
        switch job.status {
        case .queued where !job.needs.isEmpty: "waits for \(job.needs.joined(separator: ", "))"
        case .queued: "waits for a runner"
        default: nil
        }
    }
}

/// What a run waits for right now: its jobs that could go on, each with the reason.
struct WaitingView: Sendable {
    struct Row: Sendable {
        let status: Badge
        let name: String
        let href: String
        let reason: String
    }
    let note: String
    let rows: [Row]

    /// Rows that are shown.
    static let limit = 12

    init?(_ run: Run) {
        let jobs = run.jobs.filter { $0.waits && $0.reason != nil }
        guard !jobs.isEmpty else { return nil }
        note =
            jobs.count > Self.limit ? "the first \(Self.limit) of \(jobs.count) jobs" : Format.plural(jobs.count, "job")
        rows = jobs.prefix(Self.limit).map { job in
            Row(
                status: Badge(status: job.status.rawValue), name: RunWords.job(job),
                href: Links.run(run.id, job: job.key) + "#bench", reason: job.reason ?? "")
        }
    }
}
