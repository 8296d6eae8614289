import API

/// Reads a simple regular expression: . [] () (?:) | * + ? {m} {m,} {m,n} ^ $ \d \w \s \D \W \S and \ before a sign.
struct LinePatternParser {
    typealias Step = LinePattern.Step
    private let bytes: [UInt8]
    private let ignoresCase: Bool
    private var at = 0
    private var depth = 0
    /// Groups within groups.
    private static let depthLimit = 50
    private static let repeatLimit = 200

    init(_ text: String, ignoresCase: Bool) {
        bytes = Array(text.utf8)
        self.ignoresCase = ignoresCase
    }

    /// The text as it is.
    func literal() -> [Step] { bytes.map { .take(set($0)) } + [.found] }

    mutating func program() throws(Problem) -> [Step] {
        let steps = try alternatives()
        guard at == bytes.count else { throw problem("\")\" closes nothing") }
        guard steps.count < LinePattern.programLimit else { throw problem("it is too large") }
        return steps + [.found]
    }

    // Steps are written with places relative to their own beginning, and moved when they are put together.

    private mutating func alternatives() throws(Problem) -> [Step] {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.depthLimit else { throw problem("groups lie too deep") }
        var whole = try sequence()
        while peek == UInt8(ascii: "|") {
            at += 1
            let other = try sequence()
            // fork(1, behind) whole fork(end, end) other
            whole =
                [.fork(1, whole.count + 2)] + Self.moved(whole, by: 1)
                + [.fork(whole.count + other.count + 2, whole.count + other.count + 2)]
                + Self.moved(other, by: whole.count + 2)
        }
        return whole
    }

    private mutating func sequence() throws(Problem) -> [Step] {
        var steps: [Step] = []
        while let byte = peek, byte != UInt8(ascii: "|"), byte != UInt8(ascii: ")") {
            let part = try repeated(atom())
            steps += Self.moved(part, by: steps.count)
            guard steps.count < LinePattern.programLimit else { throw problem("it is too large") }
        }
        return steps
    }

    private mutating func atom() throws(Problem) -> [Step] {
        let byte = bytes[at]
        at += 1
        switch byte {
        case UInt8(ascii: "."): return [.take(ByteSet([0x0A]).inverted)]
        case UInt8(ascii: "^"): return [.first]
        case UInt8(ascii: "$"): return [.last]
        case UInt8(ascii: "["): return [.take(try bracket())]
        case UInt8(ascii: "\\"): return [.take(try escape())]
        case UInt8(ascii: "("):
            if bytes[at...].starts(with: "?:".utf8) { at += 2 }
            let inner = try alternatives()
            guard peek == UInt8(ascii: ")") else { throw problem("\"(\" is not closed") }
            at += 1
            return inner
        case UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "?"):
            throw problem("\"\(Character(Unicode.Scalar(byte)))\" repeats nothing")
        default: return [.take(set(byte))]
        }
    }

    private mutating func repeated(_ first: [Step]) throws(Problem) -> [Step] {
        var steps = first
        while let byte = peek {
            switch byte {
            case UInt8(ascii: "*"): steps = Self.any(steps)
            case UInt8(ascii: "+"): steps = steps + Self.moved(Self.any(steps), by: steps.count)
            case UInt8(ascii: "?"): steps = Self.maybe(steps)
            case UInt8(ascii: "{"):
                let (low, high) = try counts()
                var all: [Step] = []
                for _ in 0..<low { all += Self.moved(steps, by: all.count) }
                if let high {
                    for _ in low..<high { all += Self.moved(Self.maybe(steps), by: all.count) }
                } else {
                    all += Self.moved(Self.any(steps), by: all.count)
                }
                steps = all
                guard steps.count < LinePattern.programLimit else { throw problem("it is too large") }
                continue
            default: return steps
            }
            at += 1
        }
        return steps
    }

    private static func any(_ steps: [Step]) -> [Step] {
        [.fork(1, steps.count + 2)] + moved(steps, by: 1) + [.fork(0, steps.count + 2)]
    }

    private static func maybe(_ steps: [Step]) -> [Step] { [.fork(1, steps.count + 1)] + moved(steps, by: 1) }

    private static func moved(_ steps: [Step], by distance: Int) -> [Step] {
        steps.map { if case .fork(let one, let other) = $0 { .fork(one + distance, other + distance) } else { $0 } }
    }

    /// "{2,3}"; nil for no upper end.
    private mutating func counts() throws(Problem) -> (Int, Int?) {
        guard let end = bytes[at...].firstIndex(of: UInt8(ascii: "}")) else { throw problem("\"{\" is not closed") }
        let parts = String(decoding: bytes[(at + 1)..<end], as: UTF8.self).split(
            separator: ",", omittingEmptySubsequences: false)
        guard parts.count <= 2, let low = Int(parts[0]), (0...Self.repeatLimit).contains(low) else {
            throw problem("what is in braces is {m}, {m,} or {m,n} of at most \(Self.repeatLimit)")
        }
        at = end + 1
        if parts.count == 1 { return (low, low) }
        if parts[1].isEmpty { return (low, nil) }
        guard let high = Int(parts[1]), high >= low, high <= Self.repeatLimit else {
            throw problem("what is in braces is {m}, {m,} or {m,n} of at most \(Self.repeatLimit)")
        }
        return (low, high)
    }

    private mutating func bracket() throws(Problem) -> ByteSet {
        var set = ByteSet()
        let isInverted = peek == UInt8(ascii: "^")
        if isInverted { at += 1 }
        let start = at
        while let byte = peek, byte != UInt8(ascii: "]") || at == start {
            at += 1
            if byte == UInt8(ascii: "\\") {
                set.formUnion(try escape())
            } else if peek == UInt8(ascii: "-"), at + 1 < bytes.count, bytes[at + 1] != UInt8(ascii: "]") {
                let high = bytes[at + 1]
                guard byte <= high else { throw problem("a range in brackets goes backwards") }
                for one in byte...high { set.formUnion(self.set(one)) }
                at += 2
            } else {
                set.formUnion(self.set(byte))
            }
        }
        guard peek != nil else { throw problem("\"[\" is not closed") }
        at += 1
        return isInverted ? set.inverted : set
    }

    private mutating func escape() throws(Problem) -> ByteSet {
        guard let byte = peek else { throw problem("\"\\\" stands at the end") }
        at += 1
        let digits = ByteSet(0x30...0x39)
        let words = ByteSet(Array(0x30...0x39) + Array(0x41...0x5A) + Array(0x61...0x7A) + [0x5F])
        let spaces = ByteSet([0x20, 0x09, 0x0B, 0x0C, 0x0D])
        switch byte {
        case UInt8(ascii: "d"): return digits
        case UInt8(ascii: "D"): return digits.inverted
        case UInt8(ascii: "w"): return words
        case UInt8(ascii: "W"): return words.inverted
        case UInt8(ascii: "s"): return spaces
        case UInt8(ascii: "S"): return spaces.inverted
        case UInt8(ascii: "t"): return ByteSet([0x09])
        case UInt8(ascii: "e"): return ByteSet([0x1B])
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A:
            throw problem("\"\\\(Character(Unicode.Scalar(byte)))\" is not known")
        default: return ByteSet([byte])
        }
    }

    private func set(_ byte: UInt8) -> ByteSet {
        let lower = byte | 0x20
        guard ignoresCase, (0x61...0x7A).contains(lower) else { return ByteSet([byte]) }
        return ByteSet([lower, lower & 0xDF])
    }

    private var peek: UInt8? { at < bytes.count ? bytes[at] : nil }

    private func problem(_ text: String) -> Problem {
        Problem(
            "pattern.invalid", status: 422, "the pattern cannot be read: \(text), at byte \(at)",
            hint: "Put \"\\\" before a sign that is meant as itself, or leave out --regex.")
    }
}
