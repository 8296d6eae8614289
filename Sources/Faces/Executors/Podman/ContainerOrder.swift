import API
import Kernel
import Manifests
import Synchronization

/// What the engine is told to create, in the words of Docker's API (`POST /containers/create`).
struct ContainerOrder: Sendable {
    let order: ExecutionOrder
    let container: ContainerSpec
    let network: String?
    let processes: Int

    init(_ order: ExecutionOrder, _ container: ContainerSpec, network: String?, processes: Int) {
        (self.order, self.container, self.network, self.processes) = (order, container, network, processes)
    }

    func json(labels: JSONValue) -> JSONValue {
        var body: Ordered<JSONValue> = [
            "Image": .string(container.image), "Labels": labels, "HostConfig": .object(host), "Tty": .bool(false),
            "OpenStdin": .bool(false), "AttachStdin": .bool(false),
        ]
        var environment = container.env
        for (name, value) in order.environment.sorted(by: { $0.key < $1.key }) { environment[name] = value }
        body["Env"] = .array(environment.map { .string("\($0.key)=\($0.value)") })
        // A step says all of its command; a service's is what the image's entrypoint is given.
        if order.alias == nil, let program = order.command.first {
            body["Entrypoint"] = [.string(program)]
            body["Cmd"] = .array(order.command.dropFirst().map(JSONValue.string))
        } else if !order.command.isEmpty {
            body["Cmd"] = .array(order.command.map(JSONValue.string))
        }
        if !order.directory.isEmpty { body["WorkingDir"] = .string(order.directory) }
        if let user = container.user { body["User"] = .string(user) }
        if !order.ports.isEmpty {
            body["ExposedPorts"] = .object(Ordered(order.ports.map { ("\($0.inside)/tcp", JSONValue.object([:])) }))
        }
        if let network {
            let aliases = order.alias.map { JSONValue.array([.string($0)]) } ?? .array([])
            body["NetworkingConfig"] = ["EndpointsConfig": .object([network: ["Aliases": aliases]])]
        }
        return .object(body)
    }

    private var host: Ordered<JSONValue> {
        var host: Ordered<JSONValue> = [
            // A process 1 that hands signals on and takes zombies away.
            "Init": .bool(true), "PidsLimit": .integer(Int64(processes)), "SecurityOpt": ["no-new-privileges"],
            "Binds": .array(order.writable.map { .string("\($0):\($0):rw") }),
        ]
        if let memory = order.memory {
            (host["Memory"], host["MemorySwap"]) = (.integer(memory), .integer(memory))
        }
        if let cpus = order.cpus { host["NanoCpus"] = .integer(Int64(cpus * 1e9)) }
        if let network {
            host["NetworkMode"] = .string(network)
        } else if !order.network {
            host["NetworkMode"] = "none"
        }
        if container.read_only {
            host["ReadonlyRootfs"] = .bool(true)
            host["Tmpfs"] = ["/tmp": ""]
        }
        if !order.ports.isEmpty {
            host["PortBindings"] = .object(
                Ordered(
                    order.ports.map { port in
                        ("\(port.inside)/tcp", [["HostIp": "127.0.0.1", "HostPort": .string("\(port.outside)")]])
                    }))
        }
        return host
    }
}

/// Takes the frames of an attached stream apart: eight bytes of head (stream, three zeros, length as big-endian), then
/// the payload (Docker Engine API, "Attach to a container").
struct FrameSplitter: Sendable {
    private var head: [UInt8] = []
    private var left = 0

    /// Payload of the next bytes, both streams as they come.
    mutating func feed(_ bytes: [UInt8]) -> [UInt8] {
        var payload: [UInt8] = []
        payload.reserveCapacity(bytes.count)
        var rest = bytes[...]
        while !rest.isEmpty {
            if left > 0 {
                payload += rest.prefix(left)
                let taken = min(left, rest.count)
                left -= taken
                rest = rest.dropFirst(taken)
                continue
            }
            let missing = rest.prefix(8 - head.count)
            head += missing
            rest = rest.dropFirst(missing.count)
            guard head.count == 8 else { break }
            left = head[4...].reduce(0) { $0 << 8 | Int($1) }
            head = []
        }
        return payload
    }
}

/// The last words of an output.
final class Tail: Sendable {
    private let last = Mutex<[UInt8]>([])
    private let limit: Int

    /// - Parameter limit: Bytes that are kept.
    init(limit: Int = 400) { self.limit = limit }

    func add(_ bytes: [UInt8]) {
        last.withLock { last in
            last += bytes.suffix(limit)
            // Not with each word: what is kept may be megabytes.
            if last.count > 2 * limit { last.removeFirst(last.count - limit) }
        }
    }
    var bytes: [UInt8] { last.withLock { $0.suffix(limit) } }
    var text: String { String(decoding: bytes, as: UTF8.self) }
}
