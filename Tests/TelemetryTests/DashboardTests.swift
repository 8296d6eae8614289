import API
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Telemetry

@Suite struct DashboardTests {
    private static let grafana = """
        {"title": "Node / Full", "tags": ["linux"], "time": {"from": "now-6h", "to": "now"}, "refresh": "30s",
         "templating": {"list": [
           {"type": "query", "name": "job", "query": {"query": "label_values(up, job)"}, "multi": true, "includeAll": true,
            "current": {"value": "$__all"}},
           {"type": "adhoc", "name": "filters"}, {"type": "datasource", "name": "ds"}]},
         "annotations": {"list": [{"builtIn": 1}]},
         "panels": [
           {"type": "row", "title": "CPU", "gridPos": {"y": 0, "x": 0}},
           {"type": "timeseries", "title": "Busy", "gridPos": {"y": 1, "x": 0, "w": 8, "h": 6},
            "fieldConfig": {"defaults": {"unit": "percentunit", "max": 1,
              "thresholds": {"steps": [{"value": null, "color": "green"}, {"value": 0.8, "color": "red"}]}}},
            "targets": [{"expr": "1 - rate(node_cpu_seconds_total{mode=\\"idle\\", job=~\\"$job\\"}[$__rate_interval])",
                         "legendFormat": "{{cpu}}", "datasource": {"type": "prometheus", "uid": "x"}}]},
           {"type": "stat", "title": "Up", "gridPos": {"y": 1, "x": 8}, "options": {"reduceOptions": {"calcs": ["mean"]}},
            "targets": [{"expr": "up"}]},
           {"type": "logs", "title": "Lines", "gridPos": {"y": 9, "x": 0},
            "targets": [{"expr": "{job=\\"x\\"}", "datasource": {"type": "loki"}}]},
           {"type": "piechart", "title": "Pie", "gridPos": {"y": 20, "x": 0}, "targets": [{"expr": "up"}]}]}
        """

    @Test func `a dashboard of Grafana becomes a manifest that can be applied, and what is left out is told`()
        async throws
    {
        let room = try await Room.open()
        var input = GrafanaInput()
        input.dashboard = try JSONParser.parse(Array(Self.grafana.utf8))
        let outcome = try await room.house.call(Dashboards.importGrafana, input)
        #expect(outcome.manifest["name"] == "node-full")
        #expect(
            outcome.left_out == [
                "variable \"filters\": its type \"adhoc\" is not known",
                "panel \"Pie\": its type \"piechart\" is not known",
            ])
        try await room.house.apply(outcome.manifest.yaml)
        let view = try await room.house.call(Dashboards.get, Name(project: "default", name: "node-full"))
        let panels = view.spec.rows.flatMap(\.panels)
        #expect(view.spec.rows.first?.title == "CPU")
        #expect(panels.map(\.type) == [.time_series, .stat, .log])
        #expect(panels[0].unit == .ratio)
        #expect(panels[0].width == 8)
        #expect(panels[0].thresholds.map(\.state) == [.critical])
        #expect(panels[1].reduce == .mean)
        #expect(panels[2].queries.first?.logql == "{job=\"x\"}")
        #expect(view.spec.variables.map(\.name) == ["job"])
    }

    @Test func `every query of the dashboards that vagus brings can be read`() throws {
        for (name, spec) in StockDashboards.all(
            project: "default", services: [("shop", "at-risk")], models: ["at-risk"])
        {
            #expect(throws: Never.self, "\(name)") { try DashboardAdmission(spec).check() }
        }
    }

    @Test func `a panel with a query that is none is refused, with its place`() async throws {
        let room = try await Room.open()
        let problem = await #expect(throws: Problem.self) {
            try await room.house.apply(
                "{ kind: Dashboard, name: d, rows: [{ panels: [{ title: P, queries: ['sum('] }] }] }")
        }
        #expect(problem?.location == "rows.0.panels.0.queries.0.promql")
    }
}
