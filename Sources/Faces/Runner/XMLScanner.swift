import API

/// The tags of an XML text, one after another; comments and instructions are passed over, text is kept only when asked
/// for.
///
/// Knows no entities but the five of XML and numbers, loads nothing, expands nothing; a document type that declares
/// anything of its own is refused.
struct XMLScanner {
    struct Tag {
        var name: String
        var attributes: [String: String] = [:]
        var isEnd = false
        var isEmpty = false
    }

    private let bytes: [UInt8]
    private var index = 0
    /// Elements that have begun and not ended.
    private var depth = 0
    /// Text since it was last emptied, while `isCapturing`; at most `TestCase.messageBytes`.
    var text: [UInt8] = []
    var isCapturing = false

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// - Throws: `xml.broken`, also at the end, when an element is left open: whoever wrote it did not come to its end.
    mutating func next() throws(Problem) -> Tag? {
        while index < bytes.count {
            guard bytes[index] == UInt8(ascii: "<") else {
                if isCapturing, text.count < TestCase.messageBytes { text.append(bytes[index]) }
                index += 1
                continue
            }
            if starts("<!--") {
                try skip(past: "-->")
            } else if starts("<![CDATA[") {
                let start = index + 9
                try skip(past: "]]>")
                if isCapturing { text += bytes[start..<(index - 3)].prefix(TestCase.messageBytes - text.count) }
            } else if starts("<?") {
                try skip(past: "?>")
            } else if starts("<!DOCTYPE") {
                // Its name alone does no harm, and coverage tools write it.
                let end = bytes[index...].firstIndex { $0 == UInt8(ascii: ">") || $0 == UInt8(ascii: "[") }
                guard let end, bytes[end] == UInt8(ascii: ">") else { throw doctype }
                index = end + 1
            } else if starts("<!") {
                throw doctype
            } else {
                let tag = try tag()
                if !tag.isEmpty { depth += tag.isEnd ? -1 : 1 }
                return tag
            }
        }
        guard depth <= 0 else {
            throw Problem(
                "xml.broken", status: 422, "it breaks off: \(depth) element\(depth == 1 ? " is" : "s are") left open")
        }
        return nil
    }

    private func starts(_ text: StaticString) -> Bool {
        text.withUTF8Buffer { bytes[index...].starts(with: $0) }
    }

    private mutating func skip(past end: StaticString) throws(Problem) {
        while index < bytes.count {
            if starts(end) {
                index += end.utf8CodeUnitCount
                return
            }
            index += 1
        }
        throw broken
    }

    private var doctype: Problem {
        Problem("xml.doctype", status: 422, "it declares a document type of its own, which is not read")
    }
    private var broken: Problem { Problem("xml.broken", status: 422, "it ends in the middle of a tag") }

    private mutating func tag() throws(Problem) -> Tag {
        index += 1
        var tag = Tag(name: "")
        if index < bytes.count, bytes[index] == UInt8(ascii: "/") {
            tag.isEnd = true
            index += 1
        }
        tag.name = word()
        guard !tag.name.isEmpty else { throw Problem("xml.broken", status: 422, "it is not XML") }
        while true {
            space()
            guard index < bytes.count else { throw broken }
            switch bytes[index] {
            case UInt8(ascii: ">"):
                index += 1
                return tag
            case UInt8(ascii: "/"):
                tag.isEmpty = true
                index += 1
            default:
                let name = word()
                guard !name.isEmpty else { throw Problem("xml.broken", status: 422, "it is not XML") }
                tag.attributes[name] = try value()
            }
        }
    }

    private mutating func space() {
        while index < bytes.count, bytes[index] <= 0x20 { index += 1 }
    }

    private mutating func word() -> String {
        let start = index
        let ends: [UInt8] = [UInt8(ascii: ">"), UInt8(ascii: "/"), UInt8(ascii: "="), UInt8(ascii: "<")]
        while index < bytes.count, bytes[index] > 0x20, !ends.contains(bytes[index]) { index += 1 }
        return String(decoding: bytes[start..<index], as: UTF8.self)
    }

    private mutating func value() throws(Problem) -> String {
        space()
        guard index < bytes.count, bytes[index] == UInt8(ascii: "=") else { throw broken }
        index += 1
        space()
        guard index < bytes.count, bytes[index] == UInt8(ascii: "\"") || bytes[index] == UInt8(ascii: "'") else {
            throw broken
        }
        let quote = bytes[index]
        let start = index + 1
        guard let end = bytes[start...].firstIndex(of: quote) else { throw broken }
        index = end + 1
        return Self.plain(String(decoding: bytes[start..<end], as: UTF8.self))
    }

    /// The text with its entities replaced.
    static func plain(_ text: String) -> String {
        guard text.contains("&") else { return text }
        let known = ["lt": "<", "gt": ">", "amp": "&", "quot": "\"", "apos": "'"]
        var out = ""
        var rest = text[...]
        while let mark = rest.firstIndex(of: "&") {
            out += rest[..<mark]
            rest = rest[rest.index(after: mark)...]
            guard let end = rest.prefix(12).firstIndex(of: ";") else {
                out += "&"
                continue
            }
            let name = rest[..<end]
            let number =
                name.hasPrefix("#x")
                ? UInt32(name.dropFirst(2), radix: 16) : name.hasPrefix("#") ? UInt32(name.dropFirst()) : nil
            out +=
                known[String(name)] ?? number.flatMap(Unicode.Scalar.init).map { String(Character($0)) } ?? "&\(name);"
            rest = rest[rest.index(after: end)...]
        }
        return out + rest
    }
}
