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
    let stop: StopSignal
    /// What its tests have said so far.
    let ledger = TestLedger()

    func run() async throws -> JobResult {
        var done: [StepReport] = []
        /// The same without secrets: what is kept on disk and told to the server.
        var told: [StepReport] = []
        var isSecretive = false
        var later = LaterSteps()
        var first = lease.first_step
        if first > 0 || shared.survives(lease.execution), let kept = folder.kept(lease) {
            (done, told, later) = (kept, kept, folder.keptLater)
            if first > 0 {
                try await output.say(
                    "── goes on behind step \(first) of \(lease.steps.count), in the workspace that was kept")
            }
        } else {
            // Without the workspace its steps are done again here; the server keeps what it was told of them before.
            if first > 0 { try await output.say("── begins anew: the workspace that was kept is gone") }
            first = 0
            // Where an execution may be of an earlier life of ours, a script that is there counts as written.
            try folder.begin(isFresh: shared.survives(lease.execution))
            if !isOneWord { try folder.keep([]) }
        }
        var isCacheRestored = first > 0
        var cleaning: StepLimit?
        for order in lease.steps where order.index >= first {
            if let known = done.first(where: { $0.step.index == order.index }) {
                // Finished in an earlier life, which ended before it could tell.
                try await tell(known)
                continue
            }
            if !isCacheRestored, order.verb != "checkout", !lease.cache.isEmpty, stop.asked == nil, !hasFailed(done) {
                later.cache_keys = try await caches.restore(context(for: order, after: done, later))
                try folder.keep(later)
                isCacheRestored = true
            }
            cleaning = cleaning ?? cleaningLimit
            let limit = cleaning ?? StepLimit(deadline: deadline, words: jobLimitWords)
            let (report, set) = try await self.report(on: order, after: done, later, limit)
            let hasSet = set != later
            (later, done) = (set, done + [report])
            told.append(try await tellable(report, later, &isSecretive))
            if isSecretive {
                // What only this process knows, a later life cannot go on with.
                folder.forget()
            } else {
                // In this order: what is kept twice does no harm, what is missing would.
                if hasSet { try folder.keep(later) }
                if !isOneWord { try folder.keep(told) }
            }
            if order.index == lease.steps.last?.index, isLastWordShared {
                var result = try await end(done, later)
                result.untold = [told[told.count - 1]]
                return result
            }
            try await tell(told[told.count - 1])
        }
        return try await end(done, later)
    }

    /// The outcome of the last step goes up with that of the job, when nothing comes between.
    private var isLastWordShared: Bool {
        lease.artifacts.isEmpty && lease.cache.isEmpty && lease.reports == ReportsSpec()
    }

    /// The job is told in one word, and so is either done or begun anew: there is nothing to remember of it.
    private var isOneWord: Bool {
        lease.steps.count == 1 && isLastWordShared && !shared.survives(lease.execution)
    }

    private var caches: JobCaches {
        JobCaches(lease: lease, shared: shared, folder: folder, output: output, patient: patient)
    }

    private var jobLimitWords: String { "\(TimeSpan(seconds: lease.timeout_seconds)), the time limit of the job" }

    /// Once the job must end, its steps that clean up have so long, all together.
    private var cleaningLimit: StepLimit? {
        guard stop.asked != nil || shared.time.now >= deadline else { return nil }
        return StepLimit(
            deadline: shared.time.now.advanced(by: RunnerLimits.cleaningTime),
            words: "\(TimeSpan(seconds: RunnerLimits.cleaningTime / .seconds(1))), the time to clean up")
    }

    private func tell(_ report: StepReport) async throws {
        var current = report
        current.epoch = lease.epoch
        _ = try await patient.call(Runners.stepFinished, current)
    }

    /// Does one step; whatever goes wrong with it is its outcome.
    private func report(
        on order: StepOrder, after done: [StepReport], _ later: LaterSteps, _ limit: StepLimit
    ) async throws -> (StepReport, LaterSteps) {
        var report = StepReport()
        (report.run, report.stage, report.job, report.epoch) = (lease.run, lease.stage, lease.job, lease.epoch)
        (report.step.index, report.step.id) = (order.index, order.id)
        (report.step.name, report.step.verb) = (order.name, order.verb)
        let title = "── step \(order.index + 1)/\(lease.steps.count): \(order.name)"
        if let reason = whyNot(order, after: done, later) {
            (report.step.status, report.step.reason) = (.skipped, reason)
            try await output.say("\(title) · skipped: \(reason)")
            return (report, later)
        }
        try await output.say(title)
        report.step.status = .running
        if !(lease.begun && order.index == lease.first_step) {
            _ = try await patient.call(Runners.stepStarted, report)
        }
        let resolvedOrder: StepOrder
        do {
            resolvedOrder = try resolved(order, after: done, later)
        } catch {
            (report.step.status, report.step.reason) = (.failed, Self.words(error))
            try await output.say("✘ \(Self.words(error))")
            return (report, later)
        }
        func once(_ tests: [String]) async throws -> (StepOutcome, Int) {
            var order = resolvedOrder
            if !tests.isEmpty { order.environment[TestRounds.variable] = tests.joined(separator: "\n") }
            return try await StepAttempts(order: order, title: title, steps: self, later: later, limit: limit).run()
        }
        let (outcome, attempts): (StepOutcome, Int)
        if let rounds = TestRounds(resolvedOrder, in: self) {
            (outcome, attempts) = try await rounds.run(once)
        } else {
            (outcome, attempts) = try await once([])
        }
        report.take(outcome, attempts)
        if outcome.status == .failed, order.continue_on_error { report.step.conclusion = .succeeded }
        return (report, outcome.later)
    }

    static func words(_ error: any Error) -> String {
        guard let problem = error as? Problem else { return "\(error)" }
        return [problem.message, problem.hint].compactMap { $0 }.joined(separator: ". ")
    }

    // MARK: Conditions

    /// Why the step does not run; nil when it does.
    private func whyNot(_ order: StepOrder, after done: [StepReport], _ later: LaterSteps) -> String? {
        let failed = done.first { isFailure($0) }.map { "step \"\($0.step.name)\" failed" }
        let hindrance = stop.asked?.reason ?? failed
        guard let text = order.if else { return hindrance }
        do {
            let condition = try Expression(parsing: text)
            if !condition.usesStatus, let hindrance { return hindrance }
            return try condition.evaluate(in: context(for: order, after: done, later)).isTruthy
                ? nil : "if: \(text) was false"
        } catch {
            return "if: \(text): \(error)"
        }
    }

    private func isFailure(_ report: StepReport) -> Bool {
        report.step.status == .failed
            && !(lease.steps.first { $0.index == report.step.index }?.continue_on_error ?? false)
    }

    private func hasFailed(_ done: [StepReport]) -> Bool {
        done.contains(where: isFailure) || stop.asked?.isCancelled == false
    }

    /// What the condition of a step sees.
    private func context(for order: StepOrder, after done: [StepReport], _ later: LaterSteps) throws -> Context {
        let environment = try environment(of: order, after: done, later)
        return context(for: order, after: done, environment: environment, isFailure: hasFailed(done))
    }

    /// The variables of a step. What steps before have set counts more than the pipeline's, and less than the step's own;
    /// it is text, never an expression.
    private func environment(
        of order: StepOrder, after done: [StepReport], _ later: LaterSteps
    ) throws -> Ordered<String> {
        func whole(_ known: Ordered<String>) -> Ordered<String> {
            var whole = known
            for (name, value) in later.variables where !order.own_variables.contains(name) { whole[name] = value }
            return whole
        }
        return whole(
            try resolvedEnvironment(order) { known in
                context(for: order, after: done, environment: whole(known), isFailure: hasFailed(done))
            })
    }

    /// The order with what the server has left of its expressions replaced.
    private func resolved(_ order: StepOrder, after done: [StepReport], _ later: LaterSteps) throws -> StepOrder {
        var resolved = order
        resolved.environment = try environment(of: order, after: done, later)
        let context = context(
            for: order, after: done, environment: resolved.environment, isFailure: hasFailed(done))
        resolved.settings = try Self.resolve(order.settings, context)
        if let folder = order.working_directory {
            resolved.working_directory = try Self.resolve(.string(folder), context).string
        }
        return resolved
    }

    private static func resolve(_ json: JSONValue, _ context: Context) throws -> JSONValue {
        switch json {
        case .string(let text):
            guard text.contains("${{") else { return json }
            return .string(try Template(parsing: text, limit: Template.quotedBytes).render(in: context))
        case .array(let items): return .array(try items.map { try resolve($0, context) })
        case .object(let members): return .object(try members.map { try resolve($0, context) })
        default: return json
        }
    }

    // MARK: The end

    /// How the job ended, with its artifacts, caches and reports, which are kept of a failed job too; of a cancelled one
    /// nothing is.
    private func end(_ done: [StepReport], _ later: LaterSteps) async throws -> JobResult {
        var result = JobResult()
        if let failed = done.first(where: isFailure) {
            result.status = .failed
            let reason = failed.step.reason ?? "it failed"
            result.reason = lease.steps.count == 1 ? reason : "step \"\(failed.step.name)\": \(reason)"
            result.cause = reason.hasPrefix(StepWork.timeoutWords) ? .timeout : .failure
        }
        if let stop = stop.asked {
            (result.status, result.reason) = (stop.isCancelled ? .cancelled : .failed, stop.reason)
            result.cause = stop.isCancelled ? nil : .failure
            return result
        }
        let parts = try context(for: StepOrder(), after: done, later)
        try await readReports(try ReportsSpec(json: Self.resolve(lease.reports.json, parts), at: []), into: &result)
        let isSuccess = result.status == .succeeded
        let artifacts = try [ArtifactSpec](json: Self.resolve(lease.artifacts.json, parts), at: ["artifacts"])
        for spec in artifacts where spec.when.holds(isSuccess) {
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
        try await caches.save(later.cache_keys, isSuccess: isSuccess)
        return result
    }

    private func readReports(_ reports: ReportsSpec, into result: inout JobResult) async throws {
        if let pattern = reports.junit {
            let found = try await JUnitReader(workspace: folder.workspace).read(pattern) { try await output.say($0) }
            let cases = found?.cases ?? []
            result.tests = ledger.summary(with: cases) ?? found?.summary
            for (round, told) in ledger.told(with: cases).enumerated() { try await tell(told, round: round) }
        }
        if let pattern = reports.coverage {
            result.coverage = try await CoverageReader(workspace: folder.workspace).read(pattern) {
                try await output.say($0)
            }
        }
    }

    /// Tells the test cases one by one, in pieces.
    private func tell(_ cases: [TestCase], round: Int) async throws {
        for start in stride(from: 0, to: cases.count, by: TestCase.batchLimit) {
            var input = TestCasesInput()
            (input.run, input.stage, input.job, input.epoch) = (lease.run, lease.stage, lease.job, lease.epoch)
            (input.attempt, input.round) = (lease.attempt, round)
            input.cases = Array(cases[start..<min(start + TestCase.batchLimit, cases.count)])
            _ = try await patient.call(Runners.testCases, input)
        }
    }

    private func collect(_ spec: ArtifactSpec) async throws -> [Artifact] {
        if let error = ArtifactSpec.check(spec).first { throw Problem(error) }
        let files = try GlobWalk.files(matching: spec.paths, excluding: spec.exclude, in: folder.workspace)
        guard !files.isEmpty else {
            let words = "nothing matches \(spec.paths.joined(separator: ", "))"
            switch spec.if_missing {
            case .error: throw Problem("artifact.missing", status: 422, words)
            case .warn: try await output.say("! artifact \(spec.name): \(words)")
            case .ignore: break
            }
            return []
        }
        let artifact = try await shared.cache.keep(files: files, of: folder.workspace, as: spec.name)
        try await output.say(
            "artifact \(spec.name): \(files.count) file\(files.count == 1 ? "" : "s"), \(artifact.size_bytes) bytes")
        return [artifact]
    }
}

extension StepReport {
    /// Takes over how a step has ended.
    mutating func take(_ outcome: StepOutcome, _ attempts: Int) {
        (step.status, step.reason, step.exit_code) = (outcome.status, outcome.reason, outcome.exitCode)
        (step.outputs, step.metrics, step.report) = (outcome.outputs, outcome.metrics, outcome.report)
        (step.summary, step.attempts) = (outcome.summary, attempts)
        (self.artifacts, annotations) = (outcome.artifacts, outcome.annotations)
    }
}
