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

    func run() async throws {
        var jobs: [String: Job] = [:]
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
                for (id, job) in jobs where job.due <= now && running.count < Self.width {
                    let interval = max(100, job.target.interval.milliseconds)
                    // The next moment of its own row; what was missed is not made up for.
                    jobs[id]?.due = job.due + ((now - job.due) / interval + 1) * interval
                    guard running.enter(id) else { continue }
                    tasks.addTask {
                        defer { running.leave(id) }
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
        _ plan: TelemetryPlan, _ jobs: inout [String: Job], _ told: inout [String], at now: Int64
    ) async throws {
        let (targets, complaints) = await discovery.targets(of: plan)
        for complaint in complaints where !told.contains(complaint) {
            house.logger.warning("targets could not be found", metadata: ["what": "\(complaint)"])
        }
        told = complaints
        let wanted = Set(targets.map(\.id))
        for (id, job) in jobs where !wanted.contains(id) {
            jobs[id] = nil
            do { try await scraper.end(job.target, job.memory) } catch is CancellationError {
                throw CancellationError()
            } catch {
                house.logger.warning("the end of a target could not be kept", metadata: ["error": "\(error)"])
            }
        }
        for target in targets where jobs[target.id] == nil {
            jobs[target.id] = Job(target: target, due: Self.first(target, after: now))
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
