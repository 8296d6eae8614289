import API
package import Kernel
package import Manifests
import SQL

/// Asks others for the numbers that an analysis judges.
package protocol MeasureOutside: Sendable {
    /// The metrics that a query is asked of: those of this house, or of the Prometheus at a URL.
    func metrics(at url: String?) -> any MetricSource
    /// Posts JSON; the status and the body of the answer.
    ///
    /// - Throws: `Problem` when there is none in time.
    func post(_ url: String, _ body: JSONValue, timeout: Duration) async throws -> (status: Int, body: [UInt8])
}

/// Takes the looks of analyses whose numbers are elsewhere: queries of metrics, webhooks, runs of pipelines.
///
/// It asks outside of any transaction and writes what it heard; the rollout loop decides.
struct MeasureLoop: Reconciler {
    static let name = "delivery.measure"
    static let topics: Set<String> = [ServiceKind.name]
    static let keyed: String? = ServiceKind.name
    /// How long an answer may take.
    static let patience = Duration.seconds(10)
    let store: Store
    let outside: (any MeasureOutside)?
    let caller: any OperationCaller

    func keys() async throws -> [ServiceReference] {
        try await store.read { sql in
            try sql.rows(
                "SELECT DISTINCT project, service FROM delivery_rollout WHERE completion IS NULL"
            ).map { ServiceReference(project: try $0.get(0), name: try $0.get(1)) }
        }
    }

    func keys(of names: Set<String>) async throws -> [ServiceReference] {
        try await store.read { try $0.services(named: names) }
    }

    private struct Due: Sendable {
        var rollout: RolloutRow
        var records: [AnalysisRecord]
    }

    func reconcile(_ name: ServiceReference) async throws -> Next {
        let due = try await store.read { sql -> Due? in
            guard let rollout = try RolloutRow.newest(of: name, in: sql), rollout.isUnderWay else { return nil }
            let records = try AnalysisRecord.all(of: name, rollout: rollout.number, in: sql)
                .filter { $0.verdict == .running && $0.isExternal }
            return records.isEmpty ? nil : Due(rollout: rollout, records: records)
        }
        guard let due else { return .settled }
        var next: Timestamp?
        for record in due.records {
            var record = record
            if record.next_at <= store.time.now {
                let answer = try await ask(record, due.rollout)
                if case .later(let wait) = answer {
                    let later = store.time.now.advanced(by: wait)
                    next = min(next ?? later, later)
                    continue
                }
                record = try await write(answer, of: record, due.rollout)
            }
            if record.verdict == .running { next = min(next ?? record.next_at, record.next_at) }
        }
        return next.map { .again(in: max(.milliseconds(50), $0.since(store.time.now))) } ?? .settled
    }

    // MARK: - Writing

    private func write(
        _ answer: Answer, of record: AnalysisRecord, _ rollout: RolloutRow
    ) async throws -> AnalysisRecord {
        let name = rollout.service
        return try await store.change(.system("delivery")) { change in
            // The rollout may have gone on meanwhile: what is written is the record as it stands now.
            let now = try AnalysisRecord.all(of: name, rollout: rollout.number, in: change.sql)
                .first { $0.name == record.name && $0.step == record.step }
            guard var fresh = now, fresh.verdict == .running, fresh.next_at == record.next_at else {
                return now ?? record
            }
            switch answer {
            case .values(let value, let baseline): fresh.look(value: value, baseline: baseline, at: change.now)
            case .counts(let canary, let stable): fresh.look(canary: canary, stable: stable, at: change.now)
            case .said(let phase, let message): fresh.look(phase, message, at: change.now)
            case .later: return fresh
            }
            try fresh.write(name, rollout: rollout.number, in: change.sql)
            CopyBook.ring(for: name, in: change)
            return fresh
        }
    }

    // MARK: - Asking

    private enum Answer: Sendable {
        case values(Double?, Double?)
        case counts(Counts, Counts)
        case said(AnalysisRun.Phase, String)
        /// It is on its way.
        case later(Duration)
    }

    private func ask(_ record: AnalysisRecord, _ rollout: RolloutRow) async throws -> Answer {
        do {
            if let job = record.spec.job { return try await run(job, record, rollout) }
            guard let outside else { return .said(.error, "nobody is there to be asked about metrics") }
            if let url = record.spec.webhook { return try await call(url, record, rollout, outside) }
            guard let query = record.spec.query else { return .said(.error, "there is no query") }
            guard let total = record.spec.total, record.spec.judge.method == .sequential else {
                let value = try await one(query, record.canary, record, rollout, outside).number
                guard record.spec.judge.method == .mann_whitney else { return .values(value, nil) }
                return .values(value, try await one(query, record.stable, record, rollout, outside).number)
            }
            var counts: [Counts] = []
            for side in [record.canary, record.stable] {
                let found = [
                    try await one(query, side, record, rollout, outside),
                    try await one(total, side, record, rollout, outside),
                ]
                // Nothing was counted where there is no series; what is no number says nothing.
                if found.contains(where: { if case .noNumber = $0 { true } else { false } }) {
                    return .values(nil, nil)
                }
                let (bad, all) = (found[0].number ?? 0, found[1].number ?? 0)
                // `increase` extrapolates, so that it gives parts of a request.
                counts.append(Counts(requests: Self.whole(max(bad, all)), errors: Self.whole(bad)))
            }
            return .counts(counts[0], counts[1])
        } catch is CancellationError {
            throw CancellationError()
        } catch {
            let problem = Problem(describing: error)
            return .said(.error, problem.message)
        }
    }

    private static func whole(_ value: Double) -> Int64 {
        value.isFinite && value > 0 ? Int64(min(value.rounded(), 9e15)) : 0
    }

    private enum Found: Sendable {
        case nothing
        /// NaN or infinite.
        case noNumber
        case value(Double)

        var number: Double? { if case .value(let value) = self { value } else { nil } }
    }

    /// The one value of a query for one side.
    private func one(
        _ query: MetricQuerySpec, _ side: Int, _ record: AnalysisRecord, _ rollout: RolloutRow,
        _ outside: any MeasureOutside
    ) async throws -> Found {
        let now = store.time.now
        let window = max(1, now.since(record.started_at) / .seconds(1))
        let words = Self.filled(query.prometheus, side: side, rollout.service, windowSeconds: Int(window))
        let found = try await outside.metrics(at: query.source).query(words, at: now)
        guard found.count <= 1 else {
            throw Problem(
                "analysis.query", status: 422, "the query finds \(found.count) series where one is needed",
                hint: "Put it in sum(…) or max(…).")
        }
        guard let value = found.first?.value else { return .nothing }
        return value.isFinite ? .value(value) : .noNumber
    }

    /// The query with its words replaced.
    static func filled(_ text: String, side: Int, _ service: ServiceReference, windowSeconds: Int) -> String {
        text.replacing("$revision", with: "\(side)").replacing("$rev", with: "\(side)")
            .replacing("$service", with: service.name).replacing("$project", with: service.project)
            .replacing("$window", with: "\(windowSeconds)s")
    }

    /// Time between two looks at a run.
    private static let runInterval = Duration.seconds(1)
    /// Runs of the pipeline among which that of a look is searched.
    private static let runLimit = 100

    /// The end of the run that is this look: found by what it was told, so that it is started once, else started.
    private func run(_ job: JobMeasureSpec, _ record: AnalysisRecord, _ rollout: RolloutRow) async throws -> Answer {
        let (service, call) = (rollout.service, Call.system("delivery"))
        let id = "\(service)/\(rollout.number)/\(record.step)/\(record.name)/\(record.tally.count)"
        var query = RunQuery()
        (query.project, query.pipeline, query.limit, query.jobs) = (service.project, job.pipeline, Self.runLimit, true)
        let runs = try await caller.call(Runs.list, query, as: call).items
        guard let run = runs.first(where: { $0.trigger.event?["analysis"]?["id"]?.string == id }) else {
            var input = RunInput()
            (input.project, input.pipeline, input.parameters) = (service.project, job.pipeline, job.parameters)
            input.event = [
                "analysis": [
                    "id": id.json, "name": record.name.json, "service": service.name.json,
                    "revision": record.canary.json, "stable": record.stable.json, "rollout": rollout.number.json,
                    "step": rollout.step.json, "weight": rollout.weight.json, "count": record.tally.count.json,
                ]
            ]
            _ = try await caller.call(Runs.start, input, as: call)
            return .later(Self.runInterval)
        }
        let title = "run \(run.pipeline):\(run.number)"
        switch run.status {
        case .queued, .running, .waiting: return .later(Self.runInterval)
        case .failed: return .said(.failed, "\(title) failed" + (run.reason.map { ": \($0)" } ?? ""))
        case .cancelled, .skipped, .superseded: return .said(.error, "\(title) was \(run.status.rawValue)")
        case .succeeded:
            guard let output = job.output else { return .said(.successful, "\(title) succeeded") }
            let told = run.jobs.compactMap { $0.outputs[output] }.first
            guard let value = told?.double ?? told?.string.flatMap({ Double($0) }) else {
                return .said(.error, "\(title) has no number as its output \"\(output)\"")
            }
            return .values(value, nil)
        }
    }

    private func call(
        _ url: String, _ record: AnalysisRecord, _ rollout: RolloutRow, _ outside: any MeasureOutside
    ) async throws -> Answer {
        let question: JSONValue = [
            "name": record.name.json, "project": rollout.service.project.json, "service": rollout.service.name.json,
            "revision": record.canary.json, "stable": record.stable.json, "rollout": rollout.number.json,
            "step": rollout.step.json, "weight": rollout.weight.json, "count": record.tally.count.json,
        ]
        let answer = try await outside.post(url, question, timeout: Self.patience)
        switch answer.status {
        case 200..<300:
            return Self.said(answer, isBounded: record.spec.judge.isBounded)
        case 400..<500: return .said(.failed, "the webhook said no (\(answer.status))")
        default: return .said(.error, "the webhook answered \(answer.status)")
        }
    }

    /// What an answer of 2xx means: yes, unless the judge has to compare a number.
    private static func said(_ answer: (status: Int, body: [UInt8]), isBounded: Bool) -> Answer {
        // NaN and Infinity are no JSON, but what Python writes of such a number.
        let text = String(decoding: answer.body, as: UTF8.self)
        let plain = ["-Infinity", "Infinity", "NaN"].reduce(text) { $0.replacing($1, with: "null") }
        let json = try? JSONParser.parse(Array(plain.utf8))  // no JSON is an answer too
        guard isBounded else {
            return json?["value"]?.double.map { .values($0, json?["baseline"]?.double) }
                ?? .said(.successful, "the webhook said yes (\(answer.status))")
        }
        guard let json, json.object != nil else {
            return .said(
                .error, "the webhook answered \(answer.status) without a JSON object, but a value was to be judged")
        }
        guard let value = json["value"], value != .null else { return .values(nil, nil) }
        guard let number = value.double else {
            return .said(.error, "the webhook answered \(answer.status) with a value that is no number")
        }
        return .values(number, json["baseline"]?.double)
    }
}
