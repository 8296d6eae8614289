import API
import Glibc
import Manifests
import SQL

/// A question about traces, their spans or what is said of them: one number of each, put together by group.
struct TraceMetricQuery: Sendable {
    enum View: String, CaseIterable, Sendable {
        case traces = "TRACES"
        case spans = "SPANS"
        case assessments = "ASSESSMENTS"
    }

    struct Aggregation: Sendable {
        enum Kind: String, CaseIterable, Sendable {
            case count = "COUNT"
            case sum = "SUM"
            case average = "AVG"
            case percentile = "PERCENTILE"
            case least = "MIN"
            case greatest = "MAX"
        }
        var kind: Kind
        /// 0...100.
        var percentile: Double?

        /// As it is named in the answer: `AVG`, `P99.5`.
        var label: String { percentile.map { "P\($0)" } ?? kind.rawValue }
    }

    /// What may be asked of one metric.
    private struct Metric {
        var kinds: Set<Aggregation.Kind>
        var dimensions: [String]
    }

    var experiments: [Int64]
    var view: View
    var metric: String
    var aggregations: [Aggregation]
    var dimensions: [String]
    var conditions: [Statement] = []
    /// Seconds of a bucket of time; nil for one group over all of it.
    var interval: Int64?
    /// Milliseconds since 1970, both included.
    var start: Int64?
    var end: Int64?
    var limit: Int

    /// The name of the bucket of time among the dimensions.
    private static let bucketName = "time_bucket"
    private static let spread: Set<Aggregation.Kind> = [.average, .least, .greatest, .percentile]
    private static let amounts = spread.union([.sum])
    static let tokens = [
        "input_tokens", "output_tokens", "total_tokens", "cache_read_input_tokens", "cache_creation_input_tokens",
    ]
    static let costs = ["input_cost", "output_cost", "total_cost"]

    private static func metrics(of view: View) -> [String: Metric] {
        switch view {
        case .traces:
            var all = [
                "trace_count": Metric(kinds: [.count], dimensions: ["trace_name", "trace_status"]),
                "session_count": Metric(kinds: [.count], dimensions: []),
                "latency": Metric(kinds: spread, dimensions: ["trace_name"]),
            ]
            for name in tokens { all[name] = Metric(kinds: amounts, dimensions: ["trace_name"]) }
            return all
        case .spans:
            let models = ["span_model_name", "span_model_provider"]
            var all = [
                "span_count": Metric(kinds: [.count], dimensions: ["span_name", "span_type", "span_status"] + models),
                "latency": Metric(kinds: spread, dimensions: ["span_name", "span_status"]),
            ]
            for name in costs { all[name] = Metric(kinds: amounts, dimensions: models) }
            return all
        case .assessments:
            return [
                "assessment_count": Metric(kinds: [.count], dimensions: ["assessment_name", "assessment_value"]),
                "assessment_value": Metric(kinds: spread, dimensions: ["assessment_name"]),
            ]
        }
    }

    /// - Throws: `INVALID_PARAMETER_VALUE` for what this view does not tell.
    func check() throws(MLflowError) {
        let known = Self.metrics(of: view)
        guard let metric = known[metric] else {
            throw .invalid("metric_name must be one of \(known.keys.sorted()), got '\(metric)'")
        }
        let wrong = aggregations.map(\.kind).filter { !metric.kinds.contains($0) }
        guard wrong.isEmpty else {
            throw .invalid(
                "Found invalid aggregation_type(s): \(wrong.map(\.rawValue)). Supported aggregation types: \(metric.kinds.map(\.rawValue).sorted())"
            )
        }
        let strange = dimensions.filter { !metric.dimensions.contains($0) }
        guard strange.isEmpty else {
            throw .invalid(
                "Found invalid dimension(s): \(strange.sorted()). Supported dimensions: \(metric.dimensions.sorted())")
        }
        if interval != nil, start == nil || end == nil {
            throw .invalid("start_time_ms and end_time_ms are required if time_interval_seconds is set")
        }
    }

    // MARK: SQL

    private var from: Statement {
        switch view {
        case .traces: "FROM trace t WHERE 1"
        case .spans: "FROM trace t JOIN trace_span s ON s.trace = t.id WHERE 1"
        case .assessments: "FROM trace t JOIN assessment a ON a.trace = t.id WHERE a.is_valid = 1"
        }
    }

    private static func metadata(_ key: String) -> Statement {
        "(SELECT value FROM trace_metadata WHERE trace = t.id AND key = \(key))"
    }

    private var value: Statement {
        switch (view, metric) {
        case (.traces, "latency"): return "t.duration"
        case (.traces, "session_count"): return Self.metadata(TraceSearch.sessionMetadata)
        case (.traces, "trace_count"): return "1"
        case (.traces, let name):
            let told = Self.metadata(TraceSearch.tokenMetadata)
            return "CASE WHEN json_valid(\(told)) THEN json_extract(\(told), \("$.\(name)")) END"
        case (.spans, "latency"): return "(s.ended - s.start) / 1000000"
        case (.spans, "input_cost"): return "s.input_cost"
        case (.spans, "output_cost"): return "s.output_cost"
        case (.spans, "total_cost"): return "s.total_cost"
        case (.assessments, "assessment_value"): return "a.aggregate"
        default: return "1"
        }
    }

    /// Milliseconds at which what is counted happened.
    private var moment: Statement {
        view == .spans ? "s.start / 1000000" : "t.time"
    }

    private static func cell(_ dimension: String) -> Statement {
        switch dimension {
        case "trace_name": metadataTag
        case "trace_status": "t.state"
        case "span_name": "s.name"
        case "span_type": "s.type"
        case "span_status": "s.status"
        case "span_model_name": "s.model"
        case "span_model_provider": "s.provider"
        case "assessment_name": "a.name"
        default: "a.value"
        }
    }

    private static var metadataTag: Statement {
        "(SELECT value FROM trace_tag WHERE trace = t.id AND key = \(TraceSearch.nameTag))"
    }

    /// Groups in order, the bucket of time first; those without a value or without a dimension are left out.
    func run(in sql: Connection) throws -> [JSONValue] {
        var all: [Statement] = ["t.experiment IN \(list: experiments)"] + conditions
        // Counts and lengths of spans go by the time of their trace, what they cost by their own.
        let clock: Statement = Self.costs.contains(metric) ? moment : "t.time"
        if let start { all.append("\(clock) >= \(start)") }
        if let end { all.append("\(clock) <= \(end)") }
        var cells: [Statement] = []
        if let interval {
            let width = max(1, interval) &* 1000
            cells.append("(\(moment)) / \(width) * \(width)")
        }
        cells += dimensions.map(Self.cell)
        let columns = (cells + [value]).joined(separator: ", ")
        let places = (1...(cells.count + 1)).map { Statement(stringLiteral: String($0)) }.joined(separator: ", ")
        var groups = Groups(query: self, width: cells.count)
        try sql.each(
            "SELECT \(columns) \(from) AND \(all.joined(separator: " AND ")) ORDER BY \(places)"
        ) { try groups.add($0) }
        groups.finish()
        // Nothing counted over all is a count, too; nothing in a group is no group.
        let counts = aggregations.filter { $0.kind == .count }
        guard groups.points.isEmpty, cells.isEmpty, !counts.isEmpty, limit > 0 else { return groups.points }
        let zeros = Ordered(counts.map { ($0.label, JSONValue.number(0)) })
        return [["metric_name": .string(metric), "values": .object(zeros)]]
    }

    /// Rows that come group by group, and in each by their value.
    private struct Groups {
        let query: TraceMetricQuery
        let width: Int
        var points: [JSONValue] = []
        private var key: [SQLValue] = []
        private var values: [Double] = []
        private var distinct = 0
        private var last: SQLValue?

        init(query: TraceMetricQuery, width: Int) { (self.query, self.width) = (query, width) }

        mutating func add(_ row: Row) throws {
            let (key, value) = ((0..<width).map { row[$0] }, row[width])
            guard !key.contains(.null), value != .null, points.count < query.limit else { return }
            if key != self.key { finish() }
            self.key = key
            if value != last { distinct += 1 }
            last = value
            switch value {
            case .integer(let number): values.append(Double(number))
            case .real(let number): values.append(number)
            // A session: what counts is how many there are.
            case .text, .blob, .null: break
            }
        }

        mutating func finish() {
            defer { (values, distinct, last) = ([], 0, nil) }
            guard distinct > 0, points.count < query.limit else { return }
            var numbers: Ordered<JSONValue> = [:]
            for aggregation in query.aggregations { numbers[aggregation.label] = .number(number(aggregation)) }
            var point: Ordered<JSONValue> = ["metric_name": .string(query.metric)]
            let names = (query.interval == nil ? [] : [bucketName]) + query.dimensions
            if !names.isEmpty {
                point["dimensions"] = .object(Ordered(zip(names, key).map { ($0, .string(Self.shown($1, as: $0))) }))
            }
            point["values"] = .object(numbers)
            points.append(.object(point))
        }

        private func number(_ aggregation: Aggregation) -> Double {
            switch aggregation.kind {
            case .count: Double(query.metric == "session_count" ? distinct : values.count)
            case .sum: values.reduce(0, +)
            case .average: values.reduce(0, +) / Double(max(1, values.count))
            case .least: values.first ?? 0
            case .greatest: values.last ?? 0
            case .percentile: quantile((aggregation.percentile ?? 0) / 100)
            }
        }

        /// Between the two values around the place, in proportion.
        private func quantile(_ share: Double) -> Double {
            guard let highest = values.last else { return 0 }
            let place = share * Double(values.count - 1)
            let below = Int(place)
            guard below + 1 < values.count else { return highest }
            return values[below] + (values[below + 1] - values[below]) * (place - Double(below))
        }

        private static func shown(_ value: SQLValue, as name: String) -> String {
            switch value {
            case .text(let text): return text
            case .integer(let number) where name == bucketName:
                return Timestamp(milliseconds: number).description.replacing(".000Z", with: "+00:00")
            case .integer(let number): return String(number)
            case .real(let number): return String(number)
            case .blob, .null: return ""
            }
        }
    }
}

/// The filters of questions about metrics: one comparison for equality each.
enum TraceMetricFilter {
    /// `trace.status = 'OK'`, `trace.tag.a = 'b'`, `span.name = 'x'`, `assessment.type = 'feedback'`.
    static func condition(_ text: String, _ view: TraceMetricQuery.View) throws(MLflowError) -> Statement {
        let tokens = try FilterLexer.tokens(text)
        guard tokens.count == 3, case .word(let name) = tokens[0] else {
            throw .invalid("Invalid filter: '\(text)'. Expected one filter clause.")
        }
        guard tokens[1] == .symbol("=") else {
            throw .invalid("Invalid comparator: '\(tokens[1].shown)', only '=' operator is supported")
        }
        guard case .text(let value, _) = tokens[2] else {
            throw .invalid("Expected a quoted string value (e.g. 'my-value'). Got value \(tokens[2].shown)")
        }
        let parts = name.split(separator: ".", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
        guard parts.count > 1 else {
            throw .invalid(
                "Invalid identifier '\(name)'. Columns should be specified as 'trace.<key>', 'span.<key>', 'assessment.<key>'."
            )
        }
        let key = parts.count == 3 ? FilterLexer.unquoted(parts[2]) : nil
        try check(FilterLexer.unquoted(parts[0]), parts[1], key, view)
        switch (FilterLexer.unquoted(parts[0]), parts[1], key) {
        case ("trace", "status", _): return "t.state = \(value)"
        case ("trace", "tag", let key?):
            return "EXISTS (SELECT 1 FROM trace_tag x WHERE x.trace = t.id AND x.key = \(key) AND x.value = \(value))"
        case ("trace", _, let key?):
            let told: Statement =
                "EXISTS (SELECT 1 FROM trace_metadata x WHERE x.trace = t.id AND x.key = \(key) AND x.value = \(value))"
            guard key == TraceSearch.runMetadata else { return told }
            return "(\(told) OR EXISTS (SELECT 1 FROM trace_run x WHERE x.run = \(value) AND x.trace = t.id))"
        case ("span", "name", _): return "s.name = \(value)"
        case ("span", "status", _): return "s.status = \(value)"
        case ("span", _, _): return "s.type = \(value)"
        case (_, "name", _): return "a.name = \(value)"
        default: return "a.kind = \(value)"
        }
    }

    private static let entities = [
        "trace": ["status", "tag", "metadata"], "span": ["name", "status", "type"], "assessment": ["name", "type"],
    ]

    private static func check(
        _ place: String, _ entity: String, _ key: String?, _ view: TraceMetricQuery.View
    ) throws(MLflowError) {
        guard let known = entities[place] else {
            throw .invalid("Invalid view type '\(place)'. Valid values are \(entities.keys.sorted())")
        }
        guard known.contains(entity) else {
            throw .invalid("Invalid entity '\(entity)' specified for view type '\(place)'. Valid entities are \(known)")
        }
        let needsKey = entity == "tag" || entity == "metadata"
        guard needsKey == (key != nil) else {
            throw .invalid("Filtering by \(entity) \(needsKey ? "requires" : "does not require") a key")
        }
        let wanted: TraceMetricQuery.View? = ["span": .spans, "assessment": .assessments][place]
        guard wanted == nil || wanted == view else {
            throw .invalid(
                "Filtering by \(place) is only supported for \(wanted?.rawValue ?? "") view type, got \(view.rawValue)")
        }
    }
}

/// How often two filters find the same traces.
struct TraceCorrelation: Sendable {
    var total: Int64
    var first: Int64
    var second: Int64
    var both: Int64

    /// What is added to each count where there are few (Jeffreys' prior).
    private static let prior = 0.5

    /// Normalized pointwise mutual information, from -1 (never together) over 0 (independent) to 1 (always together).
    ///
    /// Source: G. Bouma, "Normalized (pointwise) mutual information in collocation extraction", 2009.
    ///
    /// - Parameter smoothed: Whether the prior is added.
    /// - Returns: NaN when one of the filters finds nothing.
    func npmi(smoothed: Bool) -> Double {
        let counts = [both, first - both, second - both, total - first - second + both]
        guard total > 0, first > 0, second > 0, counts.allSatisfy({ $0 >= 0 }) else { return .nan }
        if counts[1...].allSatisfy({ $0 == 0 }) { return 1 }
        if both == 0, !smoothed { return -1 }
        let extra = smoothed ? Self.prior : 0
        let together = Double(both) + extra
        let (one, other) = (Double(first) + 2 * extra, Double(second) + 2 * extra)
        let all = Double(total) + 4 * extra
        let information = log(together * all / (one * other))
        return max(-1, min(1, information / -log(together / all)))
    }

    /// - Parameters: Conditions on `trace t`; those of the base hold for all that is counted.
    static func count(
        _ first: Statement, _ second: Statement, base: Statement?, of experiments: [Int64], in sql: Connection
    ) throws -> TraceCorrelation {
        let within: Statement = base.map { "AND \($0)" } ?? ""
        let row = try sql.row(
            """
            SELECT count(*), coalesce(sum(a), 0), coalesce(sum(b), 0), coalesce(sum(a AND b), 0) FROM (
                SELECT (\(first)) AS a, (\(second)) AS b FROM trace t
                WHERE t.experiment IN \(list: experiments) \(within)) counted
            """)
        guard let row else { return TraceCorrelation(total: 0, first: 0, second: 0, both: 0) }
        return TraceCorrelation(
            total: try row.get(0), first: try row.get(1), second: try row.get(2), both: try row.get(3))
    }
}
