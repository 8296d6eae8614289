import API
import Kernel
import LogQL
import LogStore
import Segments
import Series
import Wire

/// Why Loki does not answer: it tells it as plain text.
struct LokiError: Error {
    var status: Int
    var message: String

    init(_ status: Int, _ message: String) { (self.status, self.message) = (status, message) }

    static func bad(_ message: String) -> LokiError { LokiError(400, message) }

    var answer: ForeignAnswer { ForeignAnswer(status, text: message + "\n") }
}

/// Loki's HTTP API below `/loki`, as Grafana, logcli and promtail call it.
struct LokiMount: Sendable {
    let house: TelemetryHouse

    var mount: Mount {
        Mount("/loki", bodyLimit: LokiPush.sizeLimit, open: ["/ready"]) { problem, _ in
            ForeignAnswer(problem.status, text: problem.message + "\n")
        } handle: { request, call in
            do {
                return try await answer(request, call)
            } catch let error as LokiError {
                return error.answer
            } catch let error as LogQLError {
                return ForeignAnswer(400, text: "\(error)\n")
            } catch let error as StorageError {
                return Self.failed(error)
            }
        }
    }

    static func failed(_ error: StorageError) -> ForeignAnswer {
        switch error.code {
        case .invalid, .limit, .notFound: ForeignAnswer(400, text: error.description + "\n")
        case .full, .damaged, .other: ForeignAnswer(503, text: error.description + "\n").retried
        }
    }

    private func answer(_ request: ForeignRequest, _ call: Call) async throws -> ForeignAnswer {
        if request.path == "/ready" { return ForeignAnswer(text: "ready\n") }
        guard request.path.hasPrefix("/api/v1/") else { throw Self.notFound(request) }
        let path = String(request.path.dropFirst("/api/v1/".count))
        if path == "push" {
            try call.allowTelling("a push of log lines")
            return try await push(request)
        }
        try call.allowLooking("a query of log lines")
        let form = Form(request)
        let (queries, lists) = (LokiQueries(house: house), LokiLists(house: house))
        switch path {
        case "query": return try await queries.instant(form)
        case "query_range": return try await queries.range(form)
        case "label", "labels": return try await lists.labels(form)
        case "series": return try await lists.series(form)
        case "index/stats": return try await lists.stats(form)
        case "index/volume": return try await lists.volume(form)
        case "index/volume_range": return try await lists.volumes(form)
        case "tail": return try LokiTail(house: house).answer(form)
        case "status/buildinfo":
            return ForeignAnswer(
                type: "application/json",
                .bytes(Array("{\"version\":\"3.4.0\",\"revision\":\"vagus\",\"branch\":\"\",\"goVersion\":\"\"}".utf8)))
        default: break
        }
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        if parts.count == 3, parts[0] == "label", parts[2] == "values" {
            return try await lists.values(FormText.decode(parts[1].replacing("+", with: "%2B")), form)
        }
        throw Self.notFound(request)
    }

    private static func notFound(_ request: ForeignRequest) -> LokiError {
        LokiError(404, "nothing is at the path /loki\(request.path)")
    }

    /// 204 when all was taken; 400 when something was refused: what could be taken is.
    private func push(_ request: ForeignRequest) async throws -> ForeignAnswer {
        guard request.method == "POST" else { throw LokiError(405, "\(request.method) is not answered here; use POST") }
        let type = (request.headers["content-type"] ?? "application/x-protobuf").lowercased().prefix { $0 != ";" }
        let coding = (request.headers["content-encoding"] ?? "identity").lowercased()
        let body = request.body
        return try await house.writers.run {
            do {
                let streams: [LokiPush.Stream]
                switch type {
                case "application/x-protobuf":
                    guard ["identity", "snappy"].contains(coding) else {
                        throw LokiError(415, "the body must be compressed with snappy, not \(coding)")
                    }
                    streams = try LokiPush.decode(snappy: body)
                case "application/json":
                    guard let known = ContentCoding(rawValue: coding) else {
                        throw LokiError(415, "the body is compressed in a way that is not known here: \(coding)")
                    }
                    streams = try LokiPush.decode(json: try known.decode(body, limit: LokiPush.sizeLimit))
                default: throw LokiError(415, "the body must be application/x-protobuf or application/json")
                }
                return try take(streams)
            } catch let error as WireError {
                house.drops.add("loki: body that cannot be read", 1)
                throw LokiError(error.code == .tooLarge ? 413 : 400, error.description)
            }
        }
    }

    private func take(_ streams: [LokiPush.Stream]) throws -> ForeignAnswer {
        let incoming = streams.map { stream in
            IncomingStream(
                labels: stream.labels,
                entries: stream.entries.map { .init(time: $0.time, line: $0.line, metadata: $0.metadata) })
        }
        let receipt = try LogIntake(house: house).take(incoming)
        guard let first = receipt.refusals.first else { return ForeignAnswer(204, type: nil, .bytes([])) }
        let isTooMany = receipt.refusals.allSatisfy { $0.reason == .tooManyStreams }
        return ForeignAnswer(
            isTooMany ? 429 : 400, text: "\(first.message); \(receipt.refused) lines were refused\n"
        ).retried
    }
}
