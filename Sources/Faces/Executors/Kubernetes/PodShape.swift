import API
import Foundation
import Kernel
import Kubernetes
import Manifests

/// A copy of a service as a Pod (core/v1), and what is to be known of it from the Pod alone.
struct PodShape: Sendable {
    /// What tells the pods of this server from those of others, which may run in the same namespace.
    var owner: String
    var namespace: String

    /// Name of a pod's only container.
    static let container = "copy"
    private enum Mark {
        static let (manager, name) = ("app.kubernetes.io/managed-by", "app.kubernetes.io/name")
        static let owner = "vagus/owner"
        static let (project, service, revision) = ("vagus/project", "vagus/service", "vagus/revision")
        static let (id, started) = ("vagus/instance", "vagus/started")
    }
    /// Letters of the service in a pod's name.
    private static let nameLimit = 40

    // MARK: - Names

    /// The same for the same id at any time, and for no other: what makes a second start the first.
    func name(_ id: InstanceID) -> String {
        let parts = id.text.split(separator: "/").map(String.init)
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in "\(owner)\n\(id.text)".utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
        let words = [
            Self.label(parts.count > 1 ? parts[1] : "copy", limit: Self.nameLimit),
            "r\(parts.count > 2 ? parts[2] : "")",
            parts.count > 3 ? parts[3] : "", String(hash, radix: 36),
        ]
        return words.joined(separator: "-").lowercased().replacing("--", with: "-")
    }

    var pods: String { "/api/v1/namespaces/\(namespace)/pods" }
    func path(_ id: InstanceID) -> String { "\(pods)/\(name(id))" }
    func secret(_ id: InstanceID) -> String { "/api/v1/namespaces/\(namespace)/secrets/\(name(id))" }
    func login(_ id: InstanceID) -> String { secret(id) + "-login" }

    /// Labels by which our pods are found.
    var labels: [(String, String)] { [(Mark.manager, "vagus"), (Mark.owner, owner)] }

    /// A text as a label's value or a part of a name: letters, digits and dashes, not at its ends.
    private static func label(_ text: String, limit: Int = 63) -> String {
        let safe = text.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "-" }
        return String(safe).trimmingCharacters(in: ["-"]).prefix(limit).trimmingCharacters(in: ["-"])
    }

    // MARK: - From an order

    func metadata(_ id: InstanceID, _ service: Reference<ServiceKind>, _ revision: Int) -> Ordered<JSONValue> {
        var labels = Ordered(labels.map { ($0.0, JSONValue.string($0.1)) })
        labels[Mark.name] = .string(Self.label(service.name))
        labels[Mark.project] = .string(Self.label(service.project))
        labels[Mark.service] = .string(Self.label(service.name))
        labels[Mark.revision] = .string(Self.label("\(revision)".replacing("-", with: "a")))
        return ["name": .string(name(id)), "namespace": .string(namespace), "labels": .object(labels)]
    }

    func pod(_ order: InstanceOrder, _ container: ContainerSpec, at now: Timestamp) throws -> JSONValue {
        var metadata = metadata(order.id, order.service, order.revision)
        metadata["annotations"] = [
            Mark.id: .string(order.id.text), Mark.started: .string(String(now.microseconds)),
            "kubectl.kubernetes.io/default-container": .string(Self.container),
        ]
        var spec: Ordered<JSONValue> = [
            // One that has ended is replaced by another copy, as everywhere; and what it runs is none of the cluster's business.
            "restartPolicy": "Never", "automountServiceAccountToken": false, "enableServiceLinks": false,
            "containers": [try self.container(order, container)],
        ]
        if container.read_only { spec["volumes"] = [["name": "tmp", "emptyDir": [:]]] }
        if container.credentials != nil { spec["imagePullSecrets"] = [["name": .string(name(order.id) + "-login")]] }
        return [
            "apiVersion": "v1", "kind": "Pod", "metadata": .object(metadata), "spec": .object(spec),
        ]
    }

    private func container(_ order: InstanceOrder, _ container: ContainerSpec) throws -> JSONValue {
        let port = order.port ?? WorkloadSpec.containerPort
        let pull =
            switch container.pull {
            case .always: "Always";
            case .missing: "IfNotPresent";
            case .never: "Never"
            }
        var security: Ordered<JSONValue> = ["allowPrivilegeEscalation": false]
        if let user = container.user {
            guard let number = Int64(user) else {
                throw ExecutionFailure(
                    .invalid, "a cluster knows users by their number, not by a name such as \"\(user)\"",
                    hint: "Write the number that it has in the image: `user: \"1000\"`.")
            }
            security["runAsUser"] = .integer(number)
        }
        if container.read_only { security["readOnlyRootFilesystem"] = true }
        var told: Ordered<JSONValue> = [
            "name": .string(Self.container), "image": .string(container.image), "imagePullPolicy": .string(pull),
            "ports": [["name": "http", "containerPort": .integer(Int64(port)), "protocol": "TCP"]],
            "env": .array(environment(order, container, port: port)), "securityContext": .object(security),
        ]
        // The image's entrypoint is given it, as with containers on this machine.
        let words = order.command.map { word in
            word.replacing("${PORT}", with: String(port)).replacing("$PORT", with: String(port))
        }
        if !words.isEmpty { told["args"] = .array(words.map { .string(Self.plain($0)) }) }
        if container.read_only { told["volumeMounts"] = [["name": "tmp", "mountPath": "/tmp"]] }
        var limits: Ordered<JSONValue> = [:]
        if let cpus = order.cpus { limits["cpu"] = .string("\(Int64((cpus * 1000).rounded(.up)))m") }
        if let memory = order.memory { limits["memory"] = .string(String(memory)) }
        if !limits.isEmpty { told["resources"] = ["limits": .object(limits)] }
        return .object(told)
    }

    private func environment(_ order: InstanceOrder, _ container: ContainerSpec, port: Int) -> [JSONValue] {
        var variables = container.env
        for (name, value) in order.environment.sorted(by: { $0.key < $1.key }) { variables[name] = value }
        (variables["PORT"], variables["VAGUS_INSTANCE"]) = (String(port), order.id.text)
        let secret = JSONValue.string(name(order.id))
        var told: [JSONValue] = variables.map { name, value in
            guard order.secrets.contains(name) else {
                return ["name": .string(name), "value": .string(Self.plain(value))]
            }
            return ["name": .string(name), "valueFrom": ["secretKeyRef": ["name": secret, "key": .string(name)]]]
        }
        if variables["POD_IP"] == nil {
            told.append(["name": "POD_IP", "valueFrom": ["fieldRef": ["fieldPath": "status.podIP"]]])
        }
        return told
    }

    /// Kubernetes reads `$(NAME)` and `$$` in arguments and values; a doubled dollar is one that it leaves alone.
    private static func plain(_ text: String) -> String { text.replacing("$", with: "$$") }

    /// Secrets of a copy: its variables, and its registry's login. `pod` is its pod's uid, whose end is theirs.
    func secrets(_ order: InstanceOrder, pod: String?) -> [(path: String, object: JSONValue)] {
        var found: [(String, JSONValue)] = []
        func secret(_ name: String, _ type: String, _ values: Ordered<JSONValue>) -> JSONValue {
            var metadata = metadata(order.id, order.service, order.revision)
            metadata["name"] = .string(name)
            if let pod {
                metadata["ownerReferences"] = [
                    ["apiVersion": "v1", "kind": "Pod", "name": .string(self.name(order.id)), "uid": .string(pod)]
                ]
            }
            return [
                "apiVersion": "v1", "kind": "Secret", "metadata": .object(metadata), "type": .string(type),
                "data": .object(values),
            ]
        }
        func coded(_ text: String) -> JSONValue { .string(Data(text.utf8).base64EncodedString()) }
        let values = order.secrets.sorted().compactMap { name in order.environment[name].map { (name, coded($0)) } }
        if !values.isEmpty { found.append((self.secret(order.id), secret(name(order.id), "Opaque", Ordered(values)))) }
        if let login = order.container?.credentials, let image = order.container?.image {
            let first = image.split(separator: "/").first.map(String.init) ?? ""
            // A name without a dot or a port is one of Docker's own registry.
            let isHost = image.contains("/") && (first.contains(".") || first.contains(":") || first == "localhost")
            let auth = Data("\(login.username):\(login.password)".utf8).base64EncodedString()
            let config: JSONValue = [
                "auths": .object([
                    isHost ? first : "https://index.docker.io/v1/": [
                        "username": .string(login.username), "password": .string(login.password), "auth": .string(auth),
                    ]
                ])
            ]
            let name = name(order.id) + "-login"
            found.append(
                (
                    self.login(order.id),
                    secret(name, "kubernetes.io/dockerconfigjson", [".dockerconfigjson": coded(config.text)])
                ))
        }
        return found
    }
}

/// A Pod as it is looked at.
struct PodSight: Sendable {
    let pod: JSONValue

    var uid: String { pod["metadata"]?["uid"]?.string ?? "" }
    var isGoing: Bool { pod["metadata"]?["deletionTimestamp"]?.string != nil }
    private var phase: String { pod["status"]?["phase"]?.string ?? "Pending" }
    private var copy: JSONValue? {
        pod["status"]?["containerStatuses"]?.array?.first { $0["name"]?.string == PodShape.container }
    }
    private var waiting: JSONValue? { copy?["state"]?["waiting"] }

    /// It has ended by itself, or was ended by the cluster.
    var hasEnded: Bool { phase == "Succeeded" || phase == "Failed" }
    /// Its container runs, or has run.
    var hasBegun: Bool {
        hasEnded || ((copy?["state"]?["running"] ?? copy?["state"]?["terminated"]) != nil && address != nil)
    }
    private var address: String? { pod["status"]?["podIP"]?.string.flatMap { $0.isEmpty ? nil : $0 } }

    /// Why it will not begin until something else is changed; nil while it may.
    var obstacle: ExecutionFailure? {
        guard let reason = waiting?["reason"]?.string else { return nil }
        let told = waiting?["message"]?.string ?? ""
        let image = pod["spec"]?["containers"]?[0]?["image"]?.string ?? ""
        switch reason {
        case "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "RegistryUnavailable":
            return ExecutionFailure(
                .invalid, "the image \"\(image)\" could not be fetched (\(reason))\(told.isEmpty ? "" : ": \(told)")",
                hint: "Look at its name, and at `credentials` if its registry wants a login.")
        case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
            return ExecutionFailure(.invalid, "the container could not be made (\(reason)): \(told)")
        default: return nil
        }
    }

    /// What it waits for, in words.
    var delay: String {
        let conditions = pod["status"]?["conditions"]?.array ?? []
        let unscheduled = conditions.first {
            $0["type"]?.string == "PodScheduled" && $0["status"]?.string == "False"
        }
        if let message = unscheduled?["message"]?.string { return "no node takes it: \(message)" }
        return waiting?["reason"]?.string.map { "it waits: \($0)" } ?? "it is \(phase.lowercased())"
    }

    /// Nil when it is not as we write it.
    var instance: Instance? {
        let metadata = pod["metadata"]
        guard let id = metadata?["annotations"]?["vagus/instance"]?.string,
            let started = metadata?["annotations"]?["vagus/started"]?.string.flatMap({ Int64($0) }),
            let port = pod["spec"]?["containers"]?[0]?["ports"]?[0]?["containerPort"]?.int
        else { return nil }
        let parts = id.split(separator: "/").map(String.init)
        guard parts.count == 4, let revision = Int(parts[2]) else { return nil }
        return Instance(
            id: InstanceID(id), service: Reference(project: parts[0], name: parts[1]), revision: revision,
            host: address ?? "", port: port, startedAt: Timestamp(microseconds: started), isRunning: !hasEnded)
    }
}
