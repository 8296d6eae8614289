import API
import Manifests

/// Turns the JSON of a Grafana dashboard into a manifest, and tells what was not taken.
struct GrafanaImport {
    private let input: GrafanaInput
    private let root: JSONValue
    private var leftOut: [String] = []

    private static let types: [String: DashboardPanel.PanelType] = [
        "timeseries": .time_series, "graph": .time_series, "barchart": .time_series, "state-timeline": .time_series,
        "heatmap": .heat_map, "table": .table, "table-old": .table, "stat": .stat, "singlestat": .stat, "gauge": .stat,
        "bargauge": .stat, "logs": .log, "traces": .trace_list,
    ]
    private static let units: [String: PanelUnit] = [
        "s": .seconds, "ms": .milliseconds, "bytes": .bytes, "decbytes": .bytes, "Bps": .bytes_per_second,
        "binBps": .bytes_per_second, "percent": .percent, "percentunit": .ratio, "reqps": .per_second,
        "ops": .per_second,
        "rps": .per_second, "wps": .per_second, "iops": .per_second, "cps": .per_second, "opm": .per_minute,
        "rpm": .per_minute, "short": .number, "none": .number, "bool": .boolean, "bool_yes_no": .boolean,
        "bool_on_off": .boolean, "dateTimeAsIso": .time, "dateTimeFromNow": .time,
    ]

    /// - Throws: `Problem` when it is no dashboard.
    init(_ input: GrafanaInput) throws(Problem) {
        self.input = input
        // What the API of Grafana answers has it one level down.
        root = input.dashboard["dashboard"] ?? input.dashboard
        guard root["panels"]?.array != nil || root["rows"]?.array != nil else {
            throw Problem(
                "dashboard.not-grafana", status: 422, "this is no dashboard of Grafana: it has no panels",
                hint: "Export it in Grafana with Share, Export, Save to file.")
        }
    }

    var outcome: GrafanaOutcome {
        get throws {
            var work = self
            let spec = work.spec()
            var resource = Resource()
            resource.kind = DashboardKind.name
            resource.project = input.project
            resource.name = input.name ?? Self.name(root["title"]?.string ?? "dashboard")
            resource.spec = spec.json
            var outcome = GrafanaOutcome()
            outcome.manifest = resource.manifest
            outcome.left_out = work.leftOut
            return outcome
        }
    }

    /// A name made of a title: `Node Exporter / Full` is `node-exporter-full`.
    private static func name(_ title: String) -> String {
        let words = title.lowercased().split { !($0.isASCII && ($0.isLetter || $0.isNumber)) }
        return words.isEmpty ? "dashboard" : String(words.joined(separator: "-").prefix(60))
    }

    private mutating func leave(_ what: String) { if !leftOut.contains(what) { leftOut.append(what) } }

    private mutating func spec() -> DashboardSpec {
        var spec = DashboardSpec()
        spec.title = root["title"]?.string
        spec.description = root["description"]?.string.flatMap { $0.isEmpty ? nil : $0 }
        spec.tags = (root["tags"]?.array ?? []).compactMap(\.string)
        if let from = root["time"]?["from"]?.string {
            if from.hasPrefix("now-"), let range = TimeSpan(String(from.dropFirst(4))) {
                spec.time.range = range
            } else {
                leave("time: it begins at \"\(from)\", which is no length before now")
            }
        }
        if let refresh = root["refresh"]?.string { spec.time.refresh = TimeSpan(refresh) }
        spec.variables = variables()
        spec.rows = rows()
        for (key, what) in [("annotations", "annotations"), ("links", "links")] {
            let list = root[key]?["list"]?.array ?? root[key]?.array ?? []
            let own = list.filter { $0["builtIn"]?.int != 1 && $0["builtIn"]?.bool != true }
            if !own.isEmpty { leave("\(what): \(own.count)") }
        }
        return spec
    }

    // MARK: Variables

    private mutating func variables() -> [DashboardVariable] {
        var found: [DashboardVariable] = []
        for json in root["templating"]?["list"]?.array ?? [] {
            let name = json["name"]?.string ?? ""
            var variable = DashboardVariable()
            variable.name = name
            variable.title = json["label"]?.string.flatMap { $0.isEmpty ? nil : $0 }
            variable.multiple = json["multi"]?.bool ?? false
            variable.all = json["includeAll"]?.bool ?? false
            let current = json["current"]?["value"]
            variable.default = current?.string ?? current?[0]?.string
            if let value = variable.default, value == "$__all" || value.isEmpty { variable.default = nil }
            switch json["type"]?.string {
            case "query":
                let text = json["query"]?.string ?? json["query"]?["query"]?.string ?? json["definition"]?.string ?? ""
                guard text.hasPrefix("label_values(") else {
                    leave(
                        "variable \"\(name)\": only label_values(…) is known, not \(text.isEmpty ? "its query" : text)")
                    continue
                }
                variable.query = text
            case "custom", "interval":
                variable.values = (json["query"]?.string ?? "").split(separator: ",").map { part in
                    String(part.split(separator: ":").last ?? part).trimmingSpaces
                }.filter { $0 != "auto" }
            case "constant", "textbox":
                variable.values = [json["query"]?.string ?? variable.default ?? ""]
            case "datasource": continue
            default:
                leave("variable \"\(name)\": its type \"\(json["type"]?.string ?? "")\" is not known")
                continue
            }
            guard DashboardVariable.check(variable).isEmpty else {
                leave("variable \"\(name)\": it has no values")
                continue
            }
            if json["regex"]?.string.map({ !$0.isEmpty }) ?? false { leave("variable \"\(name)\": its regex") }
            found.append(variable)
        }
        return found
    }

    // MARK: Rows

    /// Grafana lays panels out freely: those that begin at one height are a row here, a titled row begins a new one.
    private mutating func rows() -> [DashboardRow] {
        var rows: [DashboardRow] = []
        for old in root["rows"]?.array ?? [] { rows.append(row(old, old["panels"]?.array ?? [])) }
        let panels = (root["panels"]?.array ?? []).sorted { Self.place($0) < Self.place($1) }
        var current = DashboardRow()
        for json in panels {
            guard json["type"]?.string == "row" else {
                if let panel = panel(json) { current.panels.append(panel) }
                continue
            }
            if !current.panels.isEmpty || current.title != nil { rows.append(current) }
            current = DashboardRow()
            current.title = json["title"]?.string
            let inside = json["panels"]?.array ?? []
            if !inside.isEmpty {
                rows.append(row(json, inside))
                current = DashboardRow()
            }
        }
        if !current.panels.isEmpty { rows.append(current) }
        return rows.filter { !$0.panels.isEmpty || $0.title != nil }
    }

    private static func place(_ panel: JSONValue) -> Int {
        (panel["gridPos"]?["y"]?.int ?? 0) * 1000 + (panel["gridPos"]?["x"]?.int ?? 0)
    }

    private mutating func row(_ json: JSONValue, _ panels: [JSONValue]) -> DashboardRow {
        var row = DashboardRow()
        row.title = json["title"]?.string
        row.collapsed = json["collapsed"]?.bool ?? json["collapse"]?.bool ?? false
        for one in panels.sorted(by: { Self.place($0) < Self.place($1) }) {
            if let panel = panel(one) { row.panels.append(panel) }
        }
        return row
    }

    // MARK: Panels

    private mutating func panel(_ json: JSONValue) -> DashboardPanel? {
        let title = json["title"]?.string ?? ""
        let word = json["type"]?.string ?? ""
        guard let type = Self.types[word] else {
            leave("panel \"\(title)\": its type \"\(word)\" is not known")
            return nil
        }
        var panel = DashboardPanel()
        (panel.title, panel.type) = (title, type)
        panel.description = json["description"]?.string.flatMap { $0.isEmpty ? nil : $0 }
        panel.width = min(24, max(1, json["gridPos"]?["w"]?.int ?? (json["span"]?.int ?? 6) * 2))
        panel.height = min(40, max(2, json["gridPos"]?["h"]?.int ?? 8))
        look(json, title, &panel)
        for target in json["targets"]?.array ?? [] {
            if let query = query(target, panel, title) { panel.queries.append(query) }
        }
        if !(json["transformations"]?.array ?? []).isEmpty { leave("panel \"\(title)\": its transformations") }
        if json["alert"] != nil { leave("panel \"\(title)\": its alert") }
        if !(json["fieldConfig"]?["overrides"]?.array ?? []).isEmpty {
            leave("panel \"\(title)\": overrides of fields")
        }
        guard !panel.queries.isEmpty else {
            leave("panel \"\(title)\": it has no query that is known")
            return nil
        }
        return panel
    }

    private mutating func look(_ json: JSONValue, _ title: String, _ panel: inout DashboardPanel) {
        let defaults = json["fieldConfig"]?["defaults"] ?? [:]
        let unit = defaults["unit"]?.string ?? json["format"]?.string ?? json["yaxes"]?[0]?["format"]?.string
        if let unit {
            if let known = Self.units[unit] {
                panel.unit = known
            } else {
                leave("panel \"\(title)\": its unit \"\(unit)\"")
            }
        }
        panel.decimals = defaults["decimals"]?.int.map { min(10, max(0, $0)) }
        (panel.min, panel.max) = (defaults["min"]?.double, defaults["max"]?.double)
        panel.stacked =
            (defaults["custom"]?["stacking"]?["mode"]?.string ?? "none") != "none" || json["stack"]?.bool == true
        let reduce = json["options"]?["reduceOptions"]?["calcs"]?[0]?.string ?? json["valueName"]?.string
        switch reduce {
        case nil, "last", "lastNotNull", "current": break
        case "mean", "avg": panel.reduce = .mean
        case "min": panel.reduce = .min
        case "max": panel.reduce = .max
        case "sum", "total": panel.reduce = .sum
        case "first", "firstNotNull": panel.reduce = .first
        case let other?: leave("panel \"\(title)\": its reduction \"\(other)\"")
        }
        for step in defaults["thresholds"]?["steps"]?.array ?? [] {
            guard let value = step["value"]?.double else { continue }
            var threshold = PanelThreshold()
            threshold.value = value
            let color = (step["color"]?.string ?? "").lowercased()
            threshold.state =
                color.contains("green") || color.contains("blue") ? .good : color.contains("red") ? .critical : .warning
            panel.thresholds.append(threshold)
        }
    }

    private mutating func query(_ json: JSONValue, _ panel: DashboardPanel, _ title: String) -> PanelQuery? {
        if json["hide"]?.bool == true { return nil }
        var query = PanelQuery()
        let source = json["datasource"]?["type"]?.string ?? ""
        if let legend = json["legendFormat"]?.string, !legend.isEmpty, legend != "__auto" { query.legend = legend }
        if let interval = json["interval"]?.string, let step = TimeSpan(interval) { query.step = step }
        let text = json["expr"]?.string ?? ""
        switch source {
        case "loki" where !text.isEmpty: query.logql = text
        case "jaeger", "tempo":
            var search = TraceSearchSpec()
            search.service = json["service"]?.string
            search.operation = json["operation"]?.string
            query.traces = search
        case "prometheus", "":
            guard !text.isEmpty else {
                leave("panel \"\(title)\": a query without an expression")
                return nil
            }
            if panel.type == .log { query.logql = text } else { query.promql = text }
        default:
            leave("panel \"\(title)\": a query of the data source \"\(source)\"")
            return nil
        }
        return query
    }
}

extension String {
    fileprivate var trimmingSpaces: String {
        var text = self[...]
        while text.first == " " { text = text.dropFirst() }
        while text.last == " " { text = text.dropLast() }
        return String(text)
    }
}
