import API
import Kernel
import Manifests
import Outbound
import PromQL
import Series

/// The port `MetricSource`: asks the own store, or the other Prometheus that a manifest names.
struct MetricAnswers: MetricSource {
    let house: TelemetryHouse
    let outbound: OutboundClient
    let secrets: any SecretSource

    func query(_ expression: String, at time: Timestamp) async throws -> [MetricSample] {
        if let other = house.plan.source {
            let answer = try await ask(other, "query", [("query", expression), ("time", Self.seconds(time))])
            return try OtherAnswer(answer).samples
        }
        let answer = try await answer(expression) { engine, parsed, source, flag in
            try engine.instant(parsed, text: expression, at: time.microseconds / 1000, source: source, cancel: flag)
        }
        return answer.samples
    }

    func query(
        _ expression: String, from: Timestamp, to: Timestamp, step: Duration
    ) async throws -> [MetricSeries] {
        let milliseconds = Int64(step / .milliseconds(1))
        if let other = house.plan.source {
            let form = [
                ("query", expression), ("start", Self.seconds(from)), ("end", Self.seconds(to)),
                ("step", "\(Double(milliseconds) / 1000)"),
            ]
            return try OtherAnswer(try await ask(other, "query_range", form)).series
        }
        let answer = try await answer(expression) { engine, parsed, source, flag in
            try engine.range(
                parsed, text: expression, from: from.microseconds / 1000, to: to.microseconds / 1000,
                step: milliseconds, source: source, cancel: flag)
        }
        return answer.series
    }

    // MARK: The own store

    private func answer(
        _ text: String,
        _ body: @Sendable @escaping (PromQLEngine, Expression, any SeriesSource, CancelFlag) throws -> QueryAnswer
    ) async throws -> QueryAnswer {
        do {
            return try await PrometheusQueries(house: house).run { flag in
                let parsed = try parseExpression(text)
                return try house.metrics.use { try body(PromQLEngine(), parsed, $0, flag) }
            }
        } catch let error as PromQLError {
            throw error.problem
        } catch let error as SeriesError {
            throw Problem("metrics.store", status: 503, error.description)
        }
    }

    // MARK: Another

    private func ask(
        _ other: TelemetryPlan.Owned<MetricSourceSpec>, _ path: String, _ form: [(String, String)]
    ) async throws -> JSONValue {
        let endpoint = other.part.prometheus
        let base = endpoint.url.hasSuffix("/") ? String(endpoint.url.dropLast()) : endpoint.url
        var headers = [("Content-Type", "application/x-www-form-urlencoded"), ("User-Agent", "vagus")]
        let access = Access(project: other.project, secret: endpoint.token_secret, username: endpoint.username)
        if let authorization = try await access.header(secrets) { headers.append(("Authorization", authorization)) }
        for (name, value) in endpoint.headers { headers.append((name, value)) }
        let body = form.map { "\($0.0)=\(Self.encoded($0.1))" }.joined(separator: "&")
        do {
            let response = try await outbound.send(
                HTTPRequest("POST", url: "\(base)/api/v1/\(path)", headers: headers, body: .bytes(Array(body.utf8))),
                deadline: endpoint.timeout.duration)
            let json = try JSONParser.parse(response.body)
            guard json["status"]?.string == "success", let data = json["data"] else {
                throw Problem(
                    "metrics.query", status: response.status == 400 || response.status == 422 ? 422 : 503,
                    json["error"]?.string ?? "the other Prometheus answered \(response.status)")
            }
            return data
        } catch let error as OutboundError {
            throw Problem(
                "metrics.source", status: 503, error.message, hint: "Look at metrics.source of the Telemetry manifest.")
        } catch let error as ManifestError {
            throw Problem("metrics.source", status: 503, "the other Prometheus answered no JSON: \(error.message)")
        }
    }

    private static func seconds(_ time: Timestamp) -> String { "\(Double(time.microseconds / 1000) / 1000)" }

    private static func encoded(_ text: String) -> String {
        var out = ""
        for byte in text.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E:
                out.unicodeScalars.append(Unicode.Scalar(byte))
            default: out += "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
            }
        }
        return out
    }
}

extension PromQLError {
    /// As our own operations tell it.
    var problem: Problem {
        switch kind {
        case .syntax, .type, .execution, .tooManySamples:
            Problem(
                "metrics.query", status: 422, message,
                hint: place == nil ? nil : "Look at line and column \(place?.description ?? "") of the query.",
                location: place?.description)
        case .timeout, .cancelled: Problem("metrics.timeout", status: 503, message, hint: "Ask for less at once.")
        case .storage: Problem("metrics.store", status: 503, message)
        }
    }
}

extension QueryAnswer {
    fileprivate var samples: [MetricSample] {
        switch value {
        case .scalar(let number, _): [MetricSample(labels: [:], value: number)]
        case .string: []
        case .vector(let list), .matrix(let list):
            (0..<list.count).compactMap { index in
                var last: Double?
                list.forEachSample(of: index) { _, value, histogram in if histogram == nil { last = value } }
                return last.map { MetricSample(labels: list.labels[index].dictionary, value: $0) }
            }
        }
    }

    fileprivate var series: [MetricSeries] {
        guard case .matrix(let list) = value else { return [] }
        return (0..<list.count).map { index in
            var points: [MetricSeries.Point] = []
            list.forEachSample(of: index) { time, value, histogram in
                if histogram == nil { points.append(.init(at: Timestamp(microseconds: time * 1000), value: value)) }
            }
            return MetricSeries(labels: list.labels[index].dictionary, points: points)
        }
    }
}

extension Labels {
    var dictionary: [String: String] { Dictionary(pairs.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 }) }
}

/// `data` of another's answer.
private struct OtherAnswer {
    let data: JSONValue

    init(_ data: JSONValue) { self.data = data }

    var samples: [MetricSample] {
        get throws {
            if data["resultType"]?.string == "scalar" {
                return [MetricSample(labels: [:], value: try Self.value(data["result"]?[1]))]
            }
            return try (data["result"]?.array ?? []).compactMap { one in
                guard let pair = one["value"] else { return nil }
                return MetricSample(labels: Self.labels(one["metric"]), value: try Self.value(pair[1]))
            }
        }
    }

    var series: [MetricSeries] {
        get throws {
            try (data["result"]?.array ?? []).map { one in
                let points = try (one["values"]?.array ?? []).map { pair in
                    MetricSeries.Point(
                        at: Timestamp(microseconds: Int64((pair[0]?.double ?? 0) * 1e6)), value: try Self.value(pair[1])
                    )
                }
                return MetricSeries(labels: Self.labels(one["metric"]), points: points)
            }
        }
    }

    private static func labels(_ json: JSONValue?) -> [String: String] {
        var labels: [String: String] = [:]
        for (name, value) in json?.object ?? [:] { labels[name] = value.string ?? "" }
        return labels
    }

    private static func value(_ json: JSONValue?) throws -> Double {
        guard let text = json?.string, let value = NumberText.parse(text) as Double? else {
            throw Problem("metrics.source", status: 503, "the other Prometheus answered a sample that is no number")
        }
        return value
    }
}
