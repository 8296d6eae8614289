import API
import LogQL
import Manifests
import PromQL
import Series

/// Whether everything that a Telemetry manifest says can be worked out.
struct TelemetryAdmission {
    private let spec: TelemetrySpec

    init(_ spec: TelemetrySpec) { self.spec = spec }

    func check() throws(Problem) {
        let metrics = spec.metrics
        var groups = metrics.aggregation.groups
        for (index, file) in metrics.aggregation.rule_files.enumerated() {
            let place = "metrics.aggregation.rule_files.\(index)"
            do { groups += try RuleFile(file).groups } catch {
                throw Problem(
                    "telemetry.rule-file", status: 422, "the rule file cannot be read: \(error.message)",
                    hint: error.hint,
                    location: error.at.isEmpty ? place : "\(place).\(error.at.joined(separator: "."))")
            }
        }
        guard groups.reduce(0, { $0 + $1.rules.count }) <= TelemetryLimits.rules else {
            throw Problem("telemetry.rules", status: 422, "there are more than \(TelemetryLimits.rules) rules")
        }
        for group in groups {
            for (index, rule) in group.rules.enumerated() {
                try check(rule, "group \"\(group.name)\", rule \(index + 1)")
            }
        }
        for (index, one) in spec.logging.aggregation.enumerated() { try check(one, "logging.aggregation.\(index)") }
        for (index, rule) in (metrics.retention?.by ?? []).enumerated() {
            do { _ = try parseSelector(rule.match) } catch {
                throw Problem(
                    "telemetry.selector", status: 422, "\"\(rule.match)\" is no selector of series: \(error.message)",
                    hint: "Write it like {job=\"debug\"}.", location: "metrics.retention.by.\(index).match")
            }
        }
        for (index, job) in metrics.scrape.enumerated() {
            try check(job.relabel, "metrics.scrape.\(index).relabel")
            try check(job.metric_relabel, "metrics.scrape.\(index).metric_relabel")
        }
        for (index, one) in metrics.remote_write.enumerated() {
            try check(one.relabel, "metrics.remote_write.\(index).relabel")
            try check(EndpointSpec.check(one.to), "metrics.remote_write.\(index).to")
        }
        if let source = metrics.source { try check(EndpointSpec.check(source.prometheus), "metrics.source.prometheus") }
        for (index, one) in spec.logging.destinations.enumerated() {
            try check(one.loki.map(EndpointSpec.check) ?? [], "logging.destinations.\(index).loki")
            try check(one.file.map(LogFileSpec.check) ?? [], "logging.destinations.\(index).file")
        }
        try unique(metrics.scrape.map(\.job), "scrape job")
        try unique(metrics.remote_write.map(\.name), "remote write")
    }

    /// The short forms of these are not looked at when they are read.
    private func check(_ complaints: [ManifestError], _ place: String) throws(Problem) {
        guard let first = complaints.first else { return }
        throw Problem("telemetry.endpoint", status: 422, first.message, hint: first.hint, location: place)
    }

    private func check(_ rule: RuleSpec, _ place: String) throws(Problem) {
        do { _ = try parseExpression(rule.expr) } catch {
            throw Problem(
                "telemetry.rule", status: 422, "the expression of \(place) cannot be read: \(error.message)",
                hint: error.place.map { "Look at line and column \($0) of it." }, location: place)
        }
        guard let name = rule.record else { return }
        try checkName(name, place)
    }

    private func check(_ one: LogAggregation, _ place: String) throws(Problem) {
        try checkName(one.name, place)
        let query: LogQL.LogQuery
        do { query = try LogQL.LogQuery(one.query) } catch {
            throw Problem(
                "telemetry.aggregation", status: 422, "the query of \"\(one.name)\" cannot be read: \(error)",
                location: "\(place).query")
        }
        guard query.isMetric else {
            throw Problem(
                "telemetry.aggregation", status: 422, "the query of \"\(one.name)\" answers lines, not figures",
                hint: "Count them: `sum by (app) (count_over_time(… [1m]))`.", location: "\(place).query")
        }
    }

    private func checkName(_ name: String, _ place: String) throws(Problem) {
        let isName =
            name.utf8.first.map { !(0x30...0x39).contains($0) } ?? false
            && name.utf8.allSatisfy { byte in
                (0x61...0x7A).contains(byte | 0x20) || (0x30...0x3A).contains(byte) || byte == 0x5F
            }
        guard isName else {
            throw Problem(
                "telemetry.name", status: 422, "\"\(name)\" cannot be a metric's name",
                hint: "Use letters, digits, \"_\" and \":\", beginning with no digit.", location: place)
        }
    }

    private func check(_ steps: [RelabelSpec], _ place: String) throws(Problem) {
        for (index, step) in steps.enumerated() {
            do { _ = try LabelPattern(step.regex) } catch {
                throw Problem(
                    "telemetry.relabel", status: 422, "\"\(step.regex)\" is no pattern: \(error.description)",
                    hint: "Use RE2's syntax.", location: "\(place).\(index).regex")
            }
        }
    }

    private func unique(_ names: [String], _ what: String) throws(Problem) {
        var seen = Set<String>()
        if let twice = names.first(where: { !seen.insert($0).inserted }) {
            throw Problem("telemetry.twice", status: 422, "there are two of the \(what) \"\(twice)\"")
        }
    }
}

/// Whether the queries of a dashboard can be read, with something put in for its variables.
struct DashboardAdmission {
    private let spec: DashboardSpec

    init(_ spec: DashboardSpec) { self.spec = spec }

    func check() throws(Problem) {
        for (row, rowSpec) in spec.rows.enumerated() {
            for (panel, panelSpec) in rowSpec.panels.enumerated() {
                for (index, query) in panelSpec.queries.enumerated() {
                    try check(query, "rows.\(row).panels.\(panel).queries.\(index)", panelSpec)
                }
            }
        }
    }

    private func check(_ query: PanelQuery, _ place: String, _ panel: DashboardPanel) throws(Problem) {
        if let text = query.promql {
            do { _ = try parseExpression(DashboardText.filled(text, spec.variables)) } catch {
                throw Problem(
                    "dashboard.query", status: 422,
                    "a query of panel \"\(panel.title)\" is no PromQL: \(error.message)",
                    location: "\(place).promql")
            }
        }
        if let text = query.logql {
            do { _ = try LogQL.LogQuery(DashboardText.filled(text, spec.variables)) } catch {
                throw Problem(
                    "dashboard.query", status: 422, "a query of panel \"\(panel.title)\" is no LogQL: \(error)",
                    location: "\(place).logql")
            }
        }
    }
}

/// Variables in the queries of dashboards: `$name`, `${name}`, and what Grafana has built in.
enum DashboardText {
    static let builtIn: [(name: String, value: String)] = [
        ("__rate_interval", "5m"), ("__interval", "1m"), ("__range", "1h"), ("__interval_ms", "60000"),
        ("__range_s", "3600"), ("__range_ms", "3600000"),
    ]

    /// The query with usual values in place of its variables.
    static func filled(_ text: String, _ variables: [DashboardVariable]) -> String {
        let known = builtIn + variables.map { ($0.name, $0.default ?? $0.values.first ?? "x") }
        var out = text
        // The longest names first: `$__range_s` is not `$__range` and `_s`.
        for (name, value) in known.sorted(by: { $0.0.utf8.count > $1.0.utf8.count }) {
            for form in ["${\(name)}", "${\(name):regex}", "${\(name):pipe}", "[[\(name)]]", "$\(name)"] {
                out = out.replacing(form, with: value)
            }
        }
        return out
    }
}

extension TelemetryAdmission {
    /// Whether the queries of an objective can be read.
    static func check(_ slo: SloSpec, _ project: String) throws(Problem) {
        let queries = slo.queries(project: project)
        for (name, query) in [("errors", queries.errors), ("total", queries.total)] {
            do { _ = try parseExpression(query) } catch {
                throw Problem(
                    "slo.query", status: 422, "the query cannot be read: \(error.message)",
                    hint: "Write PromQL, with [\(SloSpec.windowWord)] for the range.", location: name)
            }
        }
    }
}
