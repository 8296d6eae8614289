import API
import Delivery
import Kernel
import Manifests
import Outbound

/// Whom analyses ask: the metrics of this house, a Prometheus at a URL, a webhook.
struct Measuring: MeasureOutside {
    let own: any MetricSource
    let outbound: OutboundClient
    /// Bytes of an answer.
    static let answerLimit = 1 << 20

    func metrics(at url: String?) -> any MetricSource {
        url.map { PrometheusSource(url: $0, outbound: outbound) } ?? own
    }

    func post(_ url: String, _ body: JSONValue, timeout: Duration) async throws -> (status: Int, body: [UInt8]) {
        let request = HTTPRequest(
            "POST", url: url, headers: [("Content-Type", "application/json"), ("User-Agent", "vagus")],
            body: .bytes(body.bytes))
        do {
            let answer = try await outbound.send(request, deadline: timeout, limit: Self.answerLimit)
            return (answer.status, answer.body)
        } catch {
            if error.code == .cancelled { throw CancellationError() }
            throw Problem("analysis.webhook", status: 503, error.message)
        }
    }
}

/// A Prometheus, or what answers like one, asked by its HTTP API (`/api/v1/query`, `/api/v1/query_range`).
struct PrometheusSource: MetricSource {
    let url: String
    let outbound: OutboundClient
    /// How long an answer may take.
    static let patience = Duration.seconds(10)

    func query(_ expression: String, at time: Timestamp) async throws -> [MetricSample] {
        let data = try await ask("query", [("query", expression), ("time", Self.seconds(time))])
        if data["resultType"]?.string == "scalar" {
            return [MetricSample(labels: [:], value: Self.number(data["result"]?[1]))]
        }
        return (data["result"]?.array ?? []).map {
            MetricSample(labels: Self.labels($0), value: Self.number($0["value"]?[1]))
        }
    }

    func query(_ expression: String, from: Timestamp, to: Timestamp, step: Duration) async throws -> [MetricSeries] {
        let data = try await ask(
            "query_range",
            [
                ("query", expression), ("start", Self.seconds(from)), ("end", Self.seconds(to)),
                ("step", "\(step / .seconds(1))"),
            ])
        return (data["result"]?.array ?? []).map { series in
            MetricSeries(
                labels: Self.labels(series),
                points: (series["values"]?.array ?? []).map { pair in
                    .init(at: Timestamp(microseconds: Int64((pair[0]?.double ?? 0) * 1e6)), value: Self.number(pair[1]))
                })
        }
    }

    private func ask(_ path: String, _ form: [(String, String)]) async throws -> JSONValue {
        let body = form.map { "\($0.0)=\(Self.encoded($0.1))" }.joined(separator: "&")
        let base = url.hasSuffix("/") ? String(url.dropLast()) : url
        let request = HTTPRequest(
            "POST", url: "\(base)/api/v1/\(path)",
            headers: [("Content-Type", "application/x-www-form-urlencoded"), ("User-Agent", "vagus")],
            body: .bytes(Array(body.utf8)))
        let answer: HTTPResponse
        do {
            answer = try await outbound.send(request, deadline: Self.patience, limit: Measuring.answerLimit)
        } catch {
            if error.code == .cancelled { throw CancellationError() }
            throw Problem("metrics.source", status: 503, "\(url) does not answer: \(error.message)")
        }
        let json: JSONValue
        do {
            json = try JSONParser.parse(answer.body)
        } catch {
            throw Problem("metrics.source", status: 503, "\(url) answered \(answer.status) without JSON")
        }
        guard answer.isSuccess, json["status"]?.string == "success", let data = json["data"] else {
            let said = json["error"]?.string ?? "it answered \(answer.status)"
            throw Problem("metrics.query", status: answer.status == 400 ? 422 : 503, "\(url): \(said)")
        }
        return data
    }

    private static func labels(_ json: JSONValue) -> [String: String] {
        (json["metric"]?.object ?? [:]).reduce(into: [:]) { $0[$1.key] = $1.value.string ?? "" }
    }

    /// Values are texts, so that NaN and infinities have a way to be said.
    private static func number(_ json: JSONValue?) -> Double {
        switch json?.string {
        case "+Inf", "Inf": .infinity
        case "-Inf": -.infinity
        case let text?: Double(text) ?? .nan
        case nil: json?.double ?? .nan
        }
    }

    private static func seconds(_ time: Timestamp) -> String { "\(Double(time.microseconds) / 1e6)" }

    private static func encoded(_ text: String) -> String {
        text.utf8.map { byte in
            let isPlain = (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
            return isPlain
                ? String(UnicodeScalar(byte))
                : "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
        }.joined()
    }
}
