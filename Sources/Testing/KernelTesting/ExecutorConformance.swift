package import API
import Foundation
package import Kernel
import Synchronization

/// An executor under test, and what its executions are given.
package struct ExecutorSubject: Sendable {
    package var executor: any Executor
    /// A folder that executions see at the same path; the test's own.
    package var folder: String
    package var container: ContainerSpec?
    /// How an act becomes a command.
    package var command: @Sendable (ExecutorAct) -> [String] = { act in
        act == .absent ? ["/no/such/program"] : ["/bin/sh", "-c", act.script]
    }
    /// PATH and the like, without which the acts find no programs.
    package var environment: [String: String] = ["PATH": "/usr/local/bin:/usr/bin:/bin"]
    /// Variables that an image, a shell or a cluster adds.
    package var added: Set<String> = []
    /// The longest time from the call to the first word.
    package var startup: Duration = .seconds(2)
    /// Processes that one execution may have at once, where the executor bounds them.
    package var processes = 64
    /// A second life of the same runner, where executions survive the first.
    package var next: (any Executor)?

    package init(executor: any Executor, folder: String) { (self.executor, self.folder) = (executor, folder) }
}

/// Why an executor does not keep its contract.
package struct ConformanceFailure: Error, CustomStringConvertible {
    package var description: String
}

/// One sentence of the contract of ``Executor``, and how it is held against an implementation.
package struct ExecutorCheck: Sendable {
    package var name: String
    /// Only asked of executors that can do this.
    package var needs: ExecutorTraits = []
    package var body: @Sendable (ExecutorTrial) async throws -> Void

    package func run(on subject: ExecutorSubject) async throws { try await body(try ExecutorTrial(subject)) }

    package static let all = life + surroundings + output + repetition + bounds

    /// The sentences that an executor can be asked.
    package static func suited(to executor: any Executor) -> [ExecutorCheck] {
        all.filter { executor.traits.isSuperset(of: $0.needs) }
    }
}

/// Holds the whole contract against an executor, each sentence against a new one; returns how many there were.
@discardableResult
package func checkExecutor(_ make: () async throws -> ExecutorSubject) async throws -> Int {
    let checks = ExecutorCheck.suited(to: try await make().executor)
    for check in checks {
        do {
            try await check.run(on: try await make())
        } catch {
            throw ConformanceFailure(description: "\(check.name): \(error)")
        }
    }
    return checks.count
}

/// What one check works with: a folder of its own and the output heard so far.
package struct ExecutorTrial: Sendable {
    let subject: ExecutorSubject
    let folder: String
    let id = "trial/\(UUID().uuidString.lowercased())"
    private let time = SystemTime()

    init(_ subject: ExecutorSubject) throws {
        self.subject = subject
        folder = "\(subject.folder)/\(UUID().uuidString.prefix(8).lowercased())"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        chmod(folder, 0o777)
    }

    /// Longest wait for anything that surely comes.
    static let patience: Duration = .seconds(60)

    func order(_ act: ExecutorAct, id: String? = nil, environment: [String: String] = [:]) -> ExecutionOrder {
        var order = ExecutionOrder(
            id: id ?? self.id, job: "trial", command: subject.command(act),
            environment: subject.environment.merging(environment) { $1 }, directory: folder, writable: [folder])
        order.container = subject.container
        order.timeout = subject.startup + Self.patience
        return order
    }

    /// Runs to the end; result and output.
    func run(_ order: ExecutionOrder) async throws -> (ExecutionResult, [UInt8]) {
        let heard = Heard()
        let result = try await subject.executor.run(order) { heard.add($0) }
        return (result, heard.bytes)
    }

    func run(_ act: ExecutorAct) async throws -> (ExecutionResult, String) {
        let (result, bytes) = try await run(order(act))
        return (result, String(decoding: bytes, as: UTF8.self))
    }

    /// Runs until `until` is true, then cancels; what the call threw, and the output.
    func cancel(
        _ order: ExecutionOrder, when until: @escaping @Sendable (Heard) throws -> Bool
    ) async throws -> (ExecutionFailure?, Heard) {
        let heard = Heard()
        let executor = subject.executor
        let failure = try await withThrowingTaskGroup(of: ExecutionFailure?.self) { group in
            group.addTask {
                defer { heard.end() }
                do throws(ExecutionFailure) {
                    _ = try await executor.run(order) { heard.add($0) }
                    return nil
                } catch {
                    return error
                }
            }
            try await wait(for: "the execution to begin") {
                try until(heard) || heard.isOver
            }
            group.cancelAll()
            return try await group.next() ?? nil
        }
        return (failure, heard)
    }

    /// Looks until it is so; a level, not a change.
    func wait(for what: String, _ look: () throws -> Bool) async throws {
        let end = ContinuousClock.now + subject.startup + Self.patience
        while try !look() {
            guard ContinuousClock.now < end else { throw ConformanceFailure(description: "waited in vain for \(what)") }
            try await time.sleep(for: .milliseconds(10))
        }
    }

    func expect(_ isTrue: Bool, _ otherwise: @autoclosure () -> String) throws {
        if !isTrue { throw ConformanceFailure(description: otherwise()) }
    }

    func path(_ name: String) -> String { "\(folder)/\(name)" }
    func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: path(name)) }
    func text(_ name: String) -> String { (try? String(contentsOfFile: path(name), encoding: .utf8)) ?? "" }  // not there: nothing
}

/// Output of an execution, as it comes.
package final class Heard: Sendable {
    private let state = Mutex<(bytes: [UInt8], isOver: Bool)>(([], false))
    package init() {}
    package func add(_ bytes: [UInt8]) { state.withLock { $0.bytes += bytes } }
    package func end() { state.withLock { $0.isOver = true } }
    package var isOver: Bool { state.withLock { $0.isOver } }
    package var bytes: [UInt8] { state.withLock { $0.bytes } }
    package var text: String { String(decoding: bytes, as: UTF8.self) }
}

/// A named pipe that tells whether anybody holds it open for writing, wherever that one runs on this machine.
package final class Watched: Sendable {
    let path: String
    private let reader: Int32

    package init(_ path: String) throws {
        self.path = path
        guard mkfifo(path, 0o666) == 0, chmod(path, 0o666) == 0 else {
            throw ConformanceFailure(description: "could not make a pipe")
        }
        reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
    }

    deinit { close(reader) }

    package var isHeld: Bool {
        var byte: UInt8 = 0
        return read(reader, &byte, 1) < 0 && errno == EAGAIN
    }
}
