import API
import Kernel
import Series
import Wire

/// `POST /api/v1/metrics/push`: metrics of what does not live long enough to be scraped, as text, with a grouping in the path or
/// the query: `/api/v1/metrics/push/job/backup/instance/db-1`, `?job=backup`. Each sample gets the time of the push.
struct PushMount: Sendable {
    let house: TelemetryHouse

    var mount: Mount {
        Mount("/api/v1/metrics/push", bodyLimit: TelemetryLimits.writeBytes) { problem, _ in
            ForeignAnswer(problem.status, text: problem.message + "\n")
        } handle: { request, call in
            try call.allowTelling("a push of metrics")
            guard ["POST", "PUT"].contains(request.method) else {
                throw Problem("method.not-allowed", status: 405, "\(request.method) is not answered here; use POST")
            }
            return try await take(request)
        }
    }

    private func take(_ request: ForeignRequest) async throws -> ForeignAnswer {
        let grouping = try Self.grouping(request)
        let format = Exposition(contentType: request.headers["content-type"] ?? "")
        let coding = (request.headers["content-encoding"] ?? "identity").lowercased()
        guard let known = ContentCoding(rawValue: coding) else {
            return ForeignAnswer(415, text: "the body is compressed in a way that is not known here: \(coding)\n")
        }
        let (body, now) = (request.body, house.milliseconds)
        return try await house.writers.run {
            do {
                let plain = try known.decode(body, limit: TelemetryLimits.writeBytes)
                let outcome = try house.requests.use { raw in
                    try format.parse(plain, at: now, into: &raw)
                    var batch = WriteBatch()
                    for entry in raw.entries {
                        batch.append(Labels(raw.labels(of: entry).pairs + grouping)) { batch in
                            for index in entry.samples { batch.append(now, raw.values[index]) }
                            for index in entry.histograms { batch.append(now, raw.histograms[index]) }
                            batch.exemplars += raw.exemplars[entry.exemplars]
                        }
                    }
                    batch.metadata = raw.metadata
                    return try MetricIntake(house: house).take(batch, now: now)
                }
                guard let complaint = outcome.complaint else { return ForeignAnswer(200, type: nil, .bytes([])) }
                return ForeignAnswer(400, text: complaint + "\n")
            } catch let error as WireError {
                return ForeignAnswer(error.code == .tooLarge ? 413 : 400, text: error.description + "\n")
            } catch let error as SeriesError {
                return ForeignAnswer(503, text: error.description + "\n").retried
            }
        }
    }

    /// Labels that all series of the push get, as the Pushgateway takes them from the path; those of the query besides.
    private static func grouping(_ request: ForeignRequest) throws -> [(name: String, value: String)] {
        let parts = request.path.split(separator: "/").map { FormText.decode($0.replacing("+", with: "%2B")) }
        guard parts.count % 2 == 0 else {
            throw Problem(
                "push.grouping", status: 400, "the path has a label without a value",
                hint: "Write it as /api/v1/metrics/push/job/NAME/instance/NAME.")
        }
        var labels = request.query
        for index in stride(from: 0, to: parts.count, by: 2) { labels.append((parts[index], parts[index + 1])) }
        for (name, _) in labels {
            let isName =
                !name.isEmpty
                && name.utf8.allSatisfy { byte in
                    (0x61...0x7A).contains(byte | 0x20) || (0x30...0x39).contains(byte) || byte == 0x5F
                }
            guard isName, !name.hasPrefix("__") else {
                throw Problem("push.grouping", status: 400, "\"\(name)\" cannot be a label's name")
            }
        }
        return labels
    }
}
