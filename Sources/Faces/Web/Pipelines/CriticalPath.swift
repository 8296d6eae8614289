import API
import Manifests

/// Which jobs a job waits for, by the names under which it needs them: a stage, a job, or all cells of a matrix.
struct JobNeeds: Sendable {
    private let jobs: [Job]
    /// Positions of the jobs that a name stands for.
    private let named: [String: [Int]]

    init(_ jobs: [Job]) {
        self.jobs = jobs
        var named: [String: [Int]] = [:]
        for (index, job) in jobs.enumerated() {
            named[job.stage, default: []].append(index)
            named[job.key, default: []].append(index)
            // A cell of a matrix is called BASE.N.
            if let dot = job.name.lastIndex(of: "."), !job.matrix.isEmpty {
                named["\(job.stage)/\(job.name[..<dot])", default: []].append(index)
            }
        }
        self.named = named
    }

    /// When a job could have begun, in seconds since 1970: when it was ready, or the last that it needs had ended.
    func ready(_ job: Job) -> Double? {
        if let at = job.ready_at { return at.seconds }
        return job.needs.flatMap { named[$0] ?? [] }.compactMap { jobs[$0].finished_at?.seconds }.max()
    }

    /// The longest chain of jobs that had to come one after the other, by the time they took; first job first.
    ///
    /// Jobs that have not begun take no time and are left out, as are needs in a circle; a job that runs counts up to
    /// `now`, in seconds since 1970.
    func criticalPath(now: Double) -> [Job] {
        // A name that is needed is a node of its own: a stage of 500 jobs that needs one of 500 has 1,000 edges then,
        // not 250,000.
        let names = Set(jobs.flatMap(\.needs)).filter { named[$0] != nil }.sorted()
        var after = [[Int]](repeating: [], count: jobs.count + names.count)
        var open = [Int](repeating: 0, count: after.count)
        func add(_ first: Int, _ then: Int) {
            after[first].append(then)
            open[then] += 1
        }
        for (position, name) in names.enumerated() {
            for member in named[name] ?? [] { add(member, jobs.count + position) }
        }
        let node = Dictionary(names.enumerated().map { ($1, jobs.count + $0) }, uniquingKeysWith: { first, _ in first })
        for (index, job) in jobs.enumerated() {
            for need in Set(job.needs) { if let name = node[need] { add(name, index) } }
        }
        var longest = [Double](repeating: 0, count: after.count)
        var before = [Int?](repeating: nil, count: after.count)
        var ready = after.indices.filter { open[$0] == 0 }
        var done: [Int] = []
        while let next = ready.popLast() {
            if next < jobs.count {
                longest[next] += Self.seconds(jobs[next], now)
                done.append(next)
            }
            for follower in after[next] {
                if longest[next] > longest[follower] { (longest[follower], before[follower]) = (longest[next], next) }
                open[follower] -= 1
                if open[follower] == 0 { ready.append(follower) }
            }
        }
        var path: [Job] = []
        // Of equals the first in the order of the run, so that the answer does not change between two looks.
        var place = done.max { (longest[$0], -$0) < (longest[$1], -$1) }
        while let at = place {
            if at < jobs.count, jobs[at].started_at != nil { path.append(jobs[at]) }
            place = before[at]
        }
        return path.reversed()
    }

    static func seconds(_ job: Job, _ now: Double) -> Double {
        guard let start = job.started_at?.seconds else { return 0 }
        return max(0, (job.finished_at?.seconds ?? now) - start)
    }
}

/// The critical path of a run in words.
struct PathView: Sendable {
    struct Part: Sendable {
        let text: String
        let href: String
        let note: String
    }
    let note: String
    let parts: [Part]

    /// Nil when fewer than two jobs followed one another: then there is nothing to tell.
    init?(_ path: [Job], of run: Run, now: Double) {
        guard path.count > 1, let start = run.started_at?.seconds else { return nil }
        let whole = max(0.001, (run.finished_at?.seconds ?? now) - start)
        func share(_ seconds: Double) -> String { "\(Int((seconds / whole * 100).rounded())) %" }
        let sum = path.reduce(0) { $0 + JobNeeds.seconds($1, now) }
        note = "\(Format.duration(sum)), \(share(sum)) of the time since the first job began"
        parts = path.map { job in
            let seconds = JobNeeds.seconds(job, now)
            return Part(
                text: RunWords.job(job), href: Links.run(run.id, job: job.key) + "#bench",
                note: "\(Format.duration(seconds)), \(share(seconds))")
        }
    }
}
