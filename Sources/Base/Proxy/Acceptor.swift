import NIOCore
import NIOHTTP2
import NIOSSL
import NIOTLS
import Synchronization

/// Gives a new connection its handlers: TLS where it is configured, then HTTP/1.1 or HTTP/2.
struct Acceptor: Sendable {
    let core: ProxyCore
    /// By loop.
    let workers: [ObjectIdentifier: NIOLoopBound<Worker>]
    let certificates: CertificateStore?

    /// Called on the channel's loop.
    func accept(_ channel: any Channel) throws {
        let core = core
        let count = core.connections.wrappingAdd(1, ordering: .relaxed).newValue
        channel.closeFuture.whenComplete { _ in core.connections.wrappingSubtract(1, ordering: .relaxed) }
        guard let worker = workers[ObjectIdentifier(channel.eventLoop)]?.value else { return }
        let isRefused = count > core.configuration.maxConnections
        guard let certificates, !isRefused else {
            let client = ClientConnection(worker: worker, isRefused: isRefused)
            try channel.pipeline.syncOperations.addHandler(client)
            return
        }
        try acceptTLS(channel, certificates, worker)
    }

    private func acceptTLS(_ channel: any Channel, _ certificates: CertificateStore, _ worker: Worker) throws {
        let patience = TimeAmount(core.configuration.headTimeout)
        let slow = channel.eventLoop.scheduleTask(in: patience) { channel.close(promise: nil) }
        channel.closeFuture.whenComplete { _ in slow.cancel() }
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(NIOSSLServerHandler(context: certificates.context))
        try pipeline.addHandler(
            ApplicationProtocolNegotiationHandler { result in
                slow.cancel()
                return channel.eventLoop.makeCompletedFuture {
                    if case .negotiated("h2") = result {
                        try HTTP2Guard.add(to: channel, worker: worker, isTLS: true)
                    } else {
                        try pipeline.addHandler(ClientConnection(worker: worker, isTLS: true))
                    }
                }
            })
    }
}

extension HTTP2Guard {
    /// Makes a connection speak HTTP/2 from its next byte on; each stream is a client of its own.
    static func add(to channel: any Channel, worker: Worker, isTLS: Bool) throws {
        var connection = NIOHTTP2Handler.ConnectionConfiguration()
        connection.initialSettings = [
            HTTP2Setting(parameter: .maxConcurrentStreams, value: ProxyConfiguration.streamLimit),
            HTTP2Setting(parameter: .maxHeaderListSize, value: ProxyConfiguration.headLimit),
        ]
        let watch = HTTP2Guard(worker: worker)
        let bound = NIOLoopBound((worker: worker, watch: watch), eventLoop: channel.eventLoop)
        let pipeline = channel.pipeline.syncOperations
        _ = try pipeline.configureHTTP2Pipeline(
            mode: .server, connectionConfiguration: connection, streamConfiguration: .init()
        ) { stream in
            stream.closeFuture.whenComplete { _ in bound.value.watch.streamClosed() }
            return stream.eventLoop.makeCompletedFuture {
                bound.value.watch.streamOpened()
                let client = ClientConnection(worker: bound.value.worker, isTLS: isTLS, isStream: true)
                try stream.pipeline.syncOperations.addHandlers([HTTP2Translator(), client])
            }
        }
        try pipeline.addHandler(watch)
    }
}
