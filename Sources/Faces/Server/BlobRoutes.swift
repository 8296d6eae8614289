import API
import Blobs
import HTTPTypes
import Hummingbird
import Kernel
import Manifests
import NIOCore

/// Content by digest, streamed both ways: never a whole file in memory.
struct BlobRoutes: Sendable {
    let blobs: BlobStore
    /// Bytes of one blob.
    static let sizeLimit: Int64 = 16 << 30
    private static let chunk = 1 << 18

    func respond(to request: Request, path: String, call: Call) async throws -> Response {
        let name = path.dropFirst("/api/v1/blobs".count).drop { $0 == "/" }
        switch (request.method, name.isEmpty) {
        case (.post, true):
            guard call.permission == .agent || call.permission >= .write else {
                throw Problem("forbidden", status: 403, "uploading needs the permission \"write\" or \"agent\"")
            }
            return try await receive(request)
        case (.get, false), (.head, false):
            try call.allow(.read, operation: "blobs.get")
            return try await send(String(name), head: request.method == .head)
        default:
            throw Problem(
                "method.not-allowed", status: 405, "\(request.method.rawValue) is not answered here",
                hint: "POST /api/v1/blobs stores content; GET and HEAD /api/v1/blobs/{digest} return it.")
        }
    }

    private func receive(_ request: Request) async throws -> Response {
        let writer = blobs.writer(limit: Self.sizeLimit)
        do {
            for try await buffer in request.body { try await writer.feed(Array(buffer.readableBytesView)) }
            let (digest, size) = try await writer.finish()
            return .json(["digest": .string(digest.description), "size_bytes": .integer(size)], status: 201)
        } catch {
            writer.cancel()
            throw Self.problem(error)
        }
    }

    private func send(_ name: String, head: Bool) async throws -> Response {
        guard let digest = Digest(name) else {
            throw Problem(
                "blob.digest", status: 400, "\"\(name.prefix(80))\" is not a digest",
                hint: "Write sha256: and 64 hexadecimal digits.")
        }
        // Who asks whether it is here may be about to name it: a sweep shall not come in between.
        guard try await (head ? blobs.claim(digest) : blobs.exists(digest)) else {
            throw Problem(
                "blob.not-found", status: 404, "no blob \(digest)", hint: "List a run's with: vagus artifacts RUN")
        }
        let reader = try await blobs.open(digest)
        let size = reader.size
        let body: ResponseBody =
            head
            ? .init()
            : .init(contentLength: Int(size)) { writer in
                var offset: Int64 = 0
                while offset < size {
                    let bytes = try await reader.read(at: offset, count: min(Self.chunk, Int(size - offset)))
                    if bytes.isEmpty { break }
                    offset += Int64(bytes.count)
                    try await writer.write(ByteBuffer(bytes: bytes))
                }
                try await writer.finish(nil)
            }
        var response = Response(status: .ok, body: body)
        response.headers[.contentType] = "application/octet-stream"
        response.headers[.contentLength] = String(size)
        response.headers[.eTag] = "\"\(digest)\""
        // Whatever a run wrote is data here, never a page of this site.
        response.headers[.contentDisposition] = "attachment"
        if let name = HTTPField.Name("X-Content-Type-Options") { response.headers[name] = "nosniff" }
        return response
    }

    private static func problem(_ error: any Error) -> any Error {
        guard let error = error as? BlobError else { return error }
        let status = error.code == .full ? 507 : error.code == .tooLarge ? 413 : 500
        return Problem("blob.\(error.code.rawValue)", status: status, error.message, hint: error.hint)
    }
}
