import Series

/// Marks that a series has no number at a step: the staleness marker, which no computation gives and no selector passes on.
enum Absent {
    // Written out, as a constant of another module is a call in the innermost loops; a test holds the two together.
    @inline(__always)
    static var bits: UInt64 { 0x7ff0_0000_0000_0002 }
    @inline(__always)
    static var value: Double { Double(bitPattern: bits) }

    @inline(__always)
    static func isAbsent(_ value: Double) -> Bool { value.bitPattern == bits }
}

/// One series over all steps of an evaluation, on its way from operator to operator. Reused from series to series.
struct Row {
    var labels = Labels.none
    /// The name is to go at the end of the query.
    var dropsName = false
    /// One number a step, or the mark of absence.
    var values: [Double]
    /// Empty, or one place a step; a histogram stands only where the number is absent.
    var histograms: [FloatHistogram?] = []

    init(steps: Int) { values = [Double](repeating: Absent.value, count: steps) }

    mutating func clear() {
        for index in values.indices { values[index] = Absent.value }
        if !histograms.isEmpty { histograms.removeAll(keepingCapacity: true) }
        dropsName = false
    }

    mutating func set(_ histogram: FloatHistogram, at step: Int) {
        if histograms.isEmpty { histograms = [FloatHistogram?](repeating: nil, count: values.count) }
        histograms[step] = histogram
        values[step] = Absent.value
    }

    mutating func remove(at step: Int) {
        values[step] = Absent.value
        if !histograms.isEmpty { histograms[step] = nil }
    }

    @inline(__always)
    func histogram(at step: Int) -> FloatHistogram? { histograms.isEmpty ? nil : histograms[step] }

    @inline(__always)
    func isPresent(at step: Int) -> Bool {
        !Absent.isAbsent(values[step]) || (!histograms.isEmpty && histograms[step] != nil)
    }

    var isEmpty: Bool {
        for value in values where !Absent.isAbsent(value) { return false }
        return histograms.isEmpty || !histograms.contains { $0 != nil }
    }
}

/// Takes rows one after another. Each lane has a sink of its own.
protocol RowSink: AnyObject {
    func take(_ row: inout Row, _ lane: Lane) throws(PromQLError)
    /// Takes a series of one number, where there is one step. The row is there to be used, and holds nothing of worth.
    func takeNumber(
        _ number: Double, _ labels: UnsafeBufferPointer<UInt8>, _ row: inout Row, _ lane: Lane
    ) throws(PromQLError)
}

extension RowSink {
    func takeNumber(
        _ number: Double, _ labels: UnsafeBufferPointer<UInt8>, _ row: inout Row, _ lane: Lane
    ) throws(PromQLError) {
        row.clear()
        row.labels = Labels(encoded: Array(labels))
        row.values[0] = number
        try take(&row, lane)
    }
}

/// Changes rows and passes on those that have something left.
final class StageSink<Down: RowSink>: RowSink {
    let down: Down
    private let body: (inout Row, Lane) throws(PromQLError) -> Void

    init(_ down: Down, _ body: @escaping (inout Row, Lane) throws(PromQLError) -> Void) {
        self.down = down
        self.body = body
    }

    func take(_ row: inout Row, _ lane: Lane) throws(PromQLError) {
        try body(&row, lane)
        if !row.isEmpty { try down.take(&row, lane) }
    }
}

/// Spreads a row of one step over many: what does not depend on time is computed once.
final class ReplicatingSink<Down: RowSink>: RowSink {
    let down: Down
    private var wide: Row

    init(_ down: Down, steps: Int) {
        self.down = down
        wide = Row(steps: steps)
    }

    func take(_ row: inout Row, _ lane: Lane) throws(PromQLError) {
        wide.clear()
        wide.labels = row.labels
        wide.dropsName = row.dropsName
        if let histogram = row.histogram(at: 0) {
            for step in wide.values.indices { wide.set(histogram, at: step) }
        } else {
            for step in wide.values.indices { wide.values[step] = row.values[0] }
        }
        try down.take(&wide, lane)
    }
}

/// Rows kept in memory, as one run of numbers.
struct Table: Sendable {
    private(set) var labels: [Labels] = []
    private(set) var dropsName: [Bool] = []
    fileprivate(set) var values: [Double] = []
    /// By row.
    fileprivate(set) var histograms: [Int: [FloatHistogram?]] = [:]
    let steps: Int

    init(steps: Int) { self.steps = steps }

    var count: Int { labels.count }

    mutating func append(_ row: Row) {
        if !row.histograms.isEmpty { histograms[labels.count] = row.histograms }
        labels.append(row.labels)
        dropsName.append(row.dropsName)
        values += row.values
    }

    mutating func append(_ other: Table) {
        for (index, column) in other.histograms { histograms[count + index] = column }
        labels += other.labels
        dropsName += other.dropsName
        values += other.values
    }

    func load(_ index: Int, into row: inout Row) {
        row.labels = labels[index]
        row.dropsName = dropsName[index]
        let start = index * steps
        for step in 0..<steps { row.values[step] = values[start + step] }
        row.histograms = histograms[index] ?? []
    }

    @inline(__always)
    func value(_ index: Int, _ step: Int) -> Double { values[index * steps + step] }

    @inline(__always)
    func histogram(_ index: Int, _ step: Int) -> FloatHistogram? { histograms.isEmpty ? nil : histograms[index]?[step] }

    @inline(__always)
    func isPresent(_ index: Int, _ step: Int) -> Bool {
        !Absent.isAbsent(values[index * steps + step]) || histogram(index, step) != nil
    }

    /// The rows of these indices, in their order.
    func selecting(_ indices: [Int]) -> Table {
        var result = Table(steps: steps)
        var row = Row(steps: steps)
        for index in indices {
            load(index, into: &row)
            result.append(row)
        }
        return result
    }

    mutating func relabel(_ index: Int, _ new: Labels) {
        labels[index] = new
        dropsName[index] = false
    }

    mutating func markName(_ index: Int) { dropsName[index] = true }

    mutating func removeLast() {
        labels.removeLast()
        dropsName.removeLast()
        values.removeLast(steps)
        histograms[labels.count] = nil
    }

    /// Moves a row's samples into another's empty places; false when both have one at a step.
    mutating func merge(_ source: Int, into target: Int) -> Bool {
        for step in 0..<steps where isPresent(source, step) {
            if isPresent(target, step) { return false }
            if let histogram = histogram(source, step) {
                if histograms[target] == nil { histograms[target] = [FloatHistogram?](repeating: nil, count: steps) }
                histograms[target]?[step] = histogram
            } else {
                values[target * steps + step] = values[source * steps + step]
            }
        }
        return true
    }
}

/// Collects a table.
final class TableSink: RowSink {
    private(set) var table: Table
    private let budget: SampleBudget

    init(steps: Int, _ budget: SampleBudget) {
        table = Table(steps: steps)
        self.budget = budget
    }

    func take(_ row: inout Row, _ lane: Lane) throws(PromQLError) {
        try budget.charge(SampleBudget.size(of: row))
        table.append(row)
    }
}
