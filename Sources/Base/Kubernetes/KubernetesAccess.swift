import Foundation
import Manifests
package import Outbound

// Kubernetes: its API over HTTP, as far as running programs and steering traffic need it (v1, discovery.k8s.io/v1 and
// gateway.networking.k8s.io/v1 of the published OpenAPI). Knows nothing of vagus.
//
//   KubernetesAccess   where a cluster is and who we are there: from a kubeconfig, or from inside a pod
//   KubernetesClient   get, list, create, apply (server-side), delete, logs, exec
//   KubernetesError    what went wrong, and what to do

/// Where a cluster is reached, and as whom.
package struct KubernetesAccess: Sendable {
    /// What is sent in `Authorization`.
    package enum Identity: Sendable, Equatable {
        /// A client certificate says it all, or nobody asks.
        case none
        case token(String)
        /// Read anew for each call: tokens of pods are renewed on the disk.
        case tokenFile(String)
        case password(user: String, password: String)
    }

    /// How it is called: the context's name.
    package var name: String
    /// `https://HOST:PORT`, without a slash at its end.
    package var server: String
    package var tls: OutboundTLS?
    package var identity: Identity
    /// What is meant where nobody names a namespace.
    package var namespace: String

    package init(
        name: String, server: String, tls: OutboundTLS? = nil, identity: Identity = .none, namespace: String = "default"
    ) {
        (self.name, self.server, self.tls) = (name, server, tls)
        (self.identity, self.namespace) = (identity, namespace)
    }

    /// The name that stands for the cluster in which we run.
    package static let inCluster = "in_cluster"
    /// Where a pod finds its own credentials.
    package static let serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

    /// Access from inside a pod, by its service account.
    package static func inCluster(
        folder: String = serviceAccount, environment: [String: String]
    ) throws(KubernetesError) -> KubernetesAccess {
        guard let host = environment["KUBERNETES_SERVICE_HOST"], let port = environment["KUBERNETES_SERVICE_PORT"],
            let authority = FileManager.default.contents(atPath: "\(folder)/ca.crt"),
            FileManager.default.fileExists(atPath: "\(folder)/token")
        else {
            throw KubernetesError(
                .invalid, "this is no pod of a cluster: there is no service account in \(folder)",
                hint: "Name a context of a kubeconfig file instead of \(inCluster).")
        }
        let namespace = FileManager.default.contents(atPath: "\(folder)/namespace").map {
            String(decoding: $0, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
        }
        return KubernetesAccess(
            name: inCluster, server: "https://\(host.contains(":") ? "[\(host)]" : host):\(port)",
            tls: try tls { () throws(OutboundError) in try OutboundTLS(authorities: Array(authority)) },
            identity: .tokenFile("\(folder)/token"), namespace: namespace ?? "default")
    }

    /// Where kubectl looks: the first file of KUBECONFIG, else the one in the home.
    package static func usualFile(_ environment: [String: String]) -> String {
        let named = environment["KUBECONFIG"]?.split(separator: ":").first.map(String.init)
        return named ?? "\(environment["HOME"] ?? "")/.kube/config"
    }

    /// Access by a kubeconfig file (kubectl's v1 Config).
    ///
    /// - Parameter context: Its name; nil is the current one.
    package static func kubeconfig(_ path: String, context: String? = nil) throws(KubernetesError) -> KubernetesAccess {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw KubernetesError(
                .invalid, "there is no kubeconfig file \(path)", hint: "Name one with --kubeconfig.")
        }
        let text = String(decoding: data, as: UTF8.self)
        guard let config = (try? YAML.documents(text))?.first?.value else {  // told right here
            throw KubernetesError(.invalid, "\(path) is no YAML", hint: "Look at it with: kubectl config view")
        }
        return try Kubeconfig(path: path, value: config).access(context)
    }

    fileprivate static func tls(_ make: () throws(OutboundError) -> OutboundTLS) throws(KubernetesError) -> OutboundTLS
    {
        do {
            return try make()
        } catch {
            throw KubernetesError(.invalid, error.message)
        }
    }
}

/// A kubeconfig file that has been read.
private struct Kubeconfig {
    let path: String
    let value: JSONValue

    func access(_ context: String?) throws(KubernetesError) -> KubernetesAccess {
        let name = context ?? value["current-context"]?.string ?? ""
        guard let found = named(name, in: "contexts", "context") else {
            let known = (value["contexts"]?.array ?? []).compactMap { $0["name"]?.string }
            throw KubernetesError(
                .invalid, "\(path) has no context \"\(name)\"",
                hint: known.isEmpty ? nil : "It has: \(known.joined(separator: ", ")).")
        }
        let cluster = named(found["cluster"]?.string ?? "", in: "clusters", "cluster") ?? [:]
        let user = named(found["user"]?.string ?? "", in: "users", "user") ?? [:]
        guard var server = cluster["server"]?.string else {
            throw KubernetesError(.invalid, "\(path): context \"\(name)\" leads to no server")
        }
        while server.hasSuffix("/") { server.removeLast() }
        for (key, part) in [
            ("exec", user), ("auth-provider", user), ("tls-server-name", cluster), ("proxy-url", cluster),
        ]
        where part[key] != nil {
            throw KubernetesError(
                .invalid, "\(path): context \"\(name)\" uses \"\(key)\", which is not understood here",
                hint: "Make a token that lasts (kubectl create token ACCOUNT --duration 8760h), and a context with it.")
        }
        let authorities = try bytes(cluster, "certificate-authority")
        let certificate = try bytes(user, "client-certificate")
        let key = try bytes(user, "client-key")
        let isVerified = cluster["insecure-skip-tls-verify"]?.bool != true
        return KubernetesAccess(
            name: name, server: server,
            tls: try KubernetesAccess.tls { () throws(OutboundError) in
                try OutboundTLS(
                    authorities: authorities, certificate: certificate, key: key, isVerified: isVerified)
            },
            identity: identity(user), namespace: found["namespace"]?.string ?? "default")
    }

    private func identity(_ user: JSONValue) -> KubernetesAccess.Identity {
        if let token = user["token"]?.string { return .token(token) }
        if let file = user["tokenFile"]?.string { return .tokenFile(absolute(file)) }
        if let name = user["username"]?.string, let password = user["password"]?.string {
            return .password(user: name, password: password)
        }
        return .none
    }

    private func named(_ name: String, in list: String, _ part: String) -> JSONValue? {
        value[list]?.array?.first { $0["name"]?.string == name }?[part]
    }

    /// What stands in the file in base64, or in a file beside it.
    private func bytes(_ part: JSONValue, _ key: String) throws(KubernetesError) -> [UInt8]? {
        if let text = part["\(key)-data"]?.string {
            guard let data = Data(base64Encoded: text, options: .ignoreUnknownCharacters) else {
                throw KubernetesError(.invalid, "\(path): \(key)-data is no base64")
            }
            return Array(data)
        }
        guard let file = part[key]?.string else { return nil }
        guard let data = FileManager.default.contents(atPath: absolute(file)) else {
            throw KubernetesError(.invalid, "\(path): could not read the \(key) \(file)")
        }
        return Array(data)
    }

    /// Paths in a kubeconfig begin where it lies.
    private func absolute(_ file: String) -> String {
        file.hasPrefix("/") ? file : URL(filePath: path).deletingLastPathComponent().appending(path: file).path
    }
}
