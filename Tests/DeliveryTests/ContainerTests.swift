import API
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Delivery

/// Workloads in containers, and secrets of copies, as far as this room has to do with them.
@Suite(.timeLimit(.minutes(2))) struct ContainerTests {
    private func service(_ workload: String, more: String = "") -> String {
        "kind: Service\nname: web\nworkload: \(workload)\n\(more)"
    }

    private func deploy(_ rig: Rig, _ key: String, image: String) async throws {
        var input = DeployInput()
        (input.name, input.key, input.image) = ("web", key, image)
        _ = try await rig.house.call(Services.deploy, input)
    }

    @Test func `copies of an image are ordered from the engine, with all that goes with it`() async throws {
        let rig = try await Rig.open()
        try await rig.house.apply(
            service(
                "{ container: { image: shop:1, user: app, read_only: true }, command: [--fast], port: 9000, replicas: 2, variables: { A: b }, resources: { cpu: 500m, memory: 64Mi } }"
            ))
        try await rig.settle()
        #expect(rig.platform.running().isEmpty)
        let copies = rig.containers.running(1)
        #expect(copies.count == 2)
        let order = try #require(copies.first.flatMap { rig.containers.order(of: $0.id) })
        #expect((order.container?.image, order.container?.user, order.container?.read_only) == ("shop:1", "app", true))
        #expect((order.command, order.port, order.cpus, order.memory) == (["--fast"], 9000, 0.5, 64 << 20))
        #expect(order.environment["A"] == "b" && order.environment["VAGUS_REVISION"] == "1")
        #expect(try await rig.status().revision(1)?.image == "shop:1")
        // One that ends is seen, and replaced.
        rig.containers.kill(copies[0].id)
        try await rig.pass(3)
        #expect(rig.containers.running(1).count == 2 && !rig.containers.running(1).map(\.id).contains(copies[0].id))
        _ = try await rig.house.call(Resources.delete, ResourceName(project: "default", kind: "services", name: "web"))
        try await rig.pass(8)
        #expect(rig.containers.running().isEmpty)
    }

    @Test func `from a command to an image each copy is with whom it belongs to`() async throws {
        let rig = try await Rig.open()
        try await rig.house.apply(service("{ command: [./web] }"))
        try await rig.settle()
        #expect(rig.platform.running(1).count == 1)
        try await rig.house.apply(service("{ image: \"shop:1\" }"))
        try await rig.pass(5)
        #expect(try await rig.status().stable_revision == 2)
        #expect(rig.containers.running(2).count == 1)
        try await rig.pass(40)
        #expect(rig.platform.running().isEmpty && rig.containers.running().count == 1)
    }

    @Test func `a deploy chooses the image, which stays until the service declares another`() async throws {
        let rig = try await Rig.open()
        try await rig.house.apply(service("{ image: \"shop:1\" }"))
        try await rig.settle()
        try await deploy(rig, "k1", image: "shop:2")
        try await rig.pass(5)
        #expect(try await rig.status().revision(2)?.image == "shop:2")
        try await rig.house.apply(service("{ image: \"shop:1\", variables: { A: b } }"))
        try await rig.pass(5)
        #expect(try await rig.status().revision(3)?.image == "shop:2", "another variable is no word about the image")
        try await rig.house.apply(service("{ image: \"shop:3\", variables: { A: b } }"))
        try await rig.pass(5)
        #expect(try await rig.status().revision(4)?.image == "shop:3")
    }

    @Test func `what a workload cannot be is refused`() async throws {
        let rig = try await Rig.open()
        for workload in ["{ image: a, model: b }", "{ image: a, container: b }", "{ replicas: 1 }"] {
            let problem = await problem { try await rig.house.apply(service(workload)) }
            #expect(problem?.message.contains("one of a command, a container and a model") ?? false, "\(workload)")
        }
        let open = await problem {
            try await rig.house.apply(
                service("{ container: { image: a, credentials: { username: u, password: plain } } }"))
        }
        #expect(open?.hint == "Write `password: ${{ secrets.NAME }}`.")
        try await rig.house.apply(service("{ command: [./web] }"))
        try await rig.settle()
        #expect(await problem { try await deploy(rig, "k", image: "shop:1") }?.code == "service.no-container")
    }

    @Test func `secrets come into a copy when it starts, and stand in no row`() async throws {
        let rig = try await Rig.open()
        rig.secrets.set("db", "s3cr3t-one")
        rig.secrets.set("registry", "s3cr3t-two")
        try await rig.house.apply(
            "kind: Environment\nname: production\n---\n"
                + service(
                    "{ container: { image: shop:1, credentials: { username: u, password: \"${{ secrets.registry }}\" } }, secrets: { DB_URL: \"vault:db\" } }",
                    more: "environment: production"))
        try await rig.settle()
        let order = try #require(rig.containers.running(1).first.flatMap { rig.containers.order(of: $0.id) })
        #expect(order.environment["DB_URL"] == "s3cr3t-one")
        #expect(order.container?.credentials?.password == "s3cr3t-two")
        #expect(
            rig.secrets.asked.allSatisfy { $0.use == .service(name: "web", environment: "production") }
                && rig.secrets.asked.count == 2)
        let texts = try await rig.house.store.read { try $0.workloadTexts() }
        #expect(!texts.joined().contains("s3cr3t"))
    }

    @Test func `a copy whose secret is not there is told, and tried again`() async throws {
        let rig = try await Rig.open()
        try await rig.house.apply(service("{ command: [./web], secrets: { DB_URL: db } }"))
        try await rig.settle()
        #expect(rig.platform.running().isEmpty)
        let message = try await rig.status().message
        #expect(message.contains("no secret \"db\""), "\(message)")
        rig.secrets.set("db", "x")
        try await rig.pass(30)
        #expect(try await rig.status().phase == .healthy)
    }
}
