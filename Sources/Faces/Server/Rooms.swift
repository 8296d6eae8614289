import API
import Blobs
import Client
import Datasets
import Delivery
import Executors
import Experiments
import Foundation
import Kernel
import Kubernetes
import Learners
import Logging
import Manifests
import Monitors
import Outbound
import Pipelines
import Runner
import Serving
import Telemetry
import Training
import Vault

/// Every domain, with what it is handed. A new room is one line here.
enum Rooms {
    static func all(
        context: DomainContext, folder: DataFolder, blobs: BlobStore, outbound: OutboundClient, options: ServerOptions,
        place: ServerPlace
    ) throws -> [any Domain] {
        let vault = VaultDomain(context: context, keyFile: folder.file("vault.key")) {
            guard let url = options.config.url ?? place.known else {
                throw Problem("starting", status: 503, "the server is still starting", hint: "Try again in a moment.")
            }
            return url
        }
        let processes = platform(context, folder, blobs, outbound)
        let containers = ContainerPlatform(
            socket: ExecutorChoice.socket(options.config.runner), folder: folder.file("containers"), time: context.time)
        let own = ProcessInfo.processInfo.environment
        let clusters = Clusters(
            kubeconfig: options.config.kubeconfig ?? KubernetesAccess.usualFile(own), folder: folder.file("clusters"),
            environment: own, time: context.time)
        let trials = folder.file("trials")
        ModelTrial.clear(trials)
        let trial = ModelTrial(
            blobs: blobs, executable: options.executable, xgboost: xgboost(options.config), folder: trials)
        let telemetry = try TelemetryDomain(
            context: context,
            settings: TelemetrySettings(
                folder: folder.file("telemetry"), version: vagusVersion, outbound: outbound,
                platforms: [processes, containers],
                outputs: { try await processes.outputs() + containers.outputs() + clusters.outputs() },
                secrets: vault.secrets, requests: folder.file("requests")))
        return [
            vault,
            telemetry,
            DatasetsDomain(context: context),
            TrainingDomain(context: context),
            ExperimentsDomain(
                context: context, blobs: blobs, folder: folder.file("experiments"),
                outside: RegistryOutside(
                    signer: vault.content, secrets: vault.secrets, outbound: forges(options),
                    trial: { try await trial.run($0, $1) })),
            ServingDomain(context: context),
            MonitorsDomain(
                context: context, blobs: blobs, settings: MonitorsSettings(predictions: folder.file("predictions"))),
            DeliveryDomain(
                context: context,
                platforms: Platforms(
                    processes: processes, containers: containers, clusters: { clusters.platform($0) }),
                settings: DeliverySettings(
                    serveCommand: [options.executable, "serve"]
                        + (xgboost(options.config).map { ["--xgboost-library", $0] } ?? []),
                    predictions: folder.file("predictions"), requests: folder.file("requests"),
                    outside: Measuring(own: telemetry.metrics, outbound: outbound), secrets: vault.secrets)),
            PipelinesDomain(
                context: context, blobs: blobs,
                settings: PipelinesSettings(
                    repositories: folder.file("repositories"), logs: folder.file("logs"),
                    logBytes: Int64(options.config.log_megabytes) << 20, environment: environment,
                    urls: RepositoryURLs { options.config.url ?? place.known },
                    outbound: forges(options), readSecret: { try await secret($0, $1, vault.secrets) }),
                outside: Outside(secrets: vault.secrets, tokens: vault.tokens, metrics: telemetry.metrics) {
                    question, deadline in
                    try await post(question, deadline, outbound)
                }),
        ]
    }

    /// The way to forges: their addresses are users' words, so only public ones, unless the operator says otherwise.
    private static func forges(_ options: ServerOptions) -> OutboundClient {
        let isOpen = !options.hasAuth || options.config.private_forges
        return OutboundClient(configuration: OutboundConfiguration(addressGuard: isOpen ? .any : .publicOnly))
    }

    /// A secret of forges and webhooks: from the vault, else the variable VAGUS_SECRET_NAME of the server's environment.
    private static func secret(
        _ project: String, _ name: String, _ vault: any SecretSource
    ) async throws -> String? {
        do {
            return try await vault.withSecret(SecretAsk(project: project, name: name, for: .server)) { $0.text }
        } catch let problem as Problem where problem.status == 404 {
            return ProcessInfo.processInfo.environment["VAGUS_SECRET_\(name.uppercased())"]
        }
    }

    private static func post(
        _ question: Outside.Question, _ deadline: Duration, _ outbound: OutboundClient
    ) async throws -> Outside.Reply {
        let request = HTTPRequest(
            "POST", url: question.url, headers: question.headers, body: .bytes(question.body))
        do {
            let response = try await outbound.send(request, deadline: deadline, limit: 1 << 20)
            return Outside.Reply(status: response.status, body: response.body)
        } catch {
            if error.code == .cancelled { throw CancellationError() }
            throw Problem("outbound.\(error.code.rawValue)", status: 502, error.message)
        }
    }

    /// The library as it is set or found here: children have another home and would not find it.
    private static func xgboost(_ config: ServerConfig) -> String? {
        config.xgboost_library
            ?? XGBoostLibrary.usualPlaces().first { FileManager.default.fileExists(atPath: $0) }
    }

    /// Copies of services as processes of this machine.
    private static func platform(
        _ context: DomainContext, _ folder: DataFolder, _ blobs: BlobStore, _ outbound: OutboundClient
    ) -> ProcessPlatform {
        ProcessPlatform(
            folder: folder.file("instances"), time: context.time,
            unpack: { text, place in
                guard let digest = Digest(text) else {
                    throw Problem(
                        "blob.digest", status: 422, "\"\(text)\" is not a digest", hint: "Deploy an artifact of a run.")
                }
                try await Tree.unpack(digest, from: blobs, to: place)
            },
            httpGet: { url, timeout in
                do { return try await outbound.send(HTTPRequest(url: url), deadline: timeout).status } catch {
                    return nil
                }
            })
    }

    /// All that a child process sees of this one's environment: where programs are, and how text is written.
    private static var environment: [String: String] {
        let own = ProcessInfo.processInfo.environment
        var given = ["PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8"]
        for name in ["PATH", "HOME", "LANG"] { if let value = own[name] { given[name] = value } }
        return given
    }

    /// Takes jobs until cancelled.
    static func runner(
        client: VagusClient, name: String, labels: [String], folder: DataFolder, config: ServerConfig,
        executable: String, life: RunnerLife = RunnerLife(), logger: Logger
    ) async throws {
        let place = folder.file("runner/\(name)")
        var settings = RunnerSettings(
            name: name, folder: place, capacity: config.run_capacity, labels: labels + config.runner.labels,
            datasets: config.datasets ?? folder.file("datasets"), vagus: executable, xgboost: xgboost(config),
            environment: environment, version: vagusVersion)
        settings.executors = try await ExecutorChoice.make(
            config.runner, runner: name, folder: place, root: folder.path)
        settings.environment["HOME"] = ExecutorChoice.home(config.runner) ?? settings.environment["HOME"]
        settings.cpu = config.runner.cpu?.cpus ?? ExecutorChoice.processors
        settings.memory = config.runner.memory?.bytes ?? ExecutorChoice.memory
        (settings.isOnce, settings.drainTimeout) = (life.isOnce, life.drainTimeout)
        try await RunnerAgent(client: client, settings: settings, logger: logger, drain: life.drain).run()
    }
}
