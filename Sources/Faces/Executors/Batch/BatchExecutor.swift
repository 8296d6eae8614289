package import API
package import Kernel
import Outbound

/// Commands as jobs of a cluster whose nodes share our disk.
///
/// Output and exit code come by files, so that every byte arrives and nothing depends on how long the cluster remembers.
/// Executions outlive us: the next life finds its own by their names and files, and goes on listening.
package final class BatchExecutor: Executor {
    package let kind: ExecutorKind
    package let traits: ExecutorTraits = [.survives, .endsDaemons]
    private let system: any BatchSystem
    private let folder: String
    private let time: any TimeSource
    private let shared = SharedExecutions()

    /// How often output is looked for, and how often the cluster is asked.
    private static let lookPause: Duration = .milliseconds(100)
    private static let askPause: Duration = .seconds(1)
    /// How long files may be late behind the cluster's word that a job has ended.
    private static let lateness: Duration = .seconds(5)
    /// How long after the grace the script's own killing is waited for.
    private static let patience: Duration = .seconds(5)
    /// How long a cluster may be away before its executions are given up.
    private static let absence: Duration = .seconds(120)

    /// - Parameter folder: On a disk that all nodes see at the same path; so are the workspaces.
    init(_ system: any BatchSystem, folder: String, time: any TimeSource) {
        (self.system, self.folder, self.time) = (system, folder, time)
        kind = system.kind
    }

    package func run(
        _ order: ExecutionOrder, output: @escaping @Sendable ([UInt8]) async throws -> Void
    ) async throws(ExecutionFailure) -> ExecutionResult {
        guard order.container == nil, !order.command.isEmpty else {
            throw ExecutionFailure(.invalid, "the \(kind.rawValue) executor takes a command and no container")
        }
        return try await shared.run(order.id) { () async throws(ExecutionFailure) in
            let place = BatchFolder(path: "\(folder)/\(ExecutionName.safe(order.job))/\(ExecutionName.safe(order.id))")
            do {
                let number = try await submit(order, place)
                do {
                    return try await follow(number, order, place, output)
                } catch {
                    try await despiteCancellation { await self.end(number, order, place) }
                    throw error
                }
            } catch {
                throw ExecutionFailure(error)
            }
        }
    }

    package func clear(job: String?) async {
        // What an earlier life has started is found again by whoever asks for it.
        if let job { await BatchFolder.remove("\(folder)/\(ExecutionName.safe(job))") }
    }

    // MARK: - Begin

    private func grace(_ order: ExecutionOrder) -> Duration { min(order.grace, system.graceLimit ?? order.grace) }

    /// The number of the order's job, which is handed in unless it was before.
    private func submit(_ order: ExecutionOrder, _ place: BatchFolder) async throws -> String {
        let name = ExecutionName.safe(order.id)
        if try await place.prepare(order, grace: grace(order)) {
            if let number = try await place.submitted() { return number }
            // An earlier life ended between handing it in and writing that down, or before either.
            if let number = try await system.find(name) {
                try await place.remember(number)
                return number
            }
        }
        let job = BatchJob(
            name: name, script: place.script, folder: order.directory, cpus: order.cpus, memory: order.memory,
            timeout: order.timeout)
        let number = try await system.submit(job)
        try await place.remember(number)
        return number
    }

    // MARK: - Follow

    private func follow(
        _ number: String, _ order: ExecutionOrder, _ place: BatchFolder,
        _ output: @escaping @Sendable ([UInt8]) async throws -> Void
    ) async throws -> ExecutionResult {
        var offset: Int64 = 0
        var askAt = time.now
        var deadline: Timestamp?
        var lastHeard = time.now
        while true {
            let code = try await place.exitCode()
            offset = try await drain(place, from: offset, output)
            if let code {
                try await awaitEnd(number)
                return ExecutionResult(.exited(code))
            }
            let now = time.now
            if now >= askAt {
                askAt = now.advanced(by: Self.askPause)
                var state: BatchState?
                do throws(ExecutionFailure) {
                    state = try await system.state(number)
                    lastHeard = now
                } catch {
                    guard error.code == .unavailable, now < lastHeard.advanced(by: Self.absence) else { throw error }
                }
                switch state {
                case .running: deadline = deadline ?? order.timeout.map { now.advanced(by: $0) }
                case .ended(let told): return try await settle(told, place, from: offset, output)
                case .unknown:
                    let lost = ExecutionResult(.lost, detail: "is not known to \(kind.rawValue) any more")
                    return try await settle(lost, place, from: offset, output)
                case .waiting, nil: break
                }
            }
            if let deadline, now >= deadline {
                await end(number, order, place)
                _ = try await drain(place, from: offset, output)
                return ExecutionResult(.timedOut)
            }
            try await time.sleep(for: Self.lookPause)
        }
    }

    private func drain(
        _ place: BatchFolder, from start: Int64, _ output: @escaping @Sendable ([UInt8]) async throws -> Void
    ) async throws -> Int64 {
        var offset = start
        while true {
            let bytes = try await place.read(from: offset)
            if bytes.isEmpty { return offset }
            try await output(bytes)
            offset += Int64(bytes.count)
        }
    }

    /// The cluster says that it has ended: the script's own word counts, if it comes.
    private func settle(
        _ told: ExecutionResult, _ place: BatchFolder, from start: Int64,
        _ output: @escaping @Sendable ([UInt8]) async throws -> Void
    ) async throws -> ExecutionResult {
        let end = time.now.advanced(by: Self.lateness)
        while try await place.exitCode() == nil, time.now < end { try await time.sleep(for: Self.lookPause) }
        _ = try await drain(place, from: start, output)
        return try await place.exitCode().map { ExecutionResult(.exited($0)) } ?? told
    }

    /// The script has written its last word; its processes go a moment later.
    private func awaitEnd(_ number: String) async throws {
        let end = time.now.advanced(by: Self.patience)
        while time.now < end {
            switch try await system.state(number) {
            case .ended, .unknown: return
            case .waiting, .running: try await time.sleep(for: Self.lookPause)
            }
        }
    }

    // MARK: - End

    /// Asks the job to end; its script kills after the grace; should it not, the cluster does.
    private func end(_ number: String, _ order: ExecutionOrder, _ place: BatchFolder) async {
        do {
            if case .running = try await system.state(number) {
                try await system.ask(number)
                if try await hasEnded(number, within: grace(order) + Self.patience) { return }
            }
            try await system.kill(number)
            _ = try await hasEnded(number, within: Self.patience)
        } catch {
            // The cluster is away: the script's own limit ends it.
        }
    }

    private func hasEnded(_ number: String, within patience: Duration) async throws -> Bool {
        let end = time.now.advanced(by: patience)
        while true {
            switch try await system.state(number) {
            case .ended, .unknown: return true
            case .waiting, .running:
                if time.now >= end { return false }
                try await time.sleep(for: Self.lookPause)
            }
        }
    }
}

/// Calls of a cluster's REST API.
struct BatchDoor: Sendable {
    let kind: ExecutorKind
    let url: String
    private let outbound = OutboundClient()
    private static let patience: Duration = .seconds(30)

    init(kind: ExecutorKind, url: String) {
        self.kind = kind
        self.url = url.hasSuffix("/") ? String(url.dropLast()) : url
    }

    func call(
        _ method: String, _ path: String, _ body: [UInt8]? = nil, headers: [(String, String)] = []
    ) async throws(ExecutionFailure) -> HTTPResponse {
        var request = HTTPRequest(method, url: url + path, headers: headers)
        if let body {
            request.headers.append(("Content-Type", "application/json"))
            request.body = .bytes(body)
        }
        do throws(OutboundError) {
            return try await outbound.send(request, deadline: Self.patience)
        } catch {
            if error.code == .cancelled { throw .cancelled }
            throw ExecutionFailure(
                .unavailable, "\(kind.rawValue) does not answer at \(url): \(error.message)",
                hint: "Look whether it runs, and whether this address reaches it.")
        }
    }
}
