/// A pattern as a deterministic automaton: one table look-up per byte. Built whole, so that threads share it without locks.
struct PatternAutomaton: Sendable {
    /// Beyond this the pattern is run step by step instead.
    static let stateLimit = 1_500

    private let classOf: [UInt8]
    private let classes: Int
    /// The state after each class of byte; 0 is the dead state.
    private let next: [UInt16]
    private let accepts: [Bool]
    private static let first: UInt16 = 1

    /// Nil when the pattern looks around or would need too many states.
    init?(_ program: PatternProgram) {
        if program.looksAround { return nil }
        (classOf, classes) = Self.byteClasses(program)
        var builder = Builder(program: program, classes: classes, classOf: classOf)
        guard builder.build(limit: Self.stateLimit) else { return nil }
        next = builder.next
        accepts = builder.accepts
    }

    func matches(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
        classOf.withUnsafeBufferPointer { classOf in
            next.withUnsafeBufferPointer { next in
                var state = Int(Self.first)
                for byte in bytes {
                    state = Int(next[state * classes + Int(classOf[Int(byte)])])
                    if state == 0 { return false }
                }
                return accepts[state]
            }
        }
    }

    /// Bytes that no step tells apart share a class.
    private static func byteClasses(_ program: PatternProgram) -> ([UInt8], Int) {
        var isEdge = [Bool](repeating: false, count: 257)
        for case .bytes(let range, _) in program.steps {
            isEdge[Int(range.lowerBound)] = true
            isEdge[Int(range.upperBound) + 1] = true
        }
        var classOf = [UInt8](repeating: 0, count: 256)
        var current = 0
        for byte in 0..<256 {
            if byte > 0, isEdge[byte] { current += 1 }
            classOf[byte] = UInt8(current)
        }
        return (classOf, current + 1)
    }

    private struct Builder {
        let program: PatternProgram
        let classes: Int
        let representatives: [UInt8]
        var next: [UInt16] = []
        var accepts: [Bool] = []
        var sets: [[Int32]] = []
        var known: [[Int32]: UInt16] = [:]
        var mark: [Bool]

        init(program: PatternProgram, classes: Int, classOf: [UInt8]) {
            self.program = program
            self.classes = classes
            representatives = (0..<classes).map { wanted in UInt8(classOf.firstIndex(of: UInt8(wanted)) ?? 0) }
            mark = [Bool](repeating: false, count: program.steps.count)
        }

        mutating func build(limit: Int) -> Bool {
            addState([], atStart: false)
            addState([Int32(program.start)], atStart: true)
            var index = 1
            var work = 0
            while index < sets.count {
                for byteClass in 0..<classes {
                    let byte = representatives[byteClass]
                    var reached: [Int32] = []
                    for step in sets[index] {
                        if case .bytes(let range, let following) = program.steps[Int(step)], range.contains(byte) {
                            reached.append(Int32(following))
                        }
                    }
                    work += sets[index].count
                    let state = reached.isEmpty ? 0 : find(reached)
                    if sets.count > limit || work > 4_000_000 { return false }
                    next[index * classes + byteClass] = state
                }
                index += 1
            }
            return true
        }

        private mutating func find(_ entries: [Int32]) -> UInt16 {
            let key = Array(Set(entries)).sorted()
            if let state = known[key] { return state }
            let state = UInt16(truncatingIfNeeded: sets.count)
            known[key] = state
            addState(key, atStart: false)
            return state
        }

        private mutating func addState(_ entries: [Int32], atStart: Bool) {
            let closed = closure(entries, atStart: atStart, atEnd: false)
            let atEnd = closure(entries, atStart: atStart, atEnd: true)
            sets.append(closed.filter { if case .bytes = program.steps[Int($0)] { true } else { false } })
            accepts.append(atEnd.contains { if case .match = program.steps[Int($0)] { true } else { false } })
            next += [UInt16](repeating: 0, count: classes)
        }

        private mutating func closure(_ entries: [Int32], atStart: Bool, atEnd: Bool) -> [Int32] {
            var (pending, result) = (entries, [Int32]())
            while let step = pending.popLast() {
                if mark[Int(step)] { continue }
                mark[Int(step)] = true
                result.append(step)
                switch program.steps[Int(step)] {
                case .either(let one, let other): pending += [Int32(one), Int32(other)]
                case .save(_, let following): pending.append(Int32(following))
                case .check(.textStart, let following): if atStart { pending.append(Int32(following)) }
                case .check(.textEnd, let following): if atEnd { pending.append(Int32(following)) }
                case .check, .bytes, .match, .never: break
                }
            }
            for step in result { mark[Int(step)] = false }
            return result
        }
    }
}
