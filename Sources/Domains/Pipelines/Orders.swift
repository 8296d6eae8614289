import API
import Expressions
import Kernel
import Manifests
import SQL

/// What a job is to do, and where and within which bounds.
struct JobOrders: Sendable {
    var steps: [StepOrder] = []
    /// Those that its runner must have; nil: as the pipeline says.
    var labels: [String]?
    var execution = ExecutionSpec()
}

extension JobOrders {
    /// Those that a job was made ready with.
    init(_ job: StoredJob) { self.init(steps: job.orders ?? [], execution: job.execution ?? ExecutionSpec()) }
}

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

    /// What came of it.
    enum Made: Sendable {
        case orders(JobOrders)
        /// The job fails for this reason.
        case failure(String)
    }

    /// A job on the way to its orders.
    private struct Draft {
        var job: StoredJob
        /// Variables as the runner evaluates them.
        var variables: Ordered<String>
        var steps: [StepSpec]
        var resolver: Resolver
    }

    /// The orders of jobs of one run, by the jobs' keys; all that they name is read in one go.
    func orders(for jobs: [StoredJob], in state: RunState, repositories: String) async throws -> [String: Made] {
        var made: [String: Made] = [:]
        var drafts: [Draft] = []
        for job in jobs {
            do { drafts.append(try draft(job, state)) } catch {
                made[job.job.key] = .failure(RunReconciler.words(error))
            }
        }
        let shelf = try await shelf(for: drafts.flatMap(\.steps), state.stored, repositories)
        for draft in drafts {
            do {
                let steps = try await orders(from: draft, shelf, state, repositories)
                var orders = JobOrders(steps: steps, execution: try execution(of: draft.job, in: state))
                orders.labels = try labels(of: draft.job, in: state)
                made[draft.job.job.key] = .orders(orders)
            } catch is CancellationError {
                throw CancellationError()
            } catch let problem as Problem where problem.status >= 500 {
                throw problem
            } catch {
                made[draft.job.job.key] = .failure(RunReconciler.words(error))
            }
        }
        return made
    }

    private func draft(_ job: StoredJob, _ state: RunState) throws -> Draft {
        guard let (_, spec) = state.stored.plan.find(job.key) else {
            throw Problem("job.unknown", status: 422, "the pipeline has no job \"\(job.job.key)\"")
        }
        let templates = try Contexts.templates(of: job, in: state)
        let variables = try Contexts.Variables(templates)
        // What the server carries out itself, no runner will resolve.
        let resolver = Resolver(
            context: Contexts.run(state, job: job, variables: variables.known), leavesSteps: !spec.spec.isOnServer,
            leftVariables: variables.left)
        let steps =
            spec.isPlain
            ? spec.spec.steps : try spec.spec.steps.enumerated().map { try resolved($1, number: $0 + 1, resolver) }
        return Draft(job: job, variables: templates, steps: steps, resolver: resolver)
    }

    private func orders(
        from draft: Draft, _ shelf: Shelf, _ state: RunState, _ repositories: String
    ) async throws -> [StepOrder] {
        let stored = state.stored
        let parameters = Contexts.parameters(of: draft.job, in: state)
        var orders: [StepOrder] = []
        for (index, step) in draft.steps.enumerated() {
            var order = try order(step, index, shelf, stored, draft.job)
            order.environment = Self.environment(of: stored, draft.variables, step, parameters: parameters)
            try order.addContext(from: draft.resolver)
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

    /// Members of a step that are text whatever their expressions give, as the variables are.
    private static let texts: Set<String> = ["name", "run", "env", "variables", "working_directory"]

    private func resolved(_ step: StepSpec, number: Int, _ resolver: Resolver) throws -> StepSpec {
        var members = step.json.object ?? [:]
        // A condition is evaluated by the runner, when its time has come.
        for (name, value) in members where name != "if" {
            do {
                members[name] =
                    Self.texts.contains(name) ? try resolver.render(value) : try resolver.resolve(value)
            } catch let error as ExpressionError {
                throw Problem(
                    "job.expression", status: 422, "step \(number), \(name): \(error)", hint: error.hint)
            }
        }
        do {
            return try StepSpec(json: .object(members), at: [])
        } catch {
            throw Problem(
                "job.expression", status: 422,
                "step \(number), \(error.at.joined(separator: ".")): \(error.message)", hint: error.hint)
        }
    }

    private func order(
        _ step: StepSpec, _ index: Int, _ shelf: Shelf, _ stored: StoredRun, _ job: StoredJob
    ) throws -> StepOrder {
        var order = StepOrder()
        var shown = step
        (shown.name, shown.run) = (step.name.map(Resolver.shown), step.run.map(Resolver.shown))
        (order.index, order.id, order.name) = (index, step.id, shown.displayName)
        (order.verb, order.settings) = step.verb
        order.timeout_seconds = step.timeout?.seconds
        order.if = step.if.map(Resolver.bareCondition)
        order.continue_on_error = step.continue_on_error
        (order.shell, order.working_directory, order.retry) = (step.shell, step.working_directory, step.retry)
        order.own_variables = step.variables.keys + step.env.keys
        for (name, reference) in step.artifactInputs {
            guard let artifact = try Self.find(reference, in: shelf.artifacts, for: job, of: stored) else {
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

    /// The artifact that `stage.name` means; of a stage that uses a pipeline, the newest of any stage of that pipeline.
    ///
    /// - Throws: `artifact.ambiguous` when several jobs of the stage have left one of that name. Tries of one job count
    ///   once: the last to leave it has replaced what was there.
    static func find(
        _ reference: String, in artifacts: [Artifact], for job: StoredJob, of stored: StoredRun
    ) throws(Problem) -> Artifact? {
        guard reference.contains("."), let (own, _) = stored.plan.find(job.key) else { return nil }
        let prefix = stored.plan.scopes[stored.plan.stages[own].scope].prefix
        let wanted = prefix + reference
        let meant = artifacts.filter { artifact in
            // Names may have dots of their own.
            let end = "." + artifact.name
            guard wanted.hasSuffix(end) else { return false }
            let stage = String(wanted.dropLast(end.count))
            guard stage.hasPrefix(prefix) else { return false }
            if artifact.stage == stage { return true }
            let isCaller = stored.plan[stage].map { stored.plan.stages[$0].called != nil } ?? false
            return isCaller && artifact.stage.hasPrefix(stage + ".")
        }
        guard let newest = meant.last else { return nil }
        let jobs = meant.filter { $0.stage == newest.stage }.map { "\($0.stage)/\($0.job)" }
        guard jobs.count > 1 else { return newest }
        throw Problem(
            "artifact.ambiguous", status: 422,
            "\"\(reference)\" was left by \(jobs.count) jobs: \(Self.list(jobs)); give what each of them leaves a name "
                + "of its own, as `name: \(newest.name)-${{ matrix.i }}`")
    }

    /// "a, b and c"; of many, the first three and how many more there are.
    private static func list(_ names: [String]) -> String {
        // x.10 after x.9.
        let sorted = names.sorted { ($0.utf8.count, $0) < ($1.utf8.count, $1) }
        if sorted.count > 4 { return "\(sorted.prefix(3).joined(separator: ", ")) and \(sorted.count - 3) more" }
        return "\(sorted.dropLast().joined(separator: ", ")) and \(sorted.last ?? "")"
    }

    private func shelf(for steps: [StepSpec], _ stored: StoredRun, _ repositories: String) async throws -> Shelf {
        let wanted = steps.flatMap(\.resourceInputs)
        let run = stored.run
        let readsArtifacts = steps.contains { !$0.artifactInputs.isEmpty }
        let checksOut = steps.contains { $0.checkout != nil }
        guard !wanted.isEmpty || readsArtifacts || checksOut else { return Shelf(artifacts: [], resources: [:]) }
        return try await context.store.read { sql in
            var shelf = Shelf(artifacts: readsArtifacts ? try sql.artifacts(run: run.id) : [], resources: [:])
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
    static func environment(
        of stored: StoredRun, _ variables: Ordered<String>, _ step: StepSpec, parameters: Ordered<JSONValue>
    ) -> Ordered<String> {
        let run = stored.run
        var environment: Ordered<String> = [
            "CI": "true", "VAGUS": "true", "VAGUS_PROJECT": run.project, "VAGUS_PIPELINE": run.pipeline,
            "VAGUS_RUN_NUMBER": String(run.number),
        ]
        // What comes from outside is a value, whatever it looks like.
        if let commit = run.commit { environment["VAGUS_COMMIT"] = Template.quoting(commit) }
        if let ref = run.trigger.ref { environment["VAGUS_REF"] = Template.quoting(ref) }
        for (name, value) in parameters {
            environment["VAGUS_PARAMETER_\(Self.upper(name))"] = Template.quoting(value.string ?? value.text)
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
