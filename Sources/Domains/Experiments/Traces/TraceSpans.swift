import Manifests
import SQL
import Wire

/// Spans as they come by the OpenTelemetry protocol, and as MLflow's API shows them.
enum TraceSpans {
    /// The id of a trace: MLflow's is OpenTelemetry's with a prefix.
    static func traceID(_ span: OTLP.Span) -> String { "tr-\(span.traceID.hex)" }

    /// A span in protocol buffers' JSON, with the names of its fields and its ids in base64.
    static func json(_ span: OTLP.Span) -> JSONValue {
        var json: Ordered<JSONValue> = [
            "trace_id": .string(base64(bytes(span.traceID.high) + bytes(span.traceID.low))),
            "span_id": .string(base64(bytes(span.spanID.value))),
        ]
        if !span.parentID.isEmpty { json["parent_span_id"] = .string(base64(bytes(span.parentID.value))) }
        if !span.traceState.isEmpty { json["trace_state"] = .string(span.traceState) }
        json["name"] = .string(span.name)
        json["kind"] = .string(kinds[Int(span.kind.rawValue)])
        json["start_time_unix_nano"] = nano(span.start)
        json["end_time_unix_nano"] = nano(span.end)
        if !span.attributes.isEmpty { json["attributes"] = attributes(span.attributes) }
        if !span.events.isEmpty {
            json["events"] = .array(
                span.events.map { event in
                    [
                        "time_unix_nano": nano(event.time), "name": .string(event.name),
                        "attributes": attributes(event.attributes),
                    ]
                })
        }
        if !span.links.isEmpty {
            json["links"] = .array(
                span.links.map { link in
                    [
                        "trace_id": .string(base64(bytes(link.traceID.high) + bytes(link.traceID.low))),
                        "span_id": .string(base64(bytes(link.spanID.value))),
                        "attributes": attributes(link.attributes),
                    ]
                })
        }
        var status: Ordered<JSONValue> = ["code": .string(codes[Int(span.status.rawValue)])]
        if !span.statusMessage.isEmpty { status["message"] = .string(span.statusMessage) }
        json["status"] = .object(status)
        return .object(json)
    }

    private static let kinds = [
        "SPAN_KIND_UNSPECIFIED", "SPAN_KIND_INTERNAL", "SPAN_KIND_SERVER", "SPAN_KIND_CLIENT", "SPAN_KIND_PRODUCER",
        "SPAN_KIND_CONSUMER",
    ]
    private static let codes = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"]

    private static func nano(_ time: UInt64) -> JSONValue { .integer(Int64(clamping: time)) }

    private static func attributes(_ list: [OTLP.Attribute]) -> JSONValue {
        .array(list.map { ["key": .string($0.key), "value": value($0.value)] })
    }

    private static func value(_ value: OTLP.Value) -> JSONValue {
        switch value {
        case .empty: [:]
        case .string(let text): ["string_value": .string(text)]
        case .bool(let truth): ["bool_value": .bool(truth)]
        case .int(let number): ["int_value": .integer(number)]
        case .double(let number): ["double_value": .number(number)]
        case .array(let items): ["array_value": ["values": .array(items.map(self.value))]]
        case .map(let pairs): ["kvlist_value": ["values": attributes(pairs)]]
        case .bytes(let bytes): ["bytes_value": .string(base64(bytes))]
        }
    }

    private static func bytes(_ word: UInt64) -> [UInt8] { withUnsafeBytes(of: word.bigEndian) { Array($0) } }

    private static func base64(_ bytes: [UInt8]) -> String {
        let text = Base64URL.encode(bytes).replacing("-", with: "+").replacing("_", with: "/")
        return text + String(repeating: "=", count: (4 - text.utf8.count % 4) % 4)
    }
}

/// A span as it is stored: whole, and what of it is searched and counted.
struct StoredSpan: Sendable {
    var id: String
    /// Nanoseconds since 1970.
    var start: Int64
    var end: Int64
    var name: String
    var status: String
    var type: String?
    var model: String?
    var provider: String?
    /// US dollars.
    var inputCost: Double?
    var outputCost: Double?
    var totalCost: Double?
    /// JSON.
    var body: String

    init(_ span: OTLP.Span) {
        let body = TraceSpans.json(span)
        id = span.spanID.hex
        (start, end, name) = (Int64(clamping: span.start), Int64(clamping: span.end), span.name)
        status = ["UNSET", "OK", "ERROR"][Int(span.status.rawValue)]
        self.body = body.text
        type = Self.value("mlflow.spanType", of: span)?.string
        model = Self.value("mlflow.llm.model", of: span)?.string
        provider = Self.value("mlflow.llm.provider", of: span)?.string
        let cost = Self.value("mlflow.llm.cost", of: span)
        (inputCost, outputCost) = (cost?["input_cost"]?.double, cost?["output_cost"]?.double)
        totalCost = cost?["total_cost"]?.double
    }

    /// The value of an attribute, which MLflow's clients write as JSON within a text.
    private static func value(_ key: String, of span: OTLP.Span) -> JSONValue? {
        guard let attribute = span.attributes.first(where: { $0.key == key }) else { return nil }
        return plain(attribute.value)
    }

    private static func plain(_ value: OTLP.Value) -> JSONValue {
        switch value {
        case .string(let text): (try? JSONParser.parse(text)) ?? .string(text)  // not all of them write JSON
        case .bool(let truth): .bool(truth)
        case .int(let number): .integer(number)
        case .double(let number): .number(number)
        case .map(let pairs): .object(Ordered(pairs.map { ($0.key, plain($0.value)) }))
        case .array(let items): .array(items.map(plain))
        case .empty, .bytes: .null
        }
    }
}

extension TrackingStore {
    /// Keeps spans, and of each trace that nobody told of yet what its spans tell.
    func keep(_ spans: [OTLP.Span], experiment id: Int64, run: String?, in project: String) async throws {
        let traces = Dictionary(grouping: spans, by: TraceSpans.traceID)
        try await write { sql in
            let experiment = try sql.experiment(id, in: project)
            try experiment.checkActive()
            for (traceID, spans) in traces {
                let known = try sql.trace(traceID, in: project)
                if known == nil, try sql.hasTrace(traceID) {
                    throw MLflowError.missing("Trace with ID '\(traceID)' not found.")
                }
                var trace = known ?? StoredTrace(id: traceID, experiment: id, time: Int64.max)
                if !trace.isFinal { Self.learn(spans, of: &trace) }
                if known == nil {
                    trace.tags.append(("mlflow.artifactLocation", Self.artifacts(of: traceID, in: experiment)))
                }
                // Tells clients that the spans need not be uploaded as a file, and where to read them.
                trace.tags.append(("mlflow.trace.spansLocation", "TRACKING_STORE"))
                try sql.keep(trace)
                for span in spans {
                    try sql.keepSpan(StoredSpan(span), of: traceID)
                }
                if let run { try sql.link(traceID, toRun: run) }
            }
        }
    }

    static func artifacts(of trace: String, in experiment: StoredExperiment) -> String {
        "\(experiment.artifactLocation)/traces/\(trace)/artifacts"
    }

    /// Times, state and name of a trace by its spans.
    private static func learn(_ spans: [OTLP.Span], of trace: inout StoredTrace) {
        let end = trace.duration.map { trace.time + $0 } ?? 0
        let starts = spans.map { Int64(clamping: $0.start / 1_000_000) }
        let ends = spans.map { Int64(clamping: $0.end / 1_000_000) }
        trace.time = min(trace.time, starts.min() ?? 0)
        let last = max(end, ends.max() ?? 0)
        if last > trace.time { trace.duration = last - trace.time }
        guard let root = spans.first(where: { $0.parentID.isEmpty }) else { return }
        trace.state = root.status == .error ? "ERROR" : "OK"
        if !trace.tags.contains(where: { $0.key == TraceSearch.nameTag }) {
            trace.tags.append((TraceSearch.nameTag, root.name))
        }
    }
}
