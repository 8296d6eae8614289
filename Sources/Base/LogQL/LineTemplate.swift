internal import Series

/// Text with places for labels, as Go's templates write them: `{{.method}} {{ .path | trunc 10 | upper }}`.
///
/// Also `{{if eq .level "error"}}…{{else}}…{{end}}`, the line itself as `{{__line__}}` and its time in nanoseconds as
/// `{{__timestamp__}}`.
///
/// Functions: lower, upper (ToLower, ToUpper), title, trim (TrimSpace, trimPrefix, trimSuffix, trimAll), replace
/// (Replace), trunc, substr, default, contains, hasPrefix, hasSuffix, eq, ne, not, len, printf with `%s %d %v`,
/// and, or, print, add, sub, mul, div, int, float64.
struct LineTemplate: Sendable {
    indirect enum Part: Sendable {
        case text(String)
        case value(Call)
        case choice(Call, then: [Part], otherwise: [Part])
    }

    indirect enum Call: Sendable {
        case label(String)
        case line
        case time
        case literal(String)
        case function(String, [Call])
    }

    let text: String
    let parts: [Part]

    /// - Throws: `LogQLError` without a place.
    init(_ text: String) throws {
        self.text = text
        var parser = TemplateParser(text)
        parts = try parser.parts()
        if let word = parser.stray { throw LogQLError("{{\(word)}} of a template has no {{if}}") }
    }

    func render(_ state: LineState, _ line: UnsafeBufferPointer<UInt8>) -> String { render(parts, state, line) }

    private func render(_ parts: [Part], _ state: LineState, _ line: UnsafeBufferPointer<UInt8>) -> String {
        var result = ""
        for part in parts {
            switch part {
            case .text(let text): result += text
            case .value(let call): result += evaluate(call, state, line)
            case .choice(let condition, let then, let otherwise):
                let value = evaluate(condition, state, line)
                result += render(TemplateFunctions.isTrue(value) ? then : otherwise, state, line)
            }
        }
        return result
    }

    private func evaluate(_ call: Call, _ state: LineState, _ line: UnsafeBufferPointer<UInt8>) -> String {
        switch call {
        case .label(let name): state[name] ?? ""
        case .line: String(decoding: line, as: UTF8.self)
        case .time: String(state.time)
        case .literal(let text): text
        case .function(let name, let arguments):
            TemplateFunctions.call(name, arguments.map { evaluate($0, state, line) })
        }
    }
}

/// Reads a template.
struct TemplateParser {
    static let depthLimit = 30

    private var rest: Substring
    private var depth = 0
    /// `else` or `end` that ended the last run of parts.
    private(set) var stray: String?

    init(_ text: String) { rest = text[...] }

    mutating func parts() throws -> [LineTemplate.Part] {
        depth += 1
        defer { depth -= 1 }
        if depth > Self.depthLimit { throw LogQLError("a template nests too deeply") }
        var parts: [LineTemplate.Part] = []
        stray = nil
        while !rest.isEmpty {
            guard let open = rest.firstRange(of: "{{") else {
                parts.append(.text(String(rest)))
                rest = ""
                break
            }
            if open.lowerBound > rest.startIndex { parts.append(.text(String(rest[..<open.lowerBound]))) }
            rest = rest[open.upperBound...]
            guard let close = rest.firstRange(of: "}}") else { throw LogQLError("a {{ of a template has no }}") }
            var words = try Self.words(rest[..<close.lowerBound].drop { $0 == "-" })
            rest = rest[close.upperBound...]
            if words.last == "-" { words.removeLast() }
            switch words.first {
            case nil: throw LogQLError("a template has an empty {{}}")
            case "if":
                let condition = try Self.pipeline(words.dropFirst())
                let then = try self.parts()
                var otherwise: [LineTemplate.Part] = []
                if stray == "else" { otherwise = try self.parts() }
                guard stray == "end" else { throw LogQLError("an {{if}} of a template has no {{end}}") }
                stray = nil
                parts.append(.choice(condition, then: then, otherwise: otherwise))
            case "else", "end":
                stray = words[0]
                return parts
            default: parts.append(.value(try Self.pipeline(words[...])))
            }
        }
        return parts
    }

    private static func words(_ text: Substring) throws -> [String] {
        var (words, rest): ([String], Substring) = ([], text)
        while let first = rest.first {
            if first == " " || first == "\n" || first == "\t" {
                rest = rest.dropFirst()
            } else if first == "|" || first == "(" || first == ")" {
                words.append(String(first))
                rest = rest.dropFirst()
            } else if first == "\"" || first == "`" {
                var (literal, isEscaped, hasEnd) = ("\"", false, false)
                rest = rest.dropFirst()
                while let character = rest.popFirst() {
                    if isEscaped {
                        literal.append(character == "n" ? "\n" : character == "t" ? "\t" : character)
                        isEscaped = false
                    } else if character == "\\", first == "\"" {
                        isEscaped = true
                    } else if character == first {
                        hasEnd = true
                        break
                    } else {
                        literal.append(character)
                    }
                }
                guard hasEnd else { throw LogQLError("a text in a template has no end") }
                words.append(literal)
            } else {
                let word = rest.prefix { !" \n\t|()\"`".contains($0) }
                words.append(String(word))
                rest = rest[word.endIndex...]
            }
        }
        return words
    }

    /// Calls one after the other, the result of each the last argument of the next.
    private static func pipeline(_ words: ArraySlice<String>) throws -> LineTemplate.Call {
        // Each pipe or parenthesis makes a call within a call.
        guard words.count(where: { $0 == "(" || $0 == "|" }) <= depthLimit else {
            throw LogQLError("a template nests too deeply")
        }
        var rest = words
        var value: LineTemplate.Call?
        repeat {
            value = try call(&rest, piped: value)
            if let word = rest.first, word != "|" { throw LogQLError("unexpected \"\(word)\" in a template") }
        } while rest.popFirst() != nil
        return value ?? .literal("")
    }

    private static func call(_ rest: inout ArraySlice<String>, piped: LineTemplate.Call?) throws -> LineTemplate.Call {
        guard let name = rest.first, name != "|", name != ")" else { throw LogQLError("a template ends in the middle") }
        guard let arity = TemplateFunctions.arities[name] else {
            let value = try argument(&rest)
            if piped != nil { throw LogQLError("\"\(name)\" in a template takes no argument") }
            return value
        }
        rest = rest.dropFirst()
        var arguments: [LineTemplate.Call] = []
        while let word = rest.first, word != "|", word != ")" { arguments.append(try argument(&rest)) }
        if let piped { arguments.append(piped) }
        guard arity.contains(arguments.count) else {
            throw LogQLError("\"\(name)\" in a template does not take \(arguments.count) arguments")
        }
        return .function(name, arguments)
    }

    private static func argument(_ rest: inout ArraySlice<String>) throws -> LineTemplate.Call {
        guard let word = rest.popFirst() else { throw LogQLError("a template ends in the middle") }
        if word == "(" {
            var value = try call(&rest, piped: nil)
            while rest.first == "|" {
                rest = rest.dropFirst()
                value = try call(&rest, piped: value)
            }
            guard rest.popFirst() == ")" else { throw LogQLError("a ( in a template has no )") }
            return value
        }
        if word.first == "\"" { return .literal(String(word.dropFirst())) }
        if word == "__line__" { return .line }
        if word == "__timestamp__" { return .time }
        if word.first == ".", word.count > 1 { return .label(String(word.dropFirst())) }
        if Double(word) != nil { return .literal(word) }
        if TemplateFunctions.arities[word] != nil { return try call(&rest, piped: nil, named: word) }
        throw LogQLError("a template has no function \"\(word)\"")
    }

    private static func call(
        _ rest: inout ArraySlice<String>, piped: LineTemplate.Call?, named name: String
    ) throws -> LineTemplate.Call {
        guard TemplateFunctions.arities[name]?.contains(0) == true else {
            throw LogQLError("\"\(name)\" in a template needs parentheses around it and its arguments")
        }
        return .function(name, [])
    }
}
