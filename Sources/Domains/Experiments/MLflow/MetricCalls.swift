import API
import Kernel
import Manifests
import Points
import SQL

/// MLflow's calls that read the points of metrics.
struct MetricCalls: Sendable {
    let tracking: TrackingHouse

    /// Points of a history that is asked for whole, points of a bulk answer, runs of a bulk request, points of each run in a sampled one.
    private static let allPoints: Int64 = 1 << 40
    private static let bulkPoints: Int64 = 25_000
    private static let bulkRuns = 100
    private static let sampledPoints: Int64 = 2500

    var routes: [MLflowRoute] {
        let base = "/mlflow/metrics/get-history-bulk"
        return [
            MLflowRoute("GET", "/api/2.0/mlflow/metrics/get-history", history),
            MLflowRoute("GET", "/api/2.0\(base)", bulk),
            MLflowRoute("GET", "/api/2.0\(base)-interval", interval),
            MLflowRoute("GET", "/api/2.11\(base)-interval", interval),
        ]
    }

    /// The run's id for the store of points; nil when the project has no such run, which has no points.
    private func known(_ uuid: String, in project: String) async throws -> RunID? {
        let isThere = try await tracking.store.look { sql in
            do {
                _ = try sql.storedRun(uuid, in: project)
                return true
            } catch is MLflowError {
                return false
            }
        }
        return isThere ? RunID(uuid) : nil
    }

    private func history(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let uuid = try input.string("run_id", or: "run_uuid")
        let key = try input.string("metric_key")
        let limit = try input.integer("max_results")
        if let limit, limit <= 0 {
            throw MLflowError.invalid(
                "Invalid value \(limit) for parameter 'max_results' supplied. It must be a positive integer.")
        }
        let store = try tracking.store
        let question = ["history", input.project, uuid, key]
        var after: MetricPoint?
        if let token = try input.text("page_token"), !token.isEmpty {
            after = Self.point(try store.tokens.read(token, for: question))
        }
        guard let run = try await known(uuid, in: input.project) else { return .empty }
        let count = Int(min(limit ?? Self.allPoints, Self.allPoints))
        var points = try await store.points.history(run, key, after: after, limit: count + 1)
        var next: String?
        if points.count > count {
            points.removeLast(points.count - count)
            if let last = points.last { next = store.tokens.make(Self.place(last), for: question) }
        }
        return .bytes(Self.answer(points, key, next: next))
    }

    private static func place(_ point: MetricPoint) -> [SQLValue] {
        [.integer(point.timestamp), .integer(point.step), .real(point.value)]
    }

    private static func point(_ place: [SQLValue]) -> MetricPoint? {
        guard place.count == 3, case .integer(let time) = place[0], case .integer(let step) = place[1],
            case .real(let value) = place[2]
        else { return nil }
        return MetricPoint(timestamp: time, step: step, value: value)
    }

    private static func answer(_ points: [MetricPoint], _ key: String, next: String?) -> [UInt8] {
        guard !points.isEmpty else { return Array("{}".utf8) }
        // All but the numbers is the same in every point.
        var head = JSONPieces()
        head.raw("{\"key\":")
        head.text(key)
        head.raw(",\"value\":")
        var bytes: [UInt8] = []
        bytes.reserveCapacity(points.count * (head.bytes.count + 64))
        bytes.append(contentsOf: "{\"metrics\":[".utf8)
        for (index, point) in points.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            bytes.append(contentsOf: head.bytes)
            JSONValue.write(point.value, to: &bytes)
            bytes.append(contentsOf: timestampMember)
            JSONPieces.append(point.timestamp, to: &bytes)
            bytes.append(contentsOf: stepMember)
            JSONPieces.append(point.step, to: &bytes)
            bytes.append(UInt8(ascii: "}"))
        }
        bytes.append(UInt8(ascii: "]"))
        if let next { bytes.append(contentsOf: ",\"next_page_token\":\"\(next)\"".utf8) }
        bytes.append(UInt8(ascii: "}"))
        return bytes
    }

    private static let timestampMember = Array(",\"timestamp\":".utf8)
    private static let stepMember = Array(",\"step\":".utf8)

    private func bulk(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let uuids = try input.strings("run_id")
        guard !uuids.isEmpty else {
            throw MLflowError.invalid("GetMetricHistoryBulk request must specify at least one run_id.")
        }
        guard uuids.count <= Self.bulkRuns else {
            throw MLflowError.invalid(
                "GetMetricHistoryBulk request cannot specify more than \(Self.bulkRuns) run_ids. Received \(uuids.count) run_ids."
            )
        }
        guard let key = try input.text("metric_key") else {
            throw MLflowError.invalid("GetMetricHistoryBulk request must specify a metric_key.")
        }
        var left = Int(max(0, min(try input.integer("max_results") ?? Self.bulkPoints, Self.bulkPoints)))
        var list = JSONPieces()
        for uuid in Set(uuids).sorted() where left > 0 {
            guard let run = try await known(uuid, in: input.project) else { continue }
            let points = try await tracking.store.points.history(run, key, limit: left)
            left -= points.count
            for point in points { list.member(point, key, run: uuid) }
        }
        return .bytes(list.wrapped("metrics", always: true))
    }

    /// Points of each run spread evenly over its history, the first and the last among them.
    private func interval(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let uuids = try input.strings("run_ids")
        guard !uuids.isEmpty else { throw MLflowError.required("run_ids") }
        guard uuids.count <= Self.bulkRuns else { throw MLflowError.wrong("run_ids", .integer(Int64(uuids.count))) }
        let key = try input.string("metric_key")
        let (from, to) = (try input.integer("start_step"), try input.integer("end_step"))
        guard (from == nil) == (to == nil) else {
            throw MLflowError.invalid(
                "If either start step or end step are specified, both must be specified.")
        }
        if let from, let to, from > to {
            throw MLflowError.invalid(
                "end_step must be greater than start_step. Found start_step=\(from) and end_step=\(to).")
        }
        let count = Int(max(1, min(try input.integer("max_results") ?? Self.sampledPoints, Self.sampledPoints)))
        var list = JSONPieces()
        for uuid in uuids {
            guard let run = try await known(uuid, in: input.project) else { continue }
            let sampled = try await tracking.store.points.sampled(
                run, key, axis: .step, from: from, to: to, buckets: max(1, count / 4))
            for point in sampled.points { list.member(point, key, run: uuid) }
        }
        return .bytes(list.wrapped("metrics", always: false))
    }
}

extension JSONPieces {
    fileprivate mutating func member(_ point: MetricPoint, _ key: String, run: String) {
        comma()
        metric(key, point.value, time: point.timestamp, step: point.step, run: run)
    }

    /// The pieces as the list of an object's one member.
    ///
    /// - Parameter always: Whether an empty list is shown.
    fileprivate func wrapped(_ name: StaticString, always: Bool) -> [UInt8] {
        var out = JSONPieces()
        out.raw("{")
        if always || !bytes.isEmpty {
            out.raw("\"")
            out.raw(name)
            out.raw("\":[")
            out.raw(bytes)
            out.raw("]")
        }
        out.raw("}")
        return out.bytes
    }
}
