/// What an expression can call; names are read without regard to case.
enum Function: String, Sendable, CaseIterable {
    case success, failure, always, cancelled
    case contains, startsWith, endsWith, format, join, toJSON, fromJSON, hashFiles, `case`

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
        case .case: 3...255
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
    static func contains(_ text: Value, _ part: Value) -> Bool {
        let (text, part) = (text.text.caseFolded, part.text.caseFolded)
        return part.isEmpty || text.utf8.contains(part.utf8)
    }

    static func startsWith(_ text: Value, _ part: Value) -> Bool {
        text.text.caseFolded.utf8.starts(with: part.text.caseFolded.utf8)
    }

    static func endsWith(_ text: Value, _ part: Value) -> Bool {
        text.text.caseFolded.utf8.reversed().starts(with: part.text.caseFolded.utf8.reversed())
    }

    static func join(_ items: [Value], separator: String, at position: Position) throws(ExpressionError) -> String {
        var text = ""
        for (index, item) in items.enumerated() {
            if index > 0 { text += separator }
            text += item.text
            guard text.utf8.count <= ExpressionLimits.resultBytes else { throw .tooLarge(at: position) }
        }
        return text
    }

    /// Fills `{0}`, `{1}`…; `{{` and `}}` are braces.
    ///
    /// `value` is asked only for placeholders that are there.
    static func format(
        _ pattern: String, count: Int, at position: Position, value: (Int) throws -> String
    ) throws -> String {
        var text = ""
        var rest = pattern[...]
        while let character = rest.popFirst() {
            switch character {
            case "{" where rest.first == "{", "}" where rest.first == "}":
                text.append(character)
                rest.removeFirst()
            case "{":
                let digits = rest.prefix { ("0"..."9").contains($0) }
                let after = rest[digits.endIndex...]
                guard let number = UInt8(digits), after.first == "}" || after.first == ":" else {
                    throw ExpressionError(
                        .invalidValue, "format '\(pattern)' has a \"{\" that begins no placeholder", at: position,
                        hint: "Placeholders are {0}, {1}; a brace is written twice.")
                }
                guard after.first == "}" else {
                    throw ExpressionError(
                        .invalidValue, "format '\(pattern)' tells how to write {\(number)}, which cannot be told",
                        at: position, hint: "Write {\(number)} without what follows its number.")
                }
                guard number < count else {
                    throw ExpressionError(
                        .invalidValue, "format '\(pattern)' has no value for {\(number)}", at: position)
                }
                text += try value(Int(number))
                guard text.utf8.count <= ExpressionLimits.resultBytes else {
                    throw ExpressionError.tooLarge(at: position)
                }
                rest = after.dropFirst()
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
