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
    var started_at = Timestamp.zero
    var next_at = Timestamp.zero
    var verdict = AnalysisStatus.Verdict.running
    var message = ""
    var good = 0
    var bad = 0
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
        .told("stable", \.stable, "Stable revision."), .told("started_at", \.started_at, "Begin."),
        .told("next_at", \.next_at, "Next look."), .told("verdict", \.verdict, "Verdict."),
        .told("message", \.message, "Why."), .told("good", \.good, "Good looks."), .told("bad", \.bad, "Bad looks."),
        .told("looks", \.looks, "Looks."), .told("canary_start", \.canary_start, "Counts at the begin."),
        .told("stable_start", \.stable_start, "Counts at the begin."),
        .told("canary_segment", \.canary_segment, "Counts at the weight's begin."),
        .told("stable_segment", \.stable_segment, "Counts at the weight's begin."),
        .told("evidence_before", \.evidence_before, "Evidence under earlier weights."),
        .told("safety_before", \.safety_before, "Safety under earlier weights."),
        .optional("slow_above", \.slow_above, "Microseconds above which an answer is slow."),
    ]

    var isBackground: Bool { step == Self.background }

    /// What people see of it.
    var status: AnalysisStatus {
        var status = AnalysisStatus()
        status.name = name
        status.metric = spec.built_in.rawValue
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
