package import API
package import Kernel
package import Kubernetes
import Manifests
import Proxy

/// A Gateway of a Kubernetes cluster (Gateway API v1), whoever implements it: Envoy Gateway, Istio, Cilium, nginx, Traefik.
///
/// We keep the routes of one table: HTTPRoutes with weights, and Services with EndpointSlices of the copies that are well, so
/// that what a proxy of ours would do is done by the one that stands there. A route counts as in force when its Gateway's
/// controller says that it has accepted this very generation. How many requests went where a Gateway tells its own metrics only.
package actor GatewayRouter: TrafficRouter {
    package struct Settings: Sendable {
        /// Where our objects go.
        package var namespace: String
        /// The Gateway whose listeners lead to our routes.
        package var gateway: (namespace: String, name: String)
        /// Tells our objects from those of another vagus in the same namespace.
        package var owner: String
        /// What a data plane may need after its controller has spoken.
        package var settle: Duration

        package init(
            namespace: String, gateway: (namespace: String, name: String), owner: String,
            settle: Duration = .milliseconds(500)
        ) {
            (self.namespace, self.gateway, self.owner, self.settle) = (namespace, gateway, owner, settle)
        }
    }

    package nonisolated let traits: RouterTraits = [.mirrors, .keepsConnections]
    private let client: KubernetesClient
    private let settings: Settings
    private let place: GatewayRoutes.Place
    private let time: any TimeSource
    private let epoch: String
    /// What the cluster has of us; nil: not known yet.
    private var current: GatewayRoutes?

    private let patience: Duration

    /// - Parameter patience: How long a controller may take to accept a route.
    package init(
        _ client: KubernetesClient, _ settings: Settings, patience: Duration = .seconds(20),
        time: any TimeSource = SystemTime()
    ) {
        (self.client, self.settings, self.patience, self.time) = (client, settings, patience, time)
        place = GatewayRoutes.Place(
            namespace: settings.namespace, gateway: settings.gateway, owner: settings.owner)
        epoch = "kubernetes-\(time.now.microseconds)"
    }

    package func take(_ table: RoutingTable) async throws {
        let next = try GatewayRoutes(try table.routes(for: .kubernetes, traits), place)
        guard next != current else { return }
        do {
            try await put(next)
            current = next
        } catch let error as KubernetesError {
            current = nil
            if error.code == .cancelled { throw CancellationError() }
            throw Problem("router.unreachable", status: 503, error.message, hint: error.hint)
        } catch {
            current = nil  // half of it may be there: the next table is applied as a whole
            throw error
        }
    }

    package func counts() async throws -> RouterCounts { RouterCounts(epoch: epoch, revisions: []) }

    /// What is new comes first, then the routes that use it, and what nobody uses any more goes last.
    private func put(_ next: GatewayRoutes) async throws {
        let before = current ?? GatewayRoutes()
        let services = next.backends.filter { $0.value["kind"] == "Service" }
        let slices = next.backends.filter { $0.value["kind"] == "EndpointSlice" }
        for objects in [services, slices] {
            for (path, object) in objects.sorted(by: { $0.key < $1.key }) where before.backends[path] != object {
                try await client.apply(path, object)
            }
        }
        var accepted: [(String, JSONValue)] = []
        for (path, object) in next.routes.sorted(by: { $0.key < $1.key }) where before.routes[path] != object {
            accepted.append((path, try await client.apply(path, object)))
        }
        for (path, object) in accepted { try await accept(path, object) }
        let kept = Set(next.backends.keys).union(next.routes.keys)
        let known = try await known(before)
        for path in known where !kept.contains(path) { try await client.delete(path) }
        if settings.settle > .zero { try await time.sleep(for: settings.settle) }
    }

    /// All that is there of us: routes first, so that they go before what they use.
    private func known(_ before: GatewayRoutes) async throws -> [String] {
        if current != nil { return before.routes.keys.sorted() + before.backends.keys.sorted() }
        var paths: [String] = []
        for collection in [place.httpRoutes, place.slices, place.services] {
            paths += try await client.list(collection, labels: place.labels).compactMap {
                $0["metadata"]?["name"]?.string.map { "\(collection)/\($0)" }
            }
        }
        return paths
    }

    /// What a controller says about a route.
    private enum Verdict {
        case accepted
        case refused(String)
    }

    /// Waits until a controller has spoken about this generation of a route.
    private func accept(_ path: String, _ applied: JSONValue) async throws {
        let generation = applied["metadata"]?["generation"]?.int ?? 1
        var verdict = Self.verdict(applied, generation)
        _ = try await waitUntil(time, patience) {
            if verdict == nil, let found = try await client.get(path) { verdict = Self.verdict(found, generation) }
            return verdict != nil
        }
        let name = path.split(separator: "/").last.map(String.init) ?? path
        let gateway = "\(settings.gateway.namespace)/\(settings.gateway.name)"
        switch verdict {
        case .accepted?: return
        case .refused(let reason)?:
            throw Problem(
                "router.cannot", status: 422, "gateway \(gateway) does not take the HTTPRoute \(name): \(reason)",
                hint: "See: kubectl -n \(settings.namespace) describe httproute \(name)")
        case nil:
            throw Problem(
                "router.unreachable", status: 503,
                "no controller has taken up the HTTPRoute \(name) of gateway \(gateway)",
                hint: "Look whether the Gateway is there and programmed: kubectl get gateways -A")
        }
    }

    /// Nil while nobody has spoken.
    private static func verdict(_ route: JSONValue, _ generation: Int) -> Verdict? {
        for parent in route["status"]?["parents"]?.array ?? [] {
            let said = (parent["conditions"]?.array ?? []).filter {
                ($0["observedGeneration"]?.int ?? 0) >= generation
            }
            guard said.contains(where: { $0["type"]?.string == "Accepted" }) else { continue }
            let bad = said.first {
                ["Accepted", "ResolvedRefs"].contains($0["type"]?.string ?? "") && $0["status"]?.string == "False"
            }
            guard let bad else { return .accepted }
            return .refused("\(bad["reason"]?.string ?? "refused"): \(bad["message"]?.string ?? "no reason told")")
        }
        return nil
    }
}
