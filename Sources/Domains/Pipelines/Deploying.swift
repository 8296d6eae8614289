import API
import Kernel
import Manifests

/// What a service's status means for the revision that a step has made; pure.
enum RolloutVerdict: Sendable, Equatable {
    case going
    case promoted
    case failed(String)

    static func judge(_ status: ServiceStatus, revision: Int) -> RolloutVerdict {
        if status.stable_revision == revision { return .promoted }
        let newest = status.revisions.map(\.revision).max() ?? revision
        switch status.completion {
        case .aborted, .rolled_back:
            return .failed(status.message.isEmpty ? "the rollout was aborted" : status.message)
        case .superseded:
            return .failed("the rollout was superseded by another")
        case .promoted, .fast_promoted, nil: break
        }
        if status.aborted {
            return .failed(status.message.isEmpty ? "the rollout was aborted" : status.message)
        }
        if newest > revision {
            return .failed("revision \(revision) was superseded by revision \(newest)")
        }
        return .going
    }

    /// One line of progress; the same while nothing has changed.
    static func line(_ status: ServiceStatus, revision: Int) -> String {
        let mine = status.revisions.first { $0.revision == revision }
        var parts = ["revision \(revision)"]
        if let step = status.step, status.steps > 0 {
            parts.append(
                "step \(min(step + 1, status.steps))/\(status.steps)" + (status.step_name.map { ": \($0)" } ?? ""))
        }
        if let mine { parts.append("\(mine.weight) % of the traffic, \(mine.ready)/\(mine.replicas) copies ready") }
        parts.append(status.phase.rawValue)
        return parts.joined(separator: " · ")
    }
}

/// `deploy`: makes a new revision of a service and waits for its verdict.
struct Deploying: Sendable {
    let work: ServerStep

    func look() async throws -> StepLook {
        let spec = try DeploySpec(json: work.order.settings, at: [])
        guard work.memo["input"] != nil else { return try await intend(spec) }
        let input = try DeployInput(json: work.memo["input"] ?? [:], at: [])
        guard let revision = work.memo["revision"]?.int else { return try await deploy(spec, input) }
        let name = Name(project: work.run.project, name: spec.service)
        let status = try await work.context.caller.call(Services.status, name, as: work.call)
        let memo = try note(status, revision)
        switch RolloutVerdict.judge(status, revision: revision) {
        case .going: return .wait(PipelineLimits.rolloutInterval, memo: memo)
        case .failed(let message):
            return .failed("\(spec.service) revision \(revision) was not promoted: \(message)", report: status.json)
        case .promoted: return try await finish(spec, input, revision, status, memo)
        }
    }

    /// Notes what shall be deployed, an alias turned into its version, before anything is done.
    private func intend(_ spec: DeploySpec) async throws -> StepLook {
        let run = work.run
        var input = DeployInput()
        (input.project, input.name) = (run.project, spec.service)
        input.key = "\(run.id)/\(work.job.job.stage)/\(work.job.job.name)"
        if work.step.index > 0 { input.key += "/\(work.step.index)" }
        if work.step.attempts > 1 { input.key += "@\(work.step.attempts)" }
        (input.run, input.pipeline, input.commit, input.committed_at) = (
            run.id, run.pipeline, run.commit, run.committed_at
        )
        input.image = spec.image
        input.artifact = work.order.inputs["artifact"]?.digest
        if let text = spec.model {
            let wanted = try ModelReference(text)
            let name = ModelVersionName(project: run.project, name: wanted.model, version: wanted.version)
            let version = try await work.context.caller.call(Models.version, name, as: work.call)
            input.model = "\(wanted.model)@\(version.version)"
        }
        return .wait(.zero, memo: ["input": input.json])
    }

    private func deploy(_ spec: DeploySpec, _ input: DeployInput) async throws -> StepLook {
        let status = try await work.context.caller.call(Services.deploy, input, as: work.call)
        let own = status.revisions.filter { $0.run == work.run.id }.map(\.revision).max()
        guard let revision = own ?? status.preview_revision ?? status.revisions.map(\.revision).max() else {
            return .failed("service \"\(spec.service)\" has made no revision", report: status.json)
        }
        try work.say(
            "\(spec.service): revision \(revision) made" + ((input.model ?? input.image).map { " of \($0)" } ?? ""))
        return .wait(.zero, memo: ["input": input.json, "revision": .integer(Int64(revision))])
    }

    /// Writes a line when there is news.
    private func note(_ status: ServiceStatus, _ revision: Int) throws -> JSONValue {
        let line = RolloutVerdict.line(status, revision: revision)
        var memo = work.memo.object ?? [:]
        if memo["line"]?.string != line { try work.say(line) }
        memo["line"] = .string(line)
        return .object(memo)
    }

    private func finish(
        _ spec: DeploySpec, _ input: DeployInput, _ revision: Int, _ status: ServiceStatus, _ memo: JSONValue
    ) async throws -> StepLook {
        if let alias = spec.alias, let model = input.model {
            let reference = try ModelReference(model)
            guard let version = Int(reference.version) else {
                return .failed("\"\(model)\" names no version", report: nil)
            }
            guard try await Alias(work: work).move(alias, of: reference.model, to: version) else {
                return .wait(.milliseconds(200), memo: memo)
            }
        }
        try work.say("✔ revision \(revision) has all traffic")
        var step = work.step
        step.outputs = ["revision": .integer(Int64(revision)), "service": .string(spec.service)]
        if let model = input.model { step.outputs["model"] = .string(model) }
        if let image = input.image { step.outputs["image"] = .string(image) }
        if let url = status.url { step.outputs["url"] = .string(url) }
        step.report = status.json
        return .done(step)
    }
}
