import API
import Kernel
import Manifests
import SQL

/// Which runner may take which job, and why none may; pure.
enum Placement {
    /// A runner that was not heard of for so long is not counted on.
    static let absence: Duration = .seconds(90)
    /// How often the reason of a waiting job is looked at again.
    static let retelling: Duration = .seconds(30)

    /// What a job asks of a runner.
    struct Demand: Sendable, Equatable {
        var labels: [String] = []
        var executors: [ExecutorKind] = [.process]
        /// Processors; 0 when the job does not say.
        var cpu = 0.0
        /// Bytes; 0 when the job does not say.
        var memory: Int64 = 0
    }

    /// What a runner has, and what of it is taken.
    struct Offer: Sendable, Equatable {
        var labels: [String] = []
        var executors: [ExecutorKind] = [.process]
        /// Nil: not told, taken as enough.
        var cpu: Double?
        var memory: Int64?
        var takenCPU = 0.0
        var takenMemory: Int64 = 0

        /// Whether the job could run here if nothing else did.
        func suits(_ demand: Demand) -> Bool {
            demand.labels.allSatisfy(labels.contains) && demand.executors.allSatisfy(executors.contains)
                && demand.cpu <= (cpu ?? .infinity) && demand.memory <= (memory ?? .max)
        }

        /// Whether the job can run here now.
        func hasRoom(for demand: Demand) -> Bool {
            suits(demand) && fits(demand.cpu, cpu, taken: takenCPU) && fits(demand.memory, memory, taken: takenMemory)
        }

        /// Who asks for nothing always fits.
        private func fits<Number: Numeric & Comparable>(_ wanted: Number, _ all: Number?, taken: Number) -> Bool {
            guard wanted > .zero, let all else { return true }
            return wanted <= all - taken
        }
    }

    /// Why a job still waits, given the runners that were heard of lately.
    static func reason(_ demand: Demand, _ offers: [Offer]) -> String {
        guard !offers.isEmpty else { return "waits for a runner: none is connected" }
        let labelled = offers.filter { offer in demand.labels.allSatisfy(offer.labels.contains) }
        let named = "\(demand.labels.count == 1 ? "label" : "labels") \(demand.labels.joined(separator: ", "))"
        guard !labelled.isEmpty else { return "no runner has the \(named)" }
        let who = demand.labels.isEmpty ? "runner" : "runner with the \(named)"
        let able = labelled.filter { offer in demand.executors.allSatisfy(offer.executors.contains) }
        guard !able.isEmpty else {
            let offered = labelled.flatMap(\.executors)
            let missing = demand.executors.first { !offered.contains($0) }
            let words = missing?.rawValue ?? demand.executors.map(\.rawValue).joined(separator: " and ")
            return "no \(who) offers executor \(words)"
        }
        if !able.contains(where: { demand.cpu <= $0.cpu ?? .infinity }) {
            let most = CPUAmount(able.compactMap(\.cpu).max() ?? 0)
            return "needs \(CPUAmount(demand.cpu)) cpu, the largest \(who) has \(most)"
        }
        if !able.contains(where: { demand.memory <= $0.memory ?? .max }) {
            let most = ByteSize(bytes: able.compactMap(\.memory).max() ?? 0)
            return "needs \(ByteSize(bytes: demand.memory)) of memory, the largest \(who) has \(rounded(most))"
        }
        let suited = able.filter { $0.suits(demand) }
        guard !suited.isEmpty else { return "no single \(who) has both the cpu and the memory it needs" }
        guard suited.contains(where: { $0.hasRoom(for: demand) }) else {
            return "waits for a runner: what it needs of cpu or memory is taken by other jobs"
        }
        return "waits for a runner"
    }

    /// Whole mebibytes: the memory of a machine is an odd number.
    private static func rounded(_ size: ByteSize) -> ByteSize {
        size.bytes < 1 << 20 ? size : ByteSize(bytes: (size.bytes >> 20) << 20)
    }
}

extension StoredJob {
    /// It is ready, and not the server's own.
    var waitsForRunner: Bool { job.status == .queued && readyAt != nil && !isOnServer }

    /// What the queue shows of it.
    mutating func tellPlacement() {
        guard waitsForRunner else { return }
        job.ready_at = readyAt
        var asked = RunsOn()
        (asked.labels, asked.executor) = (labels, execution?.executor)
        (asked.cpu, asked.memory) = (execution?.cpu, execution?.memory)
        job.runs_on = asked
    }

    var demand: Placement.Demand {
        Placement.Demand(
            labels: labels, executors: execution?.executors ?? [.process], cpu: execution?.cpu?.cpus ?? 0,
            memory: execution?.memory?.bytes ?? 0)
    }
}

extension Row {
    /// What a runner told of itself beside its labels; one of an older version told nothing.
    func offer() throws -> ([ExecutorKind], CPUAmount?, ByteSize?) {
        let executors = try maybeJSON("executors").map { try [ExecutorKind](json: $0, at: ["executors"]) }
        return (
            executors ?? [.process], try get("cpu", as: Double?.self).map(CPUAmount.init),
            try get("memory", as: Int64?.self).map(ByteSize.init(bytes:))
        )
    }
}

extension Connection {
    /// Those of the ready jobs that a runner can take now.
    func placeable(_ jobs: [StoredJob], on runner: String) throws -> [StoredJob] {
        guard let row = try row("SELECT * FROM pipelines_runner WHERE name = \(runner)") else { return [] }
        let offer = try offer(row)
        return jobs.filter { offer.hasRoom(for: $0.demand) }
    }

    private func offer(_ row: Row) throws -> Placement.Offer {
        let (executors, cpu, memory) = try row.offer()
        var offer = Placement.Offer(
            labels: try row.words("labels"), executors: executors, cpu: cpu?.cpus, memory: memory?.bytes)
        // Who told no figures cannot be full.
        guard cpu != nil || memory != nil else { return offer }
        let name: String = try row.get("name")
        try each(
            """
            SELECT execution FROM pipelines_job WHERE status = 'running' AND on_server = 0 AND runner = \(name)
                AND (execution LIKE '%"cpu"%' OR execution LIKE '%"memory"%')
            """
        ) { held in
            let execution: ExecutionSpec = try held.value("execution")
            offer.takenCPU += execution.cpu?.cpus ?? 0
            offer.takenMemory += execution.memory?.bytes ?? 0
        }
        return offer
    }

    /// The runners that were heard of lately.
    func offers(at now: Timestamp) throws -> [Placement.Offer] {
        let since = now.advanced(by: .zero - Placement.absence).microseconds
        return try rows("SELECT * FROM pipelines_runner WHERE seen_at >= \(since) ORDER BY name").map(offer)
    }
}

extension RunReconciler {
    /// Tells again why ready jobs still wait, as runners come and go; when to look once more, if any does.
    func retellPlacement(of state: RunState) async throws -> Duration? {
        guard !state.standing.waiting.isEmpty else { return nil }
        let now = context.time.now
        guard memory.mayTell(state.stored.run.id, at: now) else { return .seconds(1) }
        let waiting = state.standing.waiting.map { state.jobs[$0] }
        let offers = try await context.store.read { try $0.offers(at: now) }
        // A job that is tried again says so until it is clear that it cannot be placed.
        // Most jobs ask for the same.
        var last: (demand: Placement.Demand, reason: String)?
        func reason(for job: StoredJob) -> String {
            let demand = job.demand
            if let last, last.demand == demand { return last.reason }
            let reason = Placement.reason(demand, offers)
            last = (demand, reason)
            return reason
        }
        let changed = waiting.map { ($0, reason(for: $0)) }.filter { job, reason in
            job.job.reason != reason && !(reason == "waits for a runner" && job.retries + job.losses > 0)
        }
        guard !changed.isEmpty else { return Placement.retelling }
        try await context.store.change(.system("pipelines", correlation: state.stored.run.id)) { change in
            for (seen, reason) in changed {
                guard var job = try change.sql.job(seen.key), job.waitsForRunner, job.epoch == seen.epoch else {
                    continue
                }
                job.job.reason = reason
                try change.update(job)
            }
        }
        return Placement.retelling
    }
}

extension OrderMaker {
    /// The labels that a job's runner must have, when the pipeline writes them as expressions.
    func labels(of job: StoredJob, in state: RunState) throws -> [String]? {
        guard let labels = job.spec(in: state.stored.spec)?.runs_on.labels,
            labels.contains(where: { $0.contains("${{") })
        else { return nil }
        let resolver = Resolver(context: Contexts.run(state, job: job), leavesSteps: false)
        return try labels.map(resolver.render).filter { !$0.isEmpty }
    }

    /// Where and within which bounds a job runs, its expressions resolved; those of secrets are left for the runner.
    func execution(of job: StoredJob, in state: RunState) throws -> ExecutionSpec {
        guard let (_, spec) = state.stored.plan.find(job.key) else { return ExecutionSpec() }
        let execution = ExecutionSpec(of: spec.spec)
        guard execution.json.text.contains("${{") else { return execution }
        let resolver = Resolver(context: Contexts.run(state, job: job))
        do {
            return try ExecutionSpec(json: try resolver.resolve(execution.json), at: [])
        } catch let error as ManifestError {
            throw Problem(error)
        }
    }
}
