import API
import Manifests

/// The list of pipelines.
struct PipelinesPage: PageBody {
    static let template = "pipelines"
    static let section = Section.pipelines
    static let lead: String? = "Graphs of stages that a push or a person sets off."

    struct Row: Sendable {
        let href: String
        let name: String
        let repository: String?
        let last: Badge?
        let stages: String
        let triggers: String
        let runs: String
        let strip: Markup
    }
    let table: Rows<Row>?
    let empty: EmptyState?

    init(_ pipelines: [Resource], runs: [Run]) {
        let byName = Dictionary(grouping: runs, by: \.pipeline)
        table = Rows(pipelines.map { Self.row($0, runs: byName[$0.name] ?? []) })
        empty =
            !pipelines.isEmpty
            ? nil
            : EmptyState(
                icon: "pipelines", title: "No pipeline yet",
                text: "A pipeline is a graph of stages: checkout, build, test, train, deploy. Write one and apply it.",
                commands: ["vagus explain Pipeline", "vagus apply -f pipeline.yaml"])
    }

    private static func row(_ resource: Resource, runs: [Run]) -> Row {
        let spec = resource.spec
        let status = resource.status
        let latest = runs.prefix(16).reversed().map { run in
            let badge = Badge(status: run.status.rawValue)
            return (name: "#\(run.number)", tone: badge.tone, status: badge.text.lowercased())
        }
        return Row(
            href: Links.pipeline(resource.name), name: resource.name, repository: spec["repository"]?.string,
            last: (runs.first?.status.rawValue ?? status?["last_status"]?.string).map { Badge(status: $0) },
            stages: Format.plural(spec["stages"]?.array?.count ?? 0, "stage"), triggers: PipelinePage.triggers(spec),
            runs: Format.count(status?["runs"]?.int ?? runs.count), strip: Sparkline.strip(latest))
    }
}

/// One pipeline.
struct PipelinePage: PageBody {
    static let template = "pipeline"
    static let section = Section.pipelines

    struct Parameter: Sendable {
        let name: String
        let type: String
        let standard: String
        let help: String
    }
    let head: PageHead
    let graph: Figure?
    let graphNote: String
    let chart: Figure?
    let runsHref: String
    let runs: RunTable?
    let noRuns: EmptyState?
    let triggers: TriggerTable?
    let pulls: PullTable?
    let parameters: Rows<Parameter>?
    let resourceHref: String
    let testsHref: String

    init(
        _ resource: Resource, runs: [Run], triggers: [TriggerInfo], pulls: [PullRequest], icons: String, csrf: String,
        now: Double
    ) {
        let name = resource.name
        head = PageHead(
            name, in: [Link("Pipelines", "/pipelines")], status: runs.first.map { Badge(status: $0.status.rawValue) },
            lead: "Set off by \(Self.triggers(resource.spec)).", actions: [Self.start(name, csrf: csrf)])
        let stages = (resource.spec["stages"]?.array ?? []).enumerated().map { index, stage in
            Self.stage(
                stage, before: index > 0 ? resource.spec["stages"]?[index - 1]?["name"]?.string : nil, pipeline: name)
        }
        graph = stages.isEmpty ? nil : RunGraph(stages: stages, icons: icons).figure
        graphNote = "as declared, \(Format.plural(stages.count, "stage"))"
        chart = RunsPage.durations(runs)
        runsHref = Links.path(["runs"], ["pipeline": name])
        self.runs = RunTable(Array(runs.prefix(15)), caption: "Latest runs of \(name)", now: now)
        noRuns = runs.isEmpty ? RunsPage.nothing(isFiltered: false, pipelines: [name]) : nil
        self.triggers = TriggerTable(triggers, now: now)
        self.pulls = PullTable(pulls, now: now)
        parameters = Rows(
            (resource.spec["parameters"]?.object ?? [:]).map { key, value in
                Parameter(
                    name: key, type: value["type"]?.string ?? "string",
                    standard: value["default"]?.gist ?? "must be given",
                    help: value["description"]?.string ?? "")
            })
        resourceHref = Links.resource(PipelineKind.plural, name)
        testsHref = Links.path(["pipelines", name, "tests"])
    }

    static func triggers(_ spec: JSONValue) -> String {
        // A trigger of another version of vagus may not read; it is then left out of the sentence.
        let known = (spec["triggers"]?.array ?? []).compactMap { json in
            try? TriggerSpec(json: json, at: [])  // unreadable: left out
        }
        return known.isEmpty ? "vagus run" : known.map(TriggerWords.short).joined(separator: "; ")
    }

    private static func start(_ name: String, csrf: String) -> Action {
        Action(
            id: "act-start", label: "Run", icon: "runs", look: "primary", isDanger: false,
            target: "/ui/pipelines/\(Links.encoded(name))/run",
            question: "Start a run of \(name)?",
            consequences: [
                "It takes the head of the default branch and each parameter's default value.",
                "Its deploy stages change what people are served.",
            ], confirm: "Start the run", csrf: csrf)
    }

    private static func stage(_ stage: JSONValue, before: String?, pipeline: String) -> RunGraph.Stage {
        let name = stage["name"]?.string ?? "stage"
        // A stage with a verb of its own is one job, called as the stage is.
        let jobs = stage["jobs"]?.object?.keys ?? [name]
        let needs = stage["needs"]?.array?.compactMap(\.string) ?? [before].compactMap { $0 }
        return RunGraph.Stage(
            name: name, type: stage["type"]?.string ?? "other", needs: needs, tone: .mute,
            jobs: jobs.map { job in
                RunGraph.Job(
                    name: job, status: Badge(.mute, "queued", "declared"), time: "", href: Links.pipeline(pipeline))
            })
    }
}
