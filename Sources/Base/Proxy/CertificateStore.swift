import Glibc
import Logging
import NIOCore
import NIOSSL
import Synchronization

/// The certificates that connections are met with, by the name that the client asks for; each changes when its files do,
/// without a connection noticing.
final class CertificateStore: Sendable {
    /// When the two files were last written.
    private struct Stamp: Equatable {
        var times: [Int]

        init(_ files: TLSFiles) {
            times = [files.certificate, files.key].flatMap { path -> [Int] in
                var info = stat()
                guard stat(path, &info) == 0 else { return [-1] }
                return [Int(info.st_mtim.tv_sec), Int(info.st_mtim.tv_nsec), Int(info.st_ino), Int(info.st_size)]
            }
        }
    }

    /// One certificate with its key, as it was read.
    private struct Pair: Sendable {
        let chain: [NIOSSLCertificateSource]
        let key: NIOSSLPrivateKeySource
        /// Names that it is good for, in lower case; `*.example.com` for one label before the rest.
        let names: [String]
    }

    private struct State: Sendable {
        var stamps: [Stamp]
        var pairs: [Pair]
        var context: NIOSSLContext
    }

    private let files: [TLSFiles]
    private let protocols: [String]
    private let state: Mutex<State>

    /// - Parameter files: At least one; the first meets clients that ask for no name, or for one that none is good for.
    /// - Throws: `ProxyError` when files cannot be read or do not belong together.
    init(_ files: [TLSFiles], http2: Bool) throws {
        self.files = files
        protocols = http2 ? ["h2", "http/1.1"] : ["http/1.1"]
        let stamps = files.map(Stamp.init)
        let pairs = try files.map(Self.pair)
        state = Mutex(State(stamps: stamps, pairs: pairs, context: try Self.context(pairs, protocols)))
    }

    var context: NIOSSLContext { state.withLock { $0.context } }

    /// Takes up changed files; what cannot be used is left, and looked at again when it changes once more.
    func reload(_ logger: Logger) {
        for (index, files) in files.enumerated() {
            let stamp = Stamp(files)
            guard state.withLock({ $0.stamps[index] != stamp }) else { continue }
            do {
                var pairs = state.withLock { $0.pairs }
                pairs[index] = try Self.pair(files)
                let context = try Self.context(pairs, protocols)
                let fresh = pairs
                state.withLock { state in
                    state.stamps[index] = stamp
                    (state.pairs, state.context) = (fresh, context)
                }
                logger.notice("proxy certificate reloaded", metadata: ["certificate": "\(files.certificate)"])
            } catch {
                state.withLock { $0.stamps[index] = stamp }
                logger.warning(
                    "could not reload the proxy's certificate; the last one stays", metadata: ["why": "\(error)"])
            }
        }
    }

    private static func pair(_ files: TLSFiles) throws -> Pair {
        do {
            let chain = try NIOSSLCertificate.fromPEMFile(files.certificate)
            let key = try NIOSSLPrivateKey(file: files.key, format: .pem)
            let pair = Pair(
                chain: chain.map { .certificate($0) }, key: .privateKey(key), names: chain.first.map(names) ?? [])
            // Whether they belong together is only told by a context.
            _ = try context([pair], [])
            return pair
        } catch {
            throw ProxyError(
                .badCertificate, "could not use the certificate \(files.certificate) with its key: \(error)",
                hint: "Both are PEM files: the chain with the server's certificate first, and its private key.")
        }
    }

    /// DNS names of the certificate's subject (RFC 5280 §4.2.1.6); the common name is no name since RFC 6125.
    private static func names(_ certificate: NIOSSLCertificate) -> [String] {
        certificate._subjectAlternativeNames().compactMap { name in
            name.nameType == .dnsName ? String(decoding: name.contents, as: UTF8.self).lowercased() : nil
        }
    }

    private static func context(_ pairs: [Pair], _ protocols: [String]) throws -> NIOSSLContext {
        guard let first = pairs.first else { throw ProxyError(.badCertificate, "there is no certificate", hint: "") }
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: first.chain, privateKey: first.key)
        configuration.minimumTLSVersion = .tlsv12
        configuration.applicationProtocols = protocols
        if pairs.count > 1 {
            let names = Names(pairs.map(\.names))
            configuration.sslContextCallback = { hello, promise in
                guard let index = hello.serverHostname.flatMap(names.index), index > 0 else {
                    return promise.succeed(.noChanges)
                }
                var override = NIOSSLContextConfigurationOverride()
                (override.certificateChain, override.privateKey) = (pairs[index].chain, pairs[index].key)
                promise.succeed(override)
            }
        }
        return try NIOSSLContext(configuration: configuration)
    }

    /// Which certificate is good for a name; the first that says so.
    struct Names: Sendable {
        private var places: [String: Int] = [:]

        init(_ names: [[String]]) {
            for (index, names) in names.enumerated() {
                for name in names where places[name] == nil { places[name] = index }
            }
        }

        /// A name that stands there goes before a star, which stands for one label (RFC 6125 §6.4.3).
        func index(_ host: String) -> Int? {
            let host = host.lowercased()
            if let exact = places[host] { return exact }
            return host.firstIndex(of: ".").flatMap { places["*" + host[$0...]] }
        }
    }
}
