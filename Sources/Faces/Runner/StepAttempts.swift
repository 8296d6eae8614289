import API
import Foundation
import Kernel
import Manifests

/// One step, tried as often as its `retry` allows, until it is done or somebody asks the job to end.
struct StepAttempts: Sendable {
    let order: StepOrder
    let title: String
    let steps: StepsWork
    /// What the steps before have set; a try that failed adds nothing.
    let later: LaterSteps
    let limit: StepLimit

    /// How the last try ended, and the number of tries.
    func run() async throws -> (StepOutcome, Int) {
        // Steps that clean up run after somebody has asked: that is no reason for them to end.
        let isCleaning = steps.stop.asked != nil
        var attempt = 1
        while true {
            let outcome = try await isCleaning ? once(attempt) : untilAsked { [attempt] in try await once(attempt) }
            if outcome.status == .failed { try await steps.output.say("✘ \(outcome.reason ?? "failed")") }
            guard outcome.status == .failed, attempt <= order.retry.max, isWorthATry(outcome),
                steps.shared.time.now < limit.deadline
            else { return (outcome, attempt) }
            attempt += 1
            if order.retry.delay.seconds > 0 {
                try await steps.output.say("── waits \(order.retry.delay) before attempt \(attempt)")
                guard try await pause() else { return (outcome, attempt - 1) }
            }
            try await steps.output.say("\(title) · attempt \(attempt) of \(order.retry.max + 1)")
        }
    }

    private func isWorthATry(_ outcome: StepOutcome) -> Bool {
        let causes = order.retry.for
        if outcome.reason?.hasPrefix(StepWork.timeoutWords) ?? false { return causes.contains(.timeout) }
        return causes.contains(.failure)
            || causes.contains(.exit_codes) && outcome.exitCode.map(order.retry.exit_codes.contains) ?? false
    }

    /// Waits between two tries; false when somebody asked the job to end meanwhile.
    private func pause() async throws -> Bool {
        let (time, delay) = (steps.shared.time, order.retry.delay.duration)
        let end = min(time.now.advanced(by: delay), limit.deadline)
        _ = try await untilAsked {
            try await time.sleep(until: end)
            return StepOutcome()
        }
        return steps.stop.asked == nil
    }

    private func once(_ attempt: Int) async throws -> StepOutcome {
        var work = StepWork(
            order: order, lease: steps.lease, shared: steps.shared, folder: steps.folder, output: steps.output,
            patient: steps.patient, limit: limit, later: later, attempt: attempt)
        do {
            try await work.run()
        } catch let error as CancellationError {
            throw error
        } catch let problem as Problem where problem.status == 409 {
            throw problem
        } catch {
            work.fail(StepsWork.words(error))
        }
        do { try work.keepEnvironment() } catch {
            try await steps.output.say("! what the step saw could not be kept: \(StepsWork.words(error))")
        }
        if work.outcome.status == .failed { work.outcome.later = later }
        return work.outcome
    }

    /// Does the work, or ends it when somebody asks the job to end.
    private func untilAsked(_ body: @escaping @Sendable () async throws -> StepOutcome) async throws -> StepOutcome {
        try await withThrowingTaskGroup(of: StepOutcome?.self) { group in
            group.addTask { try await body() }
            group.addTask {
                _ = try await steps.stop.wait()
                return nil
            }
            defer { group.cancelAll() }
            if let outcome = try await group.next(), let outcome { return outcome }
            group.cancelAll()
            do {
                // Its processes end first. What it had done by then counts no more.
                _ = try await group.next()
            } catch is CancellationError {
                // That is its own answer to being ended; ours is thrown just below.
            }
            try Task.checkCancellation()
            var outcome = StepOutcome()
            let asked = steps.stop.asked
            (outcome.status, outcome.reason) = (asked?.isCancelled ?? true ? .cancelled : .failed, asked?.reason)
            outcome.later = later
            return outcome
        }
    }
}
