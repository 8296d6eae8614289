internal import Segments
package import Series

/// Which streams there are, and which of them have a label's value.
struct StreamIndex {
    struct Stream {
        let labels: Labels
        /// Time of the newest entry ever taken, nanoseconds.
        var newest: Int64
        /// Places that hold entries of it: the heads and segments. At zero it is forgotten.
        var holders = 0
    }

    private(set) var streams: [Int: Stream] = [:]
    private var ids: [Labels: Int] = [:]
    private var postings: [String: [String: Set<Int>]] = [:]
    private var next = 0

    var count: Int { streams.count }

    func id(of labels: Labels) -> Int? { ids[labels] }

    /// The id of a stream, new or known.
    mutating func enter(_ labels: Labels) -> Int {
        if let id = ids[labels] { return id }
        let id = next
        next += 1
        ids[labels] = id
        streams[id] = Stream(labels: labels, newest: .min)
        for pair in labels.pairs { postings[pair.name, default: [:]][pair.value, default: []].insert(id) }
        return id
    }

    mutating func saw(_ id: Int, _ time: Int64) {
        if let newest = streams[id]?.newest, newest < time { streams[id]?.newest = time }
    }

    mutating func hold(_ id: Int) { streams[id]?.holders += 1 }

    mutating func release(_ id: Int) {
        guard var stream = streams[id] else { return }
        stream.holders -= 1
        streams[id] = stream
        guard stream.holders <= 0 else { return }
        streams[id] = nil
        ids[stream.labels] = nil
        for pair in stream.labels.pairs {
            postings[pair.name]?[pair.value]?.remove(id)
            if postings[pair.name]?[pair.value]?.isEmpty == true { postings[pair.name]?[pair.value] = nil }
            if postings[pair.name]?.isEmpty == true { postings[pair.name] = nil }
        }
    }

    /// Ids of the streams that meet all conditions.
    func matching(_ matchers: StreamMatchers) -> [Int] {
        var candidates: Set<Int>?
        for matcher in matchers.exact {
            let found = postings[matcher.name]?[matcher.value] ?? []
            candidates = candidates.map { $0.intersection(found) } ?? found
        }
        guard let candidates else { return streams.filter { matchers.match($0.value.labels) }.map(\.key) }
        return candidates.filter { id in streams[id].map { matchers.match($0.labels) } ?? false }
    }

    /// The label that has the most values, and how many: who makes the streams too many.
    var widestLabel: (name: String, values: Int)? {
        postings.map { (name: $0.key, values: $0.value.count) }
            .max { ($0.values, $1.name) < ($1.values, $0.name) }
    }
}

/// Conditions on a stream's labels, made ready.
package struct StreamMatchers: Sendable {
    private enum Test: Sendable {
        case text(String, isEqual: Bool)
        case pattern(LabelPattern, isMatch: Bool)
    }

    private let tests: [(name: String, test: Test)]
    /// Conditions that ask for one value that is not empty.
    let exact: [LabelMatcher]

    /// - Throws: `StorageError.invalid` for a pattern that is none.
    package init(_ matchers: [LabelMatcher]) throws {
        tests = try matchers.map { matcher in
            switch matcher.comparison {
            case .equal: (matcher.name, .text(matcher.value, isEqual: true))
            case .notEqual: (matcher.name, .text(matcher.value, isEqual: false))
            case .matches: (matcher.name, .pattern(try Self.pattern(matcher), isMatch: true))
            case .doesNotMatch: (matcher.name, .pattern(try Self.pattern(matcher), isMatch: false))
            }
        }
        exact = matchers.filter { $0.comparison == .equal && !$0.value.isEmpty }
    }

    private static func pattern(_ matcher: LabelMatcher) throws -> LabelPattern {
        do {
            return try LabelPattern(matcher.value)
        } catch {
            throw StorageError(
                .invalid, "\"\(matcher.value)\" for the label \"\(matcher.name)\" is no regular expression: \(error)",
                hint: "Write it in RE2 syntax.")
        }
    }

    package func match(_ labels: Labels) -> Bool {
        tests.allSatisfy { name, test in
            let value = labels[name] ?? ""
            return switch test {
            case .text(let wanted, let isEqual): (value == wanted) == isEqual
            case .pattern(let pattern, let isMatch): pattern.matches(value) == isMatch
            }
        }
    }
}
