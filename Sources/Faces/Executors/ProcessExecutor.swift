package import API
import Foundation
package import Kernel
import Manifests
import Processes

/// How commands run as processes of this machine.
package struct ProcessSettings: Sendable {
    /// Folder of our own; who runs is written down there.
    package var folder: String
    /// The folder of ours that holds `folder`, workspaces and all else, and that others may not enter so far.
    package var root: String
    /// Who commands run as; nil is we ourselves.
    package var user: String?
    /// Processes and threads of one command at once.
    package var processes: UInt64
    /// Bytes of one file that a command writes.
    package var fileBytes: UInt64
    /// Open files of one process.
    package var openFiles: UInt64

    package init(
        folder: String, root: String? = nil, user: String? = nil, processes: UInt64 = ProcessLimit.processes,
        fileBytes: UInt64 = ProcessLimit.fileBytes, openFiles: UInt64 = ProcessLimit.openFiles
    ) {
        (self.folder, self.root, self.user, self.processes) = (folder, root ?? folder, user, processes)
        (self.fileBytes, self.openFiles) = (fileBytes, openFiles)
    }
}

/// Bounds of a command, unless a runner is told others.
package enum ProcessLimit {
    /// Enough for a parallel build, too few for a fork bomb to hurt others.
    package static let processes: UInt64 = 4096
    package static let fileBytes: UInt64 = 64 << 30
    package static let openFiles: UInt64 = 65_536
}

/// Commands as processes of this machine, each in a session and, where it may be made, a cgroup of its own.
///
/// Given a ``Sandbox``, bubblewrap shuts the command in first.
package final class ProcessExecutor: Executor {
    package let kind: ExecutorKind
    package let traits: ExecutorTraits
    private let settings: ProcessSettings
    private let sandbox: Sandbox?
    private let notes: ProcessNotes
    private let shared = SharedExecutions()

    /// Variable by which processes are found that left session and group, where no cgroup holds them.
    package static let marker = "VAGUS_EXECUTION_ID"

    package init(_ settings: ProcessSettings, sandbox: Sandbox? = nil) throws {
        (self.settings, self.sandbox) = (settings, sandbox)
        kind = sandbox == nil ? .process : .sandbox
        notes = try ProcessNotes(folder: "\(settings.folder)/\(kind.rawValue)")
        var traits: ExecutorTraits = [.endsDaemons]
        if Processes.bounds.contains(.memory) { traits.insert(.boundsMemory) }
        if Processes.bounds.contains(.pids) { traits.insert(.boundsProcesses) }
        if sandbox != nil {
            traits.insert(.cutsNetwork)
        } else if settings.user == nil {
            // Another user may not run all that we find.
            traits.insert(.isBeside)
        }
        self.traits = traits
    }

    package func clear(job: String?) async {
        if job == nil { await notes.endAll() }
    }

    package func run(
        _ order: ExecutionOrder, output: @escaping @Sendable ([UInt8]) async throws -> Void
    ) async throws(ExecutionFailure) -> ExecutionResult {
        try await shared.run(order.id) { () async throws(ExecutionFailure) in
            let command = try await command(for: order)
            do {
                return try await run(command, order, output)
            } catch {
                throw ExecutionFailure(error)
            }
        }
    }

    private func run(
        _ command: Command, _ order: ExecutionOrder, _ output: @escaping @Sendable ([UInt8]) async throws -> Void
    ) async throws -> ExecutionResult {
        if order.memory != nil, command.budget.memoryBytes == nil {
            try await output(Array("! memory is not bounded: no cgroup may be made on this machine\n".utf8))
        }
        var note: Int?
        defer { if let note { notes.forget(note) } }
        let outcome = try await Processes.run(
            command, timeout: order.timeout, grace: order.grace, started: { note = try notes.remember($0) },
            output: { try await output($0.bytes) })
        return result(outcome, order)
    }

    private func result(_ outcome: RunOutcome, _ order: ExecutionOrder) -> ExecutionResult {
        if !outcome.isSuccess, outcome.status != .timedOut {
            if outcome.findings.memoryKills > 0, let memory = order.memory {
                return .outOfMemory(memory)
            }
            if outcome.findings.refusedProcesses > 0 {
                let ending: ExecutionResult.Ending =
                    switch outcome.status {
                    case .exited(let code): .exited(Int(code))
                    case .signalled(let number): .signalled(Int(number))
                    case .timedOut: .timedOut
                    }
                return ExecutionResult(
                    ending, detail: "wanted more than its \(settings.processes) processes at once")
            }
        }
        return switch outcome.status {
        case .exited(let code): ExecutionResult(.exited(Int(code)))
        case .signalled(let number): ExecutionResult(.signalled(Int(number)))
        case .timedOut: ExecutionResult(.timedOut)
        }
    }

    // MARK: - The command

    private func command(for order: ExecutionOrder) async throws(ExecutionFailure) -> Command {
        guard var executable = order.command.first else {
            throw ExecutionFailure(.invalid, "there is no command to execute", hint: "Write `command: […]`.")
        }
        guard order.container == nil else {
            throw ExecutionFailure(
                .invalid, "the \(kind.rawValue) executor has no containers", hint: "Use the podman executor.")
        }
        var arguments = Array(order.command.dropFirst())
        var environment = order.environment
        environment[Self.marker] = order.id
        let user = try await owner(of: order)
        // Within a sandbox bubblewrap itself stays root, and the command becomes the user.
        let isInside = becomesInside
        if let sandbox {
            // bubblewrap would tell it as an ordinary failure.
            let inner = Command(executable: executable, environment: environment, directory: order.directory)
            do { _ = try Processes.file(of: inner) } catch { throw ExecutionFailure(error) }
            arguments = sandbox.arguments(for: order, as: isInside ? user : nil) + [executable] + arguments
            executable = sandbox.program
        }
        var command = Command(
            executable: executable, arguments: arguments, environment: environment, directory: order.directory,
            output: .joined, dieWithParent: true, marker: Self.marker)
        command.user = isInside ? nil : user
        command.isWrapper = sandbox != nil
        command.limits = ProcessLimits(
            openFiles: settings.openFiles,
            userProcesses: user == nil || isInside || Processes.bounds.contains(.pids) ? nil : settings.processes,
            fileBytes: settings.fileBytes)
        command.budget = ResourceBudget(
            memoryBytes: order.memory.map { UInt64(max(0, $0)) }, cpus: order.cpus, processes: settings.processes
        ).only(Processes.bounds)
        return command
    }

    private var becomesInside: Bool { sandbox?.setpriv != nil && ProcessUser.canSwitch }

    /// Who has least to say on any machine; what a sandbox of root's runs as unless another is named.
    private static let nobody = "nobody"

    /// Whom the command runs as; its folders are given to that user first.
    private func owner(of order: ExecutionOrder) async throws(ExecutionFailure) -> ProcessUser? {
        guard let name = settings.user ?? (becomesInside ? Self.nobody : nil), !order.isOurs else { return nil }
        do {
            let user = try ProcessUser(named: name)
            try await Ownership.give(order.writable, to: user, openingBelow: becomesInside ? nil : settings.root)
            return user
        } catch {
            throw ExecutionFailure(error)
        }
    }
}

extension ExecutionResult {
    static func outOfMemory(_ bytes: Int64) -> ExecutionResult {
        ExecutionResult(.outOfMemory, detail: "used more than its \(ByteSize(bytes: bytes)) of memory")
    }
}

extension ExecutionFailure {
    /// Anything thrown on the way, as the port tells it.
    init(_ error: any Error) {
        switch error {
        case let failure as ExecutionFailure: self = failure
        case is CancellationError: self = .cancelled
        case let error as ProcessError:
            let isOrder = [.notFound, .notExecutable, .noSuchDirectory, .invalid].contains(error.code)
            self.init(isOrder ? .invalid : .unavailable, error.message, hint: error.hint)
        case let problem as Problem: self.init(.unavailable, problem.message, hint: problem.hint)
        default: self.init(.cancelled, "the execution was ended: \(error)")
        }
    }
}
