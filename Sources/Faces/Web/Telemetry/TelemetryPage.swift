import API
import Manifests

extension Visitor {
    func telemetry() async throws -> WebResponse {
        try await render {
            var query = TelemetryStatusQuery()
            query.top = 10
            return TelemetryPage(try await ask(Telemetry.status, query), here: SendHere(request), now: now)
        }
    }
}

/// What the stores of telemetry hold, and who fills them.
struct TelemetryPage: PageBody {
    static let template = "telemetry"
    static let section = Section.telemetry
    static let lead: String? = "What is measured, logged and traced here, from where, and who is in the way."

    struct Figure: Sendable {
        let label: String
        let value: String
        let under: String
        let href: String
    }
    struct Top: Sendable {
        let title: String
        let rows: [TopRow]
    }
    struct TopRow: Sendable {
        let name: String
        let href: String?
        let count: String
        let bar: Markup
    }
    struct Target: Sendable {
        let status: Badge
        let job: String
        let url: String
        let error: String?
        let samples: String
        let took: String
        let when: When?
    }
    struct Rule: Sendable {
        let status: Badge
        let name: String
        let group: String
        let query: String
        let href: String
        let error: String?
        let every: String
        let series: String
        let took: String
        let when: When?
    }
    struct Remote: Sendable {
        let status: Badge
        let name: String
        let url: String
        let error: String?
        let waiting: String
        let sent: String
        let dropped: String
    }

    let figures: [Figure]
    let facts: [Fact]
    let tops: Listing<Top>?
    let targets: Rows<Target>?
    let targetsNote: String
    let noTargets: EmptyState?
    let rules: Rows<Rule>?
    let noRules: EmptyState?
    let remotes: Rows<Remote>?
    let dropped: Listing<Fact>?
    let here: SendHere

    init(_ status: TelemetryStatus, here: SendHere, now: Double) {
        self.here = here
        let metrics = status.metrics
        figures = [
            Figure(
                label: "Series written to", value: Format.count(metrics.series),
                under: "\(Format.short(Double(metrics.samples_in_memory))) samples in memory", href: "/explore"),
            Figure(
                label: "Samples on disk", value: Format.short(Double(metrics.samples_in_blocks)),
                under: "\(Format.bytes(metrics.bytes_of_blocks)) in \(Format.plural(metrics.blocks, "block"))",
                href: "/explore"),
            Figure(
                label: "Log lines", value: Format.short(Double(status.logs.lines)),
                under: "\(Format.bytes(status.logs.bytes)) in \(Format.plural(status.logs.streams, "stream"))",
                href: "/explore/logs"),
            Figure(
                label: "Spans", value: Format.short(Double(status.traces.spans)),
                under: Format.bytes(status.traces.bytes),
                href: "/explore/traces"),
        ]
        facts = [
            Fact("Oldest sample in memory", metrics.oldest.map { Moment($0.seconds).full } ?? "–"),
            Fact("Newest sample", metrics.newest.map { Format.ago(now - $0.seconds) } ?? "–"),
            Fact("Write-ahead log", Format.bytes(metrics.bytes_of_log)),
            Fact("Requests at work", Format.count(status.work.running)),
            Fact("Requests that wait", Format.count(status.work.waiting)),
            Fact("Turned away", Format.count(Int(status.work.refused))),
        ]
        let lists: [(String, [NamedCount], (String) -> String?)] = [
            (
                "Metrics with the most series", metrics.top_metrics,
                { Links.path(["explore"], ["q": "count({__name__=\(MetricSeries.quoted($0))})"]) }
            ),
            ("Labels with the most values", metrics.top_labels, { _ in nil }),
            ("Labels and values with the most series", metrics.top_pairs, { _ in nil }),
        ]
        tops = Listing(lists.filter { !$0.1.isEmpty }.map { Self.top($0.0, $0.1, $0.2) })
        targets = Rows(
            status.targets.sorted {
                ($0.health == .down ? 0 : 1, $0.job, $0.url) < ($1.health == .down ? 0 : 1, $1.job, $1.url)
            }.map { Self.target($0, now: now) })
        let down = status.targets.count { $0.health == .down }
        targetsNote =
            "\(status.targets.count { $0.health == .up }) of \(status.targets.count) up"
            + (down > 0 ? ", \(down) down" : "")
        noTargets =
            status.targets.isEmpty
            ? EmptyState(
                icon: "telemetry", title: "Nothing is scraped", text: "Name targets in the manifest of a Telemetry.",
                commands: ["vagus explain Telemetry.metrics.scrape", "vagus apply -f telemetry.yaml"]) : nil
        rules = Rows(status.rules.map { Self.rule($0, now: now) })
        noRules =
            status.rules.isEmpty
            ? EmptyState(
                icon: "again", title: "No rule is kept",
                text: "Recording rules and counts of log lines are worked out again and again, and kept as metrics.",
                commands: [
                    "vagus explain Telemetry.metrics.aggregation", "vagus explain Telemetry.logging.aggregation",
                ])
            : nil
        remotes = Rows(status.remotes.map(Self.remote))
        dropped = Listing(status.dropped.map { Fact($0.key, Format.count(Int($0.value))) })
    }

    private static func top(_ title: String, _ counts: [NamedCount], _ link: (String) -> String?) -> Top {
        let most = Double(counts.map(\.count).max() ?? 1)
        return Top(
            title: title,
            rows: counts.map { one in
                TopRow(
                    name: one.name, href: link(one.name), count: Format.count(one.count),
                    bar: Sparkline.meter(Double(one.count) / max(1, most), label: Format.count(one.count), tone: .run))
            })
    }

    private static func target(_ target: ScrapeTarget, now: Double) -> Target {
        let status: Badge =
            switch target.health {
            case .up: Badge(.ok, "ok", "Up")
            case .down: Badge(.bad, "failed", "Down")
            case .unknown: Badge(.mute, "queued", "Not yet")
            }
        return Target(
            status: status, job: target.job, url: target.url, error: target.error,
            samples: target.last_at == nil ? "–" : Format.count(target.samples),
            took: target.last_seconds.map(Format.duration) ?? "–",
            when: target.last_at.map { When($0.seconds, now: now) })
    }

    private static func rule(_ rule: RuleStatus, now: Double) -> Rule {
        let isLogs = rule.group == "logging"
        return Rule(
            status: rule.error != nil
                ? Badge(.bad, "failed", "Fails")
                : rule.last_at == nil ? Badge(.mute, "queued", "Not yet") : Badge(.ok, "ok", "Kept"),
            name: rule.name, group: rule.group, query: rule.query,
            href: Links.path(isLogs ? ["explore", "logs"] : ["explore"], ["q": rule.query]), error: rule.error,
            every: "\(rule.every)", series: Format.count(rule.series),
            took: rule.last_seconds.map(Format.duration) ?? "–", when: rule.last_at.map { When($0.seconds, now: now) })
    }

    private static func remote(_ remote: RemoteStatus) -> Remote {
        Remote(
            status: remote.error == nil ? Badge(.ok, "ok", "Sends") : Badge(.bad, "failed", "Fails"), name: remote.name,
            url: remote.url, error: remote.error, waiting: Format.count(remote.waiting),
            sent: Format.count(Int(remote.sent)), dropped: Format.count(Int(remote.dropped)))
    }
}
