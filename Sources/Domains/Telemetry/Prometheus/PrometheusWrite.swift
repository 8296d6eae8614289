import API
import Kernel
import PromQL
import Series
import TSDB
import Wire

/// Remote write 1.0, in; remote read, out.
struct PrometheusWrite: Sendable {
    let house: TelemetryHouse

    /// 204 when all was taken. 400 when something was refused, which no repeating mends: what could be taken is, and the message
    /// says what was not. Only 429 and 5xx ask to be sent again.
    func write(_ request: ForeignRequest) async throws -> ForeignAnswer {
        if let refusal = Self.wrongType(request) { return refusal }
        let body = request.body
        let now = house.milliseconds
        return try await house.writers.run {
            do {
                return try house.requests.use { batch in
                    try RemoteWrite.decode(snappy: body, into: &batch, limit: TelemetryLimits.writeBytes)
                    let outcome = try MetricIntake(house: house).take(batch, now: now)
                    guard let complaint = outcome.complaint else {
                        return ForeignAnswer(204, type: nil, .bytes([]))
                    }
                    return ForeignAnswer(400, text: complaint + "\n")
                }
            } catch let error as WireError {
                house.drops.add("metrics: body that cannot be read", 1)
                return ForeignAnswer(error.code == .tooLarge ? 413 : 400, text: error.description + "\n")
            } catch let error as SeriesError {
                return Self.failed(error)
            }
        }
    }

    func read(_ request: ForeignRequest) async throws -> ForeignAnswer {
        let body = request.body
        return try await house.readers.run {
            do {
                let queries = try RemoteRead.decode(request: body)
                var (results, samples) = ([WriteBatch](), 0)
                for query in queries { results.append(try select(query, &samples)) }
                return ForeignAnswer(
                    type: "application/x-protobuf", headers: [("Content-Encoding", "snappy")],
                    .bytes(RemoteRead.encode(response: results)))
            } catch let error as WireError {
                return ForeignAnswer(400, text: error.description + "\n")
            } catch let error as SeriesError {
                return Self.failed(error)
            }
        }
    }

    private func select(_ query: RemoteRead.Query, _ samples: inout Int) throws -> WriteBatch {
        var batch = WriteBatch()
        let set = try house.metrics.use {
            try $0.select(Selection(query.matchers, from: query.from, to: query.to))
        }
        var buffer = SampleBuffer()
        for index in 0..<set.count {
            try set.read(index, into: &buffer)
            guard buffer.count > 0 else { continue }
            samples += buffer.count
            guard samples <= TelemetryLimits.readSamples else {
                throw SeriesError(
                    .badMatcher, "the request asks for more than \(TelemetryLimits.readSamples) samples")
            }
            batch.append(set.labels(at: index)) { batch in
                for place in buffer.times.indices {
                    if buffer.hasHistograms, buffer.histogramAt[place] >= 0 {
                        batch.append(buffer.times[place], buffer.histograms[Int(buffer.histogramAt[place])])
                    } else {
                        batch.append(buffer.times[place], buffer.values[place])
                    }
                }
            }
        }
        return batch
    }

    private static func failed(_ error: SeriesError) -> ForeignAnswer {
        switch error.code {
        case .badMatcher, .tooManySeries: ForeignAnswer(400, text: error.description + "\n")
        case .cancelled, .storage:
            ForeignAnswer(
                503, type: "text/plain; charset=utf-8", headers: [("Retry-After", "5")],
                .bytes(Array((error.description + "\n").utf8)))
        }
    }

    private static func wrongType(_ request: ForeignRequest) -> ForeignAnswer? {
        guard request.method == "POST" else {
            return ForeignAnswer(405, text: "\(request.method) is not answered here; use POST\n")
        }
        let type = (request.headers["content-type"] ?? "application/x-protobuf").lowercased()
        guard type.hasPrefix("application/x-protobuf"), !type.contains("io.prometheus.write.v2") else {
            return ForeignAnswer(415, text: "only remote write 1.0 is spoken here: application/x-protobuf\n")
        }
        let encoding = (request.headers["content-encoding"] ?? "snappy").lowercased()
        guard encoding == "snappy" else {
            return ForeignAnswer(415, text: "the body must be compressed with snappy, not \(encoding)\n")
        }
        return nil
    }
}
