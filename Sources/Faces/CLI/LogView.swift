/// A job's output as a person sees it: groups marked or folded, and of all the codes that can steer a
/// terminal only those that colour.
struct LogView {
    enum Style {
        /// As it was written: for files and other programs.
        case raw
        case marked
        /// Groups are one line each.
        case folded
    }
    private let style: Style
    /// Text that is no whole line yet and may still mean something.
    private var held: Substring = ""
    /// The line that goes on is no command: a part of it is out already.
    private var isMidLine = false
    private var group: (name: String, lines: Int)?
    /// A sequence that takes longer is none.
    private static let escapeLimit = 256

    init(_ style: Style) { self.style = style }

    mutating func feed(_ text: String) -> String {
        if style == .raw { return text }
        var out = ""
        var rest = (held + text)[...]
        held = ""
        while let end = rest.utf8.firstIndex(of: 0x0A) {
            out += line(rest[..<end])
            rest = rest[rest.index(after: end)...]
        }
        if !rest.isEmpty { out += opened(rest) }
        return out
    }

    /// The output has ended.
    mutating func finish() -> String {
        let last = held.isEmpty ? "" : line(held)
        held = ""
        guard style == .folded, let group else { return last }
        self.group = nil
        return last + Self.folded(group)
    }

    private mutating func line(_ text: Substring) -> String {
        defer { isMidLine = false }
        if isMidLine { return Self.safe(text) + "\n" }
        let text = text.utf8.last == 0x0D ? text.dropLast() : text
        if text.hasPrefix("::group::") {
            let name = Self.safe(text.dropFirst(9))
            let before = style == .folded ? group.map(Self.folded) ?? "" : ""
            group = (name, 0)
            return before + (style == .folded ? "" : Terminal.styled("▾ \(name)", .bold) + "\n")
        }
        if text.hasPrefix("::endgroup::") {
            defer { group = nil }
            return style == .folded ? group.map(Self.folded) ?? "" : ""
        }
        if style == .folded, let open = group {
            group = (open.name, open.lines + 1)
            return ""
        }
        return Self.safe(text) + "\n"
    }

    /// A line that has not ended: shown at once when it cannot be a command.
    private mutating func opened(_ text: Substring) -> String {
        if !isMidLine, group != nil && style == .folded || text.hasPrefix(":") {
            held = text
            return ""
        }
        isMidLine = true
        // A sequence that is cut in its middle waits for its end.
        if let escape = text.unicodeScalars.lastIndex(of: "\u{1B}"), text[escape...].utf8.count < Self.escapeLimit,
            !Self.isWhole(text[escape...])
        {
            held = text[escape...]
            return Self.safe(text[..<escape])
        }
        return Self.safe(text)
    }

    private static func folded(_ group: (name: String, lines: Int)) -> String {
        Terminal.styled("▸ \(group.name)", .bold) + " (\(group.lines) line\(group.lines == 1 ? "" : "s"))\n"
    }

    // MARK: Codes (ECMA-48)

    /// The text with no other code than "select graphic rendition".
    static func safe(_ text: some StringProtocol) -> String {
        var out = String.UnicodeScalarView()
        var rest = Substring(text).unicodeScalars[...]
        while let scalar = rest.popFirst() {
            switch scalar.value {
            case 0x1B:
                guard let code = code(&rest), code.last == "m" else { continue }
                out.append("\u{1B}")
                out.append(contentsOf: code)
            case 0x09, 0x0D: out.append(scalar)
            case 0x00...0x1F, 0x7F...0x9F: continue
            default: out.append(scalar)
            }
        }
        return String(out)
    }

    /// Takes what follows an escape; gives a control sequence, nothing for any other code.
    private static func code(_ rest: inout Substring.UnicodeScalarView.SubSequence) -> Substring.UnicodeScalarView
        .SubSequence?
    {
        guard let kind = rest.popFirst() else { return nil }
        switch kind {
        case "[":
            guard let end = rest.firstIndex(where: { (0x40...0x7E).contains($0.value) }) else {
                rest = rest[rest.endIndex...]
                return nil
            }
            let start = rest.startIndex
            defer { rest = rest[rest.index(after: end)...] }
            return Substring("[" + String(rest[start...end])).unicodeScalars
        case "]", "P", "X", "^", "_":
            // A string up to BEL or ST: titles, clipboards, images.
            while let next = rest.popFirst() {
                if next == "\u{07}" || next == "\u{9C}" { return nil }
                if next == "\u{1B}", rest.first == "\\" {
                    rest = rest.dropFirst()
                    return nil
                }
            }
            return nil
        default: return nil
        }
    }

    private static func isWhole(_ text: Substring) -> Bool {
        let body = text.unicodeScalars.dropFirst()
        guard let kind = body.first else { return false }
        if kind == "[" { return body.dropFirst().contains { (0x40...0x7E).contains($0.value) } }
        if ["]", "P", "X", "^", "_"].contains(kind) { return body.contains("\u{07}") || body.contains("\\") }
        return true
    }
}
