import API
import Manifests

extension Visitor {
    func services() async throws -> WebResponse {
        try await render { ServicesPage(try await ask(Services.list, ProjectQuery(project: project)).items) }
    }

    func service(_ wanted: String) async throws -> WebResponse {
        try await render(title: wanted) {
            var traffic = TrafficQuery()
            (traffic.project, traffic.name) = (project, wanted)
            var dora = DoraQuery()
            (dora.project, dora.service, dora.days) = (project, wanted, 365)
            let (askedTraffic, askedDora) = (traffic, dora)
            async let status = ask(Services.status, name(wanted))
            async let declared = resource(ServiceKind.self, wanted)
            async let points = find(Services.traffic, askedTraffic)
            async let report = ask(Dora.get, askedDora)
            // A spec of another version of vagus may not read; the page then shows the status alone.
            let json = try await declared.spec
            let spec = try? ServiceSpec(json: json, at: [])  // unreadable: the status alone
            return ServicePage(
                try await status, spec: spec, traffic: try await points?.items ?? [],
                deployments: try await report.deployments,
                csrf: csrf, now: now)
        }
    }

    func dora() async throws -> WebResponse {
        try await render {
            var query = DoraQuery()
            (query.project, query.service) = (project, typed("service"))
            query.days = min(3650, max(1, Int(request.query["days"] ?? "") ?? 30))
            return DoraPage(try await ask(Dora.get, query), query: query, now: now)
        }
    }
}
