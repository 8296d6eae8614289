/// A regular expression over label values: RE2's syntax, anchored at both ends, `.` matches every character.
///
/// Matching takes time in proportion to the value's length whatever the pattern says; there is no backtracking. A value of
/// this type may be used by several threads at once. Building one costs tens of microseconds: keep it.
package struct LabelPattern: Sendable {
    /// More alternatives than this are matched by the automaton, not looked up.
    package static let alternativesLimit = 20_000
    package static let lengthLimit = 200_000

    /// The pattern as it was given.
    package let pattern: String
    /// The values that match, when the pattern is nothing but a choice of literals (`a|b|c`); sorted by bytes.
    package let literalAlternatives: [String]?
    /// Text that every matching value begins with; may be empty.
    package let prefix: String
    /// Names of the groups; index 0 is the whole match.
    package let groupNames: [String?]

    private let literals: [[UInt8]]
    private let prefixBytes: [UInt8]
    /// Everything with the prefix matches.
    private let isPrefixOnly: Bool
    private let program: PatternProgram
    private let automaton: PatternAutomaton?

    /// - Throws: `PatternError` when the pattern is not RE2's syntax, or too large.
    package init(_ pattern: String) throws(PatternError) {
        if pattern.utf8.count > Self.lengthLimit { throw PatternError("expression too large") }
        self.pattern = pattern
        var parser = PatternParser(pattern)
        let tree = try parser.parse()
        groupNames = parser.groupNames
        program = try PatternProgram(tree)
        let facts = PatternFacts(tree)
        // By bytes: two texts that only look alike are two values.
        literals = Set((facts.literals ?? []).map { Array($0.utf8) }).sorted { $0.lexicographicallyPrecedes($1) }
        literalAlternatives = facts.literals == nil ? nil : literals.map { String(decoding: $0, as: UTF8.self) }
        prefix = facts.prefix
        prefixBytes = Array(facts.prefix.utf8)
        isPrefixOnly = facts.isPrefixThenAnything
        automaton = literalAlternatives == nil && !isPrefixOnly ? PatternAutomaton(program) : nil
    }

    /// Whether the whole value matches.
    package func matches(_ utf8: UnsafeBufferPointer<UInt8>) -> Bool {
        if literalAlternatives != nil { return isLiteral(utf8) }
        if !prefixBytes.isEmpty {
            guard utf8.count >= prefixBytes.count else { return false }
            for index in prefixBytes.indices where utf8[index] != prefixBytes[index] { return false }
        }
        if isPrefixOnly { return true }
        if let automaton { return automaton.matches(utf8) }
        return PatternRunner(program, utf8, groups: 0).captures() != nil
    }

    package func matches(_ value: String) -> Bool {
        var value = value
        return value.withUTF8 { matches($0) }
    }

    private func isLiteral(_ utf8: UnsafeBufferPointer<UInt8>) -> Bool {
        var (low, high) = (0, literals.count)
        while low < high {
            let middle = (low + high) / 2
            let order = literals[middle].withUnsafeBufferPointer { compareBytes($0, utf8) }
            if order == 0 { return true }
            if order < 0 { low = middle + 1 } else { high = middle }
        }
        return false
    }

    /// What the groups captured, nil for a group that took no part; index 0 is the whole value. Nil when it does not match.
    package func captures(_ value: String) -> [String?]? {
        var value = value
        return value.withUTF8 { bytes -> [String?]? in
            guard let edges = PatternRunner(program, bytes, groups: groupNames.count).captures() else { return nil }
            return groupNames.indices.map { group in
                if group == 0 { return String(decoding: bytes, as: UTF8.self) }
                let (start, end) = (edges[group * 2], edges[group * 2 + 1])
                guard start >= 0, end >= start else { return nil }
                return String(decoding: UnsafeBufferPointer(rebasing: bytes[start..<end]), as: UTF8.self)
            }
        }
    }

    /// The template with `$1`, `${1}`, `$name` and `${name}` replaced by what was captured (Go's `Expand`); `$$` is a dollar
    /// sign. Nil when the value does not match.
    package func replacing(_ value: String, with template: String) -> String? {
        guard let captured = captures(value) else { return nil }
        let input = Array(template.unicodeScalars)
        var (result, index) = (String.UnicodeScalarView(), 0)
        while index < input.count {
            guard input[index] == "$", index + 1 < input.count else {
                result.append(input[index])
                index += 1
                continue
            }
            if input[index + 1] == "$" {
                result.append("$")
                index += 2
            } else if let (name, end) = Self.reference(input, index + 1) {
                if let text = group(name, captured) { result.append(contentsOf: text.unicodeScalars) }
                index = end
            } else {
                result.append("$")
                index += 1
            }
        }
        return String(result)
    }

    private func group(_ name: String, _ captured: [String?]) -> String? {
        if let number = Int(name), number >= 0 { return number < captured.count ? captured[number] : nil }
        guard let index = groupNames.firstIndex(of: name) else { return nil }
        return captured[index]
    }

    /// The name after a dollar sign, and where the text goes on.
    private static func reference(_ input: [Unicode.Scalar], _ start: Int) -> (name: String, end: Int)? {
        let hasBraces = input[start] == "{"
        var (name, index) = ("", hasBraces ? start + 1 : start)
        while index < input.count,
            input[index] == "_" || input[index].properties.isAlphabetic || ("0"..."9").contains(input[index])
        {
            name.unicodeScalars.append(input[index])
            index += 1
        }
        guard !name.isEmpty else { return nil }
        guard hasBraces else { return (name, index) }
        return index < input.count && input[index] == "}" ? (name, index + 1) : nil
    }

    /// The text with every character that means something to a pattern escaped.
    package static func quoted(_ text: String) -> String {
        var result = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            if "\\.+*?()|[]{}^$".unicodeScalars.contains(scalar) { result.append("\\") }
            result.append(scalar)
        }
        return String(result)
    }
}

/// Why a text is not a pattern. The words are those of RE2 where it has some.
package struct PatternError: Error, Hashable, Sendable, CustomStringConvertible {
    package let description: String

    init(_ description: String) { self.description = "error parsing regexp: " + description }
}

/// What can be told of a pattern without running it.
private struct PatternFacts {
    var literals: [String]?
    var prefix = ""
    var isPrefixThenAnything = false

    init(_ node: PatternNode) {
        literals = Self.literals(node, limit: LabelPattern.alternativesLimit)
        if let literals, literals.count == 1 {
            prefix = literals[0]
            return
        }
        let parts = Self.flattened(node)
        var index = 0
        while index < parts.count, case .set(let set) = parts[index], let scalar = set.single {
            prefix.unicodeScalars.append(scalar)
            index += 1
        }
        if index == parts.count - 1, case .repeated(.set(let set), 0, nil, _) = parts[index], set == .all {
            isPrefixThenAnything = true
        }
    }

    /// The parts one after another, anchors at the ends and groups taken away.
    private static func flattened(_ node: PatternNode) -> [PatternNode] {
        switch node {
        case .empty: return []
        case .sequence(let parts):
            var parts = parts
            while case .assertion(.textStart)? = parts.first { parts.removeFirst() }
            while case .assertion(.textEnd)? = parts.last { parts.removeLast() }
            return parts.flatMap { flattened($0) }
        case .group(let inner, _): return flattened(inner)
        default: return [node]
        }
    }

    private static func literals(_ node: PatternNode, limit: Int) -> [String]? {
        switch node {
        case .empty: return [""]
        case .set(let set):
            guard set.ranges.reduce(0, { $0 + Int($1.upperBound - $1.lowerBound) + 1 }) <= 16 else { return nil }
            return set.ranges.flatMap { $0.compactMap { Unicode.Scalar($0).map { String(Character($0)) } } }
        case .group(let inner, _): return literals(inner, limit: limit)
        case .alternatives(let choices):
            var all: [String] = []
            for choice in choices {
                guard let own = literals(choice, limit: limit), all.count + own.count <= limit else { return nil }
                all += own
            }
            return all
        case .sequence(let parts):
            var all = [""]
            for part in flattenedEnds(parts) {
                guard let own = literals(part, limit: limit), all.count * own.count <= (own.count == 1 ? limit : 1_024)
                else {
                    return nil
                }
                all = own.count == 1 ? all.map { $0 + own[0] } : all.flatMap { head in own.map { head + $0 } }
            }
            return all
        case .repeated(let inner, 0, 1, _):
            return literals(inner, limit: limit).map { [""] + $0 }
        case .repeated, .assertion: return nil
        }
    }

    private static func flattenedEnds(_ parts: [PatternNode]) -> [PatternNode] {
        var parts = parts
        while case .assertion(.textStart)? = parts.first { parts.removeFirst() }
        while case .assertion(.textEnd)? = parts.last { parts.removeLast() }
        return parts
    }
}
