import API
import Foundation
import Kernel
import KernelTesting
import Manifests
import SpanStore
import Testing

@testable import Telemetry

@Suite struct RequestTests {
    private static let trace = "4bf92f3577b34da6a3ce929d0e0e4736"

    private func record(_ room: Room, _ by: RequestTeller, _ span: String, parent: String?) -> RequestRecord {
        var record = RequestRecord()
        (record.by, record.trace, record.span, record.parent) = (by, Self.trace, span, parent)
        (record.at, record.microseconds) = (room.time.now, 1_500)
        (record.service, record.revision, record.status) = ("default/churn-api", "3", 200)
        (record.method, record.path, record.request_id) = ("POST", "/v2/models/churn/infer", "req-7")
        if by == .model { (record.model, record.model_version) = ("churn", "5") }
        return record
    }

    private func detail(_ room: Room) async throws -> TraceDetail {
        var name = TraceName()
        name.trace = Self.trace
        return try await room.house.call(Traces.get, name)
    }

    @Test func `a request is one trace from the proxy to the model, with a line each`() async throws {
        let room = try await Room.open()
        let loop = RequestFilesLoop(house: room.domain.house, folder: room.house.folder + "/requests")
        #expect(try await loop.step() == false)
        var report = RequestReport()
        report.name = "proxy"
        report.records = [record(room, .proxy, "00000000000000aa", parent: nil)]
        _ = try await room.house.call(Requests.report, report)
        try FileManager.default.createDirectory(atPath: loop.folder, withIntermediateDirectories: true)
        let line = record(room, .model, "00000000000000bb", parent: "00000000000000aa").json.bytes
        let file = loop.folder + "/default.churn-api.3.1-1.jsonl"
        try Data(line + [0x0A] + Array("no json\n".utf8)).write(to: URL(filePath: file))
        #expect(try await loop.step() == false)
        #expect(!FileManager.default.fileExists(atPath: file))

        let found = try await detail(room)
        #expect(found.spans.map(\.name) == ["POST default/churn-api", "predict churn"])
        #expect(found.spans.map(\.service) == ["vagus-proxy", "churn-api"])
        #expect(found.spans[1].parent == found.spans[0].span)
        #expect(found.lines.count == 2 && found.lines.allSatisfy { $0.line.contains("\"status\":200") })
        let drops = room.domain.house.drops.all
        #expect(drops.contains { $0.reason == "requests: a line that cannot be read" && $0.count == 1 })
    }

    @Test func `a request that broke off is an error, and what was dropped is counted`() async throws {
        let room = try await Room.open()
        var report = RequestReport()
        (report.name, report.dropped) = ("proxy", 4)
        var broken = record(room, .proxy, "00000000000000aa", parent: nil)
        (broken.status, broken.broke_off, broken.method) = (502, true, "BREW")
        var nameless = broken
        nameless.trace = "no trace"
        report.records = [broken, nameless]
        _ = try await room.house.call(Requests.report, report)
        let found = try await detail(room)
        #expect(found.spans.map(\.name) == ["_OTHER default/churn-api"])
        #expect(found.spans.map(\.is_error) == [true])
        let drops = Dictionary(room.domain.house.drops.all.map { ($0.reason, $0.count) }) { $1 }
        #expect(drops["requests: no room at the proxy"] == 4 && drops["requests: no trace"] == 1)
    }

    @Test func `the queries of an objective are read when it is applied`() async throws {
        let room = try await Room.open()
        try await room.house.apply("{ kind: Slo, name: a, target: 99%, service: shop }")
        try await room.house.apply(
            "{ kind: Slo, name: b, target: 99%, errors: 'sum(increase(e[$window]))', total: 'sum(increase(t[$window]))' }"
        )
        let problem = await #expect(throws: Problem.self) {
            try await room.house.apply(
                "{ kind: Slo, name: c, target: 99%, errors: 'sum(e[$window]', total: 't[$window]' }")
        }
        #expect(problem?.code == "slo.query" && problem?.location == "errors")
    }

    @Test func `a proxy is answered which requests the manifest wants`() async throws {
        let room = try await Room.open()
        var report = RequestReport()
        report.name = "proxy"
        #expect(try await room.house.call(Requests.report, report) == RequestChoice())
        try await room.house.apply(
            "{ kind: Telemetry, name: a, tracing: { requests: { ratio: 5%, slow: 250ms } } }")
        try await room.plan()
        let choice = try await room.house.call(Requests.report, report)
        #expect(choice.ratio == 0.05 && choice.slow == TimeSpan(seconds: 0.25))
    }
}
