package import Manifests

/// What can be set of a server; from `--config FILE`, flags going before it.
package struct ServerConfig: Manifest {
    package var listen: String?
    package var url: String?
    package var private_forges = false
    package var xgboost_library: String?
    package var datasets: String?
    package var kubeconfig: String?
    package var run_capacity = 2
    package var log_megabytes = 1024
    package var log_level = LogLevel.info
    package var runner = RunnerConfig()
    package init() {}
    package enum LogLevel: String, WireEnum { case trace, debug, info, notice, warning, error }
    package static let fields: [Field<Self>] = [
        .optional("listen", \.listen, "HOST:PORT to listen on."),
        .optional(
            "url", \.url, "Where others reach it, for links and git: https://ci.example.com; absent: http://HOST:PORT."),
        .optional(
            "private_forges", \.private_forges,
            "Whether forges at private addresses may be asked; `vagus dev` always may."),
        .optional("xgboost_library", \.xgboost_library, "Path of libxgboost.so; absent: the usual places."),
        .optional("datasets", \.datasets, "Folder where relative dataset paths begin; absent: DATA/datasets."),
        .optional(
            "kubeconfig", \.kubeconfig,
            "Kubeconfig file whose contexts environments may name as targets; absent: $KUBECONFIG, else ~/.kube/config."
        ),
        .optional("run_capacity", \.run_capacity, "Jobs that the runner of `vagus dev` takes at once.", in: 1...64),
        .optional("log_megabytes", \.log_megabytes, "MiB of output kept of one job.", in: 1...1_048_576),
        .optional("log_level", \.log_level, "How much is logged."),
        .optional("runner", \.runner, "What the runner executes steps with."),
    ]
}
