import NIOCore
import Synchronization

/// A loop's wish for a place that connections of other loops hold.
struct PlaceWish: Sendable {
    /// The loop's number.
    let loop: Int
    /// Most places there may be, as the loop knows it.
    let limit: Int
    /// Gives it the place, on whichever thread this is called.
    let grant: @Sendable () -> Void
}

/// An endpoint as the loops share it: its load and whether it is left out for the moment.
final class EndpointState: Sendable {
    let endpoint: Endpoint
    let isHTTP2: Bool
    /// Set when the host is an IP address; names are resolved at each connect.
    let address: SocketAddress?
    /// It left the table: connections to it are not kept.
    let isRetired = Atomic<Bool>(false)
    private let active = Atomic<Int>(0)
    private let open = Atomic<Int>(0)
    /// Who waits for a place, the longest first and each loop once.
    private let wishes = Mutex<[PlaceWish]>([])
    private let isWanted = Atomic<Bool>(false)
    private let ejectedUntil = Atomic<UInt64>(0)
    private let failuresInARow = Atomic<Int>(0)
    private let ejections = Atomic<Int>(0)

    /// - Parameter isHTTP2: It speaks HTTP/2, without TLS and from the first byte on.
    init(_ endpoint: Endpoint, isHTTP2: Bool) {
        self.endpoint = endpoint
        self.isHTTP2 = isHTTP2
        address = try? SocketAddress(ipAddress: endpoint.host, port: endpoint.port)  // a name is no error
    }

    var load: Int { active.load(ordering: .relaxed) }
    func end() { active.wrappingSubtract(1, ordering: .relaxed) }

    /// Takes on one more request; false when there are `limit` already.
    func begin(limit: Int) -> Bool {
        if active.wrappingAdd(1, ordering: .relaxed).newValue <= limit { return true }
        end()
        return false
    }

    /// Reserves a place for one more connection; false when there are `limit` already.
    func beginConnection(limit: Int) -> Bool {
        if open.wrappingAdd(1, ordering: .relaxed).newValue <= limit { return true }
        open.wrappingSubtract(1, ordering: .relaxed)
        return false
    }

    func hasRoom(limit: Int) -> Bool { open.load(ordering: .relaxed) < limit }

    /// Whether another loop waits for a connection to be given up.
    func isWantedElsewhere(than loop: Int) -> Bool {
        isWanted.load(ordering: .relaxed) && wishes.withLock { $0.contains { $0.loop != loop } }
    }

    /// Asks for a place as soon as one becomes free.
    func want(_ wish: PlaceWish) {
        wishes.withLock { wishes in
            if !wishes.contains(where: { $0.loop == wish.loop }) { wishes.append(wish) }
            isWanted.store(true, ordering: .relaxed)
        }
    }

    /// Gives a place of a loop back, or on to one that wants it: the loop's own line would not leave it another loop.
    func endConnection(by loop: Int) {
        guard isWanted.load(ordering: .relaxed), let wish = takeWish(after: loop),
            open.load(ordering: .relaxed) <= wish.limit
        else {
            open.wrappingSubtract(1, ordering: .relaxed)
            return
        }
        wish.grant()
    }

    /// The wish to be met when `loop` gives a place up; its own is the last, and shall not take the place back at once.
    private func takeWish(after loop: Int) -> PlaceWish? {
        wishes.withLock { wishes in
            let next = wishes.firstIndex { $0.loop != loop } ?? wishes.indices.first
            let wish = next.map { wishes.remove(at: $0) }
            wishes.removeAll { $0.loop == loop }
            isWanted.store(!wishes.isEmpty, ordering: .relaxed)
            return wish
        }
    }

    func eject(until deadline: NIODeadline) {
        ejectedUntil.store(deadline.uptimeNanoseconds, ordering: .relaxed)
    }

    func isLive(at now: NIODeadline) -> Bool {
        ejectedUntil.load(ordering: .relaxed) <= now.uptimeNanoseconds
    }

    /// Notes how an attempt ended.
    ///
    /// - Returns: For how long to leave the endpoint out, if its failures in a row say so.
    func note(hasFailed: Bool, _ policy: CompiledOutliers, at now: NIODeadline) -> TimeAmount? {
        guard hasFailed else {
            if failuresInARow.load(ordering: .relaxed) != 0 { failuresInARow.store(0, ordering: .relaxed) }
            return nil
        }
        let failures = failuresInARow.wrappingAdd(1, ordering: .relaxed).newValue
        guard failures >= policy.failures, isLive(at: now) else { return nil }
        let quiet = now.uptimeNanoseconds &- ejectedUntil.load(ordering: .relaxed)
        if quiet > UInt64(policy.ejection.nanoseconds) * 10 { ejections.store(0, ordering: .relaxed) }
        let times = min(10, ejections.load(ordering: .relaxed) + 1)
        return .nanoseconds(policy.ejection.nanoseconds * Int64(times))
    }

    /// Leaves the endpoint out after `note` said so.
    func ejectAsOutlier(until deadline: NIODeadline) {
        failuresInARow.store(0, ordering: .relaxed)
        ejections.wrappingAdd(1, ordering: .relaxed)
        eject(until: deadline)
    }
}

/// `OutlierPolicy` with its defaults.
struct CompiledOutliers: Sendable {
    let failures: Int
    let ejection: TimeAmount
    let maxEjectedPercent: Int

    init(_ policy: OutlierPolicy) {
        failures = max(1, policy.consecutive_errors ?? 5)
        ejection = .milliseconds(Int64(min(max(1, policy.ejection_ms ?? 1_000), 86_400_000)))
        maxEjectedPercent = min(max(0, policy.max_ejected_percent ?? 50), 100)
    }
}
