import API
import Foundation
import Kernel
import Logging
import Manifests
import Series
import SpanStore

/// Makes of requests that proxies and model servers tell a span and a line each, both with the request's trace and id.
struct RequestIntake: Sendable {
    let house: TelemetryHouse

    /// - Throws: `Problem` 429 when too much waits already.
    func take(_ records: [RequestRecord], dropped: Int, from teller: RequestTeller) async throws {
        house.drops.add("requests: no room at the \(teller.rawValue)", dropped)
        guard !records.isEmpty else { return }
        try await house.writers.run { try keep(records) }
    }

    /// Blocks.
    private func keep(_ records: [RequestRecord]) throws {
        let named = records.compactMap { record in Told(record) }
        house.drops.add("requests: no trace", records.count - named.count)
        _ = try LogIntake(house: house).take(Self.streams(named))
        _ = try SpanIntake(house: house).take(named.map(\.asSpan))
        for record in records {
            house.context.instruments.count("vagus_requests_recorded_total", ["by", record.by.rawValue])
        }
    }

    private static func streams(_ all: [Told]) -> [IncomingStream] {
        var streams: [Labels: [IncomingStream.Entry]] = [:]
        for told in all { streams[told.labels, default: []].append(told.line) }
        return streams.map { IncomingStream(labels: $0.key, entries: $0.value) }
    }
}

/// A request with its place in a trace.
private struct Told {
    let record: RequestRecord
    let trace: TraceID
    let span: SpanID
    let project: String
    let service: String

    init?(_ record: RequestRecord) {
        guard let trace = TraceID(record.trace), let span = UInt64(record.span, radix: 16), span != 0
        else { return nil }
        let parts = record.service.split(separator: "/", maxSplits: 1).map(String.init)
        (self.record, self.trace, self.span) = (record, trace, SpanID(span))
        (project, service) = (parts.first ?? "", parts.last ?? "")
    }

    private var isFailure: Bool { record.broke_off || record.status >= 500 }

    /// Names of spans are counted, so what clients make up is no part of them.
    private static let methods: Set<String> = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT",
    ]

    var asSpan: Span {
        let method = Self.methods.contains(record.method) ? record.method : "_OTHER"
        var span = Span(
            traceID: trace, id: self.span, service: record.by == .proxy ? "vagus-proxy" : service,
            operation: record.by == .proxy ? "\(method) \(record.service)" : "predict \(record.model ?? "")",
            start: record.at.microseconds &* 1000, duration: max(0, record.microseconds &* 1000))
        span.parent = SpanID(record.parent.flatMap { UInt64($0, radix: 16) } ?? 0)
        span.kind = .server
        span.status = isFailure ? .error : .unset
        if record.broke_off { span.statusMessage = "the service did not answer, or not to the end" }
        var attributes: [(String, String)] = [
            ("http.request.method", method), ("url.path", record.path), ("vagus.project", project),
            ("vagus.service", service), ("vagus.revision", record.revision), ("vagus.instance", record.instance),
            ("vagus.correlation", record.request_id),
        ]
        if let model = record.model { attributes.append(("vagus.model", model)) }
        if let version = record.model_version { attributes.append(("vagus.model_version", version)) }
        span.attributes =
            attributes.filter { !$0.1.isEmpty }.map { SpanAttribute($0.0, .text($0.1)) }
            + [SpanAttribute("http.response.status_code", .whole(Int64(record.status)))]
        return span
    }

    var labels: Labels {
        Labels([
            "service_name": record.by == .proxy ? "vagus-proxy" : service, "source": "requests", "project": project,
            "service": service,
        ])
    }

    var line: IncomingStream.Entry {
        var line: Ordered<JSONValue> = [
            "method": .string(record.method), "path": .string(record.path), "status": .integer(Int64(record.status)),
            "milliseconds": .number(Double(record.microseconds) / 1000), "revision": .string(record.revision),
            "instance": .string(record.instance),
        ]
        if let model = record.model { line["model"] = .string(model) }
        if let version = record.model_version { line["model_version"] = .string(version) }
        if record.broke_off { line["broke_off"] = .bool(true) }
        var metadata: [(name: String, value: String)] = [
            ("detected_level", (isFailure ? LogLevelWord.error : .info).rawValue), ("trace_id", trace.description),
            ("span_id", span.description),
        ]
        if !record.request_id.isEmpty { metadata.append(("correlation", record.request_id)) }
        return .init(
            time: (record.at.microseconds &+ record.microseconds) &* 1000, line: JSONValue.object(line).text,
            metadata: metadata)
    }
}

/// Takes up what model servers have told: files of lines, one a request, that they put into a folder. A file is let go once what
/// is in it was taken; one that was taken twice tells the same span twice, which counts once.
struct RequestFilesLoop: RunnableLoop {
    let house: TelemetryHouse
    let folder: String

    var loopName: String { "telemetry-requests" }

    private static let every: Duration = .seconds(1)
    /// Files of one look, and bytes of a file.
    private static let fileLimit = 100
    private static let sizeLimit = 1 << 20

    func run() async throws {
        while true {
            do {
                while try await step() {}
            } catch is CancellationError {
                throw CancellationError()
            } catch {
                // The files stay: the next look takes them.
                house.logger.warning("told requests could not be taken", metadata: ["error": "\(error)"])
            }
            try await house.time.sleep(for: Self.every)
        }
    }

    /// Takes up files that are there; true when there may be more.
    func step() async throws -> Bool {
        let names = try await house.writers.run {
            ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [])  // no copy has told anything yet
                .filter { $0.hasSuffix(".jsonl") }.sorted()
        }
        for name in names.prefix(Self.fileLimit) {
            let path = "\(folder)/\(name)"
            let records = try await house.writers.run { read(path) }
            try await RequestIntake(house: house).take(records, dropped: 0, from: .model)
            try FileManager.default.removeItem(atPath: path)
        }
        return names.count > Self.fileLimit
    }

    /// Blocks. A line that cannot be read is left out and counted.
    private func read(_ path: String) -> [RequestRecord] {
        let size = (try? FileManager.default.attributesOfItem(atPath: path))?[.size] as? Int  // gone: nothing to take
        guard let size, size <= Self.sizeLimit, let data = FileManager.default.contents(atPath: path) else {
            house.drops.add("requests: a file that cannot be read", 1)
            return []
        }
        let lines = Array(data).split(separator: 0x0A)
        let records = lines.compactMap { line -> RequestRecord? in
            guard let json = try? JSONParser.parse(Array(line)) else { return nil }  // counted below
            return try? RequestRecord(json: json, at: [])  // counted below
        }
        house.drops.add("requests: a line that cannot be read", lines.count - records.count)
        return records
    }
}
