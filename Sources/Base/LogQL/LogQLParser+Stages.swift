internal import Series

extension LogQLParser {
    // MARK: - Selectors

    mutating func lineSource() throws -> LineSource {
        var source = LineSource(matchers: try selector())
        while let stage = try stage() { source.stages.append(stage) }
        return source
    }

    mutating func selector() throws -> [LabelMatcher] {
        let place = position
        try expect("{")
        var matchers: [LabelMatcher] = []
        while kind != .symbol("}") {
            let name = try name()
            guard case .symbol(let symbol) = kind, let comparison = LabelMatcher.Comparison(rawValue: symbol) else {
                throw fail("unexpected \(described), expecting =, !=, =~ or !~")
            }
            advance()
            let place = position
            let value = try quoted()
            if comparison == .matches || comparison == .doesNotMatch {
                _ = try placed(at: place) { try LabelPattern(value) }
            }
            matchers.append(LabelMatcher(name, comparison, value))
            if !take(",") { break }
        }
        try expect("}")
        // A selector that every stream meets is a mistake more often than a wish.
        let isNarrow = matchers.contains { matcher in
            switch matcher.comparison {
            case .equal: !matcher.value.isEmpty
            case .matches: ((try? LabelPattern(matcher.value))?.matches("") ?? true) == false  // It was read above.
            case .notEqual, .doesNotMatch: false
            }
        }
        if !isNarrow {
            throw fail(
                "queries require at least one regexp or equality matcher that does not have an empty-compatible value",
                at: place)
        }
        return matchers
    }

    // MARK: - Stages

    /// The next stage; nil when there is none.
    mutating func stage() throws -> PipelineStage? {
        guard case .symbol(let symbol) = kind else { return nil }
        switch symbol {
        case "|=", "|~", "|>", "!=", "!~", "!>":
            // `!=` may also compare figures: then no text follows.
            if symbol == "!=", !isText(index + 1) { return nil }
            advance()
            return .line(try lineFilter(symbol))
        case "|":
            advance()
            return try namedStage()
        default: return nil
        }
    }

    private mutating func lineFilter(_ symbol: String) throws -> LineFilter {
        var tests: [LineFilter.Test] = []
        repeat {
            let place = position
            let text = try quoted()
            switch symbol.last {
            case "~":
                tests.append(
                    try placed(at: place) {
                        .matches(
                            try LabelPattern.searching(text), texts: try LabelPattern.requiredTexts(text),
                            folded: try LabelPattern.requiredTexts(text, ignoringCase: true))
                    })
            case ">": tests.append(try placed(at: place) { .looksLike(try PatternTemplate(text, needsName: false)) })
            default: tests.append(.contains(Array(text.utf8)))
            }
        } while isOrText && takeWord("or")
        return LineFilter(tests: tests, isNegated: symbol.first == "!")
    }

    private var isOrText: Bool { kind == .word("or") && isText(index + 1) }

    private func isText(_ index: Int) -> Bool {
        if case .text = tokens[min(index, tokens.count - 1)].kind { true } else { false }
    }

    private mutating func namedStage() throws -> PipelineStage {
        guard case .word(let word) = kind else {
            if kind == .symbol("(") { return .label(try labelFilter()) }
            throw fail("unexpected \(described), expecting a stage")
        }
        // A label may be named like a stage.
        if case .symbol(let next) = tokens[index + 1].kind, Self.comparisons.contains(next), word != "drop",
            word != "keep"
        {
            return .label(try labelFilter())
        }
        let place = position
        advance()
        switch word {
        case "json": return .json(try extractions())
        case "logfmt": return .logfmt(try logfmt())
        case "unpack": return .unpack
        case "decolorize": return .decolorize
        case "pattern":
            let text = try quoted()
            return .pattern(try placed(at: place) { try PatternTemplate(text, needsName: true) })
        case "regexp":
            let (textPlace, text) = (position, try quoted())
            let pattern = try placed(at: textPlace) { try LabelPattern.searching(text) }
            if pattern.groupNames.allSatisfy({ $0 == nil }) {
                throw fail("regexp needs a group with a name", at: textPlace)
            }
            return .regexp(pattern)
        case "line_format":
            let (textPlace, text) = (position, try quoted())
            return .lineFormat(try placed(at: textPlace) { try LineTemplate(text) })
        case "label_format": return .labelFormat(try assignments())
        case "keep": return .keep(try choices())
        case "drop": return .drop(try choices())
        case "unwrap": throw fail("unwrap stands within a range aggregation only", at: place)
        default: throw fail("unknown stage \"\(word)\"", at: place)
        }
    }

    private mutating func logfmt() throws -> LogfmtOptions {
        var options = LogfmtOptions()
        while case .flag(let flag) = kind {
            switch flag {
            case "--strict": options.isStrict = true
            case "--keep-empty": options.keepsEmpty = true
            default: throw fail("logfmt has no flag \"\(flag)\"")
            }
            advance()
        }
        options.extractions = try extractions()
        return options
    }

    private mutating func extractions() throws -> [Extraction] {
        var extractions: [Extraction] = []
        guard case .word = kind, !isOperatorWord else { return [] }
        repeat {
            let label = try name()
            guard take("=") else {
                extractions.append(Extraction(label: label, path: [.field(label)]))
                continue
            }
            let (place, text) = (position, try quoted())
            guard let path = Self.path(text) else { throw fail("\"\(text)\" is no place in a line", at: place) }
            extractions.append(Extraction(label: label, path: path))
        } while take(",")
        return extractions
    }

    /// Words that go on with the expression around a pipeline.
    private var isOperatorWord: Bool {
        guard case .word(let word) = kind else { return false }
        return ["and", "or", "unless", "offset"].contains(word)
    }

    /// `servers[0].name`, `request["the key"]`
    static func path(_ text: String) -> [Extraction.PathPart]? {
        var (path, rest): ([Extraction.PathPart], Substring) = ([], text[...])
        while let first = rest.first {
            if first == "[" {
                guard let end = rest.firstIndex(of: "]") else { return nil }
                let inner = rest[rest.index(after: rest.startIndex)..<end]
                if let place = Int(inner), place >= 0 {
                    path.append(.place(place))
                } else if inner.count >= 2, inner.first == "\"", inner.last == "\"" {
                    path.append(.field(String(inner.dropFirst().dropLast())))
                } else {
                    return nil
                }
                rest = rest[rest.index(after: end)...]
            } else {
                if first == "." { rest = rest.dropFirst() }
                let word = rest.prefix { $0 != "." && $0 != "[" }
                guard !word.isEmpty else { return nil }
                path.append(.field(String(word)))
                rest = rest[word.endIndex...]
            }
        }
        return path.isEmpty ? nil : path
    }

    private mutating func assignments() throws -> [LabelAssignment] {
        var assignments: [LabelAssignment] = []
        repeat {
            let place = position
            let label = try name()
            try expect("=")
            if assignments.contains(where: { $0.name == label }) {
                throw fail("label_format sets \"\(label)\" twice", at: place)
            }
            if case .text(let text) = kind {
                let template = try placed(at: position) { try LineTemplate(text) }
                advance()
                assignments.append(LabelAssignment(name: label, source: .template(template)))
            } else {
                assignments.append(LabelAssignment(name: label, source: .label(try name())))
            }
        } while take(",")
        return assignments
    }

    private mutating func choices() throws -> [LabelChoice] {
        var choices: [LabelChoice] = []
        repeat {
            let label = try name()
            var test: StringTest?
            if case .symbol(let symbol) = kind, let comparison = LabelMatcher.Comparison(rawValue: symbol) {
                advance()
                let (place, value) = (position, try quoted())
                test = try placed(at: place) { try StringTest(comparison, value) }
            }
            choices.append(LabelChoice(name: label, test: test))
        } while take(",")
        return choices
    }

    // MARK: - Label filters

    private static let comparisons: Set<String> = ["=", "==", "!=", "=~", "!~", ">", ">=", "<", "<="]

    mutating func labelFilter() throws -> LabelFilter {
        depth += 1
        defer { depth -= 1 }
        if depth > Self.depthLimit { throw fail("the query nests too deeply") }
        var left = try labelConjunction()
        while kind == .word("or") {
            advance()
            try countOperator()
            left = .either(left, try labelConjunction())
        }
        return left
    }

    private mutating func labelConjunction() throws -> LabelFilter {
        var left = try labelComparison()
        while true {
            if kind == .word("and") || kind == .symbol(",") {
                advance()
            } else if case .word = kind, !isOperatorWord {
                // Two conditions side by side are both meant.
            } else {
                return left
            }
            try countOperator()
            left = .both(left, try labelComparison())
        }
    }

    private mutating func labelComparison() throws -> LabelFilter {
        if take("(") {
            let inner = try labelFilter()
            try expect(")")
            return inner
        }
        let label = try name()
        guard case .symbol(let symbol) = kind, Self.comparisons.contains(symbol) else {
            throw fail("unexpected \(described), expecting a comparison of \"\(label)\"")
        }
        advance()
        let place = position
        if case .text(let text) = kind {
            advance()
            guard let comparison = LabelMatcher.Comparison(rawValue: symbol) else {
                throw fail("\"\(symbol)\" compares numbers, durations and bytes, not texts", at: place)
            }
            return .text(label, try placed(at: place) { try StringTest(comparison, text) })
        }
        if case .word("ip") = kind { throw fail("ip() is not supported") }
        guard let comparison = BinaryOperation.Operator(rawValue: symbol == "=" ? "==" : symbol),
            comparison.isComparison
        else { throw fail("unexpected \(described), expecting a text in quotes") }
        let isNegative = take("-")
        guard case .number(let digits) = kind else { throw fail("unexpected \(described), expecting a value") }
        advance()
        let sign = isNegative ? -1.0 : 1.0
        if let value = Double(digits) { return .quantity(label, comparison, sign * value, .number) }
        if let value = Quantities.duration(digits) { return .quantity(label, comparison, sign * value, .duration) }
        if let value = Quantities.bytes(digits) { return .quantity(label, comparison, sign * value, .bytes) }
        throw fail("\"\(digits)\" is no number, duration or size", at: place)
    }
}
