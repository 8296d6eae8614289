import API
import Kernel
import KernelTesting
import Manifests
import Outbound
import Testing

@testable import Experiments

@Suite struct WebhookTests {
    @Test func `a signature is MLflow's`() {
        // hmac.new(b"key", b"id.1700000000.{}", sha256), base64 (CPython 3.11).
        let key = Array("key".utf8)
        let signature = key.withUnsafeBytes {
            WebhookSender.signature($0, id: "id", timestamp: "1700000000", body: "{}")
        }
        #expect(signature == "v1,/Hqug/JsMUvI3mrKxx95W1oU9WZJN5/KNqtUvtF4fLc=")
    }

    private static func delivery(_ attempts: Int) -> WebhookDelivery {
        var delivery = WebhookDelivery()
        (delivery.id, delivery.attempts, delivery.next_at) = ("1-a", attempts, .zero)
        return delivery
    }

    @Test(
        arguments: [
            (WebhookReconciler.Outcome.answered(204), 0, WebhookDelivery.Status.delivered, nil),
            (.answered(500), 0, .waiting, 1), (.answered(500), 3, .waiting, 8), (.answered(500), 7, .dead, nil),
            (.answered(404), 0, .dead, nil), (.answered(302), 0, .dead, nil), (.failed("no answer"), 1, .waiting, 2),
            (.refused("inside"), 0, .dead, nil), (.answered(429), 6, .waiting, 64),
        ] as [(WebhookReconciler.Outcome, Int, WebhookDelivery.Status, Int?)])
    func `what a try makes of a message`(
        outcome: WebhookReconciler.Outcome, attempts: Int, status: WebhookDelivery.Status, seconds: Int?
    ) {
        let next = WebhookReconciler.after(outcome, Self.delivery(attempts), at: .zero)
        #expect(next.status == status)
        #expect(next.attempts == attempts + 1)
        #expect(next.next_at == seconds.map { Timestamp(microseconds: Int64($0) * 1_000_000) })
    }

    @Test func `each event of interest becomes a message of MLflow's`() async throws {
        let room = try await RegistryHouse()
        let hook = Webhook(
            id: "w1", project: "default", name: "all", url: "http://127.0.0.1:1/",
            events: [
                "registered_model.created", "model_version.created", "model_version_alias.created",
                "model_version_alias.deleted", "model_version_tag.set", "model_version_tag.deleted",
            ])
        try await room.house.store.change(.system("test")) { try $0.sql.keep(hook) }
        let (models, versions) = ("/api/2.0/mlflow/registered-models", "/api/2.0/mlflow/model-versions")
        _ = try await room.mlflow("POST", models + "/create", ["name": "My Model", "description": "d"])
        _ = try await room.mlflow("POST", versions + "/create", ["name": "My Model", "source": "s3://b/m"])
        _ = try await room.mlflow("POST", models + "/alias", ["name": "My Model", "alias": "best", "version": "1"])
        _ = try await room.mlflow(
            "POST", versions + "/set-tag", ["name": "My Model", "version": "1", "key": "k", "value": "v"])
        _ = try await room.mlflow("DELETE", models + "/alias", ["name": "My Model", "alias": "best"])
        let follower = WebhookFollower()
        try await room.house.store.change(.system("test")) { change in
            var query = EventQuery()
            (query.after, query.limit) = (0, 1000)
            for event in try EventLog.list(query, in: change.sql) where WebhookFollower.events.contains(event.name) {
                try follower.heed(event, in: change)
                // Twice is once.
                try follower.heed(event, in: change)
            }
        }
        let told = try await room.call(Models.deliveries, WebhookDeliveryQuery()).items
        #expect(
            Set(told.map(\.event)) == [
                "registered_model.created", "model_version.created", "model_version_alias.created",
                "model_version_tag.set", "model_version_alias.deleted",
            ])
        #expect(told.count == 5)
        let payloads = try await room.house.store.read { sql in
            try told.compactMap { try sql.delivery($0.id)?.payload }
        }
        #expect(
            payloads.contains {
                $0.contains(
                    #""data":{"name":"My Model","version":"1","source":"s3://b/m","run_id":null,"tags":{},"description":null}"#
                )
            })
        #expect(payloads.contains { $0.contains(#""data":{"name":"My Model","version":"1","key":"k","value":"v"}"#) })
    }

    @Test(arguments: ["-a", "a b", "", "a/b"])
    func `a webhook's name is checked`(name: String) {
        #expect(throws: MLflowError.self) { try WebhookWire.checkName(name) }
    }
}
