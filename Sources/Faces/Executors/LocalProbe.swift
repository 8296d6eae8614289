import Dispatch
import Outbound
import Processes

/// Asks a port, of this machine if nothing else is said, whether somebody is well there.
package struct LocalProbe: Sendable {
    private let outbound = OutboundClient()
    private static let queue = DispatchQueue(label: "vagus.executors.probes", attributes: .concurrent)

    package init() {}

    /// Whether a connection is accepted.
    package func tcp(host: String = "127.0.0.1", port: Int, timeout: Duration) async -> Bool {
        await withCheckedContinuation { listener in
            Self.queue.async { listener.resume(returning: LocalPort.isOpen(port, host: host, timeout: timeout)) }
        }
    }

    /// Whether GET answers 200 to 299.
    package func http(host: String = "127.0.0.1", port: Int, path: String, timeout: Duration) async -> Bool {
        let slash = path.hasPrefix("/") ? "" : "/"
        let authority = host.contains(":") ? "[\(host)]" : host
        do {
            return try await outbound.send(
                HTTPRequest(url: "http://\(authority):\(port)\(slash)\(path)"), deadline: timeout
            ).isSuccess
        } catch {
            return false
        }
    }
}
