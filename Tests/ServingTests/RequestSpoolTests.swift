import API
import Foundation
import Manifests
import Testing

@testable import Serving

@Suite struct RequestSpoolTests {
    private static let client = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    private func told(_ exchanges: [RequestSpool.Exchange]) throws -> [RequestRecord] {
        let folder = NSTemporaryDirectory() + "vagus-spool-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let spool = try RequestSpool(
            folder: folder, name: "default.churn.3.1",
            teller: .init(service: "default/churn", revision: "3", instance: "i", model: "churn", version: "5"))
        for exchange in exchanges { spool.add(exchange) }
        spool.close()
        let names = try FileManager.default.contentsOfDirectory(atPath: folder)
        #expect(names.allSatisfy { $0.hasSuffix(".jsonl") })
        return try names.flatMap { name in
            let data = try Data(contentsOf: URL(filePath: "\(folder)/\(name)"))
            return try Array(data).split(separator: 0x0A).map {
                try RequestRecord(json: JSONParser.parse(Array($0)), at: [])
            }
        }
    }

    private func exchange(_ state: String?, trace: String? = client, status: Int = 200, took: Int64 = 900)
        -> RequestSpool.Exchange
    {
        var exchange = RequestSpool.Exchange(
            method: "POST", path: "/invocations", status: status, began: 5_000_000, took: took)
        (exchange.traceparent, exchange.tracestate, exchange.requestID) = (trace, state, "req-7")
        return exchange
    }

    @Test func `a prediction whose trace the proxy chose is told, below the proxy's span`() throws {
        let records = try told([exchange("vagus=r,a=b"), exchange("a=vagus=r"), exchange(nil)])
        #expect(records.count == 1)
        let record = try #require(records.first)
        #expect(record.trace == "4bf92f3577b34da6a3ce929d0e0e4736" && record.parent == "00f067aa0ba902b7")
        #expect(record.by == .model && record.request_id == "req-7" && record.microseconds == 900)
        #expect(record.service == "default/churn" && record.model == "churn" && record.model_version == "5")
    }

    @Test func `failed and slow predictions are told whoever chose them`() throws {
        let records = try told([exchange(nil, status: 500), exchange(nil, took: RequestSpool.slow), exchange(nil)])
        #expect(records.map(\.status) == [500, 200])
    }

    @Test func `of those that came past the proxy a few a second are told, with traces of their own`() throws {
        let records = try told(Array(repeating: exchange(nil, trace: nil), count: 30))
        #expect(records.count == RequestSpool.perSecond)
        #expect(Set(records.map(\.trace)).count == records.count && records.allSatisfy { $0.parent == nil })
    }
}
