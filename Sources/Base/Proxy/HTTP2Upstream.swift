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
    /// Streams that were ever opened: their numbers come to an end (RFC 9113 §5.1.1).
    private var opened = 0
    /// The last stream that the other side looks at, once it has said goodbye.
    private(set) var lastTaken: HTTP2StreamID?
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
        // NIO's guards are made against strangers. These are our own copies, many requests share a connection, and all of this
        // is what they may do: ping with every message (gRPC), answer early and reset the rest, answer one call wrongly.
        connection.controlFrameRateLimit.windowLength = Self.noRate
        connection.maximumConnectionGlitches = .max
        // What is still on its way of streams that we have reset.
        connection.maximumRecentlyResetStreams = ProxyConfiguration.upstreamResetMemory
        var stream = NIOHTTP2Handler.StreamConfiguration()
        stream.streamResetFrameRateLimit.windowLength = Self.noRate
        stream.streamErrorRateLimit.windowLength = Self.noRate
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

    /// So short a time that nothing ever happens too often in it.
    private static let noRate = TimeAmount.nanoseconds(1)

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
        case .goAway(let last, _, _):
            lastTaken = last
            retire()
        default: break
        }
    }

    func channelInactive(context: ChannelHandlerContext) { fail(ChannelError.eof) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // What concerns one stream is told on that stream, and has reset it.
        if !Self.isOfOneStream(error) { fail(error) }
    }

    /// NIO tells of errors of streams and of connections alike.
    private static func isOfOneStream(_ error: any Error) -> Bool {
        switch error {
        case is NIOHTTP2Errors.StreamError, is NIOHTTP2Errors.ContentLengthViolated,
            is NIOHTTP2Errors.ContentLengthHeadersMismatch, is NIOHTTP2Errors.ContentLengthHeaderNegative,
            is NIOHTTP2Errors.ContentLengthHeaderMalformedValue, is NIOHTTP2Errors.ForbiddenHeaderField,
            is NIOHTTP2Errors.InvalidHTTP2HeaderFieldName, is NIOHTTP2Errors.InvalidHTTP2HeaderFieldValue,
            is NIOHTTP2Errors.InvalidPseudoHeaders, is NIOHTTP2Errors.InvalidPseudoHeaderValue,
            is NIOHTTP2Errors.MissingPseudoHeader, is NIOHTTP2Errors.UnknownPseudoHeader,
            is NIOHTTP2Errors.UnsupportedPseudoHeader, is NIOHTTP2Errors.DuplicatePseudoHeader,
            is NIOHTTP2Errors.PseudoHeaderAfterRegularHeader, is NIOHTTP2Errors.BadStreamStateTransition:
            true
        default: false
        }
    }

    // MARK: - Streams

    private func serve() {
        while let multiplexer, let limit, streams < limit, opened < pool.streamsEver, !isEnding,
            let wish = line.popFirst()
        {
            streams += 1
            opened += 1
            open(wish, multiplexer)
        }
        if opened >= pool.streamsEver, !line.isEmpty { retire() }
    }

    private func open(_ wish: StreamWish, _ multiplexer: NIOHTTP2Handler.StreamMultiplexer) {
        guard let loop = context?.eventLoop else { return }
        for case let translator as UpstreamTranslator in wish.handlers { translator.connection = self }
        let bound = NIOLoopBound((connection: self, handlers: wish.handlers), eventLoop: loop)
        let isBegun = NIOLoopBoundBox(false, eventLoop: loop)
        let promise = loop.makePromise(of: (any Channel).self)
        multiplexer.createStreamChannel(promise: promise) { stream in
            // A moment later: the other side may have said goodbye meanwhile.
            stream.eventLoop.makeCompletedFuture {
                if bound.value.connection.isEnding { return }
                isBegun.value = true
                try stream.pipeline.syncOperations.addHandlers(bound.value.handlers)
            }
        }
        promise.futureResult.assumeIsolated().whenComplete { result in
            switch result {
            case .success(let stream):
                stream.closeFuture.assumeIsolated().whenComplete { _ in self.streamEnded() }
                if !isBegun.value { stream.close(promise: nil) }
            case .failure: self.streamEnded()
            }
            if self.isEnding, !isBegun.value {
                self.pool.open(to: self.endpoint, within: nil, wish)
            } else {
                wish.then(result)
            }
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
    let streamsEver: Int
    private var connections: [ObjectIdentifier: HTTP2Upstream] = [:]

    init(loop: any EventLoop, configuration: ProxyConfiguration) {
        self.loop = loop
        (patience, streamsEver) = (configuration.connectTimeout, configuration.upstreamStreamsEver)
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
