import API
import Dispatch
import Foundation
package import Kernel
package import Kubernetes
import Manifests
import Synchronization

/// Copies of services as Pods of a cluster, one Pod a copy (docs/decisions/0009-a-copy-is-a-pod.md).
///
/// All that is to be known of a copy stands in its Pod, so whoever comes later finds it by looking. It is reached at the
/// Pod's own address, so this server and its proxies need a way there: they run in the cluster, or have a route to its pods.
/// When it is stopped its output is written to `<folder>/<id>/output.log`, which also tells that this id has lived.
package final class KubernetesPlatform: Platform {
    private let client: KubernetesClient
    private let shape: PodShape
    private let folder: String
    private let time: any TimeSource
    private let probe: LocalProbe
    private let starting = Mutex<Set<InstanceID>>([])
    private let logs: CopyLogs

    /// How long a copy may take until its container runs: a node has to be found for it, and its image fetched.
    private static let startPatience = Duration.seconds(120)
    /// How long one start waits for that, until it tells that the copy is pending.
    private static let startGlance = Duration.seconds(2)
    /// How long a pod may take to go beyond its grace.
    private static let stopPatience = Duration.seconds(60)
    /// Time between two looks at a pod that comes or goes.
    private static let look = Duration.milliseconds(200)
    /// Bytes kept of an output.
    private static let logBytes = 4 << 20

    /// - Parameters:
    ///   - owner: What tells our pods from those of others in the same namespace; letters and digits.
    ///   - folder: Where the logs of copies go.
    package init(
        client: KubernetesClient, namespace: String, owner: String, folder: String, time: any TimeSource,
        probe: LocalProbe = LocalProbe()
    ) {
        (self.client, self.folder, self.time, self.probe) = (client, folder, time, probe)
        shape = PodShape(owner: owner, namespace: namespace)
        logs = CopyLogs(folder: folder)
    }

    // MARK: - The port

    package func instances() async throws -> [Instance] {
        try await told {
            try await client.list(shape.pods, labels: shape.labels).compactMap { PodSight(pod: $0).instance }
        }
    }

    /// Of copies that were taken away; the cluster keeps what the others have printed so far.
    package func outputs() async throws -> [CopyOutput] { try await logs.outputs() }

    package func start(_ order: InstanceOrder) async throws -> Instance {
        guard starting.withLock({ $0.insert(order.id).inserted }) else {
            throw Problem(
                "instance.starting", status: 409, "\(order.id) is being started already",
                hint: "Wait for it to be ready.")
        }
        defer { _ = starting.withLock { $0.remove(order.id) } }
        return try await told {
            if try await logs.has(order.id) {
                return Instance(
                    id: order.id, service: order.service, revision: order.revision, host: "", port: 0,
                    startedAt: time.now, isRunning: false)
            }
            let sight = try await make(order)
            do {
                return try await begun(order.id, sight)
            } catch is CancellationError {
                throw CancellationError()  // the next life goes on with it
            } catch let problem as Problem where problem.code == InstanceOrder.pending {
                throw problem
            } catch {
                // It never ran, and the next start is another copy's; one that cannot be taken away now is a stray later.
                try? await remove(order.id)  // tried again by the stop loop
                throw error
            }
        }
    }

    package func stop(_ id: InstanceID, grace: Duration) async throws {
        try await told {
            guard try await client.get(shape.path(id)) != nil else { return try await removeSecrets(id) }
            // Before anything ends: an id that has lived is never started again, whatever becomes of us here.
            try await logs.keep([], of: id)
            let seconds = max(1, Int((grace / .seconds(1)).rounded(.up)))
            let tail = Tail(limit: Self.logBytes)
            let (client, path) = (client, shape.path(id))
            let patience = Duration.seconds(seconds) + Self.stopPatience
            // The output is followed to its last word, which is said when it is asked to end.
            let (heard, ear) = AsyncStream.makeStream(of: Void.self)
            async let listened: Void = Self.listen(to: path, client, tail, patience, ear)
            for await _ in heard { break }
            try await client.delete(path, grace: seconds)
            try await gone(id, by: time.now.advanced(by: patience))
            await listened
            try await logs.keep(tail.bytes, of: id)
            try await removeSecrets(id)
        }
        await logs.forget()
    }

    package func probe(_ instance: Instance, _ question: HealthQuestion, timeout: Duration) async -> Bool {
        switch question {
        case .port: return await probe.tcp(host: instance.host, port: instance.port, timeout: timeout)
        case .path(let path):
            return await probe.http(host: instance.host, port: instance.port, path: path, timeout: timeout)
        case .command(let words):
            do {
                return try await ask(words, in: shape.path(instance.id), atMost: timeout)
            } catch {
                return false  // the cluster, or the pod, is not there: no good answer
            }
        }
    }

    // MARK: - Starting

    /// The pod of an order, made if there is none.
    private func make(_ order: InstanceOrder) async throws -> PodSight {
        if let found = try await client.get(shape.path(order.id)) { return PodSight(pod: found) }
        guard let container = order.container else {
            throw ExecutionFailure(.invalid, "there is no image to start", hint: "Name one: `image: NAME`.")
        }
        let pod = try shape.pod(order, container, at: time.now)
        // The secrets come first, as the pod waits long for one that is missing; and once more, to go with their pod.
        for (path, secret) in shape.secrets(order, pod: nil) { try await client.apply(path, secret) }
        let made: JSONValue
        do throws(KubernetesError) {
            made = try await client.create(shape.pods, pod)
        } catch {
            guard error.code == .exists, let found = try await client.get(shape.path(order.id)) else {
                try await removeSecrets(order.id)
                throw error
            }
            made = found
        }
        let sight = PodSight(pod: made)
        for (path, secret) in shape.secrets(order, pod: sight.uid) { try await client.apply(path, secret) }
        return sight
    }

    /// Waits until the container runs, so that it has an address; not for long, as others wait behind it.
    private func begun(_ id: InstanceID, _ first: PodSight) async throws -> Instance {
        let end = (first.instance?.startedAt ?? time.now).advanced(by: Self.startPatience)
        let glance = time.now.advanced(by: Self.startGlance)
        var sight = first
        while true {
            if let obstacle = sight.obstacle { throw obstacle }
            if sight.hasBegun || sight.isGoing {
                guard let instance = sight.instance else {
                    throw ExecutionFailure(.invalid, "the pod \(shape.name(id)) is not one of ours")
                }
                return instance
            }
            guard time.now < end else {
                throw ExecutionFailure(
                    .unavailable, "its pod did not begin in \(Self.startPatience): \(sight.delay)",
                    hint: "See: kubectl get events --sort-by .lastTimestamp")
            }
            guard time.now < glance else { throw Problem(InstanceOrder.pending, status: 503, sight.delay) }
            try await time.sleep(for: Self.look)
            guard let found = try await client.get(shape.path(id)) else {
                throw ExecutionFailure(.unavailable, "somebody has deleted the pod \(shape.name(id))")
            }
            sight = PodSight(pod: found)
        }
    }

    private func remove(_ id: InstanceID) async throws {
        try await client.delete(shape.path(id), grace: 1)
        try await removeSecrets(id)
    }

    private func removeSecrets(_ id: InstanceID) async throws {
        try await client.delete(shape.secret(id))
        try await client.delete(shape.login(id))
    }

    // MARK: - Stopping

    private func gone(_ id: InstanceID, by end: Timestamp) async throws {
        while try await client.get(shape.path(id)) != nil {
            guard time.now < end else {
                throw ExecutionFailure(
                    .unavailable, "the pod \(shape.name(id)) does not go",
                    hint: "Its node may be away. See: kubectl describe pod \(shape.name(id))")
            }
            try await time.sleep(for: Self.look)
        }
    }

    private static func listen(
        to pod: String, _ client: KubernetesClient, _ tail: Tail, _ patience: Duration,
        _ ear: AsyncStream<Void>.Continuation
    ) async {
        defer { ear.finish() }
        // Not worth a pod that stays: what could not be read is lost.
        try? await client.log(  // lost words keep no pod
            of: pod, container: PodShape.container, patience: patience, begun: { ear.yield() }
        ) { tail.add($0) }
    }

    // MARK: - Questions

    /// Whether a command ends with 0 in time.
    ///
    /// A cluster lets it run on when nobody listens any more, so it carries a mark, by which a second command finds it and
    /// all that it has started. Both need a shell and `cat` in the image, as a question in one line does anyway.
    private func ask(_ words: [String], in pod: String, atMost: Duration) async throws -> Bool {
        let mark = "VAGUS_PROBE_MARK=\(UUID().uuidString)"
        let marked = ["/bin/sh", "-c", "export \(mark); exec \"$@\"", "sh"] + words
        do throws(KubernetesError) {
            return try await client.execute(marked, in: pod, container: PodShape.container, atMost: atMost) == 0
        } catch {
            guard error.code == .unreachable else { throw error }
            let killer = """
                for e in /proc/[0-9]*/environ; do
                case "$(cat "$e" 2>/dev/null)" in *\(mark)*) p=${e#/proc/}; kill -9 "${p%/environ}";; esac
                done
                """
            // Twice, since what was just being started may not have been seen.
            for _ in 0..<2 {
                _ = try await client.execute(
                    ["/bin/sh", "-c", killer], in: pod, container: PodShape.container, atMost: .seconds(10))
            }
            return false
        }
    }

    // MARK: - Errors

    /// What the cluster could not do, in the words of a server.
    private func told<T>(_ body: () async throws -> T) async throws -> T {
        do {
            return try await body()
        } catch let failure as ExecutionFailure {
            throw Problem(
                "instance.pod", status: failure.code == .invalid ? 422 : 503, failure.message, hint: failure.hint)
        } catch let error as KubernetesError {
            if error.code == .cancelled { throw CancellationError() }
            throw Problem(
                "cluster.\(error.code.rawValue)", status: error.status, error.message, hint: error.hint)
        }
    }
}
