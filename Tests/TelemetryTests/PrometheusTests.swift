import API
import Kernel
import KernelTesting
import Manifests
import Series
import Testing
import Wire

@testable import Telemetry

@Suite struct PrometheusTests {
    @Test func `what was remote-written answers a query, from 1970 on`() async throws {
        let room = try await Room.open()
        let written = try await room.write([
            (["__name__": "jobs_total", "queue": "a"], 0, 1), (["__name__": "jobs_total", "queue": "b"], 0, 2),
            (["__name__": "jobs_total", "queue": "a"], 60_000, 4),
        ])
        #expect(written.status == 204)
        #expect(try await room.query("sum(jobs_total)", at: 60_000) == ["{}": "6"])
        #expect(try await room.query("jobs_total{queue=\"a\"}", at: 0).values.sorted() == ["1"])
    }

    @Test func `a range query has a value for each step, as Prometheus writes it`() async throws {
        let room = try await Room.open()
        try await room.write((0...4).map { (["__name__": "m"], Int64($0) * 15_000, Double($0) + 0.5) })
        let answer = try await room.get(
            "/prometheus", "/api/v1/query_range",
            [("query", "m"), ("start", "0"), ("end", "60"), ("step", "30s")])
        #expect(
            answer.json["data"]?.text
                == #"{"resultType":"matrix","result":[{"metric":{"__name__":"m"},"values":[[0,"0.5"],[30,"2.5"],[60,"4.5"]]}]}"#
        )
    }

    @Test(arguments: [
        ("/api/v1/query", [("query", "sum(")], 400, "bad_data"),
        ("/api/v1/query", [("query", "up"), ("time", "soon")], 400, "bad_data"),
        ("/api/v1/query_range", [("query", "up"), ("start", "0"), ("end", "100000"), ("step", "1")], 400, "bad_data"),
        ("/api/v1/query_range", [("query", "up"), ("start", "10"), ("end", "0"), ("step", "1")], 400, "bad_data"),
        ("/api/v1/query_range", [("query", "up"), ("start", "0"), ("end", "1"), ("step", "0")], 400, "bad_data"),
        ("/api/v1/series", [], 400, "bad_data"),
        ("/api/v1/series", [("match[]", "{")], 400, "bad_data"),
        ("/api/v1/nothing", [], 404, "not_found"),
    ])
    func `what cannot be asked is told as Prometheus tells it`(
        path: String, query: [(String, String)], status: Int, type: String
    ) async throws {
        let room = try await Room.open()
        let answer = try await room.get("/prometheus", path, query.map { (name: $0.0, value: $0.1) })
        #expect(answer.status == status)
        #expect(answer.json["status"] == "error")
        #expect(answer.json["errorType"]?.string == type)
        #expect(answer.json["error"]?.string?.isEmpty == false)
    }

    @Test func `an error while a query runs is 422`() async throws {
        let room = try await Room.open()
        try await room.write([(["__name__": "a", "x": "1"], 0, 1), (["__name__": "a", "x": "2"], 0, 1)])
        let answer = try await room.get("/prometheus", "/api/v1/query", [("query", "a * on() a"), ("time", "0")])
        #expect(answer.status == 422)
        #expect(answer.json["errorType"] == "execution")
    }

    @Test func `a posted form asks like an address`() async throws {
        let room = try await Room.open()
        let answer = try await room.post(
            "/prometheus", "/api/v1/query", Array("query=vector%281%29+%2B+1&time=7".utf8),
            type: "application/x-www-form-urlencoded")
        #expect(answer.status == 200)
        #expect(try JSONParser.parse(answer.body)["data"]?["result"]?[0]?["value"]?.text == #"[7,"2"]"#)
    }

    @Test func `labels, values and series are listed, up to a limit with a warning`() async throws {
        let room = try await Room.open()
        try await room.write(["a", "b", "c"].map { (["__name__": "m", "job": $0], 0, 1) })
        let labels = try await room.get("/prometheus", "/api/v1/labels")
        #expect(labels.json["data"]?.text == #"["__name__","job"]"#)
        let values = try await room.get("/prometheus", "/api/v1/label/job/values", [("limit", "2")])
        #expect(values.json["data"]?.text == #"["a","b"]"#)
        #expect(values.json["warnings"]?.array?.count == 1)
        let series = try await room.get("/prometheus", "/api/v1/series", [("match[]", "m{job=~\"a|b\"}")])
        #expect(series.json["data"]?.array?.count == 2)
    }

    @Test func `samples that cannot go in are 400 and named, and the others are in`() async throws {
        let room = try await Room.open()
        try await room.write([(["__name__": "m"], 1000, 1)])
        let answer = try await room.write([(["__name__": "m"], 500, 1), (["__name__": "n"], 500, 3)])
        #expect(answer.status == 400)
        #expect(String(decoding: answer.body, as: UTF8.self).contains("out of order"))
        #expect(try await room.query("n", at: 500).count == 1)
    }

    @Test(arguments: [
        ([UInt8]("nonsense".utf8), [String: String](), 400), (Snappy.encode([0xff, 0xff]), [:], 400),
        ([0xff, 0xff, 0xff, 0xff, 0x0f], [:], 413), ([], ["content-encoding": "zstd"], 415),
        ([], ["content-type": "application/json"], 415),
        ([], ["content-type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"], 415),
    ])
    func `a write that cannot be read harms nothing`(body: [UInt8], headers: [String: String], status: Int) async throws
    {
        let room = try await Room.open()
        let type = headers["content-type"] ?? "application/x-protobuf"
        let answer = try await room.post("/prometheus", "/api/v1/write", body, type: type, headers: headers)
        #expect(answer.status == status, "\(String(decoding: answer.body, as: UTF8.self))")
    }

    @Test func `who may only read may not write, and an agent may`() async throws {
        let room = try await Room.open()
        let reader = Call(actor: "token:r", correlation: "", permission: .read)
        let agent = Call(actor: "token:a", correlation: "", permission: .agent)
        let bound = Call(actor: "token:p", correlation: "", permission: .write, project: "shop")
        let body = Snappy.encode([])
        func status(_ call: Call) async throws -> Int {
            let answer = try await room.post(
                "/prometheus", "/api/v1/write", body, type: "application/x-protobuf", as: call)
            return answer.status
        }
        #expect(try await status(reader) == 403)
        #expect(try await status(agent) == 204)
        #expect(try await status(bound) == 403)
        #expect(try await room.get("/prometheus", "/api/v1/labels", as: reader).status == 200)
        #expect(try await room.get("/prometheus", "/api/v1/labels", as: bound).status == 403)
    }

    @Test func `remote read gives back what was written`() async throws {
        let room = try await Room.open()
        try await room.write([(["__name__": "m", "a": "1"], 1000, 5), (["__name__": "m", "a": "1"], 2000, 6)])
        let question = RemoteRead.Query(from: 0, to: 5000, matchers: [LabelMatcher("__name__", .equal, "m")])
        let answer = try await room.post(
            "/prometheus", "/api/v1/read", RemoteRead.encode(request: [question]), type: "application/x-protobuf")
        let batches = try RemoteRead.decode(response: answer.body, limit: 1 << 20)
        #expect(batches.first?.values == [5, 6])
    }

    @Test func `a query is answered as its tree`() async throws {
        let room = try await Room.open()
        let query =
            "sum by (job) (rate(up{job!=\"a\"}[5m] offset 1m)) / on (job) group_left (x) max_over_time(m[1h:1m] @ end())"
        let tree = try await room.get("/prometheus", "/api/v1/parse_query", [("query", query)]).json["data"]
        #expect(tree?["type"] == "binaryExpr")
        let matching: JSONValue = ["card": "many-to-one", "labels": ["job"], "on": true, "include": ["x"]]
        #expect(tree?["matching"] == matching)
        #expect(tree?["lhs"]?["grouping"] == ["job"])
        let call = tree?["lhs"]?["expr"]
        let function: JSONValue = ["name": "rate", "argTypes": ["matrix"], "variadic": 0, "returnType": "vector"]
        #expect(call?["func"] == function)
        let selector = call?["args"]?[0]
        #expect(selector?["type"] == "matrixSelector")
        #expect(selector?["range"] == 300_000)
        #expect(selector?["offset"] == 60_000)
        #expect(selector?["matchers"]?[0] == ["name": "job", "value": "a", "type": "!="])
        #expect(tree?["rhs"]?["args"]?[0]?["startOrEnd"] == "end")
        #expect(tree?["rhs"]?["args"]?[0]?["step"] == 60_000)
        #expect(try await room.get("/prometheus", "/api/v1/parse_query", [("query", "sum(")]).status == 400)
    }

    @Test func `deleted series are gone, for admins only`() async throws {
        let room = try await Room.open()
        try await room.write([(["__name__": "m"], 0, 1)])
        let form = Array("match[]=m".utf8)
        let writer = Call(actor: "token:w", correlation: "", permission: .write)
        let type = "application/x-www-form-urlencoded"
        #expect(
            try await room.post("/prometheus", "/api/v1/admin/tsdb/delete_series", form, type: type, as: writer).status
                == 403)
        #expect(try await room.post("/prometheus", "/api/v1/admin/tsdb/delete_series", form, type: type).status == 204)
        #expect(try await room.query("m", at: 0).isEmpty)
    }
}
