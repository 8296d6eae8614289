import API

extension Visitor {
    /// Models whose versions the list looks into.
    static let modelLimit = 50

    func models() async throws -> WebResponse {
        try await render {
            let all = try await resources(ModelKind.self)
            var versions: [String: [ModelVersion]] = [:]
            for model in all.prefix(Self.modelLimit) {
                versions[model.name] = try await find(Models.versions, name(model.name))?.items
            }
            var query = ModelRequestQuery()
            (query.project, query.status) = (project, .waiting)
            let waiting = try await find(Models.requests, query)?.items ?? []
            return ModelsPage(all, versions: versions, waiting: waiting, now: now)
        }
    }

    func model(_ wanted: String) async throws -> WebResponse {
        try await render(title: wanted) {
            async let declared = resource(ModelKind.self, wanted)
            async let versions = find(Models.versions, name(wanted))
            async let services = ask(Services.list, ProjectQuery(project: project))
            var query = ModelRequestQuery()
            (query.project, query.model, query.status) = (project, wanted, .waiting)
            let waiting = try await find(Models.requests, query)?.items ?? []
            return ModelPage(
                try await declared, versions: try await versions?.items ?? [], chosen: typed("version"),
                services: try await services.items, requests: waiting, viewer: GateCard.Viewer(call), csrf: csrf,
                now: now)
        }
    }
}
