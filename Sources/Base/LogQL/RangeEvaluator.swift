internal import LogStore
internal import Series

/// Makes figures of the lines within a range before each step: `(step - range, step]`.
struct RangeEvaluator {
    private let aggregation: RangeAggregation
    private let steps: LogSteps
    private let limits: LogEngine.Limits
    /// The vector aggregation around it, if series may be told apart by its labels alone.
    private let outer: Grouping?

    private var places: [Labels: Int] = [:]
    private var labels: [Labels] = []
    /// For counts: what each step's count differs by from the step before.
    private var changes: [[Double]] = []
    /// For all else: times and values.
    private var samples: [[(time: Int64, value: Double)]] = []
    private var sampleCount = 0

    init(_ aggregation: RangeAggregation, _ steps: LogSteps, _ limits: LogEngine.Limits, outer: Grouping?) {
        self.aggregation = aggregation
        self.steps = steps
        self.limits = limits
        self.outer = outer
    }

    /// Whether lines are only counted, whatever stands in them.
    private var isTextless: Bool {
        guard isCount, ![.bytes, .bytesRate].contains(aggregation.function) else { return false }
        return aggregation.source.stages.allSatisfy { stage in
            switch stage {
            case .label, .keep, .drop: true
            default: false
            }
        }
    }

    /// Counts of lines and bytes need no sample kept: whole numbers add up exactly in any order.
    private var isCount: Bool { aggregation.unwrap == nil }

    mutating func run(_ store: LogStore) throws -> [LogSeries] {
        let (low, lowOverflow) = (steps.from - aggregation.offset).subtractingReportingOverflow(aggregation.range)
        let high = steps.to - aggregation.offset
        guard !lowOverflow, high < .max else { throw LogQLError("the range of the query leaves the calendar") }
        // The store's ranges hold their first moment and not their last: one nanosecond later at either end.
        var selection = aggregation.source.selection(from: low + 1, to: high + 1, .any)
        selection.wantsText = !isTextless
        var pipeline = Pipeline(aggregation.source.stages)
        let isPlain = !pipeline.changesLabels && aggregation.unwrap == nil
        var known: [Int: Int] = [:]
        try store.scan(selection) { line in
            if isPlain, line.metadata.isEmpty, let place = known[line.streamID] {
                if let bytes = pipeline.run(line, { _, text in text.count }) {
                    try add(line.time, Double(bytes), to: place)
                }
                return true
            }
            _ = try pipeline.run(line) { state, text in
                guard let value = value(&state, text) else { return }
                if let fault = state[LineState.errorLabel] {
                    throw LogQLError(
                        "pipeline error \"\(fault)\": \(state[LineState.errorDetails] ?? "") in the stream "
                            + "\(line.stream); add | __error__=\"\" to leave such lines out")
                }
                let place = try self.place(seriesLabels(state))
                if isPlain, line.metadata.isEmpty { known[line.streamID] = place }
                try add(line.time, value, to: place)
            }
            return true
        }
        if aggregation.function == .absent { return absent() }
        return labels.indices.map { LogSeries(labels: labels[$0], values: isCount ? counts($0) : figures($0)) }
    }

    /// What a line counts; nil leaves it out.
    private func value(_ state: inout LineState, _ text: UnsafeBufferPointer<UInt8>) -> Double? {
        guard let unwrap = aggregation.unwrap else { return Double(text.count) }
        guard let written = state[unwrap.label] else { return nil }
        let value: Double? =
            switch unwrap.conversion {
            case .number: Double(written)
            case .duration, .durationSeconds: Quantities.duration(written).map { $0 / 1e9 }
            case .bytes: Quantities.bytes(written)
            }
        if value == nil { state.fail(.sample, "\"\(written)\" of \"\(unwrap.label)\" is no number") }
        for stage in unwrap.stages where !stage.apply(&state, text) { return nil }
        state.remove(unwrap.label)
        return value ?? 0
    }

    private func seriesLabels(_ state: LineState) -> Labels {
        let grouping = aggregation.grouping ?? outer
        guard let grouping else { return state.labels }
        return Labels(state.pairs.filter { grouping.names.contains($0.name) != grouping.isWithout })
    }

    private mutating func place(_ key: Labels) throws -> Int {
        if let place = places[key] { return place }
        guard labels.count < limits.series else {
            throw LogQLError("the query makes more than \(limits.series) series; group them by fewer labels")
        }
        places[key] = labels.count
        labels.append(key)
        if isCount { changes.append(Array(repeating: 0, count: steps.count + 1)) } else { samples.append([]) }
        return labels.count - 1
    }

    private mutating func add(_ time: Int64, _ value: Double, to place: Int) throws {
        guard isCount else {
            guard sampleCount < limits.samples else {
                throw LogQLError("the query would hold more than \(limits.samples) values; ask for a shorter time")
            }
            samples[place].append((time, value))
            sampleCount += 1
            return
        }
        // The steps in [time, time + range) see the line.
        let shifted = time + aggregation.offset
        let first = max(0, Self.ceiling(shifted - steps.from, steps.step))
        let last = min(Int64(steps.count), Self.ceiling(shifted + aggregation.range - steps.from, steps.step))
        guard first < last else { return }
        let amount = aggregation.function == .bytes || aggregation.function == .bytesRate ? value : 1
        changes[place][Int(first)] += amount
        changes[place][Int(last)] -= amount
    }

    private static func ceiling(_ number: Int64, _ divisor: Int64) -> Int64 {
        number / divisor + (number % divisor > 0 ? 1 : 0)
    }

    private var seconds: Double { Double(aggregation.range) / 1e9 }

    private func counts(_ place: Int) -> [Double?] {
        let divisor = aggregation.function == .rate || aggregation.function == .bytesRate ? seconds : 1
        var total = 0.0
        return changes[place].dropLast().map { change in
            total += change
            return total > 0 ? total / divisor : nil
        }
    }

    private func figures(_ place: Int) -> [Double?] {
        let sorted = samples[place].sorted { $0.time < $1.time }
        var (low, high) = (0, 0)
        return (0..<steps.count).map { index in
            let end = steps.time(index) - aggregation.offset
            while high < sorted.count, sorted[high].time <= end { high += 1 }
            while low < high, sorted[low].time <= end - aggregation.range { low += 1 }
            return low < high ? figure(sorted[low..<high]) : nil
        }
    }

    private func figure(_ window: ArraySlice<(time: Int64, value: Double)>) -> Double? {
        let values = window.lazy.map(\.value)
        let count = Double(window.count)
        switch aggregation.function {
        case .sum: return values.reduce(0, +)
        case .rate: return values.reduce(0, +) / seconds
        case .average: return values.reduce(0, +) / count
        case .least: return values.min()
        case .most: return values.max()
        case .first: return window.first?.value
        case .last: return window.last?.value
        case .quantile: return Self.quantile(aggregation.parameter, Array(values))
        case .variance: return Self.variance(values)
        case .deviation: return Self.variance(values).squareRoot()
        case .rateCounter:
            // What the counter grew by; where it falls it began anew.
            let growth = zip(values, values.dropFirst()).reduce(0) { $0 + ($1.1 >= $1.0 ? $1.1 - $1.0 : $1.1) }
            return growth / seconds
        case .count, .bytes, .bytesRate, .absent: return nil
        }
    }

    private static func variance(_ values: some Sequence<Double>) -> Double {
        var (count, mean, squares) = (0.0, 0.0, 0.0)
        for value in values {
            count += 1
            let distance = value - mean
            mean += distance / count
            squares += distance * (value - mean)
        }
        return count > 0 ? squares / count : .nan
    }

    /// Between two ranks by their distance, as Prometheus does.
    static func quantile(_ share: Double, _ values: [Double]) -> Double {
        if values.isEmpty || share.isNaN { return .nan }
        if share < 0 { return -.infinity }
        if share > 1 { return .infinity }
        let sorted = values.sorted()
        let rank = share * Double(sorted.count - 1)
        let low = Int(rank.rounded(.down))
        let high = min(low + 1, sorted.count - 1)
        let weight = rank - rank.rounded(.down)
        return sorted[low] * (1 - weight) + sorted[high] * weight
    }

    /// One series of ones where no line was at all.
    private func absent() -> [LogSeries] {
        var isThere = [Bool](repeating: false, count: steps.count)
        for place in labels.indices {
            for (step, value) in (isCount ? counts(place) : figures(place)).enumerated() where value != nil {
                isThere[step] = true
            }
        }
        let known = aggregation.source.matchers.filter { $0.comparison == .equal }.map { ($0.name, $0.value) }
        return [LogSeries(labels: Labels(known), values: isThere.map { $0 ? nil : 1 })]
    }
}
