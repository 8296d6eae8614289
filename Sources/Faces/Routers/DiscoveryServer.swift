import API
import Kernel
import NIOCore
import NIOHPACK
import NIOHTTP2
import NIOPosix
import Synchronization

/// Aggregated discovery over gRPC: Envoys connect to it, ask for their resources, and say what they make of them.
///
/// gRPC is HTTP/2 with five bytes in front of each message, so SwiftNIO's HTTP/2 and the protobuf of `Wire` are all that it
/// takes. It lives as long as the process that steers an Envoy; an Envoy that loses it goes on with what it has.
final class DiscoveryServer: Sendable {
    /// Where Envoys connect to.
    struct Address: Sendable {
        var host: String
        var port: Int
        /// What they show as `authorization: Bearer …`; nil asks for nothing.
        var token: String?
    }

    /// What all connected Envoys make of the sets on offer.
    enum Standing: Equatable {
        /// Nobody is connected.
        case alone
        case waiting
        case accepted
        case rejected(String)
    }

    fileprivate struct Peer: Sendable {
        var conversation = DiscoveryConversation()
        var loop: any EventLoop
        var send: @Sendable (DiscoveryResponse) -> Void
        var close: @Sendable () -> Void
    }

    fileprivate struct State {
        var sets: [ResourceKind: ResourceSet] = [:]
        var peers: [Int: Peer] = [:]
        var joined = 0
    }

    /// The port that is listened on.
    let port: Int
    private let channel: any Channel
    private let shared: Shared

    /// What connections hold on to.
    final class Shared: Sendable {
        let token: String?
        private let state: Mutex<State>
        /// Rung by each answer; for the one who changes sets.
        let bell = Bell()

        fileprivate init(token: String?, sets: [ResourceKind: ResourceSet]) {
            self.token = token
            state = Mutex(State(sets: sets))
        }
    }

    /// - Throws: When the address cannot be bound.
    init(_ address: Address, sets: [ResourceKind: ResourceSet]) async throws {
        let shared = Shared(token: address.token, sets: sets)
        self.shared = shared
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.socketOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    var connection = NIOHTTP2Handler.ConnectionConfiguration()
                    connection.initialSettings = [
                        HTTP2Setting(parameter: .maxConcurrentStreams, value: Self.streamLimit),
                        HTTP2Setting(parameter: .maxHeaderListSize, value: Self.headLimit),
                    ]
                    _ = try channel.pipeline.syncOperations.configureHTTP2Pipeline(
                        mode: .server, connectionConfiguration: connection, streamConfiguration: .init()
                    ) { stream in
                        stream.eventLoop.makeCompletedFuture {
                            try stream.pipeline.syncOperations.addHandler(DiscoveryStream(shared))
                        }
                    }
                }
            }
            .bind(host: address.host, port: address.port).get()
        port = channel.localAddress?.port ?? address.port
    }

    deinit {
        channel.close(promise: nil)
        shared.hangUp { _ in true }
    }

    /// Offers these sets instead of those of their kinds before, clusters and endpoints first.
    func offer(_ sets: [ResourceKind: ResourceSet]) { shared.offer(sets) }

    /// What is on offer now.
    var sets: [ResourceKind: ResourceSet] { shared.sets }

    var standing: Standing { shared.standing }

    /// Waits until all of it has been answered.
    ///
    /// Who has not answered then is cut off, to come again if it lives.
    ///
    /// - Returns: `waiting` and `alone` when patience is over.
    func settle(by time: any TimeSource) async throws -> Standing {
        let began = time.now
        while true {
            let standing = shared.standing
            guard standing == .waiting || standing == .alone else { return standing }
            let deadline = began.advanced(by: standing == .alone ? Self.arrivalPatience : Self.patience)
            guard try await shared.bell.wait(until: deadline, by: time) else {
                if standing == .waiting { shared.hangUp { $0 == .waiting } }
                return standing
            }
        }
    }

    /// For the answers of those who are connected.
    private static let patience = Duration.seconds(10)
    /// For the first to connect; whoever comes later finds what is on offer.
    private static let arrivalPatience = Duration.seconds(1)
    /// Streams of one connection, and connections with a stream.
    private static let streamLimit = 16
    /// Bytes of all headers of a request.
    private static let headLimit = 16_384
}

extension DiscoveryServer.Shared {
    var sets: [ResourceKind: ResourceSet] { state.withLock { $0.sets } }

    var standing: DiscoveryServer.Standing {
        state.withLock { state in
            guard !state.peers.isEmpty else { return .alone }
            var isAccepted = true
            for peer in state.peers.values {
                switch Self.standing(of: peer, state.sets) {
                case .accepted: break
                case .waiting: isAccepted = false
                case .rejected(let complaint): return .rejected(complaint)
                }
            }
            return isAccepted ? .accepted : .waiting
        }
    }

    private static func standing(
        of peer: DiscoveryServer.Peer, _ sets: [ResourceKind: ResourceSet]
    ) -> DiscoveryConversation.Standing {
        var standing = DiscoveryConversation.Standing.accepted
        for (kind, set) in sets {
            switch peer.conversation.standing(kind, set) {
            case .accepted: break
            case .waiting: standing = .waiting
            case .rejected(let complaint): return .rejected(complaint)
            }
        }
        return standing
    }

    func offer(_ sets: [ResourceKind: ResourceSet]) {
        state.withLock { state in
            state.sets.merge(sets) { _, new in new }
            for number in state.peers.keys {
                for kind in ResourceKind.allCases {
                    guard let set = sets[kind],
                        let response = state.peers[number]?.conversation.offer(kind, set)
                    else { continue }
                    Self.post(response, state.peers[number])
                }
            }
        }
    }

    func take(_ request: DiscoveryRequest, from number: Int) {
        state.withLock { state in
            guard let response = state.peers[number]?.conversation.take(request, offering: state.sets) else { return }
            Self.post(response, state.peers[number])
        }
        bell.ring()
    }

    /// Handed to the loop while the lock is held, so that responses leave in the order in which they were decided.
    private static func post(_ response: DiscoveryResponse, _ peer: DiscoveryServer.Peer?) {
        guard let peer else { return }
        peer.loop.execute { peer.send(response) }
    }

    /// - Returns: The number of the new peer; nil when there are enough.
    func join(
        _ loop: any EventLoop, send: @escaping @Sendable (DiscoveryResponse) -> Void,
        close: @escaping @Sendable () -> Void
    ) -> Int? {
        let number = state.withLock { state -> Int? in
            guard state.peers.count < Self.peerLimit else { return nil }
            state.joined += 1
            state.peers[state.joined] = DiscoveryServer.Peer(loop: loop, send: send, close: close)
            return state.joined
        }
        bell.ring()
        return number
    }

    func leave(_ number: Int) {
        state.withLock { $0.peers[number] = nil }
        bell.ring()
    }

    /// Ends the streams of those who stand so.
    func hangUp(_ isMeant: (DiscoveryConversation.Standing) -> Bool) {
        state.withLock { state in
            for peer in state.peers.values where isMeant(Self.standing(of: peer, state.sets)) {
                peer.loop.execute { peer.close() }
            }
        }
    }

    /// Envoys at once; one is the rule, two while it restarts.
    private static let peerLimit = 16
}

/// One gRPC call: `envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources`.
private final class DiscoveryStream: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame.FramePayload
    typealias OutboundOut = HTTP2Frame.FramePayload

    private let shared: DiscoveryServer.Shared
    private var number: Int?
    private var inbound = ByteBuffer()
    private var hasEnded = false

    init(_ shared: DiscoveryServer.Shared) { self.shared = shared }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !hasEnded else { return }
        switch unwrapInboundIn(data) {
        case .headers(let frame) where number == nil:
            begin(context, frame.headers)
            if frame.endStream { end(context, .ok, "") }
        case .data(let frame):
            if case .byteBuffer(var piece) = frame.data { inbound.writeBuffer(&piece) }
            readMessages(context)
            if frame.endStream { end(context, .ok, "") }
        case .headers, .rstStream: end(context, .ok, "")
        default: break
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        hasEnded = true
        if let number { shared.leave(number) }
        number = nil
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    private func begin(_ context: ChannelHandlerContext, _ headers: HPACKHeaders) {
        let isGRPC = headers.first(name: "content-type")?.hasPrefix("application/grpc") ?? false
        guard headers.first(name: ":path") == Self.path, isGRPC else {
            end(context, .unimplemented, "only \(Self.path) is served here")
            return
        }
        let shown = headers.first(name: "authorization") ?? ""
        if let token = shared.token, !Self.isSame(shown, "Bearer \(token)") {
            end(context, .unauthenticated, "the token is missing or another one")
            return
        }
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        number = shared.join(context.eventLoop) { response in
            let (stream, context) = bound.value
            stream.send(context, response)
        } close: {
            let (stream, context) = bound.value
            stream.end(context, .unavailable, "no answer in time")
        }
        guard number != nil else {
            end(context, .exhausted, "too many Envoys at once")
            return
        }
        let answer = HPACKHeaders([(":status", "200"), ("content-type", "application/grpc")])
        context.writeAndFlush(wrapOutboundOut(.headers(.init(headers: answer))), promise: nil)
    }

    private func readMessages(_ context: ChannelHandlerContext) {
        while !hasEnded, let number, inbound.readableBytes >= 5 {
            let length = Int(inbound.getInteger(at: inbound.readerIndex + 1, as: UInt32.self) ?? 0)
            guard inbound.getInteger(at: inbound.readerIndex, as: UInt8.self) == 0 else {
                return end(context, .unimplemented, "compressed messages are not read")
            }
            guard length <= Self.messageLimit else {
                return end(context, .exhausted, "a message is larger than \(Self.messageLimit) bytes")
            }
            guard inbound.readableBytes >= 5 + length else { return }
            inbound.moveReaderIndex(forwardBy: 5)
            let message = inbound.readSlice(length: length) ?? ByteBuffer()
            do {
                let request = try message.withUnsafeReadableBytes {
                    try DiscoveryRequest($0.assumingMemoryBound(to: UInt8.self))
                }
                shared.take(request, from: number)
            } catch {
                return end(context, .invalid, "\(error)")
            }
        }
        if inbound.readableBytes == 0 { inbound = ByteBuffer() }
    }

    private func send(_ context: ChannelHandlerContext, _ response: DiscoveryResponse) {
        guard !hasEnded else { return }
        let bytes = response.bytes
        var buffer = context.channel.allocator.buffer(capacity: bytes.count + 5)
        buffer.writeInteger(UInt8(0))
        buffer.writeInteger(UInt32(bytes.count))
        buffer.writeBytes(bytes)
        context.writeAndFlush(wrapOutboundOut(.data(.init(data: .byteBuffer(buffer)))), promise: nil)
    }

    private enum Status: Int {
        case ok = 0
        case invalid = 3
        case exhausted = 8
        case unimplemented = 12
        case unavailable = 14
        case unauthenticated = 16
    }

    private func end(_ context: ChannelHandlerContext, _ status: Status, _ message: String) {
        guard !hasEnded else { return }
        hasEnded = true
        var trailers = HPACKHeaders()
        if number == nil {
            trailers.add(name: ":status", value: "200")
            trailers.add(name: "content-type", value: "application/grpc")
        }
        trailers.add(name: "grpc-status", value: "\(status.rawValue)")
        if !message.isEmpty { trailers.add(name: "grpc-message", value: message) }
        context.write(wrapOutboundOut(.headers(.init(headers: trailers, endStream: true))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.rstStream(.noError)), promise: nil)
        if let number { shared.leave(number) }
        number = nil
    }

    /// Takes as long whatever is different.
    private static func isSame(_ first: String, _ second: String) -> Bool {
        let (first, second) = (Array(first.utf8), Array(second.utf8))
        guard first.count == second.count else { return false }
        return zip(first, second).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }

    private static let path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
    /// Bytes of one request; with thousands of names a few hundred thousand.
    private static let messageLimit = 4 << 20
}
