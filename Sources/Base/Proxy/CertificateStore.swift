import Glibc
import Logging
import NIOSSL
import Synchronization

/// The certificate that connections are met with; it changes when its files do, without a connection noticing.
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

    private let files: TLSFiles
    private let protocols: [String]
    private let state: Mutex<(context: NIOSSLContext, stamp: Stamp)>

    /// - Throws: `ProxyError` when the files cannot be read or do not belong together.
    init(_ files: TLSFiles, http2: Bool) throws {
        self.files = files
        protocols = http2 ? ["h2", "http/1.1"] : ["http/1.1"]
        let stamp = Stamp(files)
        state = Mutex((try Self.context(files, protocols), stamp))
    }

    var context: NIOSSLContext { state.withLock { $0.context } }

    /// Takes up changed files; what cannot be used is left, and looked at again when it changes once more.
    func reload(_ logger: Logger) {
        let stamp = Stamp(files)
        guard state.withLock({ $0.stamp != stamp }) else { return }
        do {
            let context = try Self.context(files, protocols)
            state.withLock { $0 = (context, stamp) }
            logger.notice("proxy certificate reloaded", metadata: ["certificate": "\(files.certificate)"])
        } catch {
            state.withLock { $0.stamp = stamp }
            logger.warning(
                "could not reload the proxy's certificate; the last one stays", metadata: ["why": "\(error)"])
        }
    }

    private static func context(_ files: TLSFiles, _ protocols: [String]) throws -> NIOSSLContext {
        do {
            let chain = try NIOSSLCertificate.fromPEMFile(files.certificate)
            let key = try NIOSSLPrivateKey(file: files.key, format: .pem)
            var configuration = TLSConfiguration.makeServerConfiguration(
                certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
            configuration.minimumTLSVersion = .tlsv12
            configuration.applicationProtocols = protocols
            return try NIOSSLContext(configuration: configuration)
        } catch {
            throw ProxyError(
                .badCertificate, "could not use the certificate \(files.certificate) with its key: \(error)",
                hint: "Both are PEM files: the chain with the server's certificate first, and its private key.")
        }
    }
}
