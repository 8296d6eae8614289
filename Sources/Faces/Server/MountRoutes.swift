import API
import HTTPTypes
import Hummingbird
import Kernel
import Logging
import NIOCore
import Synchronization

/// Protocols of others, each below a path of its own: lets in, collects the body, hands over, and streams the answer.
struct MountRoutes: Sendable {
    let mounts: [Mount]
    let doorman: Doorman
    let instruments: Instruments
    let logger: Logger
    private let held = HeldBytes(limit: MountRoutes.heldLimit)

    /// Bytes of bodies of all requests in memory at once.
    static let heldLimit = 256 << 20

    init(mounts: [Mount], doorman: Doorman, instruments: Instruments, logger: Logger) {
        (self.mounts, self.doorman, self.instruments, self.logger) = (mounts, doorman, instruments, logger)
    }

    /// The mount that a path lies in: the deepest.
    func mount(at path: String) -> Mount? {
        mounts.filter { $0.holds(path) }.max { $0.prefix.utf8.count < $1.prefix.utf8.count }
    }

    /// - Parameter base: What stands before the paths of the mount: its prefix, unless it has a port of its own.
    func respond(
        to request: Request, at mount: Mount, base: String? = nil, correlation: String
    ) async -> Response {
        let base = base ?? mount.prefix
        var foreign = ForeignRequest(
            method: request.method.rawValue, path: String(request.uri.path.dropFirst(base.count)))
        let answer: ForeignAnswer
        do {
            try doorman.checkSite(of: request)
            for field in request.headers { foreign.headers[field.name.canonicalName] = field.value }
            foreign.base = base
            foreign.headers["host"] = request.head.authority
            foreign.query = FormText.pairs(request.uri.query ?? "")
            let call =
                mount.isOpen(foreign.path)
                ? Call(actor: "user:anybody", correlation: correlation, permission: .read)
                : try doorman.call(for: request, correlation: correlation)
            let claim = HeldBytes.Claim(held)
            if mount.streams(foreign) {
                let body = request.body
                foreign.pieces = { take in
                    for try await buffer in body { try await take(Array(buffer.readableBytesView)) }
                }
            } else {
                foreign.body = try await collect(request, limit: mount.bodyLimit, claim)
            }
            answer = try await mount.handle(foreign, call)
            withExtendedLifetime(claim) {}
        } catch is CancellationError {
            answer = mount.refuse(
                Problem("server.stopping", status: 503, "the server stops", hint: "Ask again."), foreign)
        } catch {
            let problem = Problem(describing: error)
            if problem.code == "internal" {
                logger.error(
                    "foreign request failed", metadata: ["path": "\(request.uri.path)", "error": "\(error)"])
            }
            answer = Self.completed(mount.refuse(problem, foreign), problem)
        }
        return Self.response(answer, isHead: request.method == .head)
    }

    /// What any client needs to know whatever its protocol.
    private static func completed(_ answer: ForeignAnswer, _ problem: Problem) -> ForeignAnswer {
        var answer = answer
        if problem.status == 429 || problem.status == 503 { answer.headers.append(("Retry-After", "1")) }
        if problem.status == 401 { answer.headers.append(("WWW-Authenticate", "Basic realm=\"vagus\"")) }
        return answer
    }

    private func collect(_ request: Request, limit: Int, _ claim: HeldBytes.Claim) async throws -> [UInt8] {
        let told = request.headers[.contentLength].flatMap { Int($0) } ?? 0
        guard told <= limit else { throw Self.tooLarge(limit) }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(max(0, told))
        for try await buffer in request.body {
            guard bytes.count + buffer.readableBytes <= limit else { throw Self.tooLarge(limit) }
            guard claim.grow(by: buffer.readableBytes) else {
                throw Problem(
                    "busy", status: 429, "the server holds too many bodies of requests already", hint: "Send it again.")
            }
            buffer.withUnsafeReadableBytes { bytes.append(contentsOf: $0) }
        }
        return bytes
    }

    private static func tooLarge(_ limit: Int) -> Problem {
        Problem(
            "body.too-large", status: 413, "the body is larger than \(limit >> 20) MiB", hint: "Send smaller batches.")
    }

    private static func response(_ answer: ForeignAnswer, isHead: Bool) -> Response {
        var response: Response
        switch answer.body {
        case .bytes(let bytes):
            let body: ResponseBody = bytes.isEmpty || isHead ? .init() : .init(byteBuffer: ByteBuffer(bytes: bytes))
            response = Response(status: .init(code: answer.status), body: body)
        case .stream where isHead: response = Response(status: .init(code: answer.status))
        case .stream(let body):
            response = Response(
                status: .init(code: answer.status),
                body: .init { writer in
                    try await Self.stream(body, into: &writer)
                    try await writer.finish(nil)
                })
        }
        for (name, value) in answer.headers {
            if let name = HTTPField.Name(name) { response.headers[name] = value }
        }
        return response
    }
}

extension MountRoutes {
    /// Hands over what the body writes, piece by piece; whoever does not listen any more ends it.
    private static func stream(
        _ body: @escaping @Sendable (_ write: ([UInt8]) async throws -> Void) async throws -> Void,
        into writer: inout any ResponseBodyWriter
    ) async throws {
        let pieces = Handover()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                defer { pieces.end() }
                do {
                    try await body { bytes in
                        guard await pieces.give(bytes) else { throw CancellationError() }
                    }
                } catch is CancellationError {}
            }
            do {
                while let bytes = await pieces.take() { try await writer.write(ByteBuffer(bytes: bytes)) }
            } catch {
                pieces.end()
                group.cancelAll()
                throw error
            }
            try await group.waitForAll()
        }
    }
}

/// Counts the bytes that requests hold in memory.
final class HeldBytes: Sendable {
    private let held = Mutex(0)
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    /// The bytes of one request, given back when it is let go.
    final class Claim: Sendable {
        private let whole: HeldBytes
        private let own = Mutex(0)

        init(_ whole: HeldBytes) { self.whole = whole }

        deinit {
            let own = own.withLock { $0 }
            whole.held.withLock { $0 -= own }
        }

        func grow(by count: Int) -> Bool {
            let fits = whole.held.withLock { held in
                guard held + count <= whole.limit else { return false }
                held += count
                return true
            }
            if fits { own.withLock { $0 += count } }
            return fits
        }
    }
}

/// One mount at the root of a port of its own.
struct MountFace: HTTPResponder {
    typealias Context = LoopContext

    let routes: MountRoutes
    let mount: Mount
    let ids: IdentifierSource

    func respond(to request: Request, context: Context) async throws -> Response {
        await routes.respond(to: request, at: mount, base: "", correlation: ids.next("req")).paced(by: context.loop)
    }
}
