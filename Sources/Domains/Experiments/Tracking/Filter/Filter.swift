/// What a filter of MLflow's searches says: its own grammar, and beyond it OR, NOT, parentheses, BETWEEN, IN and IS NULL on everything.
///
/// A comparison with a key that is not there is false, `!=`, NOT IN and NOT BETWEEN included, as in MLflow; NOT turns what it stands
/// before, so `NOT tags.a = 'x'` holds for what has no tag a.
indirect enum Filter: Equatable, Sendable {
    case all([Filter])
    case any([Filter])
    case not(Filter)
    case compare(FilterColumn, FilterComparator, FilterValue)
    case among(FilterColumn, [FilterValue], isNegated: Bool)
    case between(FilterColumn, FilterValue, FilterValue, isNegated: Bool)
    case null(FilterColumn, isNegated: Bool)

    /// The parts all of which must hold.
    var conjuncts: [Filter] {
        if case .all(let parts) = self { return parts.flatMap(\.conjuncts) }
        return [self]
    }

    /// The column of a comparison; nil of what is put together of others and of tests whether there is one.
    var column: FilterColumn? {
        switch self {
        case .compare(let column, _, _), .among(let column, _, _), .between(let column, _, _, _): column
        case .all, .any, .not, .null: nil
        }
    }
}

/// What is compared.
struct FilterColumn: Hashable, Sendable {
    enum Entity: String, Sendable {
        case metric, parameter, tag, attribute, dataset
        /// What traces have: spans, what was said of them, issues and prompts they are linked to.
        case span, feedback, expectation, issue, prompt

        /// Whether its values may be texts or numbers.
        var isAssessment: Bool { self == .feedback || self == .expectation }
    }
    var entity: Entity
    /// The key, or the attribute's own name, whatever alias was written.
    var key: String
}

enum FilterComparator: String, Sendable {
    case equal = "="
    case unequal = "!="
    case less = "<"
    case lessOrEqual = "<="
    case greater = ">"
    case greaterOrEqual = ">="
    case like = "LIKE"
    case ilike = "ILIKE"

    /// Whether it compares sizes.
    var isOrder: Bool { [.less, .lessOrEqual, .greater, .greaterOrEqual].contains(self) }
}

enum FilterValue: Hashable, Sendable {
    case integer(Int64)
    case number(Double)
    case text(String)
}

/// What may be asked of one kind of thing: runs, experiments, logged models.
struct FilterSchema: Sendable {
    struct Attribute: Sendable {
        var name: String
        var isNumeric: Bool
        /// Of what it is the key, when it is only another way to write something else.
        var entity: FilterColumn.Entity = .attribute
    }

    /// The words that may stand before the dot.
    var entities: [String: FilterColumn.Entity]
    /// By each name they go by.
    var attributes: [String: Attribute]

    /// A column by what was written: `metrics.acc`, `` tags.`a b` ``, `start_time`.
    func column(_ identifier: String) throws(MLflowError) -> FilterColumn {
        let parts = identifier.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        let written = parts.count == 2 ? FilterLexer.unquoted(String(parts[0])) : "attribute"
        guard let entity = parts.count == 2 ? entities[written] : .attribute else {
            throw .invalid("Invalid entity type '\(written)'. Valid values are \(Self.listed(entities.keys.sorted()))")
        }
        let key = FilterLexer.unquoted(String(parts[parts.count - 1]))
        switch entity {
        case .attribute:
            guard let attribute = attributes[key] else {
                throw .invalid(
                    "Invalid attribute key '\(key)' specified. Valid keys are '\(Self.listed(attributes.keys.sorted()))'"
                )
            }
            return FilterColumn(entity: attribute.entity, key: attribute.name)
        case .dataset where !["name", "digest", "context"].contains(key):
            throw .invalid(
                "Invalid dataset key '\(key)' specified. Valid keys are '\(Self.listed(["context", "digest", "name"]))'"
            )
        case .span:
            if key.hasPrefix(Self.spanAttribute), key.count > Self.spanAttribute.count {
                let name = FilterLexer.unquoted(String(key.dropFirst(Self.spanAttribute.count)))
                return FilterColumn(entity: .span, key: Self.spanAttribute + name)
            }
            guard ["name", "type", "status", "content"].contains(key) else {
                throw .invalid(
                    "Invalid span attribute '\(key)'. Supported attributes: name, status, type, attributes.<attribute_name>."
                )
            }
            return FilterColumn(entity: .span, key: key)
        case .issue where key != "id":
            throw .invalid("Invalid issue attribute '\(key)'. Supported attributes: id")
        case .feedback where key.isEmpty, .expectation where key.isEmpty:
            throw .invalid("Assessment field name cannot be empty")
        default: return FilterColumn(entity: entity, key: key)
        }
    }

    /// What stands before the name of an attribute of a span.
    static let spanAttribute = "attributes."

    /// Checks what only some columns allow.
    func check(_ column: FilterColumn, _ comparator: FilterComparator, _ value: FilterValue) throws(MLflowError) {
        switch (column.entity, value) {
        case (.span, _) where column.key == "content" && comparator != .like && comparator != .ilike:
            throw .invalid("span.content comparator '\(comparator.rawValue)' not one of 'LIKE', 'ILIKE'")
        case (.issue, _) where comparator != .equal:
            throw .invalid("issue.id comparator '\(comparator.rawValue)' not one of '='")
        case (.prompt, .text(let name)) where comparator != .equal || name.count(where: { $0 == "/" }) != 1:
            throw .invalid("Invalid prompts filter value '\(name)'. Expected format: prompt = \"name/version\"")
        case (.feedback, .text(let text)) where comparator.isOrder,
            (.expectation, .text(let text)) where comparator.isOrder:
            throw .invalid(
                "Expected a numeric value for \(column.entity.rawValue) when using comparator '\(comparator.rawValue)'. Got value '\(text)'"
            )
        case (.feedback, .integer), (.feedback, .number), (.expectation, .integer), (.expectation, .number):
            guard comparator.isOrder else {
                throw .invalid("Expected a quoted string value for \(column.entity.rawValue) (e.g. 'my-value').")
            }
        default: break
        }
    }

    func isNumeric(_ column: FilterColumn) -> Bool {
        switch column.entity {
        case .metric: true
        case .attribute: attributes[column.key]?.isNumeric ?? false
        default: false
        }
    }

    private static func listed(_ names: [String]) -> String { "[\(names.map { "'\($0)'" }.joined(separator: ", "))]" }
}

extension FilterSchema {
    private static func attributes(_ texts: [String], _ numbers: [String], aliases: [String: String] = [:])
        -> [String: Attribute]
    {
        var all: [String: Attribute] = [:]
        for name in texts { all[name] = Attribute(name: name, isNumeric: false) }
        for name in numbers { all[name] = Attribute(name: name, isNumeric: true) }
        for (alias, name) in aliases { all[alias] = all[name] }
        return all
    }

    static let runs = FilterSchema(
        entities: [
            "metric": .metric, "metrics": .metric, "parameter": .parameter, "parameters": .parameter,
            "param": .parameter, "params": .parameter, "tag": .tag, "tags": .tag, "attribute": .attribute,
            "attributes": .attribute, "attr": .attribute, "run": .attribute, "dataset": .dataset, "datasets": .dataset,
        ],
        attributes: attributes(
            ["artifact_uri", "run_id", "run_name", "status", "user_id"], ["start_time", "end_time"],
            aliases: [
                "created": "start_time", "Created": "start_time", "run name": "run_name", "Run name": "run_name",
                "Run Name": "run_name",
            ]))

    static let experiments = FilterSchema(
        entities: ["attribute": .attribute, "tag": .tag, "tags": .tag],
        attributes: attributes(["name", "experiment_id"], ["creation_time", "last_update_time"]))

    static let models = FilterSchema(
        entities: ["attributes": .attribute, "metrics": .metric, "params": .parameter, "tags": .tag],
        attributes: attributes(
            ["name", "model_id", "model_type", "status", "source_run_id", "artifact_location", "experiment_id"],
            ["creation_timestamp_ms", "last_updated_timestamp_ms"],
            aliases: [
                "creation_time": "creation_timestamp_ms", "creation_timestamp": "creation_timestamp_ms",
                "last_updated_timestamp": "last_updated_timestamp_ms",
            ]))
    /// Datasets of evaluations.
    static let datasets = FilterSchema(
        entities: ["tags": .tag, "tag": .tag],
        attributes: attributes(
            ["name", "created_by", "last_updated_by"], ["created_time", "last_update_time"]))

    static let issues = FilterSchema(entities: [:], attributes: attributes(["status", "source_run_id"], []))
}
