import API
import Kernel
import Manifests
import Synchronization

@testable import Web

/// The operations that pages ask, answered from ``SampleWorld``, or empty; and what was asked of it.
final class SampleHouse: Sendable {
    let asked = Mutex<[(operation: String, input: JSONValue)]>([])
    let isEmpty: Bool

    init(isEmpty: Bool = false) { self.isEmpty = isEmpty }

    func note(_ operation: String, _ input: JSONValue) { asked.withLock { $0.append((operation, input)) } }

    func face() throws -> WebFace {
        var routes = Routes()
        lists(&routes)
        details(&routes)
        actions(&routes)
        telemetry(&routes)
        experiments(&routes)
        return try WebFace(caller: Switchboard(routes)) { $0 == "vg_good" }
    }

    private func missing(_ what: String) -> Problem { Problem("not-found", status: 404, "no \(what)") }

    private func lists(_ routes: inout Routes) {
        let isEmpty = isEmpty
        routes.on(Runs.list) { query, _ in
            let all = query.status == .waiting ? [SampleWaiting.run] : SampleWorld.runs
            let runs = isEmpty ? [] : all.filter { query.status == nil || $0.status == query.status }
            return ItemList(Array(runs.prefix(query.limit)), next: query.status == nil && !isEmpty ? "run_01" : nil)
        }
        routes.on(Services.list) { _, _ in ItemList(isEmpty ? [] : [SampleWorld.canary, SampleWorld.aborted]) }
        routes.on(Environments.freezes) { _, _ in ItemList(isEmpty ? [] : [SampleWorld.freeze]) }
        routes.on(Releases.list) { _, _ in ItemList(isEmpty ? [] : [SampleWorld.release]) }
        routes.on(Resources.list) { query, _ in ItemList(isEmpty ? [] : SampleWorld.resources[query.kind] ?? []) }
        routes.on(Events.list) { query, _ in
            ItemList(isEmpty ? [] : SampleWorld.events.filter { query.name == nil || $0.name == query.name })
        }
        routes.on(Dora.get) { _, _ in
            var bare = DoraReport()
            (bare.from, bare.to) = (SampleWorld.dora.from, SampleWorld.dora.to)
            return isEmpty ? bare : SampleWorld.dora
        }
        routes.on(Approvals.list) { _, _ in ItemList(isEmpty ? [] : [SampleWaiting.foreign, SampleWaiting.mine]) }
        routes.on(Runners.list) { _, _ in ItemList(isEmpty ? [] : SampleWaiting.runners) }
        routes.on(Triggers.list) { _, _ in ItemList(isEmpty ? [] : SampleWaiting.triggers) }
        routes.on(Pulls.list) { _, _ in ItemList(isEmpty ? [] : SampleWaiting.pulls) }
        routes.on(Models.versions) { _, _ in ItemList(isEmpty ? [] : SampleWorld.versions) }
        routes.on(Models.requests) { _, _ in ItemList(isEmpty ? [] : [SampleModels.request]) }
        routes.on(Models.compare) { input, _ in
            let found = [input.from, input.to].compactMap { word in
                SampleWorld.versions.first { "\($0.version)" == word }
            }
            guard found.count == 2 else { throw Problem("model.no-version", status: 404, "no such version") }
            return SampleModels.difference(found[0], found[1])
        }
        routes.on(Models.evidence) { input, _ in
            guard let version = SampleWorld.versions.first(where: { "\($0.version)" == input.version }) else {
                throw Problem("model.no-version", status: 404, "no such version")
            }
            return SampleModels.evidence(version)
        }
        routes.on(Tests.list) { query, _ in ItemList(isEmpty || query.failing ? [] : SampleTests.all) }
        routes.on(Tests.history) { _, _ in
            if isEmpty { throw Problem("test.not-found", status: 404, "no such test") }
            return SampleTests.history
        }
        routes.on(Runs.artifacts) { _, _ in ItemList(isEmpty ? [] : SampleWorld.artifacts) }
        routes.on(Services.traffic) { _, _ in ItemList(isEmpty ? [] : SampleWorld.traffic) }
    }

    private func details(_ routes: inout Routes) {
        routes.on(Runs.get) { [self] name, _ in
            if isEmpty {
                var bare = Run()
                (bare.id, bare.pipeline, bare.number) = (name.run, "employment", 1)
                return bare
            }
            guard let run = (SampleWorld.runs + [SampleWaiting.run]).first(where: { $0.id == name.run }) else {
                throw missing("run \"\(name.run)\"")
            }
            return run
        }
        routes.on(Runs.log) { query, _ in
            var chunk = LogChunk()
            let bytes = Array(SampleWorld.log.utf8.dropFirst(Int(query.offset)).prefix(query.limit))
            chunk.text = String(decoding: bytes, as: UTF8.self)
            chunk.next_offset = query.offset + Int64(bytes.count)
            chunk.ended = chunk.next_offset == Int64(SampleWorld.log.utf8.count)
            return chunk
        }
        routes.on(Services.status) { [self] name, _ in
            if isEmpty {
                var bare = ServiceStatus()
                bare.service = name.name
                return bare
            }
            guard let one = [SampleWorld.canary, SampleWorld.aborted].first(where: { $0.service == name.name }) else {
                throw missing("service \"\(name.name)\"")
            }
            return one
        }
        routes.on(Resources.get) { [self] name, _ in
            if isEmpty, let kind = try? Kinds.named(name.kind) {
                var bare = SampleWorld.resource(kind, name.name, [:], nil)
                bare.conditions = []
                return bare
            }
            let all = SampleWorld.resources[name.kind] ?? []
            let wanted = name.name == "salary" ? "employment" : name.name
            guard let one = all.first(where: { $0.name == wanted }) else {
                throw missing("\(name.kind) \"\(name.name)\"")
            }
            return one
        }
        routes.on(Monitors.report) { [self] _, _ in
            if isEmpty { throw missing("report yet") }
            return SampleWorld.report
        }
    }

    private func actions(_ routes: inout Routes) {
        routes.on(Runs.cancel) { [self] name, _ in
            note("runs.cancel", name.json)
            return SampleWorld.runs[0]
        }
        routes.on(Runs.start) { [self] input, _ in
            note("runs.start", input.json)
            return SampleWorld.runs[0]
        }
        routes.on(Approvals.approve) { [self] input, _ in
            guard input.digest == SampleWaiting.digest else {
                throw Problem(
                    "approval.author", status: 403, "ana has started this run or written its commit",
                    hint: "Environment \"production\" wants the approval of somebody else.")
            }
            note("approvals.approve", input.json)
            return ItemList([SampleWaiting.gate])
        }
        routes.on(Approvals.reject) { [self] input, _ in
            note("approvals.reject", input.json)
            return ItemList([SampleWaiting.gate])
        }
        routes.on(Models.approve) { [self] input, _ in
            note("models.approve", input.json)
            return SampleModels.request
        }
        routes.on(Tests.quarantine) { [self] input, _ in
            note("tests.quarantine", input.json)
            return SampleTests.all[1]
        }
        routes.on(Tests.release) { [self] input, _ in
            note("tests.release", input.json)
            return SampleTests.all[1]
        }
        routes.on(Services.promote) { [self] input, _ in
            note("services.promote", input.json)
            return SampleWorld.canary
        }
        routes.on(Services.abort) { [self] input, _ in
            note("services.abort", input.json)
            return SampleWorld.canary
        }
        routes.on(Services.undo) { [self] input, _ in
            note("services.undo", input.json)
            return SampleWorld.canary
        }
        routes.on(Events.verify) { _, _ in
            var outcome = AuditOutcome()
            (outcome.events, outcome.message) = (199, "The chain ends in 9b1f4c77.")
            return outcome
        }
    }

    static let csrf = "0123456789abcdef0123456789abcdef"

    static func look(_ path: String, _ query: [String: String] = [:], permission: Permission = .admin) -> WebRequest {
        WebRequest(
            method: "GET", path: path, query: query, cookies: [WebFace.csrfCookie: csrf],
            call: Call(actor: "user:dev", correlation: "req", permission: permission), hasAuth: false,
            now: SampleWorld.now)
    }

    static func post(_ path: String, _ form: [String: String] = [:]) -> WebRequest {
        var request = look(path)
        request.method = "POST"
        request.form = form.merging(["csrf": csrf]) { given, _ in given }
        request.headers = [
            "origin": "http://127.0.0.1:8420", "host": "127.0.0.1:8420", "sec-fetch-site": "same-origin",
        ]
        return request
    }
}

extension WebResponse {
    var page: String {
        guard case .html(_, let text, _) = self else { return "" }
        return text
    }
    var status: Int {
        switch self {
        case .html(let status, _, _): status
        case .redirect: 303
        case .asset, .text: 200
        }
    }
    var target: String? {
        guard case .redirect(let path, _) = self else { return nil }
        return path
    }
}
