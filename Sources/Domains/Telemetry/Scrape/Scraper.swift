import API
import Kernel
import Manifests
import Outbound
import Series
import TSDB
import Wire

/// Scrapes one target once: fetches, reads, relabels, marks what has gone, and tells how it went.
struct Scraper: Sendable {
    let house: TelemetryHouse
    let outbound: OutboundClient
    let secrets: any SecretSource
    /// What this process tells of itself.
    let own: @Sendable () async throws -> [UInt8]

    func scrape(_ target: Target, _ memory: Memory) async throws {
        let at = house.milliseconds
        let began = ContinuousClock.now
        var fetched: (body: [UInt8], format: Exposition)?
        var failure: String?
        do {
            fetched = try await fetch(target)
        } catch let error as OutboundError where error.code == .cancelled {
            throw CancellationError()
        } catch {
            failure = (error as? Problem)?.message ?? "\(error)"
        }
        let (seconds, attoseconds) = (ContinuousClock.now - began).components
        let took = Double(seconds) + Double(attoseconds) / 1e18
        let (got, why) = (fetched, failure)
        let (samples, error) = try await house.writers.run { try store(target, got, why, at: at, took: took, memory) }
        house.targets.note(
            target, at: Timestamp(microseconds: at * 1000), seconds: took, samples: samples, error: error)
        house.context.instruments.count("vagus_telemetry_scrapes_total", ["result", error == nil ? "ok" : "failed"])
    }

    /// Marks all series of a target that is no more as ended.
    func end(_ target: Target, _ memory: Memory) async throws {
        if target.isTentative, memory.count == 0 { return }
        let at = house.milliseconds
        try await house.writers.run {
            var batch = WriteBatch()
            for labels in memory.end() { batch.append(labels, at, StaleMarker.value) }
            for name in Self.reports { batch.append(report(name, target), at, StaleMarker.value) }
            _ = try MetricIntake(house: house).take(batch, now: nil)
        }
    }

    // MARK: Fetching

    private func fetch(_ target: Target) async throws -> (body: [UInt8], format: Exposition) {
        if target.way == .own { return (try await own(), .text) }
        var headers = [
            ("Accept", Exposition.accept), ("Accept-Encoding", "gzip"), ("User-Agent", "vagus"),
            ("X-Prometheus-Scrape-Timeout-Seconds", "\(target.timeout.seconds)"),
        ]
        let access = Access(project: target.project, secret: target.spec.token_secret, username: target.spec.username)
        if let authorization = try await access.header(secrets) { headers.append(("Authorization", authorization)) }
        let limit = Int(target.spec.limits.body.bytes)
        let response = try await outbound.send(
            HTTPRequest(url: target.url, headers: headers), deadline: target.timeout.duration, limit: limit)
        guard response.status == 200 else {
            throw Problem("scrape.status", status: 502, "server returned HTTP status \(response.status)")
        }
        let coding = response.header("Content-Encoding").map { $0.lowercased() } ?? "identity"
        guard let known = ContentCoding(rawValue: coding) else {
            throw Problem(
                "scrape.coding", status: 502, "the answer is compressed in a way that was not asked for: \(coding)")
        }
        return (
            try known.decode(response.body, limit: limit),
            Exposition(contentType: response.header("Content-Type") ?? "")
        )
    }

    // MARK: Storing

    private static let reports = [
        "up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling",
        "scrape_series_added",
    ]

    private func report(_ name: String, _ target: Target) -> Labels {
        Labels(target.labels.map { (name: $0.key, value: $0.value) } + [(Labels.metricNameLabel, name)])
    }

    /// Blocks.
    private func store(
        _ target: Target, _ fetched: (body: [UInt8], format: Exposition)?, _ failure: String?, at: Int64,
        took: Double, _ memory: Memory
    ) throws -> (samples: Int, error: String?) {
        var error = failure
        var counts = ScrapeCounts()
        var batch = WriteBatch()
        if let fetched {
            do {
                try house.requests.use { raw in
                    try fetched.format.parse(fetched.body, at: at, into: &raw)
                    try memory.apply(raw, of: target, at: at, into: &batch, &counts)
                }
            } catch let problem as Problem {
                error = problem.message
            } catch let problem as WireError {
                error = problem.description
            }
        }
        if error != nil { batch = WriteBatch() }
        // A copy that never showed anything has nothing to show; an empty page is nothing, too.
        if target.isTentative, memory.count == 0, error != nil || counts.scraped == 0 {
            memory.noteNothing()
            return (0, error ?? "it shows no metrics")
        }
        let (gone, added) = error == nil ? memory.exchange() : (memory.end(), 0)
        for labels in gone { batch.append(labels, at, StaleMarker.value) }
        let figures = [
            error == nil ? 1 : 0, took, Double(counts.scraped), Double(counts.kept), Double(added),
        ]
        for (name, figure) in zip(Self.reports, figures) { batch.append(report(name, target), at, figure) }
        let outcome = try MetricIntake(house: house).take(batch, now: nil)
        // Samples that are refused one by one are counted, and harm no other.
        return (counts.kept, error ?? (outcome.result.counts[.limit] == nil ? nil : outcome.complaint))
    }
}

/// Who we are to another server.
struct Access: Sendable {
    var project: String
    var secret: String?
    var username: String?

    /// The header `Authorization`, if any.
    func header(_ secrets: any SecretSource) async throws -> String? {
        guard let secret else { return nil }
        let username = username
        return try await secrets.withSecret(SecretAsk(project: project, name: secret, for: .server)) { text in
            guard let username else { return "Bearer \(text.text)" }
            return "Basic \(Base64Text.encode(Array("\(username):\(text.text)".utf8)))"
        }
    }
}
