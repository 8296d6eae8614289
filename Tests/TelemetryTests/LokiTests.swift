import API
import Foundation
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Telemetry

@Suite struct LokiTests {
    private func push(_ room: Room, _ labels: JSONValue, _ lines: [String]) async throws -> Int {
        let values = lines.enumerated().map { index, line -> JSONValue in
            .array([.string("\(room.now * 1_000_000 + Int64(index))"), .string(line)])
        }
        let body: JSONValue = ["streams": [["stream": labels, "values": .array(values)]]]
        return try await room.post("/loki", "/api/v1/push", body.bytes, type: "application/json").status
    }

    private func lines(_ room: Room, _ query: String) async throws -> [String] {
        let answer = try await room.get(
            "/loki", "/api/v1/query_range",
            [
                ("query", query), ("start", "\((room.now - 1000) * 1_000_000)"),
                ("end", "\((room.now + 1000) * 1_000_000)"),
                ("direction", "forward"),
            ])
        try #require(answer.status == 200, "\(answer.json.text)")
        return (answer.json["data"]?["result"]?.array ?? []).flatMap { stream in
            (stream["values"]?.array ?? []).compactMap { $0[1]?.string }
        }
    }

    @Test func `pushed lines are found, and counted`() async throws {
        let room = try await Room.open()
        #expect(try await push(room, ["app": "shop"], ["order taken", "payment refused", "order taken"]) == 204)
        #expect(try await lines(room, "{app=\"shop\"} |= \"refused\"") == ["payment refused"])
        let count = try await room.get(
            "/loki", "/api/v1/query",
            [
                ("query", "sum(count_over_time({app=\"shop\"} |= \"order\" [5m]))"),
                ("time", "\((room.now + 1000) * 1_000_000)"),
            ])
        #expect(count.json["data"]?["result"]?[0]?["value"]?[1] == "2")
        room.time.advance(by: .seconds(1))
        #expect(try await room.get("/loki", "/api/v1/labels").json["data"]?.text == #"["app"]"#)
    }

    @Test func `volumes of steps add up to the volume of all`() async throws {
        let room = try await Room.open()
        #expect(try await push(room, ["app": "shop"], ["one", "three"]) == 204)
        #expect(try await push(room, ["app": "till"], ["four"]) == 204)
        let form = [
            ("query", "{app=~\".+\"}"), ("start", "\((room.now - 60_000) * 1_000_000)"),
            ("end", "\((room.now + 60_000) * 1_000_000)"), ("step", "30"),
        ]
        let all = try await room.get("/loki", "/api/v1/index/volume", form).json["data"]
        let steps = try await room.get("/loki", "/api/v1/index/volume_range", form).json["data"]
        #expect(steps?["resultType"] == "matrix")
        for place in 0..<2 {
            #expect(steps?["result"]?[place]?["metric"] == all?["result"]?[place]?["metric"])
            let values = (steps?["result"]?[place]?["values"]?.array ?? []).compactMap { $0[1]?.string }
            #expect(values == [all?["result"]?[place]?["value"]?[1]?.string])
        }
        let tooMany = try await room.get("/loki", "/api/v1/index/volume_range", form.dropLast() + [("step", "0.001")])
        #expect(tooMany.status == 400)
    }

    @Test func `a query that is none is 400, as text`() async throws {
        let room = try await Room.open()
        let answer = try await room.get("/loki", "/api/v1/query_range", [("query", "{app=")])
        #expect(answer.status == 400)
        #expect(answer.json.string?.contains("parse error") == true)
    }

    @Test func `levels that are not kept are dropped and counted, found in all formats`() async throws {
        let room = try await Room.open()
        try await room.house.apply("{ kind: Telemetry, name: main, logging: { levels: [warning, error] } }")
        try await room.plan()
        let status = try await push(
            room, ["app": "shop"],
            [
                "{\"level\":\"info\",\"msg\":\"json\"}", "level=debug msg=logfmt", "2026-01-05 INFO plain",
                "ERROR kept", "no level",
            ])
        #expect(status == 204)
        #expect(try await lines(room, "{app=\"shop\"}") == ["ERROR kept", "no level"])
        let told = try await room.house.call(Telemetry.status, TelemetryStatusQuery())
        #expect(told.dropped["logs: level is not kept"] == 3)
    }

    @Test func `lines go to a file when a manifest says so`() async throws {
        let room = try await Room.open()
        try await room.house.apply(
            "{ kind: Telemetry, name: main, logging: { destinations: [{ file: app.jsonl }] } }")
        try await room.plan()
        #expect(try await push(room, ["app": "shop"], ["one", "two"]) == 204)
        let text = try String(contentsOfFile: room.house.folder + "/telemetry/export/app.jsonl", encoding: .utf8)
        #expect(text.split(separator: "\n").count == 2)
        #expect(text.contains("\"line\":\"two\""))
        // The store is not among the destinations any more.
        #expect(try await lines(room, "{app=\"shop\"}").isEmpty)
    }

    @Test func `who follows gets what comes in behind a place, each line once`() async throws {
        let room = try await Room.open()
        #expect(try await push(room, ["app": "shop"], ["one", "two"]) == 204)
        var input = LogTailQuery()
        (input.query, input.after) = ("{app=\"shop\"}", "\(room.now * 1_000_000):1")
        let first = try await room.house.call(Logs.tail, input)
        #expect(first.lines.map(\.line) == ["two"])
        #expect(first.next == "\(room.now * 1_000_000 + 1):1")
    }
}
