import API
import Kernel
import Manifests

extension DeliveryDomain {
    /// What each operation of this room does.
    func addRoutes(_ routes: inout Routes, _ verbs: Verbs, _ desk: ProxyDesk) {
        let store = verbs.store
        routes.on(Services.status) { input, _ in
            try await verbs.status(ServiceReference(project: input.project, name: input.name))
        }
        routes.on(Services.list) { input, _ in ItemList(try await verbs.list(input.project)) }
        routes.on(Services.deploy) { input, call in try await verbs.deploy(input, call) }
        routes.on(Services.promote) { input, call in try await verbs.promote(input, call) }
        routes.on(Services.abort) { input, call in try await verbs.abort(input, call) }
        routes.on(Services.undo) { input, call in try await verbs.undo(input, call) }
        routes.on(Services.pause) { input, call in try await verbs.pause(input, call) }
        routes.on(Services.resume) { input, call in try await verbs.resume(input, call) }
        routes.on(Services.retry) { input, call in try await verbs.retry(input, call) }
        routes.on(Services.scale) { input, call in try await verbs.scale(input, call) }
        routes.on(Services.restart) { input, call in try await verbs.restart(input, call) }
        routes.on(Services.analysis) { input, _ in try await verbs.analysis(input) }
        routes.on(Services.outcomes) { input, call in
            try await verbs.note(input, call)
            return Nothing()
        }
        routes.on(Services.traffic) { input, _ in
            let name = ServiceReference(project: input.project, name: input.name)
            let since = input.since ?? store.time.now.advanced(by: .seconds(-3600))
            _ = try await verbs.status(name)
            return ItemList(try await store.read { try TrafficRow.points(name, since: since, in: $0) })
        }
        let releases = ReleaseVerbs(store: store, proxies: verbs.proxies, url: verbs.url)
        routes.on(Releases.list) { input, _ in ItemList(try await releases.list(input.project)) }
        routes.on(Releases.status) { input, _ in
            try await releases.status(ReleaseReference(project: input.project, name: input.name))
        }
        routes.on(Releases.promote) { input, call in try await releases.promote(input, call) }
        routes.on(Releases.abort) { input, call in try await releases.takeBack(input, isOut: false, call) }
        routes.on(Releases.undo) { input, call in try await releases.takeBack(input, isOut: true, call) }
        routes.on(Proxies.table) { input, _ in try await desk.table(input) }
        routes.on(Proxies.report) { input, _ in
            try await desk.report(input)
            return Nothing()
        }
        let dora = DoraDesk(store: store, caller: verbs.freezer.caller)
        routes.on(Dora.get) { input, _ in try await dora.report(input) }
        routes.on(Dora.incident) { input, call in
            try await dora.note(input, call)
            return Nothing()
        }
    }
}
