import API
import Foundation
import Kernel
import Manifests

/// How a step ended.
struct StepOutcome: Sendable {
    var status = RunStatus.succeeded
    var reason: String?
    var exitCode: Int?
    var outputs: Ordered<JSONValue> = [:]
    var metrics: Ordered<Double> = [:]
    var report: JSONValue?
    var artifacts: [Artifact] = []
    var annotations: [Annotation] = []
    var summary: String?
    /// What it has set for the steps behind it, with what those before it have set.
    var later = LaterSteps()
}

/// Until when a step may work, and what that moment is called.
struct StepLimit: Sendable {
    var deadline: Timestamp
    var words: String
}

/// One step: its verb, in processes of its own.
struct StepWork: Sendable {
    let order: StepOrder
    let lease: Lease
    let shared: JobContext
    let folder: JobFolder
    let output: JobOutput
    let patient: Patient
    let limit: StepLimit
    var outcome = StepOutcome()
    /// Commands executed so far.
    var executions = 0
    /// Which try of the step this is, from 1.
    let attempt: Int

    /// How the reason of a step begins that has used up its time.
    static let timeoutWords = "took longer than"

    init(
        order: StepOrder, lease: Lease, shared: JobContext, folder: JobFolder, output: JobOutput, patient: Patient,
        limit: StepLimit, later: LaterSteps, attempt: Int
    ) {
        (self.order, self.lease, self.shared, self.folder) = (order, lease, shared, folder)
        (self.output, self.patient, self.limit) = (output, patient, limit)
        self.attempt = attempt
        outcome.later = later
    }

    mutating func run() async throws {
        let place = try folder.makeStep(order.index, keeping: keepsFolder)
        try await writeToken()
        switch order.verb {
        case "run": try await shell(in: place)
        case "checkout": try await checkout()
        case "fetch": try await fetch(in: place)
        case let verb where StepVerbs.workers.contains(verb): try await worker(in: place)
        default:
            throw Problem(
                "verb.unknown", status: 422, "this runner does not know the verb \"\(order.verb)\"",
                hint: "Bring the runner to the version of the server.")
        }
    }

    /// Keeps what the step saw for `vagus shell`, when its workspace will be kept for people to look at.
    func keepEnvironment() throws {
        guard lease.workspace.isKept(outcome.status) else { return }
        let mask = output.mask
        try StepMemory.keep(
            environment.filter { !mask.covers($0.value) },
            hiding: lease.secrets.map(\.value) + [lease.token].compactMap { $0 }, in: folder.step(order.index))
    }

    /// An execution of an earlier life may still be at work in the step's folder.
    var keepsFolder: Bool { attempt == 1 && shared.survives(lease.execution) }

    // MARK: Processes

    /// What every process of the step sees, and nothing else.
    var environment: [String: String] {
        var all = shared.settings.environment
        for (name, value) in order.environment { all[name] = value }
        all["VAGUS_RUN_ID"] = lease.run
        all["VAGUS_PROJECT"] = lease.project
        all["VAGUS_STAGE"] = lease.stage
        all["VAGUS_JOB"] = "\(lease.stage)/\(lease.job)"
        all["VAGUS_ATTEMPT"] = String(lease.attempt)
        all["VAGUS_STEP"] = String(order.index)
        if lease.id_token != nil { all[Self.tokenVariable] = tokenFile }
        all["VAGUS_WORKSPACE"] = folder.workspace
        for file in StepFile.allCases { all[file.rawValue] = file.place(in: folder.step(order.index)) }
        return all
    }

    /// Time that the step may still take.
    var timeLimit: (left: Duration, words: String) {
        let left = max(.milliseconds(1), limit.deadline.since(shared.time.now))
        if let seconds = order.timeout_seconds, Duration.milliseconds(Int64(seconds * 1000)) < left {
            return (.milliseconds(Int64(seconds * 1000)), "\(TimeSpan(seconds: seconds))")
        }
        return (left, limit.words)
    }

    mutating func fail(_ reason: String) {
        (outcome.status, outcome.reason) = (.failed, reason)
    }
}
