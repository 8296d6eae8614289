import API
import Manifests

/// What the page of an experiment is asked to show: typed, or saved under a name.
struct RunSearchForm: Sendable {
    let filter: String?
    let order: String?
    /// "metrics.auc", "params.lr", "tags.team"; empty: what the runs themselves suggest.
    let columns: [String]
    let isDeleted: Bool
    /// The saved search that is shown.
    let view: String?

    /// Names of the fields that choose a column begin with this.
    static let columnPrefix = "c:"
    static let textLimit = 4_000

    init(_ fields: [String: String], views: [Resource]) {
        func typed(_ key: String) -> String? {
            guard let text = fields[key]?.trimmed(), !text.isEmpty else { return nil }
            return String(text.prefix(Self.textLimit))
        }
        view = typed("view")
        let saved = views.first { $0.name == view }?.spec
        isDeleted = fields["show"] == "deleted"
        // A field that is there and empty was emptied; one that is not there was not asked.
        filter = fields["filter"] == nil ? saved?["filter"]?.string : typed("filter")
        order = fields["order"] == nil ? saved?["order_by"]?.string : typed("order")
        let chosen = fields.keys.filter { $0.hasPrefix(Self.columnPrefix) }.map {
            String($0.dropFirst(Self.columnPrefix.count))
        }.sorted()
        columns = chosen.isEmpty ? saved?["columns"]?.array?.compactMap(\.string) ?? [] : chosen
    }

    /// The query that asks for the same.
    var pairs: [(String, String)] {
        var pairs: [(String, String)] = []
        if let filter { pairs.append(("filter", filter)) }
        if let order { pairs.append(("order", order)) }
        if isDeleted { pairs.append(("show", "deleted")) }
        return pairs + columns.map { (Self.columnPrefix + $0, "1") }
    }
}

/// A column of the table of runs.
struct RunColumn: Sendable, Hashable {
    enum Part: String, Sendable, CaseIterable { case metrics, params, tags }
    let part: Part
    let key: String

    /// "metrics.auc".
    var name: String { "\(part.rawValue).\(key)" }

    init(_ part: Part, _ key: String) { (self.part, self.key) = (part, key) }

    init?(_ name: String) {
        guard let dot = name.firstIndex(of: "."), let part = Part(rawValue: String(name[..<dot])) else { return nil }
        self.init(part, String(name[name.index(after: dot)...]))
    }

    func value(of run: TrackedRun) -> String? {
        switch part {
        case .metrics: run.metrics[key].map(Format.number)
        case .params: run.params[key]
        case .tags: run.tags[key]
        }
    }

    /// The clause that sorts by it; a key with anything but letters, digits and `_` stands in back quotes.
    func clause(descending: Bool) -> String {
        let isPlain = key.utf8.allSatisfy {
            (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0) || $0 == 0x5F
        }
        return "\(part.rawValue).\(isPlain ? key : "`\(key)`") \(descending ? "DESC" : "ASC")"
    }

    /// All columns that runs have something for, metrics first; tags that MLflow keeps for itself are left out.
    static func all(of runs: [TrackedRun]) -> [RunColumn] {
        let metrics = Set(runs.flatMap { $0.metrics.keys }).sorted().map { RunColumn(.metrics, $0) }
        let params = Set(runs.flatMap { $0.params.keys }).sorted().map { RunColumn(.params, $0) }
        let tags = Set(runs.flatMap { $0.tags.keys }).filter { !$0.hasPrefix("mlflow.") }.sorted().map {
            RunColumn(.tags, $0)
        }
        return metrics + params + tags
    }
}
