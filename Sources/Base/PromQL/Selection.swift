import Series

/// Reading series: the only place where samples come in.
extension Evaluator {
    /// The time a selector looks at for each step: its `@`, or the step's own, less its offset.
    func times(_ steps: Steps, _ at: AtModifier?, _ offset: DurationText?) -> Steps {
        var steps = steps
        switch at {
        case .time(let time): (steps.start, steps.interval) = (time, 0)
        case .start: (steps.start, steps.interval) = (query.start, 0)
        case .end: (steps.start, steps.interval) = (query.end, 0)
        case nil: break
        }
        steps.start -= offset?.milliseconds ?? 0
        return steps
    }

    func select(
        _ matchers: [LabelMatcher], from: Int64, to: Int64, resolution: Int64 = 0, newestOnly: Bool = false
    ) throws(PromQLError) -> any SeriesSet {
        var selection = Selection(matchers, from: from, to: to)
        selection.resolution = resolution
        selection.newestOnly = newestOnly
        do {
            return try source.select(selection)
        } catch {
            throw storageFailure(error)
        }
    }

    func storageFailure(_ error: any Error) -> PromQLError {
        if let error = error as? PromQLError { return error }
        if let error = error as? SeriesError, error.code == .cancelled { return failure(error.description, .cancelled) }
        return failure("expanding series: \(error)", .storage)
    }

    private func failure(_ message: String, _ kind: PromQLError.Kind) -> PromQLError { PromQLError(kind, message) }

    /// Fewer series and steps than this are not worth a second thread.
    private static let workPerLane = 20_000

    /// Hands each series of a set to the body with the lane's sink, on several threads where it pays.
    func readAll<Sink: RowSink>(
        _ set: any SeriesSet, work: Int, _ make: () -> Sink,
        _ body: @escaping (Int, inout Row, Sink, Lane) throws(PromQLError) -> Void, steps: Int
    ) throws(PromQLError) -> [Sink] {
        let lanes = max(1, min(options.lanes, set.count * work / Self.workPerLane))
        let share = (set.count + lanes - 1) / max(lanes, 1)
        var (sinks, workers, failures): ([Sink], [Lane], [PromQLError?]) = ([], [], [])
        for index in 0..<lanes {
            sinks.append(make())
            workers.append(index == lanes - 1 ? lane : Lane(options, guardian))
            failures.append(nil)
        }
        failures.withUnsafeMutableBufferPointer { failures in
            let failures = failures
            Lanes.run(
                (0..<lanes).map { index in
                    let (sink, worker) = (sinks[index], workers[index])
                    let range = min(index * share, set.count)..<min((index + 1) * share, set.count)
                    return {
                        do throws(PromQLError) {
                            var row = Row(steps: steps)
                            for series in range {
                                try worker.poll()
                                try body(series, &row, sink, worker)
                            }
                        } catch {
                            failures[index] = error
                        }
                    }
                })
        }
        for worker in workers where worker !== lane { lane.notes.merge(worker.notes) }
        for case let failure? in failures { throw failure }
        return sinks
    }

    private func read(_ set: any SeriesSet, _ index: Int, _ lane: Lane) throws(PromQLError) {
        do {
            try set.read(index, into: &lane.buffer)
        } catch {
            throw storageFailure(error)
        }
        try budget.check(lane.buffer.count)
    }

    /// The last sample before each step, no older than the lookback; or that sample's time.
    func instants<Sink: RowSink>(
        _ selector: VectorSelector, _ steps: Steps, keepsTime: Bool, _ make: () -> Sink
    ) throws(PromQLError) -> [Sink] {
        let times = times(steps, selector.at, selector.offset)
        let lookback = options.lookback
        let set = try select(
            selector.matchers, from: times.start - lookback + 1, to: times.end, newestOnly: steps.count == 1)
        let body: (Int, inout Row, Sink, Lane) throws(PromQLError) -> Void = {
            (index, row, sink, lane) throws(PromQLError) in
            if times.count == 1, let newest = set.newest(at: index) {
                if Absent.isAbsent(newest.value) || newest.time > times.start { return }
                let number = keepsTime ? Double(newest.time) : newest.value
                return try sink.takeNumber(number, newest.labels, &row, lane)
            }
            try self.read(set, index, lane)
            guard Self.fill(&row, &lane.buffer, times, lookback: lookback, keepsTime: keepsTime) else { return }
            row.labels = set.labels(at: index)
            row.dropsName = false
            try sink.take(&row, lane)
        }
        return try readAll(set, work: steps.count + 4, make, body, steps: steps.count)
    }

    /// - Returns: Whether any step has a sample.
    private static func fill(
        _ row: inout Row, _ buffer: inout SampleBuffer, _ times: Steps, lookback: Int64, keepsTime: Bool
    ) -> Bool {
        if !row.histograms.isEmpty { row.histograms.removeAll(keepingCapacity: true) }
        var found = false
        buffer.times.withUnsafeBufferPointer { sampleTimes in
            buffer.values.withUnsafeBufferPointer { samples in
                row.values.withUnsafeMutableBufferPointer { values in
                    var next = 0
                    for step in 0..<times.count {
                        let time = times.time(step)
                        while next < sampleTimes.count, sampleTimes[next] <= time { next += 1 }
                        // A staleness marker is the mark of absence.
                        var value = Absent.value
                        if next > 0, sampleTimes[next - 1] > time - lookback { value = samples[next - 1] }
                        let isHere = !Absent.isAbsent(value)
                        found = found || isHere
                        values[step] = isHere && keepsTime ? Double(sampleTimes[next - 1]) : value
                    }
                }
            }
        }
        return buffer.hasHistograms
            ? fillHistograms(&row, &buffer, times, lookback: lookback, keepsTime: keepsTime) : found
    }

    /// The same for series that hold histograms, over what was filled in for the numbers.
    private static func fillHistograms(
        _ row: inout Row, _ buffer: inout SampleBuffer, _ times: Steps, lookback: Int64, keepsTime: Bool
    ) -> Bool {
        var next = 0
        for step in 0..<times.count {
            let time = times.time(step)
            while next < buffer.times.count, buffer.times[next] <= time { next += 1 }
            let index = next - 1
            guard index >= 0, buffer.times[index] > time - lookback, buffer.histogramAt[index] >= 0 else { continue }
            row.values[step] = Absent.value
            let histogram = buffer.histograms[Int(buffer.histogramAt[index])]
            if StaleMarker.isStale(histogram.sum) { continue }
            if keepsTime { row.values[step] = Double(buffer.times[index]) } else { row.set(histogram, at: step) }
        }
        return !row.isEmpty
    }

    /// The samples of a range selector, series by series.
    func windows<Sink: WindowSink>(
        _ selector: VectorSelector, _ range: Int64, _ steps: Steps, at place: Range<Int>, _ make: () -> Sink
    ) throws(PromQLError) -> [Sink] {
        let times = times(steps, selector.at, selector.offset)
        let set = try select(selector.matchers, from: times.start - range + 1, to: times.end)
        let body: (Int, inout Row, Sink, Lane) throws(PromQLError) -> Void = {
            (index, row, sink, lane) throws(PromQLError) in
            try self.read(set, index, lane)
            sink.samples.load(&lane.buffer)
            if sink.samples.isEmpty { return }
            row.clear()
            row.labels = set.labels(at: index)
            try sink.take(&row, times, range, lane)
        }
        return try readAll(set, work: steps.count * 3 + 8, make, body, steps: steps.count)
    }

    /// The samples of a subquery, series by series.
    func windows<Sink: WindowSink>(
        _ inner: Expression, _ subquery: Subquery, _ steps: Steps, _ make: () -> Sink
    ) throws(PromQLError) -> [Sink] {
        let times = times(steps, subquery.at, subquery.offset)
        let range = subquery.range.milliseconds
        let interval = subquery.step?.milliseconds ?? options.defaultSubqueryStep
        let before = times.start - range
        var start = interval * (before / interval)
        if start <= before { start += interval }
        guard times.end >= start else { return [make()] }
        let count = (times.end - start) / interval + 1
        if count > Int64(Self.stepLimit) { throw SampleBudget.exceeded }
        let innerSteps = Steps(start: start, interval: interval, count: Int(count))
        return try stream(inner, innerSteps) { SubquerySink(make(), innerSteps, times, range) }.map(\.down)
    }
}

/// Takes a series' samples for windows to slide over. The samples are put in place before each call.
protocol WindowSink: RowSink {
    var samples: WindowSamples { get set }
    /// The row holds labels and is otherwise empty.
    func take(_ row: inout Row, _ times: Steps, _ range: Int64, _ lane: Lane) throws(PromQLError)
}

extension WindowSink {
    // Rows come with samples only.
    func take(_ row: inout Row, _ lane: Lane) throws(PromQLError) {}
}

/// Makes rows of a subquery's steps into samples.
final class SubquerySink<Down: WindowSink>: RowSink {
    let down: Down
    private let inner: Steps
    private let times: Steps
    private let range: Int64
    private var wide: Row

    init(_ down: Down, _ inner: Steps, _ times: Steps, _ range: Int64) {
        self.down = down
        self.inner = inner
        self.times = times
        self.range = range
        wide = Row(steps: times.count)
    }

    func take(_ row: inout Row, _ lane: Lane) throws(PromQLError) {
        down.samples.load(row, inner)
        wide.clear()
        wide.labels = row.labels
        wide.dropsName = row.dropsName
        try down.take(&wide, times, range, lane)
    }
}

/// One series' samples, numbers apart from histograms, staleness markers taken out.
struct WindowSamples {
    var times: [Int64] = []
    var values: [Double] = []
    var histogramTimes: [Int64] = []
    var histograms: [FloatHistogram] = []

    var isEmpty: Bool { times.isEmpty && histogramTimes.isEmpty }

    private mutating func removeAll() {
        times.removeAll(keepingCapacity: true)
        values.removeAll(keepingCapacity: true)
        histogramTimes.removeAll(keepingCapacity: true)
        histograms.removeAll(keepingCapacity: true)
    }

    /// Takes what a source read; the buffer gets the old memory in return.
    mutating func load(_ buffer: inout SampleBuffer) {
        if !buffer.hasHistograms, !buffer.values.contains(where: { Absent.isAbsent($0) }) {
            swap(&times, &buffer.times)
            swap(&values, &buffer.values)
            histogramTimes.removeAll(keepingCapacity: true)
            histograms.removeAll(keepingCapacity: true)
            return
        }
        removeAll()
        for index in buffer.times.indices {
            if buffer.hasHistograms, buffer.histogramAt[index] >= 0 {
                let histogram = buffer.histograms[Int(buffer.histogramAt[index])]
                if StaleMarker.isStale(histogram.sum) { continue }
                histogramTimes.append(buffer.times[index])
                histograms.append(histogram)
            } else if !StaleMarker.isStale(buffer.values[index]) {
                times.append(buffer.times[index])
                values.append(buffer.values[index])
            }
        }
    }

    /// Takes the steps of a row. What histograms say of resets does not hold between a subquery's steps.
    mutating func load(_ row: Row, _ steps: Steps) {
        removeAll()
        for step in row.values.indices {
            if !Absent.isAbsent(row.values[step]) {
                times.append(steps.time(step))
                values.append(row.values[step])
            } else if var histogram = row.histogram(at: step) {
                if histogram.counterReset != .gauge { histogram.counterReset = .unknown }
                histogramTimes.append(steps.time(step))
                histograms.append(histogram)
            }
        }
    }
}

/// Collects the samples themselves, in one window.
final class SamplesSink: WindowSink {
    var samples = WindowSamples()
    private(set) var labels: [Labels] = []
    private(set) var buffers: [SampleBuffer] = []
    private let budget: SampleBudget

    init(_ budget: SampleBudget) { self.budget = budget }

    func take(_ row: inout Row, _ times: Steps, _ range: Int64, _ lane: Lane) throws(PromQLError) {
        var merged = SampleBuffer()
        var (number, histogram) = (0, 0)
        let (from, to) = (times.start - range, times.start)
        while number < samples.times.count || histogram < samples.histogramTimes.count {
            let isNumber =
                histogram == samples.histogramTimes.count
                || (number < samples.times.count && samples.times[number] < samples.histogramTimes[histogram])
            let time = isNumber ? samples.times[number] : samples.histogramTimes[histogram]
            if time > from, time <= to {
                if isNumber {
                    merged.append(time, samples.values[number])
                } else {
                    merged.append(time, samples.histograms[histogram])
                }
            }
            if isNumber { number += 1 } else { histogram += 1 }
        }
        if merged.count == 0 { return }
        try budget.charge(merged.count)
        labels.append(row.dropsName ? row.labels.withoutMetadata : row.labels)
        buffers.append(merged)
    }
}
