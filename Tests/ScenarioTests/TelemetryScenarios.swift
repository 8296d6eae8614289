import API
import Foundation
import Kernel
import Manifests
import Outbound
import Series
import Testing
import Wire

@testable import Server

/// Telemetry by way of the server's own port, as foreign clients come.
@Suite struct TelemetryScenarios {
    /// One who speaks HTTP to the house.
    private struct Visitor: Sendable {
        let base: String
        let outbound = OutboundClient()

        init(_ house: House) throws { base = try #require(house.place.known) }

        func get(_ path: String) async throws -> (status: Int, json: JSONValue) {
            let answer = try await outbound.send(HTTPRequest(url: base + path), deadline: .seconds(20))
            return (answer.status, (try? JSONParser.parse(answer.body)) ?? .string(answer.text))
        }

        func post(_ path: String, _ body: [UInt8], _ type: String) async throws -> (status: Int, text: String) {
            let request = HTTPRequest("POST", url: base + path, headers: [("Content-Type", type)], body: .bytes(body))
            let answer = try await outbound.send(request, deadline: .seconds(20))
            return (answer.status, answer.text)
        }

        func write(_ name: String, _ value: Double, at time: Int64) async throws -> Int {
            var batch = WriteBatch()
            batch.append(Labels(["__name__": name]), time, value)
            return try await post("/prometheus/api/v1/write", RemoteWrite.encode(batch)[0], "application/x-protobuf")
                .status
        }

        func value(_ query: String, at seconds: Int64) async throws -> String? {
            let answer = try await get("/prometheus/api/v1/query?query=\(query)&time=\(seconds)")
            return answer.json["data"]?["result"]?[0]?["value"]?[1]?.string
        }
    }

    private static func export(_ now: Int64) -> [String: JSONValue] {
        let resource: JSONValue = ["attributes": [["key": "service.name", "value": ["stringValue": "shop"]]]]
        let time = JSONValue.string("\(now)000000")
        let trace: JSONValue = "5b8efff798038103d269b633813fc60c"
        let metric: JSONValue = [
            "name": "orders.open", "gauge": ["dataPoints": [["asDouble": 2.5, "timeUnixNano": time]]],
        ]
        let record: JSONValue = ["timeUnixNano": time, "body": ["stringValue": "order taken"], "traceId": trace]
        let span: JSONValue = [
            "traceId": trace, "spanId": "00f067aa0ba902b7", "name": "GET /", "kind": 2, "startTimeUnixNano": time,
            "endTimeUnixNano": .string("\(now + 3)000000"),
        ]
        return [
            "metrics": ["resourceMetrics": [["resource": resource, "scopeMetrics": [["metrics": [metric]]]]]],
            "logs": ["resourceLogs": [["resource": resource, "scopeLogs": [["logRecords": [record]]]]]],
            "traces": ["resourceSpans": [["resource": resource, "scopeSpans": [["spans": [span]]]]]],
        ]
    }

    @Test func `what OpenTelemetry exports is found by the clients of Prometheus, Loki and Jaeger`() async throws {
        try await withOpenHouse { house in
            let visitor = try Visitor(house)
            let now = SystemTime().now.microseconds / 1000
            for (signal, body) in Self.export(now) {
                #expect(try await visitor.post("/otlp/v1/\(signal)", body.bytes, "application/json").status == 200)
            }
            #expect(try await visitor.value("orders_open", at: now / 1000 + 1) == "2.5")
            #expect(try await visitor.write("written", 7, at: now) == 204)
            #expect(try await visitor.value("written", at: now / 1000 + 1) == "7")
            let lines = try await visitor.get("/loki/api/v1/query_range?query=%7Bservice_name%3D%22shop%22%7D")
            #expect(lines.json["data"]?["result"]?[0]?["values"]?[0]?[1] == "order taken")
            let trace = try await visitor.get("/jaeger/api/traces/5b8efff798038103d269b633813fc60c")
            #expect(trace.json["data"]?[0]?["spans"]?[0]?["operationName"] == "GET /")
        }
    }

    @Test func `what cannot be read or asked gets the status of its protocol`() async throws {
        try await withOpenHouse { house in
            let visitor = try Visitor(house)
            let broken: [(path: String, type: String, status: Int)] = [
                ("/prometheus/api/v1/write", "application/x-protobuf", 400),
                ("/otlp/v1/metrics", "application/json", 400),
                ("/otlp/v1/traces", "application/x-protobuf", 400), ("/loki/api/v1/push", "application/json", 400),
                ("/loki/api/v1/push", "text/html", 415), ("/api/v1/metrics/push/job", "text/plain", 400),
            ]
            for one in broken {
                let answer = try await visitor.post(one.path, Array("\u{1}{nonsense".utf8), one.type)
                #expect(answer.status == one.status, "\(one.path): \(answer.text)")
            }
            let asked: [(path: String, status: Int)] = [
                ("/prometheus/api/v1/query?query=sum(", 400), ("/prometheus/api/v1/nothing", 404),
                ("/loki/api/v1/query_range?query=%7Bapp%3D", 400), ("/jaeger/api/traces", 400),
                ("/jaeger/api/traces/1", 404),
                ("/prometheus/-/ready", 200), ("/loki/ready", 200), ("/metrics", 200),
            ]
            for one in asked {
                let answer = try await visitor.get(one.path)
                #expect(answer.status == one.status, "\(one.path): \(answer.json.text)")
            }
        }
    }
}
