import API
import Kernel
import Manifests

@testable import Web

/// Metrics, log lines, traces and dashboards for the pages, with hostile words in each.
enum SampleTelemetry {
    static let now = SampleWorld.now.seconds
    static let evil = "<script>alert(1)</script>"
    static let traceID = "5b8efff798038103d269b633813fc60c"

    // MARK: Metrics

    static func matrix(_ series: [([String: String], Double)], from: Double, to: Double, step: Double) -> JSONValue {
        .array(
            series.enumerated().map { place, one in
                let values = stride(from: from, through: to, by: step).enumerated().map { index, at -> JSONValue in
                    let value = one.1 * (1 + 0.2 * SampleWorld.wave(index, Double(place) + 1))
                    return [.number(at), .string("\(value)")]
                }
                return ["metric": labels(one.0), "values": .array(values)]
            })
    }

    static func labels(_ labels: [String: String]) -> JSONValue {
        .object(Ordered(labels.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) }))
    }

    static let requests: [([String: String], Double)] = [
        (["__name__": "http_requests_total", "job": "shop", "code": "200"], 41),
        (["__name__": "http_requests_total", "job": "shop", "code": "500"], 2.5),
        (["__name__": "http_requests_total", "job": evil, "code": "\"><img src=x>"], 12),
    ]

    static func parse(_ text: String) -> ParseAnswer {
        var answer = ParseAnswer()
        guard text.contains("}}") else { return answer }
        let start = text.utf8.count - 1
        (answer.ok, answer.message, answer.start, answer.end) = (
            false, "unexpected \"}\" <b>here</b>", start, start + 1
        )
        (answer.line, answer.column) = (1, start + 1)
        return answer
    }

    static func range(_ query: MetricRangeQuery) throws -> MetricAnswer {
        if query.query == "broken" {
            throw Problem("metrics.query", status: 422, "the query touches 60,000,000 samples", hint: "Ask for less.")
        }
        var answer = MetricAnswer()
        let (from, to) = (Double(query.from ?? "") ?? now - 3600, Double(query.to ?? "") ?? now)
        let step = query.step?.seconds ?? max(1, ((to - from) / 40).rounded())
        (answer.resultType, answer.seconds, answer.step) = ("matrix", 0.0042, .seconds(step))
        if query.query.contains("nothing") {
            answer.result = .array([])
        } else if query.query.contains("native") {
            answer.result = native(from: from, to: to, step: step)
        } else if query.query.contains("_bucket") {
            let bounds = ["0.005", "0.01", "0.05", "0.1", "0.5", "1", "+Inf"]
            let series = bounds.enumerated().map { (["le": $0.element], 4 + 5 * Double($0.offset)) }
            answer.result = matrix(series, from: from, to: to, step: step)
        } else if query.query.contains("many") {
            let many = (0..<200).map { (["__name__": "many", "instance": "host-\($0):9100"], Double($0 + 1)) }
            let kept = query.limit > 0 ? Array(many.prefix(query.limit)) : many
            answer.result = matrix(kept, from: from, to: to, step: step)
            answer.left_out = many.count - kept.count
        } else {
            answer.result = matrix(requests, from: from, to: to, step: step)
            answer.warnings = ["a counter goes down <b>here</b>"]
            answer.infos = ["metric might not be a counter: \(evil)"]
        }
        return answer
    }

    private static func native(from: Double, to: Double, step: Double) -> JSONValue {
        let samples = stride(from: from, through: to, by: step).enumerated().map { index, at -> JSONValue in
            let buckets = (0..<10).map { place -> JSONValue in
                let low = 0.001 * Double(1 << place)
                let count = 20 * Swift.max(0, 1 - abs(Double(place) - 4 - 2 * SampleWorld.wave(index)) / 4)
                return [0, .string("\(low)"), .string("\(low * 2)"), .string("\(count)")]
            }
            return [.number(at), ["count": "120", "sum": "8.4", "buckets": .array(buckets)]]
        }
        return .array([["metric": ["__name__": "native"], "histograms": .array(samples)]])
    }

    static func instant(_ query: MetricQuery) -> MetricAnswer {
        var answer = MetricAnswer()
        (answer.resultType, answer.seconds) = ("vector", 0.0011)
        answer.result = .array(
            requests.map { ["metric": labels($0.0), "value": [.number(now), .string("\($0.1)")]] })
        return answer
    }

    static var names: [MetricName] {
        [("http_requests_total", "counter", "Requests \(evil)"), ("up", "gauge", "")].map {
            var name = MetricName()
            (name.name, name.type, name.help) = $0
            return name
        }
    }

    // MARK: Lines

    static var lines: [LogLine] {
        let texts = [
            ("error", "\u{1B}[31mpayment failed\u{1B}[0m for <img src=x>"),
            ("info", "GET /cart 200 12ms"), ("warning", "slow query: \(evil)"), ("debug", "cache miss"),
            ("", "plain words \u{1B}]8;;javascript:alert(1)\u{07}link"),
        ]
        return (0..<20).map { index in
            var line = LogLine()
            let (level, text) = texts[index % texts.count]
            (line.at, line.line) = (SampleWorld.at(Double(index) * 41), text)
            line.nanoseconds = line.at.microseconds * 1000
            line.labels = ["service_name": "shop", "host": "\"><b>host"]
            if !level.isEmpty { line.metadata["detected_level"] = level }
            if index % 3 == 0 { line.metadata["trace_id"] = traceID }
            return line
        }
    }

    static func search(_ query: LogQLQuery) throws -> LogAnswer {
        if query.query.hasSuffix("|=") {
            throw Problem("logs.query", status: 400, "the query ends where text is due", hint: nil)
        }
        var answer = LogAnswer()
        answer.seconds = 0.02
        if query.query.contains("count_over_time") || query.query.contains("rate(") {
            let (from, to) = (Double(query.from ?? "") ?? now - 3600, Double(query.to ?? "") ?? now)
            let levels = ["error", "info", "warning"].enumerated().map {
                (["detected_level": $0.element], 3 + 20 * Double($0.offset))
            }
            answer.resultType = "matrix"
            answer.result = matrix(levels, from: from, to: to, step: query.step?.seconds ?? 60)
            return answer
        }
        answer.lines = query.query.contains("nothing") ? [] : lines
        answer.next = "42"
        return answer
    }

    // MARK: Traces

    static var trace: TraceDetail {
        var trace = TraceDetail()
        (trace.trace, trace.at, trace.seconds) = (traceID, SampleWorld.at(300), 0.84)
        let spans: [(Int, String, String, Double, Double, Bool)] = [
            (0, "front", "GET /checkout", 0, 0.84, false), (1, "shop", "POST /orders", 0.03, 0.76, false),
            (2, "shop", "SELECT orders \(evil)", 0.05, 0.12, false), (2, "payments", "charge", 0.2, 0.55, true),
            (3, "bank", "POST /charges", 0.22, 0.5, true), (1, "front", "render", 0.8, 0.03, false),
        ]
        trace.spans = spans.enumerated().map { index, one in
            var span = TraceSpan()
            (span.depth, span.service, span.name, span.offset_seconds, span.seconds, span.is_error) = one
            (span.span, span.kind, span.at) = ("00f067aa0ba902b\(index)", "server", trace.at)
            span.attributes = ["http.route": "/checkout", "user.agent": "<b>curl</b>"]
            if span.is_error {
                span.message = "card declined <img src=x>"
                var event = TraceEvent()
                (event.at, event.name, event.attributes) = (trace.at, "exception", ["type": evil])
                span.events = [event]
            }
            return span
        }
        trace.lines = Array(lines.prefix(3))
        return trace
    }

    static var traces: [TraceSummary] {
        (0..<6).map { index in
            var one = TraceSummary()
            (one.trace, one.service, one.operation) = (traceID, "front", index == 2 ? evil : "GET /checkout")
            (one.at, one.seconds) = (SampleWorld.at(Double(index) * 300), 0.84 / Double(index + 1))
            (one.spans, one.errors, one.services) = (6, index % 3 == 0 ? 2 : 0, ["front", "shop", "payments"])
            return one
        }
    }

    static var services: [TraceService] {
        ["front", "shop", "payments", "bank"].map { name in
            var one = TraceService()
            (one.name, one.operations) = (name, ["GET /checkout", "charge \(evil)"])
            return one
        }
    }

    static var calls: [ServiceCall] {
        [
            ("front", "shop", 1200, 3), ("shop", "payments", 300, 22), ("payments", "bank", 300, 21),
            ("shop", "<b>cache", 9000, 0), ("bank", "shop", 5, 0),
        ].map {
            var call = ServiceCall()
            (call.from, call.to, call.calls, call.errors) = $0
            call.mean_seconds = 0.012
            return call
        }
    }

    // MARK: State

    static var status: TelemetryStatus {
        var status = TelemetryStatus()
        (status.metrics.series, status.metrics.samples_in_memory, status.metrics.blocks) = (10_412, 1_840_000, 7)
        (status.metrics.samples_in_blocks, status.metrics.bytes_of_blocks) = (88_000_000, 121_000_000)
        (status.metrics.oldest, status.metrics.newest) = (SampleWorld.at(7200), SampleWorld.at(4))
        status.metrics.top_metrics = [NamedCount("http_requests_total", 4100), NamedCount(evil, 900)]
        status.metrics.top_labels = [NamedCount("instance", 400), NamedCount("path", 120)]
        status.metrics.top_pairs = [NamedCount("job=shop", 5000)]
        (status.logs.streams, status.logs.lines, status.logs.bytes) = (31, 2_400_000, 190_000_000)
        (status.traces.spans, status.traces.bytes) = (640_000, 88_000_000)
        for (job, health, error) in [
            ("node", ScrapeTarget.Health.up, nil as String?),
            ("shop", .down, "connection refused by <b>shop</b>:9100"),
        ] {
            var target = ScrapeTarget()
            (target.job, target.url, target.health, target.error) = (job, "http://\(job):9100/metrics", health, error)
            (target.last_at, target.last_seconds, target.samples) = (SampleWorld.at(9), 0.013, 812)
            status.targets.append(target)
        }
        var rule = RuleStatus()
        (rule.group, rule.name, rule.query) = ("shop", "job:requests:rate5m", "sum by (job) (rate(x[5m]))")
        (rule.error, rule.last_at) = ("many-to-many \(evil)", SampleWorld.at(20))
        status.rules = [rule]
        var remote = RemoteStatus()
        (remote.name, remote.url, remote.waiting, remote.sent) = ("archive", "http://archive:9090", 12, 91_000)
        status.remotes = [remote]
        status.dropped = ["out of order": 17]
        return status
    }
}
