import Series

/// `histogram_quantile` and `histogram_fraction`, over classic and native histograms.
extension Evaluator {
    func estimate<Sink: RowSink>(
        _ function: Function, _ arguments: [Expression], _ steps: Steps, _ make: () -> Sink
    ) throws(PromQLError) -> [Sink] {
        var parameters: [[Double]] = []
        for argument in arguments.dropLast() { parameters.append(try column(argument, steps)) }
        if function == .histogramQuantile {
            for q in parameters[0] { lane.notes.invalidQuantile(q, at: arguments[0].range) }
        }
        let vector = arguments[arguments.count - 1]
        let budget = budget
        let sinks = try stream(vector, steps) { BucketSink(steps: steps.count, at: vector.range, budget) }
        guard let buckets = sinks.first else { return [make()] }
        for other in sinks.dropFirst() { buckets.merge(other) }
        let estimation = Estimation(function, parameters, place: arguments[0].range, vectorPlace: vector.range)
        let sink = make()
        try buckets.emit(estimation, to: sink, lane)
        return [sink]
    }
}

/// Sorts series into classic histograms, by all labels but `le`, and native ones.
final class BucketSink: RowSink {
    private struct Bound {
        var upper: Double
        /// Where its counts begin.
        var start: Int
    }

    private let steps: Int
    private let place: Range<Int>
    private let budget: SampleBudget
    private let rule = GroupingRule(["le"], isWithout: true)
    private var groups = GroupIndex()
    private var bounds: [[Bound]] = []
    private var dropsName: [Bool] = []
    private var counts: [Double] = []
    private var natives: Table
    private var scratch: [UInt8] = []
    private var knownBounds: [String: Double] = [:]

    init(steps: Int, at place: Range<Int>, _ budget: SampleBudget) {
        self.steps = steps
        self.place = place
        self.budget = budget
        natives = Table(steps: steps)
    }

    func take(_ row: inout Row, _ lane: Lane) throws(PromQLError) {
        try budget.charge(SampleBudget.size(of: row))
        if !row.histograms.isEmpty {
            var native = row
            for step in native.values.indices { native.values[step] = Absent.value }
            natives.append(native)
            if row.values.allSatisfy({ Absent.isAbsent($0) }) { return }
        }
        let text = row.labels["le"] ?? ""
        guard let upper = knownBounds[text] ?? NumberText.parse(text) else {
            let (label, name) = (PrettyPrinter.quoted(text), PrettyPrinter.quoted(row.labels.metricName ?? ""))
            lane.notes.warn(
                "bucket label \"le\" is missing or has a malformed value of \(label) for metric name \(name)", at: place
            )
            return
        }
        knownBounds[text] = upper
        let group = rule.withKey(row.labels, &scratch) { self.group($0) }
        bounds[group].append(Bound(upper: upper, start: counts.count))
        counts += row.values
    }

    private func group(_ key: UnsafeBufferPointer<UInt8>) -> Int {
        let (index, isNew) = groups.find(key)
        if isNew { bounds.append([]) }
        return index
    }

    func merge(_ other: BucketSink) {
        let offset = counts.count
        counts += other.counts
        natives.append(other.natives)
        for index in 0..<other.groups.count {
            let group = other.groups.withKey(index) { self.group($0) }
            bounds[group] += other.bounds[index].map { Bound(upper: $0.upper, start: $0.start + offset) }
        }
    }

    func emit<Sink: RowSink>(_ estimation: Estimation, to sink: Sink, _ lane: Lane) throws(PromQLError) {
        var row = Row(steps: steps)
        // A native histogram and classic buckets of one name and labels at one step: neither is taken.
        var conflicts: Set<Int> = []
        for index in 0..<natives.count {
            row.clear()
            row.labels = natives.labels[index]
            row.dropsName = natives.dropsName[index]
            let rival = row.labels.bytes.withUnsafeBufferPointer { groups.existing($0) }
            for step in 0..<steps {
                guard let histogram = natives.histogram(index, step) else { continue }
                if let rival, hasBuckets(rival, step) {
                    let name = PrettyPrinter.quoted(row.labels.metricName ?? "")
                    lane.notes.warn(
                        "vector contains a mix of classic and native histograms for metric name \(name)", at: place)
                    conflicts.insert(rival * steps + step)
                } else {
                    row.values[step] = estimation.native(histogram, step, row.labels, lane)
                }
            }
            lane.dropName(&row)
            if !row.isEmpty { try sink.take(&row, lane) }
        }
        var scratch = ClassicBuckets()
        for group in 0..<groups.count {
            try lane.poll()
            row.clear()
            let labels = Labels(encoded: groups.key(group))
            let sorted = bounds[group].sorted { $0.upper < $1.upper }
            for step in 0..<steps where conflicts.isEmpty || !conflicts.contains(group * steps + step) {
                scratch.removeAll()
                for bound in sorted {
                    let count = counts[bound.start + step]
                    if !Absent.isAbsent(count) { scratch.add(bound.upper, count) }
                }
                if !scratch.isEmpty { row.values[step] = estimation.classic(&scratch, step, labels, lane) }
            }
            row.labels = labels.withoutMetricName
            if !row.isEmpty { try sink.take(&row, lane) }
        }
    }

    private func hasBuckets(_ group: Int, _ step: Int) -> Bool {
        bounds[group].contains { !Absent.isAbsent(counts[$0.start + step]) }
    }
}

/// What is asked of histograms.
struct Estimation {
    private let function: Function
    private let parameters: [[Double]]
    private let place: Range<Int>
    private let vectorPlace: Range<Int>

    init(_ function: Function, _ parameters: [[Double]], place: Range<Int>, vectorPlace: Range<Int>) {
        self.function = function
        self.parameters = parameters
        self.place = place
        self.vectorPlace = vectorPlace
    }

    func native(_ histogram: FloatHistogram, _ step: Int, _ labels: Labels, _ lane: Lane) -> Double {
        let (value, note) =
            function == .histogramQuantile
            ? histogram.quantile(parameters[0][step])
            : histogram.fraction(from: parameters[0][step], to: parameters[1][step])
        if let note { lane.notes.note(note, labels.metricName ?? "", at: place) }
        return value
    }

    func classic(_ buckets: inout ClassicBuckets, _ step: Int, _ labels: Labels, _ lane: Lane) -> Double {
        if function == .histogramFraction { return buckets.fraction(parameters[0][step], parameters[1][step]) }
        let (value, isForced) = buckets.quantile(parameters[0][step])
        if isForced {
            let text =
                "input to histogram_quantile needed to be fixed for monotonicity (see "
                + "https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile) for metric name "
            lane.notes.inform(text + PrettyPrinter.quoted(labels.metricName ?? ""), at: vectorPlace)
        }
        return value
    }
}

/// The buckets of one classic histogram at one step, ascending: cumulative counts by upper bound.
struct ClassicBuckets {
    private var uppers: [Double] = []
    private var counts: [Double] = []

    /// Differences of counts that are as small as this, relatively, are taken for rounding.
    private static let tolerance = 1e-12

    var isEmpty: Bool { uppers.isEmpty }

    mutating func removeAll() {
        uppers.removeAll(keepingCapacity: true)
        counts.removeAll(keepingCapacity: true)
    }

    /// Adds the next bucket; one of the same bound is added up.
    mutating func add(_ upper: Double, _ count: Double) {
        if uppers.last == upper {
            counts[counts.count - 1] += count
        } else {
            uppers.append(upper)
            counts.append(count)
        }
    }

    /// The quantile by linear interpolation, and whether falling counts had to be lifted.
    mutating func quantile(_ q: Double) -> (value: Double, isForced: Bool) {
        if q.isNaN { return (.nan, false) }
        if q < 0 { return (-.infinity, false) }
        if q > 1 { return (.infinity, false) }
        guard uppers.last == .infinity else { return (.nan, false) }
        let isForced = makeMonotonic()
        let last = counts.count - 1
        guard last >= 1, counts[last] != 0 else { return (.nan, false) }
        var rank = q * counts[last]
        var index = 0
        while index < last, !(counts[index] >= rank) { index += 1 }
        if index == last { return (uppers[last - 1], isForced) }
        if index == 0, uppers[0] <= 0 { return (uppers[0], isForced) }
        var (start, count): (Double, Double) = (0, counts[index])
        if index > 0 {
            start = uppers[index - 1]
            count -= counts[index - 1]
            rank -= counts[index - 1]
        }
        return (start + (uppers[index] - start) * (rank / count), isForced)
    }

    private mutating func makeMonotonic() -> Bool {
        var (isForced, previous) = (false, counts[0])
        for index in counts.indices.dropFirst() {
            let count = counts[index]
            if count == previous { continue }
            if isClose(previous, count) {
                counts[index] = previous
            } else if count < previous {
                counts[index] = previous
                isForced = true
            } else {
                previous = count
            }
        }
        return isForced
    }

    private func isClose(_ one: Double, _ other: Double) -> Bool {
        if one.isNaN || other.isNaN { return one.isNaN && other.isNaN }
        let difference = (one - other).magnitude
        let size = one.magnitude + other.magnitude
        if one == 0 || other == 0 || size < .leastNormalMagnitude {
            return difference < Self.tolerance * .leastNormalMagnitude
        }
        return difference / min(size, .greatestFiniteMagnitude) < Self.tolerance
    }

    func fraction(_ lower: Double, _ upper: Double) -> Double {
        guard uppers.last == .infinity, let total = counts.last, total != 0, !lower.isNaN, !upper.isNaN else {
            return .nan
        }
        if lower >= upper { return 0 }
        return (min(rank(upper, total), total) - min(rank(lower, total), total)) / total
    }

    /// How many observations lie below a value.
    private func rank(_ value: Double, _ total: Double) -> Double {
        var (rank, low): (Double, Double) = (0, -.infinity)
        for (upper, count) in zip(uppers, counts) {
            if low >= value { return rank }
            if low < value, upper > value { return rank + (count - rank) * (value - low) / (upper - low) }
            (rank, low) = (count, upper)
        }
        return total
    }
}
