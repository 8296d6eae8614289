import API
import Foundation
import Glibc
import Kernel
import Logging
import Manifests
import Processes

/// `vagus shell` from afar: terminals in the workspaces that this runner has kept. The runner asks for them, as for jobs, and
/// carries bytes between them and the server; nobody connects to it.
struct RemoteShells: Sendable {
    let shared: JobContext

    /// Terminals at once; further ones are told so.
    private static let limit = 16
    /// How long the end of either side is repeated to a server that does not answer.
    private static let patience: Duration = .seconds(60)
    private static let pause: Duration = .milliseconds(500)

    private enum Part: Sendable { case orders([ShellOrder]), ended }

    /// Opens what is asked for, until cancelled.
    func run(_ incarnation: String) async throws {
        try await withThrowingTaskGroup(of: Part.self) { group in
            var open = 0
            group.addTask { .orders(try await orders(incarnation)) }
            while let part = try await group.next() {
                guard case .orders(let orders) = part else {
                    open -= 1
                    continue
                }
                for order in orders {
                    let isRoom = open < Self.limit
                    open += 1
                    group.addTask {
                        try await serve(order, isRoom: isRoom)
                        return .ended
                    }
                }
                group.addTask { .orders(try await self.orders(incarnation)) }
            }
        }
    }

    private func orders(_ incarnation: String) async throws -> [ShellOrder] {
        var input = LeaseInput()
        (input.name, input.incarnation) = (shared.settings.name, incarnation)
        while true {
            do {
                return try await shared.door.call(Shells.offers, input).items
            } catch is CancellationError {
                throw CancellationError()
            } catch let error where Patient.isPassing(error) {
                try await shared.time.sleep(for: Self.pause)
            } catch {
                // A server of an older version.
                shared.logger.debug("the server opens no terminals", metadata: ["error": "\(error)"])
                try await shared.time.sleep(for: .seconds(600))
            }
        }
    }

    private var patient: Patient { Patient(door: shared.door, time: shared.time, patience: Self.patience) }

    private func serve(_ order: ShellOrder, isRoom: Bool) async throws {
        var end = ShellOutput()
        end.shell = order.shell
        do {
            guard isRoom else { throw Problem("shell.full", status: 429, "this runner has too many terminals open") }
            let terminal = try await open(order)
            (end.offset, end.exit_code) = try await carry(order, terminal)
        } catch is CancellationError {
            throw CancellationError()
        } catch let error as ProcessError {
            end.problem = error.message
        } catch let problem as Problem {
            if problem.code == "shell.gone" { return }
            end.problem = problem.message
        } catch {
            end.problem = "the terminal broke: \(error)"
        }
        do {
            _ = try await patient.call(Shells.tell, end)
        } catch is CancellationError {
            throw CancellationError()
        } catch {
            // Nobody may sit there any more; a terminal that breaks must not end the runner.
            shared.logger.info("the end of a terminal could not be told", metadata: ["error": "\(error)"])
        }
    }

    // MARK: The program

    private func open(_ order: ShellOrder) async throws -> TerminalProcess {
        let folder = "\(shared.place.workspaces)/\(order.run)/\(order.stage).\(order.job)"
        let workspace = "\(folder)/workspace"
        let names = [order.run, order.stage, order.job]
        guard names.allSatisfy({ !$0.contains("/") && !$0.hasPrefix(".") }), Disk.isFolder(workspace) else {
            throw Problem(
                "shell.no-workspace", status: 404,
                "runner \"\(shared.settings.name)\" has not kept the workspace of \"\(order.stage)/\(order.job)\"")
        }
        var environment =
            StepMemory.environment(ofStep: order.step, in: folder) ?? shared.settings.environment
        (environment["VAGUS_WORKSPACE"], environment["PWD"], environment["TERM"]) = (workspace, workspace, order.term)
        environment["PS1"] = "[\(order.title)] \\W\\$ "
        var command = Command(
            executable: order.command.first ?? "bash", arguments: Array(order.command.dropFirst()),
            environment: environment, directory: workspace, dieWithParent: true)
        command.user = Self.owner(of: workspace)
        if !order.command.isEmpty { return try await start(command, order) }
        command.arguments = ["--noprofile", "--norc", "-i"]
        do throws(ProcessError) {
            return try await start(command, order)
        } catch {
            // Not every machine has a bash.
            guard error.code == .notFound else { throw error }
            (command.executable, command.arguments) = ("sh", ["-i"])
            return try await start(command, order)
        }
    }

    private func start(_ command: Command, _ order: ShellOrder) async throws(ProcessError) -> TerminalProcess {
        try await TerminalProcess.start(command, rows: order.rows, columns: order.columns)
    }

    /// Whoever the steps ran as; nil is we ourselves.
    private static func owner(of path: String) -> ProcessUser? {
        var status = stat()
        guard ProcessUser.canSwitch, stat(path, &status) == 0, status.st_uid != geteuid() else { return nil }
        let named = try? ProcessUser(named: "\(status.st_uid)")  // a number without a name will do
        return named ?? ProcessUser(id: status.st_uid, group: status.st_gid)
    }

    // MARK: The bytes

    private enum Way: Sendable { case output(Int64), input }

    /// Carries bytes both ways until the program has ended, or nobody sits at the terminal any more.
    ///
    /// - Returns: Where the output ends, and the exit code.
    private func carry(_ order: ShellOrder, _ terminal: TerminalProcess) async throws -> (Int64, Int) {
        do {
            let end = try await withThrowingTaskGroup(of: Way.self) { group in
                group.addTask { .output(try await output(order, terminal)) }
                group.addTask {
                    try await input(order, terminal)
                    return .input
                }
                defer { group.cancelAll() }
                var end: Int64 = 0
                while let way = try await group.next() {
                    if case .output(let offset) = way {
                        end = offset
                        break
                    }
                    // It was closed: what the program says at its end is still told.
                    await terminal.terminate(grace: RunnerLimits.stopGrace)
                }
                return end
            }
            await terminal.terminate(grace: .zero)
            switch try await terminal.wait() {
            case .exited(let code): return (end, Int(code))
            case .signalled(let number): return (end, 128 + Int(number))
            }
        } catch {
            await terminal.terminate(grace: .zero)
            throw error
        }
    }

    private func output(_ order: ShellOrder, _ terminal: TerminalProcess) async throws -> Int64 {
        var told = ShellOutput()
        told.shell = order.shell
        while let bytes = try await terminal.read() {
            told.bytes = Data(bytes).base64EncodedString()
            _ = try await patient.call(Shells.tell, told)
            told.offset += Int64(bytes.count)
        }
        return told.offset
    }

    private func input(_ order: ShellOrder, _ terminal: TerminalProcess) async throws {
        var place = ShellOffset(order.shell)
        while true {
            let keys = try await patient.call(Shells.take, place)
            if let rows = keys.rows, let columns = keys.columns { terminal.resize(rows: rows, columns: columns) }
            var bytes = Array(Data(base64Encoded: keys.bytes) ?? Data())[...]
            place.offset += Int64(bytes.count)
            while !bytes.isEmpty {
                let count = terminal.write(bytes)
                bytes = bytes.dropFirst(count)
                // The program does not read.
                if count == 0 { try await shared.time.sleep(for: .milliseconds(20)) }
            }
            if keys.closed { return }
        }
    }
}
