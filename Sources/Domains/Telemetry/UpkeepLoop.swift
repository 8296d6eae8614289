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

    private static let minute = 60
    private static let retention = 10 * minute

    func run() async throws {
        var seconds = 0
        while true {
            try await house.time.sleep(for: .seconds(1))
            seconds += 1
            let (isMinute, isRetention) = (seconds % Self.minute == 0, seconds % Self.retention == 0)
            do {
                try await house.keepers.run {
                    try sync()
                    if isMinute { try tidy(isRetention: isRetention) }
                }
            } catch is CancellationError {
                throw CancellationError()
            } catch let problem as Problem where problem.status == 429 {
                // A compaction takes its time; the next second comes.
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
