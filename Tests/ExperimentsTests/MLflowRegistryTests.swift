import API
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Experiments

@Suite struct MLflowRegistryTests {
    private static let models = "/api/2.0/mlflow/registered-models"
    private static let versions = "/api/2.0/mlflow/model-versions"

    private func room(_ names: String...) async throws -> RegistryHouse {
        let room = try await RegistryHouse()
        for name in names { _ = try await room.mlflow("POST", Self.models + "/create", ["name": .string(name)]) }
        return room
    }

    private func add(_ room: RegistryHouse, _ name: String, _ more: Ordered<JSONValue> = [:]) async throws -> JSONValue
    {
        var body: Ordered<JSONValue> = ["name": .string(name), "source": "s3://bucket/model"]
        for (key, value) in more { body[key] = value }
        return try await room.mlflow("POST", Self.versions + "/create", .object(body)).json["model_version"] ?? .null
    }

    struct BadName: Sendable, CustomTestStringConvertible {
        let name: JSONValue
        let message: String
        var testDescription: String { name.text }
    }

    @Test(arguments: [
        BadName(name: "", message: "Missing value for required parameter 'name'"),
        BadName(name: "  ", message: "Missing value for required parameter 'name'"),
        BadName(name: "a/b", message: "Names cannot contain '/' or ':'"),
        BadName(name: "a:b", message: "Names cannot contain '/' or ':'"),
        BadName(name: "..", message: "must not resolve to other names"),
        BadName(name: ".", message: "must not resolve to other names"),
        BadName(name: 7, message: "Invalid value 7 for parameter 'name'"),
        BadName(name: .null, message: "Missing value for required parameter 'name'"),
    ])
    func `a name that MLflow refuses is refused in its words`(bad: BadName) async throws {
        let room = try await RegistryHouse()
        let answer = try await room.mlflow("POST", Self.models + "/create", ["name": bad.name])
        #expect(answer.status == 400)
        #expect(answer.json["error_code"] == "INVALID_PARAMETER_VALUE")
        #expect(answer.json["message"]?.string?.contains(bad.message) == true)
    }

    @Test func `any other name is kept as it is, beside a name that vagus can use`() async throws {
        let room = try await room("Größe & Co", "GR-ße", "churn")
        let names = try await room.house.store.read { sql in
            try sql.models(project: "default").map { [$0.title, $0.name] }
        }
        #expect(names == [["GR-ße", "gr-e"], ["Größe & Co", "gr-e-co"], ["churn", "churn"]])
        let again = try await room.mlflow("POST", Self.models + "/create", ["name": "churn"])
        #expect(again.status == 400)
        #expect(again.json["error_code"] == "RESOURCE_ALREADY_EXISTS")
    }

    @Test func `there is one registry: each side sees what the other has registered`() async throws {
        let room = try await room("My Model")
        _ = try await add(room, "My Model")
        let own = try await room.call(
            Models.version, ModelVersionName(project: "default", name: "my-model", version: "1"))
        #expect(own.source == "s3://bucket/model")
        try await room.register("churn")
        let theirs = try await room.mlflow("GET", Self.versions + "/get", query: [("name", "churn"), ("version", "1")])
        #expect(theirs.json["model_version"]?["version"] == "1")
        #expect(theirs.json["model_version"]?["status"] == "READY")
        #expect(theirs.json["model_version"]?["source"] == "mlflow-artifacts:/registry/default/churn/1")
        _ = try await room.alias("champion", 1)
        let alias = try await room.mlflow(
            "GET", Self.models + "/alias", query: [("name", "churn"), ("alias", "champion")])
        #expect(alias.json["model_version"]?["aliases"] == ["champion"])
    }

    @Test func `the same source registered twice is two versions, and deleted numbers stay unused`() async throws {
        let room = try await room("m")
        #expect(try await add(room, "m")["version"] == "1")
        #expect(try await add(room, "m")["version"] == "2")
        let gone = try await room.mlflow("DELETE", Self.versions + "/delete", ["name": "m", "version": "2"])
        #expect(gone.status == 200)
        #expect(try await add(room, "m")["version"] == "3")
        let missing = try await room.mlflow("GET", Self.versions + "/get", query: [("name", "m"), ("version", "2")])
        #expect(missing.status == 404)
        #expect(missing.json["error_code"] == "RESOURCE_DOES_NOT_EXIST")
    }

    @Test func `a rename keeps versions and frees the name`() async throws {
        let room = try await room("Old Name")
        _ = try await add(room, "Old Name")
        let renamed = try await room.mlflow(
            "POST", Self.models + "/rename", ["name": "Old Name", "new_name": "New Name"])
        #expect(renamed.json["registered_model"]?["name"] == "New Name")
        #expect(renamed.json["registered_model"]?["latest_versions"]?[0]?["name"] == "New Name")
        #expect(try await room.mlflow("GET", Self.models + "/get", query: [("name", "Old Name")]).status == 404)
        _ = try await room.mlflow("POST", Self.models + "/create", ["name": "Old Name"])
        #expect(try await add(room, "Old Name")["version"] == "1")
    }

    @Test func `stages: the newest of each, and archiving`() async throws {
        let room = try await room("m")
        for _ in 1...2 { _ = try await add(room, "m") }
        func move(_ version: String, _ stage: String, archive: Bool = false) async throws -> (
            status: Int, json: JSONValue
        ) {
            try await room.mlflow(
                "POST", Self.versions + "/transition-stage",
                [
                    "name": "m", "version": .string(version), "stage": .string(stage),
                    "archive_existing_versions": .bool(archive),
                ])
        }
        _ = try await move("1", "production")
        let second = try await move("2", "Production", archive: true)
        #expect(second.json["model_version"]?["current_stage"] == "Production")
        let latest = try await room.mlflow("POST", Self.models + "/get-latest-versions", ["name": "m"])
        let stages = (latest.json["model_versions"]?.array ?? []).map { $0["current_stage"]?.string ?? "" }
        #expect(stages.sorted() == ["Archived", "Production"])
        #expect(try await move("1", "Nowhere").status == 400)
        #expect(try await move("1", "None", archive: true).status == 400)
    }

    @Test func `searches filter, order and page; a page is not moved by what comes meanwhile`() async throws {
        let room = try await RegistryHouse()
        for name in ["a", "b", "c", "d"] {
            _ = try await room.mlflow(
                "POST", Self.models + "/create",
                ["name": .string(name), "tags": [["key": "team", "value": .string(name < "c" ? "x" : "y")]]])
        }
        func names(_ query: [(name: String, value: String)]) async throws -> ([String], String?) {
            let answer = try await room.mlflow("GET", Self.models + "/search", query: query)
            #expect(answer.status == 200, "\(answer.json.text)")
            return (
                (answer.json["registered_models"]?.array ?? []).compactMap { $0["name"]?.string },
                answer.json["next_page_token"]?.string
            )
        }
        #expect(try await names([("filter", "tags.team = 'x'")]).0 == ["a", "b"])
        #expect(try await names([("filter", "name LIKE '%' AND tags.team != 'x'")]).0 == ["c", "d"])
        #expect(
            try await names([("filter", "name = 'a' OR (name ILIKE 'D' AND NOT tags.team = 'x')")]).0 == ["a", "d"])
        #expect(try await names([("filter", "tags.nope IS NULL AND name IN ('b', 'c')")]).0 == ["b", "c"])
        #expect(try await names([("filter", "tags.nope != 'x'")]).0 == [])
        #expect(try await names([("order_by", "name DESC")]).0 == ["d", "c", "b", "a"])
        let (first, token) = try await names([("max_results", "2")])
        #expect(first == ["a", "b"])
        _ = try await room.mlflow("POST", Self.models + "/create", ["name": "aa"])
        #expect(try await names([("max_results", "2"), ("page_token", token ?? "")]).0 == ["c", "d"])
    }

    @Test(arguments: [
        ("filter", "name"), ("filter", "name = "), ("filter", "nope = 'x'"), ("filter", "name > 'x'"),
        ("filter", "name = 5"), ("filter", "(name = 'x'"),
        ("filter", "metrics.a = 'x'"),
        ("max_results", "0"), ("max_results", "1001"), ("order_by", "nope"), ("page_token", "xyz"),
    ])
    func `a search that makes no sense is refused`(name: String, value: String) async throws {
        let room = try await room("m")
        let answer = try await room.mlflow("GET", Self.models + "/search", query: [(name, value)])
        #expect(answer.status == 400)
        #expect(answer.json["error_code"] == "INVALID_PARAMETER_VALUE")
    }

    @Test func `versions are searched by name, run, source, number and tag`() async throws {
        let room = try await room("m", "n")
        _ = try await add(room, "m", ["run_id": "r1", "tags": [["key": "k", "value": "v"]]])
        _ = try await add(room, "m", ["source": "s3://other/x"])
        _ = try await add(room, "n")
        func found(_ filter: String) async throws -> [String] {
            let answer = try await room.mlflow(
                "GET", Self.versions + "/search",
                query: [("filter", filter), ("order_by", "name"), ("order_by", "version_number DESC")])
            return (answer.json["model_versions"]?.array ?? []).map {
                "\($0["name"]?.string ?? "")\($0["version"]?.string ?? "")"
            }
        }
        #expect(try await found("") == ["m2", "m1", "n1"])
        #expect(try await found("name = 'm'") == ["m2", "m1"])
        #expect(try await found("run_id = 'r1'") == ["m1"])
        #expect(try await found("source_path LIKE 's3://other%'") == ["m2"])
        #expect(try await found("version_number >= 2") == ["m2"])
        #expect(try await found("tags.k = 'v'") == ["m1"])
        #expect(try await found("run_id IN ('r1', 'r2')") == ["m1"])
    }

    @Test(arguments: [
        "/etc/passwd", "file:///etc/passwd", "s3://b/../x", "mlflow-artifacts:/1/%2e%2e/x",
        "mlflow-artifacts:/1/other/artifacts",
        "runs:/other/model", "http://h/a/%252e%252e/b",
    ])
    func `a source outside of its run is refused`(source: String) async throws {
        let room = try await room("m")
        let answer = try await room.mlflow(
            "POST", Self.versions + "/create", ["name": "m", "source": .string(source), "run_id": "r1"])
        #expect(answer.status == 400)
        #expect(answer.json["error_code"] == "INVALID_PARAMETER_VALUE")
    }

    @Test func `a version of a version knows its parent and has its files`() async throws {
        let room = try await room("copy")
        try await room.register("churn")
        let made = try await add(room, "copy", ["source": "models:/churn/1"])
        #expect(made["source"] == "models:/churn/1")
        let own = try await room.call(Models.version, ModelVersionName(project: "default", name: "copy", version: "1"))
        #expect(own.parent == "churn@1")
        #expect(!own.digest.isEmpty)
        #expect(own.signed_with != nil)
    }

    @Test(arguments: ["latest", "LATEST", "v1", "V12", "a b", "a.b", "", "7"])
    func `an alias that MLflow reserves is refused`(alias: String) async throws {
        let room = try await room("m")
        _ = try await add(room, "m")
        let answer = try await room.mlflow(
            "POST", Self.models + "/alias", ["name": "m", "alias": .string(alias), "version": "1"])
        #expect(answer.status == 400)
    }

    @Test func `an alias that is not there is a wrong parameter when asked for, and nothing when deleted`() async throws
    {
        let room = try await room("m")
        let asked = try await room.mlflow("GET", Self.models + "/alias", query: [("name", "m"), ("alias", "x")])
        #expect(asked.status == 400)
        #expect(asked.json["error_code"] == "INVALID_PARAMETER_VALUE")
        #expect(try await room.mlflow("DELETE", Self.models + "/alias", ["name": "m", "alias": "x"]).status == 200)
        let set = try await room.mlflow("POST", Self.models + "/alias", ["name": "m", "alias": "x", "version": "9"])
        #expect(set.status == 404)
    }

    @Test func `a model that is deleted takes all with it`() async throws {
        let room = try await room("m")
        _ = try await add(room, "m")
        #expect(try await room.mlflow("DELETE", Self.models + "/delete", ["name": "m"]).status == 200)
        #expect(try await room.mlflow("GET", Self.models + "/get", query: [("name", "m")]).status == 404)
        #expect(try await room.mlflow("DELETE", Self.models + "/delete", ["name": "m"]).status == 404)
        _ = try await room.mlflow("POST", Self.models + "/create", ["name": "m"])
        #expect(try await add(room, "m")["version"] == "1")
    }

    @Test func `descriptions are the manifest's own`() async throws {
        let room = try await room("m")
        _ = try await room.mlflow("PATCH", Self.models + "/update", ["name": "m", "description": "for tests"])
        let resource = try await room.house.store.read { sql in
            try sql.resource(ModelKind.self, Reference(project: "default", name: "m"))
        }
        #expect(resource?.spec.description == "for tests")
    }
}
