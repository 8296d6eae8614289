import API
import Kernel
import Manifests
import SQL
import Wire

/// MLflow's calls about traces, and the OpenTelemetry protocol at `/v1/traces`.
struct TraceCalls: Sendable {
    let tracking: TrackingHouse

    private static let standardResults: Int64 = 100
    private static let resultLimit: Int64 = 500
    /// Links of one request.
    static let linkLimit = 100
    /// Traces of one batch.
    private static let batchLimit = 1000
    static let states = ["STATE_UNSPECIFIED", "OK", "ERROR", "IN_PROGRESS"]

    var routes: [MLflowRoute] {
        let (old, new) = ("/api/2.0/mlflow/traces", "/api/3.0/mlflow/traces")
        let tags = [old, new].flatMap { base in
            [
                MLflowRoute("PATCH", "\(base)/{trace_id}/tags", setTag),
                MLflowRoute("DELETE", "\(base)/{trace_id}/tags", deleteTag),
                MLflowRoute("POST", "\(base)/delete-traces", delete),
            ]
        }
        return tags + [
            MLflowRoute("POST", new, start), MLflowRoute("POST", "\(new)/search", needs: .read, search),
            MLflowRoute("GET", "\(new)/get", get), MLflowRoute("GET", "\(new)/batchGet", batchGet),
            MLflowRoute("POST", "\(new)/batchGetInfos", needs: .read, batchGetInfos),
            MLflowRoute("GET", "\(new)/{trace_id}", getInfo), MLflowRoute("GET", "\(old)/{trace_id}/info", getOldInfo),
            MLflowRoute("POST", "\(old)/link-to-run", linkToRun),
            MLflowRoute("POST", "\(old)/link-prompts", linkPrompts), MLflowRoute("POST", "/v1/traces", takeSpans),
            MLflowRoute("POST", old, startOld), MLflowRoute("PATCH", "\(old)/{trace_id}", endOld),
            MLflowRoute("GET", old, searchOld),
        ]
    }

    static func missing(_ id: String) -> MLflowError { .missing("Trace with ID '\(id)' not found.") }

    // MARK: Writing

    private func start(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        guard let info = input.value("trace")?["trace_info"], case .object = info else {
            throw MLflowError.required("trace")
        }
        let told = try Self.trace(info)
        let (store, project) = (try tracking.store, input.project)
        return .json(
            try await store.write { sql in
                let experiment = try sql.experiment(told.experiment, in: project)
                try experiment.checkActive()
                var trace = told
                if try sql.trace(trace.id, in: project) == nil {
                    // An id that another project has is not told of.
                    guard try !sql.hasTrace(trace.id) else { throw Self.missing(trace.id) }
                }
                let place = TrackingStore.artifacts(of: trace.id, in: experiment)
                trace.tags.append(("mlflow.artifactLocation", place))
                trace.metadata.append(("mlflow.trace.infoFinalized", "true"))
                try sql.keep(trace)
                for assessment in trace.assessments { _ = try sql.insert(assessment) }
                guard let kept = try sql.trace(trace.id, in: project) else { throw Self.missing(trace.id) }
                return ["trace": ["trace_info": kept.json]]
            })
    }

    private static func trace(_ info: JSONValue) throws(MLflowError) -> StoredTrace {
        guard let id = info["trace_id"]?.string, !id.isEmpty else { throw .required("trace.trace_info.trace_id") }
        let place = info["trace_location"]?["mlflow_experiment"]?["experiment_id"]?.string
        guard let place else { throw .required("trace.trace_info.trace_location") }
        guard let text = info["request_time"]?.string, let time = Timestamp(text) else {
            throw .required("trace.trace_info.request_time")
        }
        var trace = StoredTrace(id: id, experiment: try NameRules.experimentID(place), time: time.microseconds / 1000)
        if let length = info["execution_duration"]?.string {
            guard length.hasSuffix("s"), let seconds = Double(length.dropLast()), seconds.magnitude < 1e12 else {
                throw .wrong("trace.trace_info.execution_duration", .string(length))
            }
            trace.duration = Int64((seconds * 1000).rounded())
        }
        trace.state = info["state"]?.string.flatMap { states.contains($0) ? $0 : nil } ?? states[0]
        trace.clientRequest = info["client_request_id"]?.string
        trace.requestPreview = info["request_preview"]?.string
        trace.responsePreview = info["response_preview"]?.string
        trace.isFinal = true
        trace.tags = try pairs(info["tags"], "tags")
        trace.metadata = try pairs(info["trace_metadata"], "trace_metadata")
        for told in info["assessments"]?.array ?? [] {
            trace.assessments.append(
                try StoredAssessment(told, of: id, id: AssessmentCalls.newID(), at: time.microseconds / 1000))
        }
        return trace
    }

    private static func pairs(_ value: JSONValue?, _ name: String) throws(MLflowError) -> [(key: String, value: String)]
    {
        var pairs: [(key: String, value: String)] = []
        for (key, value) in value?.object ?? [:] {
            guard let text = value.string else { throw .wrong("trace.trace_info.\(name)", value) }
            pairs.append((key, text))
        }
        return pairs
    }

    private func setTag(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (id, project) = (input.path["trace_id"] ?? "", input.project)
        let tag = try NameRules.tag(input.string("key"), input.text("value") ?? "")
        try await tracking.store.write { sql in
            guard try sql.trace(id, in: project) != nil else { throw Self.missing(id) }
            try sql.keepTraceTag(tag.key, tag.value, of: id)
        }
        return .empty
    }

    private func deleteTag(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (id, project, key) = (input.path["trace_id"] ?? "", input.project, try input.string("key"))
        try await tracking.store.write { sql in
            guard try sql.trace(id, in: project) != nil else { throw Self.missing(id) }
            guard try sql.deleteTraceTag(key, of: id) else {
                throw MLflowError.missing("No trace tag with key '\(key)' for trace with ID '\(id)'")
            }
        }
        return .empty
    }

    private func delete(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let experimentID = try NameRules.experimentID(input.string("experiment_id"))
        let (moment, count) = (try input.integer("max_timestamp_millis"), try input.integer("max_traces"))
        let named = try input.strings("request_ids")
        guard (moment == nil) == !named.isEmpty else {
            throw MLflowError.invalid("Either `max_timestamp_millis` or `trace_ids` must be specified.")
        }
        let project = input.project
        let deleted = try await tracking.store.write { sql in
            _ = try sql.experiment(experimentID, in: project)
            let ids =
                try moment.map {
                    try sql.traces(of: experimentID, before: $0, atMost: Int(clamping: count ?? Int64.max))
                } ?? named
            return try ids.filter { try sql.deleteTrace($0, of: experimentID) }.count
        }
        return .json(["traces_deleted": .integer(Int64(deleted))])
    }

    private func linkToRun(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (ids, run, project) = (try input.strings("trace_ids"), try input.string("run_id"), input.project)
        guard !ids.isEmpty else { throw MLflowError.required("trace_ids") }
        guard ids.count <= Self.linkLimit else {
            throw MLflowError.invalid(
                "Cannot link more than \(Self.linkLimit) traces to a run in a single request. Provided \(ids.count) traces."
            )
        }
        try await tracking.store.write { sql in
            _ = try sql.storedRun(run, in: project)
            for id in ids {
                guard try sql.trace(id, in: project) != nil else { throw Self.missing(id) }
                try sql.link(id, toRun: run)
            }
        }
        return .empty
    }

    /// Spans by the OpenTelemetry protocol, as protobuf or JSON, packed with gzip or not.
    private func takeSpans(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let headers = input.request.headers
        guard let told = headers["x-mlflow-experiment-id"], !told.isEmpty else {
            throw MLflowError.required("x-mlflow-experiment-id")
        }
        let experiment = try NameRules.experimentID(told)
        guard let encoding = OTLP.Encoding(contentType: headers["content-type"] ?? "") else {
            throw MLflowError(.badRequest, "Invalid Content-Type. Expected: application/x-protobuf or application/json")
        }
        let spans: [OTLP.Span]
        do {
            var body = input.request.body
            if headers["content-encoding"]?.lowercased() == "gzip" {
                body = try Gzip.inflate(body, limit: OTLP.sizeLimit)
            }
            spans = try OTLP.decodeTraces(body, encoding).flatMap { $0.parts.flatMap(\.items) }
        } catch {
            throw MLflowError(.badRequest, "Invalid OpenTelemetry format")
        }
        guard !spans.isEmpty else { throw MLflowError(.badRequest, "Invalid OpenTelemetry format - no spans found") }
        guard spans.allSatisfy({ !$0.traceID.isEmpty && !$0.spanID.isEmpty }) else {
            throw MLflowError(.badRequest, "Invalid OpenTelemetry format - a span without an id")
        }
        try await tracking.store.keep(
            spans, experiment: experiment, run: headers["x-mlflow-run-id"], in: input.project)
        return .foreign(
            ForeignAnswer(type: encoding.contentType, .bytes(OTLP.response(.traces, encoding))))
    }

    // MARK: Reading

    private func getInfo(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        .json(["trace": ["trace_info": try await trace(input.path["trace_id"] ?? "", input.project).json]])
    }

    private func getOldInfo(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        .json(["trace_info": try await trace(input.path["trace_id"] ?? "", input.project).oldJSON])
    }

    private func trace(_ id: String, _ project: String) async throws -> StoredTrace {
        guard let trace = try await tracking.store.read({ try $0.trace(id, in: project) }) else {
            throw Self.missing(id)
        }
        return trace
    }

    private static func whole(_ trace: StoredTrace, in sql: Connection) throws -> JSONValue {
        ["trace_info": trace.json, "spans": .array(try sql.spans(of: trace.id))]
    }

    private func get(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (id, project) = (try input.string("trace_id"), input.project)
        return .json(
            try await tracking.store.read { sql in
                guard let trace = try sql.trace(id, in: project) else { throw Self.missing(id) }
                return ["trace": try Self.whole(trace, in: sql)]
            })
    }

    private func ids(_ input: MLflowInput) throws(MLflowError) -> [String] {
        let ids = try input.strings("trace_ids")
        guard !ids.isEmpty else { throw .required("trace_ids") }
        guard ids.count <= Self.batchLimit else { throw .wrong("trace_ids", .integer(Int64(ids.count))) }
        return ids
    }

    private func batchGet(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (ids, project) = (try ids(input), input.project)
        let found = try await tracking.store.read { sql in
            try ids.compactMap { try sql.trace($0, in: project) }.map { try Self.whole($0, in: sql) }
        }
        return .json(found.isEmpty ? [:] : ["traces": .array(found)])
    }

    private func batchGetInfos(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (ids, project) = (try ids(input), input.project)
        let found = try await tracking.store.read { sql in try ids.compactMap { try sql.trace($0, in: project)?.json } }
        return .json(found.isEmpty ? [:] : ["trace_infos": .array(found)])
    }

    private func search(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        guard input.value("locations") != nil else { throw MLflowError.required("locations") }
        let experiments = try input.list("locations").compactMap {
            try $0["mlflow_experiment"]?["experiment_id"]?.string.map(NameRules.experimentID)
        }
        return try await search(input, experiments, shown: \.json)
    }

    func search(
        _ input: MLflowInput, _ experiments: [Int64], shown: @escaping @Sendable (StoredTrace) -> JSONValue
    ) async throws -> MLflowAnswer {
        let limit = try input.integer("max_results") ?? Self.standardResults
        guard (1...Self.resultLimit).contains(limit) else { throw MLflowError.wrong("max_results", .integer(limit)) }
        let (filter, order) = (try input.text("filter") ?? "", try input.strings("order_by"))
        let question = ["traces", input.project, "\(experiments)", filter] + order
        let store = try tracking.store
        var plan = TraceSearch(
            experiments: [], filter: try FilterParser.parse(filter, .traces),
            order: try OrderClause.parse(order, .traces), limit: Int(limit))
        if let token = try input.text("page_token"), !token.isEmpty {
            plan.place = try store.tokens.read(token, for: question)
        }
        let (project, wanted) = (input.project, plan)
        return .json(
            try await store.read { sql in
                var search = wanted
                search.experiments = try sql.experiments(experiments, in: project)
                let page = try search.run(in: sql)
                let found = try page.items.compactMap { try sql.trace($0, in: project).map(shown) }
                var json: Ordered<JSONValue> = [:]
                if !found.isEmpty { json["traces"] = .array(found) }
                if let next = page.next { json["next_page_token"] = .string(store.tokens.make(next, for: question)) }
                return .object(json)
            })
    }
}
