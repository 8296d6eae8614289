import API
import Foundation
import Kernel
import KernelTesting
import Manifests
import Outbound
import Series
import Testing
import Wire

@testable import Telemetry

/// The room in a house for tests, and what clients do with it.
struct Room {
    let house: TestHouse
    let domain: TelemetryDomain
    let time: ManualTime

    static func open(platform: FakePlatform? = nil) async throws -> Room {
        let time = ManualTime()
        let house = try TestHouse(time: time)
        let settings = TelemetrySettings(
            folder: house.folder + "/telemetry", version: "test", outbound: OutboundClient(),
            platforms: [platform ?? FakePlatform(time: time)], outputs: { [] }, secrets: FakeSecrets(),
            requests: house.folder + "/requests")
        let domain = try TelemetryDomain(context: house.context, settings: settings)
        try await house.open([domain])
        return Room(house: house, domain: domain, time: time)
    }

    /// Milliseconds since 1970 of the house's time.
    var now: Int64 { time.now.microseconds / 1000 }

    func ask(_ request: ForeignRequest, at prefix: String, as call: Call = .system("test")) async throws
        -> ForeignAnswer
    {
        let mount = try #require(domain.mounts.first { $0.prefix == prefix })
        do {
            return try await mount.handle(request, call)
        } catch {
            return mount.refuse(Problem(describing: error), request)
        }
    }

    func get(
        _ prefix: String, _ path: String, _ query: [(name: String, value: String)] = [], as call: Call = .system("test")
    ) async throws -> (status: Int, json: JSONValue) {
        let answer = try await ask(ForeignRequest(method: "GET", path: path, query: query), at: prefix, as: call)
        return (
            answer.status,
            (try? JSONParser.parse(answer.bytes)) ?? .string(String(decoding: answer.bytes, as: UTF8.self))
        )
    }

    func post(
        _ prefix: String, _ path: String, _ body: [UInt8], type: String, headers: [String: String] = [:],
        as call: Call = .system("test")
    ) async throws -> (status: Int, body: [UInt8]) {
        let all = headers.merging(["content-type": type]) { given, _ in given }
        let request = ForeignRequest(method: "POST", path: path, headers: all, body: body)
        let answer = try await ask(request, at: prefix, as: call)
        return (answer.status, answer.bytes)
    }

    /// Sends samples by remote write.
    @discardableResult
    func write(_ samples: [(labels: [String: String], time: Int64, value: Double)]) async throws -> (
        status: Int, body: [UInt8]
    ) {
        var batch = WriteBatch()
        for sample in samples { batch.append(Labels(sample.labels), sample.time, sample.value) }
        var last: (status: Int, body: [UInt8]) = (204, [])
        for body in RemoteWrite.encode(batch) {
            last = try await post("/prometheus", "/api/v1/write", body, type: "application/x-protobuf")
        }
        return last
    }

    /// Label sets and values of an instant query.
    func query(_ text: String, at time: Int64) async throws -> [String: String] {
        let answer = try await get(
            "/prometheus", "/api/v1/query", [("query", text), ("time", "\(Double(time) / 1000)")])
        try #require(answer.status == 200, "\(answer.json.text)")
        var found: [String: String] = [:]
        for item in answer.json["data"]?["result"]?.array ?? [] {
            found[item["metric"]?.text ?? ""] = item["value"]?[1]?.string ?? item["histogram"]?[1]?.text ?? ""
        }
        return found
    }

    /// Takes the manifests' plan into force.
    func plan() async throws { _ = try await domain.planLoop.reconcile("plan") }
}

extension ForeignAnswer {
    var bytes: [UInt8] {
        if case .bytes(let bytes) = body { return bytes }
        return []
    }
}
