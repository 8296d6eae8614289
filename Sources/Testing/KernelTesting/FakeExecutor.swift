package import API
import Foundation
package import Kernel
import Synchronization

/// An executor that starts nothing: it plays the acts of the conformance suite, and what a test has told it of others.
package final class FakeExecutor: Executor {
    package let kind: ExecutorKind
    package let traits: ExecutorTraits = [.endsDaemons]
    private let time: any TimeSource
    private let state = Mutex(State())

    private struct State {
        var orders: [ExecutionOrder] = []
        var running: [String: [AsyncStream<ExecutionResult?>.Continuation]] = [:]
        var results: [String: ExecutionResult] = [:]
        var cleared: [String?] = []
    }

    package init(kind: ExecutorKind = .process, time: any TimeSource = SystemTime()) {
        (self.kind, self.time) = (kind, time)
    }

    /// All orders so far.
    package var orders: [ExecutionOrder] { state.withLock { $0.orders } }
    /// What `clear` was called with.
    package var cleared: [String?] { state.withLock { $0.cleared } }

    /// Makes executions whose command is this end so, at once.
    package func answer(_ command: [String], with result: ExecutionResult) {
        state.withLock { $0.results[command.joined(separator: " ")] = result }
    }

    /// The command by which an act is ordered from this executor.
    package static func command(_ act: ExecutorAct) -> [String] {
        switch act {
        case .absent: ["/no/such/program"]
        default: ["act", String(data: Data(act.script.utf8), encoding: .utf8) ?? ""]
        }
    }

    package func clear(job: String?) async { state.withLock { $0.cleared.append(job) } }

    package func run(
        _ order: ExecutionOrder, output: @escaping @Sendable ([UInt8]) async throws -> Void
    ) async throws(ExecutionFailure) -> ExecutionResult {
        let first: AsyncStream<ExecutionResult?>? = state.withLock { state in
            guard state.running[order.id] != nil else {
                state.running[order.id] = []
                state.orders.append(order)
                return nil
            }
            let (stream, listener) = AsyncStream<ExecutionResult?>.makeStream()
            state.running[order.id]?.append(listener)
            return stream
        }
        if let first {
            for await result in first { if let result { return result } }
            throw ExecutionFailure(.cancelled, "the execution was cancelled")
        }
        var result: ExecutionResult?
        defer {
            for listener in state.withLock({ $0.running.removeValue(forKey: order.id) }) ?? [] {
                listener.yield(result)
                listener.finish()
            }
        }
        let ended = try await play(order, output)
        result = ended
        return ended
    }

    private func play(
        _ order: ExecutionOrder, _ output: @escaping @Sendable ([UInt8]) async throws -> Void
    ) async throws(ExecutionFailure) -> ExecutionResult {
        if let known = state.withLock({ $0.results[order.command.joined(separator: " ")] }) { return known }
        guard order.command.first == "act", let script = order.command.last else {
            throw ExecutionFailure(.invalid, "there is no program \"\(order.command.first ?? "")\"")
        }
        let deadline = order.timeout.map { time.now.advanced(by: $0) }
        do {
            return try await FakePlay(order: order, script: script, time: time, deadline: deadline, output: output)
                .run()
        } catch is FakePlay.Over {
            return ExecutionResult(.timedOut)
        } catch {
            throw ExecutionFailure(.cancelled, "the execution was ended: \(error)")
        }
    }
}

/// One act, played in this process.
private struct FakePlay {
    struct Over: Error {}
    let order: ExecutionOrder
    let script: String
    let time: any TimeSource
    let deadline: Timestamp?
    let output: @Sendable ([UInt8]) async throws -> Void

    private static let step: Duration = .milliseconds(5)

    func run() async throws -> ExecutionResult {
        let words = script.split(separator: " ").map(String.init)
        if script.hasPrefix("exit ") { return ExecutionResult(.exited(Int(words[1]) ?? 0)) }
        if script.hasPrefix("kill -9") { return ExecutionResult(.signalled(9)) }
        if script.hasPrefix("trap '' TERM") || script.contains("sleep 300 >") { return try await hold() }
        if script.hasPrefix("trap ") { return try await farewell() }
        if script.hasPrefix("echo x >>") { return try await once() }
        try await output(said())
        return ExecutionResult(.exited(0))
    }

    private func said() throws -> [UInt8] {
        let words = script.split(separator: " ").map(String.init)
        if script.hasPrefix("printf '%s'") {
            return Array((order.environment[script.filter { $0.isLetter && $0.isUppercase }] ?? "").utf8)
        }
        if script.hasPrefix("printf '%b' '") {
            return script.dropFirst(13).dropLast().split(separator: "\\").compactMap { UInt8($0, radix: 8) }
        }
        switch words[0] {
        case "seq": return (1...(Int(words[2]) ?? 1)).reduce(into: []) { $0 += Array("\($1)\n".utf8) }
        case "head": return [UInt8](repeating: UInt8(ascii: "x"), count: Int(words[2]) ?? 0)
        case "for": return (1...9).reduce(into: []) { $0 += Array("out \($1)\nerr \($1)\n".utf8) }
        case "env": return order.environment.reduce(into: []) { $0 += Array("\($1.key)=\($1.value)\n".utf8) }
        case "pwd;":
            try Data("x\n".utf8).write(to: URL(fileURLWithPath: "\(order.directory)/here"))
            return Array("\(order.directory)\n".utf8)
        case "cat;": return Array("end\n".utf8)
        default: return []
        }
    }

    private func wait(until isOver: () -> Bool) async throws {
        while !isOver() {
            if let deadline, time.now >= deadline { throw Over() }
            try await time.sleep(for: Self.step)
        }
    }

    private func hold() async throws -> ExecutionResult {
        let pipes = script.split(separator: " ").filter { $0.hasPrefix("/") }
            .map { open(String($0), O_WRONLY | O_NONBLOCK | O_CLOEXEC) }
        defer { pipes.forEach { close($0) } }
        try await output(Array("begun\n".utf8))
        try await wait { false }
        return ExecutionResult(.exited(0))
    }

    private func farewell() async throws -> ExecutionResult {
        try await output(Array("begun\n".utf8))
        do {
            try await wait { false }
        } catch {
            try Data("bye\n".utf8).write(to: URL(fileURLWithPath: "\(order.directory)/bye"))
            throw error
        }
        return ExecutionResult(.exited(0))
    }

    private func once() async throws -> ExecutionResult {
        let path = "\(order.directory)/starts"
        let before = FileManager.default.contents(atPath: path) ?? Data()
        try (before + Data("x\n".utf8)).write(to: URL(fileURLWithPath: path))
        try await output(Array("begun\n".utf8))
        try await wait { FileManager.default.fileExists(atPath: "\(order.directory)/gate") }
        try await output(Array("ended\n".utf8))
        return ExecutionResult(.exited(4))
    }
}
