import API
import Manifests

/// The list of dashboards.
struct DashboardsPage: PageBody {
    static let template = "dashboards"
    static let section = Section.dashboards
    static let lead: String? = "Panels of graphs, figures, log lines and traces, kept as manifests."

    struct Row: Sendable {
        let href: String
        let title: String
        let name: String
        let about: String
        let tags: [String]
    }
    let own: Rows<Row>?
    let stock: Rows<Row>?
    let empty: EmptyState?
    let tabs: [Tab]

    init(_ all: [DashboardInfo]) {
        let rows = { (isStock: Bool) in
            all.filter { $0.is_stock == isStock }.map { one in
                Row(
                    href: Links.dashboard(one.name), title: one.title.isEmpty ? one.name : one.title, name: one.name,
                    about: one.description ?? "", tags: one.tags)
            }
        }
        own = Rows(rows(false))
        stock = Rows(rows(true))
        empty =
            own == nil
            ? EmptyState(
                icon: "dashboards", title: "No dashboard of your own yet",
                text:
                    "Declare one as a manifest, or bring one from Grafana: what cannot be taken is told before it is saved.",
                commands: ["vagus explain Dashboard", "vagus apply -f dashboard.yaml"]) : nil
        tabs = Self.tabs(current: false)
    }

    static func tabs(current isImport: Bool) -> [Tab] {
        [
            Tab("All", "/dashboards", current: !isImport),
            Tab("Import from Grafana", "/dashboards?show=import", current: isImport),
        ]
    }
}

/// One dashboard.
struct DashboardPage: PageBody {
    static let template = "dashboard"
    static let section = Section.dashboards

    struct VariableField: Sendable {
        let id: String
        let name: String
        let label: String
        let isMultiple: Bool
        let size: String
        let choices: [Choice]
        let problem: String?
    }
    struct Row: Sendable {
        let id: String
        let title: String
        let isOpen: Bool
        let hasTitle: Bool
        let panels: [PanelView]
    }

    let head: PageHead
    let action: String
    let variables: [VariableField]
    let time: TimeFields
    let refreshes: [Choice]
    let refresh: String
    let rows: [Row]
    let empty: EmptyState?
    let source: Link?

    /// Seconds between refreshes that one can choose.
    static let refreshChoices = [0, 5, 10, 30, 60, 300, 900]

    init(
        _ view: DashboardView, panels: [[PanelView]], variables: DashboardVariables, time: TimeChoice, refresh: Int
    ) {
        let spec = view.spec
        head = PageHead(
            spec.title ?? view.name, in: [Link("Dashboards", "/dashboards")],
            status: view.is_stock ? Badge(.mute, "info", "Brought by vagus") : nil, lead: spec.description)
        action = Links.dashboard(view.name)
        self.variables = variables.all.map(Self.field)
        self.time = TimeFields(
            time,
            path: Links.path(
                ["dashboards", view.name], pairs: variables.pairs + (refresh > 0 ? [("refresh", "\(refresh)")] : [])))
        self.refresh = "\(refresh)"
        var steps = Self.refreshChoices
        if !steps.contains(refresh) { steps.append(refresh) }
        refreshes = steps.sorted().map {
            Choice(
                value: "\($0)", text: $0 == 0 ? "Off" : "Every \(Format.duration(Double($0)))", isChosen: $0 == refresh)
        }
        rows = zip(spec.rows, panels).enumerated().map { index, pair in
            Row(
                id: "row\(index)", title: variables.filled(pair.0.title ?? ""), isOpen: !pair.0.collapsed,
                hasTitle: pair.0.title != nil || pair.0.collapsed, panels: pair.1)
        }
        empty =
            spec.rows.allSatisfy(\.panels.isEmpty)
            ? EmptyState(
                icon: "dashboards", title: "This dashboard has no panel", text: "Its manifest tells what it shows.",
                commands: ["vagus explain Dashboard.rows"]) : nil
        source = view.is_stock ? nil : Link("Declared as, and events", Links.resource(DashboardKind.plural, view.name))
    }

    private static func field(_ one: DashboardVariables.Chosen) -> VariableField {
        let isMultiple = one.variable.multiple
        var choices = one.options.map { Choice(value: $0, text: $0, isChosen: one.values.contains($0)) }
        if one.variable.all {
            choices.insert(Choice(value: DashboardVariables.everything, text: "All", isChosen: one.isAll), at: 0)
        }
        return VariableField(
            id: "v-\(one.variable.name)", name: "var-\(one.variable.name)",
            label: one.variable.title ?? one.variable.name, isMultiple: isMultiple,
            size: "\(min(4, max(2, choices.count)))", choices: choices, problem: one.problem)
    }
}

/// One panel alone, as a page asks for it again and again.
struct PanelPart: PageBody {
    static let template = "panel"
    static let section = Section.dashboards
    let panel: PanelView
}

/// Bringing a dashboard from Grafana.
struct ImportPage: PageBody {
    static let template = "import"
    static let section = Section.dashboards
    static let lead: String? = DashboardsPage.lead

    struct Found: Sendable {
        let name: String
        let summary: String
        let leftOut: [String]
        let isWhole: Bool
        let yaml: Markup
        let csrf: String
    }
    let tabs = DashboardsPage.tabs(current: true)
    let text: String
    let name: String
    let fault: Notice?
    let found: Found?

    init(text: String, name: String, outcome: GrafanaOutcome?, fault: Problem?, csrf: String) {
        (self.text, self.name) = (text, name)
        self.fault = fault.map {
            Notice(tone: .bad, icon: "failed", title: ExploreLogsPage.sentence($0.message), text: $0.hint)
        }
        found = outcome.map { outcome in
            let rows = Self.items(outcome.manifest["rows"])
            let panels = rows.reduce(0) { $0 + Self.items($1["panels"]).count }
            return Found(
                name: outcome.manifest["name"]?.string ?? "",
                summary:
                    "\(Format.plural(panels, "panel")) in \(Format.plural(rows.count, "row")) and \(Format.plural(Self.items(outcome.manifest["variables"]).count, "variable")) can be taken.",
                leftOut: outcome.left_out, isWhole: outcome.left_out.isEmpty,
                yaml: YAMLMarkup.coloured(Format.clipped(outcome.manifest.yaml, ResourcePage.textLimit)), csrf: csrf)
        }
    }

    private static func items(_ value: JSONValue?) -> [JSONValue] {
        if case .array(let items)? = value { items } else { [] }
    }
}
