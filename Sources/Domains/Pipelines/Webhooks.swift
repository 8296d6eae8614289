import API
import Crypto
package import Kernel
package import Manifests
import SQL
import Synchronization

/// What comes in at `/hooks/`: webhooks of forges, and requests to pipelines that wait for one.
///
/// A forge's word is not taken for what has happened: it sets off a look, and git says what moved. Only pull requests, which
/// git does not know, are believed, once their signature holds.
package struct Webhooks: Sendable {
    let context: DomainContext
    let settings: PipelinesSettings
    private let refusals = RefusalLimit()

    init(context: DomainContext, settings: PipelinesSettings) { (self.context, self.settings) = (context, settings) }

    /// A request as it came.
    package struct Request: Sendable {
        /// "PROJECT/REPOSITORY", or "PROJECT/pipelines/PIPELINE".
        package var path: [String]
        /// Names in lower case.
        package var headers: [String: String]
        package var body: [UInt8]
        /// Who sends it, when it carries a token that holds.
        package var call: Call?
        /// The server asks nobody for a token (`vagus dev`).
        package var isOpen: Bool

        package init(path: [String], headers: [String: String], body: [UInt8], call: Call?, isOpen: Bool = false) {
            (self.path, self.headers, self.body, self.call) = (path, headers, body, call)
            self.isOpen = isOpen
        }
    }

    /// Bytes of a body; GitHub sends up to 25 MB.
    package static let bodyLimit = 25 << 20
    /// How long deliveries are remembered, and how many.
    static let memory: Duration = .seconds(7 * 86_400)
    static let deliveries = 100_000

    package func receive(_ request: Request, correlation: String) async throws -> JSONValue {
        switch request.path.count {
        case 2: return try await forge(request, correlation)
        case 3 where request.path[1] == "pipelines": return try await pipeline(request, correlation)
        default:
            throw Problem(
                "path.not-found", status: 404, "nothing is at this path",
                hint: "Webhooks go to /hooks/PROJECT/REPOSITORY or /hooks/PROJECT/pipelines/PIPELINE.")
        }
    }

    // MARK: Forges

    private func forge(_ request: Request, _ correlation: String) async throws -> JSONValue {
        let reference = Reference<RepositoryKind>(project: request.path[0], name: request.path[1])
        let found = try await context.store.read { try $0.resource(RepositoryKind.self, reference) }
        guard let repository = found, let remote = repository.spec.remote, let forge = remote.forge else {
            throw Problem(
                "webhook.no-repository", status: 404, "no repository with a forge is at this path",
                hint: "Give it `remote: { url: …, forge: …, webhook_secret: … }`.")
        }
        let secret = try await settings.secret(remote.webhook_secret, project: reference.project)
        guard let secret,
            ForgeSignature.holds(
                forge, headers: request.headers, body: request.body, secret: secret, at: context.time.now)
        else {
            let why = secret == nil ? "the repository has no webhook secret" : "its signature does not hold"
            throw try await refuse(request, reference.subject, why, correlation)
        }
        let event = try ForgeEvent.read(forge, headers: request.headers, try Self.json(request.body))
        let ids = context.ids
        let call = Call(actor: "forge:\(forge.rawValue)", correlation: correlation, permission: .run)
        return try await context.store.change(call) { change in
            guard try Self.isNew(request, to: reference.name, signedWith: "", change) else { return Self.seen }
            switch event {
            case .ping: return ["outcome": "ping"]
            case .ignored(let name): return ["outcome": "ignored", "event": .string(name)]
            case .refs: break
            case .pull(var pull, let action):
                pull.repository = reference.name
                try change.sql.tellLater(pull, action, id: ids.next("told"), of: reference, at: change.now)
            }
            var remote = try change.sql.remote(reference) ?? StoredRemote(wantedAt: change.now)
            (remote.wantedAt, remote.failures) = (change.now, 0)
            try change.sql.keep(remote, of: reference)
            try change.tell(
                "webhook.received", about: reference.subject,
                ["forge": forge.json, "delivery": ForgeEvent.delivery(request.headers).json])
            change.ring(RemoteReconciler.topic)
            return ["outcome": "accepted"]
        }
    }

    private static let seen: JSONValue = [
        "outcome": "dropped",
        "reason": "this delivery was seen before: its id, or the very bytes that are signed",
    ]

    private static func json(_ body: [UInt8]) throws(Problem) -> JSONValue {
        do {
            return try JSONParser.parse(body)
        } catch {
            throw Problem("body.not-json", status: 400, error.message, location: error.location)
        }
    }

    /// Notes the delivery.
    ///
    /// One that is signed, with `secrets`, is known again by what it says, too: the name of a delivery is not signed, and who
    /// plays one again may change it.
    private static func isNew(
        _ request: Request, to receiver: String, signedWith secrets: String?, _ change: Change
    ) throws -> Bool {
        let project = request.path[0]
        try change.sql.forgetDeliveries(
            before: change.now.advanced(by: .zero - memory), limit: deliveries)
        var isNew = true
        if let delivery = ForgeEvent.delivery(request.headers) {
            isNew = try change.sql.isNew("id:\(delivery)", to: receiver, project: project, at: change.now)
        }
        if let secrets {
            let digest = SHA256.hash(data: request.body).map { String($0, radix: 16) }.joined(separator: ".")
            let isUnknown = try change.sql.isNew(
                "body:\(secrets)\(digest)", to: receiver, project: project, at: change.now)
            isNew = isNew && isUnknown
        }
        return isNew
    }

    /// Leaves an event of a request that is not let in.
    private func refuse(_ request: Request, _ subject: Subject, _ why: String, _ correlation: String) async throws
        -> Problem
    {
        if refusals.allows(at: context.time.now) {
            let delivery = ForgeEvent.delivery(request.headers)
            try await context.store.change(.system("webhooks", correlation: correlation)) { change in
                _ = try change.tell(
                    "webhook.refused", about: subject,
                    [
                        "reason": .string(why), "delivery": delivery.json,
                        "bytes": .integer(Int64(request.body.count)),
                    ])
            }
        }
        return Problem(
            "webhook.refused", status: 403, "the webhook was refused: \(why)",
            hint: "Give the forge and vagus the same secret.")
    }

    // MARK: Pipelines

    private func pipeline(_ request: Request, _ correlation: String) async throws -> JSONValue {
        let reference = Reference<PipelineKind>(project: request.path[0], name: request.path[2])
        let found = try await context.store.read { try $0.resource(PipelineKind.self, reference) }
        guard let pipeline = found, pipeline.spec.triggers.contains(where: { $0.webhook != nil }) else {
            throw Problem(
                "webhook.no-pipeline", status: 404, "no pipeline that waits for a webhook is at this path",
                hint: "Give it a trigger: `- webhook: { secret: NAME }`.")
        }
        var admitted: [TriggerSpec] = []
        for trigger in pipeline.spec.triggers {
            guard let webhook = trigger.webhook else { continue }
            if try await admits(webhook, request, project: reference.project) { admitted.append(trigger) }
        }
        guard !admitted.isEmpty else {
            throw try await refuse(
                request, reference.subject, "neither a signature nor a token lets it in", correlation)
        }
        let body = try Self.json(request.body.isEmpty ? Array("{}".utf8) : request.body)
        let (ids, triggers) = (context.ids, admitted)
        // Who holds a token may say the same twice; a signature, whoever has seen it can send again.
        let secrets = Set(admitted.compactMap { $0.webhook?.secret }).sorted()
        let signedWith =
            secrets.isEmpty || Self.holdsToken(request, project: reference.project)
            ? nil : secrets.joined(separator: ",") + ":"
        let call = request.call ?? Call(actor: "webhook:\(reference.name)", correlation: correlation, permission: .run)
        return try await context.store.change(call) { change in
            guard
                try Self.isNew(request, to: "pipelines/\(reference.name)", signedWith: signedWith, change)
            else { return Self.seen }
            let place = try change.defaultHead(of: pipeline)
            var started: [JSONValue] = []
            for spec in triggers {
                var trigger = Trigger()
                (trigger.type, trigger.actor, trigger.event) = (.webhook, call.actor, body)
                let firing = Firing(pipeline: pipeline, spec: spec, trigger: trigger, place: place)
                if let run = try change.fire(firing, id: ids.next("run")) { started.append(.string(run.run.id)) }
            }
            return ["outcome": started.isEmpty ? "ignored" : "accepted", "runs": .array(started)]
        }
    }

    private static func holdsToken(_ request: Request, project: String) -> Bool {
        guard let call = request.call, call.permission.allows(.run) else { return false }
        return call.project == nil || call.project == project
    }

    private func admits(_ webhook: WebhookTrigger, _ request: Request, project: String) async throws -> Bool {
        if Self.holdsToken(request, project: project) { return true }
        if webhook.secret == nil { return request.isOpen }
        guard let secret = try await settings.secret(webhook.secret, project: project) else { return false }
        return ForgeSignature.holds(
            nil, headers: request.headers, body: request.body, secret: secret, at: context.time.now)
    }
}

/// Events of refused requests that are written in a minute: a flood of forged ones must not fill the log.
private final class RefusalLimit: Sendable {
    static let perMinute = 60
    private let state = Mutex((began: Timestamp.zero, count: 0))

    func allows(at now: Timestamp) -> Bool {
        state.withLock { state in
            if now.since(state.began) > .seconds(60) { state = (now, 0) }
            state.count += 1
            return state.count <= Self.perMinute
        }
    }
}

extension PipelinesDomain {
    package var webhooks: Webhooks { Webhooks(context: context, settings: settings) }
}

extension PipelinesSettings {
    /// The secret of that name; nil when none is named, or there is none.
    func secret(_ name: String?, project: String) async throws -> String? {
        guard let name else { return nil }
        return try await readSecret(project, name)
    }
}
