import API
import Kernel
import Manifests

/// `register`: makes a model version of a trained model, with what this run has found out about it, then moves aliases.
struct Registering: Sendable {
    let work: ServerStep
    /// Bytes of one fact; longer findings stay with the step that told them.
    static let factBytes = 16 << 10

    func look() async throws -> StepLook {
        let spec = try RegisterSpec(json: work.order.settings, at: [])
        guard let model = work.order.inputs["model"] else {
            return .failed("there is no model to register", report: nil)
        }
        let wanted = version(of: model, spec)
        let made = try await work.context.caller.call(Models.register, wanted, as: work.call)
        if work.memo["version"] == nil {
            try work.say("registered \(spec.model) version \(made.version) (\(made.digest.prefix(19))…)")
        }
        for alias in spec.aliases {
            guard try await Alias(work: work).move(alias, of: spec.model, to: made.version) else {
                return .wait(.milliseconds(200), memo: ["version": .integer(Int64(made.version))])
            }
        }
        var step = work.step
        step.outputs = [
            "version": .integer(Int64(made.version)), "model": .string(spec.model),
            "reference": .string("\(spec.model)@\(made.version)"), "digest": .string(made.digest),
        ]
        step.metrics = made.metrics
        return .done(step)
    }

    private func version(of model: Artifact, _ spec: RegisterSpec) -> ModelVersion {
        let run = work.run
        var version = ModelVersion()
        (version.project, version.model) = (run.project, spec.model)
        (version.digest, version.size_bytes) = (model.digest, model.size_bytes)
        (version.run, version.pipeline, version.commit) = (run.id, run.pipeline, run.commit)
        if let training { describe(training, in: &version) }
        if let evaluation {
            version.metrics = evaluation.metrics
            if let bias = evaluation.report?["bias"], bias.text.utf8.count <= Self.factBytes {
                version.facts["bias"] = bias
            }
        }
        return version
    }

    private func describe(_ training: (step: Step, spec: TrainSpec?), in version: inout ModelVersion) {
        let outputs = training.step.outputs
        version.format = outputs["format"]?.string ?? training.spec?.algorithm.rawValue ?? ""
        version.data_digest = outputs["data_digest"]?.string
        version.signature = signature(of: training.step)
        if let spec = training.spec {
            version.facts["algorithm"] = spec.algorithm.json
            version.facts["target"] = .string(spec.target)
            version.facts["hyperparameters"] = .object(spec.hyperparameters)
            version.facts["rounds"] = .integer(Int64(spec.rounds))
            version.facts["seed"] = .integer(Int64(spec.seed))
        }
        for (key, value) in training.step.report?.object ?? [:] {
            let isKept = key != "signature" && version.facts[key] == nil && value.text.utf8.count <= Self.factBytes
            if isKept { version.facts[key] = value }
        }
        if let count = outputs["feature_count"] { version.facts["feature_count"] = count }
    }

    private func signature(of step: Step) -> JSONValue {
        if let told = step.report?["signature"], told.object != nil { return told }
        guard let text = step.outputs["signature"]?.string else { return step.outputs["signature"] ?? [:] }
        do {
            return try JSONParser.parse(text)
        } catch {
            // Not JSON: better a version without signature than a trained model lost.
            return [:]
        }
    }

    /// The step that has made the model, with its settings.
    private var training: (step: Step, spec: TrainSpec?)? {
        guard let model = work.order.inputs["model"],
            let job = work.state.jobs.first(where: { $0.job.stage == model.stage && $0.job.name == model.job }),
            let step = job.job.steps.last(where: { $0.verb == "train" && $0.status == .succeeded })
        else { return nil }
        let settings = job.orders?.first { $0.index == step.index }?.settings
        do {
            return (step, try settings.map { try TrainSpec(json: Resolver.shown($0), at: []) })
        } catch {
            // Settings that the worker took and this reading does not: the rest is still worth telling.
            return (step, nil)
        }
    }

    /// The newest finished evaluation of this run.
    private var evaluation: Step? {
        work.state.jobs.flatMap(\.job.steps)
            .filter { $0.verb == "evaluate" && $0.status == .succeeded && $0.index >= 0 }
            .max { ($0.finished_at ?? .zero) < ($1.finished_at ?? .zero) }
    }
}

/// Moves an alias by compare-and-set, as often as somebody else is faster.
struct Alias: Sendable {
    let work: ServerStep

    /// True when the alias points to the version.
    func move(_ alias: String, of model: String, to version: Int) async throws -> Bool {
        let caller = work.context.caller
        var input = AliasInput()
        (input.project, input.name, input.alias, input.version) = (work.run.project, model, alias, version)
        input.expected = 0
        do {
            let name = ModelVersionName(project: work.run.project, name: model, version: alias)
            input.expected = try await caller.call(Models.version, name, as: work.call).version
        } catch let problem as Problem where problem.status == 404 {
            input.expected = 0
        }
        if input.expected == version { return true }
        do {
            _ = try await caller.call(Models.setAlias, input, as: work.call)
        } catch let problem as Problem where problem.status == 409 {
            return false
        }
        try work.say("alias \(alias) of \(model) now points to version \(version)")
        return true
    }
}
