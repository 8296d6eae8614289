import API
import Manifests

/// The list of models.
struct ModelsPage: PageBody {
    static let template = "models"
    static let section = Section.models
    static let lead: String? = "Registered versions, what they measured, and which of them serve."

    struct Row: Sendable {
        let href: String
        let name: String
        /// How many of its versions wait for people.
        let waits: String?
        let format: String
        let champion: String?
        let latest: String
        let metric: String
        let spark: Markup
        let when: When?
    }
    let metricHead: String
    let table: Rows<Row>?
    let empty: EmptyState?

    /// Shows each model with its versions by the model's name, newest first.
    init(
        _ models: [Resource], versions: [String: [ModelVersion]], waiting: [ModelRequest] = [], now: Double
    ) {
        let main = Metric.main(among: versions.values.flatMap { $0.first?.metrics.keys ?? [] }.sorted())
        metricHead = main.map(Metric.title) ?? "Metric"
        table = Rows(
            models.map { model in
                let waits = waiting.count { $0.model == model.name }
                return Self.row(model, versions[model.name] ?? [], waits: waits, main: main, now: now)
            })
        empty =
            !models.isEmpty
            ? nil
            : EmptyState(
                icon: "models", title: "No model yet",
                text:
                    "Training runs register versions under a model's name. Declare one, and a pipeline that registers.",
                commands: ["vagus explain Model", "vagus apply -f model.yaml"])
    }

    private static func row(
        _ resource: Resource, _ versions: [ModelVersion], waits: Int, main: String?, now: Double
    ) -> Row {
        let aliases = resource.status?["aliases"]?.object ?? [:]
        let latest = resource.status?["latest_version"]?.int ?? versions.first?.version ?? 0
        let values = main.map { name in versions.reversed().map { $0.metrics[name] } } ?? []
        return Row(
            href: Links.model(resource.name), name: resource.status?["title"]?.string ?? resource.name,
            waits: waits == 0 ? nil : "\(waits) to approve",
            format: resource.spec["description"]?.string ?? resource.spec["format"]?.string ?? "any format",
            champion: aliases["champion"]?.int.map { "v\($0)" }, latest: latest == 0 ? "–" : "v\(latest)",
            metric: main.flatMap { versions.first?.metrics[$0] }.map(Format.number) ?? "–",
            spark: Sparkline.line(values, label: "\(main.map(Metric.title) ?? "Metric") of each version"),
            when: versions.first.map { When($0.created_at.seconds, now: now) })
    }
}

/// One model: versions side by side, and where one of them comes from.
struct ModelPage: PageBody {
    static let template = "model"
    static let section = Section.models

    struct Origin: Sendable {
        let icon: String
        let kind: String
        let what: String
        let note: String
        let href: String?
    }
    struct Port: Sendable {
        let name: String
        let type: String
        let direction: String
    }
    struct Chosen: Sendable {
        /// The page of the version itself.
        let href: String
        let title: String
        let lineage: [Origin]
        let signature: [Port]
        let facts: [Fact]
        let parameters: Listing<Fact>?
    }
    struct Cell: Sendable {
        let value: String
        let isBest: Bool
    }
    struct MetricRow: Sendable {
        let name: String
        let cells: [Cell]
    }
    struct Compare: Sendable {
        let note: String
        let versions: [Link]
        let rows: [MetricRow]
    }
    struct VersionRow: Sendable {
        let href: String
        let name: String
        let aliases: [String]
        let run: Link?
        let commit: String
        let data: String
        let metric: String
        let when: When?
    }
    struct Versions: Sendable {
        let note: String
        let metricHead: String
        let rows: [VersionRow]
    }

    let head: PageHead
    /// What people are asked of its versions now.
    let requests: [RequestCard]
    let chosen: Chosen?
    let compare: Compare?
    let charts: Listing<ChartCard>?
    let versions: Versions?
    let empty: EmptyState?
    let resourceHref: String
    let dashboardHref: String

    /// Versions compared side by side, the newest.
    static let compareLimit = 6

    init(
        _ resource: Resource, versions all: [ModelVersion], chosen asked: String?, services: [ServiceStatus],
        requests waiting: [ModelRequest] = [], viewer: GateCard.Viewer? = nil, csrf: String = "", now: Double
    ) {
        let picked =
            all.first { "\($0.version)" == asked || $0.aliases.contains(asked ?? "") }
            ?? all.first { $0.aliases.contains("champion") } ?? all.first
        head = PageHead(
            resource.name, in: [Link("Models", "/models")], status: nil,
            lead: resource.spec["description"]?.string
                ?? picked.map { "Version \($0.version) is shown; choose another below." })
        requests = viewer.map { viewer in waiting.map { RequestCard($0, for: viewer, csrf: csrf, now: now) } } ?? []
        chosen = picked.map { Self.chosen($0, services: services) }
        compare = Self.compare(Array(all.prefix(Self.compareLimit)))
        charts = Listing(Self.charts(all))
        versions = all.isEmpty ? nil : Self.table(all, now: now)
        empty =
            !all.isEmpty
            ? nil
            : EmptyState(
                icon: "models", title: "No version yet",
                text:
                    "A pipeline's register step makes the first one, with metrics, data and commit. Run one:",
                commands: ["vagus get pipelines", "vagus run PIPELINE --follow"])
        resourceHref = Links.resource(ModelKind.plural, resource.name)
        dashboardHref = Links.dashboard("model-\(resource.name)")
    }

    private static func chosen(_ one: ModelVersion, services: [ServiceStatus]) -> Chosen {
        var facts = [
            Fact("Format", one.format), Fact("Size", Format.bytes(Int(one.size_bytes))),
            Fact("Registered", Moment(one.created_at.seconds).full),
            Fact("Digest", Format.short(one.digest, 16), code: true),
        ]
        var parameters: [Fact] = []
        for (name, value) in one.facts {
            if let members = value.object {
                parameters += members.filter { $0.value.object == nil && $0.value.array == nil }.map {
                    Fact($0.key, $0.value.gist, code: true)
                }
            } else if value.array == nil {
                let isDigest = value.string?.hasPrefix("sha256:") ?? false
                facts.append(
                    Fact(
                        name.replacing("_", with: " "), isDigest ? Format.short(value.gist, 16) : value.gist,
                        code: isDigest))
            }
        }
        return Chosen(
            href: Links.version(one.model, "\(one.version)"), title: "version \(one.version)",
            lineage: lineage(one, services), signature: signature(one.signature),
            facts: facts,
            parameters: Listing(parameters))
    }

    /// Data and commit → run → version → services.
    private static func lineage(_ one: ModelVersion, _ services: [ServiceStatus]) -> [Origin] {
        var chain: [Origin] = []
        if let data = one.data_digest {
            chain.append(
                Origin(
                    icon: "datasets", kind: "Data", what: Format.short(data, 12),
                    note: "digest of the rows it learnt from", href: nil))
        }
        if let commit = one.commit {
            chain.append(
                Origin(
                    icon: "commit", kind: "Commit", what: Format.short(commit, 12), note: one.pipeline ?? "", href: nil)
            )
        }
        if let run = one.run {
            chain.append(
                Origin(
                    icon: "runs", kind: "Run", what: one.pipeline ?? "run", note: run,
                    // A run of MLflow's is none of a pipeline's.
                    href: one.pipeline == nil ? nil : Links.run(run)))
        }
        chain.append(
            Origin(
                icon: "models", kind: "Version", what: "\(one.model) v\(one.version)",
                note: one.aliases.isEmpty ? "no alias" : one.aliases.joined(separator: ", "), href: nil))
        let name = "\(one.model)@\(one.version)"
        let serving = services.filter { $0.revisions.contains { $0.model == name && $0.weight > 0 } }
        if let first = serving.first {
            let shares = serving.map { service in
                let share = service.revisions.filter { $0.model == name }.reduce(0) { $0 + $1.weight }
                return serving.count == 1 ? "\(share) % of its traffic" : "\(service.service) \(share) %"
            }
            chain.append(
                Origin(
                    icon: "services", kind: "Serves in",
                    what: serving.count == 1 ? first.service : Format.plural(serving.count, "service"),
                    note: shares.joined(separator: ", "),
                    href: serving.count == 1 ? Links.service(first.service) : "/services"))
        }
        return chain
    }

    /// The signature as Vagus and the Open Inference Protocol write it: lists of named, typed columns.
    private static func signature(_ value: JSONValue) -> [Port] {
        ["inputs", "outputs"].flatMap { key in
            (value[key]?.array ?? []).map { item in
                let type = (item["type"] ?? item["datatype"])?.string ?? "–"
                let shape = item["shape"]?.array.map { " [\($0.map(\.gist).joined(separator: ", "))]" } ?? ""
                return Port(
                    name: item["name"]?.string ?? item.string ?? "–", type: type + shape,
                    direction: key == "inputs" ? "input" : "output")
            }
        }
    }

    private static func compare(_ versions: [ModelVersion]) -> Compare? {
        var names: [String] = []
        for version in versions { for name in version.metrics.keys where !names.contains(name) { names.append(name) } }
        guard !names.isEmpty else { return nil }
        let rows = names.map { name in
            let values = versions.map { $0.metrics[name] }
            let known = values.compactMap { $0 }.filter(\.isFinite)
            let best = Metric.isBetterLower(name) ? known.min() : known.max()
            let marks = known.count > 1 && Set(known).count > 1
            return MetricRow(
                name: Metric.title(name),
                cells: values.map { value in
                    Cell(value: value.map(Format.number) ?? "–", isBest: marks && value != nil && value == best)
                })
        }
        return Compare(
            note: "the newest \(Format.plural(versions.count, "version"))",
            versions: versions.map { Link("v\($0.version)", Links.model($0.model, version: "\($0.version)")) },
            rows: rows)
    }

    private static func charts(_ versions: [ModelVersion]) -> [ChartCard] {
        guard versions.count > 1 else { return [] }
        let names = ["auc", "log_loss", "ece", "accuracy", "rmse"].filter { name in
            versions.contains { $0.metrics[name] != nil }
        }
        return names.prefix(2).map { name in
            let points = versions.reversed().map { LineChart.Point(Double($0.version), $0.metrics[name]) }
            let chart = LineChart(
                "\(Metric.title(name)) by version", axis: .step, series: [LineChart.Series(Metric.title(name), points)])
            return ChartCard(
                title: chart.title, note: Metric.isBetterLower(name) ? "lower is better" : "higher is better",
                figure: chart.figure(.half))
        }
    }

    private static func table(_ versions: [ModelVersion], now: Double) -> Versions {
        let main = Metric.main(among: versions.first?.metrics.keys ?? [])
        return Versions(
            note: Format.plural(versions.count, "version"), metricHead: main.map(Metric.title) ?? "Metric",
            rows: versions.map { one in
                VersionRow(
                    href: Links.model(one.model, version: "\(one.version)"), name: "v\(one.version)",
                    aliases: one.aliases,
                    run: one.pipeline.flatMap { pipeline in one.run.map { Link(pipeline, Links.run($0)) } },
                    commit: one.commit.map { Format.short($0) } ?? "–",
                    data: one.data_digest.map { Format.short($0) } ?? "–",
                    metric: main.flatMap { one.metrics[$0] }.map(Format.number) ?? "–",
                    when: When(one.created_at.seconds, now: now))
            })
    }
}
