import API
import Foundation
import HTTPTypes
import Hummingbird
import Kernel
import Logging
import NIOCore
import NIOPosix
import Pipelines
import Processes
import Synchronization

/// git's smart HTTP protocol: `/git/PROJECT/REPOSITORY.git`, and `/git/REPOSITORY.git` for the project `default`.
///
/// The work is done by `git http-backend`. A request's body goes to a file first, as web servers before it do: a slow or
/// broken upload never holds a git process, and the size is known before it starts. The answer streams as git writes it.
struct GitRoutes: Sendable {
    let door: GitDoor
    let doorman: Doorman
    let logger: Logger
    private let open = Slots(limit: GitRoutes.requestLimit)

    /// git processes at once.
    static let requestLimit = 64
    /// Bytes of a fetch's body: what the client has and wants.
    static let fetchBytes: Int64 = 64 << 20
    /// Longest time of one git process.
    static let timeout: Duration = .seconds(3600)

    init(door: GitDoor, doorman: Doorman, logger: Logger) {
        (self.door, self.doorman, self.logger) = (door, doorman, logger)
    }

    /// What a path asks for.
    struct Target: Equatable {
        var reference: Reference<RepositoryKind>
        var rest: String

        init?(_ path: String) {
            let parts = path.split(separator: "/").dropFirst().map(String.init)
            let rests = [["info", "refs"], ["git-upload-pack"], ["git-receive-pack"]]
            guard let rest = rests.first(where: { Array(parts.suffix($0.count)) == $0 }) else { return nil }
            var names = Array(parts.dropLast(rest.count))
            guard (1...2).contains(names.count) else { return nil }
            if names.count == 1 { names.insert("default", at: 0) }
            let name = names[1].hasSuffix(".git") ? String(names[1].dropLast(4)) : names[1]
            guard isResourceName(names[0]), isResourceName(name) else { return nil }
            (reference, self.rest) = (Reference(project: names[0], name: name), rest.joined(separator: "/"))
        }
    }

    func respond(to request: Request, correlation: String) async -> Response {
        do {
            return try await answer(request, correlation: correlation)
        } catch {
            let problem = Problem(describing: error)
            if problem.code == "internal" {
                logger.error("git request failed", metadata: ["path": "\(request.uri.path)", "error": "\(error)"])
            }
            var text = "vagus: \(problem.message)\n"
            if let hint = problem.hint { text += "hint: \(hint)\n" }
            var response = Response.text(text, status: problem.status)
            if problem.status == 401 { response.headers[.wwwAuthenticate] = "Basic realm=\"vagus\"" }
            if problem.status == 503 { response.headers[.retryAfter] = "1" }
            return response
        }
    }

    private func answer(_ request: Request, correlation: String) async throws -> Response {
        guard let target = Target(request.uri.path) else {
            throw Problem(
                "path.not-found", status: 404, "nothing is at this path",
                hint: "Use a git of version 1.6.6 or newer, and the address http://HOST/git/PROJECT/REPOSITORY.git.")
        }
        let call = try await caller(request, of: target.reference, correlation: correlation)
        let service = try Self.service(request, target)
        try call.allow(project: target.reference.project)
        guard let place = try await door.find(target.reference) else {
            throw Problem.notFound(
                "Repository", target.reference.name, project: target.reference.project, list: "get repositories")
        }
        try door.allow(call, service, place)
        guard let slot = open.take() else {
            throw Problem("git.busy", status: 503, "too many git requests at once", hint: "Try again in a moment.")
        }
        let spool = request.method == .post ? try await Spool(folder: door.incoming) : nil
        if let spool {
            try await spool.fill(from: request, limit: service == .upload ? Self.fetchBytes : PipelineLimits.pushBytes)
        }
        let command = door.backend(
            service, place, request: variables(request, target, call, spool), body: spool?.path)
        return stream(command, service, isAdvertisement: spool == nil) {
            // Held until the answer is out.
            _ = (slot, spool)
        }
    }

    private static func service(_ request: Request, _ target: Target) throws(Problem) -> GitDoor.Service {
        if target.rest == "info/refs" {
            let name = request.uri.queryParameters["service"].map(String.init) ?? ""
            guard request.method == .get, let service = GitDoor.Service(rawValue: name) else {
                throw Problem(
                    "git.dumb", status: 403, "only git's smart protocol is spoken here",
                    hint: "Use a git of version 1.6.6 or newer.")
            }
            return service
        }
        guard request.method == .post, let service = GitDoor.Service(rawValue: target.rest),
            request.headers[.contentType] == "application/x-\(target.rest)-request"
        else {
            throw Problem("git.request", status: 415, "this is no request of git")
        }
        return service
    }

    // MARK: Who asks

    private func caller(
        _ request: Request, of repository: Reference<RepositoryKind>, correlation: String
    ) async throws -> Call {
        let given = Self.credentials(request.headers[.authorization] ?? "")
        guard doorman.hasAuth else {
            return Call(
                actor: "user:\(given?.user.isEmpty == false ? given?.user ?? "dev" : "dev")", correlation: correlation)
        }
        guard let given else {
            throw Problem(
                "auth.missing", status: 401, "a token is needed",
                hint:
                    "Give any user name, and the token as password. Make one with: vagus token create NAME --permission write"
            )
        }
        if let token = doorman.tokens.token(for: given.secret) {
            return Call(
                actor: "token:\(token.name)", correlation: correlation, permission: token.permission,
                project: token.project)
        }
        if let call = try await door.job(given.secret, at: repository, correlation: correlation) { return call }
        throw Problem("auth.refused", status: 401, "this token is unknown, ended or revoked")
    }

    /// User and secret of a Basic or Bearer header.
    static func credentials(_ header: String) -> (user: String, secret: String)? {
        let parts = header.split(separator: " ", maxSplits: 1).map(String.init)
        guard parts.count == 2 else { return nil }
        if parts[0].lowercased() == "bearer" { return ("", parts[1]) }
        guard parts[0].lowercased() == "basic", let data = Data(base64Encoded: parts[1]) else { return nil }
        let pair = String(decoding: data, as: UTF8.self).split(
            separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard pair.count == 2 else { return nil }
        // Some write the token as the user, with an empty password.
        return pair[1].isEmpty ? ("", String(pair[0])) : (String(pair[0]), String(pair[1]))
    }

    // MARK: To git and back

    private func variables(_ request: Request, _ target: Target, _ call: Call, _ spool: Spool?) -> [String: String] {
        var all = [
            "REQUEST_METHOD": request.method.rawValue, "PATH_INFO": "/\(target.rest)",
            "QUERY_STRING": request.uri.query ?? "", "REMOTE_USER": call.actor.filter { !$0.isNewline },
            "CONTENT_TYPE": request.headers[.contentType] ?? "",
        ]
        if let spool { all["CONTENT_LENGTH"] = String(spool.size) }
        if let encoding = request.headers[.contentEncoding] { all["HTTP_CONTENT_ENCODING"] = encoding }
        if let name = HTTPField.Name("Git-Protocol"), let version = request.headers[name],
            version.utf8.count <= 100, version.allSatisfy({ $0.isASCII && !$0.isWhitespace })
        {
            all["GIT_PROTOCOL"] = version
        }
        return all
    }

    private func stream(
        _ command: Command, _ service: GitDoor.Service, isAdvertisement: Bool, finally: @escaping @Sendable () -> Void
    ) -> Response {
        let (door, logger) = (door, logger)
        var response = Response(
            status: .ok,
            body: .init { writer in
                defer {
                    finally()
                    if service == .receive, !isAdvertisement { door.pushed() }
                }
                try await Self.run(command, logger, cutsShort: service == .upload || isAdvertisement, into: &writer)
                try await writer.finish(nil)
            })
        response.headers[.contentType] =
            "application/x-\(service.rawValue)-\(isAdvertisement ? "advertisement" : "result")"
        response.headers[.cacheControl] = "no-cache, max-age=0, must-revalidate"
        return response
    }

    /// Runs git and hands the body of its answer over.
    ///
    /// - Parameter cutsShort: Whether git is ended when nobody listens any more; a push that is whole goes on.
    private static func run(
        _ command: Command, _ logger: Logger, cutsShort: Bool, into writer: inout any ResponseBodyWriter
    ) async throws {
        let pieces = Handover()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                defer { pieces.end() }
                let complaint = Mutex<[UInt8]>([])
                let outcome = try await Processes.run(command, timeout: timeout, grace: .seconds(2)) { chunk in
                    if chunk.isError {
                        complaint.withLock { $0 += chunk.bytes.prefix(max(0, 4096 - $0.count)) }
                    } else if await !pieces.give(chunk.bytes), cutsShort {
                        throw CancellationError()
                    }
                }
                guard !outcome.isSuccess else { return }
                logger.info(
                    "git http-backend failed",
                    metadata: [
                        "status": "\(outcome.status)",
                        "error": "\(String(decoding: complaint.withLock { $0 }, as: UTF8.self))",
                    ])
            }
            defer { pieces.end() }
            var head = CGIHead()
            while let piece = await pieces.take() {
                guard let body = try head.feed(piece), !body.isEmpty else { continue }
                do {
                    try await writer.write(ByteBuffer(bytes: body))
                } catch {
                    pieces.end()
                    try await group.waitForAll()
                    throw error
                }
            }
            try await group.waitForAll()
            guard head.isOver else { throw Problem("git.silent", status: 502, "git http-backend told nothing") }
        }
    }
}

/// The head of a CGI answer, cut off from the body behind it.
struct CGIHead {
    private var bytes: [UInt8] = []
    private(set) var isOver = false
    /// Bytes of a head.
    static let limit = 16 << 10

    /// The part of the piece that belongs to the body; nil while the head is not over.
    ///
    /// - Throws: When the program refuses, since by then the status is out.
    mutating func feed(_ piece: [UInt8]) throws(Problem) -> [UInt8]? {
        if isOver { return piece }
        bytes += piece
        guard let end = Self.end(of: bytes) else {
            guard bytes.count <= Self.limit else { throw Problem("git.head", status: 502, "git's answer has no head") }
            return nil
        }
        isOver = true
        let text = String(decoding: bytes[..<end], as: UTF8.self)
        for line in text.split(whereSeparator: \.isNewline) where line.lowercased().hasPrefix("status:") {
            guard line.dropFirst(7).drop(while: { $0 == " " }).hasPrefix("200") else {
                throw Problem("git.refused", status: 502, "git refused: \(line)")
            }
        }
        defer { bytes = [] }
        return Array(bytes[end...])
    }

    private static func end(of bytes: [UInt8]) -> Int? {
        var index = 0
        while index + 1 < bytes.count {
            if bytes[index] == 0x0A, bytes[index + 1] == 0x0A { return index + 2 }
            if bytes[index] == 0x0A, index + 2 < bytes.count, bytes[index + 1] == 0x0D, bytes[index + 2] == 0x0A {
                return index + 3
            }
            index += 1
        }
        return nil
    }
}

/// A counted number of places; one is free again when its slot is let go.
final class Slots: Sendable {
    private let taken = Mutex(0)
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    final class Slot: Sendable {
        private let slots: Slots
        fileprivate init(_ slots: Slots) { self.slots = slots }
        deinit { slots.taken.withLock { $0 -= 1 } }
    }

    func take() -> Slot? {
        taken.withLock { count in
            guard count < limit else { return nil }
            count += 1
            return Slot(self)
        }
    }
}

/// A request's body in a file that goes when nobody holds it any more.
final class Spool: Sendable {
    let path: String
    private let file: Int32
    private let written = Mutex<Int64>(0)
    var size: Int64 { written.withLock { $0 } }

    init(folder: String) async throws {
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        path = "\(folder)/\(UUID().uuidString)"
        file = Foundation.open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard file >= 0 else {
            throw Problem("git.spool", status: 507, "could not keep the request on disk", hint: "Free some disk space.")
        }
    }

    deinit {
        close(file)
        unlink(path)
    }

    func fill(from request: Request, limit: Int64) async throws {
        for try await buffer in request.body {
            let bytes = Array(buffer.readableBytesView)
            let total = written.withLock { count in
                count += Int64(bytes.count)
                return count
            }
            guard total <= limit else {
                throw Problem(
                    "git.too-large", status: 413, "the push is larger than \(limit >> 20) MiB",
                    hint: "Push fewer commits at once, or keep large files out of git.")
            }
            try await NIOThreadPool.singleton.runIfActive { [file] in try Self.write(bytes, to: file) }
        }
    }

    private static func write(_ bytes: [UInt8], to file: Int32) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Foundation.write(file, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                throw Problem(
                    "git.spool", status: 507, "could not keep the request on disk", hint: "Free some disk space.")
            }
            rest = rest.dropFirst(count)
        }
    }
}
