import API
import Expressions
import Kernel
import Manifests
import SQL

/// Makes the orders of a ready job: every expression resolved, every artifact named by its digest.
struct OrderMaker: Sendable {
    let context: DomainContext

    /// Declared things and artifacts that orders name, read in one go.
    struct Shelf: Sendable {
        var artifacts: [Artifact]
        var resources: [String: JSONValue]
        /// Folder or URL of the run's repository.
        var repository: String?
    }

    /// - Throws: `Problem` or `ExpressionError`, which fail the job; other errors are worth another try.
    func orders(for job: StoredJob, in state: RunState, repositories: String) async throws -> [StepOrder] {
        let stored = state.stored
        guard let stage = stored.spec.stages.first(where: { $0.name == job.job.stage }),
            let spec = stage.allJobs[job.job.name]
        else {
            throw Problem("job.unknown", status: 422, "the pipeline has no job \"\(job.job.key)\"")
        }
        let variables = try resolvedVariables(stage, spec, job, state)
        var resolver = Resolver(context: Contexts.run(state, needs: job.job.needs, variables: variables))
        // What the server carries out itself, no runner will resolve.
        resolver.leavesSteps = !spec.steps.contains { StepVerbs.serverSide.contains($0.verb.name) }
        let steps = try spec.steps.map { step in try resolved(step, resolver) }
        let shelf = try await shelf(for: steps, stored, repositories)
        var orders: [StepOrder] = []
        for (index, step) in steps.enumerated() {
            var order = try order(step, index, shelf, stored)
            order.environment = Self.environment(of: stored, variables, step)
            try order.addContext(from: resolver)
            if let checkout = step.checkout {
                try await addCheckout(
                    checkout, to: &order, own: shelf.repository, of: stored.run, repositories: repositories)
            }
            if let champion = step.evaluate?.champion {
                try await addChampion(champion, to: &order, project: stored.run.project)
            }
            orders.append(order)
        }
        return orders
    }

    private func resolvedVariables(
        _ stage: StageSpec, _ spec: JobSpec, _ job: StoredJob, _ state: RunState
    ) throws -> Ordered<String> {
        let first = Resolver(context: Contexts.run(state, needs: job.job.needs))
        var variables = try first.resolve(state.stored.spec.variables)
        for (name, value) in try first.resolve(stage.variables) { variables[name] = value }
        for (name, value) in try first.resolve(spec.variables) { variables[name] = value }
        return variables
    }

    private func resolved(_ step: StepSpec, _ resolver: Resolver) throws -> StepSpec {
        var json = try resolver.resolve(step.json)
        // A condition is evaluated by the runner, when its time has come.
        if var members = json.object, let condition = step.if {
            members["if"] = .string(condition)
            json = .object(members)
        }
        do {
            return try StepSpec(json: json, at: [])
        } catch {
            throw Problem(error)
        }
    }

    private func order(_ step: StepSpec, _ index: Int, _ shelf: Shelf, _ stored: StoredRun) throws -> StepOrder {
        var order = StepOrder()
        (order.index, order.id, order.name) = (index, step.id, step.displayName)
        (order.verb, order.settings) = step.verb
        order.timeout_seconds = step.timeout?.seconds
        order.if = step.if.map(Resolver.bareCondition)
        order.continue_on_error = step.continue_on_error
        (order.shell, order.working_directory, order.retry) = (step.shell, step.working_directory, step.retry)
        order.own_variables = step.variables.keys + step.env.keys
        for (name, reference) in step.artifactInputs {
            guard let artifact = Self.find(reference, in: shelf.artifacts) else {
                throw Problem(
                    "artifact.missing", status: 422, "\"\(reference)\" was not left behind by any stage of this run",
                    hint: "Look at what there is: vagus artifacts \(stored.run.id)")
            }
            order.inputs[name] = artifact
        }
        for (kind, name) in step.resourceInputs {
            guard let spec = shelf.resources["\(kind)/\(name)"] else {
                throw Problem.notFound(
                    kind, name, project: stored.run.project, list: "get \(try Kinds.named(kind).plural)")
            }
            order.resources[kind] = spec
        }
        return order
    }

    /// The newest artifact that `stage.name` means.
    static func find(_ reference: String, in artifacts: [Artifact]) -> Artifact? {
        guard let dot = reference.firstIndex(of: ".") else { return nil }
        let (stage, name) = (reference[..<dot], reference[reference.index(after: dot)...])
        return artifacts.last { $0.stage == stage && $0.name == name }
    }

    private func shelf(for steps: [StepSpec], _ stored: StoredRun, _ repositories: String) async throws -> Shelf {
        let wanted = steps.flatMap(\.resourceInputs)
        let run = stored.run
        return try await context.store.read { sql in
            var shelf = Shelf(artifacts: try sql.artifacts(run: run.id), resources: [:])
            for (kind, name) in wanted {
                guard let found = try sql.resource(kind: kind, project: run.project, name: name) else { continue }
                var members = found.spec.object ?? [:]
                members["name"] = .string(name)
                shelf.resources["\(kind)/\(name)"] = .object(members)
            }
            if let name = run.repository {
                let reference = Reference<RepositoryKind>(project: run.project, name: name)
                let spec = try sql.resource(RepositoryKind.self, reference)?.spec
                shelf.repository = Git.place(of: reference, path: spec?.path, hosted: repositories)
            }
            return shelf
        }
    }

    /// All that a step's process will see, beside what the runner adds of its own.
    static func environment(of stored: StoredRun, _ variables: Ordered<String>, _ step: StepSpec) -> Ordered<String> {
        let run = stored.run
        var environment: Ordered<String> = [
            "CI": "true", "VAGUS": "true", "VAGUS_PROJECT": run.project, "VAGUS_PIPELINE": run.pipeline,
            "VAGUS_RUN_NUMBER": String(run.number),
        ]
        if let commit = run.commit { environment["VAGUS_COMMIT"] = commit }
        if let ref = run.trigger.ref { environment["VAGUS_REF"] = ref }
        for (name, value) in run.parameters {
            environment["VAGUS_PARAMETER_\(Self.upper(name))"] = value.string ?? value.text
        }
        for (name, value) in variables { environment[name] = value }
        for (name, value) in step.variables { environment[name] = value }
        for (name, value) in step.env { environment[name] = value }
        return environment
    }

    /// The name in capitals, other characters than letters and digits as "_".
    private static func upper(_ name: String) -> String {
        String(name.uppercased().map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" })
    }

    // MARK: Champion

    /// Gives a gate the model it compares with: its metrics as a fact, its files as an input; a null fact when there is none.
    private func addChampion(_ text: String, to order: inout StepOrder, project: String) async throws {
        let name = try ModelReference(text)
        let wanted = ModelVersionName(project: project, name: name.model, version: name.version)
        do {
            let version = try await context.caller.call(Models.version, wanted, as: .system("pipelines"))
            order.facts["champion"] = ["version": .integer(Int64(version.version)), "metrics": version.metrics.json]
            var artifact = Artifact()
            (artifact.name, artifact.digest, artifact.size_bytes) = ("champion", version.digest, version.size_bytes)
            (artifact.form, artifact.file_name) = (.tree, "champion")
            order.inputs["champion"] = artifact
        } catch let problem as Problem where problem.status == 404 {
            order.facts["champion"] = .null
        }
    }
}

/// `name@3`, `name@alias`, or `name` for its newest version.
struct ModelReference: Sendable, Equatable {
    var model: String
    var version: String

    init(_ text: String) throws(Problem) {
        let parts = text.split(separator: "@", omittingEmptySubsequences: false).map(String.init)
        guard (1...2).contains(parts.count), parts.allSatisfy({ !$0.isEmpty }) else {
            throw Problem(
                "model.reference", status: 422, "\"\(text)\" does not name a model version",
                hint: "Write name@3 or name@alias.")
        }
        (model, version) = (parts[0], parts.count == 2 ? parts[1] : "latest")
    }
}
