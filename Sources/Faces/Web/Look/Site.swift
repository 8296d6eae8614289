/// What one page shows: a plain struct with every value already in words.
protocol PageBody: Sendable {
    static var template: String { get }
    static var title: String { get }
    /// The entry of the navigation it belongs to.
    static var section: Section { get }
    /// What a list page says under its title; nil for pages about one thing, which make a head of their own.
    static var lead: String? { get }
}

extension PageBody {
    static var title: String { section.label }
    static var lead: String? { nil }
}

/// The entries of the navigation.
enum Section: String, CaseIterable, Sendable {
    case overview, runs, approvals, queue, pipelines, services, experiments, models, datasets, monitors, explore,
        dashboards, telemetry, dora, calendar, runners, events, resources

    var label: String {
        switch self {
        case .dora: "Delivery"
        case .resources: "Everything else"
        default: rawValue.prefix(1).uppercased() + rawValue.dropFirst()
        }
    }
    var path: String { self == .overview ? "/" : "/\(rawValue)" }
    var icon: String {
        switch self {
        case .approvals: "shield"
        case .explore: "search"
        case .dashboards: "dashboards"
        case .telemetry: "telemetry"
        case .queue: "waiting"
        case .runners: "system"
        case .resources: "environments"
        default: rawValue
        }
    }
}

/// Turns page bodies into documents.
struct Site: Sendable {
    let assets: Assets
    let templates: Templates

    init(assets: Assets = .embedded) throws {
        self.assets = assets
        self.templates = try Templates()
    }

    /// Who looks, and what the page around the body needs to know.
    struct Visit: Sendable {
        var actor = ""
        var project = "default"
        var csrf = ""
        var canLogOut = false
        /// Where the live feed goes on: the newest event that this page has seen.
        var cursor: Int64 = 0
        var notice: Notice?
        /// Gates that wait, for the navigation.
        var waiting = 0
    }

    /// The body alone, for a page that refreshes itself.
    func fragment<Body: PageBody>(_ body: Body, _ visit: Visit) -> String {
        let heading = Body.lead.map { PageHead(Body.title, in: [], lead: $0) }
        return templates.render(
            BodyRoot(icons: assets.icons, csrf: visit.csrf, heading: heading, page: body), Body.template)
    }

    func document<Body: PageBody>(_ body: Body, title: String? = nil, _ visit: Visit) -> String {
        let nav = Section.allCases.map { section in
            NavItem(
                label: section.label, href: section.path, icon: section.icon, isCurrent: section == Body.section,
                count: section == .approvals && visit.waiting > 0 ? Format.count(visit.waiting) : nil)
        }
        return templates.render(
            Shell(
                title: title ?? Body.title, section: Body.section.label, icons: assets.icons,
                favicon: assets.path("favicon.svg"), style: assets.path("app.css"), script: assets.path("app.js"),
                feed: "/api/v1/events?after=\(visit.cursor)", feedNames: "event", nav: nav, actor: visit.actor,
                project: visit.project, csrf: visit.csrf, canLogOut: visit.canLogOut, notice: visit.notice,
                body: Markup(fragment(body, visit))),
            "layout")
    }

    func login(csrf: String, next: String, notice: Notice?) -> String {
        templates.render(
            LoginPage(
                icons: assets.icons, favicon: assets.path("favicon.svg"), style: assets.path("app.css"), csrf: csrf,
                next: next, notice: notice),
            "login")
    }

    private struct BodyRoot<Body: Sendable>: Sendable {
        let icons: String
        let csrf: String
        let heading: PageHead?
        let page: Body
    }

    private struct NavItem: Sendable {
        let label: String
        let href: String
        let icon: String
        let isCurrent: Bool
        let count: String?
    }

    private struct Shell: Sendable {
        let title: String
        let section: String
        let icons: String
        let favicon: String
        let style: String
        let script: String
        let feed: String
        let feedNames: String
        let nav: [NavItem]
        let actor: String
        let project: String
        let csrf: String
        let canLogOut: Bool
        let notice: Notice?
        let body: Markup
    }

    private struct LoginPage: Sendable {
        let icons: String
        let favicon: String
        let style: String
        let csrf: String
        let next: String
        let notice: Notice?
    }
}
