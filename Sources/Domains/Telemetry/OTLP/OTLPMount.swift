import API
import Kernel
import LogStore
import Segments
import Series
import SpanStore
import TSDB
import Wire

/// The OpenTelemetry protocol over HTTP below `/otlp`: metrics, logs and traces, in protobuf and JSON.
struct OTLPMount: Sendable {
    let house: TelemetryHouse

    var mount: Mount {
        Mount("/otlp", bodyLimit: OTLP.sizeLimit) { problem, request in
            Self.refusal(problem.status, problem.message, Self.encoding(request) ?? .json)
        } handle: { request, call in
            try await answer(request, call)
        }
    }

    private static func encoding(_ request: ForeignRequest) -> OTLP.Encoding? {
        OTLP.Encoding(contentType: request.headers["content-type"] ?? "")
    }

    /// `google.rpc.Status` with the code that fits an HTTP status.
    private static func refusal(_ status: Int, _ message: String, _ encoding: OTLP.Encoding) -> ForeignAnswer {
        let code: OTLP.StatusCode =
            switch status {
            case 401, 403: .unauthenticated
            case 404, 405: .unimplemented
            case 429: .resourceExhausted
            case 503: .unavailable
            case 500, 502, 507: .internal
            default: .invalidArgument
            }
        return ForeignAnswer(status, type: encoding.contentType, .bytes(OTLP.status(code, message, encoding)))
    }

    private func answer(_ request: ForeignRequest, _ call: Call) async throws -> ForeignAnswer {
        try call.allowTelling("an export of OpenTelemetry")
        guard request.method == "POST" else {
            throw Problem(
                "method.not-allowed", status: 405, "\(request.method) is not answered here", hint: "Use POST.")
        }
        let signals: [String: OTLP.Signal] = ["/v1/metrics": .metrics, "/v1/logs": .logs, "/v1/traces": .traces]
        guard let signal = signals[request.path] else {
            throw Problem("path.not-found", status: 404, "nothing is at the path /otlp\(request.path)")
        }
        guard let encoding = Self.encoding(request) else {
            return Self.refusal(415, "the body must be application/x-protobuf or application/json", .json)
        }
        let coding = (request.headers["content-encoding"] ?? "identity").lowercased()
        guard let known = ContentCoding(rawValue: coding), known != .snappy else {
            return Self.refusal(415, "the body is compressed in a way that is not known here: \(coding)", encoding)
        }
        let body = request.body
        return try await house.writers.run {
            do {
                let plain = try known.decode(body, limit: OTLP.sizeLimit)
                let (rejected, message) = try take(plain, signal, encoding)
                return ForeignAnswer(
                    type: encoding.contentType,
                    .bytes(OTLP.response(signal, encoding, rejected: rejected, message: message)))
            } catch let error as WireError {
                house.drops.add("otlp: body that cannot be read", 1)
                return Self.refusal(error.code == .tooLarge ? 413 : 400, error.description, encoding)
            } catch let error as StorageError {
                return Self.refusal(error.code == .limit ? 400 : 503, error.description, encoding).retried
            } catch let error as SeriesError {
                return Self.refusal(503, error.description, encoding).retried
            }
        }
    }

    /// Blocks.
    private func take(
        _ body: [UInt8], _ signal: OTLP.Signal, _ encoding: OTLP.Encoding
    ) throws -> (rejected: Int, message: String) {
        switch signal {
        case .metrics:
            let metrics = try OTLP.decodeMetrics(body, encoding)
            return try house.requests.use { batch in
                let translated = OTLPTranslation().translate(metrics, into: &batch)
                let outcome = try MetricIntake(house: house).take(batch, now: house.milliseconds)
                let message = [translated.message, outcome.complaint ?? ""].filter { !$0.isEmpty }.joined(
                    separator: "; ")
                return (translated.rejected + outcome.result.refused, message)
            }
        case .logs:
            let streams = OTLPLogs.streams(try OTLP.decodeLogs(body, encoding), now: house.nanoseconds)
            let receipt = try LogIntake(house: house).take(streams)
            return (receipt.refused, receipt.refusals.first?.message ?? "")
        case .traces:
            let spans = OTLPSpans.spans(try OTLP.decodeTraces(body, encoding))
            let receipt = try SpanIntake(house: house).take(spans)
            return (receipt.refused, receipt.message ?? "")
        }
    }
}

extension ForeignAnswer {
    /// With the time after which to send again, where that makes sense.
    var retried: ForeignAnswer {
        guard status == 429 || status == 503 else { return self }
        var answer = self
        answer.headers.append(("Retry-After", "5"))
        return answer
    }
}
