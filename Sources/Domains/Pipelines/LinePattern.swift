import API

/// What a line must hold: a text, or a simple regular expression, byte by byte.
///
/// Compiled to a small machine whose states are made as they are met, so that the time is one step a byte whatever the
/// pattern: there is no pattern that makes a search slow.
struct LinePattern {
    /// Bytes of a pattern, and steps of its machine.
    static let patternLimit = 1000
    static let programLimit = 4000
    /// States that are kept; when there are more they are made anew.
    private static let stateLimit = 2000

    enum Step {
        /// Takes one byte of a set.
        case take(ByteSet)
        /// Goes on here and there.
        case fork(Int, Int)
        /// Holds at the beginning, or at the end, of a line.
        case first, last
        case found
    }
    private struct State {
        var steps: [Int]
        var isFound: Bool
        var isFoundAtEnd: Bool
    }

    private let program: [Step]
    private var states: [State] = []
    private var numbers: [[Int]: Int] = [:]
    /// Next state by state and byte; -1: not known yet.
    private var table: [Int32] = []

    init(_ pattern: String, isRegex: Bool, ignoresCase: Bool) throws(Problem) {
        guard pattern.utf8.count <= Self.patternLimit, !pattern.isEmpty else {
            throw Problem(
                "pattern.size", status: 422, "a pattern has 1 to \(Self.patternLimit) bytes", hint: "Shorten it.")
        }
        var parser = LinePatternParser(pattern, ignoresCase: ignoresCase)
        program = isRegex ? try parser.program() : parser.literal()
        begin()
    }

    private mutating func begin() {
        (states, numbers, table) = ([], [:], [])
        _ = number(of: closure([0], atStart: true))
    }

    private func closure(_ roots: [Int], atStart: Bool, atEnd: Bool = false) -> [Int] {
        var seen = Set<Int>()
        var queue = roots
        while let at = queue.popLast() {
            guard seen.insert(at).inserted else { continue }
            switch program[at] {
            case .fork(let one, let other): queue += [one, other]
            case .first: if atStart { queue.append(at + 1) }
            case .last: if atEnd { queue.append(at + 1) }
            case .take, .found: break
            }
        }
        return seen.sorted()
    }

    private func isFound(_ steps: [Int]) -> Bool {
        steps.contains { if case .found = program[$0] { true } else { false } }
    }

    private mutating func number(of steps: [Int]) -> Int {
        if let known = numbers[steps] { return known }
        numbers[steps] = states.count
        states.append(
            State(
                steps: steps, isFound: isFound(steps),
                isFoundAtEnd: isFound(closure(steps, atStart: false, atEnd: true))))
        table += [Int32](repeating: -1, count: 256)
        return states.count - 1
    }

    // MARK: One line

    /// The state at the beginning of a line.
    static let start = 0
    func isFound(_ state: Int) -> Bool { states[state].isFound }
    func isFoundAtEnd(_ state: Int) -> Bool { states[state].isFound || states[state].isFoundAtEnd }

    mutating func next(_ state: Int, _ byte: UInt8) -> Int {
        let known = table[state * 256 + Int(byte)]
        if known >= 0 { return Int(known) }
        var roots = [0]
        for step in states[state].steps {
            if case .take(let set) = program[step], set.contains(byte) { roots.append(step + 1) }
        }
        let steps = closure(roots, atStart: false)
        if states.count >= Self.stateLimit {
            // Everything known is let go; the state before is not there any more to remember the way.
            begin()
            return number(of: steps)
        }
        let next = number(of: steps)
        table[state * 256 + Int(byte)] = Int32(next)
        return next
    }
}

/// Which of the 256 bytes.
struct ByteSet: Equatable {
    private var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)

    init() {}
    init(_ bytes: some Sequence<UInt8>) { for byte in bytes { insert(byte) } }

    static func == (left: Self, right: Self) -> Bool { left.words == right.words }

    func contains(_ byte: UInt8) -> Bool {
        let bit: UInt64 = 1 << UInt64(byte & 63)
        switch byte >> 6 {
        case 0: return words.0 & bit != 0
        case 1: return words.1 & bit != 0
        case 2: return words.2 & bit != 0
        default: return words.3 & bit != 0
        }
    }

    mutating func insert(_ byte: UInt8) {
        let bit: UInt64 = 1 << UInt64(byte & 63)
        switch byte >> 6 {
        case 0: words.0 |= bit
        case 1: words.1 |= bit
        case 2: words.2 |= bit
        default: words.3 |= bit
        }
    }

    mutating func formUnion(_ other: ByteSet) {
        words = (words.0 | other.words.0, words.1 | other.words.1, words.2 | other.words.2, words.3 | other.words.3)
    }

    var inverted: ByteSet {
        var other = ByteSet()
        other.words = (~words.0, ~words.1, ~words.2, ~words.3)
        return other
    }
}

/// Looks at lines, one after another, in pieces of any size.
struct LineSearch {
    struct Found: Equatable {
        /// From 0, where the search began.
        var line: Int
        var offset: Int64
    }
    private var pattern: LinePattern
    private let limit: Int
    private(set) var found: [Found] = []
    /// The line that is being read.
    private(set) var line = 0
    private var lineStart: Int64 = 0
    private var offset: Int64 = 0
    private var state = LinePattern.start
    private var isFound = false

    init(_ pattern: LinePattern, limit: Int) { (self.pattern, self.limit) = (pattern, limit) }

    var isFull: Bool { found.count >= limit }

    mutating func feed(_ bytes: [UInt8]) {
        var index = 0
        while index < bytes.count, !isFull {
            if isFound {
                // The rest of the line makes no difference.
                guard let end = bytes[index...].firstIndex(of: 0x0A) else { break }
                index = end
            }
            let byte = bytes[index]
            index += 1
            if byte == 0x0A {
                endLine(at: offset + Int64(index))
            } else {
                state = pattern.next(state, byte)
                isFound = pattern.isFound(state)
            }
        }
        offset += Int64(bytes.count)
    }

    /// A last line without line feed is one too.
    mutating func finish() { if lineStart < offset, !isFull { endLine(at: offset) } }

    private mutating func endLine(at next: Int64) {
        if isFound || pattern.isFoundAtEnd(state) { found.append(Found(line: line, offset: lineStart)) }
        line += 1
        (lineStart, state, isFound) = (next, LinePattern.start, pattern.isFound(LinePattern.start))
    }
}
