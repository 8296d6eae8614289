import API
import Foundation
package import Kernel
import Kubernetes
import Synchronization

/// The clusters that a server may start copies in: the contexts of its kubeconfig, and the one that it runs in itself.
///
/// Nothing is read before it is asked for: a server without clusters needs no kubeconfig.
package final class Clusters: Sendable {
    private let kubeconfig: String
    private let folder: String
    private let time: any TimeSource
    private let environment: [String: String]
    private let probe = LocalProbe()
    private let known = Mutex<[ClusterTarget: KubernetesPlatform]>([:])

    /// - Parameters:
    ///   - kubeconfig: Its file.
    ///   - folder: Where the logs of copies go, and the name of this server's pods is kept.
    package init(kubeconfig: String, folder: String, environment: [String: String], time: any TimeSource) {
        (self.kubeconfig, self.folder, self.environment, self.time) = (kubeconfig, folder, environment, time)
    }

    /// The platform of a target, which may not be reached, or not be there at all: it tells when it is asked.
    package func platform(_ target: ClusterTarget) -> any Platform { LatePlatform(target: target, clusters: self) }

    /// What copies have printed that ran in any of them; no cluster is asked.
    package func outputs() async throws -> [CopyOutput] { try await CopyLogs(folder: copies).outputs() }

    private var copies: String { "\(folder)/copies" }

    fileprivate func open(_ target: ClusterTarget) throws -> KubernetesPlatform {
        try known.withLock { known in
            if let platform = known[target] { return platform }
            do throws(KubernetesError) {
                let access =
                    target.context == KubernetesAccess.inCluster
                    ? try KubernetesAccess.inCluster(environment: environment)
                    : try KubernetesAccess.kubeconfig(kubeconfig, context: target.context)
                let platform = KubernetesPlatform(
                    client: KubernetesClient(access), namespace: target.namespace ?? access.namespace,
                    owner: try owner(), folder: copies, time: time, probe: probe)
                known[target] = platform
                return platform
            } catch {
                throw Problem(
                    "cluster.\(error.code.rawValue)", status: error.status, error.message, hint: error.hint)
            }
        }
    }

    /// Forgets what was read of a context: what the cluster refuses may be right in the file by now.
    fileprivate func forget(_ target: ClusterTarget) { known.withLock { $0[target] = nil } }

    /// What tells this server's pods from those of others: made once, and kept with its data.
    private func owner() throws(KubernetesError) -> String {
        let file = "\(folder)/owner"
        if let data = FileManager.default.contents(atPath: file), !data.isEmpty {
            return String(decoding: data, as: UTF8.self)
        }
        let fresh = UUID().uuidString.lowercased().replacing("-", with: "").prefix(12)
        do {
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            try Data(fresh.utf8).write(to: URL(filePath: file), options: .atomic)
        } catch {
            throw KubernetesError(.busy, "could not write \(file)", hint: "Free some space on the disk.")
        }
        return String(fresh)
    }
}

/// A cluster's platform that is opened when it is asked.
private struct LatePlatform: Platform {
    let target: ClusterTarget
    let clusters: Clusters

    func instances() async throws -> [Instance] { try await with { try await $0.instances() } }
    func outputs() async throws -> [CopyOutput] { try await with { try await $0.outputs() } }
    func start(_ order: InstanceOrder) async throws -> Instance { try await with { try await $0.start(order) } }
    func stop(_ id: InstanceID, grace: Duration) async throws {
        try await with { try await $0.stop(id, grace: grace) }
    }

    func probe(_ instance: Instance, _ question: HealthQuestion, timeout: Duration) async -> Bool {
        do {
            return try await clusters.open(target).probe(instance, question, timeout: timeout)
        } catch {
            return false  // no way to the cluster: no good answer
        }
    }

    func complaint(_ instance: Instance, _ question: HealthQuestion, timeout: Duration) async -> String? {
        do {
            return try await clusters.open(target).complaint(instance, question, timeout: timeout)
        } catch {
            return "there is no way to its cluster"
        }
    }

    private func with<T>(_ body: (KubernetesPlatform) async throws -> T) async throws -> T {
        do {
            return try await body(try clusters.open(target))
        } catch let problem as Problem {
            if problem.code == "cluster.unauthorized" || problem.code == "cluster.unreachable" {
                clusters.forget(target)
            }
            throw problem
        }
    }
}
