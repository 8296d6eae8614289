import API
import Kernel
import Manifests
import Outbound
import Series
import Synchronization
import TSDB
import Wire

/// Scrapes one target once: fetches, reads, relabels, marks what has gone, and tells how it went.
struct Scraper: Sendable {
    let house: TelemetryHouse
    let outbound: OutboundClient
    let secrets: any SecretSource
    /// What this process tells of itself.
    let own: @Sendable () async throws -> [UInt8]

    /// What is remembered of a target from one scrape to the next.
    final class Memory: Sendable {
        private let series = Mutex<Set<Labels>>([])

        var count: Int { series.withLock { $0.count } }

        /// Keeps the series of a scrape, and tells which have gone and how many are new.
        func exchange(_ now: Set<Labels>) -> (gone: Set<Labels>, added: Int) {
            series.withLock { series in
                defer { series = now }
                return (series.subtracting(now), now.subtracting(series).count)
            }
        }
    }

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
            for labels in memory.exchange([]).gone { batch.append(labels, at, StaleMarker.value) }
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
        var live = Set<Labels>()
        if let fetched {
            do {
                try house.requests.use { raw in
                    try fetched.format.parse(fetched.body, at: at, into: &raw)
                    let labelling = ScrapeLabels(target)
                    try labelling.apply(raw, at: at, into: &batch, &live, &counts)
                }
            } catch let problem as Problem {
                error = problem.message
            } catch let problem as WireError {
                error = problem.description
            }
            if error != nil {
                batch = WriteBatch()
                live = []
            }
        }
        // A copy that never showed anything has nothing to show.
        if target.isTentative, let error, memory.count == 0 { return (0, error) }
        let (gone, added) = memory.exchange(live)
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

struct ScrapeCounts {
    var scraped = 0
    var kept = 0
}

/// What becomes of the labels of a scrape.
struct ScrapeLabels {
    private let target: Target
    private let relabelling: Relabelling
    private let limits: ScrapeLimits

    init(_ target: Target) {
        self.target = target
        relabelling = Relabelling(target.spec.metric_relabel)
        limits = target.spec.limits
    }

    /// - Throws: `Problem` when a limit is broken; then nothing of the scrape counts.
    func apply(
        _ raw: WriteBatch, at: Int64, into batch: inout WriteBatch, _ live: inout Set<Labels>,
        _ counts: inout ScrapeCounts
    ) throws {
        for entry in raw.entries {
            let count = entry.samples.count + entry.histograms.count
            counts.scraped += count
            guard let labels = relabelling.apply(combined(raw.labels(of: entry))), labels.metricName != nil else {
                continue
            }
            try check(labels)
            counts.kept += count
            if limits.samples > 0, counts.kept > limits.samples {
                throw Problem("scrape.samples", status: 422, "sample limit of \(limits.samples) exceeded")
            }
            let keepsTime = entry.hasOwnTime && target.spec.honor_timestamps
            // A series that tells its own times does not end when it is left out once.
            if !keepsTime { live.insert(labels) }
            batch.append(labels) { batch in
                for index in entry.samples { batch.append(keepsTime ? raw.times[index] : at, raw.values[index]) }
                for index in entry.histograms {
                    batch.append(keepsTime ? raw.histogramTimes[index] : at, raw.histograms[index])
                }
                batch.exemplars += raw.exemplars[entry.exemplars]
            }
        }
        batch.metadata = raw.metadata
    }

    /// The target's labels and the series' own: who wins is the job's choice.
    private func combined(_ labels: Labels) -> Labels {
        var pairs = labels.pairs
        var added: [(name: String, value: String)] = []
        for (name, value) in target.labels {
            guard let place = pairs.firstIndex(where: { $0.name == name }) else {
                added.append((name, value))
                continue
            }
            if target.spec.honor_labels { continue }
            pairs[place].name = "exported_" + name
            added.append((name, value))
        }
        return Labels(pairs + added)
    }

    private func check(_ labels: Labels) throws {
        guard limits.labels > 0 || limits.label_name_bytes > 0 || limits.label_value_bytes > 0 else { return }
        let pairs = labels.pairs
        let name = labels.metricName ?? ""
        if limits.labels > 0, pairs.count > limits.labels {
            throw Problem(
                "scrape.labels", status: 422, "\(name) has \(pairs.count) labels, and \(limits.labels) are allowed")
        }
        for pair in pairs {
            if limits.label_name_bytes > 0, pair.name.utf8.count > limits.label_name_bytes {
                throw Problem("scrape.labels", status: 422, "a label name of \(name) is too long: \(pair.name)")
            }
            if limits.label_value_bytes > 0, pair.value.utf8.count > limits.label_value_bytes {
                throw Problem("scrape.labels", status: 422, "the value of label \(pair.name) of \(name) is too long")
            }
        }
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
