import Manifests

/// What a search of models or versions looks at in one of them.
struct RegistryFacts: Sendable {
    /// Texts: name, run_id, source_path.
    var texts: [String: String] = [:]
    /// Whole numbers: version_number, creation_timestamp, last_updated_timestamp.
    var numbers: [String: Int64] = [:]
    var tags: Ordered<String> = [:]
}

/// The filter of a search of the registry: MLflow's grammar, and beyond it OR, NOT, parentheses, BETWEEN, IN and IS NULL
/// wherever they make sense; pure.
///
/// An absent attribute or tag never matches, not even with `!=`.
indirect enum RegistryFilter: Sendable, Equatable {
    case all
    case and(RegistryFilter, RegistryFilter)
    case or(RegistryFilter, RegistryFilter)
    case not(RegistryFilter)
    case test(Key, Comparison, [Value])

    struct Key: Sendable, Equatable {
        var isTag: Bool
        var name: String
    }
    enum Comparison: String, Sendable, Equatable {
        case equal = "=", unequal = "!=", less = "<", lessOrEqual = "<=", greater = ">", greaterOrEqual = ">="
        case like = "LIKE", ilike = "ILIKE", `in` = "IN", notIn = "NOT IN", between = "BETWEEN", isNull = "IS NULL"
        case isNotNull = "IS NOT NULL"
    }
    enum Value: Sendable, Equatable {
        case text(String)
        case number(Double)
    }

    /// Characters of a filter.
    static let lengthLimit = 20_000
    static let depthLimit = 64

    // MARK: Matching

    func matches(_ facts: RegistryFacts) -> Bool {
        switch self {
        case .all: true
        case .and(let left, let right): left.matches(facts) && right.matches(facts)
        case .or(let left, let right): left.matches(facts) || right.matches(facts)
        case .not(let inner): !inner.matches(facts)
        case .test(let key, let comparison, let values): Self.test(key, comparison, values, facts)
        }
    }

    private static func test(_ key: Key, _ comparison: Comparison, _ values: [Value], _ facts: RegistryFacts) -> Bool {
        if !key.isTag, let number = facts.numbers[key.name] { return test(Double(number), comparison, values) }
        var text = key.isTag ? facts.tags[key.name] : facts.texts[key.name]
        // Whatever is no prompt was never told so.
        if key.isTag, key.name == WebhookMessage.promptTag, text == nil { text = "false" }
        switch comparison {
        case .isNull: return text == nil
        case .isNotNull: return text != nil
        default: break
        }
        guard let text else { return false }
        let wanted = values.map { value in
            if case .text(let text) = value { text } else { "" }
        }
        switch comparison {
        case .equal: return text == wanted[0]
        case .unequal: return text != wanted[0]
        case .like: return Wildcards.matches(text, wanted[0])
        case .ilike: return Wildcards.matches(text.lowercased(), wanted[0].lowercased())
        case .in: return wanted.contains(text)
        case .notIn: return !wanted.contains(text)
        case .between: return wanted[0] <= text && text <= wanted[1]
        case .less: return text < wanted[0]
        case .lessOrEqual: return text <= wanted[0]
        case .greater: return text > wanted[0]
        case .greaterOrEqual: return text >= wanted[0]
        case .isNull, .isNotNull: return false
        }
    }

    private static func test(_ number: Double, _ comparison: Comparison, _ values: [Value]) -> Bool {
        let wanted = values.map { value in
            if case .number(let number) = value { number } else { Double.nan }
        }
        return switch comparison {
        case .equal: number == wanted[0]
        case .unequal: number != wanted[0]
        case .less: number < wanted[0]
        case .lessOrEqual: number <= wanted[0]
        case .greater: number > wanted[0]
        case .greaterOrEqual: number >= wanted[0]
        case .between: wanted[0] <= number && number <= wanted[1]
        case .in: wanted.contains(number)
        case .notIn: !wanted.contains(number)
        case .isNotNull: true
        case .isNull, .like, .ilike: false
        }
    }

    /// Whether it speaks of prompts; a search that does not leaves them out.
    var isAboutPrompts: Bool {
        switch self {
        case .all: false
        case .and(let left, let right), .or(let left, let right): left.isAboutPrompts || right.isAboutPrompts
        case .not(let inner): inner.isAboutPrompts
        case .test(let key, _, _): key.isTag && key.name == WebhookMessage.promptTag
        }
    }

    /// The one name that all that match have, if the filter says so.
    var onlyName: String? {
        switch self {
        case .and(let left, let right): left.onlyName ?? right.onlyName
        case .test(let key, .equal, let values) where !key.isTag && key.name == "name":
            if case .text(let text)? = values.first { text } else { nil }
        default: nil
        }
    }

    // MARK: Reading

    /// - Parameters:
    ///   - texts: Attributes that are texts.
    ///   - numbers: Attributes that are whole numbers.
    init(_ text: String, texts: Set<String>, numbers: Set<String> = []) throws(MLflowError) {
        guard text.utf8.count <= Self.lengthLimit else {
            throw .invalid("A filter has at most \(Self.lengthLimit) characters.")
        }
        var parser = RegistryFilterParser(tokens: try FilterTokens.split(text), texts: texts, numbers: numbers)
        self = try parser.whole()
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

enum FilterToken: Sendable, Equatable {
    case word(String)
    /// In `…` or "…": a key, or where a value is due, a text.
    case quoted(String)
    case text(String)
    case number(Double)
    case sign(String)
}

enum FilterTokens {
    static func split(_ text: String) throws(MLflowError) -> [FilterToken] {
        var tokens: [FilterToken] = []
        var rest = text.unicodeScalars[...]
        while let first = rest.first {
            if first.properties.isWhitespace {
                rest.removeFirst()
            } else if "'\"`".unicodeScalars.contains(first) {
                rest.removeFirst()
                guard let end = rest.firstIndex(of: first) else {
                    throw .invalid("Invalid filter: a quote does not end.")
                }
                let inner = String(rest[..<end])
                tokens.append(first == "'" ? .text(inner) : .quoted(inner))
                rest = rest[rest.index(after: end)...]
            } else if let sign = ["!=", "<=", ">=", "=", "<", ">", "(", ")", ",", "."].first(where: {
                rest.starts(with: $0.unicodeScalars)
            }) {
                tokens.append(.sign(sign))
                rest = rest.dropFirst(sign.count)
            } else {
                let piece = String(
                    rest.prefix { !$0.properties.isWhitespace && !"'\"`!=<>(),".unicodeScalars.contains($0) })
                guard !piece.isEmpty else { throw .invalid("Invalid filter: '\(first)' means nothing here.") }
                rest = rest.dropFirst(piece.unicodeScalars.count)
                tokens += word(piece)
            }
        }
        return tokens
    }

    /// `tags.owner` is three tokens, `0.5` is one.
    private static func word(_ piece: String) -> [FilterToken] {
        if let number = Double(piece) { return [.number(number)] }
        guard let dot = piece.firstIndex(of: ".") else { return [.word(piece)] }
        let (head, tail) = (String(piece[..<dot]), String(piece[piece.index(after: dot)...]))
        return [.word(head), .sign(".")] + (tail.isEmpty ? [] : [.word(tail)])
    }
}

struct RegistryFilterParser {
    private var rest: ArraySlice<FilterToken>
    private let texts: Set<String>
    private let numbers: Set<String>
    private var depth = 0

    init(tokens: [FilterToken], texts: Set<String>, numbers: Set<String>) {
        (rest, self.texts, self.numbers) = (tokens[...], texts, numbers)
    }

    mutating func whole() throws(MLflowError) -> RegistryFilter {
        guard !rest.isEmpty else { return .all }
        let filter = try either()
        guard let token = rest.first else { return filter }
        throw .invalid("Invalid clause(s) in filter string: \(Self.shown(token))")
    }

    private mutating func either() throws(MLflowError) -> RegistryFilter {
        var left = try both()
        while take(word: "OR") { left = .or(left, try both()) }
        return left
    }

    private mutating func both() throws(MLflowError) -> RegistryFilter {
        var left = try one()
        while take(word: "AND") { left = .and(left, try one()) }
        return left
    }

    private mutating func one() throws(MLflowError) -> RegistryFilter {
        depth += 1
        defer { depth -= 1 }
        guard depth <= RegistryFilter.depthLimit else { throw .invalid("Invalid filter: it is nested too deeply.") }
        if take(word: "NOT") { return .not(try one()) }
        if take(sign: "(") {
            let inner = try either()
            guard take(sign: ")") else { throw .invalid("Invalid filter: a parenthesis does not end.") }
            return inner
        }
        return try test()
    }

    private mutating func test() throws(MLflowError) -> RegistryFilter {
        let key = try key()
        if take(word: "IS") {
            let isNot = take(word: "NOT")
            guard take(word: "NULL") else {
                throw .invalid("Invalid clause(s) in filter string: IS is followed by NULL or NOT NULL")
            }
            return .test(key, isNot ? .isNotNull : .isNull, [])
        }
        let isNot = take(word: "NOT")
        if take(word: "IN") { return .test(key, isNot ? .notIn : .in, try list(for: key)) }
        if take(word: "BETWEEN") {
            let low = try value(for: key)
            guard take(word: "AND") else { throw .invalid("Invalid clause(s) in filter string: BETWEEN wants AND") }
            let inner = RegistryFilter.test(key, .between, [low, try value(for: key)])
            return isNot ? .not(inner) : inner
        }
        for word in ["LIKE", "ILIKE"] where take(word: word) {
            guard !numbers.contains(key.name) || key.isTag else {
                throw .invalid("Invalid comparator for attribute \(key.name): \(word)")
            }
            let inner = RegistryFilter.test(key, word == "LIKE" ? .like : .ilike, [try value(for: key)])
            return isNot ? .not(inner) : inner
        }
        guard case .sign(let sign)? = rest.first, let comparison = RegistryFilter.Comparison(rawValue: sign), !isNot
        else {
            throw .invalid("Invalid clause(s) in filter string: \(rest.first.map(Self.shown) ?? "it ends too early")")
        }
        rest.removeFirst()
        if key.isTag || texts.contains(key.name), comparison != .equal, comparison != .unequal {
            throw .invalid("Invalid comparator for \(key.isTag ? "tag" : "attribute"): \(sign)")
        }
        return .test(key, comparison, [try value(for: key)])
    }

    private mutating func key() throws(MLflowError) -> RegistryFilter.Key {
        var parts: [String] = []
        while let token = rest.first {
            switch token {
            case .word(let text), .quoted(let text): parts.append(text)
            default: throw .invalid("Invalid clause(s) in filter string: \(Self.shown(token))")
            }
            rest.removeFirst()
            guard take(sign: ".") else { break }
        }
        guard let first = parts.first else { throw .invalid("Invalid clause(s) in filter string: it ends too early") }
        if parts.count > 1 {
            let name = parts.dropFirst().joined(separator: ".")
            switch first.lowercased() {
            case "tag", "tags": return RegistryFilter.Key(isTag: true, name: name)
            case "attribute", "attributes", "attr", "run": return try attribute(name)
            default:
                throw .invalid("Invalid entity type '\(first.prefix(60))'. Valid entity types are ['attribute', 'tag']")
            }
        }
        return try attribute(first)
    }

    private func attribute(_ name: String) throws(MLflowError) -> RegistryFilter.Key {
        guard texts.contains(name) || numbers.contains(name) else {
            let valid = texts.union(numbers).sorted().map { "'\($0)'" }.joined(separator: ", ")
            throw .invalid("Invalid attribute key '\(name.prefix(60))' specified. Valid keys are '{\(valid)}'")
        }
        return RegistryFilter.Key(isTag: false, name: name)
    }

    private mutating func value(for key: RegistryFilter.Key) throws(MLflowError) -> RegistryFilter.Value {
        let isNumber = !key.isTag && numbers.contains(key.name)
        let what = key.isTag ? "tag" : "attribute"
        switch rest.popFirst() {
        case .text(let text)?, .quoted(let text)?:
            guard isNumber else { return .text(text) }
            guard let number = Int64(text) else {
                throw .invalid("Invalid value for numeric attribute '\(key.name)': '\(text.prefix(60))'")
            }
            return .number(Double(number))
        case .number(let number)? where isNumber && number.rounded() == number: return .number(number)
        case .number(let number)? where isNumber:
            throw .invalid("Invalid value for numeric attribute '\(key.name)': \(number)")
        case let token?:
            throw .invalid(
                "Expected a quoted string value for \(what) (e.g. 'my-value'). Got value \(Self.shown(token))")
        case nil: throw .invalid("Invalid clause(s) in filter string: a value is missing for \(key.name)")
        }
    }

    private mutating func list(for key: RegistryFilter.Key) throws(MLflowError) -> [RegistryFilter.Value] {
        guard take(sign: "(") else { throw .invalid("Invalid filter: IN is followed by a list in parentheses.") }
        var values = [try value(for: key)]
        while take(sign: ",") {
            if rest.first == .sign(")") { break }
            values.append(try value(for: key))
        }
        guard take(sign: ")") else { throw .invalid("Invalid filter: a parenthesis does not end.") }
        return values
    }

    private mutating func take(word: String) -> Bool {
        guard case .word(let next)? = rest.first, next.uppercased() == word else { return false }
        rest.removeFirst()
        return true
    }

    private mutating func take(sign: String) -> Bool {
        guard rest.first == .sign(sign) else { return false }
        rest.removeFirst()
        return true
    }

    private static func shown(_ token: FilterToken) -> String {
        switch token {
        case .word(let text), .quoted(let text), .text(let text), .sign(let text): "'\(text.prefix(60))'"
        case .number(let number): "'\(number)'"
        }
    }
}
