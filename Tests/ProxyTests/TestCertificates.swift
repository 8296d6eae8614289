import Foundation
import NIOCore
import NIOHPACK
import NIOHTTP2
import NIOPosix
import NIOSSL

@testable import Proxy

/// Two certificates made for these tests, signed by themselves, for `one.test` and `two.test`; their keys guard nothing.
enum TestCertificates {
    static let one = """
        -----BEGIN CERTIFICATE-----
        MIIBojCCAUmgAwIBAgIUJiHxy5H4YfQLEY1ZLDf8Moro+JUwCgYIKoZIzj0EAwIw
        EzERMA8GA1UEAwwIb25lLnRlc3QwIBcNMjYxMTI2MjE0NzI0WhgPMjEyNjExMDIy
        MTQ3MjRaMBMxETAPBgNVBAMMCG9uZS50ZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0D
        AQcDQgAE+TRaEQwChcecyIxS7u5ah5uwfuLEmN5F30/8JivtVG2xnByzsId9dkVr
        WIig77lnZMqxqa6um0hNkiHwMSFWb6N5MHcwHQYDVR0OBBYEFAWC3gnTSf4iYI2x
        RDtysaIUak2BMB8GA1UdIwQYMBaAFAWC3gnTSf4iYI2xRDtysaIUak2BMA8GA1Ud
        EwEB/wQFMAMBAf8wJAYDVR0RBB0wG4IIb25lLnRlc3SCCWxvY2FsaG9zdIcEfwAA
        ATAKBggqhkjOPQQDAgNHADBEAiAE7DH9LEcGJtb13OAXjnUoN2diJswjeTWQH+bd
        P/KliQIgUpS1RBFAVCDEvbxW/fhGJVPjj6Z/u9cTq0+cjzeFF2w=
        -----END CERTIFICATE-----
        """
    static let oneKey = """
        -----BEGIN PRIVATE KEY-----
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgQNDB2QshXI4mnnU1
        L2YzrKfBWsSM4lCJB+1lXcMmS+2hRANCAAT5NFoRDAKFx5zIjFLu7lqHm7B+4sSY
        3kXfT/wmK+1UbbGcHLOwh312RWtYiKDvuWdkyrGprq6bSE2SIfAxIVZv
        -----END PRIVATE KEY-----
        """
    static let two = """
        -----BEGIN CERTIFICATE-----
        MIIBojCCAUmgAwIBAgIUQVR7ZR2eZHiTK2YWWu/ciOii8ScwCgYIKoZIzj0EAwIw
        EzERMA8GA1UEAwwIdHdvLnRlc3QwIBcNMjYxMTI2MjE0NzI0WhgPMjEyNjExMDIy
        MTQ3MjRaMBMxETAPBgNVBAMMCHR3by50ZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0D
        AQcDQgAE9Fe2Ie961TgC5eYbrJxp0iSDhMTT2fLB60HfgmpzboebwpAjOJ9Iph2K
        QgNnW3xKsKVJ/T/M540729UNdlpCYaN5MHcwHQYDVR0OBBYEFOgl61f4inXDPiHq
        DU648b4Q7pH+MB8GA1UdIwQYMBaAFOgl61f4inXDPiHqDU648b4Q7pH+MA8GA1Ud
        EwEB/wQFMAMBAf8wJAYDVR0RBB0wG4IIdHdvLnRlc3SCCWxvY2FsaG9zdIcEfwAA
        ATAKBggqhkjOPQQDAgNHADBEAiAQbvFjIOI6jMAdg7AbUZIxsy1foioe9OMT9yl0
        nVTV6QIgAqnCjQm9/HWNlLWTiYZg78gLd8o4ElP/2g6L7bgYbdw=
        -----END CERTIFICATE-----
        """
    static let twoKey = """
        -----BEGIN PRIVATE KEY-----
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgalaoQLKMNlj6BneH
        nHXGEPJtEyp84srfMuh/Vk0wA4ShRANCAAT0V7Yh73rVOALl5husnGnSJIOExNPZ
        8sHrQd+CanNuh5vCkCM4n0imHYpCA2dbfEqwpUn9P8znjTvb1Q12WkJh
        -----END PRIVATE KEY-----
        """

    /// Writes a pair to a folder, each file whole at once.
    static func write(_ certificate: String, _ key: String, to folder: URL) throws -> TLSFiles {
        let files = TLSFiles(
            certificate: folder.appending(path: "server.pem").path, key: folder.appending(path: "server.key").path)
        try Data(certificate.utf8).write(to: URL(filePath: files.certificate), options: .atomic)
        try Data(key.utf8).write(to: URL(filePath: files.key), options: .atomic)
        return files
    }

    /// A client that trusts one certificate and speaks these protocols.
    static func client(trusting certificate: String, _ protocols: [String]) throws -> NIOSSLContext {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.trustRoots = .certificates([try NIOSSLCertificate(bytes: Array(certificate.utf8), format: .pem)])
        configuration.applicationProtocols = protocols
        return try NIOSSLContext(configuration: configuration)
    }
}

/// A folder for one test.
func withFolder(_ body: (URL) async throws -> Void) async throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "proxy-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }  // the system's folder: left-overs do no harm
    try await body(folder)
}

/// The test's own end of an HTTP/2 connection.
struct HTTP2Wire: Sendable {
    let channel: any Channel
    private let streams: NIOHTTP2Handler.StreamMultiplexer

    struct Answer: Sendable {
        var headers = HPACKHeaders()
        var trailers = HPACKHeaders()
        var interim: [String] = []
        var body = ByteBuffer()
        var status: String? { headers.first(name: ":status") }
        var text: String { String(buffer: body) }
    }

    /// - Parameter tls: nil begins with the preface at once (prior knowledge).
    static func connect(to port: Int, tls: NIOSSLContext? = nil) async throws -> HTTP2Wire {
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    guard let tls else { return }
                    let handler = try NIOSSLClientHandler(context: tls, serverHostname: "localhost")
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }
            .connect(host: "127.0.0.1", port: port).get()
        let streams = try await channel.configureHTTP2Pipeline(
            mode: .client, connectionConfiguration: .init(), streamConfiguration: .init()
        ) { $0.eventLoop.makeSucceededVoidFuture() }.get()
        return HTTP2Wire(channel: channel, streams: streams)
    }

    func ask(
        _ headers: [(String, String)], body: [String] = [], trailers: [(String, String)] = []
    ) async throws -> Answer {
        let promise = channel.eventLoop.makePromise(of: Answer.self)
        let created = channel.eventLoop.makePromise(of: (any Channel).self)
        streams.createStreamChannel(promise: created) { stream in
            stream.eventLoop.makeCompletedFuture {
                try stream.pipeline.syncOperations.addHandler(Collector(promise))
            }
        }
        let stream = try await created.futureResult.get()
        let fields = HPACKHeaders(headers)
        try await stream.writeAndFlush(
            HTTP2Frame.FramePayload.headers(.init(headers: fields, endStream: body.isEmpty))
        ).get()
        for (index, piece) in body.enumerated() {
            try await stream.writeAndFlush(
                HTTP2Frame.FramePayload.data(
                    .init(
                        data: .byteBuffer(ByteBuffer(string: piece)),
                        endStream: trailers.isEmpty && index == body.count - 1))
            ).get()
        }
        if !trailers.isEmpty {
            try await stream.writeAndFlush(
                HTTP2Frame.FramePayload.headers(.init(headers: HPACKHeaders(trailers), endStream: true))
            ).get()
        }
        return try await promise.futureResult.get()
    }

    func get(_ path: String, _ headers: [(String, String)] = []) async throws -> Answer {
        try await ask([(":method", "GET"), (":path", path), (":scheme", "http"), (":authority", "test")] + headers)
    }

    private final class Collector: ChannelInboundHandler {
        typealias InboundIn = HTTP2Frame.FramePayload
        private let promise: EventLoopPromise<Answer>
        private var answer = Answer()

        init(_ promise: EventLoopPromise<Answer>) { self.promise = promise }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .headers(let frame):
                if let status = frame.headers.first(name: ":status"), status.hasPrefix("1") {
                    answer.interim.append(status)
                } else if answer.headers.isEmpty {
                    answer.headers = frame.headers
                } else {
                    answer.trailers = frame.headers
                }
                if frame.endStream { promise.succeed(answer) }
            case .data(let frame):
                if case .byteBuffer(var piece) = frame.data { answer.body.writeBuffer(&piece) }
                if frame.endStream { promise.succeed(answer) }
            default: break
            }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { promise.fail(error) }
        func channelInactive(context: ChannelHandlerContext) { promise.fail(WireError("the stream ended early")) }
        func handlerRemoved(context: ChannelHandlerContext) { promise.fail(WireError("the stream never began")) }
    }
}
