import API
import Kernel
import Manifests

/// `watch`: looks at a monitor or a service for a while; what is out of bounds then fails the run, is told, or takes the service back.
struct Watching: Sendable {
    let work: ServerStep

    func look() async throws -> StepLook {
        let spec = try WatchSpec(json: work.order.settings, at: [])
        if let breach = work.memo["breach"]?.string { return try await goBack(spec, because: breach) }
        let now = work.context.time.now
        let seen = try await see(spec)
        guard let since = work.memo["since"]?.string.flatMap(Timestamp.init) else { return try begin(spec, seen, now) }
        let breaches = seen.breaches(spec, since: ServiceStanding(work.memo["standing"]))
        let known = work.memo["known"]?.array?.compactMap(\.string) ?? []
        let news = breaches.filter { !known.contains($0.name) }
        let end = since.advanced(by: spec.for.duration)
        if let news = news.first, spec.on_breach == .rollback {
            try work.say("! \(news.text)")
            return .wait(.zero, memo: memo(adding: ["breach": .string(news.text)]))
        }
        if now >= end || (!news.isEmpty && spec.on_breach == .fail) { return finish(seen, news.map(\.text), spec) }
        for breach in news { try work.say("! \(breach.text)") }
        let wait = min(PipelineLimits.watchInterval, end.since(now))
        let all = told(news.map(\.text))
        return .wait(
            max(.milliseconds(10), wait),
            memo: memo(adding: ["known": (known + news.map(\.name)).json, "told": all.json])
        )
    }

    private func see(_ spec: WatchSpec) async throws -> Watched {
        let (project, caller) = (work.run.project, work.context.caller)
        var seen = Watched()
        if let monitor = spec.monitor {
            seen.report = try await caller.call(Monitors.report, Name(project: project, name: monitor), as: work.call)
        }
        if let service = spec.service {
            seen.status = try await caller.call(Services.status, Name(project: project, name: service), as: work.call)
        }
        return seen
    }

    private func begin(_ spec: WatchSpec, _ seen: Watched, _ now: Timestamp) throws -> StepLook {
        var memo: Ordered<JSONValue> = ["since": now.json]
        if let status = seen.status {
            guard let standing = ServiceStanding(status, run: work.run.id) else {
                return .failed("service \"\(status.service)\" has no revision to look at", report: status.json)
            }
            memo["standing"] = standing.json
            try work.say("watching \(spec.title), revision \(standing.revision), for \(spec.for)")
        } else {
            try work.say("watching \(spec.title) for \(spec.for)")
        }
        // What was out of bounds before is somebody else's; without a time span the state as it is counts.
        let breaches = seen.breaches(spec, since: ServiceStanding(memo["standing"]))
        let known = spec.for.seconds > 0 ? breaches.map(\.name) : []
        memo["known"] = known.json
        if spec.for.seconds > 0 || (spec.on_breach == .rollback && !breaches.isEmpty) {
            if spec.for.seconds == 0 { memo["breach"] = .string(breaches[0].text) }
            return .wait(.zero, memo: .object(memo))
        }
        return finish(seen, breaches.map(\.text), spec)
    }

    private func memo(adding new: Ordered<JSONValue>) -> JSONValue {
        var memo = work.memo.object ?? [:]
        for (key, value) in new { memo[key] = value }
        return .object(memo)
    }

    private func told(_ news: [String]) -> [String] {
        (work.memo["told"]?.array?.compactMap(\.string) ?? []) + news
    }

    private func finish(_ seen: Watched, _ news: [String], _ spec: WatchSpec) -> StepLook {
        let all = told(news)
        var summary: Ordered<JSONValue> = ["breaches": all.json]
        if let report = seen.report {
            summary["monitor"] = .string(report.monitor)
            summary["windows"] = .integer(Int64(report.windows.count))
        }
        if let status = seen.status { summary["service"] = status.json }
        if !all.isEmpty, spec.on_breach == .fail {
            return .failed("\(spec.title): \(all.prefix(5).joined(separator: "; "))", report: .object(summary))
        }
        var step = work.step
        step.outputs = ["breaches": .integer(Int64(all.count))]
        if let report = seen.report { step.outputs["windows"] = .integer(Int64(report.windows.count)) }
        step.report = .object(summary)
        return .done(step)
    }

    // MARK: Going back

    /// Takes the watched revision's traffic away, and fails the step once that is so. By what is seen, so that it may be repeated.
    private func goBack(_ spec: WatchSpec, because breach: String) async throws -> StepLook {
        guard let service = spec.service, let standing = ServiceStanding(work.memo["standing"]) else {
            return .failed("\(spec.title): \(breach)", report: nil)
        }
        let (project, caller, revision) = (work.run.project, work.context.caller, standing.revision)
        let status = try await caller.call(Services.status, Name(project: project, name: service), as: work.call)
        let isOnTrial = status.preview_revision == revision && !status.aborted
        guard status.stable_revision == revision || isOnTrial else {
            let now = status.stable_revision.map { "revision \($0) is the stable one" } ?? "no revision is stable"
            return .failed("\(spec.title): \(breach); \(now)", report: status.json)
        }
        guard work.memo["asked"] == nil else {
            guard status.phase != .degraded || status.preview_revision != nil else {
                return .failed("\(spec.title): \(breach); going back failed: \(status.message)", report: status.json)
            }
            return .wait(PipelineLimits.rolloutInterval, memo: work.memo)
        }
        do {
            if status.stable_revision == revision {
                var input = UndoInput()
                (input.project, input.name) = (project, service)
                _ = try await caller.call(Services.undo, input, as: work.call)
            } else {
                var input = AbortInput()
                (input.project, input.name, input.reason) = (project, service, breach)
                _ = try await caller.call(Services.abort, input, as: work.call)
            }
        } catch let problem as Problem where problem.status < 500 && problem.status != 429 {
            return .failed(
                "\(spec.title): \(breach); it could not go back: \(problem.message)", report: status.json)
        }
        try work.say("↩ \(service) goes back from revision \(revision)")
        return .wait(PipelineLimits.rolloutInterval, memo: memo(adding: ["asked": true]))
    }
}

extension WatchSpec {
    var title: String { service.map { "service \"\($0)\"" } ?? "monitor \"\(monitor ?? "")\"" }
}

/// What one look has seen; what of it is out of bounds is pure.
struct Watched: Sendable {
    var report: MonitorReport?
    var status: ServiceStatus?

    /// A breach keeps its name while its text counts on.
    struct Breach: Sendable, Equatable {
        var name: String
        var text: String
    }

    func breaches(_ spec: WatchSpec, since standing: ServiceStanding?) -> [Breach] {
        let windows = report?.windows ?? []
        // "2018: auc 0.71 is below 0.75", one for each breach of each window.
        var all = windows.flatMap { window in
            window.breaches.map { Breach(name: "\(window.window): \($0)", text: "\(window.window): \($0)") }
        }
        guard let status, let standing else { return all }
        if status.phase == .degraded {
            all.append(Breach(name: "degraded", text: "it is degraded: \(status.message)"))
        }
        if let mine = status.revisions.first(where: { $0.revision == standing.revision }) {
            let (requests, errors) = (mine.requests - standing.requests, mine.errors - standing.errors)
            let isEnough = requests >= spec.min_requests
            if isEnough, Double(errors) > Double(requests) * spec.max_errors.fraction {
                all.append(
                    Breach(
                        name: "errors",
                        text:
                            "\(errors) of \(requests) requests failed on revision \(standing.revision), at most \(spec.max_errors) may"
                    ))
            }
        }
        return all
    }
}

/// The watched revision, and what it had answered when the watch began.
struct ServiceStanding: Sendable, Equatable {
    var revision: Int
    var requests: Int64
    var errors: Int64

    /// The revision that the run has deployed, else the stable one.
    init?(_ status: ServiceStatus, run: String) {
        let own = status.revisions.filter { $0.run == run }.map(\.revision).max()
        guard let revision = own ?? status.stable_revision else { return nil }
        let counted = status.revisions.first { $0.revision == revision }
        (self.revision, requests, errors) = (revision, counted?.requests ?? 0, counted?.errors ?? 0)
    }

    init?(_ json: JSONValue?) {
        guard let json, let revision = json["revision"]?.int else { return nil }
        self.revision = revision
        (requests, errors) = (Int64(json["requests"]?.int ?? 0), Int64(json["errors"]?.int ?? 0))
    }

    var json: JSONValue {
        ["revision": .integer(Int64(revision)), "requests": .integer(requests), "errors": .integer(errors)]
    }
}
