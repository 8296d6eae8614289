import Manifests

/// `rules`, `only` and `except` as one `if`.
struct GitLabRules {
    let words: GitLabWords

    static let noDelay = "nothing waits for a time alone: use a gate's `wait`"

    /// What is told of a job that a person starts.
    static func byHand(_ condition: String?) -> String {
        "a person starts it there, so nothing does here (`if: false`): give it an environment with `approvals`, and "
            + (condition.map { "write `if: \($0)`" } ?? "take the `if` out")
    }

    /// The first rule that matches counts; nil means always. `inherited` is the `when` of rules that have none.
    func condition(_ rules: Cursor, otherwise inherited: Cursor? = nil) -> String? {
        var cases: [(condition: String?, isOut: Bool)] = []
        for rule in rules.items.flatMap({ $0.value.array == nil ? [$0] : $0.items }) {
            var parts: [String] = []
            if let text = rule.take("if") { parts.append(GitLabExpression(text.text ?? "", words, at: text).converted) }
            for key in ["changes", "exists"] where rule.value[key] != nil {
                if let files = rule.take(key) {
                    _ = files.whole
                    files.lost("a stage has no filter of files: write `paths` in the trigger")
                }
            }
            rule.lose([
                "allow_failure": "whether a failure counts is said by the job",
                "needs": "what a job waits for is said by the job",
                "interruptible": "a run is cancelled whole or not", "auto_cancel": "a run is cancelled whole or not",
            ])
            if let variables = rule.take("variables") {
                _ = variables.whole
                variables.lost("a variable has one value for all rules")
            }
            let when = rule.take("when") ?? inherited
            switch when?.text {
            case "manual": when?.lost(Self.byHand(parts.isEmpty ? nil : parts.joined(separator: " && ")))
            case "delayed": when?.lost(Self.noDelay)
            case "always": parts.append("always()")
            case "on_failure": parts.append("failure()")
            default: break
            }
            if let delay = rule.take("start_in") { delay.lost(Self.noDelay) }
            let isOut = ["never", "manual"].contains(when?.text)
            cases.append((parts.isEmpty ? nil : parts.joined(separator: " && "), isOut))
        }
        return Self.combined(cases)
    }

    private static func combined(_ cases: [(condition: String?, isOut: Bool)]) -> String? {
        var out: String? = "false"
        for (condition, isOut) in cases.reversed() {
            guard let condition else {
                out = isOut ? "false" : nil
                continue
            }
            let own = condition.contains("||") ? "(\(condition))" : condition
            switch (isOut, out) {
            case (true, nil): out = "!(\(condition))"
            case (true, "false"): out = "false"
            case (true, let rest?): out = "!(\(condition)) && (\(rest))"
            case (false, nil): out = nil
            case (false, "false"): out = condition
            case (false, let rest?): out = "\(own) || \(rest)"
            }
        }
        return out
    }

    /// `only` and `except`, the older way.
    func condition(only: Cursor?, except: Cursor?) -> String? {
        let inside = only.flatMap(refs)
        let outside = except.flatMap(refs).map { "!(\($0))" }
        let both = [inside.map { $0.contains("||") && outside != nil ? "(\($0))" : $0 }, outside].compactMap { $0 }
        return both.isEmpty ? nil : both.joined(separator: " && ")
    }

    private func refs(_ cursor: Cursor) -> String? {
        var list = cursor
        if cursor.value.object != nil {
            for key in ["changes", "kubernetes"] {
                if let other = cursor.take(key) {
                    _ = other.whole
                    other.lost("a stage has no such filter")
                }
            }
            if let variables = cursor.take("variables") {
                let all = variables.items.map { GitLabExpression($0.text ?? "", words, at: $0).converted }
                if cursor.value["refs"] == nil { return all.joined(separator: " || ") }
                variables.lost("only the refs count")
                _ = variables.whole
            }
            guard let refs = cursor.take("refs") else { return nil }
            list = refs
        }
        let causes = [
            "branches": "branch", "tags": "tag", "merge_requests": "run.trigger == 'pull_request'",
            "schedules": "run.trigger == 'schedule'", "web": "run.trigger == 'manual'", "api": "run.trigger == 'api'",
            "triggers": "run.trigger == 'api'", "pushes": "run.trigger == 'push'",
            "pipelines": "run.trigger == 'pipeline'",
        ]
        let all = list.items.map { item -> String in
            let text = (item.text ?? "").split(separator: "@").first.map(String.init) ?? ""
            if let cause = causes[text] { return cause }
            if text.hasPrefix("/") { return GitLabExpression.match("(branch || tag)", text, at: item) ?? "false" }
            return "branch == '\(text.replacingQuotes)' || tag == '\(text.replacingQuotes)'"
        }
        return all.isEmpty ? nil : all.joined(separator: " || ")
    }
}

/// An expression of GitLab: `$X == "y" && ($Z =~ /^a/ || $W)`.
struct GitLabExpression {
    let converted: String

    init(_ text: String, _ words: GitLabWords, at cursor: Cursor) {
        var out: [String] = []
        var rest = text[...]
        var variable: (name: String, index: Int)?
        var pending: (name: String, isNot: Bool)?
        func readsSource() -> Bool { variable?.name == "CI_PIPELINE_SOURCE" }
        while let first = rest.first {
            if first.isWhitespace {
                rest = rest.dropFirst()
            } else if first == "$" {
                let name = rest.dropFirst().prefix { $0 == "_" || ($0.isASCII && ($0.isLetter || $0.isNumber)) }
                rest = rest.dropFirst(name.count + 1)
                if let match = pending {
                    cursor.lost("$\(match.name) is held against a pattern in a variable: it never matches now")
                    out[out.count - 1] = match.isNot ? "true" : "false"
                    pending = nil
                } else {
                    out.append(words.expression(String(name), at: cursor))
                    variable = (String(name), out.count - 1)
                }
            } else if first == "\"" || first == "'" {
                let value = rest.dropFirst().prefix { $0 != first }
                rest = rest.dropFirst(value.count + 2)
                let known = readsSource() ? GitLabWords.causes[String(value)] ?? String(value) : String(value)
                out.append("'\(known.replacingQuotes)'")
            } else if first == "/" {
                let pattern = Self.pattern(&rest)
                if let match = pending {
                    let subject = out.removeLast()
                    let found = Self.match(subject, pattern, at: cursor) ?? "false"
                    out.append(match.isNot ? "!(\(found))" : found)
                    pending = nil
                }
            } else if rest.hasPrefix("=~") || rest.hasPrefix("!~") {
                pending = (variable?.name ?? "", first == "!")
                rest = rest.dropFirst(2)
            } else if let sign = ["&&", "||", "==", "!="].first(where: { rest.hasPrefix($0) }) {
                out.append(sign)
                rest = rest.dropFirst(2)
            } else if rest.hasPrefix("null") {
                out.append("null")
                rest = rest.dropFirst(4)
            } else {
                out.append(String(first))
                rest = rest.dropFirst()
            }
        }
        converted = out.joined(separator: " ").replacing("( ", with: "(").replacing(" )", with: ")")
            .replacing("! ", with: "!")
    }

    /// `/…/flags`, as written.
    private static func pattern(_ rest: inout Substring) -> String {
        var out = "/"
        rest = rest.dropFirst()
        while let character = rest.popFirst() {
            out.append(character)
            if character == "\\", let next = rest.popFirst() {
                out.append(next)
            } else if character == "/" {
                break
            }
        }
        while let flag = rest.first, flag.isLetter {
            out.append(flag)
            rest = rest.dropFirst()
        }
        return out
    }

    /// A pattern that only says how the text begins, ends or what is in it; nil and a note for others.
    static func match(_ subject: String, _ pattern: String, at cursor: Cursor) -> String? {
        var body = pattern.dropFirst()
        while let last = body.last, last != "/" { body = body.dropLast() }
        body = body.dropLast()
        var isStart = body.hasPrefix("^")
        var isEnd = body.hasSuffix("$") && !body.hasSuffix("\\$")
        if isStart { body = body.dropFirst() }
        if isEnd { body = body.dropLast() }
        if body.hasSuffix(".*") || body.hasSuffix(".+") { (body, isEnd) = (body.dropLast(2), false) }
        if body.hasPrefix(".*") || body.hasPrefix(".+") { (body, isStart) = (body.dropFirst(2), false) }
        var literal = ""
        var rest = body
        while let character = rest.popFirst() {
            if character == "\\" {
                guard let next = rest.popFirst(), !next.isLetter, !next.isNumber else { return unsaid(pattern, cursor) }
                literal.append(next)
            } else if ".*+?()[]{}|^$".contains(character) {
                return unsaid(pattern, cursor)
            } else {
                literal.append(character)
            }
        }
        let text = "'\(literal.replacingQuotes)'"
        switch (isStart, isEnd) {
        case (true, true): return "\(subject) == \(text)"
        case (true, false): return "startsWith(\(subject), \(text))"
        case (false, true): return "endsWith(\(subject), \(text))"
        case (false, false): return "contains(\(subject), \(text))"
        }
    }

    private static func unsaid(_ pattern: String, _ cursor: Cursor) -> String? {
        cursor.lost("\(pattern) says more than how a text begins, ends or what is in it: it never matches now")
        return nil
    }
}
