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
    package var podman_socket: String?
    package var slurm_url: String?
    package var slurm_user = "root"
    package var slurm_token_file: String?
    package var ray_url: String?
    package init() {}
    package static let fields: [Field<Self>] = [
        .optional("executors", \.executors, "What steps may be executed with; absent: what is found here."),
        .optional("labels", \.labels, "Labels it offers."),
        .optional("cpu", \.cpu, "Processors for jobs, all together; absent: the machine's."),
        .optional("memory", \.memory, "Memory for jobs, all together; absent: the machine's."),
        .optional("run_as", \.run_as, "User that processes and sandboxes run as; absent: the runner's own."),
        .optional("sandbox_read", \.sandbox_read, "Folders that a sandbox shows read-only, beside the system's."),
        .optional(
            "podman_socket", \.podman_socket,
            "Socket of Podman or Docker, for jobs and services; absent: the usual places."),
        .optional("slurm_url", \.slurm_url, "Address of slurmrestd."),
        .optional("slurm_user", \.slurm_user, "User whose jobs they are."),
        .optional("slurm_token_file", \.slurm_token_file, "File with that user's token (scontrol token)."),
        .optional("ray_url", \.ray_url, "Address of Ray's dashboard, whose Jobs API is used."),
    ]
}

/// From settings, and from what is found on this machine, to executors.
enum ExecutorChoice {
    /// Where programs of the system lie.
    private static let programFolders = ["/usr/local/bin", "/usr/bin", "/bin"]

    static func make(
        _ config: RunnerConfig, runner: String, folder: String, root: String
    ) async throws -> [any Executor] {
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
        let choice = Choice(config: config, settings: settings, owner: "\(runner)@\(folder)")
        if let kinds = config.executors { return try kinds.map(choice.executor) }
        return try await choice.found()
    }

    /// The home of the user that steps run as, if that is another's and there.
    static func home(_ config: RunnerConfig) -> String? {
        guard let name = config.run_as, let user = try? ProcessUser(named: name) else { return nil }  // told before
        return FileManager.default.fileExists(atPath: user.home) ? user.home : "/tmp"
    }

    /// Sockets of container engines, in their usual places.
    static let sockets = ["/run/podman/podman.sock", "/run/docker.sock"]

    /// The socket of the container engine: as it is set, or found here.
    static func socket(_ config: RunnerConfig) -> String {
        config.podman_socket ?? sockets.first { FileManager.default.fileExists(atPath: $0) } ?? sockets[0]
    }

    /// The machine's processors.
    static var processors: Double { Double(max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))) }

    /// The machine's memory, in bytes.
    static var memory: Int64 { Int64(sysconf(Int32(_SC_PHYS_PAGES))) * Int64(sysconf(Int32(_SC_PAGESIZE))) }
}

private struct Choice {
    let config: RunnerConfig
    let settings: ProcessSettings
    /// What tells this runner's containers from those of others.
    let owner: String

    /// Where programs of the system lie.
    private static let programFolders = ["/usr/local/bin", "/usr/bin", "/bin"]

    private var bwrap: String? {
        Self.programFolders.map { "\($0)/bwrap" }.first { access($0, X_OK) == 0 }
    }

    /// Those that are set up, or found on this machine and answer.
    func found() async throws -> [any Executor] {
        var found: [any Executor] = [try executor(.process)]
        if bwrap != nil { found.append(try executor(.sandbox)) }
        if let socket = config.podman_socket {
            found.append(podman(socket))
        } else {
            for socket in ExecutorChoice.sockets where FileManager.default.fileExists(atPath: socket) {
                let executor = podman(socket)
                guard await executor.answers() else { continue }
                found.append(executor)
                break
            }
        }
        if config.slurm_url != nil { found.append(try executor(.slurm)) }
        if config.ray_url != nil { found.append(try executor(.ray)) }
        return found
    }

    private func podman(_ socket: String) -> PodmanExecutor { PodmanExecutor(socket: socket, owner: owner) }

    private static func unset(_ kind: ExecutorKind, _ flag: String) -> Problem {
        Problem(
            "runner.executor", status: 422, "the \(kind.rawValue) executor is not set up",
            hint: "Say where it is with \(flag).")
    }

    func executor(_ kind: ExecutorKind) throws -> any Executor {
        switch kind {
        case .process: return try ProcessExecutor(settings)
        case .sandbox:
            guard let bwrap else {
                throw Problem(
                    "runner.sandbox", status: 422, "there is no bwrap on this machine",
                    hint: "Install bubblewrap: apt-get install bubblewrap")
            }
            return try ProcessExecutor(settings, sandbox: Sandbox(program: bwrap, readable: config.sandbox_read))
        case .podman:
            let usual = ExecutorChoice.sockets.first { FileManager.default.fileExists(atPath: $0) }
            guard let socket = config.podman_socket ?? usual else { throw Self.unset(kind, "--podman-socket") }
            return podman(socket)
        case .slurm:
            guard let url = config.slurm_url, let token = config.slurm_token_file else {
                throw Self.unset(kind, "--slurm-url and --slurm-token-file")
            }
            return BatchExecutor.slurm(
                url: url, user: config.slurm_user, tokenFile: token, folder: "\(settings.folder)/slurm")
        case .ray:
            guard let url = config.ray_url else { throw Self.unset(kind, "--ray-url") }
            return BatchExecutor.ray(url: url, folder: "\(settings.folder)/ray")
        }
    }
}
