import API
import Kernel
import KernelTesting
import Manifests
import SQL
import Testing

@testable import Delivery

/// Environments whose containers run in a cluster, as far as this room has to do with them.
@Suite(.timeLimit(.minutes(2))) struct ClusterTests {
    private func manifests(_ targets: String, workload: String = "{ image: \"shop:1\", replicas: 2 }") -> String {
        """
        kind: Environment
        name: production
        targets: \(targets)
        ---
        kind: Service
        name: web
        environment: production
        workload: \(workload)
        rollback: { scale_down_delay: 1s }
        """
    }

    private static let lab = "[{ kubernetes: lab, namespace: shop }]"

    @Test func `containers run in the cluster of their environment, and are looked after there`() async throws {
        let rig = try await Rig.open()
        rig.secrets.set("db", "s3cr3t")
        let workload = "{ image: \"shop:1\", replicas: 2, secrets: { DB_URL: db } }"
        try await rig.house.apply(manifests(Self.lab, workload: workload))
        try await rig.settle()
        #expect(rig.platform.running().isEmpty && rig.containers.running().isEmpty)
        let copies = rig.cluster.running(1)
        #expect(copies.count == 2)
        let order = try #require(copies.first.flatMap { rig.cluster.order(of: $0.id) })
        #expect(order.secrets == ["DB_URL"] && order.environment["DB_URL"] == "s3cr3t")
        let forms = try await rig.house.store.read { try CopyRow.clusters(in: $0) }
        #expect(forms == [.cluster(ClusterTarget(context: "lab", namespace: "shop"))])
        rig.cluster.kill(copies[0].id)
        try await rig.pass(6)
        #expect(rig.cluster.running(1).count == 2 && !rig.cluster.running(1).map(\.id).contains(copies[0].id))
        _ = try await rig.house.call(Resources.delete, ResourceName(project: "default", kind: "services", name: "web"))
        try await rig.pass(8)
        #expect(rig.cluster.running().isEmpty)
    }

    @Test func `a copy whose service is deleted while it starts is stopped`() async throws {
        let rig = try await Rig.open()
        rig.cluster.meanwhile {
            let name = ResourceName(project: "default", kind: "services", name: "web")
            _ = try await rig.house.call(Resources.delete, name)
            rig.time.advance(by: CopyBook.drain)
            try await rig.turn(rig.domain.stopLoop)
        }
        try await rig.house.apply(manifests(Self.lab, workload: "{ image: \"shop:1\", replicas: 1 }"))
        try await rig.settle()
        #expect(rig.cluster.running().isEmpty && rig.cluster.stops.count == 1)
    }

    @Test func `a copy that a cluster may have begun all the same is stopped before it is forgotten`() async throws {
        let rig = try await Rig.open()
        try await rig.house.apply(manifests(Self.lab, workload: "{ image: \"shop:1\", replicas: 1 }"))
        rig.cluster.failStarts(ofRevision: 1, with: Problem("cluster.unreachable", status: 503, "no answer"))
        try await rig.turn(rig.domain.rolloutLoop)
        try await rig.turn(rig.domain.startLoop(ofClusters: true))
        #expect(try await rig.house.store.read { try CopyRow.all(in: $0).map(\.state) } == [.stopping])
        rig.time.advance(by: CopyBook.drain)
        try await rig.turn(rig.domain.stopLoop)
        #expect(try await rig.house.store.read { try CopyRow.all(in: $0).isEmpty })
    }

    @Test func `a copy that a cluster has refused is forgotten at once`() async throws {
        let rig = try await Rig.open()
        try await rig.house.apply(manifests(Self.lab, workload: "{ image: \"shop:1\", replicas: 1 }"))
        rig.cluster.failStarts(ofRevision: 1, with: Problem("cluster.forbidden", status: 403, "no right"))
        try await rig.turn(rig.domain.rolloutLoop)
        try await rig.turn(rig.domain.startLoop(ofClusters: true))
        #expect(try await rig.house.store.read { try CopyRow.all(in: $0).isEmpty })
    }

    @Test func `a service that moves into a cluster is rolled out there, and leaves nothing here`() async throws {
        let rig = try await Rig.open()
        try await rig.house.apply(manifests("[]"))
        try await rig.settle()
        #expect(rig.containers.running(1).count == 2)
        try await rig.house.apply(manifests(Self.lab))
        try await rig.pass(5)
        #expect(try await rig.status().stable_revision == 2)
        #expect(rig.cluster.running(2).count == 2)
        try await rig.pass(20)
        #expect(rig.containers.running().isEmpty)
    }

    @Test func `programs stay on this machine`() async throws {
        let rig = try await Rig.open()
        try await rig.house.apply(manifests(Self.lab, workload: "{ command: [./web] }"))
        try await rig.settle()
        #expect(rig.platform.running(1).count == 1 && rig.cluster.running().isEmpty)
    }

    @Test func `a service in two clusters is refused`() async throws {
        let rig = try await Rig.open()
        let problem = await problem {
            try await rig.house.apply(manifests("[{ kubernetes: eu }, { kubernetes: us }]"))
        }
        #expect(problem?.code == "service.targets" && problem?.location?.contains("environment") ?? false)
    }

    @Test(arguments: [
        CopyRow.Form.process, .container, .cluster(ClusterTarget(context: "lab", namespace: "shop")),
        .cluster(ClusterTarget(context: "arn:aws:eks:eu-1:1:cluster/my cluster")),
    ])
    func `where a copy runs is written and read`(form: CopyRow.Form) {
        #expect(CopyRow.Form(sqlValue: form.sqlValue) == form)
    }
}
