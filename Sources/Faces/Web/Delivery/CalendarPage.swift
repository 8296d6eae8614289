import API

/// What was rolled out on which day, when nothing may be, and what is planned: some weeks back, some ahead.
struct CalendarPage: PageBody {
    static let template = "calendar"
    static let title = "Calendar"
    static let section = Section.calendar
    static let lead: String? =
        "Rollouts by day, freezes of environments, and the next times of schedules. Days are UTC."

    /// Whole weeks that are shown before and after this one.
    static let weeksBack = 2
    static let weeksAhead = 4
    /// Rollouts of a day that are named; the others are counted.
    private static let shown = 6

    struct Rollout: Sendable {
        let href: String
        let text: String
        let status: Badge
    }
    struct Freeze: Sendable {
        let text: String
        let note: String
    }
    struct Plan: Sendable {
        let href: String
        let text: String
    }
    struct Day: Sendable {
        let machine: String
        let text: String
        let isToday: Bool
        let isPast: Bool
        let freezes: [Freeze]
        let rollouts: [Rollout]
        let more: String?
        let plans: [Plan]
    }
    let days: [Day]
    let summary: String

    /// The first and the last moment that are shown.
    static func span(_ now: Double) -> (from: Double, to: Double) {
        let day = (now / 86_400).rounded(.down)
        // 1970-01-01 was a Thursday; weeks begin with Monday.
        let monday = day - Double((Int(day) + 3) % 7)
        return ((monday - Double(7 * weeksBack)) * 86_400, (monday + Double(7 * (weeksAhead + 1))) * 86_400)
    }

    init(
        _ deployments: [Deployment], freezes: [FreezeWindow], planned: [(pipeline: String, at: Double)], now: Double
    ) {
        let (from, to) = Self.span(now)
        var days: [Day] = []
        for start in stride(from: from, to: to, by: 86_400) {
            let end = start + 86_400
            let moment = Moment(start)
            let rolled = deployments.filter { (start..<end).contains($0.started_at.seconds) }
                .sorted { $0.started_at < $1.started_at }
            days.append(
                Day(
                    machine: "\(moment.year)-\(Format.two(moment.month))-\(Format.two(moment.day))",
                    text: "\(Self.weekdays[(Int(start / 86_400) + 3) % 7]) \(moment.day) \(moment.monthName)",
                    isToday: (start..<end).contains(now), isPast: end <= now,
                    freezes: freezes.filter { $0.from.seconds < end && $0.to.seconds > start }.map(Self.freeze),
                    rollouts: rolled.prefix(Self.shown).map(Self.rollout),
                    more: rolled.count > Self.shown ? "and \(rolled.count - Self.shown) more" : nil,
                    plans: planned.filter { (start..<end).contains($0.at) }.map { plan in
                        Plan(
                            href: Links.path(["pipelines", plan.pipeline]),
                            text: "\(Moment(plan.at).clock) \(plan.pipeline)")
                    }))
        }
        self.days = days
        let shown = deployments.count { (from..<to).contains($0.started_at.seconds) }
        summary = "\(Format.plural(shown, "rollout")), \(Format.plural(freezes.count, "freeze"))"
    }

    private static let weekdays = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]

    private static func freeze(_ window: FreezeWindow) -> Freeze {
        let (from, to) = (Moment(window.from.seconds), Moment(window.to.seconds))
        let allowed = window.allow.isEmpty ? "" : "; \(window.allow.joined(separator: ", ")) may pass"
        return Freeze(
            text: "\(window.environment): \(window.name)",
            note: "\(from.date), \(from.clock) to \(to.date), \(to.clock)\(allowed)")
    }

    private static func rollout(_ deployment: Deployment) -> Rollout {
        Rollout(
            href: Links.service(deployment.service),
            text: "\(Moment(deployment.started_at.seconds).clock) \(deployment.service) r\(deployment.revision)",
            status: Badge(status: deployment.outcome == .under_way ? "progressing" : deployment.outcome.rawValue))
    }
}
