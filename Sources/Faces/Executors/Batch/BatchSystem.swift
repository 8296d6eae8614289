import API
import Kernel

/// A cluster that takes jobs, runs them when it has room, and tells how they do. All calls may be repeated.
protocol BatchSystem: Sendable {
    var kind: ExecutorKind { get }
    /// How long a job that was asked to end is left alone before the system kills it whatever we want; nil: for ever.
    var graceLimit: Duration? { get }
    /// Hands a job in and gives its number.
    func submit(_ job: BatchJob) async throws(ExecutionFailure) -> String
    /// Number of the job of that name, if there is one.
    func find(_ name: String) async throws(ExecutionFailure) -> String?
    func state(_ number: String) async throws(ExecutionFailure) -> BatchState
    /// Sends SIGTERM to the job.
    func ask(_ number: String) async throws(ExecutionFailure)
    /// Ends the job at once.
    func kill(_ number: String) async throws(ExecutionFailure)
}

/// What a cluster is told.
struct BatchJob: Sendable {
    var name: String
    /// A script of ours that does all the rest.
    var script: String
    var folder: String
    var cpus: Double?
    var memory: Int64?
    var timeout: Duration?
}

/// How a job of a cluster stands.
enum BatchState: Sendable, Equatable {
    case waiting
    case running
    /// Ended, as the cluster tells it; what the script has written down counts more.
    case ended(ExecutionResult)
    /// Not known (any more).
    case unknown
}
