import API

extension Visitor {
    func overview() async throws -> WebResponse {
        try await render {
            var query = RunQuery()
            (query.project, query.limit, query.jobs) = (project, 30, true)
            var dora = DoraQuery()
            dora.project = project
            async let runs = ask(Runs.list, query)
            async let services = ask(Services.list, ProjectQuery(project: project))
            async let monitors = resources(MonitorKind.self)
            async let pipelines = resources(PipelineKind.self)
            async let report = ask(Dora.get, dora)
            return OverviewPage(
                runs: try await runs.items, services: try await services.items, monitors: try await monitors,
                pipelines: try await pipelines.map(\.name), dora: try await report, now: now)
        }
    }
}
