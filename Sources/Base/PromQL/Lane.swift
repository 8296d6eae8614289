import Series
import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// What one thread of a query has for itself.
final class Lane {
    var notes = Notes()
    @exclusivity(unchecked) var buffer = SampleBuffer()
    let options: EngineOptions
    private let guardian: QueryGuard
    @exclusivity(unchecked) private var untilPoll = 0

    init(_ options: EngineOptions, _ guardian: QueryGuard) {
        self.options = options
        self.guardian = guardian
    }

    /// To be called for each row: stops the query when it was cancelled or its time is over.
    func poll() throws(PromQLError) {
        untilPoll -= 1
        if untilPoll > 0 { return }
        untilPoll = 32
        try guardian.check()
    }

    /// The row is no longer what its metric's name says.
    func dropName(_ row: inout Row) {
        if options.delayedNameRemoval { row.dropsName = true } else { row.labels = row.labels.withoutMetadata }
    }
}

/// Ends queries that are cancelled or late.
struct QueryGuard: Sendable {
    let cancel: CancelFlag?
    let deadline: ContinuousClock.Instant

    func check() throws(PromQLError) {
        if cancel?.isCancelled == true { throw PromQLError(.cancelled, "query was canceled in expression evaluation") }
        if ContinuousClock.now > deadline { throw PromQLError(.timeout, "query timed out in expression evaluation") }
    }
}

/// Counts the samples that a query holds.
final class SampleBudget: Sendable {
    private let held = Atomic(0)
    let limit: Int

    init(limit: Int) { self.limit = limit }

    func charge(_ samples: Int) throws(PromQLError) {
        if held.add(samples, ordering: .relaxed).newValue > limit { throw Self.exceeded }
    }

    /// Refuses a load that is only passing.
    func check(_ passing: Int) throws(PromQLError) {
        if held.load(ordering: .relaxed) + passing > limit { throw Self.exceeded }
    }

    func release(_ samples: Int) { held.subtract(samples, ordering: .relaxed) }

    static let exceeded = PromQLError(
        .tooManySamples, "query processing would load too many samples into memory in query execution")

    static func size(of row: Row) -> Int {
        var size = 0
        for value in row.values where !Absent.isAbsent(value) { size += 1 }
        for case let histogram? in row.histograms { size += histogram.sampleCount }
        return size
    }

    static func size(of table: Table) -> Int {
        var size = 0
        for value in table.values where !Absent.isAbsent(value) { size += 1 }
        for column in table.histograms.values {
            for case let histogram? in column { size += histogram.sampleCount }
        }
        return size
    }
}

/// Runs a body for each part of a range of indices, the last part on the calling thread, the others on threads of their own.
enum Lanes {
    // The box is read by one thread only, between its start and the join.
    private final class Job: @unchecked Sendable {  // handed over once, joined before use
        let body: () -> Void
        init(_ body: @escaping () -> Void) { self.body = body }
    }

    static func run(_ bodies: [() -> Void]) {
        var threads: [pthread_t] = []
        for body in bodies.dropLast() {
            let job = Unmanaged.passRetained(Job(body))
            var thread = pthread_t()
            let code = pthread_create(
                &thread, nil,
                { argument in
                    guard let argument else { return nil }
                    Unmanaged<Job>.fromOpaque(argument).takeRetainedValue().body()
                    return nil
                }, job.toOpaque())
            if code == 0 {
                threads.append(thread)
            } else {
                // No thread to be had: the work is done here.
                job.takeRetainedValue().body()
            }
        }
        bodies.last?()
        for thread in threads { pthread_join(thread, nil) }
    }
}
