/// A request to a server outside.
package struct HTTPRequest: Sendable {
    package var method: String
    package var url: String
    package var headers: [(String, String)]
    package var body: Body

    /// What is sent after the head.
    package enum Body: Sendable {
        case none
        case bytes([UInt8])
        /// A file, read while it is sent; its length is told first.
        case file(String)
        /// Pieces as they come; without a length they are sent chunked. Such a request is never sent twice.
        case stream(any AsyncSequence<[UInt8], any Error> & Sendable, length: Int64?)
    }

    package init(
        _ method: String = "GET", url: String, headers: [(String, String)] = [], body: Body = .none
    ) {
        (self.method, self.url, self.headers, self.body) = (method.uppercased(), url, headers, body)
    }

    /// Whether sending it twice does no more than sending it once (RFC 9110 §9.2.2, or an idempotency key).
    package var isIdempotent: Bool {
        ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"].contains(method)
            || headers.contains { $0.0.lowercased() == "idempotency-key" }
    }

    /// Whether the body can be sent a second time.
    var isRepeatable: Bool {
        if case .stream = body { return false }
        return true
    }
}

/// What a server answered.
package struct HTTPResponse: Sendable {
    package var status: Int
    package var headers: [(String, String)]
    package var body: [UInt8]

    package init(status: Int, headers: [(String, String)] = [], body: [UInt8] = []) {
        (self.status, self.headers, self.body) = (status, headers, body)
    }

    /// Whether the status is 200...299.
    package var isSuccess: Bool { (200..<300).contains(status) }
    /// The body as UTF-8; bytes that are none are replaced.
    package var text: String { String(decoding: body, as: UTF8.self) }
    /// The first header of that name, whatever its case.
    package func header(_ name: String) -> String? {
        let name = name.lowercased()
        return headers.first { $0.0.lowercased() == name }?.1
    }
}

/// Why there was no answer.
package struct OutboundError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kinds of failure that a caller may want to tell apart.
    package enum Code: String, Sendable, CaseIterable {
        /// No connection: nobody listens, no route, or the name is unknown. Nothing was sent.
        case refused
        /// The connection broke before the answer was whole.
        case broken
        case timedOut
        /// The answer is larger than allowed.
        case tooLarge
        case badURL
        /// The guard forbids the address.
        case addressNotAllowed
        /// No trusted, encrypted connection.
        case tls
        case cancelled
        case other
    }

    package let code: Code
    package let message: String

    package init(_ code: Code, _ message: String) { (self.code, self.message) = (code, message) }

    package var description: String { message }
}

/// How a client behaves; the same for all its requests.
package struct OutboundConfiguration: Sendable {
    /// Which addresses may be reached.
    package enum AddressGuard: Sendable {
        case any
        /// Only public addresses: for URLs that users give, so that nobody reaches the inside through this process.
        case publicOnly
    }

    package var addressGuard: AddressGuard
    /// Bytes of a body that is collected in memory.
    package var maxResponseBytes: Int
    /// Bytes of a file that is downloaded.
    package var maxDownloadBytes: Int64
    package var connectTimeout: Duration
    /// Redirects that a GET or HEAD follows; the guard looks at each.
    package var maxRedirects: Int
    /// Whether `http+unix://%2Fpath%2Fof.sock/target` may be used; never with `publicOnly`.
    package var allowsUnixSockets: Bool
    /// Connections to one host at once; a request beyond them waits for one to become free.
    package var connectionsPerHost: Int
    /// Certificates of encrypted connections; nil: whom the system trusts, and none of our own.
    package var tls: OutboundTLS?

    package init(
        addressGuard: AddressGuard = .any, maxResponseBytes: Int = 64 << 20, maxDownloadBytes: Int64 = 64 << 30,
        connectTimeout: Duration = .seconds(10), maxRedirects: Int = 5, allowsUnixSockets: Bool = false,
        connectionsPerHost: Int = 8, tls: OutboundTLS? = nil
    ) {
        self.addressGuard = addressGuard
        self.maxResponseBytes = maxResponseBytes
        self.maxDownloadBytes = maxDownloadBytes
        self.connectTimeout = connectTimeout
        self.maxRedirects = maxRedirects
        self.allowsUnixSockets = allowsUnixSockets
        self.connectionsPerHost = connectionsPerHost
        self.tls = tls
    }
}
