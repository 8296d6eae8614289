import API
import Crypto
import Foundation
import Kernel
import Manifests
import Outbound
import SQL

/// A webhook of MLflow's: where what happens in the registry is told.
struct Webhook: Sendable, Equatable {
    var id: String
    var project: String
    var name: String
    var url: String
    /// "model_version.created", …
    var events: [String]
    var description = ""
    var isActive = true
    /// Name of the secret in the vault that messages are signed with.
    var secret: String?
    var createdAt = Timestamp.zero
    var updatedAt = Timestamp.zero
}

/// The bounds of webhooks.
enum WebhookLimits {
    /// Webhooks of one project.
    static let count = 1_000
    /// How often a message is sent at most.
    static let attempts = 8
    /// How long one try may take.
    static let deadline: Duration = .seconds(10)
    /// Bytes of an answer that are read.
    static let answerBytes = 64 << 10
    /// Characters of a failure that are kept.
    static let errorLength = 300
    /// Messages kept of one webhook once they are over.
    static let kept = 1_000
}

enum WebhookTables {
    static let statements: [Statement] = [
        """
        CREATE TABLE experiments_webhook (
            id TEXT PRIMARY KEY, project TEXT NOT NULL, name TEXT NOT NULL, url TEXT NOT NULL, events TEXT NOT NULL,
            description TEXT NOT NULL, is_active BIGINT NOT NULL, secret TEXT, created_at BIGINT NOT NULL,
            updated_at BIGINT NOT NULL)
        """,
        """
        CREATE TABLE experiments_webhook_delivery (
            id TEXT PRIMARY KEY, project TEXT NOT NULL, webhook TEXT NOT NULL, event TEXT NOT NULL, status TEXT NOT NULL,
            payload TEXT NOT NULL, attempts BIGINT NOT NULL, created_at BIGINT NOT NULL, next_at BIGINT NOT NULL,
            ended_at BIGINT, answer BIGINT, error TEXT)
        """,
        "CREATE INDEX experiments_webhook_delivery_due ON experiments_webhook_delivery (status, next_at)",
        "CREATE INDEX experiments_webhook_delivery_of ON experiments_webhook_delivery (project, created_at)",
    ]
}

extension Connection {
    func webhook(_ id: String) throws -> Webhook? {
        try row("SELECT * FROM experiments_webhook WHERE id = \(id)").map(Webhook.init(row:))
    }

    /// Newest first, beginning behind one of them.
    func webhooks(project: String, before: (Int64, String) = (.max, ""), limit: Int = WebhookLimits.count) throws
        -> [Webhook]
    {
        try rows(
            """
            SELECT * FROM experiments_webhook WHERE project = \(project)
                AND (created_at < \(before.0) OR (created_at = \(before.0) AND id < \(before.1)))
            ORDER BY created_at DESC, id DESC LIMIT \(limit)
            """
        ).map(Webhook.init(row:))
    }

    func keep(_ hook: Webhook) throws {
        try run(
            """
            INSERT INTO experiments_webhook (id, project, name, url, events, description, is_active, secret, created_at,
                updated_at)
            VALUES (\(hook.id), \(hook.project), \(hook.name), \(hook.url), \(hook.events.json.text),
                \(hook.description), \(hook.isActive), \(hook.secret.sqlValue), \(hook.createdAt.microseconds),
                \(hook.updatedAt.microseconds))
            ON CONFLICT (id) DO UPDATE SET name = excluded.name, url = excluded.url, events = excluded.events,
                description = excluded.description, is_active = excluded.is_active, secret = excluded.secret,
                updated_at = excluded.updated_at
            """)
    }

    func removeWebhook(_ id: String) throws {
        try run("DELETE FROM experiments_webhook WHERE id = \(id)")
        try run("DELETE FROM experiments_webhook_delivery WHERE webhook = \(id) AND status = 'waiting'")
    }

    func insert(_ delivery: WebhookDelivery, payload: String, project: String) throws {
        let made = delivery.created_at.microseconds
        try run(
            """
            INSERT INTO experiments_webhook_delivery (id, project, webhook, event, status, payload, attempts, created_at,
                next_at)
            VALUES (\(delivery.id), \(project), \(delivery.webhook), \(delivery.event), 'waiting', \(payload), 0, \(made),
                \(made))
            ON CONFLICT (id) DO NOTHING
            """)
    }

    func dueDeliveries() throws -> [String] {
        try rows("SELECT id FROM experiments_webhook_delivery WHERE status = 'waiting' ORDER BY next_at LIMIT 1000")
            .map { try $0.get(0) }
    }

    func delivery(_ id: String) throws -> (told: WebhookDelivery, payload: String)? {
        try row("SELECT * FROM experiments_webhook_delivery WHERE id = \(id)").map {
            (try WebhookDelivery(row: $0), try $0.get("payload"))
        }
    }

    func deliveries(_ query: WebhookDeliveryQuery) throws -> [WebhookDelivery] {
        let hook: Statement = query.webhook.map { "AND webhook = \($0)" } ?? ""
        return try rows(
            """
            SELECT * FROM experiments_webhook_delivery WHERE project = \(query.project) \(hook)
            ORDER BY created_at DESC, id DESC LIMIT \(query.limit)
            """
        ).map(WebhookDelivery.init(row:))
    }

    func update(_ delivery: WebhookDelivery) throws {
        try run(
            """
            UPDATE experiments_webhook_delivery SET status = \(delivery.status.rawValue), attempts = \(delivery.attempts),
                next_at = \(delivery.next_at?.microseconds ?? 0), ended_at = \((delivery.ended_at?.microseconds).sqlValue),
                answer = \(delivery.answer.sqlValue), error = \(delivery.error.sqlValue)
            WHERE id = \(delivery.id)
            """)
        try run(
            """
            DELETE FROM experiments_webhook_delivery WHERE webhook = \(delivery.webhook) AND status <> 'waiting'
                AND id NOT IN (SELECT id FROM experiments_webhook_delivery WHERE webhook = \(delivery.webhook)
                    ORDER BY created_at DESC, id DESC LIMIT \(WebhookLimits.kept))
            """)
    }
}

extension Webhook {
    init(row: Row) throws {
        id = try row.get("id")
        project = try row.get("project")
        name = try row.get("name")
        url = try row.get("url")
        events = try [String](json: JSONParser.parse(try row.get("events", as: String.self)), at: [])
        description = try row.get("description")
        isActive = try row.get("is_active")
        secret = try row.get("secret", as: String?.self)
        createdAt = Timestamp(microseconds: try row.get("created_at"))
        updatedAt = Timestamp(microseconds: try row.get("updated_at"))
    }
}

extension WebhookDelivery {
    init(row: Row) throws {
        self.init()
        id = try row.get("id")
        webhook = try row.get("webhook")
        event = try row.get("event")
        status = Status(rawValue: try row.get("status")) ?? .waiting
        attempts = try row.get("attempts")
        created_at = Timestamp(microseconds: try row.get("created_at"))
        let (next, ended) = (try row.get("next_at", as: Int64.self), try row.get("ended_at", as: Int64?.self))
        if status == .waiting { next_at = Timestamp(microseconds: next) }
        ended_at = ended.map(Timestamp.init(microseconds:))
        answer = try row.get("answer", as: Int?.self)
        error = try row.get("error", as: String?.self)
    }
}

/// Sends a message to a webhook, signed as MLflow's server signs (after Standard Webhooks).
struct WebhookSender: Sendable {
    let outbound: OutboundClient
    let secrets: any SecretSource

    /// HMAC-SHA-256 over `id.timestamp.body`, as "v1,BASE64".
    static func signature(_ key: UnsafeRawBufferPointer, id: String, timestamp: String, body: String) -> String {
        let code = HMAC<SHA256>.authenticationCode(
            for: Array("\(id).\(timestamp).\(body)".utf8), using: SymmetricKey(data: key))
        return "v1," + Data(code).base64EncodedString()
    }

    /// - Returns: Status and the beginning of the answer.
    /// - Throws: `OutboundError`, or a `Problem` when the secret is not there.
    func send(_ body: String, to hook: Webhook, id: String, at now: Timestamp) async throws -> (Int, String) {
        let timestamp = String(now.microseconds / 1_000_000)
        var headers = [
            ("Content-Type", "application/json"), ("X-MLflow-Delivery-Id", id), ("X-MLflow-Timestamp", timestamp),
        ]
        if let name = hook.secret {
            let signature = try await secrets.withSecret(
                SecretAsk(project: hook.project, name: name, for: .server)
            ) { secret in
                secret.withBytes { Self.signature($0, id: id, timestamp: timestamp, body: body) }
            }
            headers.append(("X-MLflow-Signature", signature))
        }
        let request = HTTPRequest("POST", url: hook.url, headers: headers, body: .bytes(Array(body.utf8)))
        let response = try await outbound.send(
            request, deadline: WebhookLimits.deadline, limit: WebhookLimits.answerBytes)
        return (response.status, String(decoding: response.body.prefix(4096), as: UTF8.self))
    }
}
