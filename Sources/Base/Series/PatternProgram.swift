/// A pattern as steps over bytes: the non-deterministic automaton that both matchers run.
struct PatternProgram: Sendable {
    /// Patterns that would be longer are refused: each byte of a value could cost as many steps.
    static let sizeLimit = 60_000

    enum Step: Sendable {
        case bytes(ClosedRange<UInt8>, next: Int)
        /// The first way is preferred.
        case either(Int, Int)
        case save(slot: Int, next: Int)
        case check(PatternAssertion, next: Int)
        case match
        case never
    }

    private(set) var steps: [Step] = [.match]
    private(set) var start = 0
    /// Assertions on neighbours inside the text (`\b`, multi-line anchors): the deterministic automaton has no such.
    private(set) var looksAround = false

    init(_ node: PatternNode) throws(PatternError) {
        start = try compile(node, next: 0)
    }

    private mutating func add(_ step: Step) throws(PatternError) -> Int {
        if steps.count >= Self.sizeLimit { throw PatternError("expression too large") }
        steps.append(step)
        return steps.count - 1
    }

    /// Compiled backwards: what follows is known first.
    private mutating func compile(_ node: PatternNode, next: Int) throws(PatternError) -> Int {
        switch node {
        case .empty: return next
        case .set(let set): return try compile(set, next: next)
        case .sequence(let parts):
            var entry = next
            for part in parts.reversed() { entry = try compile(part, next: entry) }
            return entry
        case .alternatives(let choices):
            var entry: Int?
            for choice in choices.reversed() {
                let own = try compile(choice, next: next)
                if let other = entry { entry = try add(.either(own, other)) } else { entry = own }
            }
            return entry ?? next
        case .group(let inner, let index):
            let close = try add(.save(slot: index * 2 + 1, next: next))
            let body = try compile(inner, next: close)
            return try add(.save(slot: index * 2, next: body))
        case .assertion(let assertion):
            if assertion != .textStart, assertion != .textEnd { looksAround = true }
            return try add(.check(assertion, next: next))
        case .repeated(let inner, let least, let most, let isGreedy):
            return try compile(inner, least, most, isGreedy, next: next)
        }
    }

    private mutating func compile(
        _ inner: PatternNode, _ least: Int, _ most: Int?, _ isGreedy: Bool, next: Int
    ) throws(PatternError) -> Int {
        var entry = next
        if let most {
            for _ in least..<max(most, least) {
                let body = try compile(inner, next: entry)
                entry = try add(isGreedy ? .either(body, next) : .either(next, body))
            }
        } else {
            let loop = try add(.never)
            let body = try compile(inner, next: loop)
            steps[loop] = isGreedy ? .either(body, next) : .either(next, body)
            entry = loop
        }
        for _ in 0..<least { entry = try compile(inner, next: entry) }
        return entry
    }

    private mutating func compile(_ set: ScalarSet, next: Int) throws(PatternError) -> Int {
        var entry: Int?
        for range in set.ranges.reversed() {
            for sequence in UTF8Ranges.sequences(range).reversed() {
                var own = next
                for bytes in sequence.reversed() { own = try add(.bytes(bytes, next: own)) }
                if let other = entry { entry = try add(.either(own, other)) } else { entry = own }
            }
        }
        if let entry { return entry }
        return try add(.never)
    }
}

/// Ranges of scalars as ranges of the bytes that write them.
enum UTF8Ranges {
    /// Sequences of byte ranges that together match exactly the scalars of the range, surrogates left out.
    static func sequences(_ range: ClosedRange<UInt32>) -> [[ClosedRange<UInt8>]] {
        var result: [[ClosedRange<UInt8>]] = []
        var pending = [range]
        while let range = pending.popLast() {
            if let parts = split(range) {
                pending += parts.reversed()
            } else if let low = Unicode.Scalar(range.lowerBound), let high = Unicode.Scalar(range.upperBound) {
                let (first, last) = (Array(UTF8.encode(low) ?? .init()), Array(UTF8.encode(high) ?? .init()))
                result.append(zip(first, last).map { $0...$1 })
            }
        }
        return result
    }

    /// Parts, when the range's scalars do not all have one length and free lower bytes; nil when it can stay whole.
    private static func split(_ range: ClosedRange<UInt32>) -> [ClosedRange<UInt32>]? {
        let (low, high) = (range.lowerBound, range.upperBound)
        if low <= 0xdfff, high >= 0xd800 {
            var parts: [ClosedRange<UInt32>] = []
            if low < 0xd800 { parts.append(low...0xd7ff) }
            if high > 0xdfff { parts.append(0xe000...high) }
            return parts
        }
        for edge: UInt32 in [0x7f, 0x7ff, 0xffff] where low <= edge && high > edge {
            return [low...edge, (edge + 1)...high]
        }
        if high < 0x80 { return nil }
        for bits: UInt32 in [6, 12, 18] {
            let mask: UInt32 = (1 << bits) - 1
            if low & ~mask != high & ~mask {
                if low & mask != 0 { return [low...(low | mask), ((low | mask) + 1)...high] }
                if high & mask != mask { return [low...((high & ~mask) - 1), (high & ~mask)...high] }
            }
        }
        return nil
    }
}
