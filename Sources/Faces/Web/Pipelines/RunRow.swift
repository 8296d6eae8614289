import API
import Manifests

/// One run as a line of a table.
struct RunRow: Sendable {
    let href: String
    let title: String
    let trigger: String
    let status: Badge
    let strip: Markup
    let commit: String?
    let ref: String?
    let elapsed: Elapsed?
    let started: When?

    init(_ run: Run, now: Double) {
        href = Links.run(run.id)
        title = "\(run.pipeline) #\(run.number)"
        trigger = Format.clipped(RunWords.trigger(run), 90)
        status = Badge(status: run.status.rawValue)
        strip = Sparkline.strip(
            RunStages(run).list.map { (name: $0.name, tone: $0.badge.tone, status: $0.badge.text.lowercased()) })
        commit = run.commit.map { Format.short($0) }
        ref = run.trigger.ref.map(RunWords.branch)
        elapsed = Elapsed(from: run.started_at?.seconds, to: run.finished_at?.seconds, now: now)
        started = When((run.started_at ?? run.created_at).seconds, now: now)
    }
}

/// A table of runs; nothing when there are none.
struct RunTable: Sendable {
    let caption: String
    let rows: [RunRow]

    init?(_ runs: [Run], caption: String, now: Double) {
        guard !runs.isEmpty else { return nil }
        self.caption = caption
        rows = runs.map { RunRow($0, now: now) }
    }
}

/// A run in words.
enum RunWords {
    /// "Scale the features, pushed by Ana".
    static func trigger(_ run: Run) -> String {
        let who = run.trigger.actor.isEmpty ? "" : " by \(person(run.trigger.actor))"
        let how =
            switch run.trigger.type {
            case .push: "pushed\(who)"
            case .manual: "started\(who)"
            case .api: "started through the API\(who)"
            case .tag: "tagged\(who)"
            case .pull_request: "pull request\(run.trigger.number.map { " \($0)" } ?? "")\(who)"
            case .schedule: "started by its schedule"
            case .pipeline: "started by another pipeline"
            case .model: "started by a model"
            case .artifact: "started by an artifact"
            case .alert: "started by an alert"
            case .webhook: "started by a webhook"
            }
        guard let message = run.trigger.message, !message.isEmpty else {
            return how.prefix(1).uppercased() + how.dropFirst()
        }
        return "\(message) · \(how)"
    }

    /// "train" of stage train, "test / unit (debian12)" of stage test.
    static func job(_ stage: String, _ name: String, title: String? = nil) -> String {
        stage == name ? title ?? name : "\(stage) / \(title ?? name)"
    }
    static func job(_ job: Job) -> String { self.job(job.stage, job.name, title: job.title) }

    /// "main" of "refs/heads/main".
    static func branch(_ ref: String) -> String {
        for prefix in ["refs/heads/", "refs/tags/"] where ref.hasPrefix(prefix) {
            return String(ref.dropFirst(prefix.count))
        }
        return ref
    }

    /// "Ana" of "git:Ana <ana@example.com>", "ci" of "token:ci".
    static func person(_ actor: String) -> String {
        let name = actor.split(separator: ":", maxSplits: 1).last.map(String.init) ?? actor
        guard let mail = name.firstIndex(of: "<"), mail > name.startIndex else { return name }
        return name[..<mail].split(separator: " ").joined(separator: " ")
    }
}

/// The stages of a run with their jobs, in the order the run tells them.
struct RunStages: Sendable {
    struct Stage: Sendable {
        let name: String
        let type: String
        let needs: [String]
        let jobs: [Job]
        let badge: Badge

        /// Its jobs, the cells of each matrix together.
        var groups: [Group] {
            var groups: [Group] = []
            for job in jobs {
                let name = job.matrix.isEmpty ? nil : job.name.lastIndex(of: ".").map { String(job.name[..<$0]) }
                if let name, groups.last?.name == name {
                    groups[groups.count - 1].jobs.append(job)
                } else {
                    groups.append(Group(name: name, jobs: [job]))
                }
            }
            return groups
        }
    }
    /// The cells of one matrix, or a job without one.
    struct Group: Sendable {
        let name: String?
        var jobs: [Job]
    }
    let list: [Stage]

    init(_ run: Run) {
        var order: [String] = []
        var jobs: [String: [Job]] = [:]
        for job in run.jobs {
            if jobs[job.stage] == nil { order.append(job.stage) }
            jobs[job.stage, default: []].append(job)
        }
        list = order.map { name in
            let own = jobs[name] ?? []
            return Stage(
                name: name, type: own.first?.type.rawValue ?? "", needs: own.first?.needs ?? [], jobs: own,
                badge: Badge(status: Self.status(own.map(\.status)).rawValue))
        }
    }

    /// The job that a person would look at first.
    static func foremost(_ jobs: [Job]) -> Job? {
        let worst = status(jobs.map(\.status))
        return jobs.first { $0.status == worst } ?? jobs.first
    }

    /// How a stage stands as a whole: what needs eyes first.
    static func status(_ jobs: [RunStatus]) -> RunStatus {
        let order: [RunStatus] = [.failed, .running, .waiting, .cancelled, .queued, .superseded]
        if let first = order.first(where: jobs.contains) {
            return first == .queued && jobs.contains(.succeeded) ? .running : first
        }
        return jobs.contains(.succeeded) ? .succeeded : .skipped
    }
}

extension Job {
    /// "debian12, 6.3" of "unit (debian12, 6.3)".
    var cell: String {
        guard let title, let open = title.firstIndex(of: "("), title.last == ")" else { return title ?? name }
        return String(title[title.index(after: open)...].dropLast())
    }
}
