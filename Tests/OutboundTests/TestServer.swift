import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import Outbound
import Synchronization

/// A small HTTP server on the loopback whose answers a test decides.
final class TestServer: Sendable {
    struct Request: Sendable {
        var method: String
        var path: String
        var headers: [(String, String)]
        var body: [UInt8]

        func header(_ name: String) -> String? { headers.first { $0.0.lowercased() == name }?.1 }
    }

    struct Reply: Sendable {
        enum Ending: Sendable { case end, silence, drop }
        var status = 200
        var headers: [(String, String)] = []
        var chunks: [String] = []
        var ending = Ending.end

        static let nothing = Reply(status: 0, ending: .silence)
        static func text(_ text: String, status: Int = 200) -> Reply { Reply(status: status, chunks: [text]) }
    }

    private let channel: any Channel
    private let log: RequestLog

    /// What was asked so far, in order.
    var requests: [Request] { log.all }
    var port: Int { channel.localAddress?.port ?? 0 }
    var url: String { "http://127.0.0.1:\(port)" }

    init(socketPath: String? = nil, _ answer: @escaping @Sendable (Request) -> Reply) async throws {
        let log = RequestLog()
        self.log = log
        let bootstrap = ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    try channel.pipeline.syncOperations.addHandler(AnsweringHandler(log: log, answer: answer))
                }
            }
        if let socketPath {
            channel = try await bootstrap.bind(unixDomainSocketPath: socketPath).get()
        } else {
            channel = try await bootstrap.bind(host: "127.0.0.1", port: 0).get()
        }
    }

    func stop() async throws { try await channel.close() }
}

private final class RequestLog: Sendable {
    private let requests = Mutex<[TestServer.Request]>([])
    var all: [TestServer.Request] { requests.withLock { $0 } }
    func append(_ request: TestServer.Request) { requests.withLock { $0.append(request) } }
}

private final class AnsweringHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let log: RequestLog
    private let answer: @Sendable (TestServer.Request) -> TestServer.Reply
    private var request = TestServer.Request(method: "", path: "", headers: [], body: [])

    init(log: RequestLog, answer: @escaping @Sendable (TestServer.Request) -> TestServer.Reply) {
        (self.log, self.answer) = (log, answer)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            request = TestServer.Request(
                method: head.method.rawValue, path: head.uri, headers: head.headers.map { ($0.name, $0.value) },
                body: [])
        case .body(let buffer): request.body += Array(buffer.readableBytesView)
        case .end:
            log.append(request)
            reply(answer(request), context)
        }
    }

    private func reply(_ reply: TestServer.Reply, _ context: ChannelHandlerContext) {
        guard reply.status > 0 else { return }
        var headers = HTTPHeaders(reply.headers)
        if reply.ending == .end { headers.add(name: "content-length", value: "\(reply.chunks.joined().utf8.count)") }
        let head = HTTPResponseHead(version: .http1_1, status: .init(statusCode: reply.status), headers: headers)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        for chunk in reply.chunks {
            context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: chunk)))), promise: nil)
        }
        switch reply.ending {
        case .end: context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        case .silence: context.flush()
        case .drop:
            context.flush()
            context.close(promise: nil)
        }
    }
}

/// Runs `body` with a server and a client, both gone afterwards.
func withServer(
    _ configuration: OutboundConfiguration = OutboundConfiguration(),
    answering answer: @escaping @Sendable (TestServer.Request) -> TestServer.Reply,
    _ body: (OutboundClient, TestServer) async throws -> Void
) async throws {
    let server = try await TestServer(answer)
    let client = OutboundClient(configuration: configuration)
    try await body(client, server)
    await client.shutdown()
    try await server.stop()
}

/// Runs `body` with a folder of its own.
func withFolder(_ body: (String) async throws -> Void) async throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "vagus-out-\(UUID().uuidString.prefix(8))")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }  // a leftover folder harms no other test
    try await body(folder.path)
}

/// Returns the code of the `OutboundError` that `body` throws; nil when it throws none.
func code<Value>(of body: () async throws -> Value) async -> OutboundError.Code? {
    do {
        _ = try await body()
        return nil
    } catch {
        return (error as? OutboundError)?.code
    }
}
