import NIOCore
import NIOHTTP2
import Synchronization

/// Who wants a stream to an endpoint.
struct StreamWish {
    /// Put on the stream, from the network's side on.
    var handlers: [any ChannelHandler]
    var then: (Result<any Channel, any Error>) -> Void
}

/// One HTTP/2 connection to an endpoint, shared by the requests of a loop; used on that loop only.
///
/// It opens as many streams at once as the other side allows (RFC 9113 §5.1.2); who comes later waits in line. After a
/// GOAWAY it opens no more, and whoever waits goes to the next connection.
final class HTTP2Upstream: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame

    let endpoint: EndpointState
    private let pool: StreamPool
    private var context: ChannelHandlerContext?
    private var multiplexer: NIOHTTP2Handler.StreamMultiplexer?
    /// nil until the other side's settings have come.
    private var limit: Int?
    private var streams = 0
    private var line = CircularBuffer<StreamWish>()
    private var idleSince = NIODeadline.now()
    private var isEnding = false

    init(endpoint: EndpointState, pool: StreamPool) {
        self.endpoint = endpoint
        self.pool = pool
    }

    /// Makes a new connection speak HTTP/2 as a client.
    func add(to channel: any Channel) throws {
        var connection = NIOHTTP2Handler.ConnectionConfiguration()
        connection.initialSettings = [
            HTTP2Setting(parameter: .enablePush, value: 0),
            HTTP2Setting(parameter: .maxHeaderListSize, value: ProxyConfiguration.headLimit),
        ]
        connection.targetWindowSize = ProxyConfiguration.upstreamConnectionWindow
        // Whoever answers early resets the rest of the request: nothing to cut a connection of our own copies for.
        var stream = NIOHTTP2Handler.StreamConfiguration()
        stream.streamResetFrameRateLimit.maximumCount = .max
        stream.targetWindowSize = ProxyConfiguration.upstreamStreamWindow
        stream.outboundBufferSizeHighWatermark = ProxyConfiguration.replayLimit
        stream.outboundBufferSizeLowWatermark = ProxyConfiguration.replayLimit / 2
        multiplexer = try channel.pipeline.syncOperations.configureHTTP2Pipeline(
            mode: .client, connectionConfiguration: connection, streamConfiguration: stream
        ) { pushed in
            pushed.eventLoop.makeCompletedFuture { throw HTTPFault.bad("a stream was pushed unasked") }
        }
        try channel.pipeline.syncOperations.addHandler(self)
    }

    func want(_ wish: StreamWish) {
        line.append(wish)
        serve()
    }

    /// The connection could not be opened, or is gone.
    func fail(_ error: any Error) {
        isEnding = true
        pool.forget(self)
        context?.close(promise: nil)
        let left = line
        line = []
        for wish in left { wish.then(.failure(error)) }
    }

    /// The other side should have told its settings by now.
    func expectReady(_ patience: Duration) {
        if limit == nil, !isEnding { fail(ChannelError.connectTimeout(TimeAmount(patience))) }
    }

    /// Opens no more streams, and closes behind the last.
    func retire() {
        guard !isEnding else { return }
        isEnding = true
        pool.forget(self)
        let left = line
        line = []
        if streams == 0 { context?.close(promise: nil) }
        for wish in left { pool.open(to: endpoint, within: nil, wish) }
    }

    /// Whether nobody has used it since `oldest`.
    func isUnused(since oldest: NIODeadline) -> Bool {
        limit != nil && streams == 0 && line.isEmpty && idleSince < oldest
    }

    // MARK: - Channel events

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        fail(ChannelError.eof)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data).payload {
        case .settings(.settings(let settings)):
            let told = settings.last { $0.parameter == .maxConcurrentStreams }?.value
            limit = min(told ?? limit ?? .max, ProxyConfiguration.upstreamStreamLimit)
            serve()
        case .goAway: retire()
        default: break
        }
    }

    func channelInactive(context: ChannelHandlerContext) { fail(ChannelError.eof) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // What concerns one stream is told on that stream.
        if error is NIOHTTP2Errors.StreamError { return }
        fail(error)
    }

    // MARK: - Streams

    private func serve() {
        while let multiplexer, let limit, streams < limit, !isEnding, let wish = line.popFirst() {
            streams += 1
            open(wish, multiplexer)
        }
    }

    private func open(_ wish: StreamWish, _ multiplexer: NIOHTTP2Handler.StreamMultiplexer) {
        guard let loop = context?.eventLoop else { return }
        let handlers = NIOLoopBound(wish.handlers, eventLoop: loop)
        let promise = loop.makePromise(of: (any Channel).self)
        multiplexer.createStreamChannel(promise: promise) { stream in
            stream.eventLoop.makeCompletedFuture { try stream.pipeline.syncOperations.addHandlers(handlers.value) }
        }
        promise.futureResult.assumeIsolated().whenComplete { result in
            switch result {
            case .success(let stream): stream.closeFuture.assumeIsolated().whenComplete { _ in self.streamEnded() }
            case .failure: self.streamEnded()
            }
            wish.then(result)
        }
    }

    private func streamEnded() {
        streams -= 1
        idleSince = .now()
        if isEnding {
            if streams == 0 { context?.close(promise: nil) }
        } else {
            serve()
        }
    }
}

/// The HTTP/2 connections of one loop, one to each endpoint that speaks it; used on that loop only.
final class StreamPool {
    private let loop: any EventLoop
    private let patience: Duration
    private var connections: [ObjectIdentifier: HTTP2Upstream] = [:]

    init(loop: any EventLoop, configuration: ProxyConfiguration) {
        self.loop = loop
        patience = configuration.connectTimeout
    }

    var isEmpty: Bool { connections.isEmpty }

    /// Opens a stream on the connection to an endpoint, which is opened first where there is none.
    ///
    /// - Parameter patience: For a new connection; nil is `ProxyConfiguration.connectTimeout`.
    func open(to endpoint: EndpointState, within patience: Duration?, _ wish: StreamWish) {
        let key = ObjectIdentifier(endpoint)
        if let connection = connections[key] {
            connection.want(wish)
            return
        }
        let patience = patience ?? self.patience
        let connection = HTTP2Upstream(endpoint: endpoint, pool: self)
        connections[key] = connection
        connection.want(wish)
        endpoint.connect(on: loop, within: patience, isHalfClosable: false) { channel in
            try connection.add(to: channel)
        } then: { result in
            switch result {
            case .success:
                self.loop.assumeIsolated().scheduleTask(in: TimeAmount(patience)) { connection.expectReady(patience) }
            case .failure(let error): connection.fail(error)
            }
        }
    }

    func forget(_ connection: HTTP2Upstream) {
        let key = ObjectIdentifier(connection.endpoint)
        if connections[key] === connection { connections[key] = nil }
    }

    /// Closes connections that nobody has used since `oldest`.
    func sweep(oldest: NIODeadline) {
        for connection in Array(connections.values) where connection.isUnused(since: oldest) { connection.retire() }
    }

    /// Connections to endpoints that are gone close behind their last stream.
    func closeRetired() {
        for connection in Array(connections.values) where connection.endpoint.isRetired.load(ordering: .relaxed) {
            connection.retire()
        }
    }

    /// The proxy stops.
    func close() {
        for connection in Array(connections.values) { connection.retire() }
    }
}
