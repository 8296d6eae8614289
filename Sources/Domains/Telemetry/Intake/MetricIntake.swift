import API
import Kernel
import Series
import TSDB
import Wire

/// Brings samples in, from whichever door: drops the types that are not kept, stores the rest, and sends it on.
struct MetricIntake {
    let house: TelemetryHouse

    struct Outcome {
        var result: AppendResult
        /// Samples of types that are not kept.
        var dropped: Int

        /// The first reason for a refusal, and how many there were; nil when all were taken.
        var complaint: String? {
            guard let first = result.refusals.first else { return nil }
            let more = result.refused > 1 ? ", and \(result.refused - 1) more samples were refused" : ""
            return "\(first.reason.rawValue): \(first.message)\(more)"
        }
    }

    /// Stores a request's samples. Blocks.
    ///
    /// - Parameter now: Milliseconds; samples further ahead are refused. Nil for rules, which know what time it is.
    /// - Throws: `SeriesError` when nothing could be written.
    func take(_ request: borrowing WriteBatch, now: Int64?) throws -> Outcome {
        let types = house.plan.types
        let outcome = try house.batches.use { batch in
            let filter = types.map { TypeFilter($0, request, house) }
            var dropped = 0
            fill(&batch, from: request, filter, &dropped)
            return Outcome(result: try house.metrics.use { try $0.append(batch, now: now) }, dropped: dropped)
        }
        for (reason, count) in outcome.result.counts { house.drops.add("metrics: \(reason.rawValue)", count) }
        house.drops.add("metrics: type is not kept", outcome.dropped)
        house.context.instruments.count(
            "vagus_telemetry_samples_total", by: Double(outcome.result.accepted))
        house.remotes.offer(request, house)
        return outcome
    }

    private func fill(
        _ batch: inout StoreBatch, from request: borrowing WriteBatch, _ filter: TypeFilter?, _ dropped: inout Int
    ) {
        for entry in request.entries {
            if let filter, !filter.keeps(request, entry) {
                dropped += entry.samples.count + entry.histograms.count
                continue
            }
            request.labelBytes.withUnsafeBufferPointer { bytes in
                batch.series(UnsafeBufferPointer(rebasing: bytes[entry.labels]))
            }
            for index in entry.samples { batch.add(request.times[index], request.values[index]) }
            for index in entry.histograms { batch.add(request.histogramTimes[index], request.histograms[index]) }
            for index in entry.exemplars {
                let exemplar = request.exemplars[index]
                let time = exemplar.time ?? entry.samples.last.map { request.times[$0] } ?? 0
                batch.add(StoredExemplar(labels: exemplar.labels, time: time, value: exemplar.value))
            }
        }
        for metadata in request.metadata where !metadata.family.isEmpty {
            batch.describe(
                metadata.family, StoredMetadata(type: metadata.kind.name, help: metadata.help, unit: metadata.unit))
        }
    }
}

/// Tells series of types that are kept from others, by what their metadata says; what nobody described is kept.
struct TypeFilter {
    private let types: Set<MetricType>
    private var kinds: [String: String] = [:]

    init(_ types: Set<MetricType>, _ request: borrowing WriteBatch, _ house: TelemetryHouse) {
        self.types = types
        kinds = ((try? house.metrics.use { $0.metadata() }) ?? [:]).mapValues(\.type)  // then only the request counts
        for metadata in request.metadata { kinds[metadata.family] = metadata.kind.name }
    }

    func keeps(_ request: borrowing WriteBatch, _ entry: WriteBatch.Entry) -> Bool {
        if !entry.histograms.isEmpty { return types.contains(.native_histogram) }
        guard let name = request.labels(of: entry).metricName else { return true }
        var kind = kinds[name]
        for suffix in ["_total", "_bucket", "_sum", "_count", "_created"] where kind == nil && name.hasSuffix(suffix) {
            kind = kinds[String(name.dropLast(suffix.utf8.count))]
        }
        switch kind {
        case "counter": return types.contains(.counter)
        case "gauge", "info", "stateset": return types.contains(.gauge)
        case "histogram", "gaugehistogram": return types.contains(.histogram)
        case "summary": return types.contains(.summary)
        default: return true
        }
    }
}
