import API
import Manifests

/// What is chosen for each variable of a dashboard, and how it stands in queries.
struct DashboardVariables: Sendable {
    struct Chosen: Sendable {
        let variable: DashboardVariable
        let options: [String]
        /// What is chosen of them; empty: all.
        let values: [String]
        let isAll: Bool
        /// Why its options are not known.
        let problem: String?
    }
    private(set) var all: [Chosen] = []
    /// What `$__interval` and its kin stand for.
    var interval = 15.0
    var span = 3600.0

    /// Names of all of a value, in an address.
    static let everything = "$__all"
    static let optionLimit = 500

    mutating func add(_ variable: DashboardVariable, options: [String], asked: String?, problem: String?) {
        let wanted = (asked ?? variable.default ?? "").split(separator: "\u{1F}").map(String.init)
        let isAll =
            variable.all
            && (wanted.contains(Self.everything) || wanted.isEmpty || wanted == ["All"] || wanted == ["all"])
        let known = wanted.filter { options.contains($0) || options.isEmpty }
        let values = isAll ? [] : known.isEmpty ? Array(options.prefix(1)) : variable.multiple ? known : [known[0]]
        all.append(Chosen(variable: variable, options: options, values: values, isAll: isAll, problem: problem))
    }

    /// The pairs that stand in addresses for it.
    var pairs: [(String, String)] {
        all.map { one in
            ("var-\(one.variable.name)", one.isAll ? Self.everything : one.values.joined(separator: "\u{1F}"))
        }
    }

    /// A text with `$name`, `${name}`, `${name:regex}` and `[[name]]` replaced by what is chosen.
    func filled(_ text: String) -> String {
        guard text.contains("$") || text.contains("[[") else { return text }
        var (result, rest) = ("", text[...])
        while let mark = rest.firstIndex(where: { $0 == "$" || $0 == "[" }) {
            result += rest[..<mark]
            rest = rest[mark...]
            if let (name, after) = Self.name(rest), let value = value(name) {
                result += value
                rest = rest[after...]
            } else {
                result.append(rest.removeFirst())
            }
        }
        return result + rest
    }

    /// The name that a text begins with, and where the text goes on behind it.
    private static func name(_ text: Substring) -> (name: String, after: Substring.Index)? {
        for (open, close) in [("${", "}"), ("[[", "]]")] where text.hasPrefix(open) {
            let body = text.dropFirst(open.count)
            guard let end = body.firstRange(of: close) else { return nil }
            return (String(body[..<end.lowerBound].prefix { $0 != ":" }), end.upperBound)
        }
        guard text.first == "$" else { return nil }
        let word = text.dropFirst().prefix { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
        return word.isEmpty ? nil : (String(word), word.endIndex)
    }

    private func value(_ name: String) -> String? {
        switch name {
        // Four scrapes at least, so that a rate has two samples to work with.
        case "__rate_interval": return "\(Int(max(interval * 4, 60)))s"
        case "__interval": return "\(Int(max(1, interval)))s"
        case "__interval_ms": return "\(Int(max(1, interval) * 1000))"
        case "__range": return "\(Int(span))s"
        case "__range_s": return "\(Int(span))"
        default: break
        }
        guard let one = all.first(where: { $0.variable.name == name }) else { return nil }
        if one.isAll { return ".*" }
        guard one.variable.multiple || one.variable.all else { return Self.literal(one.values.first ?? "") }
        return one.values.map { Self.literal(Self.pattern($0)) }.joined(separator: "|")
    }

    /// Within quotes, so that no value ends the text that it stands in.
    private static func literal(_ text: String) -> String { String(MetricSeries.quoted(text).dropFirst().dropLast()) }

    private static func pattern(_ text: String) -> String {
        text.reduce(into: "") { made, letter in
            if "\\.+*?()|[]{}^$".contains(letter) { made.append("\\") }
            made.append(letter)
        }
    }

    /// What `label_values(up{job="api"}, instance)` asks for; nil when the text is something else.
    static func labelValues(_ text: String) -> (match: String?, label: String)? {
        let plain = text.trimmed()
        guard plain.hasPrefix("label_values("), plain.hasSuffix(")") else { return nil }
        let body = plain.dropFirst("label_values(".count).dropLast()
        var depth = 0
        var comma: Substring.Index?
        for index in body.indices {
            switch body[index] {
            case "{", "(": depth += 1
            case "}", ")": depth -= 1
            case "," where depth == 0: comma = index
            default: break
            }
        }
        guard let comma else { return (nil, String(body).trimmed()) }
        return (String(body[..<comma]).trimmed(), String(body[body.index(after: comma)...]).trimmed())
    }
}

extension Visitor {
    /// Works out the options of each variable, those of later ones with what is chosen of the earlier.
    func variables(of spec: DashboardSpec, _ time: TimeChoice) async throws -> DashboardVariables {
        var made = DashboardVariables()
        (made.span, made.interval) = (time.span, max(1, (time.span / 250).rounded(.up)))
        for variable in spec.variables {
            var (options, problem): ([String], String?) = (variable.values, nil)
            if let text = variable.query {
                (options, problem) = try await valuesOf(made.filled(text), time)
            }
            made.add(variable, options: options, asked: request.query["var-\(variable.name)"], problem: problem)
        }
        return made
    }

    private func valuesOf(_ text: String, _ time: TimeChoice) async throws -> ([String], String?) {
        guard let (match, label) = DashboardVariables.labelValues(text) else {
            return ([], "only label_values(…) is understood, not \(Format.clipped(text, 80))")
        }
        var query = MetricValueQuery()
        (query.label, query.match, query.limit) = (label, match, DashboardVariables.optionLimit)
        (query.from, query.to) = (time.first, time.last)
        do {
            return (try await ask(Metrics.values, query).items.map(\.value), nil)
        } catch let problem as Problem {
            return ([], problem.message)
        }
    }
}
