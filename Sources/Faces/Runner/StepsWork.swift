import API
import Expressions
import Foundation
import Kernel
import Manifests

/// The steps of a job, one after another.
struct StepsWork: Sendable {
    let lease: Lease
    let shared: JobContext
    let folder: JobFolder
    let output: JobOutput
    let patient: Patient
    let deadline: Timestamp

    func run() async throws -> JobResult {
        var done: [StepReport] = []
        var first = lease.first_step
        if first > 0 || shared.survives(lease.execution), let kept = folder.kept(lease) {
            done = kept
            if first > 0 {
                try await output.say(
                    "── goes on behind step \(first) of \(lease.steps.count), in the workspace that was kept")
            }
        } else {
            // Without the workspace its steps are done again here; the server keeps what it was told of them before.
            if first > 0 { try await output.say("── begins anew: the workspace that was kept is gone") }
            first = 0
            try folder.begin()
            try folder.keep([])
        }
        for order in lease.steps where order.index >= first {
            if let known = done.first(where: { $0.step.index == order.index }) {
                // Finished in an earlier life, which ended before it could tell.
                try await tell(known)
                continue
            }
            let report = try await self.report(on: order, after: done)
            done.append(report)
            try folder.keep(done)
            try await tell(report)
        }
        return try await end(done)
    }

    private func tell(_ report: StepReport) async throws {
        var current = report
        current.epoch = lease.epoch
        _ = try await patient.call(Runners.stepFinished, current)
    }

    /// Does one step; whatever goes wrong with it is its outcome.
    private func report(on order: StepOrder, after done: [StepReport]) async throws -> StepReport {
        var report = StepReport()
        (report.run, report.stage, report.job, report.epoch) = (lease.run, lease.stage, lease.job, lease.epoch)
        (report.step.index, report.step.id) = (order.index, order.id)
        (report.step.name, report.step.verb) = (order.name, order.verb)
        if let reason = whyNot(order, after: done) {
            (report.step.status, report.step.reason) = (.skipped, reason)
            try await output.say("── step \(order.index + 1)/\(lease.steps.count): \(order.name) · skipped: \(reason)")
            return report
        }
        try await output.say("── step \(order.index + 1)/\(lease.steps.count): \(order.name)")
        report.step.status = .running
        _ = try await patient.call(Runners.stepStarted, report)
        do {
            var work = StepWork(
                order: try resolved(order, after: done), lease: lease, shared: shared, folder: folder, output: output,
                patient: patient, deadline: deadline)
            try await work.run()
            (report.step.status, report.step.reason) = (work.outcome.status, work.outcome.reason)
            report.step.exit_code = work.outcome.exitCode
            (report.step.outputs, report.step.metrics) = (work.outcome.outputs, work.outcome.metrics)
            (report.step.report, report.artifacts) = (work.outcome.report, work.outcome.artifacts)
        } catch let error as CancellationError {
            throw error
        } catch let problem as Problem where problem.status == 409 {
            throw problem
        } catch {
            report.step.status = .failed
            report.step.reason = Self.words(error)
        }
        if report.step.status == .failed { try await output.say("✘ \(report.step.reason ?? "failed")") }
        return report
    }

    static func words(_ error: any Error) -> String {
        guard let problem = error as? Problem else { return "\(error)" }
        return [problem.message, problem.hint].compactMap { $0 }.joined(separator: ". ")
    }

    // MARK: Conditions

    /// Why the step does not run; nil when it does.
    private func whyNot(_ order: StepOrder, after done: [StepReport]) -> String? {
        let failed = done.first { isFailure($0) }
        guard let text = order.if else { return failed.map { "step \"\($0.step.name)\" failed" } }
        do {
            let condition = try Expression(parsing: text)
            if !condition.usesStatus, let failed { return "step \"\(failed.step.name)\" failed" }
            return try condition.evaluate(in: context(for: order, after: done)).isTruthy
                ? nil : "if: \(text) was false"
        } catch {
            return "if: \(text): \(error)"
        }
    }

    private func isFailure(_ report: StepReport) -> Bool {
        report.step.status == .failed
            && !(lease.steps.first { $0.index == report.step.index }?.continue_on_error ?? false)
    }

    /// What the condition of a step sees.
    private func context(for order: StepOrder, after done: [StepReport]) throws -> Context {
        let isFailure = done.contains { self.isFailure($0) }
        let environment = try resolvedEnvironment(order) { known in
            context(for: order, after: done, environment: known, isFailure: isFailure)
        }
        return context(for: order, after: done, environment: environment, isFailure: isFailure)
    }

    /// The order with what the server has left of its expressions replaced.
    private func resolved(_ order: StepOrder, after done: [StepReport]) throws -> StepOrder {
        let isFailure = done.contains { self.isFailure($0) }
        var resolved = order
        resolved.environment = try resolvedEnvironment(order) { known in
            context(for: order, after: done, environment: known, isFailure: isFailure)
        }
        resolved.settings = try Self.resolve(
            order.settings,
            context(for: order, after: done, environment: resolved.environment, isFailure: isFailure))
        return resolved
    }

    private static func resolve(_ json: JSONValue, _ context: Context) throws -> JSONValue {
        switch json {
        case .string(let text):
            return text.contains("${{") ? .string(try Template(parsing: text).render(in: context)) : json
        case .array(let items): return .array(try items.map { try resolve($0, context) })
        case .object(let members): return .object(try members.map { try resolve($0, context) })
        default: return json
        }
    }

    // MARK: The end

    /// How the job ended, with its artifacts and test reports, which are kept of a failed job too.
    private func end(_ done: [StepReport]) async throws -> JobResult {
        var result = JobResult()
        if let failed = done.first(where: isFailure) {
            result.status = .failed
            let reason = failed.step.reason ?? "it failed"
            result.reason = lease.steps.count == 1 ? reason : "step \"\(failed.step.name)\": \(reason)"
            result.cause = reason.hasPrefix(StepWork.timeoutWords) ? .timeout : .failure
        }
        if let pattern = lease.reports.junit {
            result.tests = try await JUnitReader(workspace: folder.workspace).read(pattern) { try await output.say($0) }
        }
        for spec in lease.artifacts {
            do {
                result.artifacts += try await collect(spec)
            } catch let error as CancellationError {
                throw error
            } catch {
                try await output.say("✘ artifact \(spec.name): \(Self.words(error))")
                if result.status == .succeeded {
                    (result.status, result.cause) = (.failed, .failure)
                    result.reason = "artifact \"\(spec.name)\" could not be kept: \(Self.words(error))"
                }
            }
        }
        return result
    }

    private func collect(_ spec: ArtifactSpec) async throws -> [Artifact] {
        let files = try GlobWalk.files(matching: spec.paths, in: folder.workspace)
        guard !files.isEmpty else {
            try await output.say("! artifact \(spec.name): nothing matches \(spec.paths.joined(separator: ", "))")
            return []
        }
        let staging = "\(folder.folder)/artifact-\(spec.name)"
        let artifact = try await shared.cache.keep(files: files, of: folder.workspace, as: spec.name, staging: staging)
        try await output.say(
            "artifact \(spec.name): \(files.count) file\(files.count == 1 ? "" : "s"), \(artifact.size_bytes) bytes")
        return [artifact]
    }
}
