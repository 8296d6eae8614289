import API
import Kernel
import Series
import TSDB

/// `admin/tsdb/…`: deletes, copies, cleans. For admins only.
struct PrometheusAdmin: Sendable {
    let house: TelemetryHouse

    func answer(_ path: String, _ request: ForeignRequest) async throws -> ForeignAnswer {
        guard ["POST", "PUT"].contains(request.method) else {
            throw Problem(
                "method.not-allowed", status: 405, "\(request.method) is not answered here", hint: "Use POST.")
        }
        let form = Form(request)
        switch path {
        case "tsdb/delete_series":
            let matchers = try form.all("match[]").map(PrometheusLists.selector)
            guard !matchers.isEmpty else { throw PrometheusError.bad("no match[] parameter provided") }
            let from = try PrometheusQueries.time(form, "start") ?? TelemetryLimits.firstMoment
            let to = try PrometheusQueries.time(form, "end") ?? TelemetryLimits.lastMoment
            _ = try await delete(matchers, from: from, to: to)
            return ForeignAnswer(204, type: nil, .bytes([]))
        case "tsdb/clean_tombstones":
            _ = try await house.keepers.run { try house.metrics.use { try $0.cleanTombstones() } }
            return ForeignAnswer(204, type: nil, .bytes([]))
        case "tsdb/snapshot":
            let name = try await snapshot()
            return JSONOut.success { out in
                out.raw("{\"name\":")
                out.text(name)
                out.raw("}")
            }
        default: throw PrometheusMount.notFound(request)
        }
    }

    /// - Returns: How many series had something deleted.
    func delete(_ lists: [[LabelMatcher]], from: Int64, to: Int64) async throws -> Int {
        try await house.keepers.run {
            try lists.reduce(0) { sum, matchers in
                try sum + house.metrics.use { try $0.delete(matchers, from: from, to: to) }
            }
        }
    }

    /// - Returns: Name of the folder below `telemetry/snapshots`.
    func snapshot() async throws -> String {
        let name = house.context.ids.next("snapshot")
        try await house.keepers.run {
            try house.metrics.use { try $0.snapshot(to: house.folder + "/snapshots/" + name) }
        }
        return name
    }
}
