import API
import Manifests

/// What waits over all runs: for a runner, a gate, a place in a lane or a time; oldest first.
struct QueuePage: PageBody {
    static let template = "queue"
    static let section = Section.queue
    static let lead: String? =
        "What could go on and has to wait, and why; oldest first."

    struct Row: Sendable {
        let href: String
        let job: String
        let run: Link
        let status: Badge
        let reason: String
        let needs: String
        let waits: Elapsed?
    }
    let note: String
    let table: Rows<Row>?
    let empty: EmptyState?
    let cut: String?

    /// Runs of each status that are looked at, and rows that are shown.
    static let limit = 200

    /// `isWhole` tells whether these are all runs that have not ended.
    init(_ runs: [Run], isWhole: Bool, now: Double) {
        var found: [(since: Double, row: Row)] = []
        var behind = 0
        for run in runs {
            let needs = JobNeeds(run.jobs)
            for job in run.jobs {
                guard job.waits else {
                    behind += job.status == .queued ? 1 : 0
                    continue
                }
                let since = needs.ready(job) ?? run.created_at.seconds
                found.append((since, Self.row(job, of: run, since: since, now: now)))
            }
        }
        let all = found.sorted { $0.since < $1.since }
        let ready = runs.reduce(0) { $0 + $1.jobs.count { $0.runs_on != nil } }
        note =
            "\(ready) for a runner, \(all.count - ready) for a gate, a turn or a time"
            + (behind == 0 ? "" : "; \(Format.plural(behind, "more job")) behind others of their run")
        table = Rows(all.prefix(Self.limit).map(\.row))
        cut =
            isWhole && all.count <= Self.limit
            ? nil : "There is more: these are \(Self.limit) at most, of the newest \(Self.limit) runs of each status."
        empty =
            !all.isEmpty
            ? nil
            : EmptyState(
                icon: "ok", title: "Nothing waits", text: "Every job that could run has a runner.",
                commands: ["vagus run PIPELINE --follow"])
    }

    private static func row(_ job: Job, of run: Run, since: Double, now: Double) -> Row {
        Row(
            href: Links.run(run.id, job: job.key) + "#bench", job: RunWords.job(job),
            run: Link("\(run.pipeline) #\(run.number)", Links.run(run.id)), status: Badge(status: job.status.rawValue),
            reason: job.reason ?? "waits for a runner", needs: job.runs_on.map(words) ?? "",
            waits: Elapsed(from: since, to: nil, now: now))
    }

    /// "gpu, linux · podman · 4 cpu, 8Gi".
    private static func words(_ wanted: RunsOn) -> String {
        let size = [wanted.cpu.map { "\($0) cpu" }, wanted.memory.map { Format.memory($0.bytes) }].compactMap { $0 }
        let parts = [
            wanted.labels.joined(separator: ", "), wanted.executor?.rawValue ?? "", size.joined(separator: ", "),
        ]
        return parts.filter { !$0.isEmpty }.joined(separator: " · ")
    }
}

extension Job {
    /// Held back by a gate, a lane or a time, or ready and without a runner; not: behind other jobs of its run.
    var waits: Bool { status == .waiting || status == .queued && runs_on != nil }
}

extension Visitor {
    func queue() async throws -> WebResponse {
        try await render {
            async let running = runs(.running)
            async let waiting = runs(.waiting)
            async let queued = runs(.queued)
            let lists = [try await running, try await waiting, try await queued]
            return QueuePage(lists.flatMap(\.items), isWhole: lists.allSatisfy { $0.next == nil }, now: now)
        }
    }

    private func runs(_ status: RunStatus) async throws -> ItemList<Run> {
        var query = RunQuery()
        (query.project, query.status, query.limit) = (project, status, QueuePage.limit)
        query.jobs = true
        return try await ask(Runs.list, query)
    }
}
