import NIOCore

/// What there is to know of a request once its head has been sent on.
struct Asked {
    var isHEAD: Bool
    var isIdempotent: Bool
    var isVersion11: Bool
    /// Asked by HTTP/2, whose responses may have trailers.
    var isStream: Bool
    var wantsUpgrade: Bool
    var keepsAlive: Bool
    var trace: RequestTrace
    /// A copy of it goes to the route's mirror.
    var isMirrored = false
    /// Kept while requests are recorded.
    var head: AskedHead?
}

/// A head as it came, of which text is made only when its request is told.
struct AskedHead {
    private let bytes: ByteBuffer
    private let ranges: (method: ByteRange, target: ByteRange, authority: ByteRange)

    /// - Parameter inbound: Begins with the head.
    init?(_ head: RequestHead, at inbound: ByteBuffer) {
        guard let bytes = inbound.getSlice(at: inbound.readerIndex, length: head.length) else { return nil }
        self.bytes = bytes
        ranges = (head.method, head.target, head.authority)
    }

    var method: String { text(ranges.method) }
    var target: String { text(ranges.target) }
    var authority: String { text(ranges.authority) }

    private func text(_ range: ByteRange) -> String {
        bytes.withUnsafeReadableBytes { String(decoding: range.of($0), as: UTF8.self) }
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
    /// The copy of this request, while there is one.
    private(set) var mirror: MirrorShot?
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
    private(set) var isInLine = false
    /// A stale connection was replaced already.
    private var hasRenewed = false
    private let cookieLine: [UInt8]
    private let totalDeadline: NIODeadline
    private var liveDigest: BodyDigest?
    private var respondedAt: NIODeadline?
    private var requestBytes = 0
    private var responseBytes = 0

    /// - Parameters:
    ///   - client: Whose request it is.
    ///   - worker: The loop's worker.
    ///   - route: Where it goes.
    ///   - choice: Whose turn it is.
    ///   - asked: What is remembered of the head.
    ///   - requestID: Written into the head already.
    ///   - outgoing: The head as it goes upstream, and what came of the body.
    ///   - headLength: Bytes of the head in `outgoing`.
    init(
        client: ClientConnection, worker: Worker, route: CompiledRoute, choice: CompiledRoute.Choice, asked: Asked,
        requestID: RequestID, outgoing: ByteBuffer, headLength: Int
    ) {
        self.client = client
        self.worker = worker
        self.route = route
        revision = choice.revision
        self.asked = asked
        self.requestID = requestID
        cookieLine = choice.newSlot.flatMap { route.sticky?.setCookie($0) } ?? []
        self.outgoing = outgoing
        outgoingLimit = headLength + ProxyConfiguration.replayLimit
        // HTTP/2 tells of requests that nobody looked at, which may be sent again whatever they ask.
        keepsOutgoing = asked.isIdempotent || route.isHTTP2
        let now = NIODeadline.now()
        startedAt = now
        totalDeadline = route.total.map { now + $0 } ?? .distantFuture
    }

    // MARK: - Request

    /// Counts the request as under way and sends it off.
    func start() {
        revision.cell.begin()
        if route.retries { route.memory.budget.noteRequest() }
        if asked.isMirrored, let copies = route.mirror {
            mirror = MirrorShot(
                worker: worker, route: route, mirror: copies, live: revision, isHEAD: asked.isHEAD, head: outgoing,
                headLength: outgoingLimit - ProxyConfiguration.replayLimit)
        }
        if route.limits != nil, worker.line.holds(revision) {
            wait(for: revision)
        } else {
            dispatch(avoiding: nil, fresh: false, otherwise: .noEndpoint(route.service))
        }
        // After the request itself, which shall not wait for its copy.
        if client.hasWholeRequest { mirror?.requestEnded() }
    }

    /// The last byte of the request has been handed to the upstream.
    var isRequestSent: Bool { upstream != nil && client.hasWholeRequest }

    /// Whether there is room for more of the body.
    var acceptsBody: Bool { upstream?.isWritable ?? (outgoing.readableBytes < outgoingLimit) }

    /// Sends on a piece of the body, to be flushed by `flush`.
    func sendBody(_ piece: ByteBuffer) {
        if let mirror {
            mirror.feed(piece)
            if client.hasWholeRequest { mirror.requestEnded() }
        }
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
        requestBytes += piece.readableBytes
        upstream.send(piece)
    }

    /// The deadline of something that shall happen within `patience`, as far as the whole request may take so long.
    func deadline(from now: NIODeadline, _ patience: TimeAmount) -> NIODeadline {
        isTunnel ? now + patience : min(now + patience, totalDeadline)
    }

    /// Time without a byte either way once the response began.
    var idlePatience: Duration {
        route.timeouts?.idle_ms.map { .milliseconds(max(1, $0)) } ?? worker.configuration.streamTimeout
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
        let limits = route.limits
        guard endpoint.begin(limit: limits?.requests ?? .max) else {
            attempts -= 1
            wait(for: chosen)
            return
        }
        self.endpoint = endpoint
        if !fresh, let pooled = worker.takeIdle(endpoint) {
            attach(pooled)
        } else if endpoint.isHTTP2 || worker.beginConnection(to: endpoint, limit: limits?.connections ?? .max) {
            let patience = route.timeouts?.connect_ms.map { Duration.milliseconds(max(1, $0)) }
            worker.connect(to: endpoint, within: patience) { self.connected($0, endpoint) }
        } else {
            leaveEndpoint()
            attempts -= 1
            wait(for: chosen)
        }
    }

    /// Takes a place in line until an endpoint may have one more request.
    private func wait(for revision: CompiledRevision) {
        guard revision.joinLine(limit: route.limits?.pending ?? 0) else {
            fail(.overloaded(route.service))
            return
        }
        isInLine = true
        worker.line.add(self, for: revision)
    }

    /// It is first in line and something may have changed.
    ///
    /// - Returns: Whether it is no longer in line.
    func leaveLine() -> Bool {
        guard isInLine else { return true }
        if let (_, endpoint) = route.endpoint(first: revision, avoiding: nil, now: .now()) {
            let (requests, connections) = (route.limits?.requests ?? .max, route.limits?.connections ?? .max)
            guard endpoint.load < requests, worker.hasRoom(at: endpoint, limit: connections) else { return false }
        }
        isInLine = false
        revision.leaveLine()
        dispatch(avoiding: nil, fresh: false, otherwise: .noEndpoint(route.service))
        // Another loop was quicker: it is in line again, at the end, which is rare enough.
        return true
    }

    /// It is still in line, so the loops that hold the places are asked for one, unless requests are what is too many.
    func wantPlace() {
        guard isInLine, let (_, endpoint) = route.endpoint(first: revision, avoiding: nil, now: .now()),
            let limits = route.limits, endpoint.load < limits.requests, !endpoint.isHTTP2
        else { return }
        worker.wantPlace(at: endpoint, limit: limits.connections)
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
        requestBytes += request.readableBytes
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
            revisionLine: revision.headerLine, cookieLine: cookieLine, requestID: requestID, isChunked: isChunked,
            closes: closes,
            saysKeepAlive: !asked.isVersion11 && !closes)
    }

    /// The final head is on its way to the client: nothing can be tried again.
    func beginResponse(status: Int, closes: Bool) {
        self.status = status
        hasResponded = true
        forgetOutgoing()
        if closes { client.closesAfterResponse = true }
        if asked.head != nil { respondedAt = .now() }
        client.noteProgress(idlePatience)
    }

    /// Sends a piece of the response, to be flushed.
    func respond(_ piece: ByteBuffer) {
        responseBytes += piece.readableBytes
        client.send(piece)
    }

    /// Whether a response of this status shall be thrown away and the request tried once more; spends a retry if so.
    func triesAgain(after status: Int) -> Bool {
        route.retries && route.retryStatuses.contains(status) && mayResend()
    }

    /// The upstream was let go because its answer counts as failed.
    func tryAgain() {
        upstream = nil
        let failed = endpoint
        leaveEndpoint(hasFailed: true)
        dispatch(avoiding: failed, fresh: false, otherwise: .noEndpoint(route.service))
    }

    /// Whether what was sent may be sent again, by the policy and the budget; counts the attempt.
    private func mayResend() -> Bool {
        guard keepsOutgoing, asked.isIdempotent, resends < route.attempts, route.memory.budget.spend(at: .now()) else {
            return false
        }
        resends += 1
        return true
    }

    /// The whole response has been handed to the client; the upstream has let go already.
    ///
    /// - Parameter status: What it amounts to, when its head did not tell.
    func endResponse(_ digest: BodyDigest?, status: Int? = nil) {
        upstream = nil
        if let status { self.status = status }
        liveDigest = digest
        finish()
        client.exchangeEnded()
    }

    /// Both sides speak past the proxy from now on.
    func openTunnel() {
        status = 101
        hasResponded = true
        isTunnel = true
        if asked.head != nil { respondedAt = .now() }
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
        let problem = ProxyProblem.broken(route.service, "closed the connection before it answered")
        // A kept connection may just have been too old, which says nothing against its endpoint, costs no budget and is
        // tried anew whatever the route says, as browsers do (RFC 9112 §9.3.1).
        // Nor does a stream say so that the other side tells that it has not looked at.
        let isUntouched = connection.isRefused || (connection.isReused && asked.isIdempotent)
        let isStale = isUntouched && connection.isSilent && keepsOutgoing && !hasRenewed
        leaveEndpoint(hasFailed: !isStale)
        if isStale {
            hasRenewed = true
            dispatch(avoiding: nil, fresh: true, otherwise: problem)
        } else if connection.isSilent, route.retries, mayResend() {
            dispatch(avoiding: failed, fresh: true, otherwise: problem)
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
        } else if !client.hasWholeRequest, acceptsBody, !route.isHTTP2 {
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

    /// - Parameter hasFailed: nil says nothing about the endpoint.
    private func leaveEndpoint(hasFailed: Bool? = nil) {
        guard let endpoint else { return }
        self.endpoint = nil
        instance = endpoint.endpoint.instance
        endpoint.end()
        if let outliers = route.outliers, let hasFailed {
            revision.note(endpoint, hasFailed: hasFailed, outliers, at: .now())
        }
        if route.limits != nil { worker.line.wake(revision) }
    }

    private var elapsed: UInt64 {
        UInt64(max(0, (NIODeadline.now() - startedAt).nanoseconds)) / 1_000
    }

    private func finish(isTransportError: Bool = false, isClientAbort: Bool = false) {
        guard !isFinished else { return }
        isFinished = true
        if isInLine {
            isInLine = false
            revision.leaveLine()
        }
        leaveEndpoint(hasFailed: isClientAbort ? nil : isTransportError || status >= 500)
        outgoing = ByteBuffer()
        let time = elapsed
        if let mirror {
            mirror.liveEnded(isClientAbort ? nil : MirrorAnswer(status: status, digest: liveDigest ?? BodyDigest()))
            self.mirror = nil
        }
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
        guard let head = asked.head else { return }
        let isOfInterest = isTransportError || status >= 500 || (!isTunnel && worker.isSlow(time))
        guard isOfInterest || asked.trace.isChosen else { return }
        worker.record(
            AccessRecord(
                service: route.service, revision: revision.name, instance: instance, method: head.method,
                target: head.target, host: head.authority, client: String(decoding: client.address, as: UTF8.self),
                status: status == 0 ? 499 : status, durationMicroseconds: time,
                firstByteMicroseconds: respondedAt.map { UInt64(max(0, ($0 - startedAt).nanoseconds)) / 1_000 },
                requestBytes: requestBytes, responseBytes: responseBytes, attempts: attempts,
                requestID: requestID.text, isTransportError: isTransportError, trace: asked.trace,
                endedAt: NIODeadline.now().uptimeNanoseconds))
    }
}
