/// What templates can do with texts.
enum TemplateFunctions {
    /// How many arguments each takes.
    static let arities: [String: ClosedRange<Int>] = [
        "lower": 1...1, "ToLower": 1...1, "upper": 1...1, "ToUpper": 1...1, "title": 1...1, "trim": 1...1,
        "TrimSpace": 1...1, "trimPrefix": 2...2, "TrimPrefix": 2...2, "trimSuffix": 2...2, "TrimSuffix": 2...2,
        "trimAll": 2...2,
        "replace": 3...3, "Replace": 4...4, "trunc": 2...2, "substr": 3...3, "default": 2...2, "contains": 2...2,
        "hasPrefix": 2...2, "hasSuffix": 2...2, "eq": 2...2, "ne": 2...2, "not": 1...1, "len": 1...1, "printf": 1...20,
        "add": 2...20, "sub": 2...2, "mul": 2...20, "div": 2...2, "int": 1...1, "float64": 1...1,
        "and": 2...20, "or": 2...20, "print": 0...20,
    ]

    static func isTrue(_ text: String) -> Bool { !text.isEmpty && text != "false" && text != "0" }

    /// The number of arguments was checked when the template was read.
    static func call(_ name: String, _ arguments: [String]) -> String {
        let first = arguments.first ?? ""
        let second = arguments.count > 1 ? arguments[1] : ""
        let third = arguments.count > 2 ? arguments[2] : ""
        switch name {
        case "lower", "ToLower": return first.lowercased()
        case "upper", "ToUpper": return first.uppercased()
        case "title": return titled(first)
        case "trim", "TrimSpace": return trimmed(first) { $0.isWhitespace }
        case "trimAll": return trimmed(second) { first.contains($0) }
        case "trimPrefix": return second.hasPrefix(first) ? String(second.dropFirst(first.count)) : second
        case "TrimPrefix": return first.hasPrefix(second) ? String(first.dropFirst(second.count)) : first
        case "trimSuffix": return second.hasSuffix(first) ? String(second.dropLast(first.count)) : second
        case "TrimSuffix": return first.hasSuffix(second) ? String(first.dropLast(second.count)) : first
        case "replace": return third.replacing(first, with: second)
        case "Replace":
            let most = Int(arguments[3]) ?? -1
            return first.replacing(second, with: third, maxReplacements: most < 0 ? .max : most)
        case "trunc": return truncated(second, Int(first) ?? 0)
        case "substr":
            let (start, end) = (max(0, Int(first) ?? 0), Int(second) ?? -1)
            return String(third.prefix(end < 0 ? third.count : end).dropFirst(start))
        case "default": return second.isEmpty ? first : second
        case "contains": return String(second.contains(first))
        case "hasPrefix": return String(second.hasPrefix(first))
        case "hasSuffix": return String(second.hasSuffix(first))
        case "eq": return String(first == second)
        case "ne": return String(first != second)
        case "not": return String(!isTrue(first))
        case "and": return String(arguments.allSatisfy(isTrue))
        case "or": return arguments.first(where: isTrue) ?? ""
        case "len": return String(first.utf8.count)
        case "printf": return formatted(first, arguments.dropFirst())
        case "print": return arguments.joined()
        default: return computed(name, arguments)
        }
    }

    private static func computed(_ name: String, _ arguments: [String]) -> String {
        let numbers = arguments.map { Double($0) ?? 0 }
        let value: Double =
            switch name {
            case "add": numbers.reduce(0, +)
            case "sub": numbers[0] - numbers[1]
            case "mul": numbers.reduce(1, *)
            case "div": numbers[1] == 0 ? 0 : (numbers[0] / numbers[1]).rounded(.towardZero)
            case "int": numbers[0].rounded(.towardZero)
            default: numbers[0]
            }
        return Int64(exactly: value).map(String.init) ?? String(value)
    }

    private static func titled(_ text: String) -> String {
        var isStart = true
        return String(
            text.flatMap { character -> String in
                defer { isStart = character.isWhitespace }
                return isStart ? character.uppercased() : String(character)
            })
    }

    private static func trimmed(_ text: String, _ isGone: (Character) -> Bool) -> String {
        var rest = text.drop(while: isGone)
        while let last = rest.last, isGone(last) { rest = rest.dropLast() }
        return String(rest)
    }

    private static func truncated(_ text: String, _ count: Int) -> String {
        count >= 0 ? String(text.prefix(count)) : String(text.suffix(min(text.count, -max(count, -.max))))
    }

    /// `%s`, `%d`, `%v`, each with an optional width (`%-10s`), and `%%`.
    private static func formatted(_ format: String, _ arguments: ArraySlice<String>) -> String {
        var (result, rest, left) = ("", format[...], arguments)
        while let character = rest.popFirst() {
            guard character == "%", !rest.isEmpty else {
                result.append(character)
                continue
            }
            let width = rest.prefix { $0 == "-" || ("0"..."9").contains($0) }
            rest = rest[width.endIndex...]
            let verb = rest.popFirst()
            if verb == "%" {
                result.append("%")
                continue
            }
            let value = left.popFirst() ?? "%!\(verb.map { String($0) } ?? "")(MISSING)"
            let size = min(Int(width.drop { $0 == "-" }) ?? 0, 1_000)
            let padding = String(repeating: " ", count: max(0, size - value.count))
            result += width.hasPrefix("-") ? value + padding : padding + value
        }
        return result
    }
}
