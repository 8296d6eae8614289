import API
import Blobs
import Expressions
import Manifests
import Synchronization

/// The pipeline of a run, frozen and prepared for deciding: needs resolved, conditions parsed, the stages of pipelines that
/// it uses laid in as `stage.inner`. Never changes, and is shared by all runs of the same text.
final class RunPlan: Sendable {
    /// With the stages of used pipelines in it.
    let spec: PipelineSpec
    let calls: [Call]
    let stages: [Stage]
    let scopes: [Scope]
    /// How many jobs there are, cells of matrices not counted.
    let jobCount: Int
    /// Whether any part of it takes places in lanes.
    let hasLanes: Bool
    /// Environments that it works in.
    let environments: Set<String>
    /// Whether any of it says how many jobs may run at once.
    let hasParallelLimits: Bool
    private let index: [String: Int]
    /// By the stage's number: those of its jobs.
    private let numbers: [Range<Int>]
    private let places: [Place: (stage: Int, job: Int)]

    /// What a job is called in the spec.
    private struct Place: Hashable {
        var stage: String
        var job: String
    }

    /// A pipeline that a stage uses.
    struct Call: Sendable, Equatable {
        /// Name of the stage in the run.
        var stage: String
        var pipeline: String
        var digest: String
        var spec: PipelineSpec
    }

    /// The run itself, or a pipeline that one of its stages uses.
    struct Scope: Sendable {
        /// The stage that uses it; nil for the run itself.
        var caller: Int?
        /// Begins the names of its stages: "" or "deploy.".
        var prefix: String
        /// Its stages but those that run at the end.
        var stages: [Int] = []
        var finally: [Int] = []
        var spec: PipelineSpec
    }

    struct Stage: Sendable {
        var name: String
        var spec: StageSpec
        var scope: Int
        var isFinally: Bool
        var needs: [Need]
        /// Numbers of the stages that these are in.
        var needed: [Int] = []
        var condition: Condition?
        var jobs: [Job]
        /// The scope of the pipeline that it uses.
        var called: Int?
    }

    struct Job: Sendable {
        var name: String
        /// Its number among all jobs of the plan.
        var number: Int
        var spec: JobSpec
        /// What it waits for besides its stage's needs.
        var needs: [Need]
        var condition: Condition?
        /// Its steps hold no expressions.
        var isPlain: Bool
    }

    /// An `if`, parsed; what cannot be parsed is told where it is evaluated.
    struct Condition: Sendable {
        var text: String
        var expression: Result<Expression, ExpressionError>
        var usesStatus: Bool { (try? expression.get().usesStatus) ?? false }  // told when evaluated

        init?(_ text: String?) {
            guard let text else { return nil }
            let bare = Resolver.bareCondition(text)
            self.text = bare
            do throws(ExpressionError) { expression = .success(try Expression(parsing: bare)) } catch {
                expression = .failure(error)
            }
        }
    }

    init(_ outer: PipelineSpec, calls: [Call] = []) throws(ManifestError) {
        var builder = Builder(calls: Dictionary(calls.map { ($0.stage, $0) }, uniquingKeysWith: { first, _ in first }))
        try builder.add(outer, prefix: "", caller: nil)
        self.calls = calls
        let numbers = Dictionary(
            builder.stages.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
        for position in builder.stages.indices {
            // Of a need for one job the stage says too little.
            let whole = builder.stages[position].needs.filter { $0.job == nil }
            builder.stages[position].needed = whole.compactMap { numbers[$0.stage] }
        }
        (stages, scopes, jobCount, index) = (builder.stages, builder.scopes, builder.jobCount, numbers)
        var places: [Place: (stage: Int, job: Int)] = [:]
        places.reserveCapacity(jobCount)
        for (stage, each) in stages.enumerated() {
            for (job, name) in each.jobs.map(\.name).enumerated() {
                places[Place(stage: each.name, job: name)] = (stage, job)
            }
        }
        self.places = places
        self.numbers = stages.map { stage in
            let first = stage.jobs.first?.number ?? 0
            return first..<(first + stage.jobs.count)
        }
        hasParallelLimits = stages.contains { stage in
            stage.spec.max_parallel != nil || stage.jobs.contains { $0.spec.max_parallel != nil }
        }
        var flat = outer
        flat.stages = stages.filter { !$0.isFinally }.map(\.spec)
        flat.finally = stages.filter(\.isFinally).map(\.spec)
        spec = flat
        environments = Set(
            stages.flatMap { stage in [stage.spec.environment] + stage.jobs.map(\.spec.environment) }.compactMap { $0 })
        hasLanes =
            outer.concurrency != nil || !environments.isEmpty
            || stages.contains { stage in
                stage.spec.concurrency != nil || stage.jobs.contains { $0.spec.concurrency != nil }
            }
    }

    subscript(name: String) -> Int? { index[name] }

    /// Numbers of the jobs of a stage, cells of matrices not counted.
    func numbers(of stage: Int) -> Range<Int> { numbers[stage] }

    /// Where the job of that name, or of that base name when it is a cell, stands.
    func place(of key: JobKey) -> RunLayout.Place? {
        guard let place = places[Place(stage: key.stage, job: StoredJob.base(of: key.job))] else { return nil }
        return .init(stage: place.stage, index: place.job, number: numbers[place.stage].lowerBound + place.job)
    }

    /// The stage and the job of that name, or of that base name when it is a cell.
    func find(_ key: JobKey) -> (stage: Int, job: Job)? {
        guard let place = places[Place(stage: key.stage, job: StoredJob.base(of: key.job))] else { return nil }
        return (place.stage, stages[place.stage].jobs[place.job])
    }

    /// The pipeline that a job belongs to: the run's own, or one that a stage uses.
    func spec(around key: JobKey) -> PipelineSpec { scopes[find(key).map { stages[$0.stage].scope } ?? 0].spec }

    /// The numbers of the jobs that a need means.
    func jobs(of need: Need) -> ArraySlice<Job> {
        guard let stage = index[need.stage] else { return [] }
        guard let job = need.job else { return stages[stage].jobs[...] }
        return places[Place(stage: need.stage, job: job)].map { stages[stage].jobs[$0.job...$0.job] } ?? []
    }

    /// Whether the stage, or one around it, has a time limit of its own.
    func hasTimeLimit(_ stage: Int) -> Bool {
        if stages[stage].spec.timeout != nil { return true }
        return scopes[stages[stage].scope].caller.map(hasTimeLimit) ?? false
    }

    /// Limits that hold around a stage: its own, and those of the stages that use its pipeline.
    func chain(of stage: Int) -> [Int] {
        var chain = [stage]
        while let last = chain.last, let caller = scopes[stages[last].scope].caller { chain.append(caller) }
        return chain
    }

    private struct Builder {
        let calls: [String: Call]
        var stages: [Stage] = []
        var scopes: [Scope] = []
        var jobCount = 0

        mutating func add(_ spec: PipelineSpec, prefix: String, caller: Int?) throws(ManifestError) {
            let graph = try PipelineGraph(spec)
            let scope = scopes.count
            scopes.append(Scope(caller: caller, prefix: prefix, spec: spec))
            var inner: [(stage: Int, call: Call)] = []
            for position in graph.stages.indices {
                var stageSpec = graph.stages[position]
                stageSpec.name = prefix + stageSpec.name
                func outer(_ needs: [Need]) -> [Need] {
                    needs.map { need in
                        var need = need
                        need.stage = prefix + need.stage
                        return need
                    }
                }
                var jobs: [Job] = []
                for (name, job) in graph.allJobs(of: position) {
                    jobs.append(
                        Job(
                            name: name, number: jobCount, spec: job,
                            needs: outer(graph.jobNeeds[position][name] ?? []), condition: Condition(job.if),
                            isPlain: !job.steps.json.text.contains("${{")))
                    jobCount += 1
                }
                let number = stages.count
                stages.append(
                    Stage(
                        name: stageSpec.name, spec: stageSpec, scope: scope, isFinally: graph.isFinally(position),
                        needs: outer(graph.stageNeeds[position]), condition: Condition(stageSpec.if), jobs: jobs))
                if graph.isFinally(position) {
                    scopes[scope].finally.append(number)
                } else {
                    scopes[scope].stages.append(number)
                }
                if let call = calls[stageSpec.name] { inner.append((number, call)) }
            }
            for (stage, call) in inner {
                stages[stage].called = scopes.count
                try add(call.spec, prefix: stages[stage].name + ".", caller: stage)
            }
        }
    }
}

/// Prepared pipelines by the digest of their text, so that a look at a run does not read its pipeline again.
final class PlanShelf: Sendable {
    /// Prepared pipelines that are kept.
    static let limit = 64
    static let shared = PlanShelf()
    private let plans = Mutex<(byDigest: [String: RunPlan], order: [String])>(([:], []))

    subscript(digest: String) -> RunPlan? { plans.withLock { $0.byDigest[digest] } }

    func keep(_ plan: RunPlan, as digest: String) {
        plans.withLock { plans in
            guard plans.byDigest.updateValue(plan, forKey: digest) == nil else { return }
            plans.order.append(digest)
            if plans.order.count > Self.limit { plans.byDigest[plans.order.removeFirst()] = nil }
        }
    }
}

extension PipelineSpec {
    /// SHA-256 of its canonical text.
    var digest: String { Digest(of: json.bytes).text }
}
