import API
import Delivery
import Executors
import Foundation
import Kernel
import KernelTesting
import Kubernetes
import Manifests
import Outbound
import Routers
import Testing

/// A fake of the Kubernetes API, for as long as a test takes. No cluster is at hand where this project is built.
struct FakeCluster {
    let folder: TestFolder
    let image = "registry.test/lab/shop:1"

    var kubeconfig: String { "\(folder.path)/cluster/kubeconfig" }

    /// Whether the fake can be started here.
    static let isThere = program("python3") != nil && program("openssl") != nil
    static let comment = Comment("SKIPPED: the fake of the Kubernetes API needs python3 and openssl")

    static func run(_ arguments: [String] = [], _ body: (FakeCluster) async throws -> Void) async throws {
        let cluster = FakeCluster(folder: try TestFolder())
        let script = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "Clients/kubernetes_fake.py").path
        let folder = "\(cluster.folder.path)/cluster"
        try await RouterRig.with(
            program("python3"), ["-B", script, folder, "--image", cluster.image] + arguments,
            pidFile: "\(cluster.folder.path)/pid",
            isUp: { FileManager.default.fileExists(atPath: "\(folder)/ready") }
        ) { try await body(cluster) }
    }

    /// The gateway's port.
    func gateway() throws -> Int {
        let words = try String(contentsOfFile: "\(folder.path)/cluster/ready", encoding: .utf8).split {
            " \n".contains($0)
        }
        return try #require(words.last.flatMap { Int($0) })
    }

    func client(_ context: String = "lab") throws -> KubernetesClient {
        KubernetesClient(try KubernetesAccess.kubeconfig(kubeconfig, context: context))
    }

    func platform(_ name: String = "own", context: String = "lab") throws -> KubernetesPlatform {
        KubernetesPlatform(
            client: try client(context), namespace: "shop", owner: name, folder: "\(folder.path)/\(name)",
            time: SystemTime())
    }

    func order(_ number: Int = 1) -> InstanceOrder {
        var order = InstanceOrder(
            id: InstanceID("default/web/1/\(number)"), service: Reference(project: "default", name: "web"), revision: 1,
            command: ["/bin/sh", "-c", "exec sleep 1000"], environment: ["COLOUR": "blue"])
        order.container = container
        return order
    }

    var container: ContainerSpec {
        var container = ContainerSpec()
        container.image = image
        return container
    }

    /// Tells the fake what to do next, beside its API.
    func control(_ path: String, _ order: JSONValue) async throws {
        let access = try KubernetesAccess.kubeconfig(kubeconfig, context: "lab")
        let outbound = OutboundClient(configuration: OutboundConfiguration(tls: access.tls))
        let request = HTTPRequest("POST", url: access.server + path, body: .bytes(order.bytes))
        let answer = try await outbound.send(request, deadline: .seconds(10))
        await outbound.shutdown()
        #expect(answer.isSuccess, "\(answer.text)")
    }
}

@Suite(.enabled(if: FakeCluster.isThere, FakeCluster.comment), .serialized, .timeLimit(.minutes(5)))
struct KubernetesPlatformTests {
    @Test(arguments: PlatformCheck.all)
    func `pods keep the contract`(_ check: PlatformCheck) async throws {
        try await FakeCluster.run { cluster in
            let own = "\(cluster.folder.path)/own"
            try await check.run(
                on: PlatformSubject(
                    try cluster.platform(), next: try cluster.platform(), other: try cluster.platform("other"),
                    container: cluster.container, boundsMemory: access("/sys/fs/cgroup/memory", W_OK) == 0,
                    log: { id in
                        let place = "\(own)/\(id.text.split(separator: "/").joined(separator: "."))/output.log"
                        return FileManager.default.contents(atPath: place).map { String(decoding: $0, as: UTF8.self) }
                            ?? ""
                    }))
        }
    }

    @Test func `what is secret stands in a Secret, which goes with its pod`() async throws {
        try await FakeCluster.run { cluster in
            let (platform, client) = (try cluster.platform(context: "lab-cert"), try cluster.client())
            var order = cluster.order()
            order.command = [
                "/bin/sh", "-c", "test \"${TOKEN#*cr3t }\" = '$(PORT) $$' && test $COLOUR = blue && exec sleep 1000",
            ]
            (order.environment["TOKEN"], order.secrets) = ("s3cr3t $(PORT) $$", ["TOKEN"])
            var login = RegistryCredentials()
            (login.username, login.password) = ("ci", "pa55")
            order.container?.credentials = login
            order.cpus = 0.5
            order.memory = 64 << 20
            let made = try await platform.start(order)
            #expect(made.isRunning && made.port == 8080 && made.host.hasPrefix("127."))
            let pods = try await client.list("/api/v1/namespaces/shop/pods", labels: [("vagus/service", "web")])
            let pod = try #require(pods.first)
            #expect(!pod.text.contains("s3cr3t") && !pod.text.contains("pa55"))
            let container = try #require(pod["spec"]?["containers"]?[0])
            #expect(container["resources"]?["limits"] == ["cpu": "500m", "memory": "67108864"])
            #expect(pod["spec"]?["automountServiceAccountToken"] == false && pod["spec"]?["restartPolicy"] == "Never")
            let labels = [("app.kubernetes.io/managed-by", "vagus"), ("vagus/revision", "1")]
            let secrets = try await client.list("/api/v1/namespaces/shop/secrets", labels: labels)
            #expect(secrets.compactMap { $0["type"]?.string }.sorted() == ["Opaque", "kubernetes.io/dockerconfigjson"])
            #expect(secrets.allSatisfy { $0["metadata"]?["ownerReferences"]?[0]?["uid"] == pod["metadata"]?["uid"] })
            #expect(try await platform.instances().map(\.isRunning) == [true], "its variables were as they were given")
            try await platform.stop(order.id, grace: .seconds(1))
            #expect(try await client.list("/api/v1/namespaces/shop/secrets", labels: labels).isEmpty)
        }
    }

    @Test func `an image that cannot be fetched is the copy's reason, and leaves nothing`() async throws {
        try await FakeCluster.run { cluster in
            let platform = try cluster.platform()
            // A node that has tried and waits to try again says so.
            let cases = [
                ("registry.test/absent:1", ["ErrImagePull", "ImagePullBackOff"]),
                ("Not An Image", ["InvalidImageName"]),
            ]
            for (number, (image, reasons)) in cases.enumerated() {
                var order = cluster.order(number + 1)
                order.container?.image = image
                let wanted = order
                let problem = await #expect(throws: Problem.self) { try await platform.start(wanted) }
                #expect(problem?.status == 422)
                let message = try #require(problem?.message)
                #expect(reasons.contains { message.contains("could not be fetched (\($0))") }, "\(message)")
                #expect(problem?.hint?.contains("credentials") ?? false)
            }
            var order = cluster.order(cases.count + 1)
            order.container?.user = "app"
            let named = order
            let problem = await #expect(throws: Problem.self) { try await platform.start(named) }
            #expect(problem?.message.contains("knows users by their number") ?? false)
            // A pod takes its second to go.
            let (time, end) = (SystemTime(), SystemTime().now.advanced(by: .seconds(30)))
            while try await !platform.instances().isEmpty {
                try #require(time.now < end, "something is left")
                try await time.sleep(for: .milliseconds(50))
            }
        }
    }

    @Test func `a cluster that refuses, is not there or is not to be trusted is told with a hint`() async throws {
        try await FakeCluster.run { cluster in
            let cases = [
                ("lab-reader", "cluster.forbidden", "cannot patch resource", "Role"),
                ("lab-stranger", "cluster.unauthorized", "does not know us", "token"),
                ("lab-untrusted", "cluster.unreachable", "does not answer", "certificate-authority"),
                ("lab-nowhere", "cluster.unreachable", "does not answer", "kubectl"),
            ]
            for (context, code, message, hint) in cases {
                let platform = try cluster.platform(context: context)
                var order = cluster.order()
                order.secrets = ["COLOUR"]
                let wanted = order
                let problem = await #expect(throws: Problem.self) { try await platform.start(wanted) }
                #expect(
                    problem?.code == code && problem?.message.contains(message) ?? false,
                    "\(String(describing: problem))")
                #expect(problem?.hint?.contains(hint) ?? false, "\(context): \(problem?.hint ?? "no hint")")
            }
            let clusters = Clusters(
                kubeconfig: cluster.kubeconfig, folder: "\(cluster.folder.path)/clusters", environment: [:],
                time: SystemTime())
            let problem = await #expect(throws: Problem.self) {
                try await clusters.platform(ClusterTarget(context: "prod")).instances()
            }
            #expect(problem?.hint?.hasPrefix("It has: lab,") ?? false)
        }
    }

    @Test func `a busy cluster is asked again, and a list that grew too old is begun anew`() async throws {
        try await FakeCluster.run { cluster in
            let platform = try cluster.platform()
            for number in 1...3 { _ = try await platform.start(cluster.order(number)) }
            try await cluster.control("/fake/faults", ["status": 429, "count": 2, "headers": ["Retry-After": "0"]])
            #expect(try await platform.instances().count == 3)
            // Pages of one, and the second is gone when it is asked for: half a list is never told.
            try await cluster.control("/fake/pages", ["limit": 1])
            try await cluster.control("/fake/expire", ["count": 1])
            #expect(try await platform.instances().count == 3)
            try await cluster.control("/fake/faults", ["status": 503, "count": 40, "headers": ["Retry-After": "0"]])
            let problem = await #expect(throws: Problem.self) { try await platform.instances() }
            #expect(problem?.code == "cluster.busy")
            try await cluster.control("/fake/clear", [:])
            for number in 1...3 { try await platform.stop(cluster.order(number).id, grace: .zero) }
        }
    }
}

/// A Gateway of a cluster keeps the contract of routers, as far as a fake of the API and of its data plane can tell.
@Suite(.enabled(if: FakeCluster.isThere, FakeCluster.comment), .serialized, .timeLimit(.minutes(5)))
struct KubernetesRouterTests {
    private static func router(_ cluster: FakeCluster) throws -> GatewayRouter {
        GatewayRouter(
            try cluster.client(),
            GatewayRouter.Settings(namespace: "shop", gateway: ("infra", "public"), owner: "proxy", settle: .zero))
    }

    @Test(arguments: RouterCheck.all)
    func `the Gateway of a cluster keeps the contract`(_ check: RouterCheck) async throws {
        try await FakeCluster.run(["--gateway", "0"]) { cluster in
            try await RouterRig.run(check, try Self.router(cluster), port: try cluster.gateway())
        }
    }

    private static func table(_ weights: [Int], mirror: Double? = nil) -> RoutingTable {
        var route: Ordered<JSONValue> = [
            "service": "shop/web", "hosts": ["shop.test"], "path_prefix": "/shop", "strip_prefix": true,
            "retry": true, "timeout_ms": 5_000,
            "revisions": .array(
                weights.enumerated().map { index, weight in
                    [
                        "revision": .string("\(index + 1)"), "weight": .integer(Int64(weight)),
                        "endpoints": [
                            [
                                "host": .string("10.1.0.\(index)"), "port": 8080,
                                "instance": .string("shop/web/\(index)"),
                            ]
                        ],
                    ]
                }),
        ]
        if let mirror { route["mirror"] = ["revision": "2", "percent": .number(mirror)] }
        var table = RoutingTable()
        (table.version, table.routes) = (1, [.object(route)])
        return table
    }

    @Test func `weights and mirrors stand in the route, and a later life leaves nothing that is not named`()
        async throws
    {
        try await FakeCluster.run(["--gateway", "0"]) { cluster in
            let (router, client) = (try Self.router(cluster), try cluster.client())
            let labels = [("vagus/router", "proxy")]
            func all(_ path: String) async throws -> [JSONValue] {
                try await client.list(
                    "\(path)/namespaces/shop/\(path.contains("gateway") ? "httproutes" : "services")", labels: labels)
            }
            try await router.take(Self.table([90, 10], mirror: 2.5))
            let route = try #require(try await all("/apis/gateway.networking.k8s.io/v1").first)
            let rule = try #require(route["spec"]?["rules"]?[0])
            #expect(rule["backendRefs"]?.array?.map { $0["weight"]?.int } == [90, 10])
            #expect(route["spec"]?["hostnames"] == ["shop.test"])
            let filters = rule["filters"]?.array ?? []
            #expect(filters.map { $0["type"]?.string } == ["URLRewrite", "RequestMirror"])
            #expect(filters.last?["requestMirror"]?["fraction"] == ["numerator": 25000, "denominator": 1_000_000])
            let managers = route["metadata"]?["managedFields"]?.array?.map { $0["manager"]?.string }
            #expect(managers == ["vagus"])
            #expect(try await all("/api/v1").count == 2)
            // Another life knows nothing of what was before, and takes away what its table does not name.
            try await Self.router(cluster).take(Self.table([100]))
            #expect(try await all("/api/v1").count == 1)
            try await Self.router(cluster).take(RoutingTable())
            #expect(try await all("/apis/gateway.networking.k8s.io/v1").isEmpty)
            #expect(try await all("/api/v1").isEmpty)
        }
    }

    @Test func `weights that somebody has changed by hand are ours again with the next table`() async throws {
        try await FakeCluster.run(["--gateway", "0"]) { cluster in
            let (router, client) = (try Self.router(cluster), try cluster.client())
            try await router.take(Self.table([90, 10]))
            let path = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes"
            var route = try #require(try await client.list(path, labels: []).first?.object)
            let name = try #require(route["metadata"]?["name"]?.string)
            route["metadata"] = ["name": .string(name), "namespace": "shop"]
            route["status"] = nil
            route["spec"] = ["rules": [["backendRefs": [["name": "mine", "port": 80]]]]]
            let mine = JSONValue.object(route)
            // Who applies by another name, and does not insist, is told of the conflict.
            let access = try KubernetesAccess.kubeconfig(cluster.kubeconfig)
            let outbound = OutboundClient(configuration: OutboundConfiguration(tls: access.tls))
            func apply(force: Bool) async throws -> HTTPResponse {
                try await outbound.send(
                    HTTPRequest(
                        "PATCH", url: "\(access.server)\(path)/\(name)?fieldManager=ana&force=\(force)",
                        headers: [
                            ("Authorization", "Bearer lab-token"), ("Content-Type", "application/apply-patch+yaml"),
                        ],
                        body: .bytes(mine.bytes)), deadline: .seconds(10))
            }
            let refused = try await apply(force: false)
            #expect(refused.status == 409 && refused.text.contains("conflict with \\\"vagus\\\""))
            #expect(try await apply(force: true).status == 200)
            try await router.take(Self.table([0, 100]))
            let rules = try await client.get("\(path)/\(name)")?["spec"]?["rules"]
            #expect(rules?[0]?["backendRefs"]?.array?.map { $0["weight"]?.int } == [100])
            await outbound.shutdown()
        }
    }

    @Test func `a Gateway that is not there is told`() async throws {
        try await FakeCluster.run(["--gateway", "0"]) { cluster in
            let router = GatewayRouter(
                try cluster.client(),
                GatewayRouter.Settings(
                    namespace: "shop", gateway: ("infra", "absent"), owner: "proxy", settle: .zero),
                patience: .milliseconds(300))
            let problem = await #expect(throws: Problem.self) { try await router.take(Self.table([100])) }
            #expect(problem?.code == "router.unreachable" && problem?.message.contains("no controller") ?? false)
        }
    }
}
