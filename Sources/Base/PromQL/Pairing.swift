import Series

/// Finds for each series of the "many" side its partner on the "one" side, step by step, and computes.
struct Pairing {
    private let operation: BinaryOperation
    private let element: ElementOperation
    private let isSwapped: Bool
    private let left: Table
    private let right: Table
    private let matcher: SeriesMatcher
    private let steps: Int
    private let isOneToOne: Bool
    /// No histogram on either side.
    private let isPlain: Bool
    private let keeper: GroupingRule
    private(set) var result: Table
    /// The right row at each signature and step, or -1.
    private var partners: [Int32] = []
    /// Signatures that have more than one row on the left.
    private var isShared: [Bool] = []
    /// Where one-to-one matching has found a pair already.
    private var isTaken: [Bool] = []
    private var rows: [Labels: Int] = [:]
    private var row: Row

    init(
        _ operation: BinaryOperation, place: Range<Int>, isSwapped: Bool, _ left: Table, _ right: Table,
        _ matcher: SeriesMatcher,
        steps: Int
    ) {
        self.operation = operation
        self.isSwapped = isSwapped
        self.left = left
        self.right = right
        self.matcher = matcher
        self.steps = steps
        element = ElementOperation(operation: operation.operation, place: place)
        isOneToOne = operation.matching.cardinality == .oneToOne
        isPlain = left.histograms.isEmpty && right.histograms.isEmpty
        keeper = GroupingRule(operation.matching.labels, isWithout: !operation.matching.isOn)
        result = Table(steps: steps)
        row = Row(steps: steps)
    }

    private func failure(_ message: String) -> PromQLError { PromQLError(.execution, message) }

    /// Fills the table of partners.
    mutating func findRight() throws(PromQLError) {
        partners = [Int32](repeating: -1, count: matcher.count * steps)
        var leftIsThere = [Bool](repeating: false, count: steps)
        for index in 0..<left.count {
            for step in 0..<steps where !leftIsThere[step] && left.isPresent(index, step) { leftIsThere[step] = true }
        }
        for index in 0..<right.count {
            let start = matcher.right[index] * steps
            for step in 0..<steps where right.isPresent(index, step) {
                let other = partners[start + step]
                if other >= 0, leftIsThere[step] { throw twice(index, Int(other)) }
                partners[start + step] = Int32(index)
            }
        }
        var counts = [Int](repeating: 0, count: matcher.count)
        for signature in matcher.left { counts[signature] += 1 }
        isShared = counts.map { $0 > 1 }
        if isOneToOne, isShared.contains(true) { isTaken = [Bool](repeating: false, count: matcher.count * steps) }
    }

    private func twice(_ one: Int, _ other: Int) -> PromQLError {
        let names =
            operation.matching.isOn ? operation.matching.labels : operation.matching.labels + [Labels.metricNameLabel]
        let group = GroupingRule(names, isWithout: !operation.matching.isOn).kept(of: right.labels[one])
        let side = isSwapped ? "left" : "right"
        return failure(
            "found duplicate series for the match group \(group) on the \(side) hand-side of the operation: "
                + "[\(right.labels[one]), \(right.labels[other])];many-to-many matching not allowed: "
                + "matching labels must be unique on one side")
    }

    /// Computes one row of the left.
    mutating func pair(_ index: Int, _ lane: Lane) throws(PromQLError) {
        let signature = matcher.left[index]
        let start = signature * steps
        var current: Int32 = -1
        row.clear()
        if isPlain, !isShared[signature], let partner = pairNumbers(index, start) {
            if partner >= 0 { try finish(index, Int(partner), signature) }
            return
        }
        row.clear()
        for step in 0..<steps {
            let partner = partners[start + step]
            guard partner >= 0, left.isPresent(index, step) else { continue }
            // The partner decides what the result is called where labels are taken over from it.
            if partner != current {
                if current >= 0, !operation.matching.included.isEmpty { try finish(index, Int(current), signature) }
                current = partner
            }
            guard let value = compute(index, Int(partner), step, lane) else { continue }
            if !isTaken.isEmpty, isShared[signature] {
                if isTaken[start + step] {
                    throw failure(
                        "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)")
                }
                isTaken[start + step] = true
            }
            row.put(value, at: step)
        }
        if current >= 0 { try finish(index, Int(current), signature) }
    }

    /// The usual case in one go: numbers only, and one partner for all steps. Nil when it is not that.
    ///
    /// - Returns: The partner, -1 when there is none.
    private mutating func pairNumbers(_ index: Int, _ start: Int) -> Int32? {
        guard let partner = partners[start..<(start + steps)].first(where: { $0 >= 0 }) else { return -1 }
        let (kind, returnsBool, swaps, count) = (operation.operation, operation.returnsBool, isSwapped, steps)
        let (mine, theirs) = (index * steps, Int(partner) * steps)
        return row.values.withUnsafeMutableBufferPointer { values in
            left.values.withUnsafeBufferPointer { left in
                right.values.withUnsafeBufferPointer { right in
                    partners.withUnsafeBufferPointer { partners -> Int32? in
                        for step in 0..<count {
                            let here = partners[start + step]
                            if here >= 0, here != partner { return nil }
                            let (own, other) = (left[mine + step], right[theirs + step])
                            if here < 0 || Absent.isAbsent(own) || Absent.isAbsent(other) { continue }
                            let (one, two) = swaps ? (other, own) : (own, other)
                            if kind.isComparison {
                                let holds = Elementwise.compare(kind, one, two)
                                values[step] = returnsBool ? (holds ? 1 : 0) : (holds ? one : Absent.value)
                            } else {
                                values[step] = Elementwise.compute(kind, one, two)
                            }
                        }
                        return partner
                    }
                }
            }
        }
    }

    private func compute(_ index: Int, _ partner: Int, _ step: Int, _ lane: Lane) -> Operand? {
        let (own, other) = (left.value(index, step), right.value(partner, step))
        let kind = operation.operation
        let value: Operand
        let isKept: Bool
        if !Absent.isAbsent(own), !Absent.isAbsent(other) {
            let (one, two) = isSwapped ? (other, own) : (own, other)
            if kind.isComparison {
                (value, isKept) = (.number(one), Elementwise.compare(kind, one, two))
            } else {
                (value, isKept) = (.number(Elementwise.compute(kind, one, two)), true)
            }
        } else {
            let mine = left.histogram(index, step).map { Operand.histogram($0) } ?? .number(own)
            let theirs = right.histogram(partner, step).map { Operand.histogram($0) } ?? .number(other)
            guard let outcome = element.apply(isSwapped ? theirs : mine, isSwapped ? mine : theirs, lane) else {
                return nil
            }
            (value, isKept) = outcome
        }
        if operation.returnsBool { return .number(isKept ? 1 : 0) }
        return isKept ? value : nil
    }

    /// Puts the row that was computed with one partner into the result.
    private mutating func finish(_ index: Int, _ partner: Int, _ signature: Int) throws(PromQLError) {
        defer { row.clear() }
        if row.isEmpty { return }
        row.labels = labels(index, partner)
        row.dropsName = operation.returnsBool || left.dropsName[index]
        guard let known = rows[row.labels] else {
            rows[row.labels] = result.count
            result.append(row)
            return
        }
        result.append(row)
        let isFree = result.merge(result.count - 1, into: known)
        result.removeLast()
        if isFree { return }
        throw failure(
            isOneToOne
                ? "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                : "multiple matches for labels: grouping labels must ensure unique matches")
    }

    private mutating func labels(_ index: Int, _ partner: Int) -> Labels {
        var labels = left.labels[index]
        if !operation.operation.isComparison { labels = labels.withoutMetadata }
        if isOneToOne { labels = keeper.kept(of: labels) }
        for name in operation.matching.included { labels = labels.with(name, right.labels[partner][name]) }
        return labels
    }
}
