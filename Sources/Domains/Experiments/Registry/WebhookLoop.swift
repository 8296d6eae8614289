import API
import Kernel
import Logging
import Manifests
import Outbound
import SQL

/// Writes a message for each webhook that heeds what has happened, in the transaction that remembers how far it has looked.
struct WebhookFollower: Follower {
    static let name = "experiments-webhooks"
    static let events: Set<String> = [
        "model.created", "model.registered", "model.alias-moved", "model.tagged", "model.untagged",
    ]

    func minds(_ event: Event, in sql: Connection) throws -> Bool {
        try !sql.webhooks(project: event.subject.project).isEmpty
    }

    func heed(_ event: Event, in change: Change) throws {
        guard let message = try WebhookMessage(event, in: change.sql) else { return }
        let hooks = try change.sql.webhooks(project: event.subject.project)
        for hook in hooks where hook.isActive && hook.events.contains(message.name) {
            var delivery = WebhookDelivery()
            (delivery.id, delivery.webhook) = ("\(event.sequence)-\(hook.id)", hook.id)
            (delivery.event, delivery.created_at) = (message.name, change.now)
            try change.sql.insert(delivery, payload: message.json(at: event.at).text, project: hook.project)
            change.ring(WebhookReconciler.topic)
        }
    }
}

/// What MLflow's webhooks tell of an event.
struct WebhookMessage: Sendable {
    /// "model_version", …
    var entity: String
    var action: String
    var data: JSONValue

    var name: String { "\(entity).\(action)" }

    static let promptTag = "mlflow.prompt.is_prompt"
    private static let promptText = "mlflow.prompt.text"
    private static let hidden: Set<String> = [promptTag, promptText, "_mlflow_prompt_type"]

    func json(at time: Timestamp) -> JSONValue {
        [
            "entity": .string(entity), "action": .string(action), "timestamp": .string(time.description), "data": data,
        ]
    }

    init(entity: String, action: String, data: JSONValue) {
        (self.entity, self.action, self.data) = (entity, action, data)
    }

    /// Nil when it is of no interest to MLflow, or what it was about is gone.
    init?(_ event: Event, in sql: Connection) throws {
        let model = Reference<ModelKind>(project: event.subject.project, name: event.subject.name)
        guard let row = try sql.model(model) else { return nil }
        let tags = try sql.tags(of: model, version: 0)
        let isPrompt = tags[Self.promptTag] == "true"
        let title = JSONValue.string(row.title)
        let number = event.data["version"]?.int ?? 0
        func shown(_ tags: Ordered<String>) -> JSONValue {
            .object(
                Ordered(
                    tags.filter { !isPrompt || !Self.hidden.contains($0.key) }.map {
                        ($0.key, JSONValue.string($0.value))
                    }))
        }
        switch event.name {
        case "model.created":
            let description = try sql.resource(ModelKind.self, model)?.spec.description
            self.init(
                entity: isPrompt ? "prompt" : "registered_model", action: "created",
                data: ["name": title, "tags": shown(tags), "description": description.json])
        case "model.registered":
            guard let version = try sql.registered(number, of: model) else { return nil }
            var data: Ordered<JSONValue> = ["name": title, "version": .string("\(number)")]
            if isPrompt {
                data["template"] = version.tags[Self.promptText].json
            } else {
                (data["source"], data["run_id"]) = (.string(version.source ?? ""), version.run.json)
            }
            (data["tags"], data["description"]) = (shown(version.tags), version.description.json)
            self.init(entity: isPrompt ? "prompt_version" : "model_version", action: "created", data: .object(data))
        case "model.alias-moved":
            let to = event.data["to"]?.int ?? 0
            var data: Ordered<JSONValue> = ["name": title, "alias": event.data["alias"] ?? .null]
            if to != 0 { data["version"] = .string("\(to)") }
            self.init(
                entity: isPrompt ? "prompt_alias" : "model_version_alias", action: to == 0 ? "deleted" : "created",
                data: .object(data))
        case "model.tagged", "model.untagged":
            // MLflow tells tags of versions, and of prompts themselves; not those of models.
            guard number > 0 || isPrompt, let key = event.data["key"]?.string else { return nil }
            let isSet = event.name == "model.tagged"
            let entity = number == 0 ? "prompt_tag" : isPrompt ? "prompt_version_tag" : "model_version_tag"
            var data: Ordered<JSONValue> = ["name": title]
            if number > 0 { data["version"] = .string("\(number)") }
            data["key"] = .string(key)
            if isSet {
                guard let value = try event.data["value"]?.string ?? sql.tags(of: model, version: number)[key] else {
                    return nil
                }
                data["value"] = .string(value)
            }
            self.init(entity: entity, action: isSet ? "set" : "deleted", data: .object(data))
        default: return nil
        }
    }
}

/// Sends what waits, again and again until it arrives or is given up.
struct WebhookReconciler: Reconciler {
    static let name = "experiments-webhooks"
    static let topic = "model-webhooks"
    static let topics: Set<String> = [topic]
    let store: Store
    let sender: WebhookSender

    func keys() async throws -> [String] { try await store.read { try $0.dueDeliveries() } }

    func reconcile(_ key: String) async throws -> Next {
        let now = store.time.now
        let found = try await store.read { sql -> (WebhookDelivery, String, Webhook?)? in
            guard let (told, payload) = try sql.delivery(key), told.status == .waiting else { return nil }
            return (told, payload, try sql.webhook(told.webhook))
        }
        guard let (delivery, payload, hook) = found else { return .settled }
        if let next = delivery.next_at, next > now { return .again(in: next.since(now)) }
        let next: WebhookDelivery
        if let hook, hook.isActive {
            let outcome = try await self.try(payload, hook, delivery.id, now)
            next = Self.after(outcome, delivery, at: store.time.now)
        } else {
            next = Self.after(.refused("the webhook is gone or disabled"), delivery, at: now)
        }
        try await store.change(.system("experiments")) { change in
            try change.sql.update(next)
            guard next.status == .dead, let hook else { return }
            try change.tell(
                "webhook.given-up", about: Subject(kind: "Webhook", project: hook.project, name: hook.id),
                [
                    "delivery": .string(next.id), "event": .string(next.event),
                    "attempts": .integer(Int64(next.attempts)), "error": next.error.json,
                ])
        }
        guard next.status == .waiting, let at = next.next_at else { return .settled }
        return .again(in: at.since(store.time.now))
    }

    enum Outcome: Sendable, Equatable {
        case answered(Int)
        case failed(String)
        /// Nothing that trying again would mend.
        case refused(String)
    }

    private func `try`(_ payload: String, _ hook: Webhook, _ id: String, _ now: Timestamp) async throws -> Outcome {
        do {
            return .answered(try await sender.send(payload, to: hook, id: id, at: now).0)
        } catch let error as OutboundError {
            if error.code == .cancelled { throw CancellationError() }
            return error.code == .addressNotAllowed || error.code == .badURL
                ? .refused(error.message) : .failed(error.message)
        } catch let problem as Problem {
            return .failed(problem.message)
        }
    }

    /// What becomes of a message after a try; pure.
    ///
    /// The statuses that are tried again are MLflow's. Pauses double from one second to five minutes.
    static func after(_ outcome: Outcome, _ delivery: WebhookDelivery, at now: Timestamp) -> WebhookDelivery {
        var next = delivery
        next.attempts += 1
        (next.answer, next.error) = (nil, nil)
        var mayHelp = true
        switch outcome {
        case .answered(let status):
            next.answer = status
            if (200..<300).contains(status) {
                (next.status, next.ended_at, next.next_at) = (.delivered, now, nil)
                return next
            }
            mayHelp = [408, 429, 500, 502, 503, 504].contains(status)
            next.error = "it answered \(status)"
        case .failed(let reason): next.error = String(reason.prefix(WebhookLimits.errorLength))
        case .refused(let reason):
            next.error = String(reason.prefix(WebhookLimits.errorLength))
            mayHelp = false
        }
        if mayHelp, next.attempts < WebhookLimits.attempts {
            next.next_at = now.advanced(by: .seconds(min(300, 1 << (next.attempts - 1))))
        } else {
            (next.status, next.ended_at, next.next_at) = (.dead, now, nil)
        }
        return next
    }
}
