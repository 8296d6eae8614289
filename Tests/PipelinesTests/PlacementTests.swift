import API
import Kernel
import Manifests
import Testing

@testable import Pipelines

@Suite struct PlacementTests {
    private static let small = Placement.Offer(
        labels: ["linux"], executors: [.process, .sandbox], cpu: 2, memory: 4 << 30)
    private static let large = Placement.Offer(
        labels: ["linux", "gpu"], executors: [.process, .podman], cpu: 16, memory: 64 << 30)
    private static let silent = Placement.Offer(labels: [], executors: [.process])

    private static func taken(_ offer: Placement.Offer, cpu: Double = 0, memory: Int64 = 0) -> Placement.Offer {
        var offer = offer
        (offer.takenCPU, offer.takenMemory) = (cpu, memory)
        return offer
    }

    static let reasons: [(Placement.Demand, [Placement.Offer], String)] = [
        (.init(), [], "waits for a runner: none is connected"),
        (.init(), [small], "waits for a runner"),
        (.init(labels: ["windows"]), [small, large], "no runner has the label windows"),
        (.init(labels: ["gpu", "arm64"]), [small, large], "no runner has the labels gpu, arm64"),
        (.init(executors: [.podman]), [small, silent], "no runner offers executor podman"),
        (
            .init(labels: ["gpu"], executors: [.sandbox]), [small, large],
            "no runner with the label gpu offers executor sandbox"
        ),
        (.init(executors: [.sandbox, .podman]), [small, large], "no runner offers executor sandbox and podman"),
        (.init(cpu: 8), [small], "needs 8 cpu, the largest runner has 2"),
        (.init(cpu: 2.5), [small], "needs 2500m cpu, the largest runner has 2"),
        (.init(cpu: 32), [small, large], "needs 32 cpu, the largest runner has 16"),
        (.init(memory: 128 << 30), [small, large], "needs 128Gi of memory, the largest runner has 64Gi"),
        (.init(cpu: 8), [small, silent], "waits for a runner"),
        (
            .init(cpu: 8), [small, taken(large, cpu: 10)],
            "waits for a runner: what it needs of cpu or memory is taken by other jobs"
        ),
        (
            .init(cpu: 8, memory: 8 << 30),
            [
                .init(executors: [.process], cpu: 8, memory: 1 << 30),
                .init(executors: [.process], cpu: 1, memory: 8 << 30),
            ], "no single runner has both the cpu and the memory it needs"
        ),
    ]

    @Test(arguments: reasons)
    func `a job that waits says for what`(_ demand: Placement.Demand, _ offers: [Placement.Offer], _ reason: String) {
        #expect(Placement.reason(demand, offers) == reason)
    }

    @Test(arguments: [
        (Placement.Demand(), taken(small, cpu: 2, memory: 4 << 30), true),
        (Placement.Demand(cpu: 1), taken(small, cpu: 1), true),
        (Placement.Demand(cpu: 1.5), taken(small, cpu: 1), false),
        (Placement.Demand(memory: 1 << 30), taken(small, memory: 3 << 30), true),
        (Placement.Demand(memory: 2 << 30), taken(small, memory: 3 << 30), false),
        (Placement.Demand(cpu: 99, memory: 1 << 50), silent, true),
        (Placement.Demand(executors: [.podman]), small, false),
        (Placement.Demand(labels: ["gpu"]), small, false),
    ])
    func `a runner takes what it has room for`(_ demand: Placement.Demand, _ offer: Placement.Offer, _ has: Bool) {
        #expect(offer.hasRoom(for: demand) == has)
    }

    @Test(arguments: [("2", 2.0), ("0.5", 0.5), ("\"500m\"", 0.5), ("\"1\"", 1.0)])
    func `processors are written whole, in parts or in thousandths`(text: String, cpus: Double) throws {
        #expect(try CPUAmount(json: JSONParser.parse(text), at: ["cpu"]).cpus == cpus)
    }

    @Test(arguments: ["0", "-1", "\"2 cores\"", "true", "\"m\"", "1e9"])
    func `what is no number of processors is refused`(text: String) {
        #expect(throws: ManifestError.self) { try CPUAmount(json: JSONParser.parse(text), at: ["cpu"]) }
    }

    private func job(_ yaml: String) throws -> JobSpec {
        try JobSpec(json: JSONParser.parse(yaml), at: [])
    }

    @Test func `a container means podman, and nothing said means a process`() throws {
        let plain = ExecutionSpec(of: try job(#"{"steps": [{"run": "true"}]}"#))
        #expect(plain.executor == .process && plain.network && plain.executors == [.process])
        let contained = ExecutionSpec(of: try job(#"{"container": "swift:6.3", "steps": [{"run": "true"}]}"#))
        #expect(contained.executor == .podman && contained.container?.image == "swift:6.3")
        let shut = ExecutionSpec(of: try job(#"{"runs_on": {"executor": "sandbox"}, "steps": [{"run": "true"}]}"#))
        #expect(!shut.network)
        let served = try job(#"{"services": {"db": {"image": "postgres:17"}}, "steps": [{"run": "true"}]}"#)
        #expect(ExecutionSpec(of: served).executors == [.process, .podman])
    }

    @Test(arguments: [
        (#"{"runs_on": {"executor": "podman"}, "steps": [{"run": "x"}]}"#, "podman needs a container"),
        (
            #"{"runs_on": {"executor": "slurm"}, "container": "a", "steps": [{"run": "x"}]}"#,
            "the slurm executor has no containers"
        ),
        (
            #"{"runs_on": {"network": false}, "steps": [{"run": "x"}]}"#,
            "the process executor cannot take the network away"
        ),
        (
            #"{"runs_on": {"executor": "ray"}, "services": {"db": {"command": ["x"]}}, "steps": [{"run": "x"}]}"#,
            "the ray executor has no services"
        ),
        (
            #"{"runs_on": {"executor": "sandbox"}, "services": {"db": {"command": ["x"]}}, "steps": [{"run": "x"}]}"#,
            "a sandbox without network does not reach its services"
        ),
        (
            #"{"services": {"db": {}}, "steps": [{"run": "x"}]}"#,
            "a service of a job has neither an image nor a command"
        ),
        (
            #"{"services": {"db": {"image": "a", "health": {"tcp": true}}}, "steps": [{"run": "x"}]}"#,
            "its health check needs a port"
        ),
        (#"{"services": {"db": {"image": "a", "ports": [0]}}, "steps": [{"run": "x"}]}"#, "0 is not a port"),
    ])
    func `what cannot be executed so is refused when it is declared`(text: String, message: String) throws {
        let error = #expect(throws: ManifestError.self) { try job(text) }
        #expect(error?.message == message)
    }
}
