/// Markdown of steps, as HTML that can do nothing: headings, lists, tables, code, quotes, emphasis, links to http(s).
///
/// HTML in it is text, images are links, and what is not understood is a paragraph. Takes time linear in the text.
struct Markdown {
    private var html = ""
    private var lines: ArraySlice<Substring>
    /// Characters within which the end of an emphasis or a link is looked for.
    private static let inlineReach = 2000
    /// Bytes that are shown.
    static let limit = 1 << 20

    static func html(_ text: String) -> Markup {
        var reader = Markdown(text)
        reader.run()
        return Markup(reader.html)
    }

    private init(_ text: String) {
        lines = text.prefix(Self.limit).split(omittingEmptySubsequences: false) { $0.isNewline }[...]
    }

    private mutating func run() {
        while let line = lines.first {
            let text = line.drop { $0 == " " }
            if text.isEmpty {
                lines.removeFirst()
            } else if text.hasPrefix("```") || text.hasPrefix("~~~") {
                code(String(text.prefix(3)))
            } else if let level = Self.heading(text) {
                lines.removeFirst()
                // The page has headings of its own above.
                let tag = "h\(min(6, level + 2))"
                html += "<\(tag)>\(Self.inline(text.drop { $0 == "#" }))</\(tag)>"
            } else if Self.isRule(text) {
                lines.removeFirst()
                html += "<hr>"
            } else if text.hasPrefix(">") {
                gather(as: "blockquote") { $0.hasPrefix(">") ? $0.dropFirst() : nil }
            } else if Self.bullet(text) != nil {
                list("ul", Self.bullet)
            } else if Self.number(text) != nil {
                list("ol", Self.number)
            } else if isTable {
                table()
            } else {
                paragraph()
            }
        }
    }

    // MARK: Blocks

    private static func heading(_ text: Substring) -> Int? {
        let level = text.prefix { $0 == "#" }.count
        return (1...6).contains(level) && text.dropFirst(level).first == " " ? level : nil
    }

    private static func isRule(_ text: Substring) -> Bool {
        let marks = text.filter { $0 != " " }
        return marks.count >= 3 && ["-", "*", "_"].contains { mark in marks.allSatisfy { $0 == mark } }
    }

    private static func bullet(_ text: Substring) -> Substring? {
        guard let first = text.first, "-*+".contains(first), text.dropFirst().first == " " else { return nil }
        return text.dropFirst(2)
    }

    private static func number(_ text: Substring) -> Substring? {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        let rest = text.dropFirst(digits.count)
        guard (1...9).contains(digits.count), rest.hasPrefix(". ") || rest.hasPrefix(") ") else { return nil }
        return rest.dropFirst(2)
    }

    private mutating func code(_ fence: String) {
        lines.removeFirst()
        var body = ""
        while let line = lines.popFirst(), !line.drop(while: { $0 == " " }).hasPrefix(fence) { body += line + "\n" }
        html += "<pre class=\"code\">\(escaped(body))</pre>"
    }

    private mutating func gather(as tag: String, _ part: (Substring) -> Substring?) {
        html += "<\(tag)>"
        while let line = lines.first, let inner = part(line.drop { $0 == " " }) {
            html += Self.inline(inner) + "<br>"
            lines.removeFirst()
        }
        html += "</\(tag)>"
    }

    private mutating func list(_ tag: String, _ part: (Substring) -> Substring?) {
        html += "<\(tag)>"
        while let line = lines.first, let item = part(line.drop { $0 == " " }) {
            html += "<li>\(Self.inline(item))</li>"
            lines.removeFirst()
        }
        html += "</\(tag)>"
    }

    /// A row of cells, and beneath it a row of dashes.
    private var isTable: Bool {
        guard let head = lines.first, head.contains("|"), let under = lines.dropFirst().first, under.contains("-")
        else {
            return false
        }
        return under.allSatisfy { "|-: ".contains($0) }
    }

    private mutating func table() {
        html += "<table><thead>\(Self.row(lines.removeFirst(), "th"))</thead><tbody>"
        lines.removeFirst()
        while let line = lines.first, line.contains("|") {
            html += Self.row(line, "td")
            lines.removeFirst()
        }
        html += "</tbody></table>"
    }

    private static func row(_ line: Substring, _ tag: String) -> String {
        var text = line.drop { $0 == " " }
        while text.last == " " { text.removeLast() }
        if text.first == "|" { text.removeFirst() }
        if text.last == "|" { text.removeLast() }
        let cells = text.split(separator: "|", omittingEmptySubsequences: false)
        return "<tr>\(cells.map { "<\(tag)>\(inline($0))</\(tag)>" }.joined())</tr>"
    }

    private mutating func paragraph() {
        html += "<p>"
        var isFirst = true
        while let line = lines.first, !line.allSatisfy(\.isWhitespace), isFirst || !isBlockStart(line) {
            if !isFirst { html += "\n" }
            html += Self.inline(line)
            lines.removeFirst()
            isFirst = false
        }
        html += "</p>"
    }

    private func isBlockStart(_ line: Substring) -> Bool {
        let text = line.drop { $0 == " " }
        return text.hasPrefix("```") || text.hasPrefix(">") || Self.heading(text) != nil || Self.bullet(text) != nil
    }

    // MARK: Within a line

    static func inline(_ text: some StringProtocol) -> String {
        var out = ""
        var plain = ""
        var rest = Substring(text)
        while rest.first == " " { rest.removeFirst() }
        func flush() {
            out += escaped(plain)
            plain = ""
        }
        while let first = rest.first {
            if first == "\\", let next = rest.dropFirst().first, next.isPunctuation || next.isSymbol {
                plain.append(next)
                rest = rest.dropFirst(2)
            } else if first == "`", let (inner, after) = enclosed(rest, by: "`") {
                flush()
                out += "<code>\(escaped(inner))</code>"
                rest = after
            } else if first == "*" || first == "_", let (inner, after) = enclosed(rest, by: "\(first)\(first)") {
                flush()
                out += "<strong>\(escaped(inner))</strong>"
                rest = after
            } else if first == "*", let (inner, after) = enclosed(rest, by: "*") {
                flush()
                out += "<em>\(escaped(inner))</em>"
                rest = after
            } else if first == "[" || first == "!", let (link, after) = link(rest) {
                flush()
                out += link
                rest = after
            } else {
                plain.append(first)
                rest.removeFirst()
            }
        }
        flush()
        return out
    }

    /// What stands between two marks, and what comes behind the second.
    private static func enclosed(_ text: Substring, by mark: String) -> (Substring, Substring)? {
        guard text.hasPrefix(mark) else { return nil }
        let inner = text.dropFirst(mark.count).prefix(inlineReach)
        guard let first = inner.first, first != " " else { return nil }
        var at = inner.startIndex
        while at < inner.endIndex {
            if inner[at...].hasPrefix(mark) {
                return at == inner.startIndex ? nil : (inner[..<at], text[inner.index(at, offsetBy: mark.count)...])
            }
            at = inner.index(after: at)
        }
        return nil
    }

    /// `[text](https://…)`, and `![text](…)` the same way.
    private static func link(_ text: Substring) -> (String, Substring)? {
        let body = text.first == "!" ? text.dropFirst() : text
        guard body.first == "[" else { return nil }
        // By bytes: what is looked for is ASCII, and to find characters in a long line again and again is slow.
        let bytes = body.utf8
        let reach = bytes.prefix(inlineReach)
        guard let middle = reach.firstIndex(of: UInt8(ascii: "]")),
            reach[reach.index(after: middle)...].first == UInt8(ascii: "("),
            let end = reach[middle...].firstIndex(of: UInt8(ascii: ")"))
        else { return nil }
        let label = body[bytes.index(after: bytes.startIndex)..<middle]
        let target = body[bytes.index(middle, offsetBy: 2)..<end]
        let after = body[bytes.index(after: end)...]
        guard target.hasPrefix("https://") || target.hasPrefix("http://") else { return (escaped(label), after) }
        return (
            "<a class=\"link\" rel=\"noreferrer nofollow\" href=\"\(escaped(target))\">\(escaped(label))</a>", after
        )
    }
}
