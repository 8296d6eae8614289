import API
import Kernel
import Manifests
import SQL

/// MLflow's calls about what is said of traces.
struct AssessmentCalls: Sendable {
    let tracking: TrackingHouse

    var routes: [MLflowRoute] {
        let base = "/api/3.0/mlflow/traces/{trace_id}/assessments"
        return [
            MLflowRoute("POST", base, create), MLflowRoute("GET", "\(base)/{assessment_id}", get),
            MLflowRoute("PATCH", "\(base)/{assessment_id}", update),
            MLflowRoute("DELETE", "\(base)/{assessment_id}", delete),
        ]
    }

    private static func missingTrace(_ id: String) -> MLflowError {
        .missing("Trace with request_id '\(id)' not found")
    }
    private static func missing(_ id: String, of trace: String) -> MLflowError {
        .missing("Assessment with ID '\(id)' not found for trace '\(trace)'")
    }

    static func newID() -> String { "a-\(RunNames.id())" }

    private func create(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        guard let told = input.value("assessment") else { throw MLflowError.required("assessment") }
        guard told.object != nil else { throw MLflowError.wrong("assessment", told) }
        let (trace, project, now) = (input.path["trace_id"] ?? "", input.project, try tracking.store.milliseconds)
        let assessment = try StoredAssessment(told, of: trace, id: Self.newID(), at: now)
        try await tracking.store.write { sql in
            guard try sql.trace(trace, in: project) != nil else { throw Self.missingTrace(trace) }
            if let old = assessment.overrides {
                guard try sql.mark(assessment: old, of: trace, isValid: false) else {
                    throw Self.missing(old, of: trace)
                }
            }
            guard try sql.insert(assessment) else {
                throw MLflowError(
                    .internal, "Failed to create assessment for trace '\(trace)' due to a constraint violation.")
            }
        }
        return .json(["assessment": assessment.json])
    }

    private func find(_ input: MLflowInput, in sql: Connection) throws -> StoredAssessment {
        let (trace, id) = (input.path["trace_id"] ?? "", input.path["assessment_id"] ?? "")
        guard try sql.trace(trace, in: input.project) != nil else { throw Self.missingTrace(trace) }
        guard let found = try sql.assessment(id, of: trace) else { throw Self.missing(id, of: trace) }
        return found
    }

    private func get(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        .json(["assessment": try await tracking.store.read { try find(input, in: $0) }.json])
    }

    private func delete(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (trace, id, project) = (input.path["trace_id"] ?? "", input.path["assessment_id"] ?? "", input.project)
        try await tracking.store.write { sql in
            // What is not there is deleted already.
            guard try sql.trace(trace, in: project) != nil, let old = try sql.assessment(id, of: trace) else { return }
            if let overridden = old.overrides { _ = try sql.mark(assessment: overridden, of: trace, isValid: true) }
            try sql.deleteAssessment(id)
        }
        return .empty
    }

    private func update(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        guard let told = input.value("assessment") else { throw MLflowError.required("assessment") }
        guard let mask = input.value("update_mask") else { throw MLflowError.required("update_mask") }
        guard let paths = mask.string else { throw MLflowError.wrong("update_mask", mask) }
        let (named, now) = (Set(paths.split(separator: ",").map(Self.snake)), try tracking.store.milliseconds)
        let updated = try await tracking.store.write { sql in
            var assessment = try find(input, in: sql)
            try Self.apply(told, named, to: &assessment)
            assessment.updated = now
            try sql.update(assessment)
            return assessment
        }
        return .json(["assessment": updated.json])
    }

    /// A path of a field mask, which JSON writes in camel case.
    private static func snake(_ path: Substring) -> String {
        path.reduce(into: "") { text, letter in
            if letter.isUppercase { text.append("_") }
            text.append(contentsOf: letter.lowercased())
        }
    }

    private static func apply(
        _ told: JSONValue, _ paths: Set<String>, to assessment: inout StoredAssessment
    ) throws(MLflowError) {
        guard assessment.kind != .issue else { throw .invalid("A reference to an issue cannot be updated.") }
        if paths.isSuperset(of: ["expectation", "feedback"]) {
            throw .invalid("Cannot specify both `expectation` and `feedback` parameters.")
        }
        if paths.contains("expectation") {
            guard assessment.kind == .expectation else {
                throw .invalid("Cannot update expectation value on a Feedback assessment.")
            }
            assessment.value = try StoredAssessment.expectation(told["expectation"] ?? [:])
        }
        if paths.contains("feedback") {
            guard assessment.kind == .feedback else {
                throw .invalid("Cannot update feedback value on an Expectation assessment.")
            }
            (assessment.value, assessment.error) = StoredAssessment.feedback(told["feedback"] ?? [:])
        }
        if paths.contains("valid") { throw .invalid("Whether an assessment is valid is not set, it follows.") }
        if paths.contains("assessment_name") { assessment.name = told["assessment_name"]?.string ?? "" }
        if paths.contains("rationale"), assessment.kind == .feedback {
            assessment.rationale = told["rationale"]?.string ?? ""
        }
        if paths.contains("metadata") {
            for (key, value) in try StoredAssessment.metadata(told["metadata"]) { assessment.metadata[key] = value }
        }
    }
}
