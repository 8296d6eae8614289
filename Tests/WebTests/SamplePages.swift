import Foundation
import Testing

@testable import Web

/// Every page of the UI, by a name for a file.
enum SamplePages {
    static let all: [(name: String, path: String, query: [String: String])] = [
        ("overview", "/", [:]), ("runs", "/runs", [:]), ("run-live", "/runs/run_01kb14", [:]),
        ("run-failed", "/runs/run_01kb12", [:]), ("run-timeline", "/runs/run_01kb12", ["view": "timeline"]),
        ("run-artifacts", "/runs/run_01kb12", ["view": "artifacts"]),
        ("run-tests", "/runs/run_01kb12", ["view": "tests"]),
        ("run-quality", "/runs/run_01kb12", ["view": "quality"]),
        ("run-metrics", "/runs/run_01kb12", ["view": "metrics"]),
        ("run-waiting", "/runs/run_01kb15", ["job": "test/unit.2"]), ("approvals", "/approvals", [:]),
        ("approvals-mine", "/approvals", ["show": "mine"]), ("queue", "/queue", [:]), ("runners", "/runners", [:]),
        ("pipelines", "/pipelines", [:]), ("pipeline", "/pipelines/employment", [:]),
        ("tests", "/pipelines/employment/tests", ["test": "Cart.adds"]),
        ("tests-flaky", "/pipelines/employment/tests", ["show": "flaky"]), ("services", "/services", [:]),
        ("service", "/services/employment", [:]), ("service-aborted", "/services/salary", [:]),
        ("models", "/models", [:]),
        ("model", "/models/employment", [:]), ("modelversion", "/models/employment/4", [:]),
        ("datasets", "/datasets", [:]), ("dataset", "/datasets/employment", [:]),
        ("monitors", "/monitors", [:]), ("monitor", "/monitors/employment-live", [:]), ("dora", "/dora", [:]),
        ("calendar", "/calendar", [:]),
        ("events", "/events", [:]), ("resources", "/resources/pipelines", [:]),
        ("resource", "/resources/pipelines/employment", [:]),
        ("explore", "/explore", [:]), ("explore-graph", "/explore", ["q": "rate(x[5m])", "range": "1h"]),
        ("explore-many", "/explore", ["q": "many", "q2": "x{}}", "range": "1h"]),
        ("explore-histogram", "/explore", ["q": "native"]),
        ("explore-table", "/explore", ["q": "x", "view": "table", "more": "1"]),
        ("explore-logs", "/explore/logs", ["q": "{service_name=\"shop\"}"]), ("explore-logs-new", "/explore/logs", [:]),
        ("explore-traces", "/explore/traces", ["service": "front"]), ("explore-services", "/explore/services", [:]),
        ("trace", "/explore/traces/\(SampleTelemetry.traceID)", [:]), ("dashboards", "/dashboards", [:]),
        ("dashboard", "/dashboards/shop", [:]), ("dashboard-import", "/dashboards", ["show": "import"]),
        ("telemetry", "/telemetry", [:]), ("experiments", "/experiments", [:]), ("experiment", "/experiments/7", [:]),
        ("experiment-view", "/experiments/7", ["view": "best"]),
        ("tracked-run", "/experiments/7/runs/\(SampleExperiments.ids[0])", ["smooth": "0.6"]),
        ("tracked-run-table", "/experiments/7/runs/\(SampleExperiments.ids[0])", ["file": "rows.csv"]),
        ("tracked-run-page", "/experiments/7/runs/\(SampleExperiments.ids[0])", ["file": "page.html"]),
        (
            "compare", "/experiments/7/compare",
            Dictionary(uniqueKeysWithValues: SampleExperiments.ids.map { ($0, "1") })
        ),
    ]

    /// Writes the sample pages to the folder in VAGUS_PAGES, for eyes and screenshots.
    @Test(.enabled(if: ProcessInfo.processInfo.environment["VAGUS_PAGES"] != nil))
    static func `the sample pages can be written to a folder`() async throws {
        let folder = URL(filePath: try #require(ProcessInfo.processInfo.environment["VAGUS_PAGES"]))
        for (isEmpty, prefix) in [(false, ""), (true, "empty-")] {
            let face = try SampleHouse(isEmpty: isEmpty).face()
            for (name, path, query) in all {
                let answer = try #require(try await face.handle(SampleHouse.look(path, query)))
                try Data(answer.page.utf8).write(to: folder.appending(path: "\(prefix)\(name).html"))
            }
        }
        let face = try SampleHouse().face()
        var request = SampleHouse.look("/login")
        (request.hasAuth, request.call) = (true, nil)
        let login = try #require(try await face.handle(request))
        try Data(login.page.utf8).write(to: folder.appending(path: "login.html"))
        try FileManager.default.createDirectory(at: folder.appending(path: "assets"), withIntermediateDirectories: true)
        for name in ["app.css", "app.js", "icons.svg", "favicon.svg"] {
            let path = face.site.assets.path(name)
            let file = try #require(face.site.assets[path])
            try Data(file.bytes).write(to: folder.appending(path: String(path.dropFirst())))
        }
    }
}
