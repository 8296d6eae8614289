/// What a pattern says, before it is made into a program.
indirect enum PatternNode {
    case empty
    case set(ScalarSet)
    case sequence([PatternNode])
    case alternatives([PatternNode])
    /// `most` nil: no upper end.
    case repeated(PatternNode, least: Int, most: Int?, isGreedy: Bool)
    case group(PatternNode, index: Int)
    case assertion(PatternAssertion)
}

enum PatternAssertion: Hashable {
    case textStart, textEnd, lineStart, lineEnd, wordBoundary, notWordBoundary
}

/// Reads RE2's syntax. No back references and no look-around: those have no linear-time matcher.
struct PatternParser {
    /// RE2's own bound on `{n,m}`.
    static let repetitionLimit = 1_000
    static let depthLimit = 200

    private struct Flags {
        var ignoresCase = false
        var dotMatchesNewline = true
        var isMultiline = false
        var isUngreedy = false
    }

    private let input: [Unicode.Scalar]
    private var position = 0
    private var flags = Flags()
    private var depth = 0
    private(set) var groupNames: [String?] = [nil]

    init(_ pattern: String) { input = Array(pattern.unicodeScalars) }

    /// The whole pattern's tree.
    mutating func parse() throws(PatternError) -> PatternNode {
        let node = try alternatives()
        if position < input.count { throw PatternError("unexpected ): \(text(from: 0))") }
        return node
    }

    private var current: Unicode.Scalar? { position < input.count ? input[position] : nil }

    private func text(from start: Int) -> String {
        var text = ""
        text.unicodeScalars.append(contentsOf: input[start..<min(max(position, start), input.count)])
        return text
    }

    private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
        guard current == scalar else { return false }
        position += 1
        return true
    }

    private mutating func alternatives() throws(PatternError) -> PatternNode {
        depth += 1
        defer { depth -= 1 }
        if depth > Self.depthLimit { throw PatternError("expression nests too deeply") }
        var choices = [try sequence()]
        while take("|") { choices.append(try sequence()) }
        return choices.count == 1 ? choices[0] : .alternatives(choices)
    }

    private mutating func sequence() throws(PatternError) -> PatternNode {
        var parts: [PatternNode] = []
        while let scalar = current, scalar != "|", scalar != ")" {
            let start = position
            guard let atom = try atom() else { continue }
            parts.append(try repetition(of: atom, from: start))
        }
        switch parts.count {
        case 0: return .empty
        case 1: return parts[0]
        default: return .sequence(parts)
        }
    }

    private mutating func repetition(of atom: PatternNode, from start: Int) throws(PatternError) -> PatternNode {
        var node = atom
        var isRepeated = false
        while let scalar = current {
            let operatorStart = position
            let bounds: (least: Int, most: Int?)
            switch scalar {
            case "*": bounds = (0, nil)
            case "+": bounds = (1, nil)
            case "?": bounds = (0, 1)
            case "{":
                guard let counted = try counts() else { return node }
                bounds = counted
                position -= 1
            default: return node
            }
            position += 1
            if isRepeated { throw PatternError("invalid nested repetition operator: `\(text(from: operatorStart))`") }
            let isLazy = take("?")
            node = .repeated(node, least: bounds.least, most: bounds.most, isGreedy: isLazy == flags.isUngreedy)
            isRepeated = true
        }
        return node
    }

    /// `{n}`, `{n,}`, `{n,m}`; nil (and nothing taken) when the brace is a plain character.
    private mutating func counts() throws(PatternError) -> (least: Int, most: Int?)? {
        let start = position
        position += 1
        guard let least = number() else {
            position = start
            return nil
        }
        var most: Int? = least
        if take(",") { most = number() }
        guard take("}") else {
            position = start
            return nil
        }
        if least > Self.repetitionLimit || (most ?? 0) > Self.repetitionLimit || (most.map { $0 < least } ?? false) {
            throw PatternError("invalid repeat count: `\(text(from: start))`")
        }
        return (least, most)
    }

    private mutating func number() -> Int? {
        var value: Int?
        while let digit = current, ("0"..."9").contains(digit) {
            value = min((value ?? 0) * 10 + Int(digit.value - 0x30), 1_000_000)
            position += 1
        }
        return value
    }

    /// One item; nil for a flag group that only changes what follows.
    private mutating func atom() throws(PatternError) -> PatternNode? {
        guard let scalar = current else { return .empty }
        position += 1
        switch scalar {
        case "(": return try group()
        case "[": return .set(try bracket())
        case ".": return .set(flags.dotMatchesNewline ? .all : ScalarSet.newline.inverted)
        case "^": return .assertion(flags.isMultiline ? .lineStart : .textStart)
        case "$": return .assertion(flags.isMultiline ? .lineEnd : .textEnd)
        case "*", "+", "?": throw PatternError("missing argument to repetition operator: `\(scalar)`")
        case "\\": return try escape()
        default: return literal(scalar)
        }
    }

    private func literal(_ scalar: Unicode.Scalar) -> PatternNode { .set(folded(ScalarSet(scalar))) }

    private func folded(_ set: ScalarSet) -> ScalarSet { flags.ignoresCase ? set.caseFolded : set }

    private mutating func group() throws(PatternError) -> PatternNode? {
        let outer = flags
        var index: Int?
        if take("?") {
            if current == "P" || current == "<" {
                index = try namedGroup()
            } else {
                let isGroup = try flagGroup()
                if !isGroup { return nil }
            }
        } else {
            index = groupNames.count
            groupNames.append(nil)
        }
        let inner = try alternatives()
        guard take(")") else { throw PatternError("missing closing ): `\(text(from: 0))`") }
        flags = outer
        return index.map { .group(inner, index: $0) } ?? inner
    }

    private mutating func namedGroup() throws(PatternError) -> Int {
        let start = position
        _ = take("P")
        guard take("<") else { throw PatternError("invalid or unsupported Perl syntax: `(?\(text(from: start))`") }
        let nameStart = position
        while let scalar = current, scalar != ">" {
            guard ScalarSet.word.contains(scalar.value) else { throw PatternError("invalid named capture") }
            position += 1
        }
        let name = text(from: nameStart)
        guard take(">"), !name.isEmpty else { throw PatternError("invalid named capture") }
        if groupNames.contains(name) { throw PatternError("duplicate capture group name: `\(name)`") }
        groupNames.append(name)
        return groupNames.count - 1
    }

    /// Reads `i`, `m`, `s`, `U` and `-`; true when `:` opened a group, false when `)` closed it.
    private mutating func flagGroup() throws(PatternError) -> Bool {
        let start = position
        var value = true
        while let scalar = current {
            position += 1
            switch scalar {
            case "i": flags.ignoresCase = value
            case "m": flags.isMultiline = value
            case "s": flags.dotMatchesNewline = value
            case "U": flags.isUngreedy = value
            case "-" where value: value = false
            case ":": return true
            case ")": return false
            default: throw PatternError("invalid or unsupported Perl syntax: `(?\(text(from: start))`")
            }
        }
        throw PatternError("missing closing ): `\(text(from: 0))`")
    }

    private mutating func bracket() throws(PatternError) -> ScalarSet {
        let start = position - 1
        var set = ScalarSet()
        let isInverted = take("^")
        var isFirst = true
        while let scalar = current, scalar != "]" || isFirst {
            isFirst = false
            if scalar == "[", let named = try posixClass() {
                set.formUnion(named)
                continue
            }
            if scalar == "\\", let known = try classEscape() {
                set.formUnion(known)
                continue
            }
            let low = try bracketScalar()
            var high = low
            if current == "-", position + 1 < input.count, input[position + 1] != "]" {
                position += 1
                high = try bracketScalar()
                if high < low { throw PatternError("invalid character class range: `\(low)-\(high)`") }
            }
            set.formUnion(folded(ScalarSet([low.value...high.value])))
        }
        guard take("]") else { throw PatternError("missing closing ]: `\(text(from: start))`") }
        return isInverted ? set.inverted : set
    }

    private mutating func bracketScalar() throws(PatternError) -> Unicode.Scalar {
        guard let scalar = current else { throw PatternError("missing closing ]") }
        position += 1
        return scalar == "\\" ? try escapedScalar() : scalar
    }

    private mutating func posixClass() throws(PatternError) -> ScalarSet? {
        guard position + 1 < input.count, input[position + 1] == ":" else { return nil }
        var end = position + 2
        while end + 1 < input.count, !(input[end] == ":" && input[end + 1] == "]") { end += 1 }
        guard end + 1 < input.count else { return nil }
        var name = ""
        name.unicodeScalars.append(contentsOf: input[(position + 2)..<end])
        let isInverted = name.hasPrefix("^")
        guard let set = ScalarSet.posix(isInverted ? String(name.dropFirst()) : name) else {
            throw PatternError("invalid character class range: `[:\(name):]`")
        }
        position = end + 2
        return folded(isInverted ? set.inverted : set)
    }

    /// `\d`, `\pL` and the like at the position; nil when something else stands there.
    private mutating func classEscape() throws(PatternError) -> ScalarSet? {
        guard position + 1 < input.count else { return nil }
        let letter = input[position + 1]
        let set: ScalarSet
        switch letter {
        case "d": set = .digits
        case "D": set = ScalarSet.digits.inverted
        case "w": set = .word
        case "W": set = ScalarSet.word.inverted
        case "s": set = .space
        case "S": set = ScalarSet.space.inverted
        case "p", "P":
            position += 2
            return try unicodeClass(isInverted: letter == "P")
        default: return nil
        }
        position += 2
        return set
    }

    private mutating func unicodeClass(isInverted: Bool) throws(PatternError) -> ScalarSet {
        var name = ""
        if take("{") {
            while let scalar = current, scalar != "}" {
                name.unicodeScalars.append(scalar)
                position += 1
            }
            guard take("}") else { throw PatternError("invalid character class range: `\\p{\(name)`") }
        } else if let scalar = current {
            name.unicodeScalars.append(scalar)
            position += 1
        }
        var isInverted = isInverted
        if name.hasPrefix("^") {
            isInverted.toggle()
            name.removeFirst()
        }
        guard let set = ScalarSet.unicode(name) else {
            throw PatternError("invalid character class range: `\\p{\(name)}`")
        }
        return isInverted ? set.inverted : set
    }

    private mutating func escape() throws(PatternError) -> PatternNode {
        position -= 1
        if let set = try classEscape() { return .set(folded(set)) }
        position += 1
        guard let scalar = current else { throw PatternError("trailing backslash at end of expression") }
        switch scalar {
        case "A": position += 1; return .assertion(.textStart)
        case "z": position += 1; return .assertion(.textEnd)
        case "b": position += 1; return .assertion(.wordBoundary)
        case "B": position += 1; return .assertion(.notWordBoundary)
        case "Q": position += 1; return quoted()
        default: return literal(try escapedScalar())
        }
    }

    /// `\Q...\E`: plain text.
    private mutating func quoted() -> PatternNode {
        var parts: [PatternNode] = []
        while let scalar = current {
            if scalar == "\\", position + 1 < input.count, input[position + 1] == "E" {
                position += 2
                break
            }
            parts.append(literal(scalar))
            position += 1
        }
        return .sequence(parts)
    }

    private mutating func escapedScalar() throws(PatternError) -> Unicode.Scalar {
        guard let scalar = current else { throw PatternError("trailing backslash at end of expression") }
        position += 1
        switch scalar {
        case "a": return "\u{07}"
        case "f": return "\u{0c}"
        case "n": return "\n"
        case "r": return "\r"
        case "t": return "\t"
        case "v": return "\u{0b}"
        case "x": return try hexadecimal()
        case "0"..."7": return try octal(scalar)
        default:
            if scalar.value < 0x80, !ScalarSet.word.contains(scalar.value) || scalar == "_" { return scalar }
            throw PatternError("invalid escape sequence: `\\\(scalar)`")
        }
    }

    private mutating func octal(_ first: Unicode.Scalar) throws(PatternError) -> Unicode.Scalar {
        // A single digit but 0 would be a back reference.
        if first != "0", !(current.map { ("0"..."7").contains($0) } ?? false) {
            throw PatternError("invalid escape sequence: `\\\(first)`")
        }
        var value = first.value - 0x30
        for _ in 0..<2 {
            guard let digit = current, ("0"..."7").contains(digit) else { break }
            value = value * 8 + digit.value - 0x30
            position += 1
        }
        return Unicode.Scalar(value) ?? "\0"
    }

    private mutating func hexadecimal() throws(PatternError) -> Unicode.Scalar {
        let hasBraces = take("{")
        var (value, digits): (UInt32, Int) = (0, 0)
        while digits < (hasBraces ? 6 : 2), let scalar = current, let digit = Self.letterDigit(scalar) {
            value = value * 16 + digit
            digits += 1
            position += 1
        }
        if hasBraces ? (!take("}") || digits == 0) : digits < 2 { throw PatternError("invalid escape sequence: `\\x`") }
        guard let scalar = Unicode.Scalar(value) else { throw PatternError("invalid escape sequence: `\\x`") }
        return scalar
    }

    private static func letterDigit(_ scalar: Unicode.Scalar) -> UInt32? {
        switch scalar {
        case "0"..."9": scalar.value - 0x30
        case "a"..."f": scalar.value - 0x61 + 10
        case "A"..."F": scalar.value - 0x41 + 10
        default: nil
        }
    }
}
