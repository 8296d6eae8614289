/// Rewrites `${{ }}` of another system: paths of contexts by their names, words that are compared with them.
struct ExpressionRewriter {
    /// Our expression for a path of theirs (in small letters, and as written); nil when there is none, which `lost` is
    /// then told.
    var path: (_ parts: [String], _ written: String) -> String?
    /// Text that stands beside a path: it is compared with it, or looked for in it.
    var literal: (_ text: String, _ path: [String]) -> String
    var lost: (String) -> Void
    /// Told of a path whose value is compared with nothing: it goes on as it is.
    var loose: (_ path: [String]) -> Void

    /// Text with expressions in it.
    func template(_ text: String) -> String {
        var out = ""
        var rest = text[...]
        while let open = Self.find("${{", in: rest) {
            out += rest[..<open]
            let inner = rest[rest.index(open, offsetBy: 3)...]
            guard let close = Self.end(of: inner) else { return out + rest[open...] }
            out += "${{ \(expression(String(inner[..<close])).trimmed) }}"
            rest = inner[inner.index(close, offsetBy: 2)...]
        }
        return out + rest
    }

    /// An `if`, with or without `${{ }}` around it.
    func condition(_ text: String) -> String {
        let bare = text.trimmed
        guard bare.hasPrefix("${{"), let close = Self.end(of: bare.dropFirst(3)),
            bare[close...].dropFirst(2).allSatisfy(\.isWhitespace)
        else { return bare.contains("${{") ? template(bare) : expression(bare).trimmed }
        return expression(String(bare.dropFirst(3)[..<close])).trimmed
    }

    /// One expression, without the marks around it.
    func expression(_ text: String) -> String {
        let pieces = Self.pieces(of: text)
        let held = Self.held(in: pieces)
        return pieces.indices.map { index in
            switch pieces[index] {
            case .other(let text): return text
            case .string(let text):
                let path = Self.neighbour(of: index, in: pieces).flatMap { pieces[$0].names }
                return "'\((path.map { literal(text, $0) } ?? text).replacingQuotes)'"
            case .path(let parts, let written):
                guard let other = path(parts, written) else {
                    lost(written)
                    return "null"
                }
                if !held.contains(index) { loose(parts) }
                return other
            }
        }.joined()
    }

    /// Where the path before or behind is, with nothing but signs of comparison, brackets and a text without words, as
    /// `join` has it, between.
    private static func neighbour(of index: Int, in pieces: [Piece], over signs: String = " =!<>,()") -> Int? {
        for way in [
            stride(from: index - 1, through: 0, by: -1), stride(from: index + 1, through: pieces.count - 1, by: 1),
        ] {
            search: for other in way {
                switch pieces[other] {
                case .path: return other
                case .other(let text): if !text.allSatisfy({ signs.contains($0) }) { break search }
                case .string(let text): if text.isEmpty || hasWord(text) { break search }
                }
            }
        }
        return nil
    }

    /// Where the paths are that are compared with a text, or with another path.
    private static func held(in pieces: [Piece]) -> Set<Int> {
        var held: Set<Int> = []
        for (index, piece) in pieces.enumerated() {
            switch piece {
            // What stands beside a pattern of `format` is put into it.
            case .string(let text):
                if text.isEmpty || hasWord(text), !text.contains("{"), let path = neighbour(of: index, in: pieces) {
                    held.insert(path)
                }
            case .path: if neighbour(of: index, in: pieces, over: " =!<>") != nil { held.insert(index) }
            case .other: break
            }
        }
        return held
    }

    private static func hasWord(_ text: String) -> Bool { text.contains { $0.isLetter || $0.isNumber } }

    enum Piece: Equatable {
        case other(String)
        case string(String)
        /// Small letters, and as written.
        case path([String], String)

        /// Of a path.
        var names: [String]? { if case .path(let parts, _) = self { parts } else { nil } }
    }

    static func pieces(of text: String) -> [Piece] {
        var pieces: [Piece] = []
        var rest = text[...]
        while let first = rest.first {
            if first == "'" {
                var value = ""
                rest = rest.dropFirst()
                while let character = rest.popFirst() {
                    if character == "'" {
                        guard rest.first == "'" else { break }
                        rest = rest.dropFirst()
                    }
                    value.append(character)
                }
                pieces.append(.string(value))
            } else if first == "_" || first.isASCII && first.isLetter {
                let (parts, written) = path(&rest)
                let isCall = parts.count == 1 && rest.drop(while: \.isWhitespace).first == "("
                let isWord = parts.count == 1 && ["true", "false", "null", "nan", "infinity"].contains(parts[0])
                let isMember = pieces.last == .other(".")  // behind an index: a[0].b
                pieces.append(isCall || isWord || isMember ? .other(written) : .path(parts, written))
            } else {
                pieces.append(.other(String(first)))
                rest = rest.dropFirst()
            }
        }
        return pieces
    }

    /// Names with dots between them, `.*` and `['name']` counted in.
    private static func path(_ rest: inout Substring) -> ([String], String) {
        var parts: [String] = []
        var written = ""
        func word() -> String {
            String(rest.prefix { $0 == "_" || $0 == "-" || ($0.isASCII && ($0.isLetter || $0.isNumber)) })
        }
        while true {
            let name = word()
            parts.append(name.lowercased())
            written += name
            rest = rest.dropFirst(name.count)
            while true {
                if rest.hasPrefix(".*") {
                    parts.append("*")
                    written += ".*"
                    rest = rest.dropFirst(2)
                } else if rest.hasPrefix("['"), let end = rest.dropFirst(2).firstIndex(of: "'"),
                    rest[end...].hasPrefix("']")
                {
                    let key = String(rest.dropFirst(2)[..<end])
                    parts.append(key.lowercased())
                    written += "['\(key)']"
                    rest = rest[end...].dropFirst(2)
                } else {
                    break
                }
            }
            guard rest.first == ".", let next = rest.dropFirst().first, next == "_" || next.isLetter else { break }
            written += "."
            rest = rest.dropFirst()
        }
        return (parts, written)
    }

    private static func find(_ mark: String, in text: Substring) -> Substring.Index? {
        var index = text.startIndex
        while index < text.endIndex {
            if text[index...].hasPrefix(mark) { return index }
            index = text.index(after: index)
        }
        return nil
    }

    /// The `}}` that is in no string.
    private static func end(of text: Substring) -> Substring.Index? {
        var isInString = false
        var index = text.startIndex
        while index < text.endIndex {
            if text[index] == "'" { isInString.toggle() }
            if !isInString, text[index...].hasPrefix("}}") { return index }
            index = text.index(after: index)
        }
        return nil
    }
}

extension String {
    var trimmed: String {
        var text = self[...]
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        return String(text)
    }
    var replacingQuotes: String { split(separator: "'", omittingEmptySubsequences: false).joined(separator: "''") }
}
