import API
import Kernel
import Manifests
import SQL

/// Dashboards: those that are declared, those that vagus brings, and those that come from Grafana.
struct DashboardRoutes: Sendable {
    let store: Store

    func add(to routes: inout Routes) {
        let store = store
        routes.on(Dashboards.list) { input, _ in
            let declared = try await store.read { try $0.resources(DashboardKind.self, project: input.project) }
            let (services, models) = try await Self.subjects(input.project, store)
            let stock = StockDashboards.all(project: input.project, services: services, models: models)
                .filter { one in !declared.contains { $0.reference.name == one.name } }
            return ItemList(
                declared.map { Self.info($0.reference.name, $0.spec, isStock: false) }
                    + stock.map { Self.info($0.name, $0.spec, isStock: true) })
        }
        routes.on(Dashboards.get) { input, _ in
            let reference = Reference<DashboardKind>(project: input.project, name: input.name)
            if let found = try await store.read({ try $0.resource(DashboardKind.self, reference) }) {
                return Self.view(input.name, found.spec, isStock: false)
            }
            let (services, models) = try await Self.subjects(input.project, store)
            guard
                let stock = StockDashboards.all(project: input.project, services: services, models: models)
                    .first(where: { $0.name == input.name })
            else { throw Problem.notFound("Dashboard", input.name, project: input.project, list: "dashboard list") }
            return Self.view(stock.name, stock.spec, isStock: true)
        }
        routes.on(Dashboards.importGrafana) { input, _ in try GrafanaImport(input).outcome }
    }

    private static func subjects(_ project: String, _ store: Store) async throws
        -> (services: [(name: String, model: String?)], models: [String])
    {
        try await store.read { sql in
            (
                try sql.resources(ServiceKind.self, project: project).map { service in
                    // `employment@champion` is a version of `employment`.
                    (service.reference.name, service.spec.workload.model.map { String($0.prefix { $0 != "@" }) })
                },
                try sql.resources(ModelKind.self, project: project).map(\.reference.name)
            )
        }
    }

    private static func info(_ name: String, _ spec: DashboardSpec, isStock: Bool) -> DashboardInfo {
        var info = DashboardInfo()
        (info.name, info.title, info.description) = (name, spec.title ?? name, spec.description)
        (info.tags, info.is_stock) = (spec.tags, isStock)
        return info
    }

    private static func view(_ name: String, _ spec: DashboardSpec, isStock: Bool) -> DashboardView {
        var view = DashboardView()
        (view.name, view.spec, view.is_stock) = (name, spec, isStock)
        return view
    }
}
