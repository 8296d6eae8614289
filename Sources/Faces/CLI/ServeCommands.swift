import API
import ArgumentParser
import Client
import Foundation
import Kernel
import Kubernetes
import Logging
import Manifests
import Outbound
import Routers
import Server

/// HOST:PORT as people write it.
struct Address: ExpressibleByArgument {
    var host: String
    var port: Int

    init?(argument: String) {
        guard let colon = argument.lastIndex(of: ":"), let port = Int(argument[argument.index(after: colon)...]),
            (0...65535).contains(port)
        else { return nil }
        host = String(argument[..<colon]).trimmingCharacters(in: CharacterSet(charactersIn: "[]"))
        if host.isEmpty { host = "0.0.0.0" }
        self.port = port
    }

    var isLoopback: Bool { host == "localhost" || host == "::1" || host.hasPrefix("127.") }
}

/// What every long-running command takes.
struct ServerFlags: ParsableArguments {
    @Option(help: "Folder that holds everything.")
    var data = "./vagus-data"
    @Option(help: "File of settings; flags go before it.")
    var config: String?
    @Option(help: "trace, debug, info, notice, warning or error.")
    var logLevel: String?

    func read() throws -> ServerConfig {
        guard let config else { return ServerConfig() }
        guard let text = try? String(contentsOfFile: config, encoding: .utf8) else {  // told just below
            throw Problem(
                "config.unreadable", status: 500, "could not read the file \"\(config)\"",
                hint: "Check its path and permissions.")
        }
        return try ServerConfig(yaml: text, file: config)
    }

    func logger(_ config: ServerConfig) throws -> Logger {
        let name = logLevel ?? config.log_level.rawValue
        guard let level = Logger.Level(rawValue: name) else {
            throw ValidationError("\"\(name)\" is not a log level. Use trace, debug, info, notice, warning or error.")
        }
        return Logger(label: "vagus") { LineLogHandler(label: $0, level: level) }
    }
}

/// This program's own path, for the processes it starts.
func executablePath() -> String {
    (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]  // only without /proc
}

/// Where clusters are.
struct ClusterFlags: ParsableArguments {
    @Option(
        help:
            "Kubeconfig file whose contexts environments may name as targets. (default: $KUBECONFIG, else ~/.kube/config)"
    )
    var kubeconfig: String?

    func apply(to config: inout ServerConfig) { if let kubeconfig { config.kubeconfig = kubeconfig } }
}

struct DevCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dev", abstract: "Server, runner and proxy in one process, on loopback, without tokens.",
        discussion:
            "Example:\n  vagus dev --data ./data --listen 127.0.0.1:8420 --proxy-listen 127.0.0.1:8480\n\nA port of 0 takes any free one and tells it."
    )
    @OptionGroup var flags: ServerFlags
    @Option(help: "Where the API and the web UI listen.") var listen = Address(argument: "127.0.0.1:8420")
    @Option(help: "Where services are reached.") var proxyListen = Address(argument: "127.0.0.1:8480")
    @Option(help: "A port of its own for MLflow's API, at its root, beside /mlflow of the first.")
    var mlflowListen: Address?
    @OptionGroup var clusters: ClusterFlags
    @OptionGroup(title: "Runner") var executors: ExecutorFlags

    func run() async throws {
        guard let listen, let proxyListen, listen.isLoopback, proxyListen.isLoopback, mlflowListen?.isLoopback ?? true
        else {
            throw ValidationError("vagus dev asks for no tokens, so it listens on loopback only. Use: vagus server")
        }
        var config = try flags.read()
        try executors.apply(to: &config.runner)
        clusters.apply(to: &config)
        var options = ServerOptions(data: flags.data, executable: executablePath()) { Terminal.line($0) }
        (options.host, options.port, options.hasAuth) = (listen.host, listen.port, false)
        options.proxy = (proxyListen.host, proxyListen.port)
        options.mlflow = mlflowListen.map { ($0.host, $0.port) }
        options.config = config
        try await House(options, logger: try flags.logger(config)).run()
    }
}

struct ServerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "server", abstract: "The server alone, asking for tokens.",
        discussion:
            "Example:\n  vagus server --data /var/lib/vagus --listen 0.0.0.0:8420\n\nThe first start prints a token that works once: vagus token redeem NAME --token …"
    )
    @OptionGroup var flags: ServerFlags
    @Option(help: "Where the API and the web UI listen. (default: 127.0.0.1:8420)") var listen: Address?
    @Option(help: "A port of its own for MLflow's API, at its root, beside /mlflow of the first.")
    var mlflowListen: Address?
    @OptionGroup var clusters: ClusterFlags

    func run() async throws {
        var config = try flags.read()
        clusters.apply(to: &config)
        guard let address = listen ?? Address(argument: config.listen ?? "127.0.0.1:8420") else {
            throw ValidationError("\"\(config.listen ?? "")\" is not HOST:PORT.")
        }
        var options = ServerOptions(data: flags.data, executable: executablePath()) { Terminal.line($0) }
        (options.host, options.port) = (address.host, address.port)
        options.mlflow = mlflowListen.map { ($0.host, $0.port) }
        options.config = config
        try await House(options, logger: try flags.logger(config)).run()
    }
}

/// Where an agent finds its server.
struct AgentFlags: ParsableArguments {
    @Option(help: "Server to work for; also VAGUS_SERVER.") var server: String?
    @Option(help: "Token with the permission \"agent\"; also VAGUS_TOKEN.") var token: String?
    @Option(help: "Name of this agent, kept over restarts. (default: the host's name)") var name: String?

    var serverURL: String { server ?? ProcessInfo.processInfo.environment["VAGUS_SERVER"] ?? "http://127.0.0.1:8420" }
    var secret: String? { token ?? ProcessInfo.processInfo.environment["VAGUS_TOKEN"] }
    var agentName: String {
        let words = (name ?? ProcessInfo.processInfo.hostName).lowercased().map {
            $0.isLetter || $0.isNumber ? $0 : "-"
        }
        return String(String(words).prefix(60))
    }
}

/// Which router carries the traffic, when it is not our own.
struct RouterFlags: ParsableArguments {
    @Option(
        help: "haproxy, nginx, envoy or kubernetes: it carries the traffic, and we tell it how. (default: vagus itself)"
    )
    var router: String?
    @Option(help: "Folder for the files that it reads; Envoy needs none, and finds its bootstrap.json there.")
    var routerFolder: String?
    @Option(help: "File with its process id (haproxy: the master's).") var routerPid: String?
    @Option(help: "HAProxy's runtime socket, level admin.") var routerSocket: String?
    @Option(help: "Where Envoy connects to, to be told by gRPC (xDS).")
    var routerListen = Address(argument: "127.0.0.1:18000")
    @Option(help: "What Envoy has to show there; needed beyond loopback.") var routerToken: String?
    @Option(help: "Envoy's admin page.") var routerAdmin = Address(argument: "127.0.0.1:9901")
    @Option(help: "Kubernetes: NAMESPACE/NAME of the Gateway that the routes belong to.") var routerGateway: String?
    @Option(help: "Kubernetes: context of the kubeconfig, or in_cluster. (default: the current one)")
    var routerContext: String?
    @Option(help: "Kubernetes: namespace of our routes. (default: the context's)") var routerNamespace: String?

    func router(
        listen: Address, name: String, kubeconfig: String?, environment: [String: String]
    ) async throws -> (any TrafficRouter)? {
        guard let router else { return nil }
        guard let kind = RouterKind(rawValue: router) else {
            throw ValidationError("--router takes haproxy, nginx, envoy or kubernetes.")
        }
        if kind == .kubernetes { return try gateway(name, kubeconfig, environment) }
        let bind = "\(listen.host):\(listen.port)"
        switch kind {
        case .haproxy:
            guard let routerFolder, let routerPid, let routerSocket else {
                throw ValidationError("--router haproxy needs --router-folder, --router-pid and --router-socket.")
            }
            return try HAProxyRouter(
                HAProxyRouter.Settings(folder: routerFolder, bind: bind, socket: routerSocket, pidFile: routerPid))
        case .nginx:
            guard let routerFolder, let routerPid else {
                throw ValidationError("--router nginx needs --router-folder and --router-pid.")
            }
            return try NginxRouter(NginxRouter.Settings(folder: routerFolder, bind: bind, pidFile: routerPid))
        case .envoy:
            guard let routerAdmin else { throw ValidationError("--router-admin takes HOST:PORT.") }
            guard let routerListen else { throw ValidationError("--router-listen takes HOST:PORT.") }
            var settings = EnvoyRouter.Settings(
                listen: (routerListen.host, routerListen.port), bind: (listen.host, listen.port),
                admin: (routerAdmin.host, routerAdmin.port))
            (settings.token, settings.folder) = (routerToken, routerFolder)
            return try await EnvoyRouter(settings)
        case .kubernetes: return nil  // made above: it has no folder
        }
    }

    private func gateway(
        _ name: String, _ kubeconfig: String?, _ environment: [String: String]
    ) throws -> any TrafficRouter {
        let words = (routerGateway ?? "").split(separator: "/").map(String.init)
        guard words.count == 2 else {
            throw ValidationError("--router kubernetes needs --router-gateway NAMESPACE/NAME.")
        }
        do throws(KubernetesError) {
            let access =
                routerContext == KubernetesAccess.inCluster
                ? try KubernetesAccess.inCluster(environment: environment)
                : try KubernetesAccess.kubeconfig(
                    kubeconfig ?? KubernetesAccess.usualFile(environment), context: routerContext)
            return GatewayRouter(
                KubernetesClient(access),
                GatewayRouter.Settings(
                    namespace: routerNamespace ?? access.namespace, gateway: (words[0], words[1]), owner: name))
        } catch {
            throw Problem(
                "cluster.\(error.code.rawValue)", status: error.status, error.message, hint: error.hint)
        }
    }
}

struct RunnerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "runner", abstract: "Takes jobs from a server and runs them here.",
        discussion:
            "Example:\n  vagus runner --server https://vagus.example.com --token vg_… --data /var/lib/vagus-runner")
    @OptionGroup var flags: ServerFlags
    @OptionGroup var agent: AgentFlags
    @Option(help: "Jobs at once.") var capacity = 2
    @Option(help: "Labels it offers, by commas; --label takes them one by one.") var labels = ""
    @OptionGroup(title: "Runner") var executors: ExecutorFlags
    @Option(help: "Folder where relative dataset paths begin. (default: DATA/datasets)") var datasets: String?
    @Flag(help: "Takes one job, and ends with it.") var once = false
    @Option(help: "After SIGTERM, how long jobs may go on before they are given back; a second SIGTERM ends at once.")
    var drainTimeout = "10m"

    func run() async throws {
        var config = try flags.read()
        var life = RunnerLife()
        life.isOnce = once
        life.drainTimeout = try TimeSpan(json: .string(drainTimeout), at: ["drain-timeout"]).duration
        config.run_capacity = capacity
        try executors.apply(to: &config.runner)
        if let datasets { config.datasets = datasets }
        let outbound = OutboundClient()
        let client = VagusClient(server: agent.serverURL, token: agent.secret, outbound: outbound)
        try await Agents.runner(
            client: client, name: agent.agentName, data: flags.data,
            labels: labels.split(separator: ",").map(String.init),
            config: config, executable: executablePath(), life: life, logger: try flags.logger(config))
    }
}

struct ProxyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "proxy", abstract: "Carries the traffic of all services; needs the server for news only.",
        discussion:
            "Example:\n  vagus proxy --server http://127.0.0.1:8420 --token vg_… --listen 0.0.0.0:8480 --data /var/lib/vagus-proxy"
    )
    @OptionGroup var flags: ServerFlags
    @OptionGroup var agent: AgentFlags
    @Option(help: "Where services are reached.") var listen = Address(argument: "127.0.0.1:8480")
    @OptionGroup(title: "Another router") var router: RouterFlags
    @Option(help: "Kubernetes: kubeconfig file. (default: $KUBECONFIG, else ~/.kube/config)") var kubeconfig: String?
    @Option(help: "Threads that carry traffic. (default: one a core, at most 8)") var workers: Int?
    @Option(
        help:
            "PEM file of the certificate and those that lead to its root; with it the proxy speaks TLS. May be repeated: a client is met with the one for the host it asks for, else with the first."
    )
    var tlsCertificate: [String] = []
    @Option(
        help: "PEM file of the certificate's key, one for each. Renewed files are taken up within a second.")
    var tlsKey: [String] = []

    func run() async throws {
        guard let listen else { throw ValidationError("--listen takes HOST:PORT.") }
        guard (1...64).contains(workers ?? 1) else { throw ValidationError("--workers takes 1 to 64.") }
        guard tlsCertificate.count == tlsKey.count else {
            throw ValidationError("--tls-certificate and --tls-key go together, one of each for every certificate.")
        }
        let config = try flags.read()
        let outbound = OutboundClient()
        let client = VagusClient(server: agent.serverURL, token: agent.secret, outbound: outbound)
        var settings = ProxyAgent.Settings(
            name: agent.agentName, host: listen.host, port: listen.port, folder: flags.data)
        settings.workers = workers
        settings.certificates = zip(tlsCertificate, tlsKey).map { (chain: $0, key: $1) }
        settings.router = try await router.router(
            listen: listen, name: agent.agentName, kubeconfig: kubeconfig,
            environment: ProcessInfo.processInfo.environment)
        let scheme = tlsKey.isEmpty ? "http" : "https"
        try await Agents.proxy(client: client, settings: settings, logger: try flags.logger(config)) {
            Terminal.line("services are reached at \(scheme)://\(listen.host):\($0)")
        }
    }
}
