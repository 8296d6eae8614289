extension Glob {
    /// The same pattern as an extended regular expression (POSIX), for programs that know no globs.
    package var regularExpression: String {
        var text = "^"
        var index = 0
        while index < nodes.count {
            switch nodes[index] {
            case .one(let own): text += own.expression
            case .optional(let own): text += own.expression + "?"
            case .loop(let own): text += own.expression + "*"
            case .folders:
                text += "(.*/)?"
                index += 2
            }
            index += 1
        }
        return text + "$"
    }
}

extension Glob.Class {
    fileprivate var expression: String {
        switch self {
        case .any: "."
        case .notSlash: "[^/]"
        case .one(let scalar): Self.quoted(scalar)
        case .among(let ranges, let isNegated): Self.bracket(ranges, isNegated: isNegated)
        }
    }

    private static func quoted(_ scalar: Unicode.Scalar) -> String {
        switch scalar {
        case "^", "\\": "\\\(scalar)"
        case ".", "[", "]", "$", "(", ")", "|", "*", "+", "?", "{", "}": "[\(scalar)]"
        default: String(Character(scalar))
        }
    }

    /// In a bracket "]" stands first, "-" last and "^" never first; a backslash is itself.
    private static func bracket(_ ranges: [ClosedRange<Unicode.Scalar>], isNegated: Bool) -> String {
        var (first, middle, last) = ("", "", "")
        for range in ranges {
            if range.lowerBound != range.upperBound {
                middle += "\(range.lowerBound)-\(range.upperBound)"
            } else if range.lowerBound == "]" {
                first = "]"
            } else if range.lowerBound == "-" {
                last = "-"
            } else if range.lowerBound == "^" {
                last = "^" + last
            } else if range.lowerBound != "/" {
                middle += "\(range.lowerBound)"
            }
        }
        let body = first + middle + last
        // A lone "^" or nothing but "/" cannot be written as a bracket.
        if isNegated { return "[^\(first)\(middle)/\(last)]" }
        return body == "^" ? "\\^" : body.isEmpty ? "[^[:print:][:cntrl:]]" : "[\(body)]"
    }
}
