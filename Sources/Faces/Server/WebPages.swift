import API
import Client
import HTTPTypes
import Hummingbird
import Kernel
import NIOCore
import Web

/// The web UI's way through HTTP: bytes in, bytes out; what a page is, Web knows.
struct WebPages: Sendable {
    let face: WebFace
    let doorman: Doorman
    let time: any TimeSource

    func respond(to request: Request, correlation: String) async throws -> Response {
        let page = try await webRequest(request, correlation: correlation)
        return Self.response(try await face.handle(page) ?? face.missing(page), to: request)
    }

    private func webRequest(_ request: Request, correlation: String) async throws -> WebRequest {
        let call = try caller(request, correlation: correlation)
        var form: [String: String] = [:]
        if request.method == .post {
            let bytes = try await HTTPFace.collect(request, limit: WebFace.formLimit(request.uri.path))
            form = Self.pairs(String(decoding: bytes, as: UTF8.self), separator: "&")
        }
        var headers: [String: String] = [:]
        for field in request.headers { headers[field.name.canonicalName] = field.value }
        // HTTP types keep the host out of the fields.
        if let host = request.head.authority { headers["host"] = host }
        return WebRequest(
            method: request.method.rawValue, path: request.uri.path,
            query: Self.pairs(request.uri.query ?? "", separator: "&"), form: form,
            cookies: Self.cookies(request.headers[.cookie] ?? ""), headers: headers, call: call,
            hasAuth: doorman.hasAuth, isSecure: headers["x-forwarded-proto"] == "https", now: time.now)
    }

    /// Who is signed in; nil: nobody, and the page asks to sign in.
    private func caller(_ request: Request, correlation: String) throws -> Call? {
        do {
            return try doorman.call(for: request, correlation: correlation)
        } catch {
            if error.status == 401 { return nil }
            throw error
        }
    }

    private static func pairs(_ text: String, separator: Character) -> [String: String] {
        var found: [String: String] = [:]
        for pair in text.split(separator: separator) {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = Wire.decode(parts[0], plusIsSpace: true),
                let value = Wire.decode(parts.count > 1 ? parts[1] : "", plusIsSpace: true)
            else { continue }
            found[name] = value
        }
        return found
    }

    private static func cookies(_ header: String) -> [String: String] {
        var found: [String: String] = [:]
        for pair in header.split(separator: ";") {
            let parts = pair.split(separator: "=", maxSplits: 1).map { $0.filter { $0 != " " } }
            if parts.count == 2 { found[parts[0]] = parts[1] }
        }
        return found
    }

    private static func response(_ page: WebResponse, to request: Request) -> Response {
        var response: Response
        var cookies: [WebCookie] = []
        switch page {
        case .html(let status, let text, let set):
            response = .text(text, status: status, type: "text/html; charset=utf-8")
            response.headers[.cacheControl] = "no-store"
            cookies = set
        case .redirect(let target, let set):
            response = Response(status: .seeOther)
            response.headers[.location] = target
            cookies = set
        case .asset(let bytes, let type, let etag):
            let isKnown = request.headers[.ifNoneMatch] == etag
            response = Response(
                status: isKnown ? .notModified : .ok,
                body: isKnown ? .init() : .init(byteBuffer: ByteBuffer(bytes: bytes)))
            response.headers[.contentType] = type
            response.headers[.eTag] = etag
            response.headers[.cacheControl] = "public, max-age=31536000, immutable"
        case .text(let text): response = .text(text)
        }
        for (name, value) in WebResponse.headers {
            if let field = HTTPField.Name(name) { response.headers[field] = value }
        }
        for cookie in cookies { response.headers.append(HTTPField(name: .setCookie, value: cookie.header)) }
        return request.method == .head ? response.createHeadResponse() : response
    }
}
