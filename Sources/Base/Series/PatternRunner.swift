/// Runs a pattern's steps over a text, all ways at once: time grows with text × pattern, never worse. Used for captures, and
/// for patterns that the automaton does not take.
struct PatternRunner {
    private let program: PatternProgram
    private let text: UnsafeBufferPointer<UInt8>
    private let slots: Int

    init(_ program: PatternProgram, _ text: UnsafeBufferPointer<UInt8>, groups: Int) {
        self.program = program
        self.text = text
        slots = groups * 2
    }

    /// Ways that live at one position, best first; each has its own captures.
    private struct Ways {
        var steps: [Int] = []
        var captures: [[Int]] = []
        /// The last position (plus one) at which each step was reached.
        var seen: [Int]

        init(size: Int) { seen = [Int](repeating: 0, count: size) }

        mutating func removeAll() {
            steps.removeAll(keepingCapacity: true)
            captures.removeAll(keepingCapacity: true)
        }
    }

    /// Captured byte ranges (start and end of each group, -1 where it took no part) of the whole text; nil without a match.
    func captures() -> [Int]? {
        var current = Ways(size: program.steps.count)
        var following = Ways(size: program.steps.count)
        add(program.start, [Int](repeating: -1, count: slots), at: 0, to: &current)
        for position in 0..<text.count {
            if current.steps.isEmpty { return nil }
            for (index, step) in current.steps.enumerated() {
                if case .bytes(let range, let next) = program.steps[step], range.contains(text[position]) {
                    add(next, current.captures[index], at: position + 1, to: &following)
                }
            }
            current.removeAll()
            swap(&current, &following)
        }
        for (index, step) in current.steps.enumerated() {
            if case .match = program.steps[step] { return current.captures[index] }
        }
        return nil
    }

    private func add(_ first: Int, _ captured: [Int], at position: Int, to ways: inout Ways) {
        var pending: [(step: Int, captured: [Int])] = [(first, captured)]
        while let (step, captured) = pending.popLast() {
            if ways.seen[step] == position + 1 { continue }
            ways.seen[step] = position + 1
            switch program.steps[step] {
            case .either(let preferred, let other):
                pending.append((other, captured))
                pending.append((preferred, captured))
            case .save(let slot, let next):
                var captured = captured
                if slot < captured.count { captured[slot] = position }
                pending.append((next, captured))
            case .check(let assertion, let next):
                if holds(assertion, at: position) { pending.append((next, captured)) }
            case .bytes, .match:
                ways.steps.append(step)
                ways.captures.append(captured)
            case .never: break
            }
        }
    }

    private func holds(_ assertion: PatternAssertion, at position: Int) -> Bool {
        switch assertion {
        case .textStart: position == 0
        case .textEnd: position == text.count
        case .lineStart: position == 0 || text[position - 1] == 0x0a
        case .lineEnd: position == text.count || text[position] == 0x0a
        case .wordBoundary: isWord(position - 1) != isWord(position)
        case .notWordBoundary: isWord(position - 1) == isWord(position)
        }
    }

    private func isWord(_ position: Int) -> Bool {
        text.indices.contains(position) && ScalarSet.word.contains(UInt32(text[position]))
    }
}
