import NIOCore
import Synchronization

/// A body told by its length and a hash, so that two can be compared without being kept.
struct BodyDigest: Equatable, Sendable {
    private(set) var hash = Bytes.hashSeed
    private(set) var count = 0

    mutating func add(_ bytes: UnsafeRawBufferPointer) {
        count += bytes.count
        for byte in bytes { hash = Bytes.hash(hash, byte) }
    }
}

/// The live numbers of one mirror.
final class MirrorCell: Sendable {
    private let answers: RevisionCell
    private let counters: Mutex<MirrorCounters>

    init(service: String, revision: String) {
        answers = RevisionCell(service: service, revision: revision)
        counters = Mutex(MirrorCounters(service: service, revision: revision))
    }

    func note(_ change: (inout MirrorCounters) -> Void) {
        counters.withLock { change(&$0) }
    }

    func begin() { answers.begin() }
    func end(_ end: RequestEnd) { answers.end(end) }

    var snapshot: MirrorCounters {
        var copy = counters.withLock { $0 }
        copy.answers = answers.snapshot
        return copy
    }
}

/// Where copies of a route's requests go.
struct CompiledMirror: Sendable {
    let revision: CompiledRevision
    let cell: MirrorCell
    private let turns: WeightSchedule
    private let copiesWrites: Bool

    /// nil when nothing is copied, or the settings make no sense.
    init?(
        _ mirror: MirrorRoute, service: String, revisions: [CompiledRevision], turns: WeightSchedule?,
        _ counters: CounterRegistry
    ) {
        guard let turns, let revision = revisions.first(where: { $0.name == mirror.revision }) else { return nil }
        self.revision = revision
        self.turns = turns
        copiesWrites = mirror.writes ?? false
        cell = counters.mirrorCell(service: service, revision: mirror.revision)
    }

    /// Whether it is a request's turn to be copied.
    func copies(_ head: RequestHead) -> Bool {
        (copiesWrites || head.isSafe) && !head.wantsUpgrade && turns.next() == 0
    }
}

/// One copied request: gathers it, sends it off once it is whole, and compares the two answers.
///
/// It belongs to nobody's connection: whatever becomes of the copy, the client's request does not know.
final class MirrorShot {
    private let worker: Worker
    private let route: CompiledRoute
    private let mirror: CompiledMirror
    private let liveRevision: CompiledRevision
    private let isHEAD: Bool
    private var request: ByteBuffer
    private let limit: Int
    private var endpoint: EndpointState?
    private var connection: MirrorConnection?
    private var startedAt = NIODeadline.now()
    private(set) var deadline: NIODeadline
    private var live: MirrorAnswer?
    private var copy: MirrorAnswer?
    private var hasStarted = false
    private var isOver = false

    /// - Parameter head: The head as it goes upstream, and what came of the body.
    init(
        worker: Worker, route: CompiledRoute, mirror: CompiledMirror, live: CompiledRevision, isHEAD: Bool,
        head: ByteBuffer, headLength: Int
    ) {
        self.worker = worker
        self.route = route
        self.mirror = mirror
        liveRevision = live
        self.isHEAD = isHEAD
        limit = headLength + ProxyConfiguration.replayLimit
        request = ByteBuffer()
        request.reserveCapacity(head.readableBytes + 32)
        var rest = head
        // Before the empty line that ends the head.
        if var lines = rest.readSlice(length: headLength - 2) { request.writeBuffer(&lines) }
        request.writeStaticString("X-Vagus-Mirror: 1\r\n")
        request.writeBuffer(&rest)
        deadline = .now() + route.timeout
    }

    /// A further piece of the body.
    func feed(_ piece: ByteBuffer) {
        guard !isOver, !hasStarted else { return }
        request.writeImmutableBuffer(piece)
        if request.readableBytes > limit { skip() }
    }

    /// The whole request is there.
    func requestEnded() {
        guard !isOver, !hasStarted else { return }
        guard let found = mirror.revision.leastLoaded(avoiding: nil, now: .now()), worker.mirrors.begin(self) else {
            skip()
            return
        }
        hasStarted = true
        startedAt = .now()
        deadline = startedAt + route.timeout
        endpoint = found
        mirror.cell.note { $0.copies += 1 }
        mirror.cell.begin()
        worker.mirrors.connection(to: found, worker: worker) { connection in
            guard let connection else {
                self.answered(nil)
                return
            }
            guard !self.isOver, self.copy == nil else {
                connection.close()
                return
            }
            self.connection = connection
            connection.begin(self, self.request, isHEAD: self.isHEAD)
            self.request = ByteBuffer()
        }
    }

    /// How the client's own request was answered; nil when it left before.
    func liveEnded(_ answer: MirrorAnswer?) {
        guard let answer else {
            isOver = true
            return
        }
        live = answer
        compare()
    }

    /// The copy's answer is whole; nil when there is none.
    func answered(_ answer: MirrorAnswer?) {
        guard hasStarted, copy == nil else { return }
        connection = nil
        worker.mirrors.end(self)
        let given = answer ?? MirrorAnswer(status: 502, digest: BodyDigest())
        copy = given
        let time = UInt64(max(0, (NIODeadline.now() - startedAt).nanoseconds)) / 1_000
        mirror.cell.end(RequestEnd(status: given.status, microseconds: time, isTransportError: answer == nil))
        compare()
    }

    /// It took too long.
    func timeOut() {
        connection?.close()
        answered(nil)
    }

    private func skip() {
        isOver = true
        request = ByteBuffer()
        mirror.cell.note { $0.skipped += 1 }
    }

    private func compare() {
        guard !isOver, let live, let copy else { return }
        isOver = true
        mirror.cell.note { counters in
            if live.status != copy.status {
                counters.status_differs += 1
            } else if live.digest != copy.digest {
                counters.body_differs += 1
            } else {
                counters.same += 1
            }
        }
        guard let hear = worker.configuration.mirrorLog else { return }
        hear(
            MirrorRecord(
                service: route.service, revision: liveRevision.name, mirror: mirror.revision.name,
                status: live.status, mirrorStatus: copy.status, bytes: live.digest.count,
                mirrorBytes: copy.digest.count, isSameBody: live.digest == copy.digest))
    }
}

/// An answer as far as mirrors compare it.
struct MirrorAnswer {
    var status: Int
    var digest: BodyDigest
}

/// A connection that carries copies: reads answers to their end and keeps nothing of them.
final class MirrorConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    let endpoint: EndpointState
    /// For an endpoint that speaks HTTP/2.
    let translator: UpstreamTranslator?
    var idleSince = NIODeadline.now()
    private let worker: Worker
    private var context: ChannelHandlerContext?
    private var shot: MirrorShot?
    private var isHEAD = false
    private var inbound = ByteBuffer()
    private var head = ResponseHead()
    private var body: BodyReader?

    init(endpoint: EndpointState, worker: Worker) {
        self.endpoint = endpoint
        self.worker = worker
        translator = endpoint.isHTTP2 ? UpstreamTranslator() : nil
    }

    func begin(_ shot: MirrorShot, _ request: ByteBuffer, isHEAD: Bool) {
        self.shot = shot
        self.isHEAD = isHEAD
        body = nil
        inbound = ByteBuffer()
        context?.writeAndFlush(wrapOutboundOut(request), promise: nil)
    }

    func close() {
        shot = nil
        context?.close(promise: nil)
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        fail()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var buffer = unwrapInboundIn(data)
        guard shot != nil else {
            worker.mirrors.forget(self)
            close()
            return
        }
        inbound.append(&buffer)
        do throws(HTTPFault) {
            try read()
        } catch {
            fail()
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard let event = event as? ChannelEvent, event == .inputClosed else { return }
        if let body, body.endsWithConnection { end(keeps: false) } else { fail() }
    }

    func channelInactive(context: ChannelHandlerContext) {
        if let body, body.endsWithConnection { end(keeps: false) } else { fail() }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { fail() }

    private func read() throws(HTTPFault) {
        while body == nil {
            let result = inbound.withUnsafeReadableBytes { bytes in
                Result { () throws(HTTPFault) in try head.scan(bytes) }
            }
            guard try result.get() else {
                guard inbound.readableBytes < ProxyConfiguration.headLimit else { throw .headTooLong }
                return
            }
            inbound.moveReaderIndex(forwardBy: head.length)
            guard head.status >= 200 else { continue }
            var reader = BodyReader(try head.framing(toHEAD: isHEAD))
            reader.digest = BodyDigest()
            body = reader
        }
        _ = try body?.take(from: &inbound)
        if body?.isComplete == true { end(keeps: head.keepsAlive && inbound.readableBytes == 0) }
    }

    private func end(keeps: Bool) {
        guard let shot else { return }
        self.shot = nil
        let answer = MirrorAnswer(
            status: translator?.grpcAnswer ?? head.status, digest: body?.digest ?? BodyDigest())
        body = nil
        if keeps { worker.mirrors.keep(self, now: worker.now) } else { close() }
        shot.answered(answer)
    }

    private func fail() {
        let shot = shot
        self.shot = nil
        context?.close(promise: nil)
        if let shot { shot.answered(nil) } else { worker.mirrors.forget(self) }
    }
}
