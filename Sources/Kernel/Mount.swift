package import API

/// Answers a protocol that is not vagus's own, below a path of its own: Prometheus's, Loki's, Jaeger's.
///
/// The face of the server asks for a token as everywhere (also as the password of basic authentication), collects the body up to
/// its limit, and hands over. Errors are told in the protocol's own words.
package struct Mount: Sendable {
    /// Path of the whole protocol, or of the one thing: "/prometheus", "/metrics".
    package let prefix: String
    /// Bytes of a body.
    package let bodyLimit: Int
    /// Paths behind the prefix that are answered without a token: whether somebody is there at all.
    package let open: Set<String>
    /// Below this path behind the prefix every address carries a proof of its own, and no token is asked for.
    package let signed: String?
    /// Whether the body of a request is handed over piece by piece (`ForeignRequest.pieces`), however long it is.
    package let streams: @Sendable (ForeignRequest) -> Bool
    /// What is answered to somebody who may not come in, or when `handle` throws a problem.
    package let refuse: @Sendable (Problem, ForeignRequest) -> ForeignAnswer
    package let handle: @Sendable (ForeignRequest, Call) async throws -> ForeignAnswer

    package init(
        _ prefix: String, bodyLimit: Int, open: Set<String> = [], signed: String? = nil,
        streams: @escaping @Sendable (ForeignRequest) -> Bool = { _ in false },
        refuse: @escaping @Sendable (Problem, ForeignRequest) -> ForeignAnswer,
        handle: @escaping @Sendable (ForeignRequest, Call) async throws -> ForeignAnswer
    ) {
        (self.prefix, self.bodyLimit, self.open, self.signed) = (prefix, bodyLimit, open, signed)
        self.streams = streams
        (self.refuse, self.handle) = (refuse, handle)
    }

    /// Whether a path behind the prefix is answered without a token.
    package func isOpen(_ path: String) -> Bool {
        open.contains(path) || (signed.map { path.hasPrefix("\($0)/") } ?? false)
    }

    /// Whether a path lies in it.
    package func holds(_ path: String) -> Bool {
        path.hasPrefix(prefix) && (path.utf8.count == prefix.utf8.count || path.dropFirst(prefix.count).first == "/")
    }
}

/// A request as a mount sees it.
package struct ForeignRequest: Sendable {
    package var method: String
    /// The path behind the mount's prefix, still encoded: "/api/v1/query"; empty for the prefix itself.
    package var path: String
    /// What stands before the path: the mount's prefix, or nothing where it has a port of its own.
    package var base = ""
    /// The query, decoded, in its order; a name may come several times.
    package var query: [(name: String, value: String)]
    /// By lower-case name; the last of several.
    package var headers: [String: String]
    package var body: [UInt8]
    /// Hands over the body piece by piece, once, where the mount streams; nil where `body` is all of it.
    package var pieces: (@Sendable (_ take: ([UInt8]) async throws -> Void) async throws -> Void)?

    package init(
        method: String, path: String, query: [(name: String, value: String)] = [], headers: [String: String] = [:],
        body: [UInt8] = []
    ) {
        (self.method, self.path, self.query, self.headers, self.body) = (method, path, query, headers, body)
    }
}

/// What a mount answers.
package struct ForeignAnswer: Sendable {
    package enum Body: Sendable {
        case bytes([UInt8])
        /// Writes piece by piece, for as long as somebody listens.
        case stream(@Sendable (_ write: ([UInt8]) async throws -> Void) async throws -> Void)
    }

    package var status: Int
    package var headers: [(name: String, value: String)]
    package var body: Body

    package init(_ status: Int = 200, type: String?, headers: [(name: String, value: String)] = [], _ body: Body) {
        self.status = status
        self.headers = (type.map { [("Content-Type", $0)] } ?? []) + headers
        self.body = body
    }

    package init(_ status: Int = 200, text: String) {
        self.init(status, type: "text/plain; charset=utf-8", .bytes(Array(text.utf8)))
    }
}

extension Call {
    /// Whether measurements may be brought: an agent's or a writer's word counts. They belong to the whole house, so a token of
    /// one project may not.
    package func allowTelling(_ what: String) throws(Problem) {
        if permission != .agent { try allow(.write, operation: what) }
        try allowHouse(what)
    }

    /// Whether what belongs to the whole house may be looked at.
    package func allowLooking(_ what: String) throws(Problem) {
        try allow(.read, operation: what)
        try allowHouse(what)
    }

    package func allowHouse(_ what: String) throws(Problem) {
        guard project == nil else {
            throw Problem(
                "forbidden", status: 403, "\(what) concerns all projects, and this token may touch one only",
                hint: "Use a token that is not bound to a project.")
        }
    }
}
