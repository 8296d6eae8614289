import API
import Foundation
import Kernel
import Manifests
import Outbound
import Testing

@testable import Server

/// A service released by a pipeline, with real copies behind the real proxy: what is bad about it is found by its traffic.
@Suite(.serialized) struct ReleaseScenarios {
    /// Its second revision answers 500, and is as well as the first to whoever only looks at its port.
    private static let program = """
        import http.server, os
        class H(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(500 if os.environ["VAGUS_REVISION"] == "2" else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()
            def log_message(self, *a): pass
        http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), H).serve_forever()
        """

    /// The first revision, once it has all traffic.
    private func begin(_ house: House, _ pipeline: String) async throws {
        let folder = NSTemporaryDirectory() + "vagus-release-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let file = folder + "/app.py"
        try Data(Self.program.utf8).write(to: URL(filePath: file))
        try await house.apply(
            """
            kind: Service
            name: shop
            workload: { command: [python3, -u, \(file)] }
            rollout: { strategy: recreate }
            ---
            \(pipeline)
            """)
        _ = try await service(house) { $0.stable_revision == 1 && $0.revisions.contains { $0.ready > 0 } }
    }

    private func service(_ house: House, until isWanted: (ServiceStatus) -> Bool) async throws -> ServiceStatus {
        let (time, end) = (SystemTime(), SystemTime().now.advanced(by: .seconds(60)))
        while true {
            let status = try await house.ask(Services.status, Name(project: "default", name: "shop"))
            if isWanted(status) { return status }
            try #require(time.now < end, "the service does not come to it: \(status.json.text)")
            try await time.sleep(for: .milliseconds(50))
        }
    }

    /// Requests by way of the proxy until the run has ended.
    private func ended(_ house: House, _ run: Run) async throws -> Run {
        let (outbound, url) = (OutboundClient(), try #require(try await service(house) { $0.url != nil }.url))
        let (time, end) = (SystemTime(), SystemTime().now.advanced(by: .seconds(60)))
        while true {
            let now = try await house.ask(Runs.get, RunName(project: "default", run: run.id))
            if now.status.hasEnded { return now }
            try #require(time.now < end, "the run does not end: \(now.json.text)")
            _ = try? await outbound.send(HTTPRequest(url: url.hasSuffix("/") ? url : url + "/"), deadline: .seconds(5))  // copies come and go
            try await time.sleep(for: .milliseconds(20))
        }
    }

    @Test func `Watch a release, and go back: a revision that fails under traffic makes room for the one before`()
        async throws
    {
        try await withOpenHouse { house in
            try await begin(
                house,
                """
                kind: Pipeline
                name: p
                stages:
                  - { name: deploy, deploy: { service: shop } }
                  - name: watch
                    needs: [deploy]
                    watch: { service: shop, for: 50s, max_errors: 10%, min_requests: 10, on_breach: rollback }
                """)
            let run = try await ended(house, try await house.start())
            #expect(run.status == .failed)
            let watch = try #require(run.jobs.first { $0.stage == "watch" })
            #expect(watch.reason?.contains("requests failed on revision 2, at most 10% may") == true, "\(watch.reason ?? "")")
            _ = try await service(house) { status in
                status.stable_revision == 1 && status.revisions.contains { $0.revision == 1 && $0.weight == 100 }
            }
        }
    }

    @Test func `Rollback when a run fails after it deployed: the service goes back by itself`() async throws {
        try await withOpenHouse { house in
            try await begin(
                house,
                """
                kind: Pipeline
                name: p
                rollback: { service: shop, when: failure }
                stages:
                  - { name: deploy, deploy: { service: shop } }
                  - { name: smoke, needs: [deploy], jobs: { j: { steps: [{ run: exit 3 }] } } }
                """)
            let run = try await ended(house, try await house.start())
            #expect(run.status == .failed)
            _ = try await service(house) { ($0.stable_revision ?? 2) != 2 }
            var query = EventQuery()
            query.name = "run.rolled-back"
            let told = try await house.ask(Events.list, query).items
            #expect(told.first?.data["undone"] == true && told.first?.data["service"] == "shop")
        }
    }

    @Test func `a request through the proxy is a span below the client's, and a line with its id`() async throws {
        try await withOpenHouse { house in
            try await begin(
                house, "{ kind: Pipeline, name: p, stages: [{ name: a, jobs: { j: { steps: [{ run: x }] } } }] }")
            let url = try #require(try await service(house) { $0.url != nil }.url)
            let trace = "4bf92f3577b34da6a3ce929d0e0e4736"
            let request = HTTPRequest(
                "GET", url: url + "/orders?secret=1",
                headers: [("traceparent", "00-\(trace)-00f067aa0ba902b7-01"), ("X-Request-ID", "order-7")])
            #expect(try await OutboundClient().send(request, deadline: .seconds(20)).status == 200)
            let (time, end) = (SystemTime(), SystemTime().now.advanced(by: .seconds(30)))
            var name = TraceName()
            name.trace = trace
            while true {
                let found = try? await house.ask(Traces.get, name)  // not there yet
                if let found, let span = found.spans.first, !found.lines.isEmpty {
                    #expect(span.service == "vagus-proxy" && span.name == "GET default/shop")
                    #expect(span.parent == "00f067aa0ba902b7" && span.attributes["vagus.correlation"] == "order-7")
                    #expect(span.attributes["url.path"] == "/services/shop/orders")
                    return
                }
                try #require(time.now < end, "the request is not told")
                try await time.sleep(for: .milliseconds(100))
            }
        }
    }
}
