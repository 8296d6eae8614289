import API
import Executors
import Foundation
import Kernel
import Logging
import Manifests

/// Why a job ends before its steps do.
enum JobStop: Error, Sendable {
    /// The lease belongs to somebody else.
    case lost
    /// The disk is too full to begin.
    case noRoom(String)
}

/// How the steps of a job ended.
struct JobResult: Sendable {
    var status = RunStatus.succeeded
    var cause: RetrySpec.Cause?
    var reason: String?
    var artifacts: [Artifact] = []
    var tests: TestSummary?
    var coverage: Coverage?
    /// Outcomes of steps that were not told yet.
    var untold: [StepReport] = []
}

/// One job: its steps, its output on the way up, its lease, its time limit.
struct JobWork: Sendable {
    let lease: Lease
    let shared: JobContext
    let pace: Pace
    let reporter: JobReporter
    let mask: JobMask
    private var time: any TimeSource { shared.time }
    private var patient: Patient { Patient(door: MaskedDoor(door: shared.door, mask: mask), time: time) }

    init(lease: Lease, shared: JobContext, pace: Pace, reporter: JobReporter) {
        (self.lease, self.shared, self.pace, self.reporter) = (lease, shared, pace, reporter)
        let folder = JobFolder(shared.place, lease)
        // A later life would not know it: it begins anew.
        mask = JobMask(lease) { folder.forget() }
    }

    private enum Part: Sendable {
        case steps(JobResult)
        case output
        case stopped(JobStop)
    }

    /// Works until the job has been given back, one way or another; throws only when cancelled.
    func run() async throws {
        let folder = JobFolder(shared.place, lease)
        let output = JobOutput(offset: lease.output_offset, mask: mask)
        let stop = StopSignal()
        shared.disk.add(folder.folder, stop)
        defer { shared.disk.remove(folder.folder) }
        do {
            try checkDisk()
            let result = try await withThrowingTaskGroup(of: Part.self) { group in
                group.addTask { .stopped(try await renew(asking: stop)) }
                group.addTask {
                    try await send(output)
                    return .output
                }
                group.addTask { .steps(try await steps(folder, output, stop)) }
                defer { group.cancelAll() }
                return try await heed(&group, output)
            }
            if let result {
                let isKept =
                    lease.workspace.isKept(result.status) && (stop.asked?.isCancelled ?? true) && folder.hasBegun
                // Before anybody hears where it is.
                if isKept { folder.forgetSecrets(mask) }
                try await report(result, output.tail, workspace: isKept ? folder.workspace : nil)
                if isKept { try folder.leave() } else { folder.remove() }
            } else {
                folder.remove()
            }
        } catch is CancellationError {
            try await handBack()
            throw CancellationError()
        } catch JobStop.noRoom(let reason) {
            shared.logger.error("a job was given back", metadata: ["job": "\(lease.run)", "reason": "\(reason)"])
            try await handBack(because: reason)
            // Time for another runner to take it.
            try await time.sleep(for: RunnerLimits.noRoomPause)
        } catch JobStop.lost {
            shared.logger.warning("a lease was lost", metadata: ["job": "\(lease.run)/\(lease.stage)/\(lease.job)"])
        } catch {
            shared.logger.error(
                "a job could not be given back",
                metadata: ["job": "\(lease.run)/\(lease.stage)/\(lease.job)", "error": "\(mask.mask("\(error)"))"])
        }
    }

    /// Waits for the steps, then for their output to be heard; or for word that they must stop.
    private func heed(_ group: inout ThrowingTaskGroup<Part, any Error>, _ output: JobOutput) async throws -> JobResult?
    {
        var result: JobResult?
        var isOutputHeard = false
        while let part = try await group.next() {
            switch part {
            case .steps(let ended):
                result = ended
                output.close()
                // Whoever has stopped listening hears no more.
                if isOutputHeard { return result }
            case .output:
                isOutputHeard = true
                if result != nil { return result }
            case .stopped: throw JobStop.lost
            }
        }
        return result
    }

    // MARK: The lease

    /// Keeps the lease until it is lost; word that the job must end is passed on, and the lease kept while it does so.
    private func renew(asking stop: StopSignal? = nil) async throws -> JobStop {
        while true {
            try await time.sleep(for: pace.renewal)
            do {
                let state = try await patient.call(Runners.renew, lease.key)
                if Self.isLost(state) { return .lost }
                if state.stop { stop?.ask(.init(isCancelled: true, reason: state.reason ?? "it was cancelled")) }
            } catch let problem as Problem {
                if problem.status == 409 || problem.status == 404 { return .lost }
                throw problem
            }
        }
    }

    private static func isLost(_ state: LeaseState) -> Bool { state.stop && state.reason == "the lease was lost" }

    private func checkDisk() throws {
        let free = Disk.free(at: shared.place.folder)
        guard free < RunnerLimits.freeBytes else { return }
        throw JobStop.noRoom(
            "the disk of runner \"\(shared.settings.name)\" has \(Disk.words(free)) left, less than "
                + Disk.words(RunnerLimits.freeBytes))
    }

    private func send(_ output: JobOutput) async throws {
        try await output.pump(by: time) { offset, bytes in
            var input = OutputInput()
            (input.run, input.stage, input.job, input.epoch) = (lease.run, lease.stage, lease.job, lease.epoch)
            input.offset = offset
            let place = input
            let state = try await patient.attempt { try await shared.door.append(bytes, place) }
            // A job that must end still has words to say while it does so.
            return Self.isLost(state) ? nil : state.output_offset
        }
    }

    // MARK: The steps

    private func steps(_ folder: JobFolder, _ output: JobOutput, _ stop: StopSignal) async throws -> JobResult {
        let limit = max(1, lease.timeout_seconds)
        let deadline = time.now.advanced(by: .milliseconds(Int64(limit * 1000)))
        do {
            return try await JobServices(lease: lease, shared: shared, folder: folder, output: output).during {
                try await StepsWork(
                    lease: $0, shared: shared, folder: folder, output: output, patient: patient, deadline: deadline,
                    stop: stop
                ).run()
            }
        } catch let error as CancellationError {
            throw error
        } catch let problem as Problem where problem.status == 409 {
            throw JobStop.lost
        } catch {
            var result = JobResult()
            (result.status, result.cause) = (.failed, .failure)
            result.reason = (error as? Problem)?.message ?? "the runner failed: \(error)"
            return result
        }
    }

    // MARK: Giving back

    private func report(_ result: JobResult, _ tail: OutputTail?, workspace: String?) async throws {
        var report = JobReport()
        (report.run, report.stage, report.job, report.epoch) = (lease.run, lease.stage, lease.job, lease.epoch)
        (report.status, report.cause, report.reason) = (result.status, result.cause, result.reason)
        (report.artifacts, report.tests, report.coverage) = (result.artifacts, result.tests, result.coverage)
        report.workspace = workspace
        (report.steps, report.output) = (result.untold, tail)
        let final = try mask.mask(report)
        do {
            try await keepingLease { try await reporter.tell(final) }
        } catch let stopped as CancellationError {
            // The runner stops while it tells: what has been done is told once more rather than left to be done again.
            do {
                let reporter = reporter
                try await despiteCancellation { try await reporter.tellOnce(final) }
            } catch let problem as Problem where problem.status == 409 {
                // It had been heard.
            } catch {
                throw stopped
            }
        } catch let problem as Problem where problem.status == 409 {
            throw JobStop.lost
        }
    }

    /// Renews on while something is being told.
    private func keepingLease(_ body: @escaping @Sendable () async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                try await body()
                return true
            }
            group.addTask {
                _ = try await renew()
                return false
            }
            defer { group.cancelAll() }
            while let isDone = try await group.next() { if isDone { return } }
        }
    }

    /// The runner stops: somebody else, or its next life, shall go on; tried once, as time is short.
    private func handBack(because reason: String = "its runner was stopped") async throws {
        var report = JobReport()
        (report.run, report.stage, report.job, report.epoch) = (lease.run, lease.stage, lease.job, lease.epoch)
        (report.status, report.cause, report.reason) = (.failed, .runner_lost, reason)
        let (reporter, final) = (reporter, report)
        do {
            try await despiteCancellation { try await reporter.tellOnce(final) }
        } catch {
            // Nobody to tell: the lease runs out, or the next hello frees it.
            shared.logger.info(
                "a job was left to its lease", metadata: ["job": "\(lease.run)/\(lease.stage)/\(lease.job)"])
        }
    }
}

extension WorkspaceSpec {
    /// Whether the workspace of a job that ended so is kept.
    func isKept(_ status: RunStatus) -> Bool {
        switch keep {
        case .always: true
        case .never: false
        case .on_failure: status == .failed
        }
    }
}
