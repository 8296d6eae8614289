public import Manifests

/// Panels in rows, each with the queries behind it.
public enum DashboardKind: Kind {
    public typealias Spec = DashboardSpec
    public typealias Status = NoStatus
    public static let name = "Dashboard"
    public static let plural = "dashboards"
    public static let summary = "Panels of graphs, figures, lines and traces, each with the queries behind it."
}

public struct DashboardSpec: Manifest {
    public var title: String?
    public var description: String?
    public var tags: [String] = []
    public var time = DashboardTime()
    public var variables: [DashboardVariable] = []
    public var rows: [DashboardRow] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("title", \.title, "What stands above it; absent: its name."),
        .optional("description", \.description, "What it is for."),
        .optional("tags", \.tags, "Words to find it by."),
        .optional("time", \.time, "Which time it shows."),
        .optional("variables", \.variables, "What can be chosen above it, and stands in queries as `$name`."),
        .optional("rows", \.rows, "Its rows, from the top."),
    ]
}

public struct DashboardTime: Manifest {
    public var range = TimeSpan.hours(1)
    public var refresh: TimeSpan?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("range", \.range, "How far back from now."),
        .optional("refresh", \.refresh, "How often it is asked again by itself; absent: not."),
    ]
    public static func shorthand(_ json: JSONValue) -> Self? {
        guard let text = json.string, let range = TimeSpan(text) else { return nil }
        var time = Self()
        time.range = range
        return time
    }
}

public struct DashboardVariable: Manifest {
    public var name = ""
    public var title: String?
    public var values: [String] = []
    public var query: String?
    public var `default`: String?
    public var multiple = false
    public var all = false
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("name", \.name, "Its name; `$name` in queries."),
        .optional("title", \.title, "What stands before it."),
        .optional("values", \.values, "What can be chosen."),
        .optional(
            "query", \.query,
            "What can be chosen, asked of the store: `label_values(up, job)` or `label_values(job)`."),
        .optional("default", \.default, "What is chosen at first; absent: the first, or all."),
        .optional("multiple", \.multiple, "Whether several can be chosen; they stand in queries as `a|b`."),
        .optional("all", \.all, "Whether all can be chosen at once; it stands in queries as `.*`."),
    ]
    public static func check(_ value: Self) -> [ManifestError] {
        guard !value.name.isEmpty, value.name.utf8.allSatisfy({ isWordByte($0) }) else {
            return [
                ManifestError(
                    at: ["name"], message: "\"\(value.name)\" cannot be a variable's name",
                    hint: "Use letters, digits and \"_\".")
            ]
        }
        guard value.values.isEmpty == (value.query != nil) else {
            return [
                ManifestError(
                    at: ["values"], message: "the variable \"\(value.name)\" needs either values or a query",
                    hint: "Write `values: [a, b]`, or `query: label_values(up, job)`.")
            ]
        }
        return []
    }
}

public struct DashboardRow: Manifest {
    public var title: String?
    public var collapsed = false
    public var panels: [DashboardPanel] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("title", \.title, "What stands above it."),
        .optional("collapsed", \.collapsed, "Whether it is closed at first."),
        .optional("panels", \.panels, "Its panels, from the left."),
    ]
}

public struct DashboardPanel: Manifest {
    public enum PanelType: String, WireEnum { case time_series, heat_map, table, stat, log, trace_list }
    /// Columns of a row.
    public static let columns = 24
    public var title = ""
    public var description: String?
    public var type = PanelType.time_series
    public var width = 12
    public var height = 8
    public var unit = PanelUnit.number
    public var decimals: Int?
    public var min: Double?
    public var max: Double?
    public var stacked = false
    public var reduce = Reduction.last
    public var thresholds: [PanelThreshold] = []
    public var time: TimeSpan?
    public var queries: [PanelQuery] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("title", \.title, "What stands above it."),
        .optional("description", \.description, "What it shows, for those who ask."),
        .optional("type", \.type, "How it shows."),
        .optional("width", \.width, "Columns of 24.", in: 1...24),
        .optional("height", \.height, "Height in lines of about 30 px.", in: 2...40),
        .optional("unit", \.unit, "What its numbers are."),
        .optional("decimals", \.decimals, "Digits after the point; absent: as needed.", in: 0...10),
        .optional("min", \.min, "Lower end of its axis."),
        .optional("max", \.max, "Upper end of its axis."),
        .optional("stacked", \.stacked, "Whether its series stand on each other."),
        .optional("reduce", \.reduce, "Which one number a stat and a table make of a series."),
        .optional("thresholds", \.thresholds, "From which values on it is a warning, or critical."),
        .optional("time", \.time, "How far back it shows; absent: as the dashboard."),
        .required("queries", \.queries, "What is asked."),
    ]
    public enum Reduction: String, WireEnum { case last, mean, min, max, sum, first }
}

public enum PanelUnit: String, WireEnum {
    case number, percent, ratio, seconds, milliseconds, bytes, bytes_per_second, per_second, per_minute, boolean, time
}

public struct PanelThreshold: Manifest {
    public enum State: String, WireEnum { case good, warning, critical }
    public var value = 0.0
    public var state = State.warning
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("value", \.value, "From this value on."),
        .optional("state", \.state, "What it means."),
    ]
}

/// One question of a panel.
public struct PanelQuery: Manifest {
    public var promql: String?
    public var logql: String?
    public var traces: TraceSearchSpec?
    public var legend: String?
    public var step: TimeSpan?
    public var limit: Int?
    public init() {}
    public static let choices = ["promql", "logql", "traces"]
    public static let fields: [Field<Self>] = [
        .optional("promql", \.promql, "PromQL."),
        .optional("logql", \.logql, "LogQL."),
        .optional("traces", \.traces, "Which traces."),
        .optional("legend", \.legend, "What a series is called: `{{job}} errors`."),
        .optional("step", \.step, "Distance of its points; absent: as fits the width.", in: 1...31_536_000),
        .optional("limit", \.limit, "Lines or traces at most.", in: 1...5000),
    ]
    public static func shorthand(_ json: JSONValue) -> Self? {
        guard let text = json.string else { return nil }
        var query = Self()
        query.promql = text
        return query
    }
}

public struct TraceSearchSpec: Manifest {
    public var service: String?
    public var operation: String?
    public var tags: Ordered<String> = [:]
    public var min_duration: TimeSpan?
    public var max_duration: TimeSpan?
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("service", \.service, "Service that took part."),
        .optional("operation", \.operation, "Name of a span."),
        .optional("tags", \.tags, "Attributes of a span."),
        .optional("min_duration", \.min_duration, "No shorter."),
        .optional("max_duration", \.max_duration, "No longer."),
    ]
}

private func isWordByte(_ byte: UInt8) -> Bool {
    (0x61...0x7A).contains(byte | 0x20) || (0x30...0x39).contains(byte) || byte == 0x5F
}
