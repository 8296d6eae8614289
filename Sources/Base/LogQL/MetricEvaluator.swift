internal import Glibc
internal import Series

/// Computes figures at all steps of a query at once.
struct MetricEvaluator {
    enum Value {
        case scalar([Double])
        case vector([LogSeries])
    }

    let engine: LogEngine
    let steps: LogSteps

    func evaluate(_ expression: LogExpression, outer: Grouping? = nil) throws -> Value {
        switch expression {
        case .lines: throw LogQLError("the query answers lines where figures are wanted")
        case .number(let value): return .scalar(Array(repeating: value, count: steps.count))
        case .vector(let value):
            return .vector([LogSeries(labels: .none, values: Array(repeating: value, count: steps.count))])
        case .range(let aggregation):
            var evaluator = RangeEvaluator(aggregation, steps, engine.limits, outer: outer)
            return .vector(try evaluator.run(engine.store))
        case .aggregation(let aggregation, let inner):
            guard case .vector(let series) = try evaluate(inner, outer: aggregation.pushed(into: inner)) else {
                throw LogQLError("\(aggregation.function.rawValue) takes figures of series, not a number")
            }
            return .vector(aggregation.apply(series, steps.count))
        case .labelReplace(let replacement, let inner):
            guard case .vector(let series) = try evaluate(inner) else {
                throw LogQLError("label_replace takes figures of series, not a number")
            }
            return .vector(
                series.map { series in
                    let value = series.labels[replacement.source] ?? ""
                    guard let new = replacement.pattern.replacing(value, with: replacement.replacement) else {
                        return series
                    }
                    return LogSeries(labels: series.labels.with(replacement.target, new), values: series.values)
                })
        case .binary(let operation, let left, let right):
            return try combine(operation, try evaluate(left), try evaluate(right))
        }
    }

    private func combine(_ operation: BinaryOperation, _ left: Value, _ right: Value) throws -> Value {
        switch (left, right) {
        case (.scalar(let one), .scalar(let two)):
            return .scalar(zip(one, two).map { operation.compute($0, $1) ?? .nan })
        case (.vector(let series), .scalar(let numbers)):
            return .vector(series.map { operation.apply($0, numbers, isLeft: true) })
        case (.scalar(let numbers), .vector(let series)):
            return .vector(series.map { operation.apply($0, numbers, isLeft: false) })
        case (.vector(let one), .vector(let two)):
            return .vector(operation.function.isSet ? operation.set(one, two) : try operation.match(one, two))
        }
    }
}

extension VectorAggregation {
    /// The grouping by which a range aggregation within may tell its series apart already: sums of counts are counts.
    func pushed(into inner: LogExpression) -> Grouping? {
        guard function == .sum, case .range(let range) = inner, range.grouping == nil else { return nil }
        switch range.function {
        case .count, .rate, .bytes, .bytesRate, .sum: return grouping
        default: return nil
        }
    }

    func apply(_ series: [LogSeries], _ steps: Int) -> [LogSeries] {
        switch function {
        case .sort, .sortDescending:
            let isUp = function == .sort
            return series.sorted { left, right in
                let (one, two) = (left.values.last.flatMap(\.self) ?? .nan, right.values.last.flatMap(\.self) ?? .nan)
                return one == two ? left.labels < right.labels : isUp ? one < two : one > two
            }
        case .topk, .bottomk: return ranked(series, steps)
        default:
            var groups: [Labels: [LogSeries]] = [:]
            for one in series { groups[grouping.apply(one.labels), default: []].append(one) }
            return groups.sorted { $0.key < $1.key }.map { labels, members in
                LogSeries(
                    labels: labels, values: (0..<steps).map { step in figure(members.compactMap { $0.values[step] }) })
            }
        }
    }

    private func figure(_ values: [Double]) -> Double? {
        guard !values.isEmpty else { return nil }
        let count = Double(values.count)
        let sum = values.reduce(0, +)
        switch function {
        case .sum: return sum
        case .avg: return sum / count
        case .min: return values.min()
        case .max: return values.max()
        case .count: return count
        case .stddev, .stdvar:
            let variance = values.reduce(0) { $0 + ($1 - sum / count) * ($1 - sum / count) } / count
            return function == .stdvar ? variance : variance.squareRoot()
        case .topk, .bottomk, .sort, .sortDescending: return nil
        }
    }

    /// At each step the first few of each group stay; series keep their labels.
    private func ranked(_ series: [LogSeries], _ steps: Int) -> [LogSeries] {
        var kept = series.map { LogSeries(labels: $0.labels, values: Array(repeating: nil, count: steps)) }
        let groups = Dictionary(grouping: series.indices) { grouping.apply(series[$0].labels) }
        for members in groups.values {
            for step in 0..<steps {
                let present = members.filter { series[$0].values[step] != nil }
                let order = present.sorted { left, right in
                    let (one, two) = (series[left].values[step] ?? 0, series[right].values[step] ?? 0)
                    return one == two
                        ? series[left].labels < series[right].labels : function == .topk ? one > two : one < two
                }
                for place in order.prefix(parameter) { kept[place].values[step] = series[place].values[step] }
            }
        }
        return kept.filter { $0.values.contains { $0 != nil } }.sorted { left, right in
            let (one, two) = (left.values.last.flatMap(\.self) ?? 0, right.values.last.flatMap(\.self) ?? 0)
            return one == two ? left.labels < right.labels : function == .topk ? one > two : one < two
        }
    }
}

extension BinaryOperation {
    /// The result of two numbers; nil when a comparison that filters drops them.
    func compute(_ left: Double, _ right: Double) -> Double? {
        switch function {
        case .add: return left + right
        case .subtract: return left - right
        case .multiply: return left * right
        case .divide: return left / right
        case .modulo: return left.truncatingRemainder(dividingBy: right)
        case .power: return pow(left, right)
        case .or, .and, .unless: return nil
        default:
            let holds = function.compare(left, right)
            if returnsBool { return holds ? 1 : 0 }
            return holds ? left : nil
        }
    }

    /// A series against a number for each step. A comparison keeps the series' value on whichever side it stands.
    func apply(_ series: LogSeries, _ numbers: [Double], isLeft: Bool) -> LogSeries {
        let values = zip(series.values, numbers).map { value, number -> Double? in
            guard let value else { return nil }
            let result = isLeft ? compute(value, number) : compute(number, value)
            return result != nil && function.isComparison && !returnsBool ? value : result
        }
        return LogSeries(labels: series.labels, values: values)
    }

    func set(_ left: [LogSeries], _ right: [LogSeries]) -> [LogSeries] {
        let steps = (left.first ?? right.first)?.values.count ?? 0
        func present(_ series: [LogSeries]) -> [Labels: [Bool]] {
            var there: [Labels: [Bool]] = [:]
            for one in series {
                var flags = there[matching.apply(one.labels)] ?? Array(repeating: false, count: steps)
                for step in 0..<steps where one.values[step] != nil { flags[step] = true }
                there[matching.apply(one.labels)] = flags
            }
            return there
        }
        func filtered(_ series: [LogSeries], _ other: [Labels: [Bool]], keepsPresent: Bool) -> [LogSeries] {
            series.map { one in
                let flags = other[matching.apply(one.labels)]
                let values = one.values.enumerated().map { step, value in
                    (flags?[step] ?? false) == keepsPresent ? value : nil
                }
                return LogSeries(labels: one.labels, values: values)
            }
        }
        switch function {
        case .and: return filtered(left, present(right), keepsPresent: true)
        case .unless: return filtered(left, present(right), keepsPresent: false)
        default:
            var merged = left
            for one in filtered(right, present(left), keepsPresent: false) {
                guard let place = merged.firstIndex(where: { $0.labels == one.labels }) else {
                    merged.append(one)
                    continue
                }
                for step in 0..<steps where merged[place].values[step] == nil {
                    merged[place].values[step] = one.values[step]
                }
            }
            return merged
        }
    }

    func match(_ left: [LogSeries], _ right: [LogSeries]) throws -> [LogSeries] {
        let isManyRight = many == .right
        let (manySide, oneSide) = isManyRight ? (right, left) : (left, right)
        var ones: [Labels: LogSeries] = [:]
        for series in oneSide {
            let key = matching.apply(series.labels)
            if ones.updateValue(series, forKey: key) != nil {
                throw LogQLError("several series of one side of \"\(function.rawValue)\" have the labels \(key)")
            }
        }
        var (result, seen): ([LogSeries], Set<Labels>) = ([], [])
        for series in manySide {
            let key = matching.apply(series.labels)
            guard let one = ones[key] else { continue }
            if many == .none, !seen.insert(key).inserted {
                throw LogQLError(
                    "several series of \"\(function.rawValue)\" have the labels \(key); use group_left or group_right")
            }
            let values = zip(series.values, one.values).map { value, other -> Double? in
                guard let value, let other else { return nil }
                return isManyRight ? compute(other, value) : compute(value, other)
            }
            var labels = many == .none ? key : series.labels
            if many == .none, function.isComparison, !returnsBool { labels = series.labels }
            for name in included { labels = labels.with(name, one.labels[name]) }
            result.append(LogSeries(labels: labels, values: values))
        }
        return result
    }
}
