import API
import Kernel
import Manifests
import Testing

@testable import Experiments

@Suite struct MoveTests {
    private static let run = String(repeating: "ab", count: 16)

    private func takeExperiment(
        _ house: RegistryHouse, _ id: String = "7", _ name: String = "churn", project: String = "default"
    ) async throws -> MovedPlace {
        var experiment = MovedExperiment()
        (experiment.id, experiment.name, experiment.created_ms) = (id, name, 1_700_000_000_000)
        experiment.tags["area"] = "a"
        var input = MovedExperiments()
        (input.project, input.experiments) = (project, [experiment])
        let wanted = input
        return try #require(try await house.call(Moves.experiments, wanted).items.first)
    }

    private func moved(_ experiment: String) -> MovedRun {
        var run = MovedRun()
        (run.id, run.experiment, run.name, run.user) = (Self.run, experiment, "first", "ana")
        (run.started_ms, run.ended_ms, run.status) = (1_700_000_000_000, 1_700_000_100_000, "FAILED")
        run.params = ["lr": "0.1"]
        run.tags = ["mlflow.runName": "first", "note": "a\nb"]
        var points = MovedPoints(key: "loss")
        (points.times, points.steps, points.values) = (
            [1, 2, 3, 4], [0, 1, 2, 3], [0.5, .nan, .infinity, -.infinity]
        )
        run.metrics = [points]
        var dataset = MovedDataset()
        (dataset.name, dataset.digest, dataset.source_type, dataset.source) = ("data", "d1", "local", "{}")
        dataset.tags = ["mlflow.data.context": "training"]
        run.datasets = [dataset]
        run.model_inputs = ["m-1"]
        var output = MovedOutput()
        (output.model, output.step) = ("m-2", 5)
        run.model_outputs = [output]
        return run
    }

    private func take(_ house: RegistryHouse, _ run: MovedRun, project: String = "default") async throws -> MovedCount {
        var input = MovedRuns()
        (input.project, input.runs) = (project, [run])
        let wanted = input
        return try await house.call(Moves.runs, wanted)
    }

    private func held(_ house: RegistryHouse, _ id: String = run, project: String = "default") async throws -> Held? {
        var query = HeldQuery()
        (query.project, query.runs) = (project, [id])
        let wanted = query
        return try await house.call(Moves.held, wanted).runs.first
    }

    @Test func `an experiment keeps its number if it is free, and its name is what it is known by`() async throws {
        let house = try await RegistryHouse()
        let first = try await takeExperiment(house)
        #expect((first.id, first.is_new, first.artifact_location) == ("7", true, "mlflow-artifacts:/7"))
        let again = try await takeExperiment(house)
        #expect((again.id, again.is_new) == ("7", false))
        let other = try await takeExperiment(house, "7", "prices")
        #expect(other.id != "7" && other.is_new)
        // The experiment 0 of every store is the one that is here.
        #expect(try await takeExperiment(house, "0", "Default").id == "0")
        #expect(try await takeExperiment(house, "9223372036854775807", "far").id != "9223372036854775807")
    }

    @Test func `a run that is sent twice is there once`() async throws {
        let house = try await RegistryHouse()
        let place = try await takeExperiment(house)
        #expect(try await take(house, moved(place.id)).runs == 1)
        let first = try #require(try await held(house))
        #expect((first.params, first.tags, first.metrics, first.points) == (1, 2, 1, 4))
        #expect((first.datasets, first.models, first.files, first.status) == (1, 2, 0, "FAILED"))
        #expect(try await take(house, moved(place.id)).runs == 0)
        #expect(try await held(house) == first)
        let shown = try await house.mlflow("GET", "/api/2.0/mlflow/runs/get", query: [("run_id", Self.run)])
        let info = shown.json["run"]?["info"]
        #expect(info?["status"] == "FAILED" && info?["start_time"] == 1_700_000_000_000)
        #expect(info?["artifact_uri"]?.string == "mlflow-artifacts:/7/\(Self.run)/artifacts")
        #expect(shown.json["run"]?["data"]?["metrics"]?[0]?["value"] == "-Infinity")
    }

    @Test func `what was logged here since is not undone by a second move`() async throws {
        let house = try await RegistryHouse()
        let place = try await takeExperiment(house)
        var open = moved(place.id)
        (open.status, open.ended_ms) = ("RUNNING", nil)
        _ = try await take(house, open)
        let tag: JSONValue = ["run_id": .string(Self.run), "key": "note", "value": "mine"]
        #expect(try await house.mlflow("POST", "/api/2.0/mlflow/runs/set-tag", tag).status == 200)
        _ = try await take(house, moved(place.id))
        let shown = try await house.mlflow("GET", "/api/2.0/mlflow/runs/get", query: [("run_id", Self.run)])
        let tags = shown.json["run"]?["data"]?["tags"]?.array ?? []
        #expect(tags.first { $0["key"] == "note" }?["value"] == "mine")
        // It had not ended then, and has now.
        #expect(shown.json["run"]?["info"]?["status"] == "FAILED")
    }

    @Test func `a deleted run comes as a deleted run`() async throws {
        let house = try await RegistryHouse()
        let place = try await takeExperiment(house)
        var run = moved(place.id)
        run.is_deleted = true
        _ = try await take(house, run)
        let search: JSONValue = ["experiment_ids": [.string(place.id)], "run_view_type": "DELETED_ONLY"]
        let found = try await house.mlflow("POST", "/api/2.0/mlflow/runs/search", search)
        #expect(found.json["runs"]?.array?.count == 1)
    }

    private static let spoils: [@Sendable (inout MovedRun) -> String] = [
        { run in
            run.id = "../x"; return "not 32 hexadecimal"
        },
        { run in
            run.status = "DONE"; return "which no run has"
        },
        { run in
            run.metrics[0].steps.removeLast(); return "not as many"
        },
        { run in
            run.artifact_uri = "mlflow-artifacts:/0/other/artifacts"; return "no place elsewhere"
        },
        { run in
            run.params[""] = "x"; return "without a key"
        },
    ]

    @Test(arguments: spoils.indices)
    func `a run that could not be kept is refused whole`(_ index: Int) async throws {
        let house = try await RegistryHouse()
        let place = try await takeExperiment(house)
        var run = moved(place.id)
        let words = Self.spoils[index](&run)
        let wanted = run
        let problem = await refusal { try await take(house, wanted) }
        #expect(problem?.message.contains(words) == true, "\(String(describing: problem))")
        #expect(try await held(house) == nil)
    }

    @Test func `a run of another project is out of reach`() async throws {
        let house = try await RegistryHouse()
        let place = try await takeExperiment(house)
        _ = try await take(house, moved(place.id))
        let other = try await takeExperiment(house, "8", "theirs", project: "second")
        #expect(try await held(house, project: "second") == nil)
        let problem = await refusal { try await take(house, moved(other.id), project: "second") }
        #expect(problem?.message.contains("in another experiment") == true)
        let strange = await refusal { try await take(house, moved(place.id), project: "second") }
        #expect(strange?.status == 404)
    }

    // MARK: Models

    private func model(_ versions: [Int]) -> MovedModel {
        var model = MovedModel()
        (model.name, model.description, model.created_ms) = ("Churn Model", "who leaves", 1_600_000_000_000)
        model.tags["owner"] = "ana"
        model.versions = versions.map { number in
            var version = MovedVersion()
            (version.version, version.created_ms, version.user) = (number, 1_600_000_000_000 + Int64(number), "bo")
            (version.source, version.stage) = ("s3://bucket/\(number)", number == 4 ? "Production" : "None")
            version.tags["n"] = "\(number)"
            return version
        }
        model.aliases = ["champion": versions.last ?? 0]
        return model
    }

    @Test func `versions keep their numbers and the gaps between them`() async throws {
        let house = try await RegistryHouse()
        let state = try await house.call(Moves.models, model([1, 4]))
        #expect((state.name, state.versions, state.aliases, state.tags) == ("churn-model", 2, 1, 3))
        #expect(state.refused.isEmpty)
        #expect(try await house.call(Moves.models, model([1, 4])) == state)
        let version = try await house.mlflow(
            "GET", "/api/2.0/mlflow/registered-models/alias", query: [("name", "Churn Model"), ("alias", "champion")])
        let told = version.json["model_version"]
        #expect(told?["version"] == "4" && told?["current_stage"] == "Production" && told?["user_id"] == "bo")
        #expect(told?["source"] == "s3://bucket/4" && told?["creation_timestamp"] == 1_600_000_000_004)
        // The next one that is registered here is the fifth.
        let next = try await house.mlflow(
            "POST", "/api/2.0/mlflow/model-versions/create", ["name": "Churn Model", "source": "s3://bucket/new"])
        #expect(next.json["model_version"]?["version"] == "5")
    }

    @Test func `another version of the same number is not overwritten`() async throws {
        let house = try await RegistryHouse()
        _ = try await house.call(Moves.models, model([1]))
        var other = model([1])
        other.versions[0].created_ms += 5
        let wanted = other
        let state = try await house.call(Moves.models, wanted)
        #expect(state.refused.count == 1 && state.refused[0].contains("here already"))
    }
}
