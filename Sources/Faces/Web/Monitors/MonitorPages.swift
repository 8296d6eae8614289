import API
import Manifests

/// How a monitor stands, from its newest window.
enum MonitorLook {
    static func badge(_ state: WindowReport.State) -> Badge {
        switch state {
        case .ok: Badge(.ok, "ok", "Steady")
        case .drift: Badge(.warn, "warn", "Drift")
        case .breach: Badge(.bad, "failed", "Out of bounds")
        case .insufficient_data: Badge(.mute, "unknown", "Too few rows")
        }
    }

    static func badge(_ report: MonitorReport?) -> Badge {
        let judged = report?.windows.last { $0.state != .insufficient_data } ?? report?.windows.last
        return judged.map { badge($0.state) } ?? Badge(.mute, "queued", "Nothing seen yet")
    }
}

/// The list of monitors.
struct MonitorsPage: PageBody {
    static let template = "monitors"
    static let section = Section.monitors
    static let lead: String? = "Whether served models still see the world they learnt."

    struct Row: Sendable {
        let href: String
        let name: String
        let message: String
        let status: Badge
        let model: String
        let drifting: String
        let windows: String
        let spark: Markup
    }
    let table: Rows<Row>?
    let empty: EmptyState?

    /// Shows each monitor with what it found, by its name.
    init(_ monitors: [Resource], reports: [String: MonitorReport]) {
        table = Rows(monitors.map { Self.row($0, reports[$0.name]) })
        empty =
            !monitors.isEmpty
            ? nil
            : EmptyState(
                icon: "monitors", title: "No monitor yet",
                text:
                    "A monitor holds what a served model sees and answers against its test rows, window by window.",
                commands: ["vagus explain Monitor", "vagus apply -f monitor.yaml"])
    }

    private static func row(_ resource: Resource, _ report: MonitorReport?) -> Row {
        let last = report?.windows.last { $0.state != .insufficient_data }
        let metric = report.flatMap(MonitorPage.mainMetric)
        let values = metric.map { name in report?.windows.map { $0.performance[name] } ?? [] } ?? []
        return Row(
            href: Links.monitor(resource.name), name: resource.name,
            message: last?.breaches.first ?? "watches \(resource.spec["service"]?.string ?? "a service")",
            status: MonitorLook.badge(report), model: report?.model ?? resource.spec["model"]?.string ?? "–",
            drifting: last.map { window in "\(window.features.count { $0.drifted }) of \(window.features.count)" }
                ?? "–",
            windows: Format.count(report?.windows.count ?? 0),
            spark: Sparkline.line(values, label: "\(metric.map(Metric.title) ?? "Performance") of each window"))
    }
}

/// One monitor: drift, performance and fairness, window by window.
struct MonitorPage: PageBody {
    static let template = "monitor"
    static let section = Section.monitors

    struct Finding: Sendable {
        let tone: Tone
        let icon: String
        let what: String
        let `where`: String
        let why: String
    }
    struct Findings: Sendable {
        let note: String
        let list: [Finding]
    }
    struct WindowRow: Sendable {
        let name: String
        let count: String
        let labels: String
        let drifting: String
        let metric: String
        let prediction: String
        let status: Badge
    }
    struct Windows: Sendable {
        let note: String
        let metricHead: String
        let rows: [WindowRow]
    }

    let head: PageHead
    let facts: [Fact]
    let findings: Findings?
    let heat: Figure?
    let heatNote: String
    let charts: Listing<ChartCard>?
    let windows: Windows?
    let empty: EmptyState?
    let resourceHref: String

    init(_ report: MonitorReport, spec: MonitorSpec?, now: Double) {
        let name = report.monitor
        head = PageHead(
            name, in: [Link("Monitors", "/monitors")], status: MonitorLook.badge(report),
            lead:
                "Holds what \(report.service) sees and answers against "
                + "the \(Format.count(report.reference_rows)) test rows of \(report.model)."
        )
        facts = Self.facts(report)
        findings = Self.findings(report)
        heat = Self.heat(report)
        heatNote =
            "Wasserstein distance over the reference's deviation for numbers, Jensen–Shannon for categories; limit "
            + Format.plain(report.drift_threshold)
        charts = Listing(MonitorCharts.all(report, spec: spec))
        windows = Self.table(report)
        empty =
            !report.windows.isEmpty
            ? nil
            : EmptyState(
                icon: "monitors", title: "No prediction seen yet",
                text: "Send requests to \(report.service) with ids and event times, and labels when they are known.",
                commands: ["vagus status \(report.service)", "vagus describe monitor \(name)"])
        resourceHref = Links.resource(MonitorKind.plural, name)
    }

    static func mainMetric(_ report: MonitorReport) -> String? {
        var names: [String] = []
        for window in report.windows {
            for name in window.performance.keys where !names.contains(name) { names.append(name) }
        }
        return Metric.main(among: names)
    }

    private static func facts(_ report: MonitorReport) -> [Fact] {
        let rows = report.windows.reduce(0) { $0 + $1.rows }
        let labelled = report.windows.reduce(0) { $0 + $1.labelled }
        let model = String(report.model.prefix { $0 != "@" })
        var facts = [
            Fact("Service", report.service, href: Links.service(report.service)),
            Fact("Model", report.model, href: Links.model(model)),
            Fact("Predictions", Format.count(rows)),
            Fact(
                "With a label",
                rows == 0 ? "–" : "\(Format.count(labelled)) (\(Format.percent(Double(labelled) / Double(rows))))"),
            Fact("Windows", Format.count(report.windows.count)),
        ]
        if let main = mainMetric(report), let value = report.reference_metrics[main] {
            facts.append(Fact("\(Metric.title(main)) on the reference", Format.number(value)))
        }
        return facts
    }

    private static func findings(_ report: MonitorReport) -> Findings? {
        let windows = report.windows.filter { !$0.breaches.isEmpty }
        guard !windows.isEmpty else { return nil }
        let list = windows.suffix(8).reversed().flatMap { window in
            window.breaches.prefix(6).map { text in
                let badge = MonitorLook.badge(window.state)
                return Finding(tone: badge.tone, icon: badge.icon, what: text, where: window.window, why: "")
            }
        }
        return Findings(
            note: "in \(windows.count) of \(Format.plural(report.windows.count, "window"))",
            list: Array(list.prefix(20)))
    }

    /// Features with the strongest drift first.
    private static func heat(_ report: MonitorReport) -> Figure? {
        let judged = report.windows.suffix(HeatMap.columnLimit)
        var strongest: [String: Double] = [:]
        for window in judged {
            for one in window.features { strongest[one.feature] = max(strongest[one.feature] ?? 0, one.effect) }
        }
        let order = strongest.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map(\.key)
        guard !order.isEmpty else { return nil }
        let rows = order.map { feature in
            HeatMap.Row(
                feature,
                judged.map { window in
                    window.state == .insufficient_data ? nil : window.features.first { $0.feature == feature }?.effect
                })
        }
        return HeatMap(
            "Drift of each feature in each window", columns: judged.map(\.window), rows: rows,
            threshold: report.drift_threshold
        ).figure(.full)
    }

    private static func table(_ report: MonitorReport) -> Windows? {
        guard !report.windows.isEmpty else { return nil }
        let main = mainMetric(report)
        let rows = report.windows.reversed().prefix(200).map { one in
            WindowRow(
                name: one.window + (one.restated > 0 ? " (restated)" : ""), count: Format.count(one.rows),
                labels: Format.percent(one.coverage),
                drifting: one.features.isEmpty ? "–" : "\(one.features.count { $0.drifted }) of \(one.features.count)",
                metric: main.flatMap { one.performance[$0] }.map(Format.number)
                    ?? (one.labelled > 0 ? "awaits labels" : "–"),
                prediction: one.prediction.map { Format.number($0.effect) } ?? "–", status: MonitorLook.badge(one.state)
            )
        }
        return Windows(
            note: "a window's performance counts once enough labels have come",
            metricHead: main.map(Metric.title) ?? "Performance",
            rows: Array(rows))
    }
}
