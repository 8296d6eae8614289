import NIOCore

/// What there is to know of a request once its head has been sent on.
struct Asked {
    var isHEAD: Bool
    var isIdempotent: Bool
    var isVersion11: Bool
    var wantsUpgrade: Bool
    var keepsAlive: Bool
    var trace: RequestTrace
    /// The head as it goes upstream, while requests are recorded.
    var head: ByteBuffer?

    /// Method and target of the head's first line.
    var line: (method: String, target: String) {
        let words = (head?.readableBytesView.prefix { $0 != Ascii.cr } ?? []).split(separator: Ascii.space)
        guard words.count == 3 else { return ("", "") }
        return (String(decoding: words[0], as: UTF8.self), String(decoding: words[1], as: UTF8.self))
    }
}

/// One request on its way: chooses an endpoint, tries again where that is safe, and is counted once at its end.
///
/// It keeps the route it began with, whatever table is swapped in meanwhile. Client and exchange hold each other
/// until one of the `end…`, `fail`, `abort` or `upstreamBrokeOff` calls parts them.
final class Exchange {
    let client: ClientConnection
    let route: CompiledRoute
    let asked: Asked
    let requestID: RequestID
    private(set) var upstream: UpstreamConnection?
    private(set) var hasResponded = false
    private let worker: Worker
    private let startedAt: NIODeadline
    private var revision: CompiledRevision
    private var endpoint: EndpointState?
    private var instance = ""
    private var status = 0
    /// The request from its head on: all of it until connected, then for as long as it could be sent again.
    private var outgoing: ByteBuffer
    private let outgoingLimit: Int
    private var keepsOutgoing: Bool
    private var attempts = 0
    private var resends = 0
    private var refusals = 0
    private var isFinished = false
    private var isTunnel = false

    /// - Parameters:
    ///   - client: Whose request it is.
    ///   - worker: The loop's worker.
    ///   - route: Where it goes.
    ///   - revision: Whose turn it is.
    ///   - asked: What is remembered of the head.
    ///   - requestID: Written into the head already.
    ///   - outgoing: The head as it goes upstream, and what came of the body.
    ///   - headLength: Bytes of the head in `outgoing`.
    init(
        client: ClientConnection, worker: Worker, route: CompiledRoute, revision: CompiledRevision, asked: Asked,
        requestID: RequestID, outgoing: ByteBuffer, headLength: Int
    ) {
        self.client = client
        self.worker = worker
        self.route = route
        self.revision = revision
        self.asked = asked
        self.requestID = requestID
        self.outgoing = outgoing
        outgoingLimit = headLength + ProxyConfiguration.replayLimit
        keepsOutgoing = route.retries || asked.isIdempotent
        startedAt = .now()
    }

    // MARK: - Request

    /// Counts the request as under way and sends it off.
    func start() {
        revision.cell.begin()
        dispatch(avoiding: nil, fresh: false, otherwise: .noEndpoint(route.service))
    }

    /// The last byte of the request has been handed to the upstream.
    var isRequestSent: Bool { upstream != nil && client.hasWholeRequest }

    /// Whether there is room for more of the body.
    var acceptsBody: Bool { upstream?.isWritable ?? (outgoing.readableBytes < outgoingLimit) }

    /// Sends on a piece of the body, to be flushed by `flush`.
    func sendBody(_ piece: ByteBuffer) {
        guard let upstream else {
            outgoing.writeImmutableBuffer(piece)
            return
        }
        if keepsOutgoing {
            if outgoing.readableBytes + piece.readableBytes <= outgoingLimit {
                outgoing.writeImmutableBuffer(piece)
            } else {
                forgetOutgoing()
            }
        }
        upstream.send(piece)
    }

    func flush() {
        upstream?.flush()
    }

    private func dispatch(avoiding avoided: EndpointState?, fresh: Bool, otherwise problem: ProxyProblem) {
        guard let (chosen, endpoint) = route.endpoint(first: revision, avoiding: avoided, now: .now()) else {
            fail(problem)
            return
        }
        if attempts > 0 || chosen !== revision { revision.cell.noteFailover() }
        attempts += 1
        if chosen !== revision {
            revision.cell.leave()
            revision = chosen
            revision.cell.begin()
        }
        endpoint.begin()
        self.endpoint = endpoint
        if !fresh, let pooled = worker.takeIdle(endpoint) {
            attach(pooled)
        } else {
            worker.connect(to: endpoint) { self.connected($0, endpoint) }
        }
    }

    private func connected(_ result: Result<UpstreamConnection, any Error>, _ endpoint: EndpointState) {
        switch result {
        case .success(let connection):
            if isFinished { worker.release(connection) } else { attach(connection) }
        case .failure(let error):
            endpoint.eject(until: .now() + TimeAmount(worker.configuration.ejection))
            guard !isFinished else { return }
            leaveEndpoint()
            refusals += 1
            let isTimeout = if case ChannelError.connectTimeout = error { true } else { false }
            let problem: ProxyProblem = isTimeout ? .timeout(route.service) : .unreachable(route.service)
            if route.retries, refusals < ProxyConfiguration.connectAttempts {
                dispatch(avoiding: endpoint, fresh: false, otherwise: problem)
            } else {
                fail(problem)
            }
        }
    }

    private func attach(_ connection: UpstreamConnection) {
        upstream = connection
        connection.begin(self)
        let request = outgoing
        if !keepsOutgoing || outgoing.readableBytes > outgoingLimit { forgetOutgoing() }
        connection.send(request)
        connection.flush()
        client.resumeReading()
    }

    private func forgetOutgoing() {
        keepsOutgoing = false
        outgoing = ByteBuffer()
    }

    // MARK: - Response

    /// What this request adds to its response head.
    func dressing(isChunked: Bool, endsConnection: Bool) -> ResponseDressing {
        let closes = endsConnection || !asked.keepsAlive || worker.isEnding
        return ResponseDressing(
            revisionLine: revision.headerLine, requestID: requestID, isChunked: isChunked, closes: closes,
            saysKeepAlive: !asked.isVersion11 && !closes)
    }

    /// The final head is on its way to the client: nothing can be tried again.
    func beginResponse(status: Int, closes: Bool) {
        self.status = status
        hasResponded = true
        forgetOutgoing()
        if closes { client.closesAfterResponse = true }
        client.noteProgress(worker.configuration.streamTimeout)
    }

    /// The whole response has been handed to the client; the upstream has let go already.
    func endResponse() {
        upstream = nil
        finish()
        client.exchangeEnded()
    }

    /// Both sides speak past the proxy from now on.
    func openTunnel() {
        status = 101
        hasResponded = true
        isTunnel = true
        forgetOutgoing()
        revision.cell.end(RequestEnd(status: 101, microseconds: elapsed), staysActive: true)
        client.beginTunnel()
    }

    /// One side of the tunnel is gone.
    func endTunnel() {
        upstream = nil
        finish()
        client.endTunnel()
    }

    // MARK: - What goes wrong

    /// The upstream is gone before its response head was whole.
    func upstreamLost(_ connection: UpstreamConnection) {
        guard upstream === connection else { return }
        upstream = nil
        let failed = endpoint
        leaveEndpoint()
        let problem = ProxyProblem.broken(route.service, "closed the connection before it answered")
        let maySendAgain = route.retries || (connection.isReused && asked.isIdempotent)
        if connection.isSilent, keepsOutgoing, resends == 0, maySendAgain {
            resends = 1
            // A kept connection may just have been too old, which says nothing against its endpoint.
            dispatch(avoiding: connection.isReused ? nil : failed, fresh: true, otherwise: problem)
        } else {
            fail(problem)
        }
    }

    /// The upstream is gone, or not to be trusted, in the middle of its response: the client must not take what it
    /// has for the whole.
    func upstreamBrokeOff() {
        upstream = nil
        finish(isTransportError: true)
        client.cut()
    }

    /// Answers instead of the upstream.
    func fail(_ problem: ProxyProblem) {
        guard !isFinished else { return }
        status = problem.status
        detach()
        finish(isTransportError: true)
        client.answer(problem, requestID: requestID, isHEAD: asked.isHEAD)
        client.exchangeEnded()
    }

    /// The client's body is broken or too slow.
    func refuse(_ problem: ProxyProblem) {
        detach()
        guard !hasResponded else {
            finish(isClientAbort: true)
            client.cut()
            return
        }
        status = problem.status
        finish(isClientAbort: true)
        client.closesAfterResponse = true
        client.answer(problem, requestID: requestID, isHEAD: asked.isHEAD)
        client.exchangeEnded()
    }

    /// The deadline has passed; whoever was awaited is to blame.
    func timeOut() {
        if isTunnel {
            detach()
            endTunnel()
        } else if hasResponded {
            let isClientStuck = !client.isWritable
            detach()
            finish(isTransportError: !isClientStuck, isClientAbort: isClientStuck)
            client.cut()
        } else if !client.hasWholeRequest, acceptsBody {
            refuse(.tooSlow)
        } else {
            fail(.timeout(route.service))
        }
    }

    /// The client is gone.
    func abort() {
        detach()
        finish(isClientAbort: true)
    }

    private func detach() {
        let connection = upstream
        upstream = nil
        connection?.close()
    }

    private func leaveEndpoint() {
        instance = endpoint?.endpoint.instance ?? instance
        endpoint?.end()
        endpoint = nil
    }

    private var elapsed: UInt64 {
        UInt64(max(0, (NIODeadline.now() - startedAt).nanoseconds)) / 1_000
    }

    private func finish(isTransportError: Bool = false, isClientAbort: Bool = false) {
        guard !isFinished else { return }
        isFinished = true
        leaveEndpoint()
        outgoing = ByteBuffer()
        let time = elapsed
        if isTunnel {
            revision.cell.leave()
        } else {
            revision.cell.end(
                RequestEnd(
                    status: status, microseconds: time, isTransportError: isTransportError,
                    isClientAbort: isClientAbort))
        }
        record(time, isTransportError: isTransportError)
    }

    private func record(_ time: UInt64, isTransportError: Bool) {
        guard worker.isRecording else { return }
        let isOfInterest = isTransportError || status >= 500 || (!isTunnel && worker.isSlow(time))
        guard isOfInterest || asked.trace.isChosen else { return }
        let line = asked.line
        let prefix = route.stripsPrefix ? String(decoding: route.prefix, as: UTF8.self) : ""
        worker.record(
            AccessRecord(
                service: route.service, revision: revision.name, instance: instance, method: line.method,
                target: prefix + line.target, status: status == 0 ? 499 : status, durationMicroseconds: time,
                requestID: requestID.text, isTransportError: isTransportError, trace: asked.trace,
                endedAt: NIODeadline.now().uptimeNanoseconds))
    }
}
