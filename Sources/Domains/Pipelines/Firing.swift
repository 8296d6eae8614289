import API
import Expressions
import Kernel
import Manifests
import SQL

/// A pipeline whose trigger may have come true.
struct Firing: Sendable {
    var pipeline: TypedResource<PipelineKind>
    var spec: TriggerSpec
    var trigger: Trigger
    /// The commit that the run takes; nil: it has none.
    var place: CommitPlace?
    /// Values of parameters that go before those of the trigger: push options, the body of a request.
    var parameters: Ordered<JSONValue> = [:]

    /// What `if` and `parameters` of the trigger see.
    var context: Context {
        let ref = trigger.ref ?? place?.ref
        let values: [String: JSONValue] = [
            "event": trigger.event ?? .null, "ref": ref.json, "branch": Refs.branch(ref).json,
            "tag": Refs.tag(ref).json,
            "base_ref": trigger.base_ref.json, "commit": (place?.commit).json,
            "pipeline": .string(pipeline.reference.name), "project": .string(pipeline.reference.project),
        ]
        return Context(values: values.mapValues { Value($0) })
    }
}

extension Trigger {
    /// Takes why a run was asked for: only what whoever asks can speak of.
    mutating func take(_ input: RunInput) throws(Problem) {
        event = input.event
        guard let cause = input.cause else { return }
        guard [.manual, .api, .alert, .webhook].contains(cause) else {
            throw Problem(
                "run.cause", status: 422, "a run that is asked for cannot be caused by \(cause.rawValue)",
                hint: "Use manual, api, alert or webhook.", location: "cause")
        }
        type = cause
    }
}

/// Names of refs.
enum Refs {
    static func branch(_ ref: String?) -> String? { rest(ref, "refs/heads/") }
    static func tag(_ ref: String?) -> String? { rest(ref, "refs/tags/") }

    private static func rest(_ ref: String?, _ prefix: String) -> String? {
        guard let ref, ref.hasPrefix(prefix) else { return nil }
        return String(ref.dropFirst(prefix.count))
    }
}

extension Change {
    /// Lays down the run that a trigger asks for, in this transaction; nil when its `if` is false or it cannot be.
    ///
    /// What cannot be laid down is told as `pipeline.not-started`: one pipeline must not keep the others from going on.
    @discardableResult
    func fire(_ firing: Firing, id: String) throws -> StoredRun? {
        let (pipeline, spec) = (firing.pipeline, firing.spec)
        do {
            if let condition = spec.if {
                let holds = try Expression(parsing: Resolver.bareCondition(condition)).evaluate(in: firing.context)
                guard holds.isTruthy else { return nil }
            }
            var given = try spec.parameters.map {
                try Resolver(context: firing.context, leavesSteps: false).resolve($0)
            }
            for (name, value) in firing.parameters { given[name] = value }
            var request = RunRequest(
                project: pipeline.reference.project, pipeline: pipeline.reference.name, spec: pipeline.spec,
                trigger: firing.trigger, parameters: try Parameters.read(given, for: pipeline.spec))
            if let place = firing.place {
                (request.repository, request.commit) = (place.repository, place.commit)
                request.committedAt = place.committedAt
                request.trigger.ref = request.trigger.ref ?? place.ref
                request.trigger.message = request.trigger.message ?? place.message
            }
            return try lay(request, id: id)
        } catch let problem as Problem {
            try tellNotStarted(firing, problem.message)
        } catch let error as ExpressionError {
            try tellNotStarted(firing, "\(spec.type.rawValue) trigger: \(error)")
        }
        return nil
    }

    private func tellNotStarted(_ firing: Firing, _ reason: String) throws {
        try tell(
            "pipeline.not-started", about: firing.pipeline.reference.subject,
            [
                "trigger": firing.trigger.type.json, "commit": (firing.place?.commit).json, "reason": .string(reason),
            ])
    }

    /// The head of the default branch of a pipeline's repository; nil when it has none, or nothing was pushed yet.
    func defaultHead(of pipeline: TypedResource<PipelineKind>) throws -> CommitPlace? {
        guard let name = pipeline.spec.repository else { return nil }
        let reference = Reference<RepositoryKind>(project: pipeline.reference.project, name: name)
        guard let repository = try sql.resource(RepositoryKind.self, reference) else { return nil }
        return try sql.head(of: reference, ref: "refs/heads/\(repository.spec.default_branch)")
    }
}
