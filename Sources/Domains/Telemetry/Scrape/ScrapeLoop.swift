import API
import Kernel
import Logging
import Manifests
import Synchronization

/// Scrapes all targets, each at its own interval, many at once; one target never twice at once.
struct ScrapeLoop: RunnableLoop {
    let house: TelemetryHouse
    let discovery: Discovery
    let scraper: Scraper

    var loopName: String { "telemetry-scrape" }

    private static var tick: Duration { .milliseconds(200) }
    /// How often targets are looked for.
    private static var discoveryInterval: Int64 { 5_000 }
    /// Scrapes at once; those beyond are late.
    private static var width: Int { 50 }

    private struct Job {
        var target: Target
        var memory = Scraper.Memory()
        var due: Int64
    }

    /// All targets, the next ones to be scraped first.
    private struct Jobs {
        var all: [String: Job] = [:]
        private var queue = TimeQueue<String>()

        mutating func add(_ job: Job) {
            all[job.target.id] = job
            queue.insert(job.target.id, at: Timestamp(microseconds: job.due * 1000))
        }

        /// One that is due, at its next moment from now on; nil when none is.
        mutating func next(at now: Int64) -> Job? {
            while let first = queue.first, first.time.microseconds <= now * 1000 {
                queue.removeFirst()
                // Of a target that is gone, or was set up anew.
                guard var job = all[first.key], job.due * 1000 == first.time.microseconds else { continue }
                let interval = job.memory.patience(max(100, job.target.interval.milliseconds))
                // The next moment of its own row; what was missed is not made up for.
                job.due += ((now - job.due) / interval + 1) * interval
                add(job)
                return job
            }
            return nil
        }
    }

    func run() async throws {
        var jobs = Jobs()
        var (looked, known): (Int64, TelemetryPlan?) = (.min, nil)
        var complaints: [String] = []
        let running = Running()
        try await withThrowingDiscardingTaskGroup { tasks in
            while true {
                try Task.checkCancellation()
                let (now, plan) = (house.milliseconds, house.plan)
                if known != plan || now &- Self.discoveryInterval >= looked {
                    (known, looked) = (plan, now)
                    try await discover(plan, &jobs, &complaints, at: now)
                }
                while running.count < Self.width, let job = jobs.next(at: now) {
                    guard running.enter(job.target.id) else { continue }
                    tasks.addTask {
                        defer { running.leave(job.target.id) }
                        try await scrape(job)
                    }
                }
                try await house.time.sleep(for: Self.tick)
            }
        }
    }

    private func scrape(_ job: Job) async throws {
        do {
            try await scraper.scrape(job.target, job.memory)
        } catch is CancellationError {
            throw CancellationError()
        } catch {
            // The next scrape is another chance.
            house.logger.warning(
                "a scrape could not be kept", metadata: ["target": "\(job.target.url)", "error": "\(error)"])
        }
    }

    private func discover(
        _ plan: TelemetryPlan, _ jobs: inout Jobs, _ told: inout [String], at now: Int64
    ) async throws {
        guard let (targets, complaints) = await discovery.news(of: plan) else { return }
        for complaint in complaints where !told.contains(complaint) {
            house.logger.warning("targets could not be found", metadata: ["what": "\(complaint)"])
        }
        told = complaints
        let wanted = Dictionary(targets.map { ($0.id, $0.spec) }) { first, _ in first }
        // One whose rules are others is another one, too.
        for (id, job) in jobs.all where wanted[id] != job.target.spec {
            jobs.all[id] = nil
            do { try await scraper.end(job.target, job.memory) } catch is CancellationError {
                throw CancellationError()
            } catch {
                house.logger.warning("the end of a target could not be kept", metadata: ["error": "\(error)"])
            }
        }
        for target in targets where jobs.all[target.id] == nil {
            jobs.add(Job(target: target, due: Self.first(target, after: now)))
        }
        house.targets.keep(targets)
    }

    /// Its first moment: targets are spread over the interval by their ids, the own one waits a whole interval.
    private static func first(_ target: Target, after now: Int64) -> Int64 {
        let interval = max(100, target.interval.milliseconds)
        if target.way == .own { return now + interval }
        let hash = target.id.utf8.reduce(UInt64(14_695_981_039_346_656_037)) { ($0 ^ UInt64($1)) &* 1_099_511_628_211 }
        return now + Int64(hash % UInt64(min(interval, 5_000)))
    }
}

/// Which targets are being scraped.
private final class Running: Sendable {
    private let ids = Mutex<Set<String>>([])
    var count: Int { ids.withLock { $0.count } }
    func enter(_ id: String) -> Bool { ids.withLock { $0.insert(id).inserted } }
    func leave(_ id: String) { ids.withLock { _ = $0.remove(id) } }
}
