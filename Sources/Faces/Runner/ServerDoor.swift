import API
import Client
import Kernel
import Manifests

/// What a runner asks of a server; the client's part, and in tests a server in the same process.
protocol ServerDoor: Sendable {
    func call<Input: Manifest, Output: Manifest>(_ operation: Operation<Input, Output>, _ input: Input) async throws
        -> Output
    /// Appends a piece of a job's output.
    func append(_ bytes: [UInt8], _ place: OutputInput) async throws -> LeaseState
    func hasBlob(_ digest: String) async throws -> Bool
    func upload(file: String) async throws -> (digest: String, size: Int64)
    func download(_ digest: String, to path: String) async throws
}

extension VagusClient: ServerDoor {}

/// Repeats calls until they are heard: a server that restarts must neither kill a step nor lose what it did.
struct Patient: Sendable {
    let door: any ServerDoor
    let time: any TimeSource
    /// How long it tries; nil: for ever.
    var patience: Duration? = RunnerLimits.patience + .seconds(15)

    func call<Input: Manifest, Output: Manifest>(
        _ operation: Operation<Input, Output>, _ input: Input
    ) async throws -> Output {
        try await attempt { try await door.call(operation, input) }
    }

    /// Tries again while the failure may pass, later and later.
    func attempt<T: Sendable>(_ body: () async throws -> T) async throws -> T {
        let end = patience.map { time.now.advanced(by: $0) }
        var wait: Duration = .milliseconds(100)
        while true {
            do {
                return try await body()
            } catch let error where Self.isPassing(error) {
                if let end, time.now >= end { throw error }
                try await time.sleep(for: wait)
                wait = min(wait * 2, .seconds(2))
            }
        }
    }

    /// Whether trying again may help: nobody answered, the server is starting, failing or has too much to do.
    static func isPassing(_ error: any Error) -> Bool {
        if error is CancellationError { return false }
        guard let problem = error as? Problem else { return !(error is ManifestError) }
        return problem.status == 0 || problem.status >= 500 || problem.status == 429 || problem.status == 408
    }
}
