import API
import Kernel
import Manifests

extension Visitor {
    func dashboards() async throws -> WebResponse {
        if request.query["show"] == "import" {
            return try await render(title: "Import from Grafana") {
                ImportPage(text: "", name: "", outcome: nil, fault: nil, csrf: csrf)
            }
        }
        return try await render {
            var query = DashboardQuery()
            query.project = project
            return DashboardsPage(try await ask(Dashboards.list, query).items)
        }
    }

    func dashboard(_ wanted: String) async throws -> WebResponse {
        let view = try await ask(Dashboards.get, name(wanted))
        return try await render(title: view.spec.title ?? wanted) {
            let time = TimeChoice(request.query, now: now, fallback: view.spec.time.range)
            let variables = try await variables(of: view.spec, time)
            var place = 0
            var places: [(place: Int, panel: DashboardPanel, isOpen: Bool)] = []
            for row in view.spec.rows {
                for panel in row.panels {
                    places.append((place, panel, !row.collapsed))
                    place += 1
                }
            }
            let made = try await together(places) { one in
                try await panel(one.panel, one.place, of: wanted, variables, time, isAsked: one.isOpen)
            }
            var rest = made[...]
            let panels = view.spec.rows.map { row in
                defer { rest = rest.dropFirst(row.panels.count) }
                return Array(rest.prefix(row.panels.count))
            }
            let refresh = request.query["refresh"].flatMap { Int($0) } ?? Int(view.spec.time.refresh?.seconds ?? 0)
            return DashboardPage(
                view, panels: panels, variables: variables, time: time, refresh: min(86_400, max(0, refresh)))
        }
    }

    /// One panel anew.
    func panel(of wanted: String) async throws -> WebResponse? {
        let view = try await ask(Dashboards.get, name(wanted))
        let time = TimeChoice(request.query, now: now, fallback: view.spec.time.range)
        let all = view.spec.rows.flatMap(\.panels)
        guard let place = Int(question("panel")), all.indices.contains(place) else { return nil }
        let variables = try await variables(of: view.spec, time)
        let made = try await panel(all[place], place, of: wanted, variables, time, isAsked: true)
        return .html(status: 200, face.site.fragment(PanelPart(panel: made), Site.Visit()))
    }

    private func panel(
        _ panel: DashboardPanel, _ place: Int, of dashboard: String, _ variables: DashboardVariables,
        _ whole: TimeChoice, isAsked: Bool
    ) async throws -> PanelView {
        // A panel may look further back than its dashboard.
        let time = panel.time.map { TimeChoice(["range": $0.description], now: whole.to) } ?? whole
        var filling = variables
        filling.span = time.span
        filling.interval = max(1, (time.span / 250).rounded(.up))
        let answer = isAsked ? try await answer(panel, filling, time) : nil
        let source = Links.path(
            ["dashboards", dashboard, "panel"], pairs: [("panel", "\(place)")] + variables.pairs + whole.pairs)
        return PanelView(
            panel, answer, place: place, source: source, variables: filling, time: time, now: now)
    }

    /// Reads what was pasted, and shows or saves what becomes of it.
    func importDashboard(save: Bool) async throws -> WebResponse {
        let (text, name) = (request.form["dashboard"] ?? "", (request.form["name"] ?? "").trimmed())
        var outcome: GrafanaOutcome?
        do {
            var input = GrafanaInput()
            (input.project, input.name) = (project, name.isEmpty ? nil : name)
            input.dashboard = try Self.json(text)
            let made = try await ask(Dashboards.importGrafana, input)
            outcome = made
            if save {
                var apply = ApplyInput()
                (apply.documents, apply.project) = ([made.manifest], project)
                _ = try await ask(Resources.apply, apply)
                return .redirect(Links.path(["dashboards", made.manifest["name"]?.string ?? ""], ["done": "import"]))
            }
        } catch let problem as Problem {
            return try await importPage(text, name, outcome, problem)
        }
        return try await importPage(text, name, outcome, nil)
    }

    private func importPage(_ text: String, _ name: String, _ outcome: GrafanaOutcome?, _ fault: Problem?) async throws
        -> WebResponse
    {
        try await render(title: "Import from Grafana", status: fault.map { max(400, $0.status) } ?? 200) {
            ImportPage(text: text, name: name, outcome: outcome, fault: fault, csrf: csrf)
        }
    }

    private static func json(_ text: String) throws -> JSONValue {
        do {
            return try JSONParser.parse(text)
        } catch {
            throw Problem(
                "dashboard.json", status: 400, "this is no JSON: \(error.message)",
                hint: "In Grafana: Share, Export, Save to file; then choose that file or paste its text.")
        }
    }
}
