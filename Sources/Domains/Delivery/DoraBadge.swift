import API
import Kernel
import Manifests
import SQL

/// `/badges/PROJECT/SERVICE/NUMBER.svg`: one of the five numbers as a small picture for a page elsewhere.
struct DoraBadge: Sendable {
    let desk: DoraDesk
    static let days = 30

    var mount: Mount {
        Mount("/badges", bodyLimit: 0) { problem, _ in
            ForeignAnswer(problem.status, text: problem.message + "\n")
        } handle: { request, call in
            try call.allow(.read, operation: "badges")
            let parts = request.path.split(separator: "/").map(String.init)
            guard ["GET", "HEAD"].contains(request.method), parts.count == 3, parts[2].hasSuffix(".svg") else {
                throw Problem(
                    "badge.path", status: 404, "no badge is at this path",
                    hint: "Ask for /badges/PROJECT/SERVICE/deployment_frequency.svg.")
            }
            try call.allow(project: parts[0])
            var query = DoraQuery()
            (query.project, query.service, query.days) = (parts[0], parts[1], Self.days)
            let report = try await desk.report(query)
            let name = String(parts[2].dropLast(4))
            guard let number = Self.number(name, report) else {
                throw Problem(
                    "badge.number", status: 404, "\"\(name)\" is none of the five numbers",
                    hint: "They are: \(Self.names.joined(separator: ", ")).")
            }
            let picture = Self.svg(label: name.replacing("_", with: " "), number)
            return ForeignAnswer(
                type: "image/svg+xml", headers: [("Cache-Control", "max-age=300")], .bytes(Array(picture.utf8)))
        }
    }

    static let names = ["deployment_frequency", "lead_time", "change_failure_rate", "recovery_time", "rework_rate"]

    static func number(_ name: String, _ report: DoraReport) -> DoraNumber? {
        switch name {
        case "deployment_frequency": report.deployment_frequency
        case "lead_time": report.lead_time
        case "change_failure_rate": report.change_failure_rate
        case "recovery_time": report.recovery_time
        case "rework_rate": report.rework_rate
        default: nil
        }
    }

    /// How a number is written where there is little room.
    static func words(_ number: DoraNumber) -> String {
        guard let value = number.value else { return "no data" }
        switch number.unit {
        case "seconds": return TimeSpan(seconds: value.rounded()).description
        case "fraction": return "\((value * 1000).rounded() / 10) %"
        default: return "\((value * 100).rounded() / 100) a day"
        }
    }

    /// Two fields side by side; the colour tells whether the target is met, and the title says it for those who do not see it.
    static func svg(label: String, _ number: DoraNumber) -> String {
        let text = words(number)
        let colour = number.meets_target.map { $0 ? "#1a7f37" : "#9a6700" } ?? "#57606a"
        let verdict = number.meets_target.map { $0 ? ", on target" : ", off target" } ?? ""
        // About 6.5 units a letter in an 11 unit sans-serif.
        let (left, right) = (label.count * 13 / 2 + 12, text.count * 13 / 2 + 12)
        return """
            <svg xmlns="http://www.w3.org/2000/svg" width="\(left + right)" height="20" role="img" aria-label="\(label): \(text)\(verdict)">\
            <title>\(label): \(text)\(verdict), from \(number.n)</title>\
            <rect width="\(left)" height="20" fill="#24292f"/>\
            <rect x="\(left)" width="\(right)" height="20" fill="\(colour)"/>\
            <g fill="#fff" font-family="sans-serif" font-size="11" text-anchor="middle">\
            <text x="\(left / 2)" y="14">\(label)</text><text x="\(left + right / 2)" y="14">\(text)</text></g></svg>

            """
    }
}

/// Keeps the five numbers as series, so that PromQL finds them: `vagus_delivery_dora_lead_time_seconds{project, service}`.
struct DoraGauges: Reconciler {
    static let name = "delivery.dora"
    static let topics: Set<String> = []
    static let interval = Duration.seconds(60)
    /// How long they are good while nothing happens to a service: what moves them then is only that days pass.
    static let freshness = Duration.seconds(600)
    let desk: DoraDesk
    let instruments: Instruments
    /// When they were worked out, by project.
    let memory: Recall<String, Timestamp>

    func keys() async throws -> [String] {
        try await desk.store.read { sql in
            try sql.rows("SELECT DISTINCT project FROM delivery_rollout ORDER BY project").map { try $0.get(0) }
        }
    }

    private static let units = [
        "deployment_frequency": "deployment_frequency_per_day", "lead_time": "lead_time_seconds",
        "change_failure_rate": "change_failure_ratio", "recovery_time": "recovery_time_seconds",
        "rework_rate": "rework_ratio",
    ]

    func reconcile(_ project: String) async throws -> Next {
        let now = desk.store.time.now
        let (at, isNew) = try await memory.value(of: project) { now }
        guard isNew || at.advanced(by: Self.freshness) <= now else { return .again(in: Self.interval) }
        if !isNew {
            memory.forget(project)
            _ = try await memory.value(of: project) { now }
        }
        for (service, report) in try await desk.reports(project, days: DoraBadge.days) {
            let labels = ["project", project, "service", service]
            for one in DoraBadge.names {
                guard let number = DoraBadge.number(one, report), let series = Self.units[one] else { continue }
                if let value = number.value { instruments.set("vagus_delivery_dora_\(series)", labels, to: value) }
                instruments.set("vagus_delivery_dora_deployments", labels + ["number", one], to: Double(number.n))
            }
            if let weighted = report.change_failure_rate.weighted {
                instruments.set("vagus_delivery_dora_change_failure_weighted_ratio", labels, to: weighted)
            }
        }
        return .again(in: Self.interval)
    }
}
