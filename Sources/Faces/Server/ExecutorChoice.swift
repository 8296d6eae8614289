package import API
import Executors
import Foundation
import Kernel
package import Manifests
import Outbound
import Processes

/// What a runner executes steps with, and how much of its machine it gives to them.
package struct RunnerConfig: Manifest {
    package var executors: [ExecutorKind]?
    package var labels: [String] = []
    package var cpu: CPUAmount?
    package var memory: ByteSize?
    package var run_as: String?
    package var sandbox_read: [String] = []
    package init() {}
    package static let fields: [Field<Self>] = [
        .optional("executors", \.executors, "What steps may be executed with; absent: what is found here."),
        .optional("labels", \.labels, "Labels it offers."),
        .optional("cpu", \.cpu, "Processors for jobs, all together; absent: the machine's."),
        .optional("memory", \.memory, "Memory for jobs, all together; absent: the machine's."),
        .optional("run_as", \.run_as, "User that processes and sandboxes run as; absent: the runner's own."),
        .optional("sandbox_read", \.sandbox_read, "Folders that a sandbox shows read-only, beside the system's."),
    ]
}

/// From settings, and from what is found on this machine, to executors.
enum ExecutorChoice {
    /// Where programs of the system lie.
    private static let programFolders = ["/usr/local/bin", "/usr/bin", "/bin"]

    static func make(_ config: RunnerConfig, runner: String, folder: String, root: String) throws -> [any Executor] {
        var settings = ProcessSettings(folder: folder, root: root)
        settings.user = config.run_as
        if let user = config.run_as {
            guard ProcessUser.canSwitch else {
                throw Problem(
                    "runner.user", status: 422, "only root may run steps as \"\(user)\"",
                    hint: "Start the runner as root, or without --run-as.")
            }
            do { _ = try ProcessUser(named: user) } catch {
                throw Problem("runner.user", status: 422, error.message, hint: error.hint)
            }
        }
        return try (config.executors ?? found(config)).map { kind in
            try executor(kind, config, settings, runner: runner)
        }
    }

    private static func program(_ name: String) -> String? {
        programFolders.map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
    }

    private static func found(_ config: RunnerConfig) -> [ExecutorKind] {
        var kinds: [ExecutorKind] = [.process]
        if program("bwrap") != nil { kinds.append(.sandbox) }
        return kinds
    }

    private static func executor(
        _ kind: ExecutorKind, _ config: RunnerConfig, _ settings: ProcessSettings, runner: String
    ) throws -> any Executor {
        switch kind {
        case .process: return try ProcessExecutor(settings)
        case .sandbox:
            guard let bwrap = program("bwrap") else {
                throw Problem(
                    "runner.sandbox", status: 422, "there is no bwrap on this machine",
                    hint: "Install bubblewrap: apt-get install bubblewrap")
            }
            return try ProcessExecutor(settings, sandbox: Sandbox(program: bwrap, readable: config.sandbox_read))
        default:
            throw Problem(
                "runner.executor", status: 422, "the \(kind.rawValue) executor is not set up",
                hint: "Look at: vagus runner --help")
        }
    }

    /// The machine's processors.
    static var processors: Double { Double(max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))) }

    /// The machine's memory, in bytes.
    static var memory: Int64 { Int64(sysconf(Int32(_SC_PHYS_PAGES))) * Int64(sysconf(Int32(_SC_PAGESIZE))) }
}
