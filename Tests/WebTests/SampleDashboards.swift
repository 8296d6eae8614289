import API
import Kernel
import Manifests

@testable import Web

/// Dashboards of all panels, one of them broken, and what Grafana gives.
enum SampleDashboards {
    static func query(_ promql: String, _ legend: String? = nil) -> PanelQuery {
        var query = PanelQuery()
        (query.promql, query.legend) = (promql, legend)
        return query
    }

    static func panel(
        _ title: String, _ type: DashboardPanel.PanelType, _ queries: [PanelQuery], width: Int = 12,
        unit: PanelUnit = .number
    ) -> DashboardPanel {
        var panel = DashboardPanel()
        (panel.title, panel.type, panel.queries, panel.width, panel.unit) = (title, type, queries, width, unit)
        return panel
    }

    static var shop: DashboardSpec {
        var spec = DashboardSpec()
        (spec.title, spec.description) = ("Shop \(SampleTelemetry.evil)", "What the shop does.")
        (spec.tags, spec.time.refresh) = (["shop", "<b>tag"], .seconds(30))
        var job = DashboardVariable()
        (job.name, job.query, job.multiple, job.all) = ("job", "label_values(up, job)", true, true)
        var size = DashboardVariable()
        (size.name, size.values) = ("top", ["5", "10"])
        spec.variables = [job, size]
        var limit = PanelThreshold()
        (limit.value, limit.state) = (30, .critical)
        var stat = panel("Requests a second", .stat, [query("sum(rate(x{job=~\"$job\"}[5m]))", "{{code}}")], width: 8)
        (stat.thresholds, stat.unit, stat.height) = ([limit], .per_second, 5)
        var stacked = panel("By status", .time_series, [query("sum by (code) (x)", "{{code}}")])
        stacked.stacked = true
        var logs = panel("Lines", .log, [PanelQuery()])
        logs.queries[0].logql = "{service_name=\"shop\"}"
        var traces = panel("Slow traces", .trace_list, [PanelQuery()])
        var search = TraceSearchSpec()
        search.service = "front"
        traces.queries[0].traces = search
        var first = DashboardRow()
        first.panels = [
            stat, panel("Empty", .stat, [query("nothing")], width: 8),
            panel("Broken", .time_series, [query("broken")], width: 8),
            panel(
                "Requests", .time_series, [query("rate(x[$__rate_interval])", "{{job}} {{code}}")], unit: .per_second),
            stacked,
        ]
        var second = DashboardRow()
        (second.title, second.panels) = (
            "More <b>",
            [
                panel("Time of answers", .heat_map, [query("sum by (le) (rate(x_bucket[5m]))")], unit: .seconds),
                panel("Table", .table, [query("topk($top, x)")]), logs, traces,
            ]
        )
        var closed = DashboardRow()
        (closed.title, closed.collapsed, closed.panels) = ("Closed", true, [panel("Later", .time_series, [query("x")])])
        spec.rows = [first, second, closed]
        return spec
    }

    static var list: [DashboardInfo] {
        [("shop", shop.title ?? "", false), ("vagus", "Vagus", true), ("service-employment", "employment", true)].map {
            var info = DashboardInfo()
            (info.name, info.title, info.is_stock) = $0
            (info.tags, info.description) = (["vagus", "<img src=x>"], "What it is for.")
            return info
        }
    }

    static func imported(_ input: GrafanaInput) throws -> GrafanaOutcome {
        guard input.dashboard["panels"] != nil else {
            throw Problem("dashboard.not-grafana", status: 422, "this is no dashboard of Grafana: it has no panels")
        }
        var outcome = GrafanaOutcome()
        outcome.manifest = [
            "kind": "Dashboard", "name": .string(input.name ?? "node"), "title": .string(SampleTelemetry.evil),
            "rows": [["panels": [["title": "Load", "queries": ["node_load1"]]]]],
        ]
        outcome.left_out = ["panel \"Map <img src=x>\": its type \"geomap\" is not known"]
        return outcome
    }
}

extension SampleHouse {
    func telemetry(_ routes: inout Routes) {
        metrics(&routes)
        linesAndTraces(&routes)
        routes.on(Telemetry.status) { [isEmpty] _, _ in isEmpty ? TelemetryStatus() : SampleTelemetry.status }
        routes.on(Dashboards.list) { [isEmpty] _, _ in ItemList(isEmpty ? [] : SampleDashboards.list) }
        routes.on(Dashboards.get) { [isEmpty] input, _ in
            var view = DashboardView()
            view.name = input.name
            guard !isEmpty else { return view }
            guard input.name == "shop" else {
                throw Problem("not-found", status: 404, "no dashboard \"\(input.name)\"")
            }
            view.spec = SampleDashboards.shop
            return view
        }
        routes.on(Dashboards.importGrafana) { input, _ in try SampleDashboards.imported(input) }
        routes.on(Resources.apply) { [self] input, _ in
            note("resources.apply", input.json)
            return ApplyOutcome()
        }
    }

    private func metrics(_ routes: inout Routes) {
        routes.on(Metrics.parse) { input, _ in SampleTelemetry.parse(input.query) }
        routes.on(Metrics.query) { [self] input, _ in
            note("metrics.query", input.json)
            return SampleTelemetry.instant(input)
        }
        routes.on(Metrics.queryRange) { [self] input, _ in
            note("metrics.query-range", input.json)
            return try SampleTelemetry.range(input)
        }
        routes.on(Metrics.names) { [isEmpty] _, _ in ItemList(isEmpty ? [] : SampleTelemetry.names) }
        routes.on(Metrics.values) { [self] input, _ in
            note("metrics.values", input.json)
            return ItemList(["shop", "<b>job", "front.end"].map { LabelWord($0) })
        }
    }

    private func linesAndTraces(_ routes: inout Routes) {
        routes.on(Logs.search) { [self] input, _ in
            note("logs.search", input.json)
            return try SampleTelemetry.search(input)
        }
        routes.on(Logs.tail) { [self] input, _ in
            note("logs.tail", input.json)
            var answer = LogAnswer()
            (answer.lines, answer.next, answer.missed) = (Array(SampleTelemetry.lines.prefix(2)), "43", 5)
            return answer
        }
        routes.on(Logs.labels) { [isEmpty] _, _ in ItemList(isEmpty ? [] : [LabelWord("service_name")]) }
        routes.on(Logs.values) { _, _ in ItemList([LabelWord("shop"), LabelWord("\"><b>evil")]) }
        routes.on(Traces.search) { [isEmpty] query, _ in
            ItemList(isEmpty || query.service == "nobody" ? [] : SampleTelemetry.traces)
        }
        routes.on(Traces.get) { _, _ in SampleTelemetry.trace }
        routes.on(Traces.services) { [isEmpty] _, _ in ItemList(isEmpty ? [] : SampleTelemetry.services) }
        routes.on(Traces.graph) { [isEmpty] _, _ in ItemList(isEmpty ? [] : SampleTelemetry.calls) }
    }
}
