import API
import Kernel
import Manifests
import Synchronization
import Testing

@testable import Web

struct WebFaceTests {
    @Test func `assets are served under their digest and kept for good`() async throws {
        let face = try SampleHouse().face()
        let html = try #require(try await face.handle(SampleHouse.look("/"))).page
        let match = try #require(html.firstMatch(of: /href="(\/assets\/[0-9a-f]{16}-app\.css)"/))
        let answer = try await face.handle(SampleHouse.look(String(match.1)))
        guard case .asset(let bytes, let type, let etag) = try #require(answer) else {
            Issue.record("not an asset")
            return
        }
        #expect(type == "text/css; charset=utf-8")
        #expect(etag.count == 18)
        // The files of the style sheet are joined.
        let text = String(decoding: bytes, as: UTF8.self)
        #expect(text.contains("--accent:"))
        #expect(text.contains(".log-line"))
    }

    @Test func `paths of others are left to others`() async throws {
        let face = try SampleHouse().face()
        for path in ["/api/v1/runs", "/assets/0000-app.css", "/serving/x/v2", "/runs/a/b/c", "/favicon.ico", "/ui/x"] {
            #expect(try await face.handle(SampleHouse.look(path)) == nil, "\(path)")
        }
        #expect(face.missing(SampleHouse.look("/nowhere")).status == 404)
    }

    @Test func `what does not exist is a page that says so`() async throws {
        let face = try SampleHouse().face()
        let answer = try #require(try await face.handle(SampleHouse.look("/runs/nope")))
        #expect(answer.status == 404)
        #expect(answer.page.contains("No run &quot;nope&quot;."))
        let kind = try #require(try await face.handle(SampleHouse.look("/resources/gizmos")))
        #expect(kind.status == 404)
    }

    @Test(arguments: [
        ("/ui/services/employment/promote", "services.promote", "/services/employment?done=promote"),
        ("/ui/services/employment/promote-full", "services.promote", "/services/employment?done=promote-full"),
        ("/ui/services/employment/abort", "services.abort", "/services/employment?done=abort"),
        ("/ui/services/employment/undo", "services.undo", "/services/employment?done=undo"),
        ("/ui/runs/run_01kb14/cancel", "runs.cancel", "/runs/run_01kb14?done=cancel"),
        ("/ui/runs/run_01kb12/again", "runs.start", "/runs/run_01kb14?done=again"),
        ("/ui/pipelines/employment/run", "runs.start", "/runs/run_01kb14?done=run"),
    ])
    func `a button is one operation and a redirect`(path: String, operation: String, target: String) async throws {
        let house = SampleHouse()
        let answer = try #require(try await house.face().handle(SampleHouse.post(path)))
        #expect(answer.target == target)
        #expect(house.asked.withLock { $0.map(\.operation) } == [operation])
    }

    @Test func `only the full promotion skips all steps`() async throws {
        for (verb, isFull) in [("promote", false), ("promote-full", true)] {
            let house = SampleHouse()
            _ = try await house.face().handle(SampleHouse.post("/ui/services/employment/\(verb)"))
            #expect(house.asked.withLock { $0.first?.input["full"]?.bool ?? false } == isFull)
        }
    }

    @Test func `a run that is started again takes the same commit`() async throws {
        let house = SampleHouse()
        _ = try await house.face().handle(SampleHouse.post("/ui/runs/run_01kb12/again"))
        #expect(house.asked.withLock { $0.first?.input["commit"]?.string } == SampleWorld.runs[2].commit)
    }

    @Test func `a form without its token, or from elsewhere, changes nothing`() async throws {
        var forms = [SampleHouse.post("/ui/services/employment/abort", ["csrf": "f123456789abcdef0123456789abcdef"])]
        var bare = SampleHouse.post("/ui/services/employment/abort")
        bare.form = [:]
        var foreign = SampleHouse.post("/ui/services/employment/abort")
        foreign.headers["origin"] = "http://evil.example"
        var crossSite = SampleHouse.post("/ui/services/employment/abort")
        crossSite.headers["sec-fetch-site"] = "cross-site"
        var noCookie = SampleHouse.post("/ui/services/employment/abort")
        noCookie.cookies = [:]
        forms += [bare, foreign, crossSite, noCookie]
        for form in forms {
            let house = SampleHouse()
            let answer = try #require(try await house.face().handle(form))
            #expect(answer.status == 403)
            #expect(house.asked.withLock { $0.isEmpty })
        }
    }

    @Test func `a GET never acts`() async throws {
        let house = SampleHouse()
        #expect(try await house.face().handle(SampleHouse.look("/ui/services/employment/abort")) == nil)
        #expect(house.asked.withLock { $0.isEmpty })
    }

    @Test func `the page cannot do what the person may not`() async throws {
        let house = SampleHouse()
        var form = SampleHouse.post("/ui/services/employment/abort")
        form.call = Call(actor: "token:viewer", correlation: "req", permission: .read)
        let answer = try #require(try await house.face().handle(form))
        #expect(answer.status == 403)
        #expect(answer.page.contains("Not allowed"))
        #expect(house.asked.withLock { $0.isEmpty })
    }

    @Test func `who is not signed in is led to the sign-in and back`() async throws {
        let face = try SampleHouse().face()
        var look = SampleHouse.look("/runs")
        (look.call, look.hasAuth) = (nil, true)
        #expect(try #require(try await face.handle(look)).target == "/login?next=%2Fruns")
        look.query = ["fragment": "main"]
        #expect(try #require(try await face.handle(look)).status == 401)
        var form = SampleHouse.post("/ui/login", ["token": " vg_good ", "next": "/runs"])
        (form.call, form.hasAuth) = (nil, true)
        guard case .redirect(let path, let cookies) = try #require(try await face.handle(form)) else {
            Issue.record("not a redirect")
            return
        }
        #expect(path == "/runs")
        #expect(cookies.first?.header == "vagus_token=vg_good; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000")
    }

    @Test(arguments: ["vg_bad", "", "a;b", "vg_good\u{7F}"])
    func `a wrong token is told and no cookie set`(token: String) async throws {
        var form = SampleHouse.post("/ui/login", ["token": token])
        (form.call, form.hasAuth) = (nil, true)
        let answer = try #require(try await SampleHouse().face().handle(form))
        guard case .html(let status, let page, let cookies) = answer else {
            Issue.record("not a page")
            return
        }
        #expect(status == 401)
        #expect(page.contains("unknown, ended or revoked"))
        #expect(!cookies.contains { $0.name == WebFace.tokenCookie })
    }

    @Test(arguments: ["//evil.example", "https://evil.example", "/\\evil.example", "/x\r\nSet-Cookie: a=b", "runs"])
    func `the sign-in leads nowhere else`(next: String) {
        #expect(WebFace.local(next) == "/")
    }

    @Test func `signing out removes the cookie`() async throws {
        guard
            case .redirect(let path, let cookies) = try #require(
                try await SampleHouse().face().handle(SampleHouse.post("/ui/logout")))
        else {
            Issue.record("not a redirect")
            return
        }
        #expect(path == "/login")
        #expect(cookies == [WebCookie(name: "vagus_token", value: "", maxAge: 0, isSecure: false)])
    }

    @Test func `a first visit gets a form token of its own`() async throws {
        var look = SampleHouse.look("/")
        look.cookies = [:]
        guard case .html(_, let page, let cookies) = try #require(try await SampleHouse().face().handle(look)) else {
            return
        }
        let made = try #require(cookies.first { $0.name == WebFace.csrfCookie })
        #expect(made.value.utf8.count == 32)
        #expect(page.contains("Overview"))
    }

    @Test func `a project is remembered, and only one that can be`() {
        var look = SampleHouse.look("/", ["project": "shop"])
        #expect(look.project == "shop")
        #expect(Session(look).cookies.map(\.name) == [WebFace.projectCookie])
        look.query["project"] = "../x; Path=/"
        #expect(look.project == "default")
    }

    @Test(arguments: ["/", "/runs", "/events", "/services/employment", "/resources/pipelines/employment"])
    func `a token of one project sees its pages and no other's`(path: String) async throws {
        var look = SampleHouse.look(path, ["project": "other"])
        look.call = Call(actor: "token:shop", correlation: "req", permission: .read, project: "shop")
        #expect(look.project == "shop")
        #expect(try #require(try await SampleHouse().face().handle(look)).status == 200)
    }

    @Test func `a log is read on from where the page stands`() async throws {
        let face = try SampleHouse().face()
        let first = try #require(
            try await face.handle(SampleHouse.look("/runs/run_01kb14/log", ["job": "train/train"]))
        ).page
        #expect(first.contains("data-done=\"true\""))
        #expect(first.contains("<span class=\"a-bold\">train</span>"))
        #expect(first.contains("&lt;missing&gt; &amp; odd"))
        let rest = try #require(
            try await face.handle(
                SampleHouse.look("/runs/run_01kb14/log", ["job": "train/train", "after": "60", "line": "2"])))
        #expect(rest.page.contains(">2</span>"))
        guard
            case .text(let raw) = try #require(
                try await face.handle(SampleHouse.look("/runs/run_01kb14/raw", ["job": "x"])))
        else {
            Issue.record("not text")
            return
        }
        #expect(raw == SampleWorld.log)
    }
}
