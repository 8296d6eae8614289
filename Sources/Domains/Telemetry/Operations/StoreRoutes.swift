import API
import Kernel
import LogStore
import Manifests
import PromQL
import Series
import SpanStore
import TSDB

/// Our own operations on the stores.
struct StoreRoutes: Sendable {
    let house: TelemetryHouse

    func add(to routes: inout Routes) {
        routes.on(Telemetry.status) { input, call in
            try call.allowHouse(Telemetry.status.name)
            return try await house.readers.run { try status(top: input.top) }
        }
        routes.on(Telemetry.deleteSeries) { input, call in
            try call.allowHouse(Telemetry.deleteSeries.name)
            return try await delete(input)
        }
        routes.on(Telemetry.snapshot) { _, call in
            try call.allowHouse(Telemetry.snapshot.name)
            var outcome = SnapshotOutcome()
            do { outcome.name = try await PrometheusAdmin(house: house).snapshot() } catch let error as SeriesError {
                throw Problem("telemetry.snapshot", status: 503, error.description)
            }
            return outcome
        }
    }

    private func delete(_ input: DeleteSeriesInput) async throws -> DeleteSeriesOutcome {
        guard !input.match.isEmpty else {
            throw Problem(
                "telemetry.match", status: 422, "no series are named", hint: "Write `match: ['{job=\"old\"}']`.")
        }
        let now = house.time.now
        func moment(_ text: String?, or usual: Int64) throws(Problem) -> Int64 {
            text == nil ? usual : try TimeText.moment(text, now: now, or: now).microseconds / 1000
        }
        let from = try moment(input.from, or: TelemetryLimits.firstMoment)
        let to = try moment(input.to, or: TelemetryLimits.lastMoment)
        do {
            let lists = try input.match.map { try parseSelector($0) }
            var outcome = DeleteSeriesOutcome()
            outcome.series = try await PrometheusAdmin(house: house).delete(
                lists, from: from, to: to)
            return outcome
        } catch let error as PromQLError {
            throw error.problem
        } catch let error as SeriesError {
            throw Problem("telemetry.delete", status: 503, error.description)
        }
    }

    /// Blocks.
    private func status(top: Int) throws -> TelemetryStatus {
        var told = TelemetryStatus()
        let metrics = try house.metrics.use { $0.statistics(top: top) }
        told.metrics = Self.metrics(metrics)
        let (logs, spans) = (house.logs.status, house.spans.status)
        let volume = try house.logs.volume([], from: .min / 2, to: .max / 2)[.none]
        told.logs.streams = logs.streams
        told.logs.lines = volume?.entries ?? 0
        told.logs.bytes = logs.segmentBytes + logs.logBytes
        (told.traces.spans, told.traces.bytes) = (spans.spans, spans.segmentBytes)
        told.targets = house.targets.all.map(\.told)
        told.rules = house.ruleBook.groups.flatMap(\.rules)
        told.remotes = house.remotes.all.map(\.status) + house.exports.queues.map(\.status)
        for (reason, count) in house.drops.all { told.dropped[reason] = count }
        for load in [house.readers.load, house.writers.load, house.keepers.load] {
            told.work.running += load.running
            told.work.waiting += load.waiting
            told.work.refused += load.refused
        }
        return told
    }

    private static func metrics(_ statistics: TSDBStatistics) -> MetricStoreStatus {
        var told = MetricStoreStatus()
        (told.series, told.samples_in_memory) = (statistics.headSeries, statistics.headSamples)
        (told.blocks, told.samples_in_blocks) = (statistics.blocks, statistics.blockSamples)
        (told.bytes_of_blocks, told.bytes_of_log) = (statistics.blockBytes, statistics.logBytes)
        told.oldest = statistics.headFrom.map { Timestamp(microseconds: $0 * 1000) }
        told.newest = statistics.headTo.map { Timestamp(microseconds: $0 * 1000) }
        told.top_metrics = statistics.seriesByMetric.map { NamedCount($0.name, $0.count) }
        told.top_labels = statistics.valuesByLabel.map { NamedCount($0.name, $0.count) }
        told.top_pairs = statistics.seriesByPair.map { NamedCount($0.name, $0.count) }
        return told
    }
}
