import API
import Manifests

/// One service: revisions, traffic, rollout, evidence, and what a person may do about it.
struct ServicePage: PageBody {
    static let template = "service"
    static let section = Section.services

    struct RevisionRow: Sendable {
        let name: String
        let role: Badge?
        let what: String
        let isOld: Bool
        let weight: String
        let ready: String
        let requests: String
        let errors: String
        let p50: String
        let p99: String
        let since: When?
    }
    struct StepRow: Sendable {
        let tone: Tone
        let icon: String
        let state: String
        let what: String
        let note: String
        let why: String?
    }
    struct EvidenceRow: Sendable {
        let name: String
        let status: Badge
        let note: String
        let stable: String
        let fresh: String
    }
    struct RolloutRow: Sendable {
        let status: Badge
        let change: String
        let run: Link?
        let why: String
        let elapsed: Elapsed?
        let started: When?
    }

    let head: PageHead
    let alarm: Notice?
    let facts: [Fact]
    let revisionNote: String
    let revisions: Rows<RevisionRow>?
    let noRevisions: EmptyState?
    let traffic: Figure?
    let rolloutNote: String
    let steps: Listing<StepRow>?
    let evidenceNote: String
    let evidence: Rows<EvidenceRow>?
    let history: Rows<RolloutRow>?
    let charts: Listing<ChartCard>?
    let resourceHref: String
    let dashboardHref: String
    let outputHref: String

    init(
        _ service: ServiceStatus, spec: ServiceSpec?, traffic points: [TrafficPoint], deployments: [Deployment],
        csrf: String,
        now: Double
    ) {
        let name = service.service
        head = PageHead(
            name, in: [Link("Services", "/services")], status: Badge(status: service.phase.rawValue),
            lead: service.message.isEmpty ? nil : service.message,
            actions: ServiceActions.all(service, spec, csrf: csrf))
        alarm = Self.alarm(service)
        facts = Self.facts(service, spec)
        let rows = service.revisions.sorted { $0.revision > $1.revision }
        revisionNote = Format.plural(rows.count, "revision")
        revisions = Rows(rows.map { Self.row($0, in: service, points: points, now: now) })
        noRevisions =
            !rows.isEmpty
            ? nil
            : EmptyState(
                icon: "services", title: "No revision yet",
                text: "A deploy stage of a pipeline makes the first one. Start one by hand with:",
                commands: ["vagus describe service \(name)", "vagus get pipelines"])
        let charts = TrafficCharts(points, now: now)
        traffic = charts.split
        self.charts = Listing(Self.evidenceCard(service).map { [$0] + charts.cards } ?? charts.cards)
        rolloutNote = Self.rolloutNote(service, spec)
        steps = Listing(RolloutSteps.rows(service, spec))
        evidence = Rows(service.analyses.map(Self.row))
        evidenceNote = service.analyses.isEmpty ? "" : Format.plural(service.analyses.count, "analysis", "analyses")
        history = Rows(deployments.filter { $0.service == name }.prefix(10).map { Self.row($0, now: now) })
        resourceHref = Links.resource(ServiceKind.plural, name)
        dashboardHref = Links.dashboard("service-\(name)")
        let stream = "{project=\"\(service.project)\", service=\"\(name)\", source=\"copies\"}"
        outputHref = Links.path(["explore", "logs"], ["q": stream])
    }

    private static func alarm(_ service: ServiceStatus) -> Notice? {
        if let bad = service.analyses.first(where: { $0.verdict == .failed }), service.aborted {
            return Notice(
                tone: .bad, icon: "abort", title: "The newest rollout was aborted by \"\(bad.name)\"", text: bad.message
            )
        }
        if service.aborted {
            return Notice(
                tone: .warn, icon: "abort", title: "The newest rollout was aborted",
                text: service.stable_revision.map { "All traffic is on revision \($0)." })
        }
        return service.phase == .paused
            ? Notice(tone: .warn, icon: "paused", title: "The rollout is paused", text: service.message) : nil
    }

    private static func facts(_ service: ServiceStatus, _ spec: ServiceSpec?) -> [Fact] {
        func revision(_ number: Int?) -> String { number.map { "r\($0)" } ?? "none" }
        var facts = [
            Fact("Stable", revision(service.stable_revision)),
            Fact("On trial", revision(service.aborted ? nil : service.preview_revision)),
        ]
        if let completion = service.completion {
            facts.append(Fact("Newest rollout", Badge(status: completion.rawValue).text))
        }
        if let spec {
            if let model = spec.workload.model {
                let plain = String(model.prefix { $0 != "@" })
                facts.append(Fact("Model", model, href: Links.model(plain), code: true))
            } else {
                facts.append(Fact("Command", spec.workload.command.joined(separator: " "), code: true))
            }
            facts.append(Fact("Strategy", Badge(status: spec.rollout.strategy.rawValue).text))
            facts.append(Fact("Rollback", spec.rollback.automatic ? "automatic" : "by hand"))
        }
        if let url = service.url { facts.append(Fact("Address", url, code: true)) }
        return facts
    }

    private static func row(_ one: RevisionStatus, in service: ServiceStatus, points: [TrafficPoint], now: Double)
        -> RevisionRow
    {
        let isStable = one.revision == service.stable_revision
        let isTrial = one.revision == service.preview_revision && !isStable
        let trial = service.aborted ? Badge(.bad, "abort", "Aborted") : Badge(.run, "promote", "On trial")
        let p50 = points.last { $0.revision == one.revision && $0.p50_ms != nil }?.p50_ms
        let share = one.requests > 0 ? " (\(Format.percent(Double(one.errors) / Double(one.requests))))" : ""
        var what = [one.model, one.commit.map { "commit \(Format.short($0))" }].compactMap { $0 }
        if what.isEmpty, let run = one.run { what.append("run \(run)") }
        // What it runs that the other does not: the first lines say most.
        what += one.difference.filter { !$0.hasPrefix("colour") }.prefix(3)
        return RevisionRow(
            name: "r\(one.revision)", role: isStable ? Badge(.ok, "ok", "Stable") : isTrial ? trial : nil,
            what: what.joined(separator: ", "), isOld: !isStable && !isTrial && one.weight == 0,
            weight: "\(one.weight) %",
            ready: "\(one.ready)/\(one.replicas)", requests: Format.count(Int(one.requests)),
            errors: Format.count(Int(one.errors)) + share, p50: p50.map { Format.duration($0 / 1000) } ?? "–",
            p99: one.p99_ms.map { Format.duration($0 / 1000) } ?? "–", since: When(one.created_at.seconds, now: now))
    }

    /// The evidence of sequential analyses as it grew, with the bound at which the rollout is aborted.
    private static func evidenceCard(_ service: ServiceStatus) -> ChartCard? {
        let series = service.analyses.compactMap { one -> LineChart.Series? in
            let points = one.looks.compactMap { look in look.evidence.map { LineChart.Point(look.at.seconds, $0) } }
            return points.count > 1 ? LineChart.Series(one.name, points) : nil
        }
        guard !series.isEmpty else { return nil }
        var chart = LineChart("Evidence against the new revision", series: series)
        chart.startsAtZero = true
        if let bound = service.analyses.flatMap(\.looks).compactMap(\.bound).last {
            chart.thresholds = [LineChart.Threshold(bound, "aborts at", bad: .above)]
        }
        return ChartCard(
            title: chart.title, note: "logarithm of the e-value, look by look", figure: chart.figure(.half))
    }

    private static func rolloutNote(_ service: ServiceStatus, _ spec: ServiceSpec?) -> String {
        let strategy = spec.map { Badge(status: $0.rollout.strategy.rawValue).text.lowercased() } ?? "rollout"
        guard let step = service.step, service.steps > 0 else { return strategy }
        return "\(strategy), step \(min(step + 1, service.steps)) of \(service.steps)"
    }

    private static func row(_ one: AnalysisStatus) -> EvidenceRow {
        let look = one.looks.last
        let isLatency = one.metric.hasPrefix("latency")
        func written(_ value: Double?, _ errors: Int64, _ requests: Int64) -> String {
            guard requests > 0 || value != nil else { return "–" }
            if isLatency { return value.map { Format.duration($0 / 1000) } ?? "–" }
            return "\(Format.count(Int(errors)))/\(Format.count(Int(requests)))"
        }
        var note = one.message.isEmpty ? one.metric.replacing("_", with: " ") : one.message
        if let evidence = look?.evidence, let bound = look?.bound {
            note += " · evidence \(Format.fixed(evidence, 2)) of \(Format.fixed(bound, 2))"
        }
        return EvidenceRow(
            name: one.name, status: Badge(status: one.verdict.rawValue), note: note,
            stable: look.map { written($0.baseline, $0.stable_errors, $0.stable_requests) } ?? "–",
            fresh: look.map { written($0.value, $0.canary_errors, $0.canary_requests) } ?? "–")
    }

    private static func row(_ one: Deployment, now: Double) -> RolloutRow {
        RolloutRow(
            status: DeploymentLook.badge(one.outcome),
            change: "r\(one.revision)" + (one.commit.map { " · \(Format.short($0))" } ?? ""),
            run: one.run.map { Link("run", Links.run($0)) }, why: one.reason ?? "",
            elapsed: Elapsed(from: one.started_at.seconds, to: one.finished_at?.seconds, now: now),
            started: When(one.started_at.seconds, now: now))
    }
}

/// How the outcome of a deployment looks.
enum DeploymentLook {
    static func badge(_ outcome: Deployment.Outcome) -> Badge {
        switch outcome {
        case .under_way: Badge(.run, "running", "Under way")
        case .succeeded: Badge(.ok, "ok", "Succeeded")
        case .failed: Badge(.bad, "failed", "Failed")
        case .superseded: Badge(.mute, "superseded", "Superseded")
        }
    }
}
