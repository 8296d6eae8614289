import API
import Kernel
import Manifests
import Testing

@testable import Executors

@Suite struct WireTests {
    // MARK: Frames

    private func frame(_ stream: UInt8, _ text: String) -> [UInt8] {
        let payload = Array(text.utf8)
        return [stream, 0, 0, 0, 0, 0, UInt8(payload.count >> 8), UInt8(payload.count & 0xFF)] + payload
    }

    @Test(arguments: [1, 2, 3, 7, 8, 9, 1000])
    func `frames are taken apart wherever they are cut`(size: Int) {
        let bytes = frame(1, "one\n") + frame(2, "two") + frame(1, "") + frame(1, String(repeating: "x", count: 300))
        var splitter = FrameSplitter()
        var payload: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: size) {
            payload += splitter.feed(Array(bytes[start..<min(start + size, bytes.count)]))
        }
        #expect(String(decoding: payload, as: UTF8.self) == "one\ntwo" + String(repeating: "x", count: 300))
    }

    // MARK: Containers

    private func order(_ command: [String]) -> ExecutionOrder {
        ExecutionOrder(
            id: "r/s/j/e1/0/1", job: "r/s/j", command: command, environment: ["B": "2", "A": "1"], directory: "/w",
            writable: ["/w"])
    }

    private func container(_ edit: (inout ContainerSpec) -> Void = { _ in }) -> ContainerSpec {
        var spec = ContainerSpec()
        spec.image = "busybox:1"
        edit(&spec)
        return spec
    }

    @Test func `a container is told its bounds, its folders and its variables`() throws {
        var order = order(["sh", "-c", "true"])
        (order.cpus, order.memory, order.network) = (0.5, 1 << 20, false)
        let spec = container { $0.env = ["A": "image", "C": "3"] }
        let json = ContainerOrder(order, spec, network: nil, processes: 9).json(labels: [:])
        #expect(json["Entrypoint"]?.array == ["sh"] && json["Cmd"]?.array == ["-c", "true"])
        #expect(json["Env"]?.array == ["A=1", "C=3", "B=2"])
        let host = try #require(json["HostConfig"])
        #expect(host["Memory"]?.int == 1 << 20 && host["MemorySwap"]?.int == 1 << 20)
        #expect(host["NanoCpus"]?.int == 500_000_000 && host["PidsLimit"]?.int == 9)
        #expect(host["NetworkMode"]?.string == "none" && host["Binds"]?.array == ["/w:/w:rw"])
        #expect(host["Init"]?.bool == true && host["SecurityOpt"]?.array == ["no-new-privileges"])
    }

    @Test func `a service keeps the entrypoint of its image and is reached by its name and its ports`() throws {
        var order = order(["--flag"])
        (order.alias, order.ports) = ("db", [ExecutionPort(inside: 5432, outside: 40000)])
        (order.directory, order.writable) = ("", [])
        let json = ContainerOrder(order, container(), network: "net", processes: 9).json(labels: [:])
        #expect(json["Entrypoint"] == nil && json["Cmd"]?.array == ["--flag"] && json["WorkingDir"] == nil)
        #expect(json["HostConfig"]?["NetworkMode"]?.string == "net")
        let binding = json["HostConfig"]?["PortBindings"]?["5432/tcp"]?.array?.first
        #expect(binding?["HostIp"]?.string == "127.0.0.1" && binding?["HostPort"]?.string == "40000")
        let endpoint = json["NetworkingConfig"]?["EndpointsConfig"]?["net"]
        #expect(endpoint?["Aliases"]?.array == ["db"])
    }

    @Test func `names that go outside hold nothing that a shell or a path would take for more`() {
        #expect(ExecutionName.safe("run_1/build/unit.2/e1/0/1") == "vagus.run_1.build.unit.2.e1.0.1")
        #expect(ExecutionName.safe("../a b;c") == "vagus....a.b.c")
    }

    // MARK: Clusters

    @Test func `words for a shell stand for themselves`() {
        #expect(BatchScript.quoted("it's $HOME") == #"'it'\''s $HOME'"#)
        let text = BatchScript(order(["echo", "a'b"]), folder: "/f", grace: .milliseconds(1500)).text
        #expect(text.contains(#"env -i 'A=1' 'B=2' 'VAGUS_EXECUTION_ID=r/s/j/e1/0/1' 'echo' 'a'\''b'"#))
        #expect(text.contains("sleep 1.5"))
    }

    static let slurm: [(String, Int, BatchState)] = [
        ("PENDING", 0, .waiting), ("RUNNING", 0, .running), ("COMPLETING", 0, .running),
        ("COMPLETED", 0, .ended(.init(.exited(0)))), ("FAILED", 1280, .ended(.init(.exited(5)))),
        ("FAILED", 9, .ended(.init(.signalled(9)))),
        ("OUT_OF_MEMORY", 0, .ended(.init(.outOfMemory, detail: "used more than its memory, as Slurm tells"))),
        ("TIMEOUT", 0, .ended(.init(.lost, detail: "ran into the time limit of Slurm"))),
        ("CANCELLED", 0, .ended(.init(.lost, detail: "was ended by Slurm: cancelled"))),
        ("NODE_FAIL", 0, .ended(.init(.lost, detail: "was ended by Slurm: node_fail"))),
    ]

    @Test(arguments: slurm)
    func `Slurm's words are understood`(_ word: String, _ code: Int, _ state: BatchState) {
        #expect(SlurmSystem.state(word, code: code, reason: "None") == state)
    }

    static let ray: [(String, Int?, BatchState)] = [
        ("PENDING", nil, .waiting), ("RUNNING", nil, .running), ("SUCCEEDED", 0, .ended(.init(.exited(0)))),
        ("FAILED", 4, .ended(.init(.exited(4)))), ("FAILED", -9, .ended(.init(.signalled(9)))),
        ("STOPPED", nil, .ended(.init(.lost, detail: "was stopped in Ray"))),
        ("FAILED", nil, .ended(.init(.lost, detail: "was lost by Ray: why"))),
    ]

    @Test(arguments: ray)
    func `Ray's words are understood`(_ word: String, _ code: Int?, _ state: BatchState) {
        #expect(RaySystem.state(word, code: code, message: "why") == state)
    }
}
