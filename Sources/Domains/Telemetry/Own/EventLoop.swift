import API
import Kernel
import Logging
import Manifests
import SQL
import Segments
import Series
import SpanStore
import Synchronization

/// Makes of each event of the house a line, a count, and of what has ended a trace: runs with their jobs and steps, rollouts.
///
/// Its place in the log of events is saved after what it did, so that a crash repeats and never leaves out; repeats of the same
/// line and span are kept once.
struct EventLoop: RunnableLoop {
    let house: TelemetryHouse

    var loopName: String { "telemetry-events" }

    private static let cursor = "telemetry-events"
    private static let batch = 200
    /// Of a long log that was there before this loop, so many events are looked at.
    private static let history: Int64 = 10_000

    /// A ring is one of many when the house is busy: what comes within this time is looked at together.
    private static let gathering: Duration = .milliseconds(200)
    /// How often its place is written down while events come without a pause; a crash repeats as much.
    private static let saving: Duration = .seconds(1)

    func run() async throws {
        let store = house.context.store
        let bell = store.bells.listen(to: ["*"])
        defer { store.bells.remove(bell) }
        var place = Place()
        while true {
            try Task.checkCancellation()
            do {
                while try await step(&place) {}
                let isAhead = place.seen > place.saved
                let deadline = isAhead ? place.at.advanced(by: Self.saving) : store.time.now.advanced(by: .seconds(60))
                if try await bell.wait(until: deadline, by: store.time) {
                    try await store.time.sleep(for: Self.gathering)
                }
            } catch is CancellationError {
                throw CancellationError()
            } catch {
                house.logger.error("could not follow events", metadata: ["error": "\(error)"])
                try await store.time.sleep(for: .seconds(1))
            }
        }
    }

    /// How far it has come: the last event that was looked at, and the last that is written down, since when.
    struct Place {
        var seen: Int64 = -1
        var saved: Int64 = -1
        var at = Timestamp.zero
    }

    /// Looks at the next events; true when there may be more.
    func step(_ place: inout Place) async throws -> Bool {
        let store = house.context.store
        let seen = place.seen
        let (from, events) = try await store.read { sql in
            let from = try seen >= 0 ? seen : Self.start(in: sql)
            var query = EventQuery()
            query.after = from
            query.limit = Self.batch
            return (from, try EventLog.list(query, in: sql))
        }
        if seen < 0 { place = Place(seen: from, saved: from, at: store.time.now) }
        let requests = house.context.instruments.takeRequests().map(Self.span)
        if let last = events.last {
            try await keep(events, requests)
            place.seen = last.sequence
        } else if !requests.isEmpty {
            try await house.writers.run { _ = try SpanIntake(house: house).take(requests) }
        }
        if place.seen > place.saved, store.time.now >= place.at.advanced(by: Self.saving) {
            let reached = place.seen
            _ = try await store.change(.system(loopName)) { change in
                try change.sql.run(
                    """
                    INSERT INTO follower (name, sequence) VALUES (\(Self.cursor), \(reached))
                    ON CONFLICT (name) DO UPDATE SET sequence = excluded.sequence
                    """)
            }
            (place.saved, place.at) = (reached, store.time.now)
        }
        return events.count == Self.batch
    }

    private static func start(in sql: Connection) throws -> Int64 {
        let saved: Int64? = try sql.value("SELECT sequence FROM follower WHERE name = \(cursor)")
        return try saved ?? max(0, EventLog.newest(in: sql) - history)
    }

    /// A request of the server's own API: what it set off has the same trace.
    private static func span(_ request: Instruments.Request) -> Span {
        var span = Span(
            traceID: TraceNaming.trace(request.correlation), id: TraceNaming.span(request.correlation),
            service: "vagus-server", operation: request.operation, start: request.began.nanoseconds,
            duration: max(0, Int64(request.duration / .nanoseconds(1))))
        span.kind = .server
        span.status = request.status >= 500 ? .error : .unset
        span.attributes = [
            SpanAttribute("http.response.status_code", .whole(Int64(request.status))),
            SpanAttribute("vagus.correlation", .text(request.correlation)),
        ]
        return span
    }

    private func keep(_ events: [Event], _ requests: [Span]) async throws {
        var spans = requests
        for event in events {
            count(event)
            switch event.name {
            case "run.finished": spans += try await runSpans(event)
            case "rollout.promoted", "rollout.aborted", "rollout.rolled-back", "rollout.superseded":
                spans += try await rolloutSpan(event)
            default: break
            }
        }
        let made = spans
        let streams = Self.streams(events)
        try await house.writers.run {
            _ = try LogIntake(house: house).take(streams)
            if !made.isEmpty { _ = try SpanIntake(house: house).take(made) }
        }
    }

    // MARK: Counts

    private func count(_ event: Event) {
        let instruments = house.context.instruments
        instruments.count("vagus_events_total", ["name", event.name])
        let status = event.data["status"]?.string ?? ""
        switch event.name {
        case "run.finished":
            let labels = [
                "pipeline", event.data["pipeline"]?.string ?? "", "project", event.subject.project, "status", status,
            ]
            instruments.count("vagus_pipelines_runs_total", labels)
            instruments.observe(
                "vagus_pipelines_run_duration_seconds", labels, seconds: event.data["seconds"]?.double ?? 0)
        case "job.finished", "job.skipped":
            instruments.count("vagus_pipelines_jobs_total", ["project", event.subject.project, "status", status])
        case "step.finished":
            instruments.count(
                "vagus_pipelines_steps_total", ["status", status, "verb", event.data["verb"]?.string ?? ""])
        case _ where event.name.hasPrefix("rollout."):
            instruments.count(
                "vagus_delivery_rollout_events_total",
                [
                    "event", String(event.name.dropFirst(8)), "project", event.subject.project, "service",
                    event.subject.name,
                ])
        default: break
        }
    }

    // MARK: Lines

    /// The trace that an event belongs to.
    static func trace(of event: Event) -> TraceID? {
        if event.subject.kind == "Run" { return TraceNaming.trace(event.subject.name) }
        if let run = event.data["run"]?.string { return TraceNaming.trace(run) }
        return event.correlation.isEmpty ? nil : TraceNaming.trace(event.correlation)
    }

    private static func streams(_ events: [Event]) -> [IncomingStream] {
        var streams: [Labels: [IncomingStream.Entry]] = [:]
        for event in events {
            let labels = Labels([
                "service_name": "vagus", "source": "events", "kind": event.subject.kind,
                "project": event.subject.project,
            ])
            var line: Ordered<JSONValue> = [
                "event": .string(event.name), "subject": .string(event.subject.name), "actor": .string(event.actor),
                "sequence": .integer(event.sequence),
            ]
            for (key, value) in event.data where line[key] == nil { line[key] = value }
            var metadata: [(name: String, value: String)] = [("detected_level", level(event).rawValue)]
            if !event.correlation.isEmpty { metadata.append(("correlation", event.correlation)) }
            if let trace = trace(of: event) { metadata.append(("trace_id", trace.description)) }
            streams[labels, default: []].append(
                .init(
                    time: event.at.microseconds &* 1000, line: String(JSONValue.object(line).text.prefix(lineLimit)),
                    metadata: metadata))
        }
        return streams.map { IncomingStream(labels: $0.key, entries: $0.value) }
    }

    /// Characters of an event's line.
    private static let lineLimit = 60_000

    private static func level(_ event: Event) -> LogLevelWord {
        let verb = event.name.split(separator: ".").last ?? ""
        if ["lost", "aborted", "breach", "withheld", "rolled-back"].contains(verb) { return .warning }
        return event.data["status"]?.string == "failed" ? .error : .info
    }

    // MARK: Spans

    private func runSpans(_ event: Event) async throws -> [Span] {
        do {
            let run = try await house.context.caller.call(
                Runs.get, RunName(project: event.subject.project, run: event.subject.name), as: .system(loopName))
            return RunSpans(run).all
        } catch let problem as Problem where problem.status == 404 {
            // Deleted meanwhile, or a house without pipelines.
            return []
        }
    }

    private func rolloutSpan(_ event: Event) async throws -> [Span] {
        var query = EventQuery()
        (query.name, query.kind, query.subject) = ("rollout.started", event.subject.kind, event.subject.name)
        (query.project, query.before, query.limit) = (event.subject.project, event.sequence, 20)
        let wanted = query
        let began = try await house.context.store.read { try EventLog.list(wanted, in: $0) }
            .first { $0.data["rollout"] == event.data["rollout"] }
        guard let began else { return [] }
        let name = "\(event.subject.project)/\(event.subject.name)/\(event.data["rollout"]?.text ?? "")"
        var span = Span(
            traceID: Self.trace(of: event) ?? TraceNaming.trace("rollout:" + name),
            id: TraceNaming.span("rollout:" + name), service: "vagus-delivery",
            operation: "rollout", start: began.at.microseconds &* 1000,
            duration: max(0, (event.at.microseconds - began.at.microseconds) &* 1000))
        span.kind = .internal
        span.status = event.name == "rollout.promoted" ? .ok : .error
        if span.status == .error {
            span.statusMessage = event.data["reason"]?.string ?? String(event.name.dropFirst(8))
        }
        span.attributes = [
            SpanAttribute("vagus.service", .text(event.subject.name)),
            SpanAttribute("vagus.project", .text(event.subject.project)),
            SpanAttribute("vagus.revision", .whole(Int64(event.data["revision"]?.int ?? 0))),
            SpanAttribute("vagus.outcome", .text(String(event.name.dropFirst(8)))),
        ]
        return [span]
    }
}

/// A run as a trace: a span for it, one for each job below, and one for each step below that.
struct RunSpans {
    private let run: Run
    private let trace: TraceID

    init(_ run: Run) {
        self.run = run
        trace = TraceNaming.trace(run.id)
    }

    var all: [Span] {
        let root = TraceNaming.span(run.id)
        var first = span(
            root, "pipeline \(run.pipeline)", run.started_at ?? run.created_at, run.finished_at, run.status, run.reason)
        first.attributes = [
            SpanAttribute("vagus.run", .text(run.id)), SpanAttribute("vagus.pipeline", .text(run.pipeline)),
            SpanAttribute("vagus.project", .text(run.project)),
            SpanAttribute("vagus.number", .whole(Int64(run.number))),
        ]
        if let commit = run.commit { first.attributes.append(SpanAttribute("vcs.commit", .text(commit))) }
        var spans = [first]
        for job in run.jobs {
            guard let began = job.started_at else { continue }
            let id = TraceNaming.span("\(run.id)/\(job.key)/\(job.attempt)")
            var below = span(id, "job \(job.key)", began, job.finished_at, job.status, job.reason)
            below.parent = root
            below.attributes = [
                SpanAttribute("vagus.stage", .text(job.stage)), SpanAttribute("vagus.job", .text(job.name)),
                SpanAttribute("vagus.attempt", .whole(Int64(job.attempt))),
            ]
            if let runner = job.runner { below.attributes.append(SpanAttribute("vagus.runner", .text(runner))) }
            spans.append(below)
            spans += job.steps.compactMap { step($0, of: job, below: id) }
        }
        return spans
    }

    private func step(_ step: Step, of job: Job, below parent: SpanID) -> Span? {
        guard let began = step.started_at else { return nil }
        let id = TraceNaming.span("\(run.id)/\(job.key)/\(job.attempt)/\(step.index)")
        var below = span(
            id, step.name.isEmpty ? step.verb : step.name, began, step.finished_at, step.status, step.reason)
        below.parent = parent
        below.attributes = [
            SpanAttribute("vagus.verb", .text(step.verb)), SpanAttribute("vagus.step", .whole(Int64(step.index))),
        ]
        if let code = step.exit_code {
            below.attributes.append(SpanAttribute("process.exit_code", .whole(Int64(code))))
        }
        for (name, value) in step.metrics {
            below.attributes.append(SpanAttribute("vagus.metric.\(name)", .real(value)))
        }
        return below
    }

    private func span(
        _ id: SpanID, _ name: String, _ began: Timestamp, _ ended: Timestamp?, _ status: RunStatus, _ reason: String?
    ) -> Span {
        let end = ended ?? run.finished_at ?? began
        var span = Span(
            traceID: trace, id: id, service: "vagus-pipelines", operation: name, start: began.microseconds &* 1000,
            duration: max(0, (end.microseconds - began.microseconds) &* 1000))
        span.kind = .internal
        span.status = status == .succeeded ? .ok : status == .failed ? .error : .unset
        span.statusMessage = status == .succeeded ? "" : reason ?? ""
        return span
    }
}
