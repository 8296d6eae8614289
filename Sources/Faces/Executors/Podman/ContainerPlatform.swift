import API
import Foundation
package import Kernel
import Manifests
import Processes
import Synchronization

/// Copies of services as containers, through the Docker-compatible REST socket of Podman (or Docker).
///
/// All that is to be known of a copy stands in the labels of its container, so whoever comes later finds it by looking.
/// Its port is published on a free port of 127.0.0.1. The engine keeps its output; when the container is taken away it is
/// written to `<folder>/<id>/output.log`, which also tells that this id has lived.
package final class ContainerPlatform: Platform {
    private let engine: ContainerEngine
    private let socket: String
    private let owner: String
    private let processes: Int
    private let time: any TimeSource
    private let probe: LocalProbe
    private let starting = Mutex<Set<InstanceID>>([])
    private let logs: CopyLogs

    /// Other ports that are tried when the one that was free is taken by the time it is wanted.
    private static let portTries = 5
    /// Folders of ended copies that are kept for their logs.
    package static let endedLimit = 50

    /// - Parameters:
    ///   - socket: Path of the socket.
    ///   - folder: Where the logs of copies go; also what tells our containers from those of others.
    package init(
        socket: String, folder: String, processes: UInt64 = ProcessLimit.processes, time: any TimeSource,
        probe: LocalProbe = LocalProbe()
    ) {
        engine = ContainerEngine(socket: socket)
        (self.socket, owner, logs) = (socket, folder, CopyLogs(folder: folder))
        (self.processes, self.time, self.probe) = (Int(clamping: processes), time, probe)
    }

    // MARK: - The port

    package func instances() async throws -> [Instance] {
        try await told {
            guard FileManager.default.fileExists(atPath: socket) else {
                throw ExecutionFailure(
                    .unavailable, "there is no socket \(socket)",
                    hint: "Start Podman: podman system service --time 0 unix://\(socket)")
            }
            return try await engine.list("\(CopyLabel.owner)=\(owner)").compactMap { container in
                CopyLabel.instance(container.labels, isRunning: container.isRunning)
            }
        }
    }

    package func start(_ order: InstanceOrder) async throws -> Instance {
        guard starting.withLock({ $0.insert(order.id).inserted }) else {
            throw Problem(
                "instance.starting", status: 409, "\(order.id) is being started already",
                hint: "Wait for it to be ready.")
        }
        defer { _ = starting.withLock { $0.remove(order.id) } }
        return try await told {
            if let known = try await known(order) { return known }
            guard let container = order.container else {
                throw ExecutionFailure(.invalid, "there is no image to start", hint: "Name one: `image: NAME`.")
            }
            try await engine.provide(container)
            var failure = ExecutionFailure(.unavailable, "no port is free")
            for _ in 0..<Self.portTries {
                do throws(ExecutionFailure) {
                    return try await launch(order, container)
                } catch {
                    await engine.end(name(order.id), grace: .zero)
                    guard error.isTakenPort else { throw error }
                    failure = error
                }
            }
            throw failure
        }
    }

    package func stop(_ id: InstanceID, grace: Duration) async throws {
        let name = name(id)
        try await told {
            guard try await engine.inspect(name) != nil else { return }
            try await engine.stop(name, grace: grace)
            try await logs.keep(await engine.log(of: name), of: id)
            try await engine.remove(name)
        }
        await logs.forget()
    }

    package func probe(_ instance: Instance, _ question: HealthQuestion, timeout: Duration) async -> Bool {
        switch question {
        case .port: return await probe.tcp(port: instance.port, timeout: timeout)
        case .path(let path): return await probe.http(port: instance.port, path: path, timeout: timeout)
        case .command(let words):
            do {
                return try await engine.ask(words, in: name(instance.id), atMost: timeout)
            } catch {
                return false  // the engine, or the container, is not there: no good answer
            }
        }
    }

    /// Of copies that were taken away; the engine keeps what the others have printed so far.
    package func outputs() async throws -> [CopyOutput] { try await logs.outputs() }

    // MARK: - Starting

    /// A copy of this id that was started before, whether it still runs or has ended.
    private func known(_ order: InstanceOrder) async throws -> Instance? {
        if let found = try await engine.inspect(name(order.id)) {
            if found.isRunning || found.hasRun {
                return CopyLabel.instance(found.labels, isRunning: found.isRunning)
            }
            // Made, but never started: begun anew, with a port that is free now.
            try await engine.remove(name(order.id))
        }
        guard try await logs.has(order.id) else { return nil }
        return Instance(
            id: order.id, service: order.service, revision: order.revision, host: "127.0.0.1", port: 0,
            startedAt: time.now, isRunning: false)
    }

    private func launch(_ order: InstanceOrder, _ container: ContainerSpec) async throws(ExecutionFailure) -> Instance {
        do {
            let outside = try LocalPort.free()
            let inside = order.port ?? WorkloadSpec.containerPort
            func filled(_ text: String) -> String {
                text.replacing("${PORT}", with: String(inside)).replacing("$PORT", with: String(inside))
            }
            var execution = ExecutionOrder(
                id: order.id.text, job: "", command: order.command.map(filled), environment: order.environment,
                directory: "", writable: [])
            execution.environment["PORT"] = String(inside)
            execution.environment["VAGUS_INSTANCE"] = order.id.text
            // As for the services of a job: the command is what the image's entrypoint is given.
            execution.alias = order.service.name
            (execution.cpus, execution.memory) = (order.cpus, order.memory)
            execution.ports = [ExecutionPort(inside: inside, outside: outside)]
            let instance = Instance(
                id: order.id, service: order.service, revision: order.revision, host: "127.0.0.1", port: outside,
                startedAt: time.now, isRunning: true)
            let spec = ContainerOrder(execution, container, network: nil, processes: processes)
            try await engine.create(name(order.id), spec.json(labels: CopyLabel.all(instance, of: owner)))
            try await engine.start(name(order.id))
            return instance
        } catch {
            throw ExecutionFailure(error)
        }
    }

    /// The container of an id: ids of two servers are the same, so the owner is part of it (FNV-1a of its folder).
    private func name(_ id: InstanceID) -> String {
        var hash: UInt32 = 2_166_136_261
        for byte in owner.utf8 { hash = (hash ^ UInt32(byte)) &* 16_777_619 }
        return ExecutionName.safe("\(String(hash, radix: 16)).\(id.text)")
    }

    // MARK: - Errors

    /// What the engine could not do, in the words of a server.
    private func told<T>(_ body: () async throws -> T) async throws -> T {
        do {
            return try await body()
        } catch let failure as ExecutionFailure {
            if failure.code == .cancelled { throw CancellationError() }
            throw Problem(
                "instance.container", status: failure.code == .invalid ? 422 : 503, failure.message, hint: failure.hint)
        }
    }
}

/// Labels of a copy's container: all that is to be known of it.
enum CopyLabel {
    static let owner = "vagus.platform"
    private static let (id, project, service) = ("vagus.instance", "vagus.project", "vagus.service")
    private static let (revision, port, started) = ("vagus.revision", "vagus.port", "vagus.started")

    static func all(_ instance: Instance, of owner: String) -> JSONValue {
        [
            self.owner: .string(owner), id: .string(instance.id.text),
            project: .string(instance.service.project), service: .string(instance.service.name),
            revision: .string(String(instance.revision)), port: .string(String(instance.port)),
            started: .string(String(instance.startedAt.microseconds)),
        ]
    }

    /// Nil when they are not as we write them.
    static func instance(_ labels: JSONValue, isRunning: Bool) -> Instance? {
        func number(_ name: String) -> Int64? { labels[name]?.string.flatMap { Int64($0) } }
        guard let id = labels[id]?.string, let project = labels[project]?.string,
            let service = labels[service]?.string, let revision = number(revision), let port = number(port),
            let started = number(started)
        else { return nil }
        return Instance(
            id: InstanceID(id), service: Reference(project: project, name: service), revision: Int(revision),
            host: "127.0.0.1", port: Int(port), startedAt: Timestamp(microseconds: started), isRunning: isRunning)
    }
}
