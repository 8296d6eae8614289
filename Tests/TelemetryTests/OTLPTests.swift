import API
import Kernel
import KernelTesting
import Manifests
import Testing
import Wire

@testable import Telemetry

@Suite struct OTLPTests {
    private static let resource: JSONValue = [
        "attributes": [["key": "service.name", "value": ["stringValue": "shop"]]]
    ]

    private func export(_ room: Room, _ signal: String, _ body: JSONValue) async throws -> (status: Int, body: [UInt8])
    {
        try await room.post("/otlp", "/v1/\(signal)", body.bytes, type: "application/json")
    }

    @Test func `metrics of an export are asked for in PromQL`() async throws {
        let room = try await Room.open()
        let point: JSONValue = ["asInt": "7", "timeUnixNano": .string("\(room.now)000000")]
        let metric: JSONValue = [
            "name": "jobs.done", "sum": ["dataPoints": [point], "aggregationTemporality": 2, "isMonotonic": true],
        ]
        let answer = try await export(
            room, "metrics",
            ["resourceMetrics": [["resource": Self.resource, "scopeMetrics": [["metrics": [metric]]]]]])
        #expect(answer.status == 200)
        #expect(String(decoding: answer.body, as: UTF8.self) == "{}")
        #expect(try await room.query("jobs_done_total{job=\"shop\"}", at: room.now).values.first == "7")
    }

    @Test func `delta sums are refused by partial success, with the reason`() async throws {
        let room = try await Room.open()
        let point: JSONValue = ["asInt": "7", "timeUnixNano": .string("\(room.now)000000")]
        let metric: JSONValue = [
            "name": "d", "sum": ["dataPoints": [point], "aggregationTemporality": 1, "isMonotonic": true],
        ]
        let answer = try await export(
            room, "metrics",
            ["resourceMetrics": [["resource": Self.resource, "scopeMetrics": [["metrics": [metric]]]]]])
        #expect(answer.status == 200)
        let partial = try JSONParser.parse(answer.body)["partialSuccess"]
        #expect(partial?["rejectedDataPoints"] == "1")
        #expect(partial?["errorMessage"]?.string?.contains("delta") == true)
    }

    @Test func `log records are found by their service, their level and their trace`() async throws {
        let room = try await Room.open()
        let record: JSONValue = [
            "timeUnixNano": .string("\(room.now)000000"), "severityNumber": 17,
            "body": ["stringValue": "payment refused"], "traceId": "5b8efff798038103d269b633813fc60c",
        ]
        let answer = try await export(
            room, "logs", ["resourceLogs": [["resource": Self.resource, "scopeLogs": [["logRecords": [record]]]]]])
        #expect(answer.status == 200)
        var search = LogQLQuery()
        search.query =
            "{service_name=\"shop\"} | detected_level=\"error\" | trace_id=\"5b8efff798038103d269b633813fc60c\""
        let found = try await room.house.call(Logs.search, search)
        #expect(found.lines.map(\.line) == ["payment refused"])
        #expect(found.lines.first?.labels["service_name"] == "shop")
    }

    @Test func `spans are a trace of Jaeger, with their parents`() async throws {
        let room = try await Room.open()
        let trace = "5B8EFFF798038103D269B633813FC60C"
        func span(_ id: String, _ parent: String, _ name: String) -> JSONValue {
            [
                "traceId": .string(trace), "spanId": .string(id), "parentSpanId": .string(parent),
                "name": .string(name),
                "kind": 2, "startTimeUnixNano": .string("\(room.now)000000"),
                "endTimeUnixNano": .string("\(room.now + 5)000000"),
            ]
        }
        let spans: JSONValue = [
            span("00f067aa0ba902b7", "", "GET /"), span("00f067aa0ba902b8", "00f067aa0ba902b7", "SELECT"),
        ]
        let answer = try await export(
            room, "traces", ["resourceSpans": [["resource": Self.resource, "scopeSpans": [["spans": spans]]]]])
        #expect(answer.status == 200)
        let found = try await room.get("/jaeger", "/api/traces/\(trace.lowercased())")
        let got = found.json["data"]?[0]?["spans"]?.array ?? []
        #expect(got.count == 2)
        #expect(got.contains { $0["references"]?[0]?["spanID"] == "00f067aa0ba902b7" && $0["duration"] == 5000 })
        #expect(try await room.get("/jaeger", "/api/services").json["data"]?.text == #"["shop"]"#)
        #expect(try await room.get("/jaeger", "/api/traces/0123").status == 404)
        var name = TraceName()
        name.trace = trace.lowercased()
        let detail = try await room.house.call(Traces.get, name)
        #expect(detail.spans.map(\.depth) == [0, 1])
    }

    @Test(arguments: [
        ("application/json", [UInt8]("{".utf8), "", 400), ("application/x-protobuf", [0x0a, 0xff, 0xff], "", 400),
        ("text/plain", [0x78], "", 415), ("application/x-protobuf", [0x1f, 0x8b, 0x00], "gzip", 400),
        ("application/json", [UInt8]("{}".utf8), "", 200), ("application/x-protobuf", [], "", 200),
        ("application/json", [UInt8]("{}".utf8), "br", 415),
    ])
    func `bodies that cannot be read get the status of the protocol`(
        type: String, body: [UInt8], coding: String, status: Int
    ) async throws {
        let room = try await Room.open()
        for signal in ["metrics", "logs", "traces"] {
            let answer = try await room.post(
                "/otlp", "/v1/\(signal)", body, type: type, headers: coding.isEmpty ? [:] : ["content-encoding": coding]
            )
            #expect(answer.status == status, "\(signal)")
        }
    }
}
