import API
import Manifests

/// Dashboards that vagus brings: one for itself, one for each service, one for each model.
enum StockDashboards {
    typealias Named = (name: String, spec: DashboardSpec)

    /// - Parameters:
    ///   - services: Names of the project's services, each with the model that it serves, if any.
    ///   - models: Names of its models.
    static func all(project: String, services: [(name: String, model: String?)], models: [String]) -> [Named] {
        [("vagus", vagus)] + services.map { ("service-\($0.name)", service($0.name, project)) }
            + models.map { name in
                ("model-\(name)", model(name, project, services: services.filter { $0.model == name }.map(\.name)))
            }
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
        // Some requests wait until there is something to tell: how long says nothing of the server.
        let request =
            "vagus_http_request_duration_seconds_bucket{operation!~\"runners.lease|runners.shell.*|shells.read|proxies.table|events.feed|logs.tail|/loki\"}"
        var down = panel(
            "Targets that are down", .stat, .number, width: 6, [("count(up == 0) or vector(0)", "scrape targets")])
        down.thresholds = [limit(0, .good), limit(1, .critical)]
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
                        panel("Series", .stat, .number, width: 6, [("vagus_telemetry_series", "written to")]),
                        panel(
                            "Samples a second", .stat, .per_second, width: 6,
                            [("sum(rate(vagus_telemetry_samples_total[1m]))", "taken in")]),
                        panel("Blocks", .stat, .bytes, width: 6, [("vagus_telemetry_block_bytes", "on disk")]),
                        down,
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

    private static func service(_ name: String, _ project: String) -> DashboardSpec {
        let labels = "project=\"\(project)\", service=\"\(name)\""
        return dashboard(
            name, "The service \(name): its traffic by revision.",
            [
                row("Now", now(labels)), row("Traffic", traffic(labels)),
                row(
                    "Rollouts",
                    [
                        lines(
                            "What happened",
                            "{service_name=\"vagus\", source=\"events\", kind=\"Service\", project=\"\(project)\"} | json | subject=\"\(name)\""
                        ),
                        panel(
                            "Steps of its rollouts", .time_series, .number, width: 24,
                            [
                                (
                                    "sum by (event) (increase(vagus_delivery_rollout_events_total{\(labels)}[5m]))",
                                    "{{event}}"
                                )
                            ]),
                        traces("Its traces", service: name),
                    ]),
            ])
    }

    /// The figures of the last minutes, each with its course.
    private static func now(_ labels: String) -> [DashboardPanel] {
        let bucket = "vagus_proxy_request_duration_seconds_bucket{\(labels)}"
        let (requests, errors) = ("vagus_proxy_requests_total{\(labels)}", "vagus_proxy_errors_total{\(labels)}")
        var failing = panel(
            "Errors", .stat, .ratio, width: 8,
            [("sum(rate(\(errors)[5m])) / sum(rate(\(requests)[5m]))", "of all requests")])
        failing.thresholds = [limit(0, .good), limit(0.01, .warning), limit(0.05, .critical)]
        return [
            panel("Requests", .stat, .per_second, width: 8, [("sum(rate(\(requests)[5m]))", "of all revisions")]),
            failing,
            panel(
                "Time of answers", .stat, .seconds, width: 8,
                [("histogram_quantile(0.99, sum by (le) (rate(\(bucket)[5m])))", "99 of 100")]),
        ]
    }

    private static func limit(_ value: Double, _ state: PanelThreshold.State) -> PanelThreshold {
        var limit = PanelThreshold()
        (limit.value, limit.state) = (value, state)
        return limit
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

    private static func model(_ name: String, _ project: String, services: [String]) -> DashboardSpec {
        let events = "{service_name=\"vagus\", source=\"events\", project=\"\(project)\"}"
        var rows = [
            row(
                "Training",
                [
                    panel(
                        "Runs of pipelines named like it", .time_series, .number,
                        [
                            (
                                "sum by (status) (increase(vagus_pipelines_runs_total{project=\"\(project)\", pipeline=\"\(name)\"}[1h]))",
                                "{{status}}"
                            )
                        ]),
                    panel(
                        "How long they take", .time_series, .seconds,
                        [
                            (
                                "histogram_quantile(0.9, sum by (le) (rate(vagus_pipelines_run_duration_seconds_bucket{project=\"\(project)\", pipeline=\"\(name)\"}[1h])))",
                                "90 of 100"
                            )
                        ]),
                ])
        ]
        rows += services.flatMap { service in
            let labels = "project=\"\(project)\", service=\"\(service)\""
            return [row("Served by \(service)", now(labels) + traffic(labels))]
        }
        rows.append(
            row(
                "Events",
                [lines("What happened", "\(events) |= \"\(name)\" | json | event=~\"model.*|monitor.*|prediction.*\"")])
        )
        return dashboard(name, "The model \(name): its training, who serves it, and what happened to it.", rows)
    }
}
