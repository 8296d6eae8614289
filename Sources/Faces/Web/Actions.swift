import API
import Kernel

extension WebFace {
    /// Takes a form that was posted to /ui/….
    func act(_ segments: [String], _ request: WebRequest, _ session: Session) async throws -> WebResponse? {
        guard request.method == "POST" else { return nil }
        guard session.allows(request) else {
            throw Problem(
                "form.foreign", status: 403, "this form does not come from a page of this server, or is too old",
                hint: "Load the page again and repeat.")
        }
        if segments == ["login"] { return await signIn(request, session) }
        if segments == ["logout"] {
            return .redirect(
                "/login", cookies: [WebCookie(name: Self.tokenCookie, value: "", maxAge: 0, isSecure: request.isSecure)]
            )
        }
        guard let call = request.call else {
            throw Problem("auth.missing", status: 401, "nobody is signed in", hint: "Sign in and repeat.")
        }
        let visitor = Visitor(face: self, request: request, call: call, session: session)
        if segments == ["events", "verify"] {
            return try await visitor.events(audit: try await visitor.ask(Events.verify, Nothing()))
        }
        guard segments.count == 3 else { return nil }
        return try await visitor.act(on: segments[0], segments[1], verb: segments[2])
    }

    private func signIn(_ request: WebRequest, _ session: Session) async -> WebResponse {
        let token = (request.form["token"] ?? "").filter { !$0.isWhitespace }
        let isSound =
            !token.isEmpty && token.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x3B && $0 != 0x2C && $0 != 0x22 }
        guard isSound, await isToken(token) else {
            return login(
                request, session,
                notice: Notice(
                    tone: .bad, icon: "failed", title: "This token is unknown, ended or revoked",
                    text: "The token that the first start prints must be redeemed before: vagus token redeem NAME."))
        }
        let cookie = WebCookie(
            name: Self.tokenCookie, value: token, maxAge: Self.sessionSeconds, isSecure: request.isSecure)
        return .redirect(Self.local(request.form["next"] ?? "/"), cookies: [cookie])
    }
}

extension Visitor {
    /// Does what a button says, then leads back to the page of the thing.
    func act(on kind: String, _ target: String, verb: String) async throws -> WebResponse? {
        switch (kind, verb) {
        case ("runs", "cancel"):
            _ = try await ask(Runs.cancel, RunName(project: project, run: target))
            return .redirect(Links.path(["runs", target], ["done": verb]))
        case ("runs", "again"): return try await again(target)
        case ("runs", "approve"), ("runs", "reject"): return try await say(verb, of: target)
        case ("pipelines", "quarantine"), ("pipelines", "release"): return try await quarantine(verb, in: target)
        case ("dashboards", "check"), ("dashboards", "save"): return try await importDashboard(save: verb == "save")
        case ("models", _): return try await act(onModel: target, verb: verb)
        case ("experiments", _): return try await actOnExperiment(target, verb: verb)
        case ("pipelines", "run"):
            var input = RunInput()
            (input.project, input.pipeline) = (project, target)
            return .redirect(Links.path(["runs", try await ask(Runs.start, input).id], ["done": verb]))
        case ("services", "promote"), ("services", "promote-full"):
            var input = PromoteInput()
            (input.project, input.name, input.full) = (project, target, verb == "promote-full")
            _ = try await ask(Services.promote, input)
        case ("services", "abort"):
            var input = AbortInput()
            (input.project, input.name, input.reason) = (project, target, "aborted in the web UI")
            _ = try await ask(Services.abort, input)
        case ("services", "pause"), ("services", "resume"):
            var input = HoldInput()
            (input.project, input.name) = (project, target)
            _ = try await ask(verb == "pause" ? Services.pause : Services.resume, input)
        case ("services", "retry"): _ = try await ask(Services.retry, Name(project: project, name: target))
        case ("services", "undo"):
            var input = UndoInput()
            (input.project, input.name) = (project, target)
            _ = try await ask(Services.undo, input)
        default: return nil
        }
        return .redirect(Links.path(["services", target], ["done": verb]))
    }

    private func again(_ id: String) async throws -> WebResponse {
        let run = try await ask(Runs.get, RunName(project: project, run: id))
        var input = RunInput()
        (input.project, input.pipeline, input.parameters, input.commit) = (
            run.project, run.pipeline, run.parameters, run.commit
        )
        return .redirect(Links.path(["runs", try await ask(Runs.start, input).id], ["done": "again"]))
    }
}
