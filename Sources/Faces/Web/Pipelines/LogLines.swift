/// Turns a job's output into lines of HTML: numbered, escaped, with the colours that programs write as ANSI codes.
struct LogLines: Sendable {
    /// The lines, ready for the page.
    let html: Markup
    /// The number of the next line.
    let nextLine: Int
    /// Bytes at the end that are not a whole line yet; they are read again with the next part.
    let unread: Int
    /// The next line lies in a group.
    let isInGroup: Bool

    /// A line is shown up to this many characters; the raw log has the rest.
    static let lineLimit = 4000
    /// A line that has not ended after so many bytes is shown as it is.
    static let openLineLimit = 32_768

    /// - Parameters:
    ///   - text: Output, from the start of a line on.
    ///   - first: Number of its first line.
    ///   - ended: Whether nothing will follow, so that a last line without line feed is whole.
    ///   - group: Whether its first line lies in a group.
    init(_ text: String, first: Int, ended: Bool, group: Bool = false) {
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
        var isInGroup = group
        for (index, line) in lines.enumerated() {
            html += Self.row(line, number: first + index, style: &style, &isInGroup)
        }
        (self.html, self.nextLine, self.unread) = (Markup(html), first + lines.count, unread)
        self.isInGroup = isInGroup
    }

    private static func row(_ line: Substring, number: Int, style: inout ANSIStyle, _ isInGroup: inout Bool) -> String {
        switch LogCommand(line) {
        case .group(let name):
            isInGroup = true
            // log.js folds the lines that follow; without it they are all there.
            let button =
                "<button type=\"button\" data-fold aria-expanded=\"true\">\(escaped(name.prefix(lineLimit)))</button>"
            return row(button, number, "group")
        case .end:
            isInGroup = false
            return row("", number, "end")
        case nil: break
        }
        // A carriage return starts the line over, as progress bars do: what stands last is what a terminal shows.
        var shown = line
        if shown.last == "\r" { shown = shown.dropLast() }
        if let back = shown.lastIndex(of: "\r") { shown = shown[shown.index(after: back)...] }
        let clipped = shown.prefix(lineLimit)
        let text = coloured(clipped, &style) + (clipped.endIndex < shown.endIndex ? "…" : "")
        return row(text, number, isInGroup ? "in" : "")
    }

    private static func row(_ text: String, _ number: Int, _ look: String) -> String {
        "<div class=\"log-line\(look.isEmpty ? "" : " \(look)")\"><span class=\"no\" aria-hidden=\"true\">\(number)</span>"
            + "<span class=\"tx\">\(text)</span></div>"
    }

    static func coloured(_ line: Substring, _ style: inout ANSIStyle) -> String {
        var result = ""
        var rest = line
        func put(_ piece: Substring) {
            guard !piece.isEmpty else { return }
            let look = style.attributes
            result += look.isEmpty ? escaped(piece) : "<span \(look)>\(escaped(piece))</span>"
        }
        while let escape = rest.firstIndex(of: "\u{1B}") {
            put(rest[..<escape])
            rest = rest[rest.index(after: escape)...]
            if let kind = rest.first, "]PX^_".contains(kind) {
                // A string up to BEL or ST: titles, links, images.
                let end = rest.firstIndex { $0 == "\u{07}" || $0 == "\u{1B}" }
                rest = end.map { rest[rest.index(after: $0)...] } ?? ""
                if rest.first == "\\" { rest = rest.dropFirst() }
                continue
            }
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

/// A line by which a step says how its output is to be shown.
enum LogCommand {
    case group(Substring)
    case end

    init?(_ line: Substring) {
        if line.hasPrefix("::group::") {
            self = .group(line.dropFirst(9))
        } else if line.hasPrefix("::endgroup::") {
            self = .end
        } else {
            return nil
        }
    }
}

/// The look that ANSI's "select graphic rendition" codes have set (ECMA-48, 8.3.117).
struct ANSIStyle: Equatable {
    /// One of the sixteen that have names, in the colours of the page; or any other, as it is.
    enum Colour: Equatable {
        case named(String)
        case exact(UInt32)
    }
    private var colour: Colour?
    private var background: Colour?
    private var isBold = false
    private var isDim = false
    private var isItalic = false
    private var isUnderlined = false

    private static let names = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"]

    /// What a span of this look carries: classes, and colours that log.js sets, as the page allows no inline style.
    var attributes: String {
        var classes: [String] = []
        var data = ""
        for (kind, attribute, colour) in [("a", "fg", colour), ("b", "bg", background)] {
            switch colour {
            case .named(let name): classes.append("\(kind)-\(name)")
            case .exact(let value):
                let digits = String(value, radix: 16)
                data += " data-\(attribute)=\"#\(String(repeating: "0", count: 6 - digits.count))\(digits)\""
            case nil: break
            }
        }
        classes += [
            isBold ? "a-bold" : nil, isDim ? "a-dim" : nil, isItalic ? "a-italic" : nil, isUnderlined ? "a-under" : nil,
        ].compactMap { $0 }
        let list = classes.isEmpty ? "" : "class=\"\(classes.joined(separator: " "))\""
        return list.isEmpty ? String(data.dropFirst()) : list + data
    }

    mutating func apply(_ parameters: Substring) {
        // ITU T.416 writes 38:2::r:g:b where most write 38;2;r;g;b.
        var codes = parameters.split(separator: ";", omittingEmptySubsequences: false).flatMap { part -> [Int] in
            let numbers = part.split(separator: ":", omittingEmptySubsequences: false)
            if numbers.count == 6, numbers[1] == "2" { return ([0, 1, 3, 4, 5]).map { Int(numbers[$0]) ?? 0 } }
            return numbers.count > 1 && numbers[0] == "4" ? [numbers[1] == "0" ? 24 : 4] : numbers.map { Int($0) ?? 0 }
        }[...]
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
            case 30...37: colour = .named(Self.names[code - 30])
            case 90...97: colour = .named(Self.names[code - 90])
            case 39: colour = nil
            case 40...47: background = .named(Self.names[code - 40])
            case 100...107: background = .named(Self.names[code - 100])
            case 49: background = nil
            case 38: colour = Self.numbered(&codes) ?? colour
            case 48: background = Self.numbered(&codes) ?? background
            default: break
            }
        }
    }

    /// 5;n: one of 256, as xterm has them; 2;r;g;b: any.
    private static func numbered(_ codes: inout ArraySlice<Int>) -> Colour? {
        switch codes.popFirst() {
        case 5:
            guard let index = codes.popFirst(), (0...255).contains(index) else { return nil }
            if index < 16 { return .named(names[index % 8]) }
            if index >= 232 {
                let level = UInt32(8 + (index - 232) * 10)
                return .exact(level << 16 | level << 8 | level)
            }
            let levels: [UInt32] = [0, 95, 135, 175, 215, 255]
            let cube = index - 16
            return .exact(levels[cube / 36] << 16 | levels[cube / 6 % 6] << 8 | levels[cube % 6])
        case 2:
            let parts = codes.prefix(3)
            codes = codes.dropFirst(3)
            guard parts.count == 3 else { return nil }
            return .exact(parts.reduce(0) { $0 << 8 | UInt32(min(255, max(0, $1))) })
        default: return nil
        }
    }
}
