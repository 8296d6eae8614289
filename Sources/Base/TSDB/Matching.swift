import Series

/// What can be asked for the series of a label: the head's index and a block's.
protocol LabelIndex {
    /// Series are numbered below this.
    var universe: Int { get }
    func insertAll(into set: inout IDSet)
    func insert(_ name: [UInt8], _ value: UnsafeBufferPointer<UInt8>, into set: inout IDSet)
    /// Adds the series of each value of a label that the body accepts.
    func insert(_ name: [UInt8], into set: inout IDSet, where accepts: (UnsafeBufferPointer<UInt8>) -> Bool)
}

/// A matcher made ready: its pattern compiled, and known what it says of a series without the label.
struct PreparedMatcher: Sendable {
    private enum Test: Sendable {
        case equal([UInt8])
        case pattern(LabelPattern)
    }

    let name: [UInt8]
    private let test: Test
    private let isNegated: Bool

    init(_ matcher: LabelMatcher) throws {
        name = Array(matcher.name.utf8)
        isNegated = matcher.comparison == .notEqual || matcher.comparison == .doesNotMatch
        switch matcher.comparison {
        case .equal, .notEqual: test = .equal(Array(matcher.value.utf8))
        case .matches, .doesNotMatch:
            do {
                test = .pattern(try LabelPattern(matcher.value))
            } catch {
                throw SeriesError(.badMatcher, "\(matcher.name): \(error)")
            }
        }
    }

    func accepts(_ value: UnsafeBufferPointer<UInt8>) -> Bool { holds(value) != isNegated }

    private func holds(_ value: UnsafeBufferPointer<UInt8>) -> Bool {
        switch test {
        case .equal(let wanted): wanted.withUnsafeBufferPointer { compareEqual($0, value) }
        case .pattern(let pattern): pattern.matches(value)
        }
    }

    func accepts(_ labels: Labels) -> Bool {
        labels.bytes.withUnsafeBufferPointer { bytes in
            var cursor = LabelCursor(bytes)
            while let pair = cursor.next() {
                let isWanted = name.withUnsafeBufferPointer { compareEqual($0, pair.name) }
                if isWanted { return accepts(pair.value) }
            }
            return acceptsEmpty
        }
    }

    private var acceptsEmpty: Bool { accepts(UnsafeBufferPointer(start: nil, count: 0)) }

    /// Narrows a set of series to those that match.
    func narrow(_ set: inout IDSet, _ index: some LabelIndex) {
        var found = IDSet(universe: index.universe)
        let isTakenAway = acceptsEmpty
        // A label that may be absent is told by the values it must not have.
        if isNegated == isTakenAway, let values = listed {
            for value in values { value.withUnsafeBufferPointer { index.insert(name, $0, into: &found) } }
        } else {
            index.insert(name, into: &found) { accepts($0) != isTakenAway }
        }
        if isTakenAway { set.subtract(found) } else { set.formIntersection(found) }
    }

    /// The values for which the test holds, when they can be listed.
    private var listed: [[UInt8]]? {
        switch test {
        case .equal(let value): [value]
        case .pattern(let pattern): pattern.literalAlternatives.map { $0.map { Array($0.utf8) } }
        }
    }

    static func matching(_ matchers: [PreparedMatcher], _ index: some LabelIndex) -> IDSet {
        var set = IDSet(universe: index.universe)
        index.insertAll(into: &set)
        for matcher in matchers { matcher.narrow(&set, index) }
        return set
    }
}
