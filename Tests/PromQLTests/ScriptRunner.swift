import Series

@testable import PromQL

/// Runs scripts against the engine and compares.
struct ScriptRunner {
    private(set) var evaluations = 0
    private(set) var failures: [String] = []
    private var source = MemorySource()
    private let engine: PromQLEngine

    init() {
        var options = EngineOptions()
        options.maximumSamples = 10_000
        engine = PromQLEngine(options)
    }

    mutating func run(_ script: Script) {
        for command in script.commands {
            switch command {
            case .clear: source = MemorySource()
            case .load(let step, let withCustomBuckets, let series):
                load(step, series)
                if withCustomBuckets {
                    for (labels, samples) in CustomBuckets.convert(series, step: step) {
                        for (time, histogram) in samples { source.append(labels, time, .histogram(histogram)) }
                    }
                }
            case .evaluate(let evaluation):
                evaluations += 1
                do {
                    try check(evaluation)
                } catch {
                    failures.append("line \(evaluation.line): \(evaluation.expression): \(error)")
                }
            }
        }
    }

    private mutating func load(_ step: Int64, _ series: [SeriesDescription]) {
        for one in series {
            for (index, value) in one.values.enumerated() {
                let time = Int64(index) * step
                switch value {
                case .omitted: break
                case .number(let number): source.append(one.labels, time, .number(number))
                case .histogram(let histogram): source.append(one.labels, time, .histogram(histogram))
                }
            }
        }
    }

    private struct Mismatch: Error, CustomStringConvertible {
        var description: String
        init(_ description: String) { self.description = description }
    }

    private func check(_ evaluation: Script.Evaluation) throws {
        let answer: QueryAnswer
        do {
            let expression = try parseExpression(evaluation.expression)
            answer = try ask(expression, evaluation, at: evaluation.times.from)
        } catch {
            if evaluation.expects("fail") { return try checkFailure(error, evaluation) }
            throw error
        }
        if evaluation.expects("fail") { throw Mismatch("should have failed") }
        try checkNotes(answer, evaluation)
        try compare(answer, evaluation, isOrdered: evaluation.expects("ordered") && !evaluation.isRange)
        if !evaluation.isRange { try checkOtherWays(evaluation) }
    }

    private func ask(_ expression: Expression, _ evaluation: Script.Evaluation, at time: Int64) throws -> QueryAnswer {
        if evaluation.isRange {
            let (from, to, step) = evaluation.times
            return try engine.range(
                expression, text: evaluation.expression, from: from, to: to, step: step, source: source)
        }
        return try engine.instant(expression, text: evaluation.expression, at: time, source: source)
    }

    private func checkFailure(_ error: any Error, _ evaluation: Script.Evaluation) throws {
        for expected in evaluation.expectations where expected.kind == "fail" {
            guard let text = expected.text else { continue }
            if expected.isPattern ? try "\(error)".firstMatch(of: Regex(text)) == nil : "\(error)" != text {
                throw Mismatch("failed with \"\(error)\" instead of \"\(text)\"")
            }
        }
    }

    private func checkNotes(_ answer: QueryAnswer, _ evaluation: Script.Evaluation) throws {
        for (kind, isWarning) in [("warn", true), ("info", false)] {
            let texts = answer.notes.filter { $0.isWarning == isWarning }.map(\.text)
            let expected = evaluation.expectations.filter { $0.kind == kind }
            if !expected.isEmpty, texts.isEmpty { throw Mismatch("expected \(kind), got none") }
            if evaluation.expects("no_\(kind)"), !texts.isEmpty { throw Mismatch("expected no \(kind), got \(texts)") }
            let worded = expected.filter { $0.text != nil }
            for expectation in worded where try !texts.contains(where: { try matches($0, expectation) }) {
                throw Mismatch("expected \(kind) \(expectation.text ?? ""), got \(texts)")
            }
            if !worded.isEmpty, worded.count == expected.count {
                for text in texts where try !worded.contains(where: { try matches(text, $0) }) {
                    throw Mismatch("unexpected \(text)")
                }
            }
        }
    }

    private func matches(_ text: String, _ expectation: Script.Expectation) throws -> Bool {
        guard let wanted = expectation.text else { return true }
        return expectation.isPattern ? try text.firstMatch(of: Regex(wanted)) != nil : text == wanted
    }

    private func compare(_ answer: QueryAnswer, _ evaluation: Script.Evaluation, isOrdered: Bool) throws {
        switch answer.value {
        case .scalar(let value, _):
            guard let expected = evaluation.scalar else { throw Mismatch("got the scalar \(value)") }
            if !isClose(expected, value) { throw Mismatch("expected \(expected), got \(value)") }
        case .string(let value, _):
            if evaluation.string != value {
                throw Mismatch("expected \(evaluation.string ?? "no string"), got \(value)")
            }
        case .vector(let list):
            if evaluation.scalar != nil { throw Mismatch("expected a scalar, got a vector") }
            try compare(list, evaluation, (evaluation.times.from, evaluation.times.from, 1), isOrdered: isOrdered)
        case .matrix(let list):
            if evaluation.scalar != nil { throw Mismatch("expected a scalar, got a matrix") }
            if list.labels != list.labels.sorted() { throw Mismatch("the matrix is not sorted") }
            try compare(list, evaluation, evaluation.rangeVector ?? evaluation.times, isOrdered: false)
        }
    }

    private func compare(
        _ list: SeriesList, _ evaluation: Script.Evaluation, _ times: (from: Int64, to: Int64, step: Int64),
        isOrdered: Bool
    ) throws {
        for index in 0..<list.count {
            guard let position = evaluation.series.firstIndex(where: { $0.labels == list.labels[index] }) else {
                throw Mismatch("unexpected series \(list.labels[index]) with \(text(list.samples(of: index)))")
            }
            if isOrdered, position != index {
                throw Mismatch("\(list.labels[index]) is at \(index), not at \(position)")
            }
            try compare(list.samples(of: index), evaluation.series[position], times)
        }
        for expected in evaluation.series where !list.labels.contains(expected.labels) {
            throw Mismatch("no series \(expected.labels); got \(list.labels)")
        }
        if Set(list.labels).count != list.count { throw Mismatch("a series twice") }
    }

    private func compare(
        _ samples: SampleBuffer, _ expected: SeriesDescription, _ times: (from: Int64, to: Int64, step: Int64)
    ) throws {
        var position = 0
        for (index, value) in expected.values.enumerated() where value != .omitted {
            let time = times.from + Int64(index) * times.step
            guard position < samples.count, samples.times[position] == time else {
                throw Mismatch("\(expected.labels) has no sample at \(time): \(text(samples))")
            }
            let at = samples.hasHistograms ? Int(samples.histogramAt[position]) : -1
            switch value {
            case .number(let number):
                if at >= 0 || !isClose(number, samples.values[position]) {
                    throw Mismatch("\(expected.labels) at \(time): expected \(number), got \(text(samples))")
                }
            case .histogram(let histogram):
                if at < 0 || !isClose(histogram.compacted(), samples.histograms[at].compacted()) {
                    throw Mismatch("\(expected.labels) at \(time): expected \(histogram), got \(text(samples))")
                }
            case .omitted: break
            }
            position += 1
        }
        if position < samples.count {
            throw Mismatch("\(expected.labels) has more samples than expected: \(text(samples))")
        }
    }

    private func text(_ samples: SampleBuffer) -> String {
        samples.times.indices.prefix(12).map { index in
            let at = samples.hasHistograms ? Int(samples.histogramAt[index]) : -1
            return "\(samples.times[index]): " + (at >= 0 ? "\(samples.histograms[at])" : "\(samples.values[index])")
        }.joined(separator: ", ")
    }

    // MARK: What must hold of every instant query

    /// It equals the middle of a short range query, and does not change when all is pinned and asked at another time.
    private func checkOtherWays(_ evaluation: Script.Evaluation) throws {
        let time = evaluation.times.from
        let expression = try parseExpression(evaluation.expression)
        guard expression.type == .vector || expression.type == .scalar else { return }
        if expression.description != (try parseExpression(expression.description)).description {
            throw Mismatch("does not print as it parses: \(expression)")
        }
        let range = try engine.range(expression, from: time - 60_000, to: time + 60_000, step: 60_000, source: source)
        if evaluation.expects("ordered") { return }
        guard case .matrix(let list) = range.value else { throw Mismatch("a range query gave no matrix") }
        try compareMiddle(list, evaluation, time)
        guard let pinned = Pinning.pinned(expression, at: time) else { return }
        let others = time == 0 ? [-1_000, 0, 1_000] : [-10 * time, 0, time / 5, time, 10 * time]
        for other in others {
            let again = try parseExpression(pinned.description)
            let answer = try engine.instant(again, at: other, source: source)
            do {
                try compare(answer.moved(to: time), evaluation, isOrdered: false)
            } catch {
                throw Mismatch("pinned (\(pinned)) and asked at \(other): \(error)")
            }
        }
    }

    private func compareMiddle(_ list: SeriesList, _ evaluation: Script.Evaluation, _ time: Int64) throws {
        var (labels, buffers): ([Labels], [SampleBuffer]) = ([], [])
        for index in 0..<list.count {
            var middle = SampleBuffer()
            list.forEachSample(of: index) { at, value, histogram in
                guard at == time else { return }
                if let histogram { middle.append(at, histogram) } else { middle.append(at, value) }
            }
            if middle.count == 0 { continue }
            labels.append(list.labels[index])
            buffers.append(middle)
        }
        do {
            if let scalar = evaluation.scalar {
                if !isClose(scalar, buffers.first?.values.first ?? .nan) { throw Mismatch("\(buffers)") }
            } else {
                try compare(
                    SeriesList(labels: labels, .samples(buffers)), evaluation, (time, time, 1), isOrdered: false)
            }
        } catch {
            throw Mismatch("as the middle of a range: \(error)")
        }
    }
}

extension QueryAnswer {
    /// The same with another time.
    func moved(to time: Int64) -> QueryAnswer {
        guard case .vector(let list) = value else { return self }
        let buffers = (0..<list.count).map { index in
            var samples = list.samples(of: index)
            samples.times = samples.times.map { _ in time }
            return samples
        }
        var copy = self
        copy.value = .vector(SeriesList(labels: list.labels, .samples(buffers)))
        return copy
    }
}

/// Equal up to rounding, as Prometheus's own runner compares.
func isClose(_ one: Double, _ other: Double) -> Bool {
    if StaleMarker.isStale(one) || StaleMarker.isStale(other) { return one.bitPattern == other.bitPattern }
    if one.isNaN, other.isNaN { return true }
    if one == other { return true }
    let (difference, size) = ((one - other).magnitude, one.magnitude + other.magnitude)
    if one == 0 || other == 0 || size < .leastNormalMagnitude { return difference < 1e-6 * .leastNormalMagnitude }
    return difference / min(size, .greatestFiniteMagnitude) < 1e-6
}

func isClose(_ one: FloatHistogram, _ other: FloatHistogram) -> Bool {
    func areClose(_ one: [Double], _ other: [Double]) -> Bool {
        one.count == other.count && zip(one, other).allSatisfy { isClose($0, $1) }
    }
    return one.schema == other.schema && one.zeroThreshold == other.zeroThreshold
        && one.positiveSpans == other.positiveSpans
        && one.negativeSpans == other.negativeSpans && one.customValues == other.customValues
        && areClose([one.count, one.sum, one.zeroCount], [other.count, other.sum, other.zeroCount])
        && areClose(one.positiveBuckets, other.positiveBuckets) && areClose(one.negativeBuckets, other.negativeBuckets)
}

/// Fixes every selector of a query to a time.
enum Pinning {
    /// Nil when a function's result changes with the time although its arguments do not.
    static func pinned(_ expression: Expression, at time: Int64) -> Expression? {
        var result = expression
        switch expression.kind {
        case .number, .string: break
        case .selector(var selector):
            selector.at = selector.at ?? .time(time)
            result.kind = .selector(selector)
        case .range(var selector, let range):
            selector.at = selector.at ?? .time(time)
            result.kind = .range(selector, range)
        case .subquery(let inner, var subquery):
            if inner.hasTimeDependence { return nil }
            subquery.at = subquery.at ?? .time(time)
            result.kind = .subquery(inner, subquery)
        case .call(let function, let arguments):
            if function.dependsOnTime { return nil }
            var pinned: [Expression] = []
            for (index, argument) in arguments.enumerated() {
                if function == .info, index == 1 {
                    pinned.append(argument)
                    continue
                }
                guard let one = Pinning.pinned(argument, at: time) else { return nil }
                pinned.append(one)
            }
            result.kind = .call(function, pinned)
        case .aggregate(var aggregation):
            guard let operand = pinned(aggregation.operand, at: time) else { return nil }
            aggregation.operand = operand
            if let parameter = aggregation.parameter {
                guard let one = pinned(parameter, at: time) else { return nil }
                aggregation.parameter = one
            }
            result.kind = .aggregate(aggregation)
        case .binary(var operation):
            guard let left = pinned(operation.left, at: time), let right = pinned(operation.right, at: time) else {
                return nil
            }
            (operation.left, operation.right) = (left, right)
            result.kind = .binary(operation)
        case .unary(let isNegative, let inner):
            guard let one = pinned(inner, at: time) else { return nil }
            result.kind = .unary(isNegative: isNegative, one)
        case .parenthesis(let inner):
            guard let one = pinned(inner, at: time) else { return nil }
            result.kind = .parenthesis(one)
        }
        return result
    }
}

extension Expression {
    fileprivate var hasTimeDependence: Bool {
        if case .call(let function, _) = kind, function.dependsOnTime { return true }
        return children.contains(where: \.hasTimeDependence)
    }
}

/// Classic histograms as native ones with custom buckets, as `load_with_nhcb` makes them.
enum CustomBuckets {
    private struct Parts {
        var buckets: [Double: Double] = [:]
        var count: Double?
        var sum = 0.0
    }

    static func convert(_ series: [SeriesDescription], step: Int64) -> [(Labels, [(Int64, FloatHistogram)])] {
        var found: [Labels: [Int64: Parts]] = [:]
        for one in series {
            let name = one.labels.metricName ?? ""
            guard let suffix = ["_bucket", "_count", "_sum"].first(where: { name.hasSuffix($0) }) else { continue }
            let bound = NumberText.parse(one.labels["le"] ?? "")
            if suffix == "_bucket", bound?.isNaN ?? true { continue }
            let base = one.labels.with("le", nil).with("__name__", String(name.dropLast(suffix.count)))
            for (index, value) in one.values.enumerated() {
                guard case .number(let number) = value else { continue }
                var parts = found[base]?[Int64(index) * step] ?? Parts()
                switch suffix {
                case "_bucket": if let bound { parts.buckets[bound] = number }
                case "_count": parts.count = number
                default: parts.sum = number
                }
                found[base, default: [:]][Int64(index) * step] = parts
            }
        }
        return found.map { base, samples in
            (base, samples.sorted { $0.key < $1.key }.map { ($0.key, histogram($0.value)) })
        }
    }

    private static func histogram(_ parts: Parts) -> FloatHistogram {
        var result = FloatHistogram()
        result.schema = FloatHistogram.customBuckets
        result.sum = parts.sum
        let bounds = parts.buckets.keys.sorted()
        result.customValues = bounds.filter { $0 != .infinity }
        let total = parts.count ?? parts.buckets[.infinity] ?? bounds.last.flatMap { parts.buckets[$0] } ?? 0
        result.count = total
        var (before, counts): (Double, [Double]) = (0, [])
        for bound in result.customValues {
            let cumulative = parts.buckets[bound] ?? before
            counts.append(cumulative - before)
            before = cumulative
        }
        counts.append((parts.buckets[.infinity] ?? total) - before)
        result.positiveBuckets = counts
        result.positiveSpans = [FloatHistogram.Span(offset: 0, length: UInt32(counts.count))]
        result.compact()
        return result
    }
}
