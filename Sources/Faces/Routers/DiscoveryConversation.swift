import Wire

/// What Envoy asks for over one stream, by the type URL of its resources (xDS v3).
enum ResourceKind: String, CaseIterable, Sendable {
    case clusters = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    case endpoints = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
    case listeners = "type.googleapis.com/envoy.config.listener.v3.Listener"
    case routes = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"

    /// Whoever names none wants them all.
    var hasWildcard: Bool { self == .clusters || self == .listeners }
}

/// All resources of a kind, encoded, under one version.
struct ResourceSet: Equatable, Sendable {
    var version: String
    var resources: [String: [UInt8]]
}

/// `envoy.service.discovery.v3.DiscoveryRequest`, as far as it is looked at.
struct DiscoveryRequest: Equatable, Sendable {
    var version = ""
    var node = ""
    var names: [String] = []
    var type = ""
    /// Of the response that is answered; empty in the first request for a kind on a stream.
    var nonce = ""
    /// Why that response was not taken (NACK).
    var complaint: String?

    init() {}

    /// - Throws: `WireError`.
    init(_ bytes: UnsafeBufferPointer<UInt8>) throws {
        var reader = ProtobufReader(bytes)
        while let tag = try reader.tag() {
            switch tag {
            case 0x0A: version = try reader.string()
            case 0x12:
                var inner = try reader.message()
                while let tag = try inner.tag() {
                    if tag == 0x0A { node = try inner.string() } else { try inner.skip(tag) }
                }
            case 0x1A: names.append(try reader.string())
            case 0x22: type = try reader.string()
            case 0x2A: nonce = try reader.string()
            case 0x32:
                var (inner, text) = (try reader.message(), "no reason was given")
                while let tag = try inner.tag() {
                    if tag == 0x12 { text = try inner.string() } else { try inner.skip(tag) }
                }
                complaint = text
            default: try reader.skip(tag)
            }
        }
    }
}

/// Resources on their way: `envoy.service.discovery.v3.DiscoveryResponse`.
struct DiscoveryResponse: Equatable, Sendable {
    var kind: ResourceKind
    var version: String
    var nonce: String
    /// Encoded; in the order of their names.
    var resources: [[UInt8]]

    var bytes: [UInt8] {
        ProtobufWriter.bytes { writer in
            writer.string(1, version)
            for resource in resources {
                writer.message(2) { any in
                    any.string(1, kind.rawValue)
                    any.data(2, resource)
                }
            }
            writer.string(4, kind.rawValue)
            writer.string(5, nonce)
        }
    }
}

/// One stream of the aggregated discovery service, state of the world: who was told what, and what was said to it.
///
/// Pure: what comes in is a request or another set of resources, what goes out is a response to send, or none. A request
/// that answers an older response than the last is passed over, as the protocol asks: the answer to the last is coming.
struct DiscoveryConversation: Sendable {
    /// What this side knows of a version on the other side.
    enum Standing: Equatable, Sendable {
        case waiting
        case accepted
        case rejected(String)
    }

    private struct Subscription: Sendable {
        var names: Set<String> = []
        var version = ""
        var nonce = ""
        /// Resources in the last response.
        var told: Set<String> = []
        var accepted = (version: "", told: Set<String>())
        var rejected: (version: String, complaint: String)?
    }

    private var subscriptions: [ResourceKind: Subscription] = [:]
    private var nonces = 0

    /// - Returns: What to answer; nil when there is nothing new to say.
    mutating func take(_ request: DiscoveryRequest, offering sets: [ResourceKind: ResourceSet]) -> DiscoveryResponse? {
        // What else an Envoy may want (secrets, runtimes) is not ours to give: it goes on without.
        guard let kind = ResourceKind(rawValue: request.type) else { return nil }
        let names = Set(request.names)
        guard var subscription = subscriptions[kind], !request.nonce.isEmpty else {
            subscriptions[kind] = Subscription(names: names)
            return respond(kind, sets[kind])
        }
        guard request.nonce == subscription.nonce else { return nil }
        if let complaint = request.complaint {
            subscription.rejected = (subscription.version, complaint)
        } else {
            subscription.accepted = (subscription.version, subscription.told)
            subscription.rejected = nil
        }
        let wantsMore = !names.isSubset(of: subscription.names)
        subscription.names = names
        subscriptions[kind] = subscription
        return wantsMore ? respond(kind, sets[kind]) : nil
    }

    /// Tells of another set; nil when it was not asked for or is told already.
    mutating func offer(_ kind: ResourceKind, _ set: ResourceSet) -> DiscoveryResponse? {
        guard let subscription = subscriptions[kind], subscription.version != set.version else { return nil }
        return respond(kind, set)
    }

    /// Whether a set is in force on the other side.
    func standing(_ kind: ResourceKind, _ set: ResourceSet) -> Standing {
        guard let subscription = subscriptions[kind] else {
            return set.resources.isEmpty && !kind.hasWildcard ? .accepted : .waiting
        }
        if let rejected = subscription.rejected, rejected.version == set.version {
            return .rejected(rejected.complaint)
        }
        let wanted = Set(set.resources.keys)
        // Endpoints of no cluster are asked for by nobody.
        if wanted.isEmpty, subscription.names.isEmpty, !kind.hasWildcard { return .accepted }
        let accepted = subscription.accepted
        return accepted.version == set.version && accepted.told == wanted ? .accepted : .waiting
    }

    private mutating func respond(_ kind: ResourceKind, _ set: ResourceSet?) -> DiscoveryResponse? {
        guard let set, var subscription = subscriptions[kind] else { return nil }
        let isWanted = { (name: String) in kind.hasWildcard || subscription.names.contains(name) }
        let resources = set.resources.filter { isWanted($0.key) }.sorted { $0.key < $1.key }
        guard kind.hasWildcard || !resources.isEmpty else {
            subscription.version = ""
            subscriptions[kind] = subscription
            return nil
        }
        nonces += 1
        (subscription.version, subscription.nonce) = (set.version, "\(nonces)")
        subscription.told = Set(resources.map(\.key))
        subscriptions[kind] = subscription
        return DiscoveryResponse(
            kind: kind, version: set.version, nonce: subscription.nonce, resources: resources.map(\.value))
    }
}
