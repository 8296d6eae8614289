package import API
package import Kernel
import Manifests
import Outbound
import Processes

/// Commands as containers, one each, through the Docker-compatible REST socket of Podman (or Docker).
///
/// The writable folders are mounted at their own paths. Executions of a job that has services share a network of their
/// own, in which services are reached by their names. Everything made here carries labels, by which the next life of
/// the runner finds and ends it.
package final class PodmanExecutor: Executor {
    package let kind = ExecutorKind.podman
    package let traits: ExecutorTraits = [.ownSystem, .boundsMemory, .boundsProcesses, .cutsNetwork, .endsDaemons]
    private let engine: ContainerEngine
    private let owner: String
    private let processes: Int
    private let time: any TimeSource
    private let shared = SharedExecutions()

    /// How long output may follow the end of its container.
    private static let linger: Duration = .seconds(5)

    /// - Parameters:
    ///   - socket: Path of the socket.
    ///   - owner: What distinguishes this runner's containers from those of others, the same in each of its lives.
    package init(
        socket: String, owner: String, processes: UInt64 = ProcessLimit.processes, time: any TimeSource = SystemTime()
    ) {
        engine = ContainerEngine(socket: socket)
        (self.owner, self.processes, self.time) = (owner, Int(clamping: processes), time)
    }

    /// Whether something answers on the socket.
    package func answers() async -> Bool { await engine.answers() }

    package func run(
        _ order: ExecutionOrder, output: @escaping @Sendable ([UInt8]) async throws -> Void
    ) async throws(ExecutionFailure) -> ExecutionResult {
        try await shared.run(order.id) { () async throws(ExecutionFailure) in
            do {
                if let place = order.inside { return try await runInside(place, order, output) }
                return try await runContainer(order, output)
            } catch {
                throw ExecutionFailure(error)
            }
        }
    }

    package func clear(job: String?) async {
        let label = job.map { Label.job($0, of: owner) } ?? Label.owner(owner)
        await engine.removeAll(label)
    }

    // MARK: - A container

    private enum Part: Sendable {
        case ended(Int)
        case drained
        case late
    }

    private func runContainer(
        _ order: ExecutionOrder, _ output: @escaping @Sendable ([UInt8]) async throws -> Void
    ) async throws -> ExecutionResult {
        let name = ExecutionName.safe(order.id)
        guard let container = order.container else {
            throw ExecutionFailure(.invalid, "podman needs a container", hint: "Name an image: `container: IMAGE`.")
        }
        try await engine.provide(container)
        if let number = container.user.flatMap(Self.numbers) {
            try await Ownership.give(order.writable, to: number, openingBelow: nil)
        }
        var network: String?
        if order.isJoined {
            network = ExecutionName.safe(order.job)
            try await engine.makeNetwork(
                ExecutionName.safe(order.job), isInternal: !order.network, labels: Label.all(order.job, of: owner))
        }
        let spec = ContainerOrder(order, container, network: network, processes: processes)
        try await engine.create(name, spec.json(labels: Label.all(order.job, of: owner)))
        do {
            let result = try await watch(name, order, output)
            try await engine.remove(name)
            return result
        } catch {
            let (engine, grace) = (engine, order.grace)
            try await despiteCancellation { await engine.end(name, grace: grace) }
            throw error
        }
    }

    private func watch(
        _ name: String, _ order: ExecutionOrder, _ output: @escaping @Sendable ([UInt8]) async throws -> Void
    ) async throws -> ExecutionResult {
        let (engine, time) = (engine, time)
        let tail = Tail()
        let attached = Bell()
        return try await withThrowingTaskGroup(of: Part.self) { group in
            group.addTask {
                try await engine.attach(name, attached: { attached.ring() }) { bytes in
                    tail.add(bytes)
                    try await output(bytes)
                }
                return .drained
            }
            group.addTask {
                // Only then nothing of its output can be missed.
                try await attached.wait()
                try await engine.start(name)
                if let timeout = order.timeout {
                    return try await engine.wait(name, atMost: timeout).map(Part.ended) ?? .late
                }
                return .ended(try await engine.wait(name))
            }
            defer { group.cancelAll() }
            var code: Int?
            var isDrained = false
            while let part = try await group.next() {
                switch part {
                case .ended(let number):
                    code = number
                    if isDrained { return try await result(number, name, order, tail) }
                    group.addTask {
                        try await time.sleep(for: Self.linger)
                        return .drained
                    }
                case .late:
                    await engine.end(name, grace: order.grace)
                    return ExecutionResult(.timedOut)
                case .drained:
                    isDrained = true
                    guard let code else { continue }
                    return try await result(code, name, order, tail)
                }
            }
            throw ExecutionFailure(.unavailable, "the container was not seen to end")
        }
    }

    private func result(_ code: Int, _ name: String, _ order: ExecutionOrder, _ tail: Tail) async throws
        -> ExecutionResult
    {
        if code == 0 { return ExecutionResult(.exited(0)) }
        if tail.text.contains("catatonit:"), tail.text.contains("failed to exec pid1") {
            throw ExecutionFailure(
                .invalid, "there is no program \"\(order.command.first ?? "")\" in the image",
                hint: "Look at what the image holds, or choose another.")
        }
        guard code == 128 + 9 else { return ExecutionResult(.exited(code)) }
        guard let memory = order.memory else { return ExecutionResult(.signalled(9)) }
        if try await engine.wasOutOfMemory(name) { return .outOfMemory(memory) }
        // Podman does not tell it everywhere (4.3 on version 1 of cgroups never does); nobody else here kills it.
        let size = ByteSize(bytes: memory)
        return ExecutionResult(
            .signalled(9), detail: "was killed, most likely for using more than its \(size) of memory")
    }

    // MARK: - Inside a running container

    private func runInside(
        _ place: String, _ order: ExecutionOrder, _ output: @escaping @Sendable ([UInt8]) async throws -> Void
    ) async throws -> ExecutionResult {
        let (engine, time, name) = (engine, time, ExecutionName.safe(place))
        return try await withThrowingTaskGroup(of: ExecutionResult.self) { group in
            group.addTask {
                ExecutionResult(.exited(try await engine.execute(order.command, in: name, output: output)))
            }
            if let timeout = order.timeout {
                group.addTask {
                    try await time.sleep(for: timeout)
                    return ExecutionResult(.timedOut)
                }
            }
            defer { group.cancelAll() }
            return try await group.next() ?? ExecutionResult(.lost)
        }
    }

    /// `UID` or `UID:GID`; nil for names, which only the image knows.
    private static func numbers(_ user: String) -> ProcessUser? {
        let parts = user.split(separator: ":").map { UInt32($0) }
        guard let id = parts.first ?? nil else { return nil }
        return ProcessUser(id: id, group: parts.count > 1 ? parts[1] ?? id : id)
    }
}

/// Labels by which what we made is found again.
enum Label {
    static func all(_ job: String, of owner: String) -> JSONValue {
        ["vagus.runner": .string(owner), "vagus.job": .string("\(owner)/\(job)")]
    }
    static func owner(_ owner: String) -> String { "vagus.runner=\(owner)" }
    static func job(_ job: String, of owner: String) -> String { "vagus.job=\(owner)/\(job)" }
}
