import Series

extension Evaluator {
    func aggregate<Sink: RowSink>(
        _ aggregation: Aggregation, _ node: Expression, _ steps: Steps, _ make: () -> Sink
    ) throws(PromQLError) -> [Sink] {
        switch aggregation.operation {
        case .countValues: return try countValues(aggregation, steps, make)
        case .topk, .bottomk, .limitk: return try select(aggregation, node, steps, make)
        case .limitRatio: return try ratio(aggregation, steps, make)
        default: break
        }
        var quantile: [Double] = []
        if aggregation.operation == .quantile, let parameter = aggregation.parameter {
            quantile = try column(parameter, steps)
            for q in quantile { lane.notes.invalidQuantile(q, at: parameter.range) }
        }
        // `without` drops the name too: what is left is no longer that metric.
        let names = aggregation.isWithout ? aggregation.labels + [Labels.metricNameLabel] : aggregation.labels
        let rule = GroupingRule(names, isWithout: aggregation.isWithout)
        let sinks = try stream(aggregation.operand, steps) {
            GroupSink(aggregation.operation, rule, steps: steps.count, at: aggregation.operand.range)
        }
        guard let result = sinks.first else { return [make()] }
        for other in sinks.dropFirst() { result.merge(other, lane) }
        let sink = make()
        try result.emit(to: sink, quantile, lane)
        return [sink]
    }

    private func countValues<Sink: RowSink>(_ aggregation: Aggregation, _ steps: Steps, _ make: () -> Sink)
        throws(PromQLError) -> [Sink]
    {
        guard let parameter = aggregation.parameter, case .string(let bytes) = parameter.unwrapped.kind else {
            return [make()]
        }
        guard let label = LabelName.valid(bytes) else {
            throw failure("invalid label name \(LabelName.quoted(bytes))", at: parameter.range)
        }
        let sinks = try stream(aggregation.operand, steps) { ValueCountSink(aggregation, label, steps: steps.count) }
        guard let result = sinks.first else { return [make()] }
        for other in sinks.dropFirst() { result.merge(other) }
        let sink = make()
        try result.emit(to: sink, lane)
        return [sink]
    }
}

/// Accumulates series into groups, step by step; the series themselves are not kept.
final class GroupSink: RowSink {
    private let operation: Aggregation.Operator
    private let rule: GroupingRule
    private let steps: Int
    private let place: Range<Int>
    // Touched for every series, and by one thread: not worth asking each time whether anybody else does.
    @exclusivity(unchecked) private var groups = GroupIndex()
    private var dropsName: [Bool] = []
    @exclusivity(unchecked) private var scratch: [UInt8] = []
    /// A place for each group and step. The value is absent until the group has something there.
    @exclusivity(unchecked) private var values: [Double] = []
    /// What the sum lost by rounding, or the mean (of deviations).
    @exclusivity(unchecked) private var rests: [Double] = []
    @exclusivity(unchecked) private var counts: [Double] = []
    private var lists: [[Double]] = []
    private var histograms: [Int: HistogramSum] = [:]
    /// Places whose sum left the range of numbers: the mean goes on incrementally.
    private var overflown: Set<Int> = []

    private struct HistogramSum {
        var sum: FloatHistogram
        var count = 1.0
        var isMismatch = false
    }

    init(_ operation: Aggregation.Operator, _ rule: GroupingRule, steps: Int, at place: Range<Int>) {
        self.operation = operation
        self.rule = rule
        self.steps = steps
        self.place = place
    }

    private func group(_ row: borrowing Row) -> Int {
        let dropsName = row.dropsName
        return rule.withKey(row.labels, &scratch) { group($0, dropsName: dropsName) }
    }

    private func group(_ key: UnsafeBufferPointer<UInt8>, dropsName: Bool) -> Int {
        let (index, isNew) = groups.find(key)
        if isNew {
            self.dropsName.append(dropsName)
            values += repeatElement(Absent.value, count: steps)
            switch operation {
            case .sum: rests += repeatElement(0, count: steps)
            case .avg, .stddev, .stdvar:
                rests += repeatElement(0, count: steps)
                counts += repeatElement(0, count: steps)
            case .quantile: lists += repeatElement([], count: steps)
            default: break
            }
        }
        return index
    }

    func takeNumber(
        _ number: Double, _ labels: UnsafeBufferPointer<UInt8>, _ row: inout Row, _ lane: Lane
    ) throws(PromQLError) {
        let place = rule.withKey(labels, &scratch) { group($0, dropsName: false) }
        switch operation {
        case .sum:
            if Absent.isAbsent(values[place]) {
                values[place] = number
            } else {
                Mathematics.add(number, &values[place], &rests[place])
            }
        case .avg: addMean(number, place)
        case .count: values[place] = Absent.isAbsent(values[place]) ? 1 : values[place] + 1
        case .group: values[place] = 1
        case .min, .max: addExtreme(number, place)
        case .stddev, .stdvar: addDeviation(number, place)
        case .quantile: lists[place].append(number)
        default: break
        }
    }

    func take(_ row: inout Row, _ lane: Lane) throws(PromQLError) {
        let start = group(row) * steps
        if !row.histograms.isEmpty { takeHistograms(row, start, lane) }
        row.values.withUnsafeBufferPointer { numbers in
            switch operation {
            case .sum: add(numbers, start)
            case .avg: addMeans(numbers, start)
            case .count:
                for step in 0..<steps where !Absent.isAbsent(numbers[step]) {
                    values[start + step] = Absent.isAbsent(values[start + step]) ? 1 : values[start + step] + 1
                }
            case .group: for step in 0..<steps where !Absent.isAbsent(numbers[step]) { values[start + step] = 1 }
            case .min, .max: for step in 0..<steps { addExtreme(numbers[step], start + step) }
            case .stddev, .stdvar: for step in 0..<steps { addDeviation(numbers[step], start + step) }
            case .quantile:
                for step in 0..<steps where !Absent.isAbsent(numbers[step]) {
                    lists[start + step].append(numbers[step])
                }
            default: break
            }
        }
    }

    private func add(_ numbers: UnsafeBufferPointer<Double>, _ start: Int) {
        values.withUnsafeMutableBufferPointer { values in
            rests.withUnsafeMutableBufferPointer { rests in
                for step in 0..<steps where !Absent.isAbsent(numbers[step]) {
                    if Absent.isAbsent(values[start + step]) {
                        values[start + step] = numbers[step]
                    } else {
                        Mathematics.add(numbers[step], &values[start + step], &rests[start + step])
                    }
                }
            }
        }
    }

    private func addMeans(_ numbers: UnsafeBufferPointer<Double>, _ start: Int) {
        for step in 0..<steps where !Absent.isAbsent(numbers[step]) { addMean(numbers[step], start + step) }
    }

    private func addMean(_ number: Double, _ place: Int) {
        counts[place] += 1
        let count = counts[place]
        if Absent.isAbsent(values[place]) {
            values[place] = number
            return
        }
        if !overflown.contains(place) {
            var (sum, rest) = (values[place], rests[place])
            Mathematics.add(number, &sum, &rest)
            if !sum.isInfinite {
                (values[place], rests[place]) = (sum, rest)
                return
            }
            overflown.insert(place)
            values[place] /= count - 1
            rests[place] /= count - 1
        }
        let share = (count - 1) / count
        values[place] *= share
        rests[place] *= share
        Mathematics.add(number / count, &values[place], &rests[place])
    }

    @inline(__always)
    private func addExtreme(_ number: Double, _ place: Int) {
        if Absent.isAbsent(number) { return }
        let value = values[place]
        // NaN, and absence which is one, give way to any number.
        if value.isNaN || (operation == .min ? number < value : number > value) {
            if !number.isNaN || Absent.isAbsent(value) { values[place] = number }
        }
    }

    private func addDeviation(_ number: Double, _ place: Int) {
        if Absent.isAbsent(number) { return }
        counts[place] += 1
        if Absent.isAbsent(values[place]) {
            values[place] = number.isFinite ? 0 : .nan
            rests[place] = number
            return
        }
        let difference = number - rests[place]
        rests[place] += difference / counts[place]
        values[place] += difference * (number - rests[place])
    }

    // MARK: Histograms

    private func takeHistograms(_ row: borrowing Row, _ start: Int, _ lane: Lane) {
        for step in 0..<steps {
            guard let histogram = row.histograms[step] else { continue }
            switch operation {
            case .sum, .avg: add(HistogramSum(sum: histogram), start + step, lane, name: row.labels)
            case .count: values[start + step] = Absent.isAbsent(values[start + step]) ? 1 : values[start + step] + 1
            case .group: values[start + step] = 1
            default: lane.notes.ignoredHistogram(in: operation.rawValue, at: place)
            }
        }
    }

    private func add(_ other: HistogramSum, _ place: Int, _ lane: Lane, name: Labels?) {
        guard var own = histograms.removeValue(forKey: place) else {
            histograms[place] = other
            return
        }
        own.isMismatch = own.isMismatch || other.isMismatch
        if !own.isMismatch {
            do throws(HistogramMismatch) {
                try own.sum.add(other.sum)
                own.count += other.count
            } catch {
                lane.notes.mismatch(error, name?.metricName ?? "", at: self.place)
                own.isMismatch = true
            }
        }
        histograms[place] = own
    }

    // MARK: Results

    /// Takes over the groups of another lane.
    func merge(_ other: GroupSink, _ lane: Lane) {
        for index in 0..<other.groups.count {
            let start = other.groups.withKey(index) { group($0, dropsName: other.dropsName[index]) } * steps
            for step in 0..<steps { merge(other, from: index * steps + step, into: start + step) }
        }
        for (from, sum) in other.histograms {
            let start = other.groups.withKey(from / steps) { group($0, dropsName: false) } * steps
            add(sum, start + from % steps, lane, name: nil)
        }
    }

    private func merge(_ other: GroupSink, from: Int, into: Int) {
        if operation == .quantile { lists[into] += other.lists[from] }
        let number = other.values[from]
        if Absent.isAbsent(number) { return }
        let isFirst = Absent.isAbsent(values[into])
        switch operation {
        case .sum:
            if isFirst { values[into] = 0 }
            Mathematics.add(number, &values[into], &rests[into])
            rests[into] += other.rests[from]
        case .avg: mergeMean(other, from, into, isFirst)
        case .count: values[into] = isFirst ? number : values[into] + number
        case .min, .max: addExtreme(number, into)
        case .stddev, .stdvar:
            let (mine, theirs) = (counts[into], other.counts[from])
            let difference = other.rests[from] - rests[into]
            values[into] =
                isFirst ? number : values[into] + number + difference * difference * mine * theirs / (mine + theirs)
            rests[into] = isFirst ? other.rests[from] : rests[into] + difference * theirs / (mine + theirs)
            counts[into] += theirs
        default: values[into] = number
        }
    }

    private func mergeMean(_ other: GroupSink, _ from: Int, _ into: Int, _ isFirst: Bool) {
        let (mine, theirs) = (counts[into], other.counts[from])
        counts[into] += theirs
        if isFirst {
            (values[into], rests[into]) = (other.values[from], other.rests[from])
            if other.overflown.contains(from) { overflown.insert(into) }
            return
        }
        var (sum, rest) = (values[into], rests[into])
        if !overflown.contains(into), !other.overflown.contains(from) {
            Mathematics.add(other.values[from], &sum, &rest)
            if !sum.isInfinite {
                (values[into], rests[into]) = (sum, rest + other.rests[from])
                return
            }
        }
        func mean(_ value: Double, _ isMean: Bool, _ count: Double) -> Double { isMean ? value : value / count }
        let own = mean(values[into], overflown.contains(into), mine)
        let added = mean(other.values[from], other.overflown.contains(from), theirs)
        values[into] = own * (mine / (mine + theirs)) + added * (theirs / (mine + theirs))
        rests[into] = 0
        overflown.insert(into)
    }

    func emit<Sink: RowSink>(to sink: Sink, _ quantile: [Double], _ lane: Lane) throws(PromQLError) {
        var row = Row(steps: steps)
        for index in 0..<groups.count {
            row.clear()
            row.labels = Labels(encoded: groups.key(index))
            row.dropsName = dropsName[index]
            for step in 0..<steps { result(index * steps + step, step, &row, quantile, lane) }
            if !row.isEmpty { try sink.take(&row, lane) }
        }
    }

    private func result(_ position: Int, _ step: Int, _ row: inout Row, _ quantile: [Double], _ lane: Lane) {
        let value = values[position]
        if !histograms.isEmpty, var sum = histograms[position] {
            if !Absent.isAbsent(value) {
                lane.notes.mixedAggregation(at: place)
            } else if !sum.isMismatch {
                if operation == .avg { sum.sum.divide(by: sum.count) }
                sum.sum.compact()
                row.set(sum.sum, at: step)
            }
            return
        }
        if operation == .quantile {
            if !lists[position].isEmpty { row.values[step] = Mathematics.quantile(quantile[step], &lists[position]) }
            return
        }
        if Absent.isAbsent(value) { return }
        switch operation {
        case .sum: row.values[step] = value + rests[position]
        case .avg:
            let isMean = overflown.contains(position)
            row.values[step] =
                isMean ? value + rests[position] : value / counts[position] + rests[position] / counts[position]
        case .stdvar: row.values[step] = value / counts[position]
        case .stddev: row.values[step] = (value / counts[position]).squareRoot()
        default: row.values[step] = value
        }
    }
}

/// Counts how often each value occurs in a group.
final class ValueCountSink: RowSink {
    private let rule: GroupingRule
    private let label: String
    private let steps: Int
    private var groups = GroupIndex()
    private var counts: [Double] = []
    private var scratch: [UInt8] = []

    init(_ aggregation: Aggregation, _ label: String, steps: Int) {
        self.label = label
        self.steps = steps
        let names = aggregation.labels + [aggregation.isWithout ? Labels.metricNameLabel : label]
        rule = GroupingRule(names, isWithout: aggregation.isWithout)
    }

    func take(_ row: inout Row, _ lane: Lane) throws(PromQLError) {
        var last: (text: String, group: Int)?
        for step in 0..<steps where row.isPresent(at: step) {
            let text = row.histogram(at: step)?.description ?? NumberText.plain(row.values[step])
            if last?.text != text {
                last = (text, rule.withKey(row.labels.with(label, text), &scratch) { group($0) })
            }
            if let last { counts[last.group * steps + step] += 1 }
        }
    }

    private func group(_ key: UnsafeBufferPointer<UInt8>) -> Int {
        let (index, isNew) = groups.find(key)
        if isNew { counts += repeatElement(0, count: steps) }
        return index
    }

    func merge(_ other: ValueCountSink) {
        for index in 0..<other.groups.count {
            let start = other.groups.withKey(index) { group($0) } * steps
            for step in 0..<steps { counts[start + step] += other.counts[index * steps + step] }
        }
    }

    func emit<Sink: RowSink>(to sink: Sink, _ lane: Lane) throws(PromQLError) {
        var row = Row(steps: steps)
        for index in 0..<groups.count {
            row.clear()
            row.labels = Labels(encoded: groups.key(index))
            for step in 0..<steps where counts[index * steps + step] > 0 {
                row.values[step] = counts[index * steps + step]
            }
            try sink.take(&row, lane)
        }
    }
}

extension FloatHistogram: CustomStringConvertible {
    /// As Prometheus writes it: `{count:3, sum:4, (1,2]:3}`.
    package var description: String {
        var text = "{count:\(NumberText.general(count)), sum:\(NumberText.general(sum))"
        for bucket in allBuckets where bucket.count != 0 {
            let ends = "\(NumberText.general(bucket.lower)),\(NumberText.general(bucket.upper))"
            text +=
                ", \(bucket.lower < 0 ? "[" : "(")\(ends)\(bucket.upper > 0 ? "]" : ")"):\(NumberText.general(bucket.count))"
        }
        return text + "}"
    }
}
