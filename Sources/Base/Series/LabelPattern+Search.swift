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
    /// said, as for `a|b`.
    ///
    /// - Parameters:
    ///   - expression: In RE2's syntax.
    ///   - ignoringCase: Whether ASCII letters in either case count as the small one, so that `(?i)error` gives `error`.
    /// - Returns: The texts.
    /// - Throws: `PatternError`.
    package static func requiredTexts(
        _ expression: String, ignoringCase: Bool = false
    ) throws(PatternError) -> [String] {
        var parser = PatternParser(expression)
        var search = RequiredTexts(ignoringCase: ignoringCase)
        search.collect(try parser.parse())
        search.endRun()
        return search.texts.sorted { $0.utf8.count > $1.utf8.count }
    }
}

private struct RequiredTexts {
    let ignoringCase: Bool
    var texts: [String] = []
    private var run = String.UnicodeScalarView()

    init(ignoringCase: Bool) { self.ignoringCase = ignoringCase }

    mutating func endRun() {
        if !run.isEmpty { texts.append(String(run)) }
        run = String.UnicodeScalarView()
    }

    /// Adds to the run what must follow it directly; ends it where something else may.
    mutating func collect(_ node: PatternNode) {
        switch node {
        case .empty, .assertion: return
        case .set(let set):
            guard let scalar = set.single ?? (ignoringCase ? Self.letter(set) : nil) else { break }
            run.append(scalar)
            return
        case .group(let inner, _): return collect(inner)
        case .sequence(let parts):
            for part in parts { collect(part) }
            return
        case .repeated(let inner, let least, _, _) where least > 0:
            // The first of them follows the run directly; what comes after it is unknown.
            collect(inner)
        case .repeated, .alternatives: break
        }
        endRun()
    }

    /// The small letter of a set that holds an ASCII letter in both cases, and at most its Unicode look-alikes (`K`, `ſ`) beside.
    private static func letter(_ set: ScalarSet) -> Unicode.Scalar? {
        let scalars = set.ranges.prefix(4).flatMap { $0.prefix(4) }
        // A look-alike is another run of bytes: a text that has it need not have the letter.
        guard scalars.count == 2, scalars[0] + 32 == scalars[1], (97...122).contains(scalars[1]) else { return nil }
        return Unicode.Scalar(scalars[1])
    }
}
