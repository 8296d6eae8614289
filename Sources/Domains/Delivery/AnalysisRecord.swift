import API
import Kernel
import Manifests
import SQL

/// One analysis of one rollout: where its counts began, what it has seen, what it says.
struct AnalysisRecord: Manifest {
    /// Step of an analysis that goes on all through the rollout.
    static let background = -1
    /// Looks that are kept for people.
    static let lookLimit = 200

    var name = ""
    var step = 0
    var spec = AnalysisSpec()
    /// Its part of alpha: alpha over the number of judgements that may abort the rollout.
    var alpha = 0.05
    var canary = 0
    var stable = 0
    /// Names of an experiment's arms, where these are compared.
    var canary_arm: String?
    var stable_arm: String?
    var started_at = Timestamp.zero
    var next_at = Timestamp.zero
    var verdict = AnalysisStatus.Verdict.running
    var message = ""
    var tally = Tally()
    /// A person has seen that it is inconclusive, and gone on.
    var isHeeded = false
    /// What a_b_testing compares, for its own judgement.
    var test: ABTestSpec?
    /// Totals at the look before; values of each look, for the judge of ranks.
    var canary_last = Counts()
    var stable_last = Counts()
    var canary_values: [Double] = []
    var stable_values: [Double] = []
    var looks: [AnalysisLook] = []
    /// Totals of both revisions when the analysis began, and when the present weight did.
    var canary_start = Counts()
    var stable_start = Counts()
    var canary_segment = Counts()
    var stable_segment = Counts()
    /// Logarithms of the evidence gathered under earlier weights: the product of e-processes is one again.
    var evidence_before = 0.0
    var safety_before = 0.0
    /// Microseconds above which an answer is slow: the stable revision's own quantile, fixed before it is used.
    var slow_above: Double?

    init() {}
    static let fields: [Field<Self>] = [
        .told("name", \.name, "Name."), .told("step", \.step, "Step."), .told("spec", \.spec, "Settings."),
        .told("alpha", \.alpha, "Alpha."), .told("canary", \.canary, "Revision on trial."),
        .told("stable", \.stable, "Stable revision."), .optional("canary_arm", \.canary_arm, "Arm on trial."),
        .optional("stable_arm", \.stable_arm, "Arm that is compared with."),
        .told("started_at", \.started_at, "Begin."),
        .told("next_at", \.next_at, "Next look."), .told("verdict", \.verdict, "Verdict."),
        .told("message", \.message, "Why."), .told("tally", \.tally, "What was found so far."),
        .optional("heeded", \.isHeeded, "Whether a person went on all the same."),
        .optional("test", \.test, "What is compared."), .optional("canary_last", \.canary_last, "Counts last seen."),
        .optional("stable_last", \.stable_last, "Counts last seen."),
        .optional("canary_values", \.canary_values, "Values."), .optional("stable_values", \.stable_values, "Values."),
        .told("looks", \.looks, "Looks."), .told("canary_start", \.canary_start, "Counts at the begin."),
        .told("stable_start", \.stable_start, "Counts at the begin."),
        .told("canary_segment", \.canary_segment, "Counts at the weight's begin."),
        .told("stable_segment", \.stable_segment, "Counts at the weight's begin."),
        .told("evidence_before", \.evidence_before, "Evidence under earlier weights."),
        .told("safety_before", \.safety_before, "Safety under earlier weights."),
        .optional("slow_above", \.slow_above, "Microseconds above which an answer is slow."),
    ]

    var isBackground: Bool { step == Self.background }

    /// Where its numbers come from.
    enum Source { case proxy, query, webhook, job, outcomes }
    var source: Source {
        if test != nil { return .outcomes }
        if spec.job != nil { return .job }
        return spec.query != nil ? .query : spec.webhook != nil ? .webhook : .proxy
    }
    /// Whether somebody outside of the store has to be asked.
    var isExternal: Bool { source == .query || source == .webhook || source == .job }
    /// What is measured, in a word.
    var metric: String {
        switch source {
        case .proxy: (spec.built_in ?? .error_rate).rawValue
        case .query: "query"
        case .webhook: "webhook"
        case .job: "job"
        case .outcomes: test?.outcome ?? "outcome"
        }
    }

    /// What programs see of it.
    var result: MetricResult {
        var result = MetricResult()
        (result.name, result.metric, result.judge) = (name, metric, spec.judge.method)
        result.phase = verdict.phase(hasBegun: !looks.isEmpty)
        (result.message, result.dry_run) = (message, spec.dry_run)
        result.alpha = spec.judge.method == .sequential ? alpha : nil
        (result.count, result.successful, result.failed) = (tally.count, tally.successful, tally.failed)
        (result.inconclusive, result.error) = (tally.inconclusive, tally.error)
        result.consecutive_error = tally.consecutive_error
        result.consecutive_successful = tally.consecutive_successful
        result.measurements = looks
        return result
    }

    /// What people see of it.
    var status: AnalysisStatus {
        var status = AnalysisStatus()
        status.name = name
        status.metric = metric
        status.verdict = verdict
        status.message = message
        status.looks = looks
        return status
    }
}

extension AnalysisRecord {
    static func all(of service: ServiceReference, rollout: Int, in sql: Connection) throws -> [AnalysisRecord] {
        try sql.rows(
            """
            SELECT record FROM delivery_analysis WHERE \(service.rows) AND rollout = \(rollout) ORDER BY position, step
            """
        ).map { try AnalysisRecord(json: JSONParser.parse(try $0.get(0, as: String.self)), at: []) }
    }

    func write(_ service: ServiceReference, rollout: Int, in sql: Connection) throws {
        try sql.run(
            """
            INSERT INTO delivery_analysis (project, service, rollout, step, name, position, record)
            VALUES (\(service.project), \(service.name), \(rollout), \(step), \(name), \(started_at), \(json.text))
            ON CONFLICT (project, service, rollout, step, name) DO UPDATE SET record = excluded.record
            """)
    }
}

extension AnalysisRun {
    /// Metrics of one step, or of the background, are one run.
    static func runs(_ records: [AnalysisRecord]) -> [AnalysisRun] {
        var order: [Int] = []
        for record in records where !order.contains(record.step) { order.append(record.step) }
        return order.map { step in
            let metrics = records.filter { $0.step == step }
            var run = AnalysisRun()
            run.name = step == AnalysisRecord.background ? "background" : "step \(step)"
            run.step = step == AnalysisRecord.background ? nil : step
            run.started_at = metrics.map(\.started_at).min() ?? .zero
            run.metrics = metrics.map(\.result)
            let gates = run.metrics.filter { !$0.dry_run }
            run.phase = MetricAlgebra.worst(gates.map(\.phase))
            run.message = gates.first { $0.phase == run.phase }?.message ?? ""
            for metric in gates {
                run.count += metric.count
                run.successful += metric.successful
                run.failed += metric.failed
                run.inconclusive += metric.inconclusive
                run.error += metric.error
            }
            return run
        }
    }
}
