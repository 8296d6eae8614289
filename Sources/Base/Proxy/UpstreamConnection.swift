import NIOCore

/// The proxy's end of a connection to an endpoint: reads response heads, hands bodies on, is pooled in between.
final class UpstreamConnection: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum State {
        case idle, head, body, tunnel, closed
    }

    let endpoint: EndpointState
    /// Set when it is a stream of an HTTP/2 connection: good for one request.
    let translator: UpstreamTranslator?
    /// It has served a request before, so it may have been closed by the other side meanwhile.
    private(set) var isReused = false
    /// Nothing of the current response has come yet.
    private(set) var isSilent = true
    var idleSince = NIODeadline.now()
    private let worker: Worker
    private var context: ChannelHandlerContext?
    private var state = State.idle
    private var exchange: Exchange?
    private var inbound = ByteBuffer()
    private var head = ResponseHead()
    private var body = BodyReader()
    private var interims = 0
    private var wantsRead = false
    private var inputClosed = false

    init(endpoint: EndpointState, worker: Worker) {
        self.endpoint = endpoint
        translator = endpoint.isHTTP2 ? UpstreamTranslator() : nil
        self.worker = worker
    }

    var isRefused: Bool { translator?.isRefused ?? false }
    var isWritable: Bool { context?.channel.isWritable ?? false }

    /// Takes on an exchange; its request is sent by `send` and `flush`.
    func begin(_ exchange: Exchange) {
        self.exchange = exchange
        state = .head
        isSilent = true
        interims = 0
    }

    func send(_ buffer: ByteBuffer) {
        context?.write(wrapOutboundOut(buffer), promise: nil)
    }

    func flush() {
        context?.flush()
    }

    /// Ends the sending side once everything is sent (in a tunnel).
    func closeOutput() {
        guard let context else { return }
        guard inputClosed else {
            context.close(mode: .output, promise: nil)
            return
        }
        context.writeAndFlush(wrapOutboundOut(ByteBuffer())).assumeIsolated().whenComplete { _ in
            context.close(promise: nil)
        }
    }

    /// Lets go of the exchange, if any, and closes.
    func close() {
        exchange = nil
        state = .closed
        context?.close(promise: nil)
    }

    func resumeReading() {
        guard wantsRead, mayRead, let context else { return }
        wantsRead = false
        context.read()
    }

    private var mayRead: Bool {
        guard let exchange, state != .closed else { return true }
        return exchange.client.isWritable
    }

    // MARK: - Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        lost()
    }

    func read(context: ChannelHandlerContext) {
        if mayRead { context.read() } else { wantsRead = true }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var buffer = unwrapInboundIn(data)
        guard let exchange else {
            // Bytes nobody asked for would be taken for the next request's answer.
            worker.forget(self)
            close()
            return
        }
        isSilent = false
        switch state {
        case .head:
            inbound.append(&buffer)
            readHead(for: exchange)
        case .body: relay(&buffer, of: exchange)
        case .tunnel:
            exchange.respond(buffer)
            exchange.client.noteProgress(worker.configuration.tunnelTimeout)
        case .idle, .closed: break
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        exchange?.client.flush()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { exchange?.client.resumeReading() }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard let event = event as? ChannelEvent, event == .inputClosed else { return }
        inputClosed = true
        if state == .tunnel, let exchange {
            exchange.client.closeOutput()
        } else {
            endOfInput()
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        lost()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
        lost()
    }

    // MARK: - Responses

    private func readHead(for exchange: Exchange) {
        while state == .head {
            let result = inbound.withUnsafeReadableBytes { bytes in
                Result { () throws(HTTPFault) in try head.scan(bytes) }
            }
            do throws(HTTPFault) {
                guard try result.get() else {
                    guard inbound.readableBytes < ProxyConfiguration.headLimit else { throw .headTooLong }
                    return
                }
                if head.status >= 200, exchange.triesAgain(after: head.status) {
                    close()
                    exchange.tryAgain()
                } else if head.status >= 200 {
                    try begin(head, of: exchange)
                } else if head.status == 101 {
                    try openTunnel(of: exchange)
                } else {
                    try relayInterim(of: exchange)
                }
            } catch {
                fail(exchange, .broken(exchange.route.service, "sent a response that is not sound: \(error.message)"))
            }
        }
    }

    private func relayInterim(of exchange: Exchange) throws(HTTPFault) {
        interims += 1
        guard interims <= ProxyConfiguration.interimLimit else { throw .bad("too many interim responses") }
        if exchange.asked.isVersion11 {
            var out = ByteBuffer()
            inbound.withUnsafeReadableBytes { head.writeInterim($0, to: &out) }
            exchange.respond(out)
        }
        inbound.moveReaderIndex(forwardBy: head.length)
    }

    private func begin(_ head: ResponseHead, of exchange: Exchange) throws(HTTPFault) {
        let asked = exchange.asked
        let framing = try head.framing(toHEAD: asked.isHEAD)
        var relay = BodyReader.Relay.raw
        let facts = head.block.facts
        // A response to HEAD, or a 304, tells the framing of a body that does not come.
        var goesInChunks =
            framing == .none && facts.isChunked && facts.contentLength == nil && head.status != 204 && asked.isVersion11
        var endsConnection = false
        switch framing {
        case .chunked:
            relay = asked.isVersion11 ? .raw : .decoded
            goesInChunks = asked.isVersion11
            endsConnection = !asked.isVersion11
        case .untilClose:
            relay = asked.isVersion11 ? .encoded : .raw
            goesInChunks = asked.isVersion11
            endsConnection = !asked.isVersion11
        case .none, .length: break
        }
        body = BodyReader(framing, relay: relay, keepsTrailers: asked.isStream)
        if exchange.mirror != nil { body.digest = BodyDigest() }
        var out = context?.channel.allocator.buffer(capacity: head.length + 256) ?? ByteBuffer()
        let dressing = exchange.dressing(isChunked: goesInChunks, endsConnection: endsConnection)
        inbound.withUnsafeReadableBytes { head.writeDownstream($0, dressing, to: &out) }
        inbound.moveReaderIndex(forwardBy: head.length)
        let piece = try body.take(from: &inbound)
        exchange.beginResponse(status: head.status, closes: dressing.closes)
        state = .body
        deliver(out, piece, to: exchange)
    }

    /// Sends a head and the first piece of its body in one write when that is small.
    private func deliver(_ head: ByteBuffer, _ piece: ByteBuffer?, to exchange: Exchange) {
        var head = head
        if var piece, piece.readableBytes <= ProxyConfiguration.coalesceLimit {
            head.writeBuffer(&piece)
            exchange.respond(head)
        } else {
            exchange.respond(head)
            if let piece { exchange.respond(piece) }
        }
        if body.isComplete { finish(exchange) }
    }

    private func relay(_ buffer: inout ByteBuffer, of exchange: Exchange) {
        do throws(HTTPFault) {
            if let piece = try body.take(from: &buffer) { exchange.respond(piece) }
        } catch {
            cut(exchange)
            return
        }
        if body.isComplete {
            inbound = buffer
            finish(exchange)
        } else {
            exchange.client.noteProgress(exchange.idlePatience)
        }
    }

    private func finish(_ exchange: Exchange) {
        let isClean = inbound.readableBytes == 0 && !inputClosed && exchange.isRequestSent && !body.endsWithConnection
        inbound = ByteBuffer()
        self.exchange = nil
        if translator != nil {
            // It is over by itself, but for what the other side did not want of the request.
            state = .closed
            if !exchange.isRequestSent { context?.close(promise: nil) }
        } else if isClean, head.keepsAlive, let context, context.channel.isActive {
            state = .idle
            isReused = true
            worker.release(self)
            resumeReading()
        } else {
            close()
        }
        exchange.endResponse(body.digest, status: translator?.grpcAnswer)
    }

    private func openTunnel(of exchange: Exchange) throws(HTTPFault) {
        guard exchange.asked.wantsUpgrade, head.block.facts.upgradesToWebSocket else {
            throw .bad("it switched protocols unasked")
        }
        var out = ByteBuffer()
        var dressing = exchange.dressing(isChunked: false, endsConnection: false)
        dressing.isUpgrade = true
        inbound.withUnsafeReadableBytes { head.writeDownstream($0, dressing, to: &out) }
        inbound.moveReaderIndex(forwardBy: head.length)
        state = .tunnel
        exchange.respond(out)
        if inbound.readableBytes > 0 { exchange.respond(inbound) }
        inbound = ByteBuffer()
        exchange.openTunnel()
    }

    // MARK: - Ends

    /// The other side will send no more.
    private func endOfInput() {
        if state == .body, body.endsWithConnection, let exchange {
            if let last = body.endOfConnection() { exchange.respond(last) }
            finish(exchange)
        } else {
            context?.close(promise: nil)
            lost()
        }
    }

    /// The connection is gone, whatever it was doing.
    private func lost() {
        let before = state
        let exchange = exchange
        state = .closed
        self.exchange = nil
        switch before {
        case .idle: worker.forget(self)
        case .head: exchange?.upstreamLost(self)
        case .body: exchange?.upstreamBrokeOff()
        case .tunnel: exchange?.endTunnel()
        case .closed: break
        }
    }

    private func fail(_ exchange: Exchange, _ problem: ProxyProblem) {
        close()
        exchange.fail(problem)
    }

    private func cut(_ exchange: Exchange) {
        close()
        exchange.upstreamBrokeOff()
    }
}

extension ByteBuffer {
    /// Adds what came to what is still unread, taking its memory over when nothing is.
    mutating func append(_ other: inout ByteBuffer) {
        if readableBytes == 0 {
            self = other
        } else {
            writeBuffer(&other)
        }
    }
}
