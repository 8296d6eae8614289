import Dispatch
import Outbound
import Processes

/// Asks a port of this machine whether somebody is well there.
package struct LocalProbe: Sendable {
    private let outbound = OutboundClient()
    private static let queue = DispatchQueue(label: "vagus.executors.probes", attributes: .concurrent)

    package init() {}

    /// Whether a connection is accepted.
    package func tcp(port: Int, timeout: Duration) async -> Bool {
        await withCheckedContinuation { listener in
            Self.queue.async { listener.resume(returning: LocalPort.isOpen(port, timeout: timeout)) }
        }
    }

    /// Whether GET answers 200 to 299.
    package func http(port: Int, path: String, timeout: Duration) async -> Bool {
        let slash = path.hasPrefix("/") ? "" : "/"
        do {
            return try await outbound.send(
                HTTPRequest(url: "http://127.0.0.1:\(port)\(slash)\(path)"), deadline: timeout
            ).isSuccess
        } catch {
            return false
        }
    }
}
