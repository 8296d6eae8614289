import API
import Manifests

extension Visitor {
    func services() async throws -> WebResponse {
        try await render {
            async let services = ask(Services.list, ProjectQuery(project: project))
            async let releases = ask(Releases.list, ProjectQuery(project: project))
            return ServicesPage(try await services.items, releases: try await releases.items, now: now)
        }
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

    /// Pipelines whose schedules are asked for.
    private static var pipelineLimit: Int { 50 }

    func calendar() async throws -> WebResponse {
        try await render {
            let (from, to) = CalendarPage.span(now)
            var query = CalendarQuery()
            query.project = project
            (query.from, query.to) = (
                Timestamp(microseconds: Int64(from * 1e6)), Timestamp(microseconds: Int64(to * 1e6))
            )
            var dora = DoraQuery()
            (dora.project, dora.days) = (project, 7 * (CalendarPage.weeksBack + 1))
            let (askedFreezes, askedDora) = (query, dora)
            async let freezes = ask(Environments.freezes, askedFreezes)
            async let report = ask(Dora.get, askedDora)
            var planned: [(pipeline: String, at: Double)] = []
            for pipeline in try await resources(PipelineKind.self, limit: Self.pipelineLimit)
            where pipeline.spec["triggers"]?.array?.contains(where: { $0["schedule"] != nil }) ?? false {
                var triggers = TriggerQuery()
                (triggers.project, triggers.pipeline) = (project, pipeline.name)
                planned += try await ask(Triggers.list, triggers).items.flatMap(\.next)
                    .map { (pipeline.name, $0.seconds) }
            }
            return CalendarPage(
                try await report.deployments, freezes: try await freezes.items, planned: planned, now: now)
        }
    }
}
