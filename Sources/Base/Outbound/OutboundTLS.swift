import NIOSSL

/// Whom encrypted connections trust, and who we say that we are.
package struct OutboundTLS: Sendable {
    let configuration: TLSConfiguration

    /// - Parameters:
    ///   - authorities: PEM of the certificates that are trusted; nil: the system's.
    ///   - certificate: PEM of our own certificate, and of those that lead to its root.
    ///   - key: PEM of its key.
    ///   - isVerified: False believes anybody, which only a laboratory should.
    /// - Throws: `.tls` for what is no PEM of a certificate or key.
    package init(
        authorities: [UInt8]? = nil, certificate: [UInt8]? = nil, key: [UInt8]? = nil, isVerified: Bool = true
    ) throws(OutboundError) {
        var configuration = TLSConfiguration.makeClientConfiguration()
        do {
            if let authorities {
                configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(authorities))
            }
            if let certificate, let key {
                configuration.certificateChain = try NIOSSLCertificate.fromPEMBytes(certificate).map {
                    .certificate($0)
                }
                configuration.privateKey = .privateKey(try NIOSSLPrivateKey(bytes: key, format: .pem))
            }
        } catch {
            throw OutboundError(.tls, "a certificate or key cannot be read (\(error))")
        }
        if !isVerified { configuration.certificateVerification = .none }
        self.configuration = configuration
    }
}
