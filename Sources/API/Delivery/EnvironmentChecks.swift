import Manifests

/// What an environment's spec can be told about itself.
enum EnvironmentChecks {
    /// The longest that a freeze may last each time.
    static let longestFreeze = TimeSpan.days(366)

    static func check(_ spec: EnvironmentSpec) -> [ManifestError] {
        approvers(spec.approval_gates.approvals) + checks(spec.approval_gates.checks) + freezes(spec.freeze)
            + secrets(spec.secrets) + branches(spec.branches)
    }

    private static func approvers(_ spec: ApprovalsSpec?) -> [ManifestError] {
        guard let spec else { return [] }
        let at = ["approval_gates", "approvals"]
        var errors: [ManifestError] = []
        for (index, text) in spec.from.enumerated() where Approver(text) == nil {
            errors.append(
                ManifestError(
                    at: at + ["from", "\(index)"], message: "\"\(text)\" names nobody",
                    hint: "Write user:NAME or team:NAME."))
        }
        let people = spec.from.compactMap(Approver.init)
        let hasTeam = people.contains { if case .team = $0 { true } else { false } }
        if !people.isEmpty, !hasTeam, Set(spec.from).count < spec.min {
            errors.append(
                ManifestError(
                    at: at + ["min"], message: "\(spec.min) people must say yes, and only \(Set(spec.from).count) may",
                    hint: "Name more under \"from\", or ask for fewer."))
        }
        if spec.expires.seconds < 1 {
            errors.append(
                ManifestError(
                    at: at + ["expires"], message: "an approval that expires at once can never be given",
                    hint: "Write a length of time like 24h."))
        }
        return errors
    }

    private static func checks(_ specs: [GateCheckSpec]) -> [ManifestError] {
        specs.enumerated().flatMap { index, spec in
            check(spec).map { $0.below(["approval_gates", "checks", "\(index)"]) }
        }
    }

    private static func check(_ spec: GateCheckSpec) -> [ManifestError] {
        var errors: [ManifestError] = []
        if let slo = spec.slo, !isResourceName(slo) {
            errors.append(
                ManifestError(at: ["slo"], message: "\"\(slo)\" cannot be the name of an Slo", hint: nil))
        }
        if spec.slo == nil, spec.min_budget != nil {
            errors.append(
                ManifestError(at: ["min_budget"], message: "only an slo has a min_budget", hint: "Leave it out."))
        }
        if let budget = spec.min_budget, budget.fraction > 1 {
            errors.append(
                ManifestError(at: ["min_budget"], message: "more than 100% of a budget is never left", hint: nil))
        }
        for (name, url) in [("webhook", spec.webhook), ("source", spec.source)] {
            guard let url, !url.hasPrefix("http://"), !url.hasPrefix("https://") else { continue }
            errors.append(
                ManifestError(
                    at: [name], message: "\"\(url)\" is not a URL that can be asked",
                    hint: "Begin it with https:// or http://."))
        }
        let isQuery = spec.query != nil
        if !isQuery, spec.min != nil || spec.max != nil || spec.source != nil {
            errors.append(
                ManifestError(
                    at: [spec.source != nil ? "source" : spec.min != nil ? "min" : "max"],
                    message: "only a query has min, max and source", hint: "Leave it out."))
        }
        return errors
    }

    private static func freezes(_ specs: [FreezeSpec]) -> [ManifestError] {
        specs.enumerated().flatMap { index, spec in freeze(spec).map { $0.below(["freeze", "\(index)"]) } }
    }

    private static func freeze(_ spec: FreezeSpec) -> [ManifestError] {
        var errors: [ManifestError] = []
        let isOnce = spec.from != nil && spec.to != nil && spec.cron == nil && spec.for == nil
        let isAgain = spec.cron != nil && spec.for != nil && spec.from == nil && spec.to == nil
        if !isOnce && !isAgain {
            errors.append(
                ManifestError(
                    at: [], message: "freeze \"\(spec.name)\" says not clearly when it is",
                    hint: "Write either \"from\" and \"to\", or \"cron\" and \"for\" (with \"tz\")."))
        }
        if let from = spec.from, let to = spec.to, to <= from {
            errors.append(
                ManifestError(at: ["to"], message: "freeze \"\(spec.name)\" ends before it begins", hint: "Swap them."))
        }
        if let length = spec.for, length.seconds < 1 || length > longestFreeze {
            errors.append(
                ManifestError(
                    at: ["for"], message: "a freeze lasts from 1s to \(longestFreeze)", hint: "Write it like 62h."))
        }
        for (index, text) in spec.allow.enumerated() where text != "rollback" && !text.hasPrefix("label:") {
            errors.append(
                ManifestError(
                    at: ["allow", "\(index)"], message: "\"\(text)\" is nothing that a freeze can let pass",
                    hint: "Write rollback, or label:NAME."))
        }
        return errors
    }

    /// Secrets by the name under which somebody, such as "a job", is given them.
    static func secrets(_ secrets: Ordered<String>, of taker: String = "a job") -> [ManifestError] {
        secrets.compactMap { name, reference in
            if !isVariableName(name) {
                return ManifestError(
                    at: ["secrets", name], message: "\"\(name)\" cannot be the name of \(taker)'s secret",
                    hint: "Use letters, digits and _, beginning with a letter or _.")
            }
            guard SecretReference(reference) == nil else { return nil }
            return ManifestError(
                at: ["secrets", name], message: "\"\(reference)\" names no secret",
                hint: "Write NAME, or vault:PATH#FIELD. \(SecretReference.nameRule)")
        }
    }

    private static func branches(_ patterns: [String]) -> [ManifestError] {
        patterns.enumerated().compactMap { index, pattern in
            pattern.isEmpty || pattern.hasPrefix("/") || pattern.hasSuffix("/")
                ? ManifestError(
                    at: ["branches", "\(index)"], message: "\"\(pattern)\" is no branch",
                    hint: "Write main, release/* or refs/tags/v*.") : nil
        }
    }

    static func isVariableName(_ text: String) -> Bool {
        guard let first = text.utf8.first, text.utf8.count <= 128 else { return false }
        func isLetter(_ byte: UInt8) -> Bool { (0x61...0x7A).contains(byte | 0x20) || byte == 0x5F }
        return isLetter(first) && text.utf8.allSatisfy { isLetter($0) || (0x30...0x39).contains($0) }
    }
}

/// Whom `user:ana` or `team:sre` means.
public enum Approver: Sendable, Hashable {
    case user(String)
    case team(String)

    public init?(_ text: String) {
        let parts = text.split(separator: ":", maxSplits: 1).map(String.init)
        guard parts.count == 2, isResourceName(parts[1]) else { return nil }
        switch parts[0] {
        case "user": self = .user(parts[1])
        case "team": self = .team(parts[1])
        default: return nil
        }
    }
}
