import API
import Expressions
import Foundation
import Kernel
import Manifests

/// Which executor runs a command, and what becomes of its result.
extension StepWork {
    /// Runs a program to its end, its output on the way up; true when it ended with 0.
    ///
    /// - Parameters:
    ///   - isUser: It is what the step's author wrote, and runs where the job says; else it is ours (git, `vagus work`),
    ///     and runs as a process beside us.
    ///   - quietly: Its output is dropped.
    ///   - filter: What its output becomes on the way.
    mutating func execute(
        _ executable: String, _ arguments: [String], environment: [String: String], in directory: String,
        isUser: Bool = false, quietly: Bool = false, filter: (@Sendable ([UInt8]) -> [UInt8])? = nil
    ) async throws -> Bool {
        let spec = isUser ? lease.execution : ExecutionSpec()
        let executor = try shared.executor(spec.executor)
        executions += 1
        let limit = timeLimit
        var execution = ExecutionOrder(
            id: executionID(executor), job: lease.executionJob, command: [executable] + arguments,
            environment: executor.traits.contains(.ownSystem) ? inside(environment) : environment,
            directory: directory, writable: [folder.folder], timeout: limit.left, grace: RunnerLimits.stopGrace)
        execution.apply(spec)
        // It reads what only we may read: datasets, the cache.
        execution.isOurs = executable == shared.settings.vagus
        let output = output
        let result: ExecutionResult
        do throws(ExecutionFailure) {
            result = try await executor.run(execution) { bytes in
                if quietly { return }
                let told = filter?(bytes) ?? bytes
                if !told.isEmpty { try await output.write(told) }
            }
        } catch {
            if error.code == .cancelled, Task.isCancelled { throw CancellationError() }
            throw Problem("execution.\(error.code.rawValue)", status: 422, error.message, hint: error.hint)
        }
        return heed(result, limit.words)
    }

    private mutating func heed(_ result: ExecutionResult, _ limit: String) -> Bool {
        switch result.ending {
        case .exited(let code):
            outcome.exitCode = code
            if code == 0 { return true }
            fail(result.detail.map { "\($0); it ended with exit code \(code)" } ?? "ended with exit code \(code)")
        case .signalled(let number):
            outcome.exitCode = 128 + number
            fail(result.detail ?? "was ended by signal \(number)")
        case .outOfMemory:
            outcome.exitCode = 137
            fail(result.detail ?? "used more than its memory")
        case .lost: fail(result.detail ?? "was lost by what executed it")
        case .timedOut: fail("\(Self.timeoutWords) \(limit)")
        }
        return false
    }

    /// Stable over a restart of ours where the execution outlives it, new with each lease where it does not.
    private func executionID(_ executor: any Executor) -> String {
        let life = executor.traits.contains(.survives) ? "r\(lease.retry)" : "e\(lease.epoch)"
        let tries = attempt == 1 ? "" : "try\(attempt)/"
        return "\(lease.executionJob)/\(life)/\(order.index)/\(tries)\(executions)"
    }

    /// Without what only means something on this machine, unless the step itself sets it.
    private func inside(_ environment: [String: String]) -> [String: String] {
        environment.filter { name, value in
            shared.settings.environment[name] != value || order.environment[name] != nil
        }
    }
}

extension Lease {
    /// Names the job among all that this runner's executors know.
    var executionJob: String { "\(run)/\(stage)/\(job)" }
}

extension ExecutionSpec {
    /// The same with `${{ secrets.NAME }}` replaced; the server has resolved all other expressions.
    func resolved(secrets: Ordered<String>) throws -> ExecutionSpec {
        guard json.text.contains("${{") else { return self }
        let context = Context(values: ["secrets": Value(secrets.json)])
        func resolve(_ json: JSONValue) throws -> JSONValue {
            switch json {
            case .string(let text) where text.contains("${{"):
                .string(try Template(parsing: text, limit: Template.quotedBytes).render(in: context))
            case .array(let items): .array(try items.map(resolve))
            case .object(let members): .object(try members.map(resolve))
            default: json
            }
        }
        do {
            return try ExecutionSpec(json: try resolve(json), at: [])
        } catch let error as ManifestError {
            throw Problem(error)
        }
    }
}

extension ExecutionOrder {
    /// Bounds and surroundings as the job's spec says.
    mutating func apply(_ spec: ExecutionSpec) {
        (cpus, memory) = (spec.cpu?.cpus, spec.memory?.bytes)
        (network, container) = (spec.network, spec.container)
        isJoined = !spec.services.isEmpty
    }
}

extension JobContext {
    /// Whether what runs for a job outlives us, so that the next life of this runner finds it again.
    func survives(_ spec: ExecutionSpec) -> Bool {
        executors.first { $0.kind == spec.executor }?.traits.contains(.survives) ?? false
    }

    func executor(_ kind: ExecutorKind) throws -> any Executor {
        if let found = executors.first(where: { $0.kind == kind }) { return found }
        throw Problem(
            "executor.absent", status: 422, "this runner does not offer the \(kind.rawValue) executor",
            hint: "Start it with --executor \(kind.rawValue).")
    }
}
