import API
import Manifests

/// Dashboards that vagus brings: one for itself, one for each service, one for each model.
enum StockDashboards {
    typealias Named = (name: String, spec: DashboardSpec)

    static func all(services: [String], models: [String]) -> [Named] {
        [("vagus", vagus)] + services.map { ("service-\($0)", service($0)) } + models.map { ("model-\($0)", model($0)) }
    }

    private static func panel(
        _ title: String, _ type: DashboardPanel.PanelType, _ unit: PanelUnit, width: Int = 12,
        _ queries: [(String, String)]
    ) -> DashboardPanel {
        var panel = DashboardPanel()
        (panel.title, panel.type, panel.unit, panel.width) = (title, type, unit, width)
        if type == .stat { panel.height = 4 }
        panel.queries = queries.map { text, legend in
            var query = PanelQuery()
            query.promql = text
            query.legend = legend.isEmpty ? nil : legend
            return query
        }
        return panel
    }

    private static func lines(_ title: String, _ logql: String) -> DashboardPanel {
        var panel = DashboardPanel()
        (panel.title, panel.type, panel.width) = (title, .log, 24)
        var query = PanelQuery()
        query.logql = logql
        panel.queries = [query]
        return panel
    }

    private static func traces(_ title: String, service: String) -> DashboardPanel {
        var panel = DashboardPanel()
        (panel.title, panel.type, panel.width) = (title, .trace_list, 24)
        var query = PanelQuery()
        var search = TraceSearchSpec()
        search.service = service
        query.traces = search
        panel.queries = [query]
        return panel
    }

    private static func row(_ title: String, _ panels: [DashboardPanel]) -> DashboardRow {
        var row = DashboardRow()
        (row.title, row.panels) = (title, panels)
        return row
    }

    private static func dashboard(_ title: String, _ description: String, _ rows: [DashboardRow]) -> DashboardSpec {
        var spec = DashboardSpec()
        (spec.title, spec.description, spec.tags, spec.rows) = (title, description, ["vagus"], rows)
        spec.time.refresh = .seconds(30)
        return spec
    }

    static var vagus: DashboardSpec {
        let request = "vagus_http_request_duration_seconds_bucket"
        return dashboard(
            "Vagus", "The server itself: requests, runs, telemetry, memory.",
            [
                row(
                    "Requests",
                    [
                        panel(
                            "Requests by status", .time_series, .per_second,
                            [("sum by (code) (rate(vagus_http_requests_total[1m]))", "{{code}}")]),
                        panel(
                            "Time of requests", .time_series, .seconds,
                            [
                                ("histogram_quantile(0.5, sum by (le) (rate(\(request)[5m])))", "half"),
                                ("histogram_quantile(0.99, sum by (le) (rate(\(request)[5m])))", "99 of 100"),
                            ]),
                        panel(
                            "Busiest operations", .table, .per_second,
                            [("topk(10, sum by (operation) (rate(vagus_http_requests_total[5m])))", "{{operation}}")]),
                        panel(
                            "How long requests take", .heat_map, .seconds,
                            [("sum by (le) (increase(\(request)[1m]))", "{{le}}")]),
                    ]),
                row(
                    "Pipelines",
                    [
                        panel(
                            "Runs that ended", .time_series, .number,
                            [("sum by (status) (increase(vagus_pipelines_runs_total[10m]))", "{{status}}")]),
                        panel(
                            "How long runs take", .time_series, .seconds,
                            [
                                (
                                    "histogram_quantile(0.9, sum by (le, pipeline) (rate(vagus_pipelines_run_duration_seconds_bucket[1h])))",
                                    "{{pipeline}}"
                                )
                            ]),
                    ]),
                row(
                    "Telemetry",
                    [
                        panel("Series", .stat, .number, width: 6, [("vagus_telemetry_series", "")]),
                        panel(
                            "Samples a second", .stat, .per_second, width: 6,
                            [("rate(vagus_telemetry_samples_total[1m])", "")]),
                        panel("Blocks", .stat, .bytes, width: 6, [("vagus_telemetry_block_bytes", "")]),
                        panel("Targets that are down", .stat, .number, width: 6, [("count(up == 0) or vector(0)", "")]),
                        panel(
                            "Dropped", .time_series, .per_second,
                            [("sum by (reason) (rate(vagus_telemetry_dropped_total[5m]))", "{{reason}}")]),
                        panel(
                            "Requests that wait", .time_series, .number, [("vagus_telemetry_work_waiting", "{{pool}}")]),
                    ]),
                row(
                    "Process",
                    [
                        panel(
                            "Memory", .time_series, .bytes,
                            [("process_resident_memory_bytes{job=\"vagus\"}", "resident")]),
                        panel(
                            "Processors", .time_series, .number,
                            [("rate(process_cpu_seconds_total{job=\"vagus\"}[1m])", "used")]),
                    ]),
                row("Events", [lines("What happened", "{service_name=\"vagus\", source=\"events\"}")]),
            ])
    }

    private static func service(_ name: String) -> DashboardSpec {
        let labels = "service=\"\(name)\""
        return dashboard(
            name, "The service \(name): its traffic by revision.",
            [
                row("Traffic", traffic(labels)),
                row(
                    "Rollouts",
                    [
                        lines(
                            "What happened",
                            "{service_name=\"vagus\", source=\"events\", kind=\"Service\"} | json | subject=\"\(name)\""
                        ),
                        traces("Its traces", service: name),
                    ]),
            ])
    }

    private static func traffic(_ labels: String) -> [DashboardPanel] {
        let bucket = "vagus_proxy_request_duration_seconds_bucket{\(labels)}"
        return [
            panel(
                "Requests", .time_series, .per_second,
                [("sum by (revision) (rate(vagus_proxy_requests_total{\(labels)}[1m]))", "revision {{revision}}")]),
            panel(
                "Errors", .time_series, .ratio,
                [
                    (
                        "sum by (revision) (rate(vagus_proxy_errors_total{\(labels)}[5m])) / sum by (revision) (rate(vagus_proxy_requests_total{\(labels)}[5m]))",
                        "revision {{revision}}"
                    )
                ]),
            panel(
                "Time of answers", .time_series, .seconds,
                [
                    (
                        "histogram_quantile(0.99, sum by (le, revision) (rate(\(bucket)[5m])))",
                        "99 of 100, revision {{revision}}"
                    )
                ]),
            panel("How long answers take", .heat_map, .seconds, [("sum by (le) (increase(\(bucket)[1m]))", "{{le}}")]),
        ]
    }

    private static func model(_ name: String) -> DashboardSpec {
        dashboard(
            name, "The model \(name): what happened to it.",
            [
                row(
                    "Events",
                    [
                        lines(
                            "What happened",
                            "{service_name=\"vagus\", source=\"events\"} |= \"\(name)\" | json | event=~\"model.*|monitor.*\""
                        )
                    ]),
                row(
                    "Training",
                    [
                        panel(
                            "Runs of pipelines named like it", .time_series, .number,
                            [
                                (
                                    "sum by (status) (increase(vagus_pipelines_runs_total{pipeline=\"\(name)\"}[1h]))",
                                    "{{status}}"
                                )
                            ])
                    ]),
            ])
    }
}
