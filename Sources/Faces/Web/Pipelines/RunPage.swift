import API
import Manifests

/// One run: graph, jobs and logs, timeline, artifacts, tests, quality of the data, metrics.
struct RunPage: PageBody {
    static let template = "run"
    static let section = Section.runs

    /// The parts of the page, one at a time.
    enum View: String, CaseIterable, Sendable { case log, timeline, artifacts, tests, quality, metrics, summary }

    struct Bench: Sendable {
        struct StageJobs: Sendable {
            let name: String
            let jobs: [JobLink]
        }
        struct JobLink: Sendable {
            let href: String
            let name: String
            let isCurrent: Bool
            let status: Badge
            let elapsed: Elapsed?
        }
        let stages: [StageJobs]
        let job: JobPanel?
    }

    struct JobPanel: Sendable {
        struct StepRow: Sendable {
            let name: String
            let status: Badge
            let elapsed: Elapsed?
            let message: String?
        }
        let title: String
        let status: Badge
        let note: String
        let why: String?
        let steps: [StepRow]
        let log: LogPanel?
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

    let head: PageHead
    let reason: Notice?
    let facts: [Fact]
    let graph: Figure?
    let graphNote: String
    let tabs: [Tab]
    let bench: Bench?
    let timeline: Figure?
    let artifacts: ArtifactsView?
    let tests: TestsView?
    let quality: QualityView?
    let metrics: MetricsView?
    let summary: SummaryView?

    init(
        _ run: Run, artifacts all: [Artifact], view: View, job key: String?, log: LogPanel?, icons: String,
        csrf: String, now: Double
    ) {
        let chosen = Self.chosen(key, in: run)
        head = PageHead(
            "\(run.pipeline) #\(run.number)",
            in: [Link("Runs", "/runs"), Link(run.pipeline, Links.pipeline(run.pipeline))],
            status: Badge(status: run.status.rawValue), lead: RunWords.trigger(run),
            actions: Self.actions(run, csrf: csrf))
        reason = run.reason.map { text in
            let badge = Badge(status: run.status.rawValue)
            return Notice(tone: badge.tone, icon: badge.icon, title: "\(badge.text) because", text: text)
        }
        facts = Self.facts(run, now: now)
        let stages = RunStages(run).list
        graph = stages.isEmpty ? nil : Self.graph(run, stages, chosen: chosen, view: view, icons: icons, now: now)
        graphNote = Self.progress(run)
        tabs = Self.tabs(run, artifacts: all.count, view: view, job: key)
        bench = view == .log ? Self.bench(run, stages, chosen: chosen, log: log, now: now) : nil
        timeline = view == .timeline ? Self.timeline(run, now: now) : nil
        artifacts = view == .artifacts ? ArtifactsView(all, run: run) : nil
        tests = view == .tests ? TestsView(run) : nil
        quality = view == .quality ? QualityView(run) : nil
        metrics = view == .metrics ? MetricsView(run) : nil
        summary = view == .summary ? SummaryView(run) : nil
    }

    /// The job asked for, or else the one that a person would open: what failed, what runs, what ended last.
    static func chosen(_ key: String?, in run: Run) -> Job? {
        if let key, let job = run.jobs.first(where: { $0.key == key || $0.stage == key }) { return job }
        for status in [RunStatus.failed, .running, .waiting] {
            if let job = run.jobs.first(where: { $0.status == status }) { return job }
        }
        return run.jobs.last { $0.status == .succeeded } ?? run.jobs.first
    }

    private static func actions(_ run: Run, csrf: String) -> [Action] {
        let id = Links.encoded(run.id)
        guard run.status.hasEnded else {
            return [
                Action(
                    id: "act-cancel", label: "Cancel", icon: "abort", look: "danger", isDanger: true,
                    target: "/ui/runs/\(id)/cancel",
                    question: "Stop this run?",
                    consequences: [
                        "Steps that run get SIGTERM, and SIGKILL after their grace.",
                        "Jobs that have not begun are cancelled.",
                        "What the run deployed or registered already stays as it is.",
                    ], confirm: "Stop the run", csrf: csrf)
            ]
        }
        return [
            Action(
                id: "act-again", label: "Run again", icon: "again", look: "", isDanger: false,
                target: "/ui/runs/\(id)/again", question: "Start \(run.pipeline) again?",
                consequences: [
                    "It takes the same parameters and commit\(run.commit.map { ", \(Format.short($0))" } ?? "").",
                    "Its deploy stages change what people are served.",
                ], confirm: "Start a new run", csrf: csrf)
        ]
    }

    private static func facts(_ run: Run, now: Double) -> [Fact] {
        var facts: [Fact] = []
        if let commit = run.commit { facts.append(Fact("Commit", Format.short(commit, 12), code: true)) }
        if let ref = run.trigger.ref { facts.append(Fact("Branch", RunWords.branch(ref))) }
        if let repository = run.repository {
            facts.append(Fact("Repository", repository, href: Links.resource(RepositoryKind.plural, repository)))
        }
        facts.append(Fact("Asked for", Moment(run.created_at.seconds).full))
        if let start = run.started_at {
            facts.append(Fact("Waited", Format.duration(start.seconds - run.created_at.seconds)))
            facts.append(
                Fact(
                    run.finished_at == nil ? "Running for" : "Took",
                    Format.duration((run.finished_at?.seconds ?? now) - start.seconds)))
        }
        for (name, value) in run.parameters { facts.append(Fact(name, value.gist, code: true)) }
        facts.append(Fact("Id", run.id, code: true))
        return facts
    }

    private static func progress(_ run: Run) -> String {
        let ended = run.jobs.count { $0.status.hasEnded }
        return "\(ended) of \(Format.plural(run.jobs.count, "job")) ended"
    }

    private static func graph(
        _ run: Run, _ stages: [RunStages.Stage], chosen: Job?, view: View, icons: String, now: Double
    ) -> Figure {
        RunGraph(
            stages: stages.map { stage in
                RunGraph.Stage(
                    name: stage.name, type: stage.type, needs: stage.needs, tone: stage.badge.tone,
                    jobs: stage.jobs.map { job in
                        let elapsed = Elapsed(from: job.started_at?.seconds, to: job.finished_at?.seconds, now: now)
                        return RunGraph.Job(
                            name: job.name, status: Badge(status: job.status.rawValue), time: elapsed?.text ?? "",
                            since: elapsed?.since, href: Links.run(run.id, job: job.key) + "#bench",
                            isChosen: view == .log && job.key == chosen?.key)
                    })
            }, icons: icons
        ).figure
    }

    private static func tabs(_ run: Run, artifacts: Int, view: View, job: String?) -> [Tab] {
        let tests = TestsView.summaries(run)
        let failedTests = tests.reduce(0) { $0 + $1.summary.failures + $1.summary.errors }
        let steps = run.jobs.flatMap(\.steps)
        let expectations = steps.compactMap(\.report).flatMap(StepFindings.expectations)
        let gates = steps.compactMap(\.report).flatMap(StepFindings.gates)
        let metrics = steps.reduce(0) { $0 + $1.metrics.count }
        func tab(_ label: String, _ to: View, count: Int? = nil, alarming: Bool = false) -> Tab {
            Tab(
                label, Links.run(run.id, view: to == .log ? nil : to.rawValue, job: to == .log ? job : nil),
                current: to == view,
                count: count, alarming: alarming)
        }
        return [
            tab("Jobs and logs", .log, count: run.jobs.count, alarming: run.jobs.contains { $0.status == .failed }),
            tab(
                "Summary", .summary, count: SummaryView.count(run).words, alarming: SummaryView.count(run).hasErrors),
            tab("Timeline", .timeline),
            tab("Artifacts", .artifacts, count: artifacts),
            tab(
                "Tests", .tests, count: tests.isEmpty ? nil : tests.reduce(0) { $0 + $1.summary.tests },
                alarming: failedTests > 0),
            tab(
                "Data quality", .quality, count: expectations.isEmpty ? nil : expectations.count,
                alarming: expectations.contains { !$0.success && $0.severity == "fail" }),
            tab("Metrics", .metrics, count: metrics == 0 ? nil : metrics, alarming: gates.contains { !$0.passed }),
        ]
    }

    private static func bench(_ run: Run, _ stages: [RunStages.Stage], chosen: Job?, log: LogPanel?, now: Double)
        -> Bench
    {
        Bench(
            stages: stages.map { stage in
                Bench.StageJobs(
                    name: stage.name,
                    jobs: stage.jobs.map { job in
                        Bench.JobLink(
                            href: Links.run(run.id, job: job.key) + "#bench", name: job.name,
                            isCurrent: job.key == chosen?.key,
                            status: Badge(status: job.status.rawValue),
                            elapsed: Elapsed(from: job.started_at?.seconds, to: job.finished_at?.seconds, now: now))
                    })
            }, job: chosen.map { panel($0, log: log, now: now) })
    }

    private static func panel(_ job: Job, log: LogPanel?, now: Double) -> JobPanel {
        var notes: [String] = []
        if job.attempt > 1 { notes.append("try \(job.attempt)") }
        if let runner = job.runner { notes.append(runner == "server" ? "on the server" : "on runner \(runner)") }
        return JobPanel(
            title: job.stage == job.name ? job.name : "\(job.stage) / \(job.name)",
            status: Badge(status: job.status.rawValue),
            note: notes.joined(separator: ", "), why: job.reason ?? standardReason(job),
            steps: job.steps.map { step in
                var words = [step.reason].compactMap { $0 }
                if let code = step.exit_code, code != 0 { words.append("exit code \(code)") }
                if step.attempts > 1 { words.append("begun \(step.attempts) times") }
                return JobPanel.StepRow(
                    name: step.name, status: Badge(status: step.status.rawValue),
                    elapsed: Elapsed(from: step.started_at?.seconds, to: step.finished_at?.seconds, now: now),
                    message: words.isEmpty ? nil : words.joined(separator: " · "))
            }, log: log)
    }

    /// Why a job stands as it does, when the server gave no reason of its own.
    private static func standardReason(_ job: Job) -> String? {
        switch job.status {
        case .queued where !job.needs.isEmpty: "Waits for \(job.needs.joined(separator: ", "))."
        case .queued: "Waits for a runner."
        default: nil
        }
    }

    private static func timeline(_ run: Run, now: Double) -> Figure {
        let bars = run.jobs.map { job in
            StepTimeline.Bar(
                name: job.stage == job.name ? job.name : "\(job.stage)/\(job.name)",
                queued: queuedAt(job, in: run), start: job.started_at?.seconds, end: job.finished_at?.seconds,
                status: Badge(status: job.status.rawValue))
        }
        return StepTimeline(bars: bars, now: now).figure(.full)
    }

    /// When a job could have begun: the end of the last stage it needs, or the beginning of the run.
    private static func queuedAt(_ job: Job, in run: Run) -> Double? {
        guard job.started_at != nil else { return nil }
        let needed = run.jobs.filter { job.needs.contains($0.stage) }.compactMap { $0.finished_at?.seconds }.max()
        return needed ?? run.created_at.seconds
    }
}
