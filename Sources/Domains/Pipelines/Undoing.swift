import API
import Kernel
import Manifests

/// The `rollback` of a pipeline: when a run has failed after it had deployed, the service goes back to where it was.
struct Undoing: Sendable {
    let context: DomainContext

    /// Decides once what is to be undone, does it, and writes down what became of it; may be repeated at any point.
    func undo(_ state: RunState) async throws {
        let run = state.stored.run
        guard let spec = state.stored.spec.rollback else { return }
        let revision = try await deployed(spec.service, by: run.id)
        guard let revision else {
            return try await note(["undone": false, "reason": "nothing was deployed"], state, spec)
        }
        var outcome: JSONValue
        do {
            let name = Name(project: run.project, name: spec.service)
            let status = try await context.caller.call(Services.status, name, as: call(run))
            // Somebody has moved on, or this was done before we died.
            if status.stable_revision == revision {
                var input = UndoInput()
                (input.project, input.name) = (run.project, spec.service)
                _ = try await context.caller.call(Services.undo, input, as: call(run))
                outcome = ["undone": true, "revision": .integer(Int64(revision))]
            } else {
                outcome = ["undone": false, "reason": .string("revision \(revision) is not the stable one any more")]
            }
        } catch let problem as Problem where problem.status < 500 && problem.status != 429 {
            outcome = ["undone": false, "reason": .string(problem.message)]
        }
        try await note(outcome, state, spec)
    }

    private func call(_ run: Run) -> Call { Call(actor: "run:\(run.id)", correlation: run.id) }

    /// The newest revision of the service that a deploy step of this run has brought to all traffic.
    private func deployed(_ service: String, by run: String) async throws -> Int? {
        let jobs = try await context.store.read { try $0.jobs(run: run) }
        return jobs.flatMap(\.job.steps)
            .filter { $0.verb == "deploy" && $0.status == .succeeded && $0.outputs["service"]?.string == service }
            .compactMap { $0.outputs["revision"]?.int }.max()
    }

    private func note(_ outcome: JSONValue, _ state: RunState, _ spec: UndoSpec) async throws {
        try await context.store.change(.system("pipelines", correlation: state.stored.run.id)) { change in
            guard var stored = try change.sql.run(id: state.stored.run.id), stored.undone == nil else { return }
            stored.undone = outcome
            try change.sql.update(stored)
            var data: Ordered<JSONValue> = ["service": .string(spec.service)]
            for (key, value) in outcome.object ?? [:] { data[key] = value }
            try change.tell("run.rolled-back", about: stored.subject, data)
        }
    }
}
