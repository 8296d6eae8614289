/// What a search of models or versions looks at in one of them.
struct RegistryFacts: Sendable {
    /// Texts: name, run_id, source_path.
    var texts: [String: String] = [:]
    /// Whole numbers: version_number.
    var numbers: [String: Int64] = [:]
    var tags: [String: String] = [:]

    var isPrompt: Bool { tags[WebhookMessage.promptTag]?.lowercased() == "true" }
}

extension FilterSchema {
    private static let words: [String: FilterColumn.Entity] = [
        "attribute": .attribute, "attributes": .attribute, "attr": .attribute, "tag": .tag, "tags": .tag,
    ]

    static let registeredModels = FilterSchema(
        entities: words, attributes: ["name": Attribute(name: "name", isNumeric: false)])

    static let modelVersions = FilterSchema(
        entities: words,
        attributes: [
            "name": Attribute(name: "name", isNumeric: false), "run_id": Attribute(name: "run_id", isNumeric: false),
            "source_path": Attribute(name: "source_path", isNumeric: false),
            "version_number": Attribute(name: "version_number", isNumeric: true),
        ])
}

/// A filter of the registry's searches, held against one model or version at a time; pure.
struct RegistryFilter: Sendable {
    private let filter: Filter?

    init(_ text: String, _ schema: FilterSchema) throws(MLflowError) { filter = try FilterParser.parse(text, schema) }

    /// Prompts are models, too, and are left out of searches that do not speak of them.
    func matches(_ facts: RegistryFacts) -> Bool {
        guard let filter else { return !facts.isPrompt }
        return Self.holds(filter, facts) && (Self.isAboutPrompts(filter) || !facts.isPrompt)
    }

    /// The one name that all that match have, if the filter says so.
    var onlyName: String? {
        for part in filter?.conjuncts ?? [] {
            if case .compare(FilterColumn(entity: .attribute, key: "name"), .equal, .text(let name)) = part {
                return name
            }
        }
        return nil
    }

    private static func isAboutPrompts(_ filter: Filter) -> Bool {
        switch filter {
        case .all(let parts), .any(let parts): parts.contains(where: isAboutPrompts)
        case .not(let part): isAboutPrompts(part)
        case .compare(let column, _, _), .among(let column, _, _), .between(let column, _, _, _), .null(let column, _):
            column.entity == .tag && column.key == WebhookMessage.promptTag
        }
    }

    private static func holds(_ filter: Filter, _ facts: RegistryFacts) -> Bool {
        switch filter {
        case .all(let parts): return parts.allSatisfy { holds($0, facts) }
        case .any(let parts): return parts.contains { holds($0, facts) }
        case .not(let part): return !holds(part, facts)
        case .null(let column, let isNegated): return (value(column, facts) == nil) != isNegated
        case .compare(let column, let comparator, let wanted):
            guard let own = value(column, facts) else { return false }
            return compare(own, comparator, wanted)
        case .among(let column, let values, let isNegated):
            guard let own = value(column, facts) else { return false }
            return values.contains { compare(own, .equal, $0) } != isNegated
        case .between(let column, let low, let high, let isNegated):
            guard let own = value(column, facts) else { return false }
            return (compare(own, .greaterOrEqual, low) && compare(own, .lessOrEqual, high)) != isNegated
        }
    }

    private static func value(_ column: FilterColumn, _ facts: RegistryFacts) -> FilterValue? {
        guard column.entity == .tag else {
            return facts.numbers[column.key].map(FilterValue.integer) ?? facts.texts[column.key].map(FilterValue.text)
        }
        // Whatever is no prompt was never told so.
        if column.key == WebhookMessage.promptTag { return .text(facts.tags[column.key] ?? "false") }
        return facts.tags[column.key].map(FilterValue.text)
    }

    private static func compare(_ own: FilterValue, _ comparator: FilterComparator, _ wanted: FilterValue) -> Bool {
        if case .text(let own) = own {
            guard case .text(let wanted) = wanted else { return false }
            return switch comparator {
            case .equal: own == wanted
            case .unequal: own != wanted
            case .less: own < wanted
            case .lessOrEqual: own <= wanted
            case .greater: own > wanted
            case .greaterOrEqual: own >= wanted
            case .like: Wildcards.matches(own, wanted)
            case .ilike: Wildcards.matches(own.lowercased(), wanted.lowercased())
            }
        }
        let (left, right) = (number(own), number(wanted))
        return switch comparator {
        case .equal: left == right
        case .unequal: left != right
        case .less: left < right
        case .lessOrEqual: left <= right
        case .greater: left > right
        case .greaterOrEqual: left >= right
        case .like, .ilike: false
        }
    }

    private static func number(_ value: FilterValue) -> Double {
        switch value {
        case .integer(let number): Double(number)
        case .number(let number): number
        case .text: .nan
        }
    }
}

/// `%` and `_`, as SQL's LIKE has them.
enum Wildcards {
    static func matches(_ text: String, _ pattern: String) -> Bool {
        let (text, pattern) = (Array(text.unicodeScalars), Array(pattern.unicodeScalars))
        var (at, place, star, mark) = (0, 0, -1, 0)
        while at < text.count {
            if place < pattern.count, pattern[place] == "%" {
                (star, mark) = (place, at)
                place += 1
            } else if place < pattern.count, pattern[place] == "_" || pattern[place] == text[at] {
                at += 1
                place += 1
            } else if star >= 0 {
                mark += 1
                (at, place) = (mark, star + 1)
            } else {
                return false
            }
        }
        return pattern[place...].allSatisfy { $0 == "%" }
    }
}
