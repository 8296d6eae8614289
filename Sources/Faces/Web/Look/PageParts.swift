import API
import Manifests

extension Timestamp {
    /// Seconds since 1970.
    var seconds: Double { Double(microseconds) / 1_000_000 }
}

/// The rows of a table; nothing when there are none, so that a page shows its empty state instead.
struct Rows<Row: Sendable>: Sendable {
    let rows: [Row]

    init?(_ rows: [Row]) {
        guard !rows.isEmpty else { return nil }
        self.rows = rows
    }
}

/// A list under a name of its own; nothing when it is empty.
struct Listing<Item: Sendable>: Sendable {
    let list: [Item]

    init?(_ list: [Item]) {
        guard !list.isEmpty else { return nil }
        self.list = list
    }
}

/// What stands on top of a page about one thing.
struct PageHead: Sendable {
    struct Crumbs: Sendable {
        let links: [Link]
    }
    let crumbs: Crumbs?
    let title: String
    let status: Badge?
    let lead: String?
    let actions: Listing<Action>?

    init(_ title: String, in crumbs: [Link], status: Badge? = nil, lead: String? = nil, actions: [Action] = []) {
        self.crumbs = crumbs.isEmpty ? nil : Crumbs(links: crumbs)
        (self.title, self.status, self.lead) = (title, status, lead)
        self.actions = Listing(actions)
    }
}

/// A choice in a form.
struct Choice: Sendable {
    let value: String
    let text: String
    let isChosen: Bool
}

/// A chart with its heading.
struct ChartCard: Sendable {
    let title: String
    let note: String
    let figure: Figure
}

extension JSONValue {
    /// The value in a few words, for a line of text.
    var gist: String {
        switch self {
        case .null: "–"
        case .bool(let value): value ? "yes" : "no"
        case .integer(let value): "\(value)"
        case .number(let value): Format.plain(value)
        case .string(let text): text
        case .array(let items): items.map(\.gist).joined(separator: ", ")
        case .object(let members): members.map { "\($0.key) \($0.value.gist)" }.joined(separator: ", ")
        }
    }
}

/// What is known of metrics by their names.
enum Metric {
    /// Whether a smaller value of this metric is a better one.
    static func isBetterLower(_ name: String) -> Bool {
        let lower = name.lowercased()
        return ["loss", "brier", "ece", "error", "rmse", "mae", "mse", "gap", "latency", "seconds"]
            .contains { lower.contains($0) }
    }

    /// The metric that stands for a model when there is room for one.
    static func main(among names: [String]) -> String? {
        ["auc", "f1", "accuracy", "r2", "rmse", "mae", "log_loss"].first(where: names.contains) ?? names.first
    }

    /// "AUC", "Log loss".
    static func title(_ name: String) -> String {
        let known = [
            "auc": "AUC", "ece": "ECE", "f1": "F1", "rmse": "RMSE", "mae": "MAE", "r2": "R²", "log_loss": "Log loss",
        ]
        return known[name] ?? Badge(status: name).text
    }
}
