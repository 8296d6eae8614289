import API
import Kernel
import Manifests
import SQL

/// The calls of MLflow 2 about traces, and how traces are linked to prompts.
extension TraceCalls {
    func startOld(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let id = try NameRules.experimentID(input.text("experiment_id") ?? "")
        var trace = StoredTrace(id: RunNames.id(), experiment: id, time: try input.integer("timestamp_ms") ?? 0)
        trace.metadata = try input.pairs("request_metadata")
        trace.tags = try input.pairs("tags")
        let (told, project) = (trace, input.project)
        return .json(
            try await tracking.store.write { sql in
                let experiment = try sql.experiment(id, in: project)
                try experiment.checkActive()
                var trace = told
                trace.tags.append(("mlflow.artifactLocation", TrackingStore.artifacts(of: trace.id, in: experiment)))
                try sql.keep(trace)
                return try Self.shown(trace.id, in: project, sql)
            })
    }

    func endOld(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (id, project) = (input.path["trace_id"] ?? "", input.project)
        let end = try input.integer("timestamp_ms") ?? 0
        let state = try Self.state(input)
        let (metadata, tags) = (try input.pairs("request_metadata"), try input.pairs("tags"))
        return .json(
            try await tracking.store.write { sql in
                guard var trace = try sql.trace(id, in: project) else { throw Self.missing(id) }
                let (length, isTooLong) = end.subtractingReportingOverflow(trace.time)
                guard !isTooLong else { throw MLflowError.wrong("timestamp_ms", .integer(end)) }
                (trace.duration, trace.state, trace.isFinal) = (length, state, true)
                trace.metadata += metadata
                trace.tags += tags
                try sql.keep(trace)
                return try Self.shown(id, in: project, sql)
            })
    }

    /// By name, or by the number of MLflow's enumeration.
    private static func state(_ input: MLflowInput) throws(MLflowError) -> String {
        switch input.value("status") {
        case nil: return states[0]
        case .string("TRACE_STATUS_UNSPECIFIED")?: return states[0]
        case .string(let name)? where states.contains(name): return name
        case .integer(let number)? where states.indices.contains(Int(clamping: number)): return states[Int(number)]
        case let other?: throw .wrong("status", other)
        }
    }

    private static func shown(_ id: String, in project: String, _ sql: Connection) throws -> JSONValue {
        guard let trace = try sql.trace(id, in: project) else { throw missing(id) }
        return ["trace_info": trace.oldJSON]
    }

    func searchOld(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let experiments = try input.strings("experiment_ids").map(NameRules.experimentID)
        guard !experiments.isEmpty else { throw MLflowError.required("experiment_ids") }
        return try await search(input, experiments, shown: \.oldJSON)
    }

    func linkPrompts(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (id, project) = (try input.string("trace_id"), input.project)
        guard input.value("prompt_versions") != nil else { throw MLflowError.required("prompt_versions") }
        let prompts = try input.list("prompt_versions").map { told throws(MLflowError) -> String in
            guard let name = told["name"]?.string, let version = told["version"].flatMap(MLflowInput.integer) else {
                throw .wrong("prompt_versions", told)
            }
            return "\(name)/\(version)"
        }
        guard prompts.count <= Self.linkLimit else {
            throw MLflowError.wrong("prompt_versions", .integer(Int64(prompts.count)))
        }
        try await tracking.store.write { sql in
            guard try sql.trace(id, in: project) != nil else { throw Self.missing(id) }
            for prompt in prompts { try sql.link(id, toPrompt: prompt) }
        }
        return .empty
    }
}
