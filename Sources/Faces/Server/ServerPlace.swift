import API
import Kernel
import Manifests
import SQL
import Synchronization

/// Where the server listens: known once it does.
final class ServerPlace: Sendable {
    private struct State {
        var url: String?
        var waiting: [CheckedContinuation<String, Never>] = []
    }
    private let state = Mutex(State())
    private let started: Timestamp

    init(started: Timestamp) { self.started = started }

    func listens(at url: String) {
        let waiting = state.withLock { state in
            state.url = url
            defer { state.waiting = [] }
            return state.waiting
        }
        for one in waiting { one.resume(returning: url) }
    }

    /// Where it listens; nil while it does not.
    var known: String? { state.withLock { $0.url } }

    /// Waits until the server listens.
    func url() async throws -> String {
        await withCheckedContinuation { continuation in
            let known = state.withLock { state -> String? in
                if state.url == nil { state.waiting.append(continuation) }
                return state.url
            }
            if let known { continuation.resume(returning: known) }
        }
    }

    func route(_ routes: inout Routes, hasAuth: Bool, store: Store) {
        routes.on(Server.info) { _, _ in
            var info = ServerInfo()
            info.version = vagusVersion
            info.started_at = self.started
            info.auth = hasAuth
            info.listen = self.state.withLock { $0.url } ?? ""
            info.events = try await store.read { try EventLog.newest(in: $0) }
            return info
        }
    }
}

/// Version of this program.
package let vagusVersion = "0.1.0"
