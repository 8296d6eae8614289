import API

extension Visitor {
    func datasets() async throws -> WebResponse {
        try await render { DatasetsPage(try await resources(DatasetKind.self), now: now) }
    }

    func dataset(_ name: String) async throws -> WebResponse {
        try await render(title: name) { DatasetPage(try await resource(DatasetKind.self, name), now: now) }
    }
}
