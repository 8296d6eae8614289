import NIOCore
import NIOPosix
import Synchronization

/// Copies under way on one loop, and the connections kept for them; used on that loop only.
final class MirrorPool {
    private let loop: any EventLoop
    private let configuration: ProxyConfiguration
    private var shots: [ObjectIdentifier: MirrorShot] = [:]
    private var idle: [ObjectIdentifier: [MirrorConnection]] = [:]

    init(loop: any EventLoop, configuration: ProxyConfiguration) {
        self.loop = loop
        self.configuration = configuration
    }

    var isEmpty: Bool { shots.isEmpty && idle.isEmpty }

    /// Takes on a copy; false when there are too many already.
    func begin(_ shot: MirrorShot) -> Bool {
        guard shots.count < ProxyConfiguration.mirrorLimit else { return false }
        shots[ObjectIdentifier(shot)] = shot
        return true
    }

    func end(_ shot: MirrorShot) { shots[ObjectIdentifier(shot)] = nil }

    /// A kept connection to an endpoint, or a new one; nil when it cannot be opened.
    func connection(
        to endpoint: EndpointState, worker: Worker, then: @escaping (MirrorConnection?) -> Void
    ) {
        if let kept = idle[ObjectIdentifier(endpoint)]?.popLast() {
            then(kept)
            return
        }
        let connection = MirrorConnection(endpoint: endpoint, worker: worker)
        if let translator = connection.translator {
            let wish = StreamWish(handlers: [translator, connection]) { result in
                if case .success = result { then(connection) } else { then(nil) }
            }
            worker.streams.open(to: endpoint, within: nil, wish)
            return
        }
        endpoint.connect(connection, on: loop, within: configuration.connectTimeout) { result in
            if case .success = result { then(connection) } else { then(nil) }
        }
    }

    func keep(_ connection: MirrorConnection, now: NIODeadline) {
        let key = ObjectIdentifier(connection.endpoint)
        guard !connection.endpoint.isRetired.load(ordering: .relaxed), !connection.endpoint.isHTTP2,
            (idle[key]?.count ?? 0) < ProxyConfiguration.mirrorIdleLimit
        else {
            connection.close()
            return
        }
        connection.idleSince = now
        idle[key, default: []].append(connection)
    }

    func forget(_ connection: MirrorConnection) {
        let key = ObjectIdentifier(connection.endpoint)
        idle[key]?.removeAll { $0 === connection }
        if idle[key]?.isEmpty == true { idle[key] = nil }
    }

    /// Ends copies that take too long and closes connections unused since `oldest`.
    func sweep(now: NIODeadline, oldest: NIODeadline) {
        for shot in Array(shots.values) where shot.deadline <= now { shot.timeOut() }
        for (key, connections) in idle {
            let expired = connections.filter {
                $0.idleSince < oldest || $0.endpoint.isRetired.load(ordering: .relaxed)
            }
            guard !expired.isEmpty else { continue }
            let left = connections.filter { kept in !expired.contains { $0 === kept } }
            idle[key] = left.isEmpty ? nil : left
            for connection in expired { connection.close() }
        }
    }

    /// The proxy stops.
    func close() {
        for shot in Array(shots.values) { shot.timeOut() }
        for connection in idle.values.flatMap({ $0 }) { connection.close() }
        idle = [:]
    }
}
