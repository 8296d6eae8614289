extension JSONValue {
    /// The value as YAML block style, members in their order, ending in a line feed.
    public var yaml: String {
        var out = ""
        Self.write(self, to: &out, depth: 0, inline: false)
        return out.hasSuffix("\n") ? out : out + "\n"
    }

    private static func write(_ value: JSONValue, to out: inout String, depth: Int, inline: Bool) {
        let pad = String(repeating: "  ", count: depth)
        switch value {
        case .object(let members) where !members.isEmpty:
            for (index, (key, value)) in members.enumerated() {
                out += index == 0 && inline ? "" : pad
                out += "\(scalar(key)):"
                writeChild(value, to: &out, depth: depth, isItem: false)
            }
        case .array(let items) where !items.isEmpty:
            for (index, item) in items.enumerated() {
                out += index == 0 && inline ? "" : pad
                out += "-"
                writeChild(item, to: &out, depth: depth, isItem: true)
            }
        case .string(let text) where text.contains("\n"):
            out += block(text, depth: depth)
        default: out += flat(value) + "\n"
        }
    }

    private static func writeChild(_ value: JSONValue, to out: inout String, depth: Int, isItem: Bool) {
        switch value {
        case .object(let members) where !members.isEmpty:
            out += isItem ? " " : "\n"
            write(value, to: &out, depth: depth + 1, inline: isItem)
        case .array(let items) where !items.isEmpty:
            out += isItem ? " " : "\n"
            write(value, to: &out, depth: depth + 1, inline: isItem)
        default:
            out += " "
            write(value, to: &out, depth: depth + 1, inline: true)
        }
    }

    private static func block(_ text: String, depth: Int) -> String {
        guard !text.hasPrefix(" "), !text.contains("\t"),
            !text.unicodeScalars.contains(where: { $0.value < 0x20 && $0 != "\n" })
        else { return JSONValue.string(text).text + "\n" }
        let pad = String(repeating: "  ", count: depth)
        let mark = text.hasSuffix("\n\n") ? "|+" : text.hasSuffix("\n") ? "|" : "|-"
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        if text.hasSuffix("\n") { lines.removeLast() }
        return mark + "\n" + lines.map { $0.isEmpty ? "\n" : pad + $0 + "\n" }.joined()
    }

    private static func flat(_ value: JSONValue) -> String {
        switch value {
        case .string(let text): scalar(text)
        case .object: "{}"
        case .array: "[]"
        default: value.text
        }
    }

    /// Text without quotes where nobody could take it for anything else.
    private static func scalar(_ text: String) -> String {
        let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "~", ""]
        let special = ":{}[],&*#?|-<>=!%@`\"'\\\n\t"
        let isPlain =
            !words.contains(text.lowercased()) && text.first?.isLetter == true && text.last?.isWhitespace == false
            && !text.contains { special.contains($0) && $0 != "-" && $0 != "=" && $0 != "<" && $0 != ">" && $0 != "'" }
        return isPlain ? text : JSONValue.string(text).text
    }
}
