import API
import Blobs
import Foundation
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Experiments

@Suite struct ApprovalTests {
    private static let manifest = """
        kind: Model
        name: churn
        stages:
          - name: production
            aliases: [champion]
            approvals: { min: 1, from: [user:ben, user:eva, user:ana], expires: 72h }
        """

    private func house(_ manifest: String = ApprovalTests.manifest) async throws -> RegistryHouse {
        let room = try await RegistryHouse()
        try await room.house.apply(manifest)
        try await room.register()
        return room
    }

    @Test func `an alias of a stage needs an approval, which the log tells`() async throws {
        let room = try await house()
        let problem = await refusal { try await room.alias("champion", 1) }
        #expect(problem?.code == "model.not-approved")
        #expect(problem?.status == 403)
        #expect(try await room.alias("shadow", 1).aliases == ["shadow"])
        let request = try await room.ask()
        #expect(request.status == .waiting)
        #expect(request.authors == ["user:ana"])
        #expect(try await room.ask().id == request.id)
        #expect(try await room.say(Models.approve, by: "ben").status == .approved)
        #expect(try await room.alias("champion", 1).aliases == ["champion", "shadow"])
        let events = try await room.events()
        #expect(
            events == [
                "model.created", "model.registered", "model.signed", "model.alias-moved", "model.requested",
                "model.approval-given", "model.approved", "model.alias-moved",
            ])
    }

    @Test func `of two approvers who race one decides, and the other is told`() async throws {
        let room = try await house()
        _ = try await room.ask()
        let outcomes = await withTaskGroup(of: String.self) { group in
            for person in ["ben", "eva"] {
                group.addTask {
                    do { return try await room.say(Models.approve, by: person).status.rawValue } catch {
                        return (error as? Problem)?.code ?? "\(error)"
                    }
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(outcomes.sorted() == ["approval.over", "approved"])
        let events = try await room.events()
        #expect(events.count { $0 == "model.approved" } == 1)
        #expect(events.count { $0 == "model.approval-refused" } == 1)
    }

    @Test func `an author does not approve their own version, whether asked or not`() async throws {
        let room = try await house()
        _ = try await room.ask(by: "user:ben")
        let problem = await refusal { try await room.say(Models.approve, by: "ana") }
        #expect(problem?.code == "approval.author")
        let stranger = await refusal { try await room.say(Models.approve, by: "zoe") }
        #expect(stranger?.code == "approval.not-asked")
        #expect(try await room.events().count { $0 == "model.approval-refused" } == 2)
        // Yet they may say that it is wanting.
        #expect(try await room.say(Models.reject, by: "ana", comment: "wrong data").status == .rejected)
        #expect(await refusal { try await room.alias("champion", 1) }?.code == "model.not-approved")
    }

    @Test func `a robot approves nothing`() async throws {
        let room = try await house()
        _ = try await room.ask()
        var input = ModelVerdictInput()
        (input.name, input.version) = ("churn", "1")
        let wanted = input
        let problem = await refusal { try await room.call(Models.approve, wanted, as: "system:delivery") }
        #expect(problem?.code == "approval.person")
    }

    @Test func `an approval that came too late is none`() async throws {
        let room = try await house()
        _ = try await room.ask()
        room.house.time.advance(by: .seconds(72 * 3600))
        let problem = await refusal { try await room.say(Models.approve, by: "ben") }
        #expect(problem?.code == "approval.expired")
        #expect(try await room.events().last == "model.approval-expired")
        #expect(await refusal { try await room.alias("champion", 1) }?.code == "model.not-approved")
    }

    @Test func `an approval that nobody used in time is none, and one that was used stays`() async throws {
        let room = try await house()
        _ = try await room.ask()
        _ = try await room.say(Models.approve, by: "ben")
        try await room.register("churn", ["model.json": "[]"], run: "b")
        _ = try await room.ask("2")
        _ = try await room.say(Models.approve, "2", by: "ben")
        _ = try await room.alias("champion", 1)
        room.house.time.advance(by: .seconds(73 * 3600))
        let loop = RequestReconciler(store: room.house.store)
        for key in try await loop.keys() { _ = try await loop.reconcile(key) }
        #expect(await refusal { try await room.alias("champion", 2) }?.code == "model.not-approved")
        #expect(try await room.events().count { $0 == "model.approval-expired" } == 1)
        // Back to what was champion before: at once.
        _ = try await room.alias("champion", 0)
        #expect(try await room.alias("champion", 1).version == 1)
    }

    @Test func `two of three must say yes, each once`() async throws {
        let room = try await house(Self.manifest.replacing("min: 1", with: "min: 2, comment: required"))
        _ = try await room.ask()
        #expect(await refusal { try await room.say(Models.approve, by: "ben") }?.code == "approval.comment")
        #expect(try await room.say(Models.approve, by: "ben", comment: "fine").status == .waiting)
        #expect(try await room.say(Models.approve, by: "ben", comment: "fine").approvals.count == 1)
        #expect(await refusal { try await room.alias("champion", 1) }?.code == "model.not-approved")
        #expect(try await room.say(Models.approve, by: "eva", comment: "good").status == .approved)
    }

    @Test func `a file changed after it was signed voids what was said, and is told by name`() async throws {
        let room = try await RegistryHouse()
        try await room.house.apply(Self.manifest)
        let version = try await room.register("churn", ["model.json": "{}", "weights.bin": "1234"])
        #expect(version.signed_with != nil)
        let name = ModelVersionName(project: "default", name: "churn", version: "1")
        #expect(try await room.call(Models.verify, name).outcome == .sound)
        _ = try await room.ask()
        _ = try await room.say(Models.approve, by: "ben")
        try room.corrupt("1234", to: "6666")
        let result = try await room.call(Models.verify, name)
        #expect(result.outcome == .changed)
        #expect(result.problems == ["\"weights.bin\" is not what was registered"])
        #expect(await refusal { try await room.alias("champion", 1) }?.code == "model.not-approved")
        #expect(await refusal { try await room.ask() }?.code == "model.changed")
        let events = try await room.events()
        #expect(events.contains("model.refused"))
        #expect(events.contains("model.approval-voided"))
    }

    @Test func `MLflow's stage of that name is guarded, too`() async throws {
        let room = try await house()
        let body: JSONValue = ["name": "churn", "version": "1", "stage": "Production"]
        let path = "/api/2.0/mlflow/model-versions/transition-stage"
        let refused = try await room.mlflow("POST", path, body)
        #expect(refused.status == 403)
        #expect(refused.json["error_code"] == "PERMISSION_DENIED")
        _ = try await room.ask()
        _ = try await room.say(Models.approve, by: "ben")
        #expect(try await room.mlflow("POST", path, body).json["model_version"]?["current_stage"] == "Production")
    }

    @Test func `what waits for me is marked`() async throws {
        let room = try await house()
        _ = try await room.ask(by: "user:cem")
        var query = ModelRequestQuery()
        query.mine = true
        let wanted = query
        #expect(try await room.call(Models.requests, wanted, as: "user:ben").items.count == 1)
        #expect(try await room.call(Models.requests, wanted, as: "user:ana").items.isEmpty)
        #expect(try await room.call(Models.requests, wanted, as: "user:zoe").items.isEmpty)
    }
}

extension RegistryHouse {
    /// Writes other bytes where a blob lies, as somebody with the disk in hand could.
    func corrupt(_ text: String, to other: String) throws {
        let path = blobs.path(of: Digest(of: Array(text.utf8)))
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: path)
        try Data(other.utf8).write(to: URL(filePath: path))
    }
}
