import API
import Executors
import Foundation
import Kernel
import Manifests
import Masking
import Processes
import Synchronization

/// Programs that run beside the steps of a job, such as a database: started before the first step, ended after the last.
///
/// A service with an image is a container; one with a command alone runs as the steps do. Its output is kept as the
/// artifact `service.NAME`, whatever becomes of the job.
struct JobServices: Sendable {
    let lease: Lease
    let shared: JobContext
    let folder: JobFolder
    let output: JobOutput

    private enum Part: Sendable {
        case result(JobResult)
        case ended(JobService, words: String)
    }

    /// Starts the services, waits until all are ready, does the body with what its steps see of them, and ends them.
    func during(_ body: @escaping @Sendable (Lease) async throws -> JobResult) async throws -> JobResult {
        do {
            let result = try await beside(body)
            await clear()
            return result
        } catch {
            try? await despiteCancellation { await clear() }  // clearing throws nothing
            throw error
        }
    }

    /// What the executors keep for a job goes with it.
    private func clear() async {
        for kind in lease.execution.executors {
            await shared.executors.first { $0.kind == kind }?.clear(job: lease.executionJob)
        }
        JobFolder.remove(folder.services)
    }

    private func beside(_ body: @escaping @Sendable (Lease) async throws -> JobResult) async throws -> JobResult {
        var lease = lease
        lease.execution = try lease.execution.resolved(secrets: lease.secrets)
        guard !lease.execution.services.isEmpty else { return try await body(lease) }
        JobFolder.remove(folder.services)
        try JobFolder.make(folder.services)
        let services = try lease.execution.services.map { name, spec in
            try JobService(name: name, spec: spec, lease: lease, shared: shared, folder: folder, mask: output.mask)
        }
        var known = lease
        for index in known.steps.indices {
            for (name, value) in services.flatMap(\.variables) { known.steps[index].environment[name] = value }
        }
        let told = known
        let watch = ServiceWatch()
        var result = try await withThrowingTaskGroup(of: Part.self) { group in
            for service in services {
                group.addTask { .ended(service, words: try await service.run()) }
            }
            group.addTask {
                for service in services { try await becomeReady(service) }
                watch.setReady()
                return .result(try await body(told))
            }
            defer { group.cancelAll() }
            return try await heed(&group, watch)
        }
        for service in services {
            if let artifact = try await service.keptOutput() { result.artifacts.append(artifact) }
        }
        return result
    }

    private func heed(_ group: inout ThrowingTaskGroup<Part, any Error>, _ watch: ServiceWatch) async throws
        -> JobResult
    {
        while let part = try await group.next() {
            switch part {
            case .result(let result): return result
            case .ended(let service, let words):
                let text = "service \"\(service.name)\" \(words)"
                guard watch.areReady else {
                    try await output.say("✘ \(text) before it was ready\(service.lastWords())")
                    var result = JobResult()
                    (result.status, result.cause) = (.failed, .failure)
                    result.reason = "\(text) before it was ready"
                    return result
                }
                try await output.say("! \(text)")
            }
        }
        return JobResult()
    }

    private func becomeReady(_ service: JobService) async throws {
        guard let health = service.spec.health else { return }
        for attempt in 1...max(1, health.retries) {
            if try await service.isWell(health) {
                return try await output.say("── service \(service.name) is ready")
            }
            if attempt < health.retries { try await shared.time.sleep(for: health.interval.duration) }
        }
        throw Problem(
            "service.unwell", status: 422,
            "service \"\(service.name)\" was not ready after \(health.retries) tries\(service.lastWords())")
    }
}

/// Whether the steps have begun.
private final class ServiceWatch: Sendable {
    private let isReady = Atomic(false)
    var areReady: Bool { isReady.load(ordering: .acquiring) }
    func setReady() { isReady.store(true, ordering: .releasing) }
}

/// One service of a job.
struct JobService: Sendable {
    let name: String
    let spec: SidecarSpec
    private let order: ExecutionOrder
    private let executor: any Executor
    private let shared: JobContext
    private let mask: JobMask
    private let log: String
    /// Where steps reach it.
    private let host: String
    private let port: Int

    /// Bytes of output that are kept of a service.
    private static let logLimit = 64 << 20
    /// Bytes of it that are shown when it fails.
    private static let shownBytes = 4096

    init(name: String, spec: SidecarSpec, lease: Lease, shared: JobContext, folder: JobFolder, mask: JobMask) throws {
        (self.name, self.spec, self.shared, self.mask) = (name, spec, shared, mask)
        let stepsInContainers = lease.execution.executor == .podman
        let kind = spec.image == nil ? lease.execution.executor : .podman
        executor = try shared.executor(kind)
        log = "\(folder.services)/service.\(name).log"
        let isContainer = kind == .podman
        let own = try LocalPort.free()
        var ports = spec.ports.map { ExecutionPort(inside: $0, outside: $0) }
        if isContainer {
            for index in ports.indices { ports[index].outside = index == 0 ? own : try LocalPort.free() }
        }
        let first = ports.first ?? ExecutionPort(inside: own, outside: own)
        (host, port) = stepsInContainers ? (name, first.inside) : ("127.0.0.1", first.outside)
        var environment = isContainer ? [:] : shared.settings.environment
        for (name, value) in spec.env { environment[name] = value }
        if spec.ports.isEmpty, !isContainer { environment["PORT"] = String(own) }
        var order = ExecutionOrder(
            id: "\(lease.executionJob)/e\(lease.epoch)/service/\(name)", job: lease.executionJob,
            command: spec.command.map { $0.replacing("${PORT}", with: String(first.inside)) },
            environment: environment, directory: isContainer ? "" : folder.services,
            writable: isContainer ? [] : [folder.services], grace: RunnerLimits.stopGrace)
        order.network = lease.execution.network
        order.isJoined = true
        (order.alias, order.ports) = (name, isContainer ? ports : [])
        if isContainer {
            var container = ContainerSpec()
            if let image = spec.image {
                (container.image, container.credentials) = (image, spec.credentials)
            } else if let steps = lease.execution.container {
                container = steps
            }
            order.container = container
        }
        self.order = order
    }

    /// `VAGUS_SERVICE_<NAME>_HOST` and `_PORT`.
    var variables: [(String, String)] {
        let upper = String(name.uppercased().map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" })
        return [("VAGUS_SERVICE_\(upper)_HOST", host), ("VAGUS_SERVICE_\(upper)_PORT", String(port))]
    }

    /// Runs until ended; how it ended, in words.
    func run() async throws -> String {
        let words = try ServiceLog(path: log, limit: Self.logLimit, mask: mask)
        defer { words.close() }
        do throws(ExecutionFailure) {
            let result = try await executor.run(order) { try words.add($0) }
            return switch result.ending {
            case .exited(let code): "ended with exit code \(code)"
            case .signalled(let number): "was ended by signal \(number)"
            default: result.detail ?? "was ended"
            }
        } catch {
            if error.code == .cancelled { throw CancellationError() }
            return "could not be started: \(error.message)"
        }
    }

    /// Asks it once.
    func isWell(_ health: SidecarHealth) async throws -> Bool {
        let timeout = health.timeout.duration
        let outside = order.ports.first?.outside ?? spec.ports.first ?? port
        if let command = health.exec {
            var probe = ExecutionOrder(
                id: "\(order.id)/probe", job: order.job, command: ["sh", "-c", command], environment: order.environment,
                directory: order.directory, writable: order.writable, timeout: timeout, grace: .zero)
            (probe.inside, probe.container, probe.network) = (order.id, order.container, order.network)
            do throws(ExecutionFailure) {
                return try await executor.run(probe) { _ in }.isSuccess
            } catch {
                if error.code == .cancelled { throw CancellationError() }
                return false
            }
        }
        if let path = health.http { return await shared.probe.http(port: outside, path: path, timeout: timeout) }
        return await shared.probe.tcp(port: outside, timeout: timeout)
    }

    /// The end of its output, for people.
    func lastWords() -> String {
        guard let data = FileManager.default.contents(atPath: log), !data.isEmpty else { return "" }
        return "; its last words:\n" + String(decoding: data.suffix(Self.shownBytes), as: UTF8.self)
    }

    /// Its output as an artifact; nil when there is none.
    func keptOutput() async throws -> Artifact? {
        guard let size = FileManager.default.contents(atPath: log)?.count, size > 0 else { return nil }
        return try await shared.cache.keep(log, as: "service.\(name)")
    }
}

/// What a service says on its way into a file: masked, and no more than there is room for.
private final class ServiceLog: Sendable {
    private let file: FileHandle
    private let state: Mutex<(masker: Masker, left: Int)>

    init(path: String, limit: Int, mask: JobMask) throws {
        try Data().write(to: URL(fileURLWithPath: path))
        file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        state = Mutex((Masker(mask.set), limit))
    }

    func add(_ bytes: [UInt8]) throws {
        try state.withLock { state in
            var clean: [UInt8] = []
            state.masker.feed(bytes, into: &clean)
            try file.write(contentsOf: clean.prefix(state.left))
            state.left -= min(state.left, clean.count)
        }
    }

    /// Writes what the masker held back as the possible beginning of a secret.
    func close() {
        state.withLock { state in
            var clean: [UInt8] = []
            state.masker.flush(into: &clean)
            try? file.write(contentsOf: clean.prefix(state.left))  // a full disk: the words before are kept
            try? file.close()  // nothing is left to be done with it
        }
    }
}
