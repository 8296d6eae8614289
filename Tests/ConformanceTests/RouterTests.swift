import API
import Foundation
import Kernel
import KernelTesting
import Logging
import Manifests
import NIOCore
import NIOPosix
import Outbound
import Processes
import Proxy
import Routers
import Testing

extension RouterCheck: CustomTestStringConvertible {
    public var testDescription: String { name }
}

/// Every router keeps the contract of the port; HAProxy and nginx are Debian's (scripts/setup-routers), Envoy is pip's.
@Suite(.serialized, .timeLimit(.minutes(5))) struct RouterTests {
    @Test(arguments: RouterCheck.all)
    func `the proxy of our own keeps the contract`(_ check: RouterCheck) async throws {
        try await withProxy { proxy, port in try await RouterRig.run(check, BuiltInRouter(proxy), port: port) }
    }

    @Test(arguments: RouterCheck.all)
    func `a router that takes no table is found by each check`(_ check: RouterCheck) async throws {
        try await withProxy { proxy, port in
            await #expect(throws: ConformanceFailure.self) {
                try await RouterRig.run(check, DeafRouter(proxy: BuiltInRouter(proxy)), port: port)
            }
        }
    }

    /// Says that it has taken what it has not looked at.
    private struct DeafRouter: TrafficRouter {
        let proxy: BuiltInRouter
        var traits: RouterTraits { proxy.traits }
        func take(_ table: RoutingTable) async throws {}
        func counts() async throws -> RouterCounts { try await proxy.counts() }
    }

    private func withProxy(_ body: @escaping @Sendable (ProxyServer, Int) async throws -> Void) async throws {
        let proxy = ProxyServer(logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        try await withThrowingTaskGroup(of: Void.self) { group in
            let (ports, ready) = AsyncStream.makeStream(of: Int.self)
            group.addTask {
                defer { ready.finish() }
                try await proxy.run(listen: ("127.0.0.1", 0)) { port in _ = ready.yield(port) }
            }
            let port = try #require(await ports.first { _ in true })
            defer { group.cancelAll() }
            try await body(proxy, port)
        }
    }

    @Test(.enabled(if: program("haproxy") != nil, "scripts/setup-routers installs HAProxy"), arguments: RouterCheck.all)
    func `HAProxy keeps the contract`(_ check: RouterCheck) async throws {
        let folder = try TestFolder()
        let port = try LocalPort.free()
        let settings = HAProxyRouter.Settings(
            folder: folder.path, bind: "127.0.0.1:\(port)", socket: "\(folder.path)/socket",
            pidFile: "\(folder.path)/pid")
        let main = """
            global
              nbthread 1
              stats socket \(settings.socket) mode 600 level admin
            defaults
              timeout client 1m

            """
        try Data(main.utf8).write(to: URL(filePath: "\(folder.path)/main.cfg"))
        let router = try HAProxyRouter(settings)
        try await RouterRig.with(
            program("haproxy"), ["-W", "-db", "-f", "\(folder.path)/main.cfg", "-f", "\(folder.path)/vagus.cfg"],
            pidFile: settings.pidFile, isUp: { access(settings.socket, F_OK) == 0 && LocalPort.isOpen(port) }
        ) { try await RouterRig.run(check, router, port: port) }
    }

    @Test(.enabled(if: program("nginx") != nil, "scripts/setup-routers installs nginx"), arguments: RouterCheck.all)
    func `nginx keeps the contract`(_ check: RouterCheck) async throws {
        let folder = try TestFolder()
        let port = try LocalPort.free()
        let main = "\(folder.path)/main.conf"
        let settings = NginxRouter.Settings(
            folder: folder.path, bind: "127.0.0.1:\(port)", pidFile: "\(folder.path)/own.pid",
            check: [program("nginx") ?? "", "-t", "-q", "-c", main])
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map { "\($0)_temp_path \(folder.path)/\($0);" }.joined(separator: " ")
        let text = """
            daemon off; worker_processes 1; pid \(folder.path)/pid; error_log \(folder.path)/errors;
            events {}
            http { access_log off; \(temporary) include \(folder.path)/vagus.conf; }

            """
        try Data(text.utf8).write(to: URL(filePath: main))
        let router = try NginxRouter(settings)
        try await RouterRig.with(
            program("nginx"), ["-c", main], pidFile: settings.pidFile, isUp: { LocalPort.isOpen(port) }
        ) { try await RouterRig.run(check, router, port: port) }
    }

    @Test(.enabled(if: program("envoy") != nil, "scripts/setup-routers installs Envoy"), arguments: RouterCheck.all)
    func `Envoy keeps the contract`(_ check: RouterCheck) async throws {
        let rig = try await EnvoyRig()
        try await rig.withEnvoy { try await RouterRig.run(check, rig.router, port: rig.port) }
    }

    @Test(.enabled(if: program("envoy") != nil, "scripts/setup-routers installs Envoy"))
    func `Envoy says within 100 ms that another split is in force`() async throws {
        let rig = try await EnvoyRig()
        try await rig.withEnvoy {
            try await rig.router.take(rig.table([100, 0]))
            var times: [Duration] = []
            for round in 1...21 {
                let began = ContinuousClock.now
                try await rig.router.take(rig.table([100 - round, round]))
                times.append(ContinuousClock.now - began)
            }
            // The middle one: the machine may be busy with something else now and then.
            #expect(times.sorted()[10] <= .milliseconds(100), "\(times)")
        }
    }

    @Test(.enabled(if: program("envoy") != nil, "scripts/setup-routers installs Envoy"))
    func `what Envoy refuses is told in its words, and the table before stays`() async throws {
        let rig = try await EnvoyRig()
        try await rig.withEnvoy {
            try await rig.router.take(rig.table([100, 0]))
            // Envoy adds weights up in 32 bits.
            let refused = rig.table([4_000_000_000, 4_000_000_000])
            await #expect {
                try await rig.router.take(refused)
            } throws: { error in
                guard let problem = error as? Problem else { return false }
                return problem.code == "router.rejected" && problem.message.contains("sum of weights")
            }
            #expect(try await rig.clusterWeights() == [100])
            try await rig.router.take(rig.table([30, 70]))
            #expect(try await rig.clusterWeights() == [30, 70])
        }
    }

    @Test(.enabled(if: program("envoy") != nil, "scripts/setup-routers installs Envoy"))
    func `an Envoy that starts anew begins with the newest table, also with one that nobody was there for`()
        async throws
    {
        let rig = try await EnvoyRig()
        try await rig.withEnvoy { try await rig.router.take(rig.table([100, 0])) }
        await #expect {
            try await rig.router.take(rig.table([20, 80]))
        } throws: { ($0 as? Problem)?.message.hasPrefix("no Envoy is connected") ?? false }
        try await rig.withEnvoy {
            try await rig.router.take(rig.table([20, 80]))
            #expect(try await rig.clusterWeights() == [20, 80])
        }
    }
}

/// A real Envoy, and who steers it.
private struct EnvoyRig {
    let router: EnvoyRouter
    let port: Int
    private let admin: Int
    private let folder: TestFolder

    init() async throws {
        folder = try TestFolder()
        (port, admin) = (try LocalPort.free(), try LocalPort.free())
        var settings = EnvoyRouter.Settings(
            listen: ("127.0.0.1", 0), bind: ("127.0.0.1", port), admin: ("127.0.0.1", admin))
        (settings.folder, settings.token) = (folder.path, "a token")
        router = try await EnvoyRouter(settings)
    }

    func withEnvoy(_ body: () async throws -> Void) async throws {
        try await RouterRig.with(
            program("envoy"),
            ["-c", "\(folder.path)/bootstrap.json", "--concurrency", "1", "--base-id", "\(port)", "-l", "error"],
            pidFile: "\(folder.path)/pid", isUp: { LocalPort.isOpen(port) && LocalPort.isOpen(admin) }, body)
    }

    func table(_ weights: [Int]) -> RoutingTable {
        let revisions = weights.enumerated().map { index, weight -> JSONValue in
            [
                "revision": .string("\(index + 1)"), "weight": .integer(Int64(weight)),
                "endpoints": [["host": "127.0.0.1", "port": .integer(Int64(9 + index)), "instance": .string("i\(index)")]],
            ]
        }
        var table = RoutingTable()
        table.routes = [
            [
                "service": "t/web", "hosts": [], "strip_prefix": true, "revisions": .array(revisions), "retry": false,
                "timeout_ms": 5_000,
            ]
        ]
        return table
    }

    /// Weights of the routes in force, as Envoy's admin page shows them.
    func clusterWeights() async throws -> [Int] {
        let client = OutboundClient()
        let url = "http://127.0.0.1:\(admin)/config_dump?resource=dynamic_route_configs"
        let text = try await client.send(HTTPRequest(url: url), deadline: .seconds(10)).text
        await client.shutdown()
        return text.matches(of: /"weight": ([0-9]+)/).compactMap { Int($0.1) }
    }
}

extension LocalPort {
    static func isOpen(_ port: Int) -> Bool { isOpen(port, timeout: .milliseconds(200)) }
}

/// Servers behind a router and a client in front of it.
enum RouterRig {
    static func run(_ check: RouterCheck, _ router: any TrafficRouter, port: Int) async throws {
        let servers = try await ["alpha", "beta", "gamma"].asyncMap { name in (name, try await backend(name)) }
        let client = OutboundClient()
        let subject = RouterSubject(
            router: router, backends: servers.map { RouterBackend(name: $0.0, port: $0.1.localAddress?.port ?? 0) }
        ) { ask in
            var headers = ask.headers + [("Host", ask.host)]
            if ask.closes { headers.append(("Connection", "close")) }
            let request = HTTPRequest(url: "http://127.0.0.1:\(port)\(ask.path)", headers: headers)
            let answer = try await client.send(request, deadline: .seconds(10))
            return RouterAnswer(status: answer.status, body: answer.text)
        }
        defer { for (_, channel) in servers { channel.close(promise: nil) } }
        do {
            try await check.run(on: subject)
        } catch {
            await client.shutdown()
            throw error
        }
        await client.shutdown()
    }

    /// Runs a program for as long as `body` takes.
    static func with(
        _ program: String?, _ arguments: [String], pidFile: String, isUp: () -> Bool, _ body: () async throws -> Void
    ) async throws {
        let log = "\(pidFile).log"
        let process = try await Processes.start(
            Command(
                executable: program ?? "", arguments: arguments, environment: ["PATH": "/usr/sbin:/usr/bin:/bin"],
                directory: "/", output: .file(log), dieWithParent: true))
        try Data("\(process.identity.pid)\n".utf8).write(to: URL(filePath: pidFile))
        do {
            let time = SystemTime()
            let end = time.now.advanced(by: .seconds(20))
            while !isUp() {
                guard time.now < end else {
                    throw Problem(
                        "test.start", status: 500,
                        "it does not start: \((try? String(contentsOfFile: log, encoding: .utf8)) ?? "")")
                }
                try await time.sleep(for: .milliseconds(20))
            }
            try await body()
        } catch {
            _ = await process.terminate(grace: .seconds(2))
            throw error
        }
        _ = await process.terminate(grace: .seconds(2))
    }

    /// A server that answers each request with its name and the path.
    private static func backend(_ name: String) async throws -> any Channel {
        try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Named(name))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
    }

    private final class Named: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer
        private let name: String
        private var head = ""

        init(_ name: String) { self.name = name }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            head += String(buffer: unwrapInboundIn(data))
            while let end = head.range(of: "\r\n\r\n") {
                let target = head.split(separator: " ").dropFirst().first ?? ""
                head = String(head[end.upperBound...])
                let body = "\(name) \(target)"
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
                context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: answer)), promise: nil)
            }
        }
    }
}

extension Array {
    fileprivate func asyncMap<Result>(_ transform: (Element) async throws -> Result) async throws -> [Result] {
        var results: [Result] = []
        for element in self { results.append(try await transform(element)) }
        return results
    }
}
