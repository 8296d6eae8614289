import API
import Globs
import Kernel
import Manifests
import SQL

/// Sets pipelines off by what happens elsewhere in the house: the ends of runs, artifacts, models, alerts.
struct TriggerFollower: Follower {
    static let name = "pipelines-triggers"
    static let events: Set<String> = [
        "run.finished", "job.finished", "model.registered", "model.alias-moved", "alert.firing", "monitor.breach",
    ]
    let ids: IdentifierSource

    /// Pipelines that may set each other off in a row, so that a ring of them comes to an end.
    static let longestChain = 16

    func minds(_ event: Event, in sql: Connection) throws -> Bool {
        // Jobs end all the time, and hardly a pipeline waits for what one of them leaves.
        try event.name != "job.finished" || sql.hasTriggers(.artifact, project: event.subject.project)
    }

    func heed(_ event: Event, in change: Change) throws {
        switch event.name {
        case "run.finished": try heedRun(event, change)
        case "job.finished": try heedArtifacts(event, change)
        case "model.registered", "model.alias-moved": try heedModel(event, change)
        case "alert.firing": try heedAlert(event, names: Self.alertNames(event), change)
        case "monitor.breach": try heedAlert(event, names: Self.breachNames(event), change)
        default: break
        }
    }

    // MARK: Runs

    private func heedRun(_ event: Event, _ change: Change) throws {
        guard let name = event.data["pipeline"]?.string else { return }
        let waiting = try change.sql.triggers(.pipeline, project: event.subject.project, waitingFor: name)
        guard !waiting.isEmpty, let run = try change.sql.run(id: event.subject.name)?.run else { return }
        for stored in waiting {
            try fire(stored, .pipeline, after: run, change) { spec in
                guard let wanted = spec.pipeline, wanted.status.items.contains(run.status) else { return nil }
                if !wanted.branches.isEmpty {
                    guard let branch = Refs.branch(run.trigger.ref), GlobList(wanted.branches).names(branch) else {
                        return nil
                    }
                }
                return ["run": Self.facts(of: run)]
            }
        }
    }

    private func heedArtifacts(_ event: Event, _ change: Change) throws {
        guard event.data["status"] == RunStatus.succeeded.json,
            try change.sql.hasTriggers(.artifact, project: event.subject.project),
            let run = try change.sql.run(id: event.subject.name)?.run
        else { return }
        let waiting = try change.sql.triggers(.artifact, project: event.subject.project, waitingFor: run.pipeline)
        guard !waiting.isEmpty else { return }
        let (stage, job) = (event.data["stage"]?.string ?? "", event.data["job"]?.string ?? "")
        let left = try change.sql.artifacts(run: run.id).filter { $0.stage == stage && $0.job == job }
        for stored in waiting {
            try fire(stored, .artifact, after: run, change) { spec in
                guard let name = spec.artifact?.name,
                    let found = left.first(where: { $0.name == name || "\($0.stage).\($0.name)" == name })
                else { return nil }
                return ["artifact": found.json, "run": Self.facts(of: run)]
            }
        }
    }

    private static func facts(of run: Run) -> JSONValue {
        [
            "id": .string(run.id), "number": .integer(Int64(run.number)), "pipeline": .string(run.pipeline),
            "status": run.status.json, "reason": run.reason.json, "commit": run.commit.json,
            "ref": run.trigger.ref.json,
            "branch": Refs.branch(run.trigger.ref).json, "trigger": run.trigger.type.json,
            "actor": .string(run.trigger.actor),
        ]
    }

    /// A run after a run: on the same commit when both have the same repository, and trusted no more than it was.
    private func fire(
        _ stored: StoredTrigger, _ type: Trigger.Cause, after run: Run, _ change: Change,
        facts: (TriggerSpec) -> Ordered<JSONValue>?
    ) throws {
        guard let (pipeline, spec) = try change.sql.pipeline(of: stored), var event = facts(spec) else { return }
        let chain = (run.trigger.event?["chain"]?.int ?? 0) + 1
        guard chain <= Self.longestChain else {
            try change.tell(
                "pipeline.not-started", about: pipeline.reference.subject,
                [
                    "trigger": type.json,
                    "reason": .string("more than \(Self.longestChain) pipelines have set each other off in a row"),
                ])
            return
        }
        event["chain"] = .integer(Int64(chain))
        var trigger = Trigger()
        (trigger.type, trigger.actor, trigger.is_trusted) = (type, run.trigger.actor, run.trigger.is_trusted)
        trigger.event = .object(event)
        var place = try change.defaultHead(of: pipeline)
        if let commit = run.commit, let repository = run.repository, repository == pipeline.spec.repository {
            place = CommitPlace(
                repository: repository, ref: run.trigger.ref, commit: commit, committedAt: run.committed_at,
                message: run.trigger.message)
            (trigger.base_ref, trigger.number) = (run.trigger.base_ref, run.trigger.number)
        }
        try change.fire(Firing(pipeline: pipeline, spec: spec, trigger: trigger, place: place), id: ids.next("run"))
    }

    // MARK: Models

    private func heedModel(_ event: Event, _ change: Change) throws {
        for stored in try change.sql.triggers(
            .model, project: event.subject.project, waitingFor: event.subject.name)
        {
            guard let (pipeline, spec) = try change.sql.pipeline(of: stored), let model = spec.model else { continue }
            let isWanted =
                model.alias.map { event.name == "model.alias-moved" && event.data["alias"] == .string($0) }
                ?? (event.name == "model.registered")
            guard isWanted else { continue }
            let version = event.data["version"] ?? event.data["to"] ?? .null
            var facts = event.data
            (facts["name"], facts["version"]) = (.string(event.subject.name), version)
            try start(pipeline, spec, .model, event, ["model": .object(facts)], change)
        }
    }

    // MARK: Alerts

    static func alertNames(_ event: Event) -> [String] {
        let told = event.data["name"]?.string
        return [event.subject.name] + (told.map { [$0] } ?? [])
    }

    /// "monitor" and "monitor/breach" of each thing that is out of bounds.
    static func breachNames(_ event: Event) -> [String] {
        let breaches = event.data["breaches"]?.array?.compactMap(\.string) ?? []
        return [event.subject.name]
            + breaches.map { "\(event.subject.name)/\($0.prefix { $0 != ":" && $0 != " " })" }
    }

    private func heedAlert(_ event: Event, names: [String], _ change: Change) throws {
        for stored in try change.sql.triggers(.alert, project: event.subject.project, waitingFor: "") {
            guard let (pipeline, spec) = try change.sql.pipeline(of: stored), let alert = spec.alert,
                let name = names.first(where: Glob(alert.name).matches), try mayFire(alert, stored, change)
            else { continue }
            var facts = event.data
            facts["name"] = .string(name)
            if try start(pipeline, spec, .alert, event, ["alert": .object(facts)], change) {
                try change.sql.noteFiring(
                    project: stored.project, pipeline: stored.pipeline, name: alert.name, at: change.now,
                    keep: change.now.advanced(by: .zero - max(Self.week, alert.cooldown?.duration ?? .zero)))
            }
        }
    }

    private static let week: Duration = .seconds(7 * 86_400)

    private func mayFire(_ alert: AlertTrigger, _ stored: StoredTrigger, _ change: Change) throws -> Bool {
        func count(_ span: Duration) throws -> Int {
            try change.sql.firings(
                project: stored.project, pipeline: stored.pipeline, name: alert.name,
                since: change.now.advanced(by: .zero - span)
            ).count
        }
        if let cooldown = alert.cooldown, try count(cooldown.duration) > 0 { return false }
        if let most = alert.max_per_week, try count(Self.week) >= most { return false }
        return true
    }

    @discardableResult
    private func start(
        _ pipeline: TypedResource<PipelineKind>, _ spec: TriggerSpec, _ type: Trigger.Cause, _ event: Event,
        _ facts: Ordered<JSONValue>, _ change: Change
    ) throws -> Bool {
        var trigger = Trigger()
        (trigger.type, trigger.actor, trigger.event) = (type, event.actor, .object(facts))
        let place = try change.defaultHead(of: pipeline)
        let firing = Firing(pipeline: pipeline, spec: spec, trigger: trigger, place: place)
        return try change.fire(firing, id: ids.next("run")) != nil
    }
}

extension Connection {
    func hasTriggers(_ type: Trigger.Cause, project: String) throws -> Bool {
        try row(
            "SELECT 1 FROM pipelines_trigger WHERE type = \(type.rawValue) AND project = \(project) LIMIT 1") != nil
    }

    /// The pipeline and its trigger; nil when it has changed since.
    func pipeline(of stored: StoredTrigger) throws -> (TypedResource<PipelineKind>, TriggerSpec)? {
        guard let pipeline = try resource(PipelineKind.self, stored.reference),
            pipeline.spec.triggers.indices.contains(stored.position)
        else { return nil }
        let spec = pipeline.spec.triggers[stored.position]
        return spec.type == stored.type ? (pipeline, spec) : nil
    }
}
