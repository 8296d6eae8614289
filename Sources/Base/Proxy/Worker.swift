import Logging
import NIOCore
import NIOPosix
import Synchronization

/// What the loops of one proxy share.
final class ProxyCore: Sendable {
    let configuration: ProxyConfiguration
    let logger: Logger
    let counters = CounterRegistry()
    let epoch: String
    let workers = Atomic<Int>(0)
    /// Client connections open now, on all loops.
    let connections = Atomic<Int>(0)
    /// Set before the listener closes, so that whoever is answered from then on is told not to come back here.
    let isStopping = Atomic(false)
    /// Grows with each swap, so that a loop sees by one atomic read that its table is old.
    let generation = Atomic<Int>(0)
    private let current: Mutex<CompiledTable>

    init(configuration: ProxyConfiguration, logger: Logger) {
        self.configuration = configuration
        self.logger = logger
        var system = SystemRandomNumberGenerator()
        var buffer = ByteBuffer()
        buffer.writeHex(system.next())
        epoch = String(buffer: buffer)
        current = Mutex(CompiledTable(.empty, previous: nil, counters: counters))
    }

    var table: CompiledTable { current.withLock { $0 } }

    func swap(_ table: RouteTable) {
        current.withLock { current in
            let next = CompiledTable(table, previous: current, counters: counters)
            current.retireEndpoints(notIn: next)
            current = next
        }
        generation.wrappingAdd(1, ordering: .releasing)
    }
}

/// One event loop's share of the proxy: its connections, pools and table; used on that loop only.
final class Worker {
    let core: ProxyCore
    /// Tells loops apart; from 1 on.
    let number: Int
    let loop: any EventLoop
    let configuration: ProxyConfiguration
    var ids: IDGenerator
    let line = WaitingLine()
    let mirrors: MirrorPool
    let streams: StreamPool
    private(set) var isDraining = false
    /// It drains, or is about to: connections close behind the answer under way, and the answer says so.
    var isEnding: Bool { isDraining || core.isStopping.load(ordering: .relaxed) }
    /// The time of the last sweep: good enough for patience measured in seconds.
    private(set) var now = NIODeadline.now()
    private var generation: Int
    private var current: CompiledTable
    private var clients: [ClientConnection] = []
    private var guards: [ObjectIdentifier: HTTP2Guard] = [:]
    private var idle: [ObjectIdentifier: [UpstreamConnection]] = [:]
    /// An endpoint at which another loop has left this one its place for a connection.
    private var granted: EndpointState?
    private var isSweeping = false
    private var drained: EventLoopPromise<Void>?
    private var drainDeadline = NIODeadline.distantFuture
    private var gathering: RecordGathering?

    init(core: ProxyCore, loop: any EventLoop) {
        self.core = core
        self.loop = loop
        number = core.workers.wrappingAdd(1, ordering: .relaxed).newValue
        configuration = core.configuration
        gathering = core.configuration.records.map(RecordGathering.init)
        mirrors = MirrorPool(loop: loop, configuration: core.configuration)
        streams = StreamPool(loop: loop, configuration: core.configuration)
        var system = SystemRandomNumberGenerator()
        ids = IDGenerator(seed: &system)
        generation = core.generation.load(ordering: .acquiring)
        current = core.table
    }

    /// The table to route by now.
    ///
    /// The generation is read first, so a swap in between is seen next time.
    var table: CompiledTable {
        let latest = core.generation.load(ordering: .acquiring)
        if latest != generation {
            generation = latest
            current = core.table
            closeRetired()
        }
        return current
    }

    // MARK: - Records

    var isRecording: Bool { gathering != nil }

    func chooses(_ trace: RequestTrace) -> Bool { gathering?.chooses(trace, now: now) ?? false }

    func isSlow(_ microseconds: UInt64) -> Bool { gathering?.isSlow(microseconds) ?? false }

    func record(_ record: AccessRecord) { gathering?.add(record) }

    // MARK: - Clients

    func register(_ client: ClientConnection) {
        client.slot = clients.count
        clients.append(client)
        startSweeping()
    }

    func unregister(_ client: ClientConnection) {
        guard client.slot >= 0, client.slot < clients.count, clients[client.slot] === client else { return }
        let last = clients.removeLast()
        if last !== client {
            clients[client.slot] = last
            last.slot = client.slot
        }
        client.slot = -1
        finishDraining()
    }

    /// Lets requests under way end, closes what is idle, and cuts the rest at the deadline.
    func drain() -> EventLoopFuture<Void> {
        let promise = loop.makePromise(of: Void.self)
        isDraining = true
        drained = promise
        drainDeadline = .now() + TimeAmount(configuration.drainTimeout)
        for client in clients { client.drain() }
        for watch in Array(guards.values) { watch.drain() }
        finishDraining()
        return promise.futureResult
    }

    private func finishDraining() {
        guard isDraining, clients.isEmpty, let promise = drained else { return }
        gathering?.handOver()
        drained = nil
        let unused = idle.values.flatMap { $0 }
        idle = [:]
        for connection in unused { connection.close() }
        mirrors.close()
        streams.close()
        promise.succeed()
    }

    /// Looks after a connection that speaks HTTP/2, whose requests are clients of their own.
    func watch(_ connection: HTTP2Guard) {
        guards[ObjectIdentifier(connection)] = connection
        startSweeping()
    }

    func unwatch(_ connection: HTTP2Guard) { guards[ObjectIdentifier(connection)] = nil }

    // MARK: - Upstream connections

    /// An unused open connection to an endpoint, the last used first.
    func takeIdle(_ endpoint: EndpointState) -> UpstreamConnection? {
        idle[ObjectIdentifier(endpoint)]?.popLast()
    }

    func hasIdle(_ endpoint: EndpointState) -> Bool { idle[ObjectIdentifier(endpoint)]?.isEmpty == false }

    /// Takes back a connection whose response has ended, for the next request.
    func release(_ connection: UpstreamConnection) {
        let key = ObjectIdentifier(connection.endpoint)
        let isFull = (idle[key]?.count ?? 0) >= configuration.maxIdlePerEndpoint
        guard !isDraining, !isFull, connection.translator == nil,
            !connection.endpoint.isRetired.load(ordering: .relaxed),
            !connection.endpoint.isWantedElsewhere(than: number)
        else {
            connection.close()
            return
        }
        connection.idleSince = now
        idle[key, default: []].append(connection)
        startSweeping()
    }

    /// An unused connection has closed.
    func forget(_ connection: UpstreamConnection) {
        let key = ObjectIdentifier(connection.endpoint)
        guard let index = idle[key]?.lastIndex(where: { $0 === connection }) else { return }
        idle[key]?.remove(at: index)
        if idle[key]?.isEmpty == true { idle[key] = nil }
    }

    /// Reserves a place for one more connection to an endpoint; false when there are `limit` already.
    func beginConnection(to endpoint: EndpointState, limit: Int) -> Bool {
        guard granted === endpoint else { return endpoint.beginConnection(limit: limit) }
        granted = nil
        return true
    }

    /// Whether an endpoint may have one more request, on an unused connection or a new one.
    func hasRoom(at endpoint: EndpointState, limit: Int) -> Bool {
        hasIdle(endpoint) || granted === endpoint || endpoint.hasRoom(limit: limit)
    }

    /// Asks the loops that hold the places of an endpoint for one of them.
    func wantPlace(at endpoint: EndpointState, limit: Int) {
        let me = NIOLoopBound(self, eventLoop: loop)
        endpoint.want(
            PlaceWish(loop: number, limit: limit) { [loop] in loop.execute { me.value.take(placeAt: endpoint) } })
    }

    /// Sends on who waits for the place, or gives it back if nobody does any more.
    private func take(placeAt endpoint: EndpointState) {
        granted = endpoint
        line.wakeAll()
        guard granted != nil else { return }
        granted = nil
        endpoint.endConnection(by: number)
    }

    /// Opens a connection on this loop, for which `beginConnection` has reserved a place; `then` is called on it.
    ///
    /// An endpoint that speaks HTTP/2 has one for all, which takes no place, and a stream is opened on it.
    ///
    /// - Parameter patience: nil is `ProxyConfiguration.connectTimeout`.
    func connect(
        to endpoint: EndpointState, within patience: Duration?,
        then: @escaping (Result<UpstreamConnection, any Error>) -> Void
    ) {
        let connection = UpstreamConnection(endpoint: endpoint, worker: self)
        if let translator = connection.translator {
            let wish = StreamWish(handlers: [translator, connection]) { result in then(result.map { _ in connection }) }
            streams.open(to: endpoint, within: patience, wish)
            startSweeping()
            return
        }
        endpoint.connect(connection, on: loop, within: patience ?? configuration.connectTimeout) { [number] result in
            switch result {
            case .success(let channel): channel.closeFuture.whenComplete { _ in endpoint.endConnection(by: number) }
            case .failure: endpoint.endConnection(by: number)
            }
            then(result.map { _ in connection })
        }
    }

    private func closeRetired() {
        streams.closeRetired()
        for (key, connections) in idle {
            guard let first = connections.first, first.endpoint.isRetired.load(ordering: .relaxed) else { continue }
            idle[key] = nil
            for connection in connections { connection.close() }
        }
    }

    // MARK: - Deadlines

    /// One timer looks after all connections of the loop, instead of one set and cancelled with each request.
    private func startSweeping() {
        guard !isSweeping else { return }
        isSweeping = true
        now = .now()
        scheduleSweep()
    }

    private func scheduleSweep() {
        loop.assumeIsolated().scheduleTask(in: ProxyConfiguration.sweepInterval) { self.sweep() }
    }

    private func sweep() {
        now = .now()
        gathering?.handOver()
        if isDraining, now >= drainDeadline {
            for client in clients { client.cut() }
        }
        // Backwards: a client that goes away is replaced by one already looked at.
        for index in clients.indices.reversed() where index < clients.count {
            if clients[index].deadline <= now { clients[index].deadlinePassed() }
        }
        for watch in Array(guards.values) where watch.deadline <= now { watch.drain() }
        line.wakeAll()
        line.wantPlaces()
        let oldest = now - TimeAmount(configuration.upstreamIdleTimeout)
        mirrors.sweep(now: now, oldest: oldest)
        streams.sweep(oldest: oldest)
        for (key, connections) in idle {
            var expired = connections.prefix { $0.idleSince < oldest }
            if expired.isEmpty, let first = connections.first, first.endpoint.isWantedElsewhere(than: number) {
                expired = [first]
            }
            guard !expired.isEmpty else { continue }
            let left = Array(connections.dropFirst(expired.count))
            idle[key] = left.isEmpty ? nil : left
            for connection in expired { connection.close() }
        }
        if clients.isEmpty && idle.isEmpty && mirrors.isEmpty && guards.isEmpty && streams.isEmpty {
            isSweeping = false
        } else {
            scheduleSweep()
        }
    }
}

extension EndpointState {
    /// Opens a connection with one handler on the caller's own loop; `then` is called on it.
    func connect(
        _ handler: some ChannelHandler, on loop: any EventLoop, within patience: Duration,
        then: @escaping (Result<any Channel, any Error>) -> Void
    ) {
        connect(on: loop, within: patience, isHalfClosable: true) { channel in
            try channel.pipeline.syncOperations.addHandler(handler)
        } then: { result in
            then(result)
        }
    }

    /// Opens a connection on the caller's own loop; `prepare` gives it its handlers, `then` is called on the loop.
    func connect(
        on loop: any EventLoop, within patience: Duration, isHalfClosable: Bool,
        prepare: @escaping (any Channel) throws -> Void, then: @escaping (Result<any Channel, any Error>) -> Void
    ) {
        let bound = NIOLoopBound(prepare, eventLoop: loop)
        let bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(TimeAmount(patience))
            .channelOption(.allowRemoteHalfClosure, value: isHalfClosable)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try bound.value(channel) }
            }
        let future =
            if let address {
                bootstrap.connect(to: address)
            } else {
                bootstrap.connect(host: endpoint.host, port: endpoint.port)
            }
        future.assumeIsolated().whenComplete(then)
    }
}
