import API

/// One of the five numbers as a card.
struct DoraCard: Sendable {
    let name: String
    let value: String
    let unit: String?
    let basis: String
    let target: String?
    let band: Badge?
    let spark: Markup
    let href: String

    static func all(_ report: DoraReport, href: String) -> [DoraCard] {
        [
            DoraCard("Deployment frequency", report.deployment_frequency, "deployment", smallIsGood: false, href),
            DoraCard("Lead time", report.lead_time, "deployment", smallIsGood: true, href),
            DoraCard("Change failure rate", report.change_failure_rate, "deployment", smallIsGood: true, href),
            DoraCard("Time to recover", report.recovery_time, "failure", smallIsGood: true, href),
            DoraCard("Rework rate", report.rework_rate, "deployment", smallIsGood: true, href),
        ]
    }

    private init(_ name: String, _ number: DoraNumber, _ noun: String, smallIsGood: Bool, _ href: String) {
        self.name = name
        self.href = href
        value = number.value.map { Self.written($0, number.unit) } ?? "–"
        unit = number.unit == "per_day" && number.value != nil ? "a day" : nil
        basis = number.n == 0 ? "no \(noun) yet" : "from \(Format.plural(number.n, noun))"
        target =
            number.target == 0
            ? nil : "target \(smallIsGood ? "under" : "at least") \(Self.written(number.target, number.unit))"
        band = number.meets_target.map { $0 ? Badge(.ok, "ok", "On target") : Badge(.warn, "warn", "Off target") }
        let words = "\(name), day by day"
        spark =
            number.unit == "per_day" || number.unit == "fraction"
            ? Sparkline.bars(number.trend.map { $0 ?? 0 }, label: words) : Sparkline.line(number.trend, label: words)
    }

    static func written(_ value: Double, _ unit: String) -> String {
        switch unit {
        case "seconds": Format.duration(value)
        case "fraction": Format.percent(value)
        default:
            value >= 100
                ? Format.fixed(value, 0) : value == value.rounded() ? Format.fixed(value, 0) : Format.fixed(value, 2)
        }
    }
}

/// The five numbers with the deployments behind them.
struct DoraPage: PageBody {
    static let template = "dora"
    static let title = "Delivery performance"
    static let section = Section.dora

    struct Row: Sendable {
        let status: Badge
        let href: String
        let service: String
        let revision: String
        let commit: String?
        let lead: String
        let recovery: String
        let when: When?
    }
    let lead: String
    let spans: [Choice]
    let service: String
    let cards: [DoraCard]
    let charts: [ChartCard]
    let behindNote: String
    let table: Rows<Row>?
    let empty: EmptyState?

    init(_ report: DoraReport, query: DoraQuery, now: Double) {
        lead =
            "From \(Moment(report.from.seconds).date) to \(Moment(report.to.seconds).date), "
            + "counted from Vagus's own events."
        spans = [7, 30, 90, 365].map { Choice(value: "\($0)", text: "\($0) days", isChosen: $0 == query.days) }
        service = query.service ?? ""
        cards = DoraCard.all(report, href: "#d-behind")
        charts = Self.charts(report)
        behindNote = Self.behind(report)
        table = Rows(report.deployments.prefix(200).map { Self.row($0, now: now) })
        empty =
            !report.deployments.isEmpty
            ? nil
            : EmptyState(
                icon: "dora", title: "No deployment in this time",
                text:
                    "Each rollout of a service counts. Push a change, or look further back:",
                commands: ["git push origin main", "vagus dora --days 90"])
    }

    /// Where lead time goes, and what failures weigh.
    private static func behind(_ report: DoraReport) -> String {
        let parts = report.lead_time_parts
        let all: [(String, Double?)] = [
            ("wait", parts.wait), ("review", parts.review), ("queue", parts.queue), ("build", parts.build),
            ("approval", parts.approval), ("rollout", parts.rollout),
        ]
        let known = all.compactMap { name, value in value.map { "\(name) \(Format.duration($0))" } }
        var words = "a lead time runs from the commit to 100 % of the traffic"
        if !known.isEmpty { words += ": \(known.joined(separator: ", "))" }
        if let weighted = report.change_failure_rate.weighted {
            words += "; failures weighed by the traffic they had: \(Format.percent(weighted))"
        }
        return words
    }

    private static func row(_ one: Deployment, now: Double) -> Row {
        let recovery = one.recovered_at.flatMap { end in
            one.first_bad_at.map { Format.duration(end.seconds - $0.seconds) }
        }
        return Row(
            status: DeploymentLook.badge(one.outcome), href: Links.service(one.service), service: one.service,
            revision: ["revision \(one.revision)", one.reason].compactMap { $0 }.joined(separator: " · "),
            commit: one.commit.map { Format.short($0) }, lead: one.lead_time_seconds.map(Format.duration) ?? "–",
            recovery: recovery ?? (one.first_bad_at == nil ? "–" : "not yet"),
            when: When((one.finished_at ?? one.started_at).seconds, now: now))
    }

    private static func charts(_ report: DoraReport) -> [ChartCard] {
        let numbers: [(String, String, DoraNumber, Unit)] = [
            ("Deployments of each day", "that came to all traffic", report.deployment_frequency, .count),
            ("Lead time of each day", "median", report.lead_time, .seconds),
            ("Change failure rate of each day", "failed of all", report.change_failure_rate, .share),
            ("Time to recover of each day", "median", report.recovery_time, .seconds),
        ]
        let end = (report.to.seconds / 86_400).rounded(.down) * 86_400
        return numbers.compactMap { title, note, number, unit in
            guard number.trend.contains(where: { $0 != nil }) else { return nil }
            let count = number.trend.count
            let points = number.trend.enumerated().map { index, value in
                LineChart.Point(end - Double(count - 1 - index) * 86_400, value)
            }
            var chart = LineChart(title, unit: unit, series: [LineChart.Series(note, points)])
            chart.startsAtZero = true
            return ChartCard(title: title, note: note, figure: chart.figure(.half))
        }
    }
}
