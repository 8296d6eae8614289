import API
import Manifests

/// Everything that a decision about a run may look at.
struct RunState: Sendable {
    var stored: StoredRun { didSet { stand() } }
    var jobs: [StoredJob] { didSet { stand() } }
    var gates: GateFacts
    var lanes: LaneFacts
    /// When this server began: a lease cannot have been renewed while there was nobody to renew it with.
    var bornAt: Timestamp
    /// How its stages stand.
    private(set) var standing: Standing

    init(
        stored: StoredRun, jobs: [StoredJob], layout: RunLayout? = nil, gates: GateFacts = GateFacts(),
        lanes: LaneFacts = LaneFacts(), bornAt: Timestamp
    ) {
        (self.stored, self.jobs, self.gates, self.lanes) = (stored, jobs, gates, lanes)
        self.bornAt = bornAt
        standing = Standing(stored.plan, jobs, layout ?? RunLayout(stored.plan, jobs))
    }

    private mutating func stand() { standing = Standing(stored.plan, jobs, RunLayout(stored.plan, jobs)) }

    func isOpen(_ need: Need) -> Bool { !outcome(of: need).hasEnded }

    /// How what is needed stands, by the jobs that are meant.
    func outcome(of need: Need) -> Outcome {
        if need.job == nil { return stored.plan[need.stage].map { standing.stages[$0] } ?? Outcome(result: .running) }
        let all = stored.plan.jobs(of: need).flatMap { standing.cells[$0.number] }
        guard !need.matrix.isEmpty else { return Outcome(of: all, in: jobs) }
        // As long as its cells are not laid down, a matrix is one job that has not ended.
        let found = all.filter { jobs[$0].job.matrix.matches(need.matrix) }
        if found.isEmpty, all.contains(where: { !jobs[$0].job.status.hasEnded && jobs[$0].job.matrix.isEmpty }) {
            return Outcome(result: .running)
        }
        return found.isEmpty ? Outcome(result: .skipped) : Outcome(of: found, in: jobs)
    }

    /// The jobs that a need means.
    func jobs(of need: Need) -> [StoredJob] {
        stored.plan.jobs(of: need).flatMap { standing.cells[$0.number] }.map { jobs[$0] }
            .filter { need.matrix.isEmpty || $0.job.matrix.matches(need.matrix) }
    }
}

/// How a stage, or what else can be needed, stands.
struct Outcome: Sendable, Equatable {
    /// `running` as long as it has not ended.
    var result: RunStatus
    /// Position of the job that decided, among the jobs of the run.
    var culprit: Int?
    var hasEnded: Bool { result.hasEnded }

    init(result: RunStatus) { self.result = result }

    /// Failed when one has failed that must not; else superseded or cancelled when one was; else skipped when all were.
    init(of positions: some Sequence<Int>, in jobs: [StoredJob]) {
        result = .skipped
        for position in positions {
            let status = jobs[position].job.status
            guard status.hasEnded else {
                (result, culprit) = (.running, nil)
                return
            }
            let told: RunStatus = status == .failed && jobs[position].isForgiven ? .succeeded : status
            if Self.weight(told) > Self.weight(result) { (result, culprit) = (told, position) }
        }
    }

    private static func weight(_ status: RunStatus) -> Int {
        switch status {
        case .failed: 4
        case .superseded: 3
        case .cancelled: 2
        case .succeeded: 1
        default: 0
        }
    }

    var words: String {
        switch result {
        case .failed: "failed"
        case .skipped: "was skipped"
        case .cancelled: "was cancelled"
        case .superseded: "was superseded"
        default: "did not succeed"
        }
    }
}

/// Where the jobs of a run stand in its plan: what does not change while they go on.
final class RunLayout: Sendable {
    /// A job's place: number of its stage, its index there, its number among all jobs.
    struct Place: Sendable {
        var stage: Int
        var index: Int
        var number: Int
    }
    /// By the job's position; nil for one that the plan does not know.
    let places: [Place?]
    /// Positions of the job's rows, by the job's number: one, or the cells of its matrix.
    let cells: [[Int]]
    /// Positions by the jobs' keys, "stage/job".
    let positions: [String: Int]

    init(_ plan: RunPlan, _ jobs: [StoredJob]) {
        var cells = Array(repeating: [Int](), count: plan.jobCount)
        places = jobs.indices.map { position in
            guard let place = plan.place(of: jobs[position].key) else { return nil }
            cells[place.number].append(position)
            return place
        }
        self.cells = cells
        positions = Dictionary(jobs.indices.map { (jobs[$0].job.key, $0) }, uniquingKeysWith: { first, _ in first })
    }
}

/// How the stages of a run stand, by what its jobs have come to.
struct Standing: Sendable {
    let layout: RunLayout
    /// By the stage's number.
    private(set) var stages: [Outcome] = []
    /// When the first job of a stage began, by the stage's number.
    private(set) var begun: [Timestamp?]
    /// Positions of jobs that wait for a runner, and of those that the server itself has begun.
    private(set) var waiting: [Int] = []
    private(set) var served: [Int] = []
    var cells: [[Int]] { layout.cells }

    init(_ plan: RunPlan, _ jobs: [StoredJob], _ layout: RunLayout) {
        self.layout = layout
        begun = Array(repeating: nil, count: plan.stages.count)
        // By their positions and by what they store: to copy a job, as whoever asks it something does, costs more than to look.
        for position in jobs.indices {
            switch jobs[position].job.status {
            case .queued where jobs[position].readyAt != nil:
                if !jobs[position].isOnServer { waiting.append(position) }
            case .running: if jobs[position].isOnServer { served.append(position) }
            default: break
            }
            guard let start = jobs[position].job.started_at, let place = layout.places[position] else { continue }
            begun[place.stage] = min(start, begun[place.stage] ?? start)
        }
        stages.reserveCapacity(plan.stages.count)
        for stage in plan.stages.indices {
            let positions = plan.numbers(of: stage).lazy.flatMap { layout.cells[$0] }
            stages.append(Outcome(of: positions, in: jobs))
        }
    }
}
