import API
import Blobs
import Kernel
import KernelTesting
import Manifests
import Points
import SQL
import Testing

@testable import Experiments

@Suite struct TrackingTests {
    /// A room whose MLflow mount is asked.
    struct Place {
        let house: TestHouse
        let domain: ExperimentsDomain
        let mount: Mount

        init(folder: String? = nil) async throws {
            house = try TestHouse(folder: folder)
            let blobs = try BlobStore(folder: "\(house.folder)/blobs")
            domain = ExperimentsDomain(context: house.context, blobs: blobs, folder: "\(house.folder)/experiments")
            try await house.open([domain])
            mount = try #require(domain.mounts.first)
        }

        func ask(
            _ method: String, _ path: String, _ body: JSONValue = [:], project: String? = nil,
            permission: Permission = .admin
        ) async throws -> (status: Int, json: JSONValue) {
            var request = ForeignRequest(method: method, path: "/api/2.0/mlflow/\(path)")
            if method == "GET" {
                request.query = (body.object ?? [:]).map { ($0.key, $0.value.string ?? $0.value.text) }
            } else {
                request.body = body.bytes
            }
            let call = Call(actor: "user:test", correlation: "c", permission: permission, project: project)
            var answer: ForeignAnswer
            do { answer = try await mount.handle(request, call) } catch let problem as Problem {
                answer = mount.refuse(problem, request)
            }
            guard case .bytes(let bytes) = answer.body else { return (answer.status, [:]) }
            return (answer.status, try JSONParser.parse(bytes))
        }

        func makeRun(_ start: Int64 = 0, experiment: String = "0") async throws -> String {
            let made = try await ask(
                "POST", "runs/create", ["experiment_id": .string(experiment), "start_time": .integer(start)])
            return try #require(made.json["run"]?["info"]?["run_id"]?.string)
        }

        func log(_ run: String, _ key: String, _ value: Double, step: Int64 = 0) async throws {
            let answer = try await ask(
                "POST", "runs/log-metric",
                [
                    "run_id": .string(run), "key": .string(key), "value": .number(value), "timestamp": 1,
                    "step": .integer(step),
                ])
            #expect(answer.status == 200, "\(answer)")
        }

        func search(_ more: JSONValue) async throws -> (runs: [String], next: String?) {
            var body = more.object ?? [:]
            body["experiment_ids"] = ["0"]
            let answer = try await ask("POST", "runs/search", .object(body))
            #expect(answer.status == 200, "\(answer)")
            let runs = (answer.json["runs"]?.array ?? []).compactMap { $0["info"]?["run_id"]?.string }
            return (runs, answer.json["next_page_token"]?.string)
        }
    }

    @Test func `the latest value is of the greatest step, whatever comes last`() async throws {
        let place = try await Place()
        let run = try await place.makeRun()
        try await place.log(run, "loss", 3, step: 5)
        try await place.log(run, "loss", 1, step: 2)
        let shown = try await place.ask("GET", "runs/get", ["run_id": .string(run)])
        #expect(shown.json["run"]?["data"]?["metrics"]?[0]?["value"] == 3.0)
        let history = try await place.ask("GET", "metrics/get-history", ["run_id": .string(run), "metric_key": "loss"])
        #expect(history.json["metrics"]?.array?.count == 2)
    }

    @Test func `many who log at once are committed together, and each is kept`() async throws {
        let place = try await Place()
        let run = try await place.makeRun()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for step in 0..<200 { group.addTask { try await place.log(run, "m", Double(step), step: Int64(step)) } }
            try await group.waitForAll()
        }
        let id = try #require(RunID(run))
        let points = try await place.domain.tracking.store.points.history(id, "m")
        #expect(points.map(\.step) == Array(0..<200))
        let shown = try await place.ask("GET", "runs/get", ["run_id": .string(run)])
        #expect(shown.json["run"]?["data"]?["metrics"]?[0]?["value"] == 199.0)
    }

    @Test func `pages by a metric give every run once, those with NaN and without it last`() async throws {
        let place = try await Place()
        var expected: [String] = []
        var (numbers, nans, none): ([String], [String], [String]) = ([], [], [])
        for index in 0..<12 {
            let run = try await place.makeRun(Int64(index))
            switch index % 3 {
            case 0: numbers.append(run)
            case 1: nans.append(run)
            default: none.append(run)
            }
            if index % 3 == 0 { try await place.log(run, "score", Double(index)) }
            if index % 3 == 1 { try await place.log(run, "score", .nan) }
        }
        // The newest first among equals.
        expected = numbers.reversed() + nans.reversed() + none.reversed()
        var (seen, token): ([String], String?) = ([], nil)
        repeat {
            var body: JSONValue = ["order_by": ["metrics.score DESC"], "max_results": 5]
            if let token { body = .object(body.object.map { $0.with("page_token", .string(token)) } ?? [:]) }
            let page = try await place.search(body)
            seen += page.runs
            token = page.next
            // One that comes meanwhile at the head changes nothing behind.
            let late = try await place.makeRun(1000)
            try await place.log(late, "score", 1e9)
        } while token != nil
        #expect(seen == expected)
    }

    @Test func `a page token belongs to its question, and to nobody's own making`() async throws {
        let place = try await Place()
        for index in 0..<3 { _ = try await place.makeRun(Int64(index)) }
        let token = try #require(try await place.search(["max_results": 1]).next)
        for body: JSONValue in [
            ["page_token": .string(token), "order_by": ["start_time ASC"]],
            ["page_token": .string(token), "filter": "tags.a = 'b'"], ["page_token": "nonsense"],
            ["page_token": .string(String(token.dropLast(2)) + "AA")],
        ] {
            var asked = body.object ?? [:]
            asked["experiment_ids"] = ["0"]
            asked["max_results"] = 1
            let answer = try await place.ask("POST", "runs/search", .object(asked))
            #expect(answer.status == 400 && answer.json["error_code"] == "INVALID_PARAMETER_VALUE", "\(answer)")
        }
    }

    @Test func `tokens outlive a restart, and so does all that was told to be kept`() async throws {
        let first = try await Place()
        let run = try await first.makeRun(1)
        _ = try await first.makeRun(2)
        try await first.log(run, "m", 0.5)
        let token = try #require(try await first.search(["max_results": 1]).next)
        await first.house.store.close()
        let second = try await Place(folder: first.house.folder)
        #expect(try await second.search(["max_results": 1, "page_token": .string(token)]).runs == [run])
        let history = try await second.ask("GET", "metrics/get-history", ["run_id": .string(run), "metric_key": "m"])
        #expect(history.json["metrics"]?[0]?["value"] == 0.5)
        withExtendedLifetime(first) {}  // whose folder it is
    }

    @Test func `a batch with one bad row leaves nothing`() async throws {
        let place = try await Place()
        let run = try await place.makeRun()
        let answer = try await place.ask(
            "POST", "runs/log-batch",
            [
                "run_id": .string(run),
                "metrics": [
                    ["key": "good", "value": 1, "timestamp": 1], ["key": "../bad", "value": 1, "timestamp": 1],
                ], "params": [["key": "p", "value": "1"]],
            ])
        #expect(answer.status == 400)
        let shown = try await place.ask("GET", "runs/get", ["run_id": .string(run)])
        #expect(shown.json["run"]?["data"]?["metrics"] == nil && shown.json["run"]?["data"]?["params"] == nil)
    }

    @Test func `a document is made anew after any change of its run`() async throws {
        let place = try await Place()
        let run = try await place.makeRun()
        func data() async throws -> JSONValue? {
            try await place.ask("GET", "runs/get", ["run_id": .string(run)]).json["run"]
        }
        _ = try await data()
        try await place.log(run, "m", 1)
        #expect(try await data()?["data"]?["metrics"]?[0]?["value"] == 1.0)
        _ = try await place.ask("POST", "runs/set-tag", ["run_id": .string(run), "key": "k", "value": "v"])
        #expect(try await data()?["data"]?["tags"]?.array?.contains(["key": "k", "value": "v"]) == true)
        _ = try await place.ask("POST", "runs/delete-tag", ["run_id": .string(run), "key": "k"])
        #expect(try await data()?["data"]?["tags"]?.array?.contains(["key": "k", "value": "v"]) == false)
        _ = try await place.ask("POST", "runs/update", ["run_id": .string(run), "status": "FINISHED"])
        #expect(try await data()?["info"]?["status"] == "FINISHED")
    }

    @Test func `a token of one project sees neither the runs nor the experiments of another`() async throws {
        let place = try await Place()
        let run = try await place.makeRun()
        let other = try await place.ask("GET", "runs/get", ["run_id": .string(run)], project: "shop")
        #expect(other.status == 403, "the default project is not its own")
        let reading = try await place.ask("POST", "runs/create", ["experiment_id": "0"], permission: .read)
        #expect(reading.status == 403 && reading.json["error_code"] == "PERMISSION_DENIED")
    }

    @Test func `deleting an experiment is an event, logging is none`() async throws {
        let place = try await Place()
        let made = try await place.ask("POST", "experiments/create", ["name": "e"])
        let id = try #require(made.json["experiment_id"]?.string)
        let run = try await place.makeRun(experiment: id)
        try await place.log(run, "m", 1)
        _ = try await place.ask("POST", "experiments/delete", ["experiment_id": .string(id)])
        let names = try await place.house.events().map(\.name)
        #expect(names.filter { $0.hasPrefix("experiment") } == ["experiment.created", "experiment.deleted"])
    }

    @Test func `folders of artifacts are those of their paths`() async throws {
        let place = try await Place()
        let store = try place.domain.tracking.store
        let digest = Digest(of: [1])
        try await store.write { sql in
            for path in ["a/b/x", "a/b/y", "a/b-c", "a/z", "ab/n"] {
                try sql.keepArtifact(path, digest, bytes: 1, at: 0)
            }
        }
        let entries = try await store.read { try $0.artifacts(in: "a") }
        #expect(entries.map(\.name) == ["b", "b-c", "z"])
        #expect(entries.map(\.isFolder) == [true, false, false])
        #expect(try await store.write { try $0.deleteArtifacts(at: "a/b") } == 2)
        #expect(try await store.read { try $0.artifacts(in: "") }.map(\.name) == ["a", "ab"])
        #expect(try await place.domain.namesOfOwnContent() == [digest.text])
    }

    @Test func `parts of an upload that nobody went on with are forgotten after a week`() async throws {
        let place = try await Place()
        let store = try place.domain.tracking.store
        let (old, new) = (Digest(of: [1]), Digest(of: [2]))
        try await store.write { [now = store.milliseconds] in try $0.keepPart(1, of: "a", old, bytes: 1, at: now) }
        place.house.time.advance(by: UploadReconciler.patience + .seconds(1))
        try await store.write { [now = store.milliseconds] in try $0.keepPart(1, of: "b", new, bytes: 1, at: now) }
        _ = try await UploadReconciler(tracking: place.domain.tracking).reconcile("all")
        #expect(try await store.read { try $0.parts(of: "a").isEmpty })
        #expect(try await store.read { try $0.parts(of: "b").map(\.digest) } == [new])
    }

    @Test func `only the signature that was given out opens the address of a part`() {
        let tokens = PageTokens(key: [1, 2, 3])
        let signature = tokens.sign("up", 1)
        #expect(tokens.isSigned(signature, "up", 1))
        #expect(!tokens.isSigned(signature, "up", 2) && !tokens.isSigned(signature, "other", 1))
        #expect(!tokens.isSigned("", "up", 1) && !tokens.isSigned(signature + "A", "up", 1))
    }

    @Test func `ranges of bytes are those of the standard`() {
        #expect(ByteRange("bytes=2-4", of: 10).bytes == 2..<5)
        #expect(ByteRange("bytes=7-", of: 10).bytes == 7..<10)
        #expect(ByteRange("bytes=-3", of: 10).bytes == 7..<10)
        #expect(ByteRange("bytes=8-99", of: 10).bytes == 8..<10)
        #expect(!ByteRange("bytes=10-", of: 10).isSatisfiable)
        #expect(!ByteRange(nil, of: 10).isPart && !ByteRange("lines=1-2", of: 10).isPart)
        #expect(!ByteRange("bytes=5-2", of: 10).isPart && !ByteRange("bytes=1-2,4-5", of: 10).isPart)
    }
}

extension Ordered where Value == JSONValue {
    fileprivate func with(_ key: String, _ value: JSONValue) -> Self {
        var copy = self
        copy[key] = value
        return copy
    }
}
