import API
import Kernel
import LogStore
import Logging
import Manifests
import Segments
import SpanStore
import TSDB

/// What time asks of the stores: syncs every second, segments and blocks every minute, retention every ten.
struct UpkeepLoop: RunnableLoop {
    let house: TelemetryHouse

    var loopName: String { "telemetry-upkeep" }

    private static let second: Duration = .seconds(1)
    private static let minute: Duration = .seconds(60)
    /// Minutes between two looks for what is too old.
    private static let retention = 10

    func run() async throws {
        // Apart, so that a compaction of a minute does not hold back the sync of each second.
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await every(Self.second, house.writers) { _ in try sync() } }
            tasks.addTask {
                try await every(Self.minute, house.keepers) { try tidy(isRetention: $0 % Self.retention == 0) }
            }
            try await tasks.waitForAll()
        }
    }

    private func every(
        _ interval: Duration, _ pool: WorkPool, _ body: @escaping @Sendable (_ round: Int) throws -> Void
    ) async throws {
        var round = 0
        while true {
            try await house.time.sleep(for: interval)
            round += 1
            let now = round
            do {
                try await pool.run { try body(now) }
            } catch is CancellationError {
                throw CancellationError()
            } catch let problem as Problem where problem.status == 429 {
                // Too much to do: the next round comes.
            } catch {
                house.logger.error("the stores of telemetry could not be kept up", metadata: ["error": "\(error)"])
                house.context.instruments.count("vagus_telemetry_upkeep_failures_total")
            }
        }
    }

    /// Blocks.
    func sync() throws {
        try house.metrics.use { try $0.sync() }
        try house.logs.sync()
        try house.spans.sync()
    }

    /// Blocks.
    func tidy(isRetention: Bool) throws {
        let plan = house.plan
        let done = try house.metrics.use { try $0.compact() }
        if done.cut > 0 || done.merged > 0 {
            house.logger.info(
                "blocks of metrics were written", metadata: ["cut": "\(done.cut)", "merged": "\(done.merged)"])
        }
        if isRetention { _ = try house.metrics.use { try $0.applyRetention(now: house.milliseconds) } }
        var retention = LogRetention()
        retention.keep = plan.logRetention.nanoseconds
        try house.logs.maintain(retention, now: house.nanoseconds)
        try house.spans.maintain(
            keep: plan.spanRetention.nanoseconds, bytes: nil, now: house.nanoseconds)
    }
}
