import Kernel
import Synchronization

// Executors: where the commands of steps run. Each stands behind `Executor` (Kernel/Ports.swift), whose contract
// `checkExecutor` holds against all of them in Tests/ConformanceTests.
//
//   ProcessExecutor    a process of this machine; with `Sandbox`, one that bubblewrap has shut in
//   PodmanExecutor     a container a command, through the Docker-compatible socket
//   BatchExecutor      a job of a cluster: Slurm's by slurmrestd, Ray's by its Jobs API
//
// What they share: SharedExecutions (one id, one execution), Ownership (workspaces for other users), ProcessNotes (who
// runs, for the next life), BatchFolder (start script, output and exit code of what runs elsewhere, on a shared disk).
//
// Nothing here knows of pipelines, leases or servers: the Runner does, and hands over ready orders.

/// Executions under way, by their id: a second call takes part in the first.
final class SharedExecutions: Sendable {
    private typealias Outcome = Result<ExecutionResult, ExecutionFailure>
    private let listeners = Mutex<[String: [AsyncStream<Outcome>.Continuation]]>([:])

    func run(
        _ id: String, _ body: () async throws(ExecutionFailure) -> ExecutionResult
    ) async throws(ExecutionFailure) -> ExecutionResult {
        let first: AsyncStream<Outcome>? = listeners.withLock { listeners in
            guard listeners[id] != nil else {
                listeners[id] = []
                return nil
            }
            let (stream, listener) = AsyncStream<Outcome>.makeStream()
            listeners[id]?.append(listener)
            return stream
        }
        if let first {
            for await outcome in first { return try outcome.get() }
            throw .cancelled
        }
        let outcome: Outcome
        do throws(ExecutionFailure) {
            outcome = .success(try await body())
        } catch {
            outcome = .failure(error)
        }
        for listener in listeners.withLock({ $0.removeValue(forKey: id) }) ?? [] {
            listener.yield(outcome)
            listener.finish()
        }
        return try outcome.get()
    }
}

extension ExecutionFailure {
    static let cancelled = ExecutionFailure(.cancelled, "the execution was cancelled")
}

/// What names an execution outside: for containers, jobs of clusters and files alike.
enum ExecutionName {
    /// Letters, digits, ".", "_" and "-" only.
    static func safe(_ id: String) -> String {
        "vagus." + String(id.map { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == "_") ? $0 : "." })
    }
}
