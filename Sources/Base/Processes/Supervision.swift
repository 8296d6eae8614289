/// One run, from the start of its program to the end of its tree.
///
/// Two tasks: one reads and hands over output, as slowly as its consumer likes; the other watches the end of the program,
/// the time limit and cancellation, and never waits for the first one before it kills.
struct Supervision: Sendable {
    private let process: RunningProcess
    private let reader: OutputReader?
    private let grace: Duration
    private let linger: Duration
    private let wake = Wake()

    /// How the watching ended.
    private enum Verdict {
        case ended
        case timedOut
        case cancelled
        /// The consumer of the output has thrown.
        case failed
    }

    init(_ launched: Launched, grace: Duration, linger: Duration) {
        process = launched.process
        reader = launched.pipes.map { OutputReader($0, launched.process.machinery) }
        self.grace = grace
        self.linger = linger
    }

    func run(
        timeout: Duration?, output: @escaping @Sendable (OutputChunk) async throws -> Void
    ) async throws -> RunOutcome {
        let alarms = try await setAlarms(timeout)
        return try await withTaskCancellationHandler {
            try await withThrowingTaskGroup(of: Void.self) { group in
                if let reader {
                    group.addTask {
                        do {
                            try await reader.drain(output)
                            wake.ring(.drained)
                        } catch {
                            wake.ring(.failed)
                            throw error
                        }
                    }
                } else {
                    wake.ring(.drained)
                }
                let (verdict, findings) = await watch(alarms)
                reader?.finishSoon()
                try await group.waitForAll()
                if verdict == .cancelled { throw CancellationError() }
                return try outcome(verdict, findings)
            }
        } onCancel: {
            wake.ring(.cancelled)
        }
    }

    private struct Alarms: Sendable {
        /// The time limit of the run.
        let deadline: Alarm
        /// For stragglers, once the program has ended.
        let patience: Alarm
    }

    private func setAlarms(_ timeout: Duration?) async throws(ProcessError) -> Alarms {
        do throws(ProcessError) {
            let events = process.machinery.events
            let alarms = Alarms(
                deadline: try Alarm(events, rings: wake, as: .deadline),
                patience: try Alarm(events, rings: wake, as: .pause))
            if let timeout { alarms.deadline.set(timeout) }
            return alarms
        } catch {
            // Without a clock no limit can be kept: better no run than one without end.
            await process.terminate(grace: .zero)
            throw error
        }
    }

    /// Waits for whatever comes first, and returns when the tree is dead.
    private func watch(_ alarms: Alarms) async -> (Verdict, BudgetFindings?) {
        let observer = process.observe { wake.ring(.ended) }
        defer { process.forget(observer) }
        var seen: WakeReasons = []
        while true {
            let isNew = !seen.contains(.ended)
            seen.formUnion(await wake.next())
            if let verdict = verdict(of: seen) {
                return (verdict, await process.terminate(grace: verdict == .ended ? .zero : grace))
            }
            if isNew && seen.contains(.ended) { alarms.patience.set(linger) }
        }
    }

    /// Pure: what is to be done about all that has been seen so far; nil to wait on.
    private func verdict(of seen: WakeReasons) -> Verdict? {
        if seen.contains(.ended) && (seen.contains(.drained) || seen.contains(.pause)) { return .ended }
        if seen.contains(.cancelled) { return .cancelled }
        if seen.contains(.failed) { return .failed }
        if seen.contains(.deadline) && !seen.contains(.ended) { return .timedOut }
        return nil
    }

    private func outcome(_ verdict: Verdict, _ findings: BudgetFindings?) throws -> RunOutcome {
        guard let ending = try process.knownEnding else {
            throw ProcessError(
                .other, "process \(process.identity.pid) was killed and does not end",
                hint: "It hangs in the kernel, most often on a disk or network file system.")
        }
        let status: RunOutcome.Status =
            switch ending.status {
            case _ where verdict == .timedOut: .timedOut
            case .exited(let code): .exited(code)
            case .signalled(let number): .signalled(number)
            }
        return RunOutcome(
            status: status, cpuTime: ending.cpuTime, peakResidentBytes: ending.peakResidentBytes,
            outputBytes: reader?.bytesRead ?? 0, findings: findings ?? BudgetFindings())
    }
}
