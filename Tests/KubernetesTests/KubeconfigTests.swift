import Foundation
import Testing

@testable import Kubernetes

/// Where a cluster is and who we are there, as kubectl's files say it.
struct KubeconfigTests {
    private static let config = """
        apiVersion: v1
        kind: Config
        current-context: one
        clusters:
          - name: lab
            cluster: { server: "https://10.0.0.1:6443/", insecure-skip-tls-verify: true }
          - name: plain
            cluster: { server: "http://127.0.0.1:8001" }
          - name: odd
            cluster: { server: "https://10.0.0.1:6443", certificate-authority-data: "bm8gUEVN" }
        users:
          - { name: robot, user: { token: t0ken } }
          - { name: file, user: { tokenFile: tokens/robot } }
          - { name: cloud, user: { exec: { command: aws } } }
          - { name: ana, user: { username: ana, password: s3cret } }
        contexts:
          - { name: one, context: { cluster: lab, user: robot, namespace: shop } }
          - { name: two, context: { cluster: plain, user: file } }
          - { name: three, context: { cluster: lab, user: cloud } }
          - { name: four, context: { cluster: odd, user: ana } }
          - { name: five, context: { cluster: plain, user: ana } }
        """

    private func access(_ context: String?) throws -> KubernetesAccess {
        let file = URL(filePath: NSTemporaryDirectory()).appending(path: "kubeconfig-\(UUID().uuidString)")
        try Data(Self.config.utf8).write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }  // a leftover harms nobody
        return try KubernetesAccess.kubeconfig(file.path, context: context)
    }

    @Test func `the current context is used when none is named`() throws {
        let found = try access(nil)
        #expect(found.name == "one" && found.server == "https://10.0.0.1:6443" && found.namespace == "shop")
        #expect(found.identity == .token("t0ken"))
    }

    @Test func `a named context has its own cluster, user and namespace`() throws {
        let found = try access("two")
        #expect(found.server == "http://127.0.0.1:8001" && found.namespace == "default")
        guard case .tokenFile(let path) = found.identity else { return #expect(Bool(false), "\(found.identity)") }
        #expect(path.hasPrefix("/") && path.hasSuffix("/tokens/robot"), "paths begin where the file lies: \(path)")
        #expect(try access("five").identity == .password(user: "ana", password: "s3cret"))
    }

    @Test(arguments: [
        ("nine", "has no context \"nine\"", "It has: one, two"), ("three", "uses \"exec\"", "kubectl create token"),
        ("four", "cannot be read", nil),
    ])
    func `what cannot be used is told`(_ context: String, _ message: String, _ hint: String?) throws {
        let error = #expect(throws: KubernetesError.self) { try access(context) }
        #expect(error?.message.contains(message) ?? false, "\(String(describing: error))")
        if let hint { #expect(error?.hint?.contains(hint) ?? false, "\(String(describing: error?.hint))") }
    }

    @Test func `no file and no pod are told`() {
        #expect(throws: KubernetesError.self) { try KubernetesAccess.kubeconfig("/no/such/file") }
        let error = #expect(throws: KubernetesError.self) {
            try KubernetesAccess.inCluster(folder: "/no/such/folder", environment: [:])
        }
        #expect(error?.message.contains("no pod of a cluster") ?? false)
    }

    @Test func `a pod finds its cluster by its service account`() throws {
        let folder = URL(filePath: NSTemporaryDirectory()).appending(path: "account-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }  // a leftover harms nobody
        for (name, text) in [("token", "abc"), ("namespace", "shop\n"), ("ca.crt", Self.authority)] {
            try Data(text.utf8).write(to: folder.appending(path: name))
        }
        let found = try KubernetesAccess.inCluster(
            folder: folder.path,
            environment: ["KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"])
        #expect(found.server == "https://[fd00::1]:443" && found.namespace == "shop")
        #expect(found.identity == .tokenFile("\(folder.path)/token"))
    }

    @Test func `a Status object says what went wrong`() {
        let body = """
            {"kind":"Status","apiVersion":"v1","status":"Failure","reason":"AlreadyExists","code":409,
             "message":"pods \\"a\\" already exists"}
            """
        let error = KubernetesError(status: 409, body: Array(body.utf8), doing: "create a pod", cluster: "lab")
        #expect(error.code == .exists && error.message.hasSuffix("pods \"a\" already exists"))
        for (status, code) in [(401, KubernetesError.Code.unauthorized), (403, .forbidden), (410, .gone), (429, .busy)]
        {
            #expect(KubernetesError(status: status, body: [], doing: "look", cluster: "lab").code == code)
        }
        #expect(KubernetesError(status: 409, body: [], doing: "look", cluster: "lab").code == .conflict)
        #expect(
            KubernetesError(status: 502, body: Array("Bad\nGateway".utf8), doing: "look", cluster: "lab").message
                .hasSuffix(": Bad"))
    }

    /// A self-signed certificate of nobody.
    private static let authority = """
        -----BEGIN CERTIFICATE-----
        MIIBeTCCAR+gAwIBAgIUaBHtJHxFMJfXxdGzb3i9tvaxd98wCgYIKoZIzj0EAwIw
        ETEPMA0GA1UEAwwGbm9ib2R5MCAXDTI2MTEyNzA0NDIwOVoYDzIxMjYxMTAzMDQ0
        MjA5WjARMQ8wDQYDVQQDDAZub2JvZHkwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
        AAQcUD0vOsaCNmpfUFL4WUiIkbGBlJR4KjTzYZ3gfUGyvnF+G1zOgIIqtC6cwher
        wJA7QhNLpBkEKJcsv5n71Aeto1MwUTAdBgNVHQ4EFgQUvGNOsE4efkabQ6DoRcga
        b0DUYfEwHwYDVR0jBBgwFoAUvGNOsE4efkabQ6DoRcgab0DUYfEwDwYDVR0TAQH/
        BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEA/rDCc3nM9ySLy9NclQQ07I9Y3F9D
        ycLnHENsj84oeRACICxr6IHRPi9NgMm6C+GTmfxUzXYhkfV5tkf6Jg27VTEs
        -----END CERTIFICATE-----
        """
}
