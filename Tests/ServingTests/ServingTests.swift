import Foundation
import Frames
import Learners
import Manifests
import Testing

@testable import Serving

/// A linear model over one number and one category, made here.
private struct Fixture {
    let folder: String
    let server: ModelServer

    init(log: PredictionLog? = nil) throws {
        folder = NSTemporaryDirectory() + "vagus-serving-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let ages = (0..<200).map { Double($0 % 50 + 18) }
        let regions = (0..<200).map { $0 % 3 == 0 ? "north" : "south" }
        let frame = try Frame([
            (ColumnSchema("age", .float), .floats(ages)), (ColumnSchema("region", .category), .categories(regions)),
        ])
        let steps = try ["{\"one_hot\": {\"columns\": [\"region\"]}}"].map {
            try TransformStep(json: JSONParser.parse($0), at: [])
        }
        let transforms = try FittedTransforms.fit(steps, on: frame, excluding: [])
        let features = try transforms.apply(frame)
        let labels = zip(ages, regions).enumerated().map { index, row in
            Float((row.0 > 40 ? 1 : 0) != (index % 7 == 0 ? 1 : 0) ? 1 : 0)
        }
        let model = try LinearModel.train(features, labels: labels, featureNames: transforms.featureNames)
        try ModelBundle(model, transforms: transforms, output: OutputColumn("probability")).save(folder: folder)
        server = try ModelServer(
            folder: folder, name: "churn", version: "3", xgboost: nil, log: log, now: { 1_000_000 })
    }

    func post(_ path: String, _ body: String, type: String = "application/json") throws -> (
        status: Int, json: JSONValue
    ) {
        let answer = server.answer(method: "POST", path: path, contentType: type, body: Array(body.utf8))
        return (answer.status, try JSONParser.parse(answer.body))
    }
}

@Suite struct ServingTests {
    static let infer = "/v2/models/churn/infer"

    @Test func `both protocols give the same scores`() throws {
        let fixture = try Fixture()
        let inference = try fixture.post(
            Self.infer,
            #"{"id":"7","inputs":[{"name":"age","shape":[2],"datatype":"FP64","data":[30,60]},{"name":"region","shape":[2,1],"datatype":"BYTES","data":[["north"],["south"]]}]}"#
        )
        #expect(inference.status == 200)
        #expect(inference.json["id"] == "7")
        #expect(inference.json["model_version"] == "3")
        let scores = try #require(inference.json["outputs"]?[0]?["data"]?.array)
        for body in [
            #"{"dataframe_split":{"columns":["region","age"],"data":[["north",30],["south",60]]}}"#,
            #"{"dataframe_records":[{"age":30,"region":"north","extra":1},{"age":60,"region":"south","extra":2}]}"#,
            #"{"inputs":{"age":[30,60],"region":["north","south"]}}"#,
        ] {
            let scoring = try fixture.post("/invocations", body)
            #expect(scoring.json["predictions"]?.array == scores)
        }
        let csv = try fixture.post("/invocations", "age,region\n30,north\n60,\"south\"\n", type: "text/csv")
        #expect(csv.json["predictions"]?.array == scores)
        #expect(try #require(scores[0].double) < #require(scores[1].double))
    }

    @Test(arguments: [
        (#"{"inputs":[]}"#, "\"inputs\" is missing or empty"),
        (
            #"{"inputs":[{"name":"age","shape":[3],"datatype":"FP64","data":[1]}]}"#,
            "input \"age\" says the shape [3] but holds 1 values"
        ),
        (
            #"{"inputs":[{"name":"age","shape":[1],"datatype":"FLOAT","data":[1]}]}"#,
            "input \"age\" has no valid \"datatype\""
        ),
        (#"{"inputs":[{"name":"age","shape":[1],"datatype":"FP64","data":[1]}]}"#, "input \"region\" is missing"),
        (
            #"{"inputs":[{"name":"age","shape":[1],"datatype":"FP64","data":[1]}],"outputs":[{"name":"x"}]}"#,
            "there is no output \"x\""
        ),
        ("[1]", "the body must be a JSON object"), ("{", "the body is not JSON"),
    ])
    func `a request that cannot be answered is told why`(body: String, message: String) throws {
        let answer = try Fixture().post(Self.infer, body)
        #expect(answer.status == 400)
        #expect(answer.json["error"]?.string?.hasPrefix(message) == true, "\(answer.json.text)")
    }

    @Test(arguments: [
        ("{}", "exactly one of"), (#"{"inputs":[],"instances":[]}"#, "exactly one of"),
        (#"{"dataframe_records":[{"age":30}]}"#, "column \"region\" is missing"),
        (#"{"dataframe_split":{"columns":["age","region"],"data":[[1]]}}"#, "row 0"),
        (#"{"dataframe_records":[{"age":"old","region":"north"}]}"#, "age"),
    ])
    func `a scoring request that cannot be answered names the trouble and shows no trace`(body: String, part: String)
        throws
    {
        let answer = try Fixture().post("/invocations", body)
        #expect(answer.status == 400)
        #expect(answer.json["error_code"] == "BAD_REQUEST")
        #expect(answer.json["message"]?.string?.contains(part) == true, "\(answer.json.text)")
        #expect(answer.json["stack_trace"] == nil)
    }

    @Test(arguments: [
        ("GET", "/v2/health/ready", 200), ("GET", "/v2/health/live", 200), ("GET", "/v2", 200),
        ("GET", "/v2/models/churn", 200),
        ("GET", "/v2/models/churn/versions/3/ready", 200), ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/churn/versions/4", 404), ("GET", "/ping", 200), ("GET", "/version", 200),
        ("GET", "/invocations", 405),
        ("GET", "/nothing", 404),
    ])
    func `the routes of both protocols are there`(method: String, path: String, status: Int) throws {
        let answer = try Fixture().server.answer(method: method, path: path, contentType: "", body: [])
        #expect(answer.status == status)
    }

    @Test func `features that were transformed already are taken as they are`() throws {
        let fixture = try Fixture()
        let width = fixture.server.bundle.predictor.featureNames.count
        let data = Array(repeating: "1", count: width).joined(separator: ",")
        let body = #"{"inputs":[{"name":"features","shape":[1,\#(width)],"datatype":"FP32","data":[\#(data)]}]}"#
        #expect(try fixture.post(Self.infer, body).status == 200)
    }

    @Test func `each prediction is kept with its id, its time and its raw values`() throws {
        let folder = NSTemporaryDirectory() + "vagus-log-\(UUID().uuidString)"
        let log = try PredictionLog(folder: folder, instance: "a", sample: 1, seed: 7)
        let fixture = try Fixture(log: log)
        _ = try fixture.post(
            "/invocations",
            #"{"dataframe_records":[{"age":30,"region":"north"},{"age":60,"region":null}],"params":{"prediction_ids":["p1","p2"],"event_time":"2018-01-01T00:00:00Z"}}"#
        )
        log.close()
        let text = try String(contentsOfFile: "\(folder)/a-000001.jsonl", encoding: .utf8)
        let lines = try text.split(separator: "\n").map { try JSONParser.parse(String($0)) }
        #expect(lines.map { $0["id"]?.string } == ["p1", "p2"])
        #expect(lines[0]["event_time"] == 1_514_764_800_000_000)
        #expect(lines[0]["features"]?["region"] == "north")
        #expect(lines[1]["features"]?["region"] == .null)
        #expect(lines[1]["score"]?.double != nil)
        #expect(log.droppedRows == 0)
    }
}
