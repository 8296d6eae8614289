/// Turns a job's output into lines of HTML: numbered, escaped, with the colours that programs write as ANSI codes.
struct LogLines: Sendable {
    /// The lines, ready for the page.
    let html: Markup
    /// The number of the next line.
    let nextLine: Int
    /// Bytes at the end that are not a whole line yet; they are read again with the next part.
    let unread: Int

    /// A line is shown up to this many characters; the raw log has the rest.
    static let lineLimit = 4000
    /// A line that has not ended after so many bytes is shown as it is.
    static let openLineLimit = 32_768

    /// - Parameters:
    ///   - text: Output, from the start of a line on.
    ///   - first: Number of its first line.
    ///   - ended: Whether nothing will follow, so that a last line without line feed is whole.
    init(_ text: String, first: Int, ended: Bool) {
        // By bytes: to Swift "\r\n" is one character, which a search for "\n" does not find.
        var lines = text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map {
            Substring($0)
        }
        var unread = 0
        if let last = lines.popLast(), !last.isEmpty {
            let isBroken = last.contains("\u{FFFD}")
            if ended || isBroken || last.utf8.count > Self.openLineLimit {
                lines.append(last)
            } else {
                unread = last.utf8.count
            }
        }
        var style = ANSIStyle()
        var html = ""
        for (index, line) in lines.enumerated() { html += Self.row(line, number: first + index, style: &style) }
        (self.html, self.nextLine, self.unread) = (Markup(html), first + lines.count, unread)
    }

    private static func row(_ line: Substring, number: Int, style: inout ANSIStyle) -> String {
        // A carriage return starts the line over, as progress bars do: what stands last is what a terminal shows.
        var shown = line
        if shown.last == "\r" { shown = shown.dropLast() }
        if let back = shown.lastIndex(of: "\r") { shown = shown[shown.index(after: back)...] }
        let clipped = shown.prefix(lineLimit)
        let text = coloured(clipped, &style) + (clipped.endIndex < shown.endIndex ? "…" : "")
        return "<div class=\"log-line\"><span class=\"no\" aria-hidden=\"true\">\(number)</span>"
            + "<span class=\"tx\">\(text)</span></div>"
    }

    private static func coloured(_ line: Substring, _ style: inout ANSIStyle) -> String {
        var result = ""
        var rest = line
        func put(_ piece: Substring) {
            guard !piece.isEmpty else { return }
            let classes = style.classes
            result += classes.isEmpty ? escaped(piece) : "<span class=\"\(classes)\">\(escaped(piece))</span>"
        }
        while let escape = rest.firstIndex(of: "\u{1B}") {
            put(rest[..<escape])
            rest = rest[rest.index(after: escape)...]
            guard rest.first == "[" else { continue }
            let body = rest.dropFirst()
            // ECMA-48 5.4: parameters 0x30–0x3F, then a final byte 0x40–0x7E.
            guard let end = body.firstIndex(where: { ("\u{40}"..."\u{7E}").contains($0) }) else {
                rest = ""
                break
            }
            if body[end] == "m" { style.apply(body[..<end]) }
            rest = body[body.index(after: end)...]
        }
        put(rest)
        return result
    }
}

/// The look that ANSI's "select graphic rendition" codes have set (ECMA-48, 8.3.117).
struct ANSIStyle: Equatable {
    private var colour: String?
    private var isBold = false
    private var isDim = false
    private var isItalic = false
    private var isUnderlined = false

    private static let names = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"]

    var classes: String {
        [
            colour.map { "a-\($0)" }, isBold ? "a-bold" : nil, isDim ? "a-dim" : nil, isItalic ? "a-italic" : nil,
            isUnderlined ? "a-under" : nil,
        ].compactMap { $0 }.joined(separator: " ")
    }

    mutating func apply(_ parameters: Substring) {
        var codes = parameters.split(separator: ";", omittingEmptySubsequences: false).map { Int($0) ?? 0 }[...]
        while let code = codes.popFirst() {
            switch code {
            case 0: self = ANSIStyle()
            case 1: isBold = true
            case 2: isDim = true
            case 3: isItalic = true
            case 4: isUnderlined = true
            case 22: (isBold, isDim) = (false, false)
            case 23: isItalic = false
            case 24: isUnderlined = false
            case 30...37: colour = Self.names[code - 30]
            case 90...97: colour = Self.names[code - 90]
            case 39: colour = nil
            // Colours by number: the sixteen named ones are kept, the rest is left plain.
            case 38, 48:
                let kind = codes.popFirst()
                if kind == 5, let index = codes.popFirst(), code == 38 {
                    colour = index < 16 ? Self.names[index % 8] : nil
                } else if kind == 2 {
                    codes = codes.dropFirst(3)
                }
            default: break
            }
        }
    }
}
