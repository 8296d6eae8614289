import API

/// The list of services.
struct ServicesPage: PageBody {
    static let template = "services"
    static let section = Section.services
    static let lead: String? = "What serves people now, and what is on its way to them."

    struct Row: Sendable {
        let href: String
        let name: String
        let message: String
        let status: Badge
        let split: Markup
        let splitNote: String
        let revision: String
        let ready: String
    }
    struct Release: Sendable {
        let name: String
        let message: String
        let status: Badge
        let members: String
        let started: When?
    }
    let table: Rows<Row>?
    let releases: Rows<Release>?
    let empty: EmptyState?

    init(_ services: [ServiceStatus], releases: [ReleaseStatus], now: Double) {
        table = Rows(services.map(Self.row))
        self.releases = Rows(
            releases.map { release in
                Release(
                    name: release.number.map { "\(release.name) #\($0)" } ?? release.name, message: release.message,
                    status: Badge(status: release.phase.rawValue),
                    members: release.services.map { "\($0.service): \($0.state.rawValue)" }.joined(separator: ", "),
                    started: release.started_at.map { When($0.seconds, now: now) })
            })
        empty = services.isEmpty ? Self.nothing : nil
    }

    static let nothing = EmptyState(
        icon: "services", title: "No service yet",
        text: "A service is a program or a model that Vagus keeps up, behind its own proxy. Declare one:",
        commands: ["vagus explain Service", "vagus apply -f service.yaml"])

    private static func row(_ service: ServiceStatus) -> Row {
        let parts = service.revisions.filter { $0.weight > 0 }.sorted { $0.revision < $1.revision }
        let active = service.revisions.first { $0.revision == service.active_revision }
        return Row(
            href: Links.service(service.service), name: service.service, message: service.message,
            status: Badge(status: service.phase.rawValue),
            split: Sparkline.split(parts.map { (name: "revision \($0.revision)", share: Double($0.weight) / 100) }),
            splitNote: parts.map { "\($0.weight) % to r\($0.revision)" }.joined(separator: ", "),
            revision: active.map { $0.model ?? $0.image ?? "r\($0.revision)" } ?? "–",
            ready:
                "\(service.revisions.reduce(0) { $0 + $1.ready })/\(service.revisions.reduce(0) { $0 + $1.replicas })")
    }
}
