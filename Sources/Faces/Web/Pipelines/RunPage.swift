import API
import Manifests

/// One run: graph, jobs and logs, timeline, artifacts, tests, quality of the data, metrics.
struct RunPage: PageBody {
    static let template = "run"
    static let section = Section.runs

    /// The parts of the page, one at a time.
    enum View: String, CaseIterable, Sendable { case log, timeline, artifacts, tests, quality, metrics, summary }

    let head: PageHead
    let reason: Notice?
    let facts: [Fact]
    let waiting: WaitingView?
    let gates: [GateCard]
    let graph: Figure?
    let graphNote: String
    let path: PathView?
    let tabs: [Tab]
    let bench: RunBench?
    let timeline: Figure?
    let artifacts: ArtifactsView?
    let tests: TestsView?
    let quality: QualityView?
    let metrics: MetricsView?
    let summary: SummaryView?

    init(
        _ run: Run, artifacts all: [Artifact], view: View, job key: String?, log: RunBench.LogPanel?,
        viewer: GateCard.Viewer,
        icons: String, csrf: String, now: Double
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
        waiting = WaitingView(run)
        let back = Links.run(run.id)
        gates = run.gates.map { GateCard($0, for: viewer, back: back, csrf: csrf, now: now) }
        let stages = RunStages(run).list
        let critical = JobNeeds(run.jobs).criticalPath(now: now)
        path = PathView(critical, of: run, now: now)
        let marked = path == nil ? [] : Set(critical.map(\.key))
        let chosenKey = view == .log ? chosen?.key : nil
        graph =
            stages.isEmpty
            ? nil : RunGraph(stages: stages.map { Self.box($0, run, chosenKey, marked, now: now) }, icons: icons).figure
        graphNote = Self.progress(run)
        tabs = Self.tabs(run, artifacts: all.count, view: view, job: key)
        bench = view == .log ? RunBench(run, stages, chosen: chosen, log: log, now: now) : nil
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
        if let newer = run.superseded_by {
            facts.append(Fact("Superseded by", "a newer run", href: Links.run(newer)))
        }
        for (name, value) in run.parameters { facts.append(Fact(name, value.gist, code: true)) }
        if run.status.hasEnded {
            facts.append(Fact("Trace", "Its spans and lines", href: Links.path(["explore", "traces", run.id])))
        }
        facts.append(Fact("Id", run.id, code: true))
        return facts
    }

    private static func progress(_ run: Run) -> String {
        let ended = run.jobs.count { $0.status.hasEnded }
        return "\(ended) of \(Format.plural(run.jobs.count, "job")) ended"
    }

    /// A stage of the graph; the cells of a large matrix share one line.
    private static func box(_ stage: RunStages.Stage, _ run: Run, _ chosen: String?, _ marked: Set<String>, now: Double)
        -> RunGraph.Stage
    {
        let lines = stage.groups.flatMap { group -> [RunGraph.Job] in
            guard group.jobs.count > cellLimit, let first = RunStages.foremost(group.jobs) else {
                return group.jobs.map { job in
                    let elapsed = Elapsed(from: job.started_at?.seconds, to: job.finished_at?.seconds, now: now)
                    return RunGraph.Job(
                        name: job.title ?? job.name, status: Badge(status: job.status.rawValue),
                        time: elapsed?.text ?? "",
                        since: elapsed?.since, href: Links.run(run.id, job: job.key) + "#bench",
                        isChosen: job.key == chosen, isCritical: marked.contains(job.key))
                }
            }
            let ended = group.jobs.count { $0.status.hasEnded }
            return [
                RunGraph.Job(
                    name: "\(group.name ?? first.name), \(group.jobs.count) cells",
                    status: Badge(status: RunStages.status(group.jobs.map(\.status)).rawValue),
                    time: "\(ended) ended", href: Links.run(run.id, job: first.key) + "#bench",
                    isChosen: group.jobs.contains { $0.key == chosen },
                    isCritical: group.jobs.contains { marked.contains($0.key) })
            ]
        }
        return RunGraph.Stage(
            name: stage.name, type: stage.type, needs: stage.needs, tone: stage.badge.tone, jobs: lines)
    }

    /// More cells of a matrix than this share one line of the graph.
    private static let cellLimit = 4

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

    private static func timeline(_ run: Run, now: Double) -> Figure {
        let needs = JobNeeds(run.jobs)
        let bars = run.jobs.map { job in
            StepTimeline.Bar(
                name: RunWords.job(job),
                queued: job.started_at == nil ? nil : needs.ready(job) ?? run.created_at.seconds,
                start: job.started_at?.seconds, end: job.finished_at?.seconds,
                status: Badge(status: job.status.rawValue))
        }
        return StepTimeline(bars: bars, now: now).figure(.full)
    }
}
