import API
package import Kernel
import Manifests

/// The web UI: pages made on the server, live without a build step.
///
/// A request comes in as a ``WebRequest``. A GET fetches what its page shows through the operations of the API, with
/// the permissions of the person who asks; makes plain structs with every value already in words (`RunsPage`,
/// `ServicePage`); and renders their Mustache templates, which CAssets embeds. A POST to /ui/… is an operation and then
/// a redirect. So the UI can do nothing that the API cannot.
///
/// Pages refresh themselves: the event feed rings, `live.js` asks for the page again with `?fragment=main`, and swaps
/// the parts marked `data-live`. Logs are read on from a byte offset in the same way. Without script everything still
/// works, one reload later.
package struct WebFace: Sendable {
    let caller: any OperationCaller
    let site: Site
    /// Whether a text is the secret of a token that is good now.
    let isToken: @Sendable (String) async -> Bool

    /// Bytes of a form; a larger one is refused by the server.
    package static let formLimit = 65_536
    /// Bytes of the form that brings a dashboard: those of Grafana are long, and encoding makes them longer.
    private static let importLimit = 4 << 20
    /// Bytes of the form that is posted to a path.
    package static func formLimit(_ path: String) -> Int {
        path.hasPrefix("/ui/dashboards/") ? importLimit : formLimit
    }
    package static let tokenCookie = "vagus_token"
    package static let csrfCookie = "vagus_csrf"
    package static let projectCookie = "vagus_project"
    /// How long a browser stays signed in.
    static let sessionSeconds = 30 * 86_400

    /// - Parameters:
    ///   - caller: Calls operations with the permissions of the person.
    ///   - isToken: Whether a text is the secret of a token that is good now; asked at sign-in.
    /// - Throws: When an embedded template does not parse.
    package init(caller: any OperationCaller, isToken: @escaping @Sendable (String) async -> Bool) throws {
        self.caller = caller
        self.site = try Site()
        self.isToken = isToken
    }

    /// The answer to a request, or nil when its path is not one of the UI's.
    ///
    /// Problems of operations become pages; only a cancelled task throws.
    package func handle(_ request: WebRequest) async throws -> WebResponse? {
        if let file = site.assets[request.path], request.isLook {
            return .asset(bytes: file.bytes, contentType: file.contentType, etag: file.etag)
        }
        let segments = request.path.split(separator: "/").compactMap { $0.removingPercentEncoding(limit: 512) }
        guard Self.isOurs(segments) else { return nil }
        let session = Session(request)
        do {
            if segments.first == "ui" { return try await act(Array(segments.dropFirst()), request, session) }
            guard request.isLook else { return nil }
            if segments == ["login"] { return login(request, session, notice: nil) }
            guard let call = request.call else { return askToSignIn(request) }
            return try await Visitor(face: self, request: request, call: call, session: session).page(segments)
        } catch let error as CancellationError {
            throw error
        } catch {
            return problem(Problem(describing: error), request, session)
        }
    }

    /// The page for a path that nobody knows.
    package func missing(_ request: WebRequest) -> WebResponse {
        problem(
            Problem("page.not-found", status: 404, "there is no page \(Format.clipped(request.path, 120))"), request,
            Session(request))
    }

    private static func isOurs(_ segments: [String]) -> Bool {
        guard let first = segments.first else { return true }
        return first == "ui" || first == "login"
            || Section.allCases.contains { $0.rawValue == first && $0 != .overview }
    }

    private func askToSignIn(_ request: WebRequest) -> WebResponse {
        if request.wantsFragment { return .html(status: 401, "") }
        let next = request.path == "/" ? "" : "?next=\(Links.encoded(request.path))"
        return .redirect("/login\(next)")
    }

    func login(_ request: WebRequest, _ session: Session, notice: Notice?) -> WebResponse {
        guard request.hasAuth else { return .redirect("/") }
        let next = request.query["next"] ?? request.form["next"] ?? ""
        let page = site.login(csrf: session.csrf, next: Self.local(next), notice: notice)
        return .html(status: notice == nil ? 200 : 401, page, cookies: session.cookies)
    }

    /// A path on this server, so that a link to the sign-in page cannot lead elsewhere afterwards.
    static func local(_ path: String) -> String {
        let isLocal =
            path.hasPrefix("/") && !path.hasPrefix("//") && !path.contains("\\") && !path.contains { $0.isNewline }
        return isLocal ? path : "/"
    }

    func problem(_ problem: Problem, _ request: WebRequest, _ session: Session) -> WebResponse {
        let page = ProblemPage(problem, back: request.isLook ? "/" : Self.local(request.form["back"] ?? "/"))
        var visit = Site.Visit(actor: request.call?.actor ?? "", project: request.project, csrf: session.csrf)
        visit.canLogOut = request.hasAuth && request.call != nil
        return .html(
            status: problem.status == 0 ? 502 : problem.status, site.document(page, visit), cookies: session.cookies)
    }
}

/// What the browser is asked to keep, and the token that its forms must bring back.
///
/// The token is a random cookie that a form repeats ("double submit"): another site can neither read nor set it.
struct Session: Sendable {
    let csrf: String
    var cookies: [WebCookie] = []

    init(_ request: WebRequest) {
        if let known = request.cookies[WebFace.csrfCookie], known.utf8.count == 32,
            known.utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) })
        {
            csrf = known
        } else {
            csrf = (0..<4).map { _ in
                let word = String(UInt32.random(in: .min ... .max), radix: 16)
                return String(repeating: "0", count: 8 - word.count) + word
            }.joined()
            cookies.append(WebCookie(name: WebFace.csrfCookie, value: csrf, maxAge: nil, isSecure: request.isSecure))
        }
        if request.query["project"] != nil {
            cookies.append(
                WebCookie(
                    name: WebFace.projectCookie, value: request.project, maxAge: WebFace.sessionSeconds,
                    isSecure: request.isSecure))
        }
    }

    /// Whether a posted form comes from one of our own pages.
    func allows(_ request: WebRequest) -> Bool {
        if let site = request.headers["sec-fetch-site"], site != "same-origin", site != "none" { return false }
        if let origin = request.headers["origin"], let host = request.headers["host"],
            origin != "http://\(host)", origin != "https://\(host)"
        {
            return false
        }
        // A token that was only just made for this answer cannot have been in a page.
        guard let kept = request.cookies[WebFace.csrfCookie], kept == csrf, let sent = request.form["csrf"] else {
            return false
        }
        let (left, right) = (Array(kept.utf8), Array(sent.utf8))
        guard left.count == right.count else { return false }
        return zip(left, right).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }
}

extension Substring {
    /// The text with its %XX decoded; nil when that is not UTF-8 or the result is longer than `limit` bytes.
    func removingPercentEncoding(limit: Int) -> String? {
        var bytes: [UInt8] = []
        var rest = utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let pair = String(rest.prefix(2)), pair.utf8.count == 2, let value = UInt8(pair, radix: 16) else {
                return nil
            }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return bytes.count <= limit ? String(validating: bytes, as: UTF8.self) : nil
    }
}
