import API
import Manifests

/// What sets a pipeline off, in words.
enum TriggerWords {
    /// "a push to main", "schedule 0 3 * * * (Europe/Berlin)".
    static func short(_ trigger: TriggerSpec) -> String {
        if let push = trigger.push { return self.push(push) }
        if let tag = trigger.tag { return tag.names == ["**"] ? "a tag" : "a tag \(list(tag.names))" }
        if let pull = trigger.pull_request {
            return "a pull request\(branches(" into ", pull.branches, pull.branches_ignore))"
        }
        if let schedule = trigger.schedule { return "schedule \(schedule.cron) (\(schedule.tz))" }
        if let pipeline = trigger.pipeline {
            let ends = pipeline.status.items.map(\.rawValue).joined(separator: " or ")
            return "a run of \(pipeline.name) that ended \(ends)" + branches(" on ", pipeline.branches, [])
        }
        if let model = trigger.model {
            return model.alias.map { "alias \($0) of model \(model.name)" } ?? "a new version of model \(model.name)"
        }
        if let artifact = trigger.artifact { return "artifact \(artifact.name) of pipeline \(artifact.pipeline)" }
        return trigger.alert.map { "alert \($0.name)" } ?? "a webhook"
    }

    private static func push(_ push: PushTrigger) -> String {
        guard !push.branches.isEmpty || !push.branches_ignore.isEmpty || push.tags.isEmpty else {
            return "a tag \(list(push.tags))"
        }
        let isDefault = push.branches.isEmpty && push.branches_ignore.isEmpty
        let place = isDefault ? " to the default branch" : branches(" to ", push.branches, push.branches_ignore)
        return "a push\(place)" + (push.tags.isEmpty ? "" : ", or a tag \(list(push.tags))")
    }

    private static func branches(_ before: String, _ wanted: [String], _ ignored: [String]) -> String {
        if !wanted.isEmpty { return before + list(wanted) }
        return ignored.isEmpty ? "" : "\(before)any branch but \(list(ignored))"
    }

    private static func list(_ names: [String]) -> String { names.joined(separator: ", ") }

    /// What else must hold: paths, a condition, a pause.
    static func conditions(_ trigger: TriggerSpec) -> String {
        let (paths, ignored) =
            trigger.push.map { ($0.paths, $0.paths_ignore) }
            ?? trigger.pull_request.map { ($0.paths, $0.paths_ignore) } ?? ([], [])
        return [
            paths.isEmpty ? nil : "when \(list(paths)) changes",
            ignored.isEmpty ? nil : "not when only \(list(ignored)) changes", trigger.if.map { "if \($0)" },
            trigger.alert?.cooldown.map { "not again within \($0)" },
        ].compactMap { $0 }.joined(separator: "; ")
    }
}

/// The triggers of a pipeline, with the next times of its schedules.
struct TriggerTable: Sendable {
    struct Row: Sendable {
        let what: String
        let conditions: String
        let next: [When]
        let last: When?
    }
    let rows: [Row]

    init?(_ triggers: [TriggerInfo], now: Double) {
        guard !triggers.isEmpty else { return nil }
        rows = triggers.map { info in
            // A trigger that another version of vagus wrote may not read; its kind is then all that is told.
            let spec = try? TriggerSpec(json: info.spec, at: [])  // unreadable: its kind alone
            let kind = Badge(status: info.type.rawValue).text
            let what = spec.map(TriggerWords.short) ?? kind
            return Row(
                what: what.prefix(1).uppercased() + what.dropFirst(),
                conditions: spec.map(TriggerWords.conditions) ?? "",
                next: info.next.map { When($0.seconds, now: now) },
                last: info.last_at.map { When($0.seconds, now: now) })
        }
    }
}

/// Open pull requests of a pipeline's repository.
struct PullTable: Sendable {
    struct Row: Sendable {
        let number: String
        let title: String
        let href: String?
        let way: String
        let author: String
        let commit: String
        let when: When
    }
    let note: String
    let rows: [Row]

    /// More are counted, not listed.
    static let limit = 20

    init?(_ pulls: [PullRequest], now: Double) {
        guard !pulls.isEmpty else { return nil }
        note = pulls.count < Self.limit ? "\(pulls.count) open" : "the newest \(Self.limit)"
        rows = pulls.map { pull in
            Row(
                number: "#\(pull.number)", title: Format.clipped(pull.title, 100),
                // Where a forge says it is; nothing else than a web page is linked.
                href: pull.url.flatMap { $0.hasPrefix("https://") || $0.hasPrefix("http://") ? $0 : nil },
                way: "\(RunWords.branch(pull.head_ref)) into \(RunWords.branch(pull.base_ref))"
                    + (pull.is_fork ? ", from a fork" : ""),
                author: RunWords.person(pull.author), commit: Format.short(pull.head_commit),
                when: When(pull.updated_at.seconds, now: now))
        }
    }
}
