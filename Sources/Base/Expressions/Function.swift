/// What an expression can call; names are read without regard to case.
enum Function: String, Sendable, CaseIterable {
    case success, failure, always, cancelled
    case contains, startsWith, endsWith, format, join, toJSON, fromJSON, hashFiles

    init?(name: String) {
        let folded = name.lowercased()
        guard let function = Self.allCases.first(where: { $0.rawValue.lowercased() == folded }) else { return nil }
        self = function
    }

    /// Whether it tells how the run stands: an `if:` without one of these means `success() && (…)`.
    var isStatus: Bool {
        switch self {
        case .success, .failure, .always, .cancelled: true
        default: false
        }
    }

    var argumentCount: ClosedRange<Int> {
        switch self {
        case .success, .failure, .always, .cancelled: 0...0
        case .contains, .startsWith, .endsWith: 2...2
        case .join: 1...2
        case .toJSON, .fromJSON: 1...1
        case .format, .hashFiles: 1...255
        }
    }

    var argumentWords: String {
        let (least, most) = (argumentCount.lowerBound, argumentCount.upperBound)
        if most == 0 { return "no arguments" }
        if least == most { return least == 1 ? "1 argument" : "\(least) arguments" }
        return "\(least) to \(most) arguments"
    }
}

extension Function {
    static func contains(_ haystack: Value, _ needle: Value) -> Bool {
        if case .array(let items) = haystack { return items.contains { $0.isLooselyEqual(to: needle) } }
        guard haystack.isPrimitive, needle.isPrimitive else { return false }
        let (text, part) = (haystack.text.caseFolded, needle.text.caseFolded)
        return part.isEmpty || text.utf8.contains(part.utf8)
    }

    static func startsWith(_ text: Value, _ part: Value) -> Bool {
        guard text.isPrimitive, part.isPrimitive else { return false }
        return text.text.caseFolded.utf8.starts(with: part.text.caseFolded.utf8)
    }

    static func endsWith(_ text: Value, _ part: Value) -> Bool {
        guard text.isPrimitive, part.isPrimitive else { return false }
        return text.text.caseFolded.utf8.reversed().starts(with: part.text.caseFolded.utf8.reversed())
    }

    static func join(_ items: Value, separator: Value?, at position: Position) throws(ExpressionError) -> String {
        let separator = separator.map { $0.isPrimitive ? $0.text : "," } ?? ","
        switch items {
        case .array(let items):
            var text = ""
            for (index, item) in items.enumerated() {
                if index > 0 { text += separator }
                text += item.text
                guard text.utf8.count <= ExpressionLimits.resultBytes else { throw .tooLarge(at: position) }
            }
            return text
        case .object: return ""
        default: return items.text
        }
    }

    /// Fills `{0}`, `{1}`…; `{{` and `}}` are braces.
    static func format(_ pattern: String, _ values: [Value], at position: Position) throws(ExpressionError) -> String {
        var text = ""
        var rest = pattern[...]
        while let character = rest.popFirst() {
            switch character {
            case "{" where rest.first == "{", "}" where rest.first == "}":
                text.append(character)
                rest.removeFirst()
            case "{":
                guard let end = rest.firstIndex(of: "}"), let number = Int(rest[..<end]), rest[..<end].first != "+",
                    number >= 0
                else {
                    throw ExpressionError(
                        .invalidValue, "format '\(pattern)' has a \"{\" that begins no placeholder", at: position,
                        hint: "Placeholders are {0}, {1}; a brace is written twice.")
                }
                guard values.indices.contains(number) else {
                    throw ExpressionError(
                        .invalidValue, "format '\(pattern)' has no value for {\(number)}", at: position)
                }
                text += values[number].text
                guard text.utf8.count <= ExpressionLimits.resultBytes else { throw .tooLarge(at: position) }
                rest = rest[rest.index(after: end)...]
            case "}":
                throw ExpressionError(
                    .invalidValue, "format '\(pattern)' has a \"}\" that ends no placeholder", at: position,
                    hint: "A brace is written twice.")
            default: text.append(character)
            }
        }
        return text
    }
}
