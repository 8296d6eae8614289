import Series

/// Function calls that give a vector.
extension Evaluator {
    func call<Sink: RowSink>(
        _ function: Function, _ arguments: [Expression], _ node: Expression, _ steps: Steps, _ make: () -> Sink
    ) throws(PromQLError) -> [Sink] {
        if let index = function.signature.arguments.firstIndex(of: .matrix) {
            return try rangeCall(function, arguments, index, steps, make)
        }
        if let simple = Mathematics.simple(function) {
            return try stage(arguments[0], steps, make) { (row, lane) throws(PromQLError) in
                Elementwise.map(&row, lane, simple)
            }
        }
        switch function {
        case .round, .clamp, .clampMin, .clampMax: return try bounded(function, arguments, steps, make)
        case .daysInMonth, .dayOfMonth, .dayOfWeek, .dayOfYear, .hour, .minute, .month, .year:
            return try date(function, arguments, steps, make)
        case .histogramAvg, .histogramCount, .histogramStddev, .histogramStdvar, .histogramSum:
            return try stage(arguments[0], steps, make) { (row, lane) throws(PromQLError) in
                Elementwise.mapHistograms(&row, lane) { Self.statistic(function, $0) }
            }
        case .histogramQuantile, .histogramFraction: return try estimate(function, arguments, steps, make)
        case .timestamp: return try timestamps(arguments[0], steps, make)
        case .vector:
            var row = Row(steps: steps.count)
            row.values = try column(arguments[0], steps)
            let sink = make()
            try sink.take(&row, lane)
            return [sink]
        case .absent: return try absent(arguments[0], steps, make)
        case .sort, .sortDesc, .sortByLabel, .sortByLabelDesc: return try sorted(function, arguments, steps, make)
        case .labelReplace, .labelJoin: return try relabelled(function, arguments, steps, make)
        case .info: return try emit(try info(arguments, steps), make)
        default: throw failure("function \"\(function.rawValue)\" gives no vector", at: node.range)
        }
    }

    private func stage<Sink: RowSink>(
        _ inner: Expression, _ steps: Steps, _ make: () -> Sink,
        _ body: @escaping (inout Row, Lane) throws(PromQLError) -> Void
    ) throws(PromQLError) -> [Sink] {
        try stream(inner, steps) { StageSink(make(), body) }.map(\.down)
    }

    private func rangeCall<Sink: RowSink>(
        _ function: Function, _ arguments: [Expression], _ index: Int, _ steps: Steps, _ make: () -> Sink
    ) throws(PromQLError) -> [Sink] {
        var parameters: [[Double]] = []
        for (position, argument) in arguments.enumerated() where position != index {
            parameters.append(try column(argument, steps))
        }
        let argument = arguments[index].unwrapped
        let columns = parameters
        func calculation(_ range: Int64) -> RangeCalculation {
            RangeCalculation(
                function, place: argument.range, firstPlace: arguments[0].range, range: range, parameters: columns)
        }
        if function == .absentOverTime { return try absentOverTime(argument, steps, make) }
        switch argument.kind {
        case .range(let selector, let range):
            let base = calculation(range.milliseconds)
            return try windows(selector, range.milliseconds, steps, at: argument.range) {
                RangeFunctionSink(make(), base, steps)
            }.map(\.down)
        case .subquery(let inner, let subquery):
            let base = calculation(subquery.range.milliseconds)
            return try windows(inner, subquery, steps) { RangeFunctionSink(make(), base, steps) }.map(\.down)
        default: throw failure("expected a range vector", at: argument.range)
        }
    }

    private func absentOverTime<Sink: RowSink>(_ argument: Expression, _ steps: Steps, _ make: () -> Sink)
        throws(PromQLError) -> [Sink]
    {
        let base = RangeCalculation(
            .absentOverTime, place: argument.range, firstPlace: argument.range, range: 0, parameters: [])
        let presence: [PresenceSink]
        var labels = Labels.none
        switch argument.kind {
        case .range(let selector, let range):
            labels = Self.labelsOfAbsent(selector)
            presence = try windows(selector, range.milliseconds, steps, at: argument.range) {
                RangeFunctionSink(PresenceSink(steps: steps.count), base, steps)
            }.map(\.down)
        case .subquery(let inner, let subquery):
            presence = try windows(inner, subquery, steps) {
                RangeFunctionSink(PresenceSink(steps: steps.count), base, steps)
            }.map(\.down)
        default: throw failure("expected a range vector", at: argument.range)
        }
        return try emitAbsent(labels, presence, steps, make)
    }

    private func absent<Sink: RowSink>(_ argument: Expression, _ steps: Steps, _ make: () -> Sink) throws(PromQLError)
        -> [Sink]
    {
        let presence = try stream(argument, steps) { PresenceSink(steps: steps.count) }
        var labels = Labels.none
        if case .selector(let selector) = argument.unwrapped.kind { labels = Self.labelsOfAbsent(selector) }
        return try emitAbsent(labels, presence, steps, make)
    }

    private func emitAbsent<Sink: RowSink>(
        _ labels: Labels, _ presence: [PresenceSink], _ steps: Steps, _ make: () -> Sink
    ) throws(PromQLError) -> [Sink] {
        var row = Row(steps: steps.count)
        row.labels = labels
        for step in 0..<steps.count where !presence.contains(where: { $0.isPresent[step] }) { row.values[step] = 1 }
        let sink = make()
        if !row.isEmpty { try sink.take(&row, lane) }
        return [sink]
    }

    /// What a missing series would be called: the labels that the selector fixes to one value.
    private static func labelsOfAbsent(_ selector: VectorSelector) -> Labels {
        var (pairs, seen): ([String: String], Set<String>) = ([:], [])
        for matcher in selector.matchers where matcher.name != Labels.metricNameLabel {
            if matcher.comparison == .equal, !seen.contains(matcher.name) {
                pairs[matcher.name] = matcher.value
                seen.insert(matcher.name)
            } else {
                pairs[matcher.name] = nil
            }
        }
        return Labels(pairs)
    }

    private static func statistic(_ function: Function, _ histogram: FloatHistogram) -> Double {
        switch function {
        case .histogramCount: histogram.count
        case .histogramSum: histogram.sum
        case .histogramAvg: histogram.sum / histogram.count
        case .histogramStdvar: histogram.variance
        default: histogram.variance.squareRoot()
        }
    }

    private func bounded<Sink: RowSink>(
        _ function: Function, _ arguments: [Expression], _ steps: Steps, _ make: () -> Sink
    ) throws(PromQLError) -> [Sink] {
        var columns: [[Double]] = []
        for argument in arguments.dropFirst() { columns.append(try column(argument, steps)) }
        let count = steps.count
        let (first, second) = (columns.first, columns.count > 1 ? columns[1] : nil)
        if function == .round {
            return try stage(arguments[0], steps, make) { (row, lane) throws(PromQLError) in
                row.histograms.removeAll(keepingCapacity: true)
                for step in 0..<count where !Absent.isAbsent(row.values[step]) {
                    // By the inverse, as that gives fewer crooked results.
                    let inverse = 1 / (first?[step] ?? 1)
                    row.values[step] = (row.values[step] * inverse + 0.5).rounded(.down) / inverse
                }
                lane.dropName(&row)
            }
        }
        let low = function == .clampMax ? nil : first
        let high = function == .clamp ? second : (function == .clampMax ? first : nil)
        return try stage(arguments[0], steps, make) { (row, lane) throws(PromQLError) in
            row.histograms.removeAll(keepingCapacity: true)
            for step in 0..<count where !Absent.isAbsent(row.values[step]) {
                let (least, most) = (low?[step] ?? -.infinity, high?[step] ?? .infinity)
                row.values[step] = most < least ? Absent.value : Self.clamped(row.values[step], least, most)
            }
            lane.dropName(&row)
        }
    }

    /// NaN anywhere gives NaN.
    private static func clamped(_ value: Double, _ least: Double, _ most: Double) -> Double {
        if value.isNaN || least.isNaN || most.isNaN { return .nan }
        return max(least, min(most, value))
    }

    private func date<Sink: RowSink>(
        _ function: Function, _ arguments: [Expression], _ steps: Steps, _ make: () -> Sink
    ) throws(PromQLError) -> [Sink] {
        if let argument = arguments.first {
            return try stage(argument, steps, make) { (row, lane) throws(PromQLError) in
                Elementwise.map(&row, lane) { CalendarDate.part(function, $0) }
            }
        }
        var row = Row(steps: steps.count)
        for step in 0..<steps.count { row.values[step] = CalendarDate.part(function, Double(steps.time(step)) / 1_000) }
        let sink = make()
        try sink.take(&row, lane)
        return [sink]
    }

    /// The times of the samples themselves for a selector, else those of the steps.
    private func timestamps<Sink: RowSink>(_ argument: Expression, _ steps: Steps, _ make: () -> Sink)
        throws(PromQLError) -> [Sink]
    {
        let count = steps.count
        if case .selector(let selector) = argument.unwrapped.kind {
            return try instants(selector, steps, keepsTime: true) {
                StageSink(make()) { (row, lane) throws(PromQLError) in Elementwise.map(&row, lane) { $0 / 1_000 } }
            }.map(\.down)
        }
        return try stage(argument, steps, make) { (row, lane) throws(PromQLError) in
            for step in 0..<count where row.isPresent(at: step) { row.values[step] = Double(steps.time(step)) / 1_000 }
            row.histograms.removeAll(keepingCapacity: true)
            lane.dropName(&row)
        }
    }

    private func sorted<Sink: RowSink>(
        _ function: Function, _ arguments: [Expression], _ steps: Steps, _ make: () -> Sink
    ) throws(PromQLError) -> [Sink] {
        var table = try table(arguments[0], steps)
        // Over several steps there is no one order: the answer is sorted by labels then.
        guard steps.count == 1 else { return try emit(table, make) }
        if function == .sort || function == .sortDesc {
            let numbers = (0..<table.count).filter { !Absent.isAbsent(table.value($0, 0)) }
            let isAscending = function == .sort
            table = table.selecting(
                numbers.sorted { one, other in
                    let (left, right) = (table.value(one, 0), table.value(other, 0))
                    if left.isNaN || right.isNaN { return !left.isNaN && right.isNaN }
                    return isAscending ? left < right : left > right
                })
        } else {
            let names = try arguments.dropFirst().map { (argument) throws(PromQLError) in try string(argument) }
            let order = NaturalOrder(names)
            let indices = (0..<table.count).sorted { order.isBefore(table.labels[$0], table.labels[$1]) }
            table = table.selecting(function == .sortByLabel ? indices : indices.reversed())
        }
        return try emit(table, make)
    }

    func string(_ argument: Expression) throws(PromQLError) -> String {
        guard case .string(let bytes) = argument.unwrapped.kind else {
            throw failure("expected a string", at: argument.range)
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// At which steps there is anything at all.
final class PresenceSink: RowSink {
    private(set) var isPresent: [Bool]

    init(steps: Int) { isPresent = [Bool](repeating: false, count: steps) }

    func take(_ row: inout Row, _ lane: Lane) throws(PromQLError) {
        for step in isPresent.indices where row.isPresent(at: step) { isPresent[step] = true }
    }
}

/// Labels in the order people expect: runs of digits count as numbers.
struct NaturalOrder {
    private let names: [String]

    init(_ names: [String]) { self.names = names }

    func isBefore(_ one: Labels, _ other: Labels) -> Bool {
        for name in names {
            let (left, right) = (Array((one[name] ?? "").utf8), Array((other[name] ?? "").utf8))
            if left != right { return Self.isBefore(left, right) }
        }
        return one < other
    }

    static func isBefore(_ one: [UInt8], _ other: [UInt8]) -> Bool {
        var (a, b) = (0, 0)
        while a < one.count, b < other.count {
            if isDigit(one[a]), isDigit(other[b]) {
                let (left, right) = (run(one, a), run(other, b))
                let (first, second) = (one[left].drop { $0 == 0x30 }, other[right].drop { $0 == 0x30 })
                if first.count != second.count { return first.count < second.count }
                if !first.elementsEqual(second) { return first.lexicographicallyPrecedes(second) }
                (a, b) = (left.upperBound, right.upperBound)
            } else {
                if one[a] != other[b] { return one[a] < other[b] }
                (a, b) = (a + 1, b + 1)
            }
        }
        return one.count - a < other.count - b || (one.count - a == other.count - b && one.count < other.count)
    }

    private static func isDigit(_ byte: UInt8) -> Bool { byte &- 0x30 < 10 }

    private static func run(_ bytes: [UInt8], _ start: Int) -> Range<Int> {
        var end = start
        while end < bytes.count, isDigit(bytes[end]) { end += 1 }
        return start..<end
    }
}

/// Parts of dates (UTC, Gregorian calendar).
enum CalendarDate {
    static func part(_ function: Function, _ seconds: Double) -> Double {
        guard seconds.magnitude < 1e15 else { return .nan }
        let whole = Int64(seconds)
        let day = floorDivision(whole, 86_400)
        let ofDay = whole - day * 86_400
        switch function {
        case .hour: return Double(ofDay / 3_600)
        case .minute: return Double(ofDay % 3_600 / 60)
        case .dayOfWeek: return Double(((day + 4) % 7 + 7) % 7)
        default: break
        }
        let (year, month, dayOfMonth) = civil(day)
        switch function {
        case .year: return Double(year)
        case .month: return Double(month)
        case .dayOfMonth: return Double(dayOfMonth)
        case .dayOfYear: return Double(day - days(year, 1) + 1)
        default: return Double(days(month == 12 ? year + 1 : year, month % 12 + 1) - days(year, month))
        }
    }

    private static func floorDivision(_ value: Int64, _ divisor: Int64) -> Int64 {
        let quotient = value / divisor
        return value % divisor < 0 ? quotient - 1 : quotient
    }

    /// Year, month and day of a day counted from 1970-01-01. Years are taken to begin in March, so that the leap day is last.
    private static func civil(_ day: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = day + 719_468
        let era = floorDivision(shifted, 146_097)
        let ofEra = shifted - era * 146_097
        let yearOfEra = (ofEra - ofEra / 1_460 + ofEra / 36_524 - ofEra / 146_096) / 365
        let ofYear = ofEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * ofYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, ofYear - (153 * shiftedMonth + 2) / 5 + 1)
    }

    /// The day, counted from 1970-01-01, that a month begins on.
    private static func days(_ year: Int64, _ month: Int64) -> Int64 {
        let shiftedYear = month <= 2 ? year - 1 : year
        let era = floorDivision(shiftedYear, 400)
        let yearOfEra = shiftedYear - era * 400
        let ofYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + ofYear - 719_468
    }
}
