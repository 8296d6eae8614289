import API
import Kernel
import Manifests
import Synchronization

/// Tells the server how jobs have ended; those that end while others are being told of go together the next time.
///
/// With each word goes the question for as many jobs as have ended, so that a busy runner asks once for both.
final class JobReporter: Sendable {
    private struct Waiting {
        var number: Int
        var report: JobReport
        var listener: CheckedContinuation<Void, any Error>
    }
    private struct State {
        var last = 0
        var waiting: [Waiting] = []
        /// Whom the call that is under way is for.
        var told: [Waiting] = []
    }

    private let door: any ServerDoor
    private let input: JobReports
    private let time: any TimeSource
    private let takesMore: @Sendable () -> Bool
    private let state = Mutex(State())
    private let news = Bell()

    /// - Parameter takesMore: Whether the runner begins another job when one has ended.
    init(
        door: any ServerDoor, name: String, incarnation: String, time: any TimeSource,
        takesMore: @escaping @Sendable () -> Bool
    ) {
        var input = JobReports()
        (input.name, input.incarnation) = (name, incarnation)
        (self.door, self.input, self.time, self.takesMore) = (door, input, time, takesMore)
    }

    /// Returns when the server has heard how a job ended; throws what it said against that.
    func tell(_ report: JobReport) async throws {
        let number = state.withLock { state in
            state.last += 1
            return state.last
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (listener: CheckedContinuation<Void, any Error>) in
                state.withLock { $0.waiting.append(Waiting(number: number, report: report, listener: listener)) }
                if Task.isCancelled { leave(number) } else { news.ring() }
            }
        } onCancel: {
            leave(number)
        }
    }

    private func leave(_ number: Int) {
        let listener = state.withLock { state in
            let found = (state.waiting + state.told).first { $0.number == number }?.listener
            state.waiting.removeAll { $0.number == number }
            state.told.removeAll { $0.number == number }
            return found
        }
        listener?.resume(throwing: CancellationError())
    }

    /// Tells one report at once, without trying again and without asking for more.
    func tellOnce(_ report: JobReport) async throws {
        var once = input
        once.reports = [report]
        let answer = try await door.call(Runners.jobsFinished, once).answers.first
        if let problem = answer?.problem { throw problem }
    }

    /// Waits until a job has ended, tells of it and of all that have ended by then; returns what came in their place.
    func next() async throws -> [Lease] {
        while true {
            let batch = take()
            guard !batch.isEmpty else {
                try await news.wait()
                continue
            }
            var some = input
            some.reports = batch.map(\.report)
            some.count = takesMore() ? batch.count : 0
            do {
                let outcome = try await Patient(door: door, time: time).call(Runners.jobsFinished, some)
                for (waiting, answer) in zip(batch, outcome.answers) { finish(waiting.number, answer.problem) }
                return outcome.leases
            } catch {
                for waiting in batch { finish(waiting.number, error) }
                if error is CancellationError { throw error }
            }
        }
    }

    /// Those that are told next. One that has much to tell goes alone, for the sake of the size of the call.
    private func take() -> [Waiting] {
        state.withLock { state in
            guard let first = state.waiting.first else { return [] }
            let count = first.report.isSlight ? state.waiting.prefix { $0.report.isSlight }.count : 1
            state.told = Array(state.waiting.prefix(min(count, JobReports.limit)))
            state.waiting.removeFirst(state.told.count)
            return state.told
        }
    }

    private func finish(_ number: Int, _ error: (any Error)?) {
        let listener = state.withLock { state in
            let found = state.told.first { $0.number == number }?.listener
            state.told.removeAll { $0.number == number }
            return found
        }
        if let error { listener?.resume(throwing: error) } else { listener?.resume() }
    }
}

extension JobReport {
    /// Holds little beside the statuses and the tail of the output.
    fileprivate var isSlight: Bool {
        artifacts.isEmpty && tests == nil && outputs.isEmpty
            && steps.allSatisfy { told in
                told.artifacts.isEmpty && told.annotations.isEmpty && told.step.outputs.isEmpty
                    && told.step.summary == nil && told.step.report == nil
            }
    }
}
