/// Looking for a pattern anywhere in a text, as filters of log lines do.
extension LabelPattern {
    /// A pattern that matches a text which holds what `expression` says anywhere. Group 1 is what matched; the expression's own
    /// groups follow.
    ///
    /// - Throws: `PatternError` for what is no pattern by itself (`a)(b`).
    package static func searching(_ expression: String) throws(PatternError) -> LabelPattern {
        _ = try LabelPattern(expression)
        // Lazily, so that the leftmost match is the one whose groups are told; without `s`, as RE2 has it outside of labels.
        return try LabelPattern("(?s:.*?)((?-s:\(expression)))(?s:.*)")
    }

    /// Texts of which each stands in whatever matches the expression, in any place; the longest first. None when nothing can be
    /// said, as for `a|b` or with case ignored.
    package static func requiredTexts(_ expression: String) throws(PatternError) -> [String] {
        var parser = PatternParser(expression)
        var texts: [String] = []
        var run = String.UnicodeScalarView()
        collect(try parser.parse(), &run, &texts)
        if !run.isEmpty { texts.append(String(run)) }
        return texts.sorted { $0.utf8.count > $1.utf8.count }
    }

    /// Adds to the run what must follow it directly; ends it where something else may.
    private static func collect(
        _ node: PatternNode, _ run: inout String.UnicodeScalarView, _ texts: inout [String]
    ) {
        switch node {
        case .empty, .assertion: return
        case .set(let set):
            if let scalar = set.single {
                run.append(scalar)
                return
            }
        case .group(let inner, _): return collect(inner, &run, &texts)
        case .sequence(let parts):
            for part in parts { collect(part, &run, &texts) }
            return
        case .repeated(let inner, let least, _, _) where least > 0:
            // The first of them follows the run directly; what comes after it is unknown.
            collect(inner, &run, &texts)
        case .repeated, .alternatives: break
        }
        if !run.isEmpty { texts.append(String(run)) }
        run = String.UnicodeScalarView()
    }
}
