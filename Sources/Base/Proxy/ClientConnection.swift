import NIOCore
import Synchronization

/// The proxy's end of a client's connection: reads requests, one after the other, and sends them on.
final class ClientConnection: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum Phase {
        /// Between requests, or in the middle of a head.
        case waiting
        case exchanging
        case tunnelling
        /// Everything is sent; what still comes is thrown away, so that the last answer is not lost to a reset.
        case lingering
        case closed
    }

    /// Place in the worker's list, -1 when not in it.
    var slot = -1
    private(set) var deadline = NIODeadline.distantFuture
    /// This connection has no request after the current one.
    var closesAfterResponse = false
    private let worker: Worker
    private let isRefused: Bool
    private let isTLS: Bool
    private let isStream: Bool
    /// No request has begun yet, so it may still turn out to be HTTP/2.
    private var isFresh: Bool
    private var context: ChannelHandlerContext?
    private var phase = Phase.waiting
    private var identity = ClientIdentity(address: [], trustsForwarded: false)
    private var inbound = ByteBuffer()
    /// Bytes of `inbound` in which no end of a head was found.
    private var searched = 0
    private var head = RequestHead()
    private var body = BodyReader()
    private var exchange: Exchange?
    private var isPumping = false
    private var inputClosed = false
    private var wantsRead = false
    private var lingered = 0

    /// - Parameters:
    ///   - worker: The loop's worker.
    ///   - isRefused: One connection too many: closed as soon as it is open.
    ///   - isTLS: What the client said came through TLS.
    ///   - isStream: It is a stream of an HTTP/2 connection.
    init(worker: Worker, isRefused: Bool = false, isTLS: Bool = false, isStream: Bool = false) {
        self.worker = worker
        self.isRefused = isRefused
        self.isTLS = isTLS
        self.isStream = isStream
        isFresh = !isStream && !isTLS && worker.configuration.http2
    }

    // MARK: - For the exchange

    var isWritable: Bool { context?.channel.isWritable ?? false }
    var hasWholeRequest: Bool { body.isComplete }
    /// The client's IP address as text.
    var address: [UInt8] { identity.address }

    func send(_ buffer: ByteBuffer) {
        context?.write(wrapOutboundOut(buffer), promise: nil)
    }

    func flush() {
        context?.flush()
    }

    /// Something moved: the connection may be quiet for so long from now.
    func noteProgress(_ patience: Duration) {
        deadline = exchange?.deadline(from: worker.now, TimeAmount(patience)) ?? worker.now + TimeAmount(patience)
    }

    /// Sends an answer of the proxy's own.
    func answer(_ problem: ProxyProblem, requestID: RequestID?, isHEAD: Bool) {
        if worker.isEnding || !body.isComplete || !head.keepsAlive || !head.isVersion11 { closesAfterResponse = true }
        send(problem.response(requestID: requestID, closes: closesAfterResponse, isHEAD: isHEAD))
    }

    /// The response is handed over: go on with the next request, or close.
    func exchangeEnded() {
        exchange = nil
        guard phase == .exchanging else { return }
        flush()
        guard phase == .exchanging else { return }
        if closesAfterResponse || !body.isComplete || worker.isEnding {
            closeGracefully()
            return
        }
        becomeWaiting()
        pump()
    }

    func beginTunnel() {
        phase = .tunnelling
        noteProgress(worker.configuration.tunnelTimeout)
        flush()
        pump()
    }

    func endTunnel() {
        exchange = nil
        closeAfterFlush()
    }

    /// Ends the sending side once everything is sent (in a tunnel).
    func closeOutput() {
        if inputClosed { closeAfterFlush() } else { context?.close(mode: .output, promise: nil) }
    }

    /// Closes at once, whatever was promised.
    func cut() {
        let ended = exchange
        exchange = nil
        phase = .closed
        ended?.abort()
        context?.close(promise: nil)
    }

    func resumeReading() {
        guard wantsRead, mayRead, let context else { return }
        wantsRead = false
        context.read()
    }

    // MARK: - For the worker

    /// The proxy stops: an idle connection closes, a busy one after its response.
    func drain() {
        if phase == .waiting, inbound.readableBytes == 0 { cut() }
    }

    func deadlinePassed() {
        deadline = .distantFuture
        switch phase {
        case .waiting where inbound.readableBytes > 0:
            refuse(.tooSlow)
        case .exchanging, .tunnelling: exchange?.timeOut()
        case .waiting, .lingering, .closed: cut()
        }
    }

    // MARK: - Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        guard !isRefused else { return }
        worker.register(self)
        becomeWaiting()
        if context.channel.isActive { becomeActive(context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        if isRefused { context.close(promise: nil) } else { becomeActive(context) }
    }

    private func becomeActive(_ context: ChannelHandlerContext) {
        let address = context.channel.remoteAddress?.ipAddress ?? "unknown"
        identity = ClientIdentity(
            address: Array(address.utf8), trustsForwarded: worker.configuration.trustsForwarded,
            isTLS: isTLS)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        gone()
        self.context = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        gone()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        cut()
    }

    func read(context: ChannelHandlerContext) {
        if mayRead { context.read() } else { wantsRead = true }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var buffer = unwrapInboundIn(data)
        switch phase {
        case .tunnelling:
            exchange?.sendBody(buffer)
            noteProgress(worker.configuration.tunnelTimeout)
        case .lingering:
            lingered += buffer.readableBytes
            if lingered > ProxyConfiguration.lingerLimit { cut() }
        case .closed: break
        case .waiting, .exchanging:
            inbound.append(&buffer)
            pump()
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        exchange?.flush()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { exchange?.upstream?.resumeReading() }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard let event = event as? ChannelEvent, event == .inputClosed else { return }
        inputClosed = true
        switch phase {
        case .waiting, .lingering, .closed: closeAfterFlush()
        case .exchanging where !body.isComplete: cut()
        // Nobody who says no more than that is told apart from one who has left: his place in line is for others.
        case .exchanging where exchange?.isInLine ?? false: cut()
        case .exchanging: break
        case .tunnelling: exchange?.upstream?.closeOutput()
        }
    }

    private var mayRead: Bool {
        switch phase {
        case .waiting, .lingering: true
        case .closed: false
        case .tunnelling: exchange?.acceptsBody ?? false
        case .exchanging:
            body.isComplete
                ? inbound.readableBytes < ProxyConfiguration.pipelineLimit : exchange?.acceptsBody ?? false
        }
    }

    private func gone() {
        let ended = exchange
        exchange = nil
        phase = .closed
        ended?.abort()
        worker.unregister(self)
    }

    // MARK: - Requests

    private func becomeWaiting() {
        phase = .waiting
        searched = 0
        let isWithinHead = inbound.readableBytes > 0
        if !isWithinHead { inbound = ByteBuffer() }
        let patience = isWithinHead ? worker.configuration.headTimeout : worker.configuration.idleTimeout
        deadline = worker.now + TimeAmount(patience)
    }

    /// Works on what has come until it needs more, or the current request has to be answered first.
    private func pump() {
        guard !isPumping else { return }
        isPumping = true
        var goesOn = true
        while goesOn {
            switch phase {
            case .waiting: goesOn = readHead()
            case .exchanging: goesOn = readBody()
            case .tunnelling: goesOn = passToTunnel()
            case .lingering, .closed: goesOn = false
            }
        }
        isPumping = false
        if phase == .waiting, inputClosed { closeGracefully() } else { resumeReading() }
    }

    /// Reads one head and starts its exchange; false when more bytes are needed.
    private func readHead() -> Bool {
        skipLeadingLines()
        guard inbound.readableBytes > 0, mayHoldWholeHead() else { return false }
        if isFresh, becomesHTTP2() { return false }
        let result = inbound.withUnsafeReadableBytes { bytes in
            Result { () throws(HTTPFault) in try head.scan(bytes) }
        }
        do throws(HTTPFault) {
            if try result.get() {
                try begin()
                return true
            }
            guard inbound.readableBytes < ProxyConfiguration.headLimit else { throw .headTooLong }
        } catch {
            refuse(.fault(error))
            return false
        }
        if searched == 0 { deadline = .now() + TimeAmount(worker.configuration.headTimeout) }
        searched = inbound.readableBytes
        return false
    }

    /// Hands the connection over when it begins as HTTP/2 does (RFC 9113 §3.4); nobody's method is `PRI`.
    private func becomesHTTP2() -> Bool {
        guard inbound.readableBytes >= 4, let context else { return false }
        isFresh = false
        guard inbound.withUnsafeReadableBytes({ Bytes.begins($0, with: "PRI ") }) else { return false }
        phase = .closed
        worker.unregister(self)
        let pipeline = context.pipeline.syncOperations
        do {
            try HTTP2Guard.add(to: context.channel, worker: worker, isTLS: false)
        } catch {
            context.close(promise: nil)
            return true
        }
        context.fireChannelRead(wrapInboundOut(inbound))
        context.fireChannelReadComplete()
        inbound = ByteBuffer()
        pipeline.removeHandler(context: context, promise: nil)
        return true
    }

    /// Empty lines before a request are forgiven (RFC 9112 §2.2).
    private func skipLeadingLines() {
        guard searched == 0 else { return }
        while let line = inbound.getInteger(at: inbound.readerIndex, as: UInt16.self), line == 0x0D0A {
            inbound.moveReaderIndex(forwardBy: 2)
        }
    }

    /// After a first look a head is looked at again only when its end has come, so that slow senders cost little.
    private func mayHoldWholeHead() -> Bool {
        guard searched > 0, inbound.readableBytes < ProxyConfiguration.headLimit else { return true }
        let hasEnd = inbound.withUnsafeReadableBytes { bytes in
            var at = max(0, searched - 3)
            while at + 3 < bytes.count {
                if bytes[at] == Ascii.cr, bytes[at + 1] == Ascii.lf, bytes[at + 2] == Ascii.cr { return true }
                at += 1
            }
            return false
        }
        if !hasEnd { searched = inbound.readableBytes }
        return hasEnd
    }

    private func begin() throws(HTTPFault) {
        body = BodyReader(head.framing)
        closesAfterResponse = false
        let (route, choice): (CompiledRoute, CompiledRoute.Choice)
        switch choose() {
        case .success((let found, let turn)):
            route = found
            choice = turn
        case .failure(let refusal):
            inbound.moveReaderIndex(forwardBy: head.length)
            answerUnrouted(refusal.problem)
            return
        }
        var out = context?.channel.allocator.buffer(capacity: head.length + 384) ?? ByteBuffer()
        let (requestID, trace) = inbound.withUnsafeReadableBytes { bytes in
            let id = head.requestID(bytes, &worker.ids)
            let given = head.block.facts.traceparent?.of(bytes)
            var trace = RequestTrace(given: given, requestID: id, ids: &worker.ids)
            trace.isChosen = worker.chooses(trace)
            head.writeUpstream(bytes, route: route, client: identity, id: id, trace: trace, to: &out)
            return (id, trace)
        }
        let headLength = out.readableBytes
        let kept = worker.isRecording ? AskedHead(head, at: inbound) : nil
        inbound.moveReaderIndex(forwardBy: head.length)
        if route.isHTTP2 { body = BodyReader(head.framing, keepsTrailers: true) }
        if var piece = try body.take(from: &inbound) { out.writeBuffer(&piece) }
        let asked = Asked(
            isHEAD: head.isHEAD, isIdempotent: head.isIdempotent, isVersion11: head.isVersion11,
            isStream: isStream, wantsUpgrade: head.wantsUpgrade, keepsAlive: head.keepsAlive, trace: trace,
            isMirrored: route.mirror?.copies(head) ?? false, head: kept)
        let exchange = Exchange(
            client: self, worker: worker, route: route, choice: choice, asked: asked, requestID: requestID,
            outgoing: out, headLength: headLength)
        self.exchange = exchange
        phase = .exchanging
        setRequestDeadline(of: exchange)
        exchange.start()
    }

    /// The route of the request and whose turn it is on it, or why it has none.
    private func choose() -> Result<(CompiledRoute, CompiledRoute.Choice), Refusal> {
        let (table, counters) = (worker.table, worker.core.counters)
        return inbound.withUnsafeReadableBytes { bytes in
            guard let route = table.match(host: head.host.of(bytes), path: head.path.of(bytes)) else {
                counters.unrouted.wrappingAdd(1, ordering: .relaxed)
                return .failure(Refusal(problem: .noRoute))
            }
            if !route.memory.limiters.isEmpty,
                let wait = route.refuseByRate(head, bytes, client: identity.address, now: .now())
            {
                counters.limited.wrappingAdd(1, ordering: .relaxed)
                return .failure(Refusal(problem: .tooMany(route.service, wait: wait)))
            }
            guard let choice = route.choose(head, bytes) else {
                counters.unrouted.wrappingAdd(1, ordering: .relaxed)
                return .failure(Refusal(problem: .noEndpoint(route.service)))
            }
            return .success((route, choice))
        }
    }

    /// Passes on what has come of the body; false when there is nothing to do before something else happens.
    private func readBody() -> Bool {
        guard let exchange, !body.isComplete, inbound.readableBytes > 0 else { return false }
        do throws(HTTPFault) {
            if let piece = try body.take(from: &inbound) { exchange.sendBody(piece) }
        } catch {
            exchange.refuse(.fault(error))
            return false
        }
        if exchange.hasResponded { noteProgress(exchange.idlePatience) } else { setRequestDeadline(of: exchange) }
        return true
    }

    private func passToTunnel() -> Bool {
        if inbound.readableBytes > 0 {
            exchange?.sendBody(inbound)
            exchange?.flush()
            inbound = ByteBuffer()
        }
        return false
    }

    /// While the body comes in, patience is with the client; then with the upstream. On a stream both may talk at once.
    private func setRequestDeadline(of exchange: Exchange) {
        let isForUpstream = body.isComplete || exchange.route.isHTTP2
        let patience = isForUpstream ? exchange.route.timeout : TimeAmount(worker.configuration.bodyTimeout)
        deadline = exchange.deadline(from: .now(), patience)
    }

    // MARK: - Answers of our own and ends

    private func answerUnrouted(_ problem: ProxyProblem) {
        answer(problem, requestID: nil, isHEAD: head.isHEAD)
        flush()
        if closesAfterResponse { closeGracefully() } else if phase == .waiting { becomeWaiting() }
    }

    private func refuse(_ problem: ProxyProblem) {
        worker.core.counters.refused.wrappingAdd(1, ordering: .relaxed)
        closesAfterResponse = true
        send(problem.response(requestID: nil, closes: true, isHEAD: false))
        linger()
    }

    private func closeGracefully() {
        if body.isComplete && inbound.readableBytes == 0 { closeAfterFlush() } else { linger() }
    }

    private func linger() {
        guard !inputClosed else {
            closeAfterFlush()
            return
        }
        phase = .lingering
        deadline = worker.now + TimeAmount(worker.configuration.lingerTimeout)
        inbound = ByteBuffer()
        flush()
        context?.close(mode: .output, promise: nil)
        resumeReading()
    }

    private func closeAfterFlush() {
        guard let context, phase != .closed else { return }
        phase = .closed
        deadline = worker.now + TimeAmount(worker.configuration.lingerTimeout)
        // Closing drops what is still unsent, so it waits for an empty write at the end of the queue.
        context.writeAndFlush(wrapOutboundOut(ByteBuffer())).assumeIsolated().whenComplete { _ in
            context.close(promise: nil)
        }
    }
}

/// Why a request goes nowhere.
private struct Refusal: Error {
    var problem: ProxyProblem
}
