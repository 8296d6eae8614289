import API
import Foundation
import Kernel
import Manifests
import Outbound
import SQL

/// MLflow's calls on webhooks.
extension MLflowRegistry {
    var webhookRoutes: [MLflowRoute] {
        let me = self
        let base = "/api/2.0/mlflow/webhooks"
        let one = base + "/{webhook_id}"
        return [
            MLflowRoute("POST", base, needs: .write) { try await me.createWebhook($0, $1) },
            MLflowRoute("GET", base) { input, _ in try await me.listWebhooks(input) },
            MLflowRoute("GET", one) { input, _ in
                .json(["webhook": WebhookWire.json(try await me.webhook(input))])
            },
            MLflowRoute("PATCH", one, needs: .write) { try await me.updateWebhook($0, $1) },
            MLflowRoute("DELETE", one, needs: .write) { try await me.deleteWebhook($0, $1) },
            MLflowRoute("POST", one + "/test", needs: .write) { input, _ in try await me.testWebhook(input) },
        ]
    }

    private func webhook(_ input: MLflowInput) async throws -> Webhook {
        let id = input.path["webhook_id"] ?? ""
        let found = try await store.read { try $0.webhook(id) }
        guard let found, found.project == input.project else {
            throw MLflowError.missing("Webhook with ID \(id.prefix(60)) not found.")
        }
        return found
    }

    private func createWebhook(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        var hook = Webhook(
            id: registry.context.ids.next("webhook"), project: input.project, name: try input.string("name"),
            url: try input.string("url"), events: try WebhookWire.events(input.list("events")))
        guard isResourceName(hook.project) else {
            throw MLflowError.missing("Workspace '\(hook.project.prefix(60))' not found")
        }
        guard !hook.events.isEmpty else { throw MLflowError.required("events") }
        try WebhookWire.checkName(hook.name)
        try await check(hook.url)
        hook.description = try input.text("description") ?? ""
        hook.isActive = try WebhookWire.isActive(input.text("status")) ?? true
        if let secret = try input.text("secret"), !secret.isEmpty {
            hook.secret = try await keep(secret, of: hook, call)
        }
        let whole = hook
        return try await store.change(call) { change in
            guard try change.sql.webhooks(project: whole.project).count < WebhookLimits.count else {
                throw MLflowError(.exhausted, "A workspace has at most \(WebhookLimits.count) webhooks.")
            }
            var hook = whole
            (hook.createdAt, hook.updatedAt) = (change.now, change.now)
            try change.sql.keep(hook)
            try change.tell(
                "webhook.created", about: Subject(kind: "Webhook", project: hook.project, name: hook.id),
                ["name": .string(hook.name), "events": hook.events.json])
            return .json(["webhook": WebhookWire.json(hook)])
        }
    }

    /// Refuses what nothing may be sent to: no address of the web, or one inside.
    private func check(_ url: String) async throws {
        guard let sender else {
            throw MLflowError(.notImplemented, "This server sends no webhooks.")
        }
        do {
            try await sender.outbound.check(url)
        } catch {
            throw MLflowError.invalid("Invalid webhook URL: \(error.message).")
        }
        guard url.lowercased().hasPrefix("https://") || sender.outbound.configuration.addressGuard == .any else {
            throw MLflowError.invalid("Invalid webhook URL scheme: 'http'. Allowed schemes are: https.")
        }
    }

    /// The secret goes to the vault, where no job can have it.
    private func keep(_ secret: String, of hook: Webhook, _ call: Call) async throws -> String {
        var input = SecretInput()
        (input.project, input.name) = (hook.project, "mlflow-webhook/\(hook.id)")
        input.value = .string(secret)
        // A pipeline cannot be called so: the secret is for the server alone.
        input.pipelines = ["-"]
        _ = try await registry.context.caller.call(
            Secrets.set, input, as: Call.system(ExperimentsDomain.name, correlation: call.correlation))
        return input.name
    }

    private func listWebhooks(_ input: MLflowInput) async throws -> MLflowAnswer {
        let limit = Int(try input.integer("max_results") ?? 100)
        guard (1...1000).contains(limit) else { throw MLflowError.invalid("max_results must be between 1 and 1000.") }
        var before: (Int64, String) = (.max, "")
        if let token = try input.text("page_token"), !token.isEmpty {
            let parts = token.split(separator: ".", maxSplits: 1).map(String.init)
            guard parts.count == 2, let time = Int64(parts[0]) else { throw MLflowError.invalid("Invalid page token.") }
            before = (time, parts[1])
        }
        let start = before
        return try await read(input.project) { sql in
            let found = try sql.webhooks(project: input.project, before: start, limit: limit + 1)
            var out: Ordered<JSONValue> = ["webhooks": .array(found.prefix(limit).map(WebhookWire.json))]
            if found.count > limit {
                let last = found[limit - 1]
                out["next_page_token"] = .string("\(last.createdAt.microseconds).\(last.id)")
            }
            return .json(.object(out))
        }
    }

    private func updateWebhook(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        var hook = try await webhook(input)
        if let name = try input.text("name"), !name.isEmpty {
            try WebhookWire.checkName(name)
            hook.name = name
        }
        if let url = try input.text("url"), !url.isEmpty {
            try await check(url)
            hook.url = url
        }
        let events = try WebhookWire.events(try input.list("events"))
        if !events.isEmpty { hook.events = events }
        if let description = try input.text("description") { hook.description = description }
        if let isActive = try WebhookWire.isActive(try input.text("status")) { hook.isActive = isActive }
        if let secret = try input.text("secret") {
            hook.secret = secret.isEmpty ? nil : try await keep(secret, of: hook, call)
        }
        let whole = hook
        return try await store.change(call) { change in
            var hook = whole
            hook.updatedAt = change.now
            try change.sql.keep(hook)
            try change.tell("webhook.changed", about: Subject(kind: "Webhook", project: hook.project, name: hook.id))
            return .json(["webhook": WebhookWire.json(hook)])
        }
    }

    private func deleteWebhook(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let hook = try await webhook(input)
        try await store.change(call) { change in
            try change.sql.removeWebhook(hook.id)
            try change.tell("webhook.deleted", about: Subject(kind: "Webhook", project: hook.project, name: hook.id))
        }
        if let name = hook.secret {
            _ = try await registry.context.caller.call(
                Secrets.delete, SecretName(project: hook.project, name: name),
                as: Call.system(ExperimentsDomain.name, correlation: call.correlation))
        }
        return .empty
    }

    /// Sends an example now, and tells what came back.
    private func testWebhook(_ input: MLflowInput) async throws -> MLflowAnswer {
        let hook = try await webhook(input)
        guard let sender else { throw MLflowError(.notImplemented, "This server sends no webhooks.") }
        let asked = try WebhookWire.events(input.value("event").map { [$0] } ?? []).first
        let now = store.time.now
        let message = WebhookWire.example(asked ?? hook.events[0])
        var result: Ordered<JSONValue> = [:]
        do {
            let (status, body) = try await sender.send(
                message.json(at: now).text, to: hook, id: registry.context.ids.next("delivery"), at: now)
            result = [
                "success": .bool(status < 400), "response_status": .integer(Int64(status)),
                "response_body": .string(body),
            ]
        } catch let error as OutboundError {
            if error.code == .cancelled { throw CancellationError() }
            result = ["success": false, "error_message": .string("Failed to test webhook: \(error.message)")]
        }
        return .json(["result": .object(result)])
    }
}

/// Webhooks as MLflow's clients read them.
enum WebhookWire {
    private static let actions: [String: Set<String>] = [
        "registered_model": ["created"], "model_version": ["created"], "model_version_tag": ["set", "deleted"],
        "model_version_alias": ["created", "deleted"], "prompt": ["created"], "prompt_version": ["created"],
        "prompt_tag": ["set", "deleted"], "prompt_version_tag": ["set", "deleted"],
        "prompt_alias": ["created", "deleted"],
        "budget_policy": ["exceeded"],
    ]

    static func json(_ hook: Webhook) -> JSONValue {
        var out: Ordered<JSONValue> = [
            "webhook_id": .string(hook.id), "name": .string(hook.name), "url": .string(hook.url),
            "events": .array(
                hook.events.map { event -> JSONValue in
                    let parts = event.split(separator: ".", maxSplits: 1)
                    return [
                        "entity": .string(parts[0].uppercased()), "action": .string((parts.last ?? "").uppercased()),
                    ]
                }),
            "status": .string(hook.isActive ? "ACTIVE" : "DISABLED"),
            "creation_timestamp": RegistryWire.milliseconds(hook.createdAt),
            "last_updated_timestamp": RegistryWire.milliseconds(hook.updatedAt),
        ]
        if !hook.description.isEmpty { out["description"] = .string(hook.description) }
        return .object(out)
    }

    static func events(_ items: [JSONValue]) throws(MLflowError) -> [String] {
        var events: [String] = []
        for item in items {
            let entity = item["entity"]?.string?.lowercased() ?? ""
            let action = item["action"]?.string?.lowercased() ?? ""
            guard let allowed = actions[entity] else {
                throw .invalid("Invalid entity '\(entity.prefix(60))'.")
            }
            guard allowed.contains(action) else {
                let valid = allowed.sorted().map { "'\($0)'" }.joined(separator: ", ")
                throw .invalid(
                    "Invalid action '\(action.prefix(60))' for entity '\(entity)'. Valid actions are: [\(valid)]")
            }
            let event = "\(entity).\(action)"
            if !events.contains(event) { events.append(event) }
        }
        return events
    }

    static func isActive(_ status: String?) throws(MLflowError) -> Bool? {
        switch status?.uppercased() {
        case nil, "": nil
        case "ACTIVE": true
        case "DISABLED": false
        default: throw .invalid("Invalid webhook status '\(status?.prefix(60) ?? "")'. It is ACTIVE or DISABLED.")
        }
    }

    static func checkName(_ name: String) throws(MLflowError) {
        let isWord = name.utf8.allSatisfy { byte in
            (0x61...0x7A).contains(byte | 0x20) || (0x30...0x39).contains(byte) || [0x2D, 0x2E, 0x5F].contains(byte)
        }
        let ends = [name.utf8.first, name.utf8.last].compactMap { $0 }
        guard isWord, (1...63).contains(name.utf8.count), !ends.contains(where: { [0x2D, 0x2E, 0x5F].contains($0) })
        else {
            throw .invalid(
                "Webhook name '\(name.prefix(80))' is invalid. It must start and end with a letter or digit, be less than 63 characters long, and contain only letters, digits, dots (.), underscores (_), and hyphens (-)."
            )
        }
    }

    /// What a test tells.
    static func example(_ event: String) -> WebhookMessage {
        let parts = event.split(separator: ".", maxSplits: 1).map(String.init)
        let (entity, action) = (parts[0], parts.last ?? "")
        var data: Ordered<JSONValue> = [
            "name": .string(entity.hasPrefix("prompt") ? "example_prompt" : "example_model")
        ]
        if entity.contains("version") { data["version"] = "1" }
        if entity.hasSuffix("tag") {
            data["key"] = "example_key"
            if action == "set" { data["value"] = "example_value" }
        }
        if entity.hasSuffix("alias") {
            data["alias"] = "example_alias"
            if action == "created" { data["version"] = "1" } else { data["version"] = nil }
        }
        switch entity {
        case "registered_model", "prompt":
            (data["tags"], data["description"]) = (["example_key": "example_value"], "An example")
        case "model_version":
            (data["source"], data["run_id"]) = ("models:/123", "abcd1234abcd5678")
            (data["tags"], data["description"]) = (["example_key": "example_value"], "An example model version")
        case "prompt_version":
            (data["template"], data["tags"]) = ("Hello {{name}}!", ["example_key": "example_value"])
            data["description"] = "An example prompt version"
        default: break
        }
        return WebhookMessage(entity: entity, action: action, data: .object(data))
    }
}
