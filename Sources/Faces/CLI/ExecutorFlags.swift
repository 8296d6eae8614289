import API
import ArgumentParser
import Manifests
import Server

/// What a runner executes steps with; `vagus runner` and `vagus dev` take the same flags.
struct ExecutorFlags: ParsableArguments {
    @Option(
        name: .customLong("executor"), parsing: .upToNextOption,
        help: "What steps may be executed with: process, sandbox, podman, slurm, ray. (default: what is found here)")
    var executors: [String] = []
    @Option(name: .customLong("label"), help: "A label that the runner offers; may be given again.")
    var labels: [String] = []
    @Option(help: "Processors for jobs, all together, like 4 or 500m. (default: the machine's)") var cpu: String?
    @Option(help: "Memory for jobs, all together, like 16Gi. (default: the machine's)") var memory: String?
    @Option(help: "User that processes and sandboxes run as; needs root.") var runAs: String?
    @Option(help: "A folder that sandboxes show read-only, beside the system's; may be given again.")
    var sandboxRead: [String] = []
    @Option(help: "Socket of Podman or Docker. (default: the usual places)") var podmanSocket: String?
    @Option(name: .customLong("slurm-url"), help: "Address of slurmrestd.") var slurmURL: String?
    @Option(help: "User whose Slurm jobs they are. (default: root)") var slurmUser: String?
    @Option(help: "File with that user's token; read anew each time.") var slurmTokenFile: String?
    @Option(name: .customLong("ray-url"), help: "Address of Ray's dashboard.") var rayURL: String?

    /// Flags go before the file of settings.
    func apply(to config: inout RunnerConfig) throws {
        if !executors.isEmpty { config.executors = try executors.map { try value($0, "executor") } }
        config.labels += labels
        if let cpu { config.cpu = try value(cpu, "cpu") }
        if let memory { config.memory = try value(memory, "memory") }
        if let runAs { config.run_as = runAs }
        config.sandbox_read += sandboxRead
        if let podmanSocket { config.podman_socket = podmanSocket }
        if let slurmURL { config.slurm_url = slurmURL }
        if let slurmUser { config.slurm_user = slurmUser }
        if let slurmTokenFile { config.slurm_token_file = slurmTokenFile }
        if let rayURL { config.ray_url = rayURL }
    }

    private func value<Value: WireValue>(_ text: String, _ flag: String) throws -> Value {
        do {
            return try Value(json: .string(text), at: [flag])
        } catch {
            throw ValidationError([error.message, error.hint].compactMap { $0 }.joined(separator: ". "))
        }
    }
}
