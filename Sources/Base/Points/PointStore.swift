package import Segments

/// A store of metric points of runs.
package final class PointStore: Sendable {
    package struct Limits: Sendable, Hashable {
        /// Bytes of points in memory before they become a segment.
        package var headBytes = 8 << 20
        /// Bytes of the name of a metric.
        package var keyBytes = 4_096
        package init() {}
    }

    /// Opens the store in a folder, which is made if it is not there. Blocks.
    package init(_ folder: String, limits: Limits = Limits()) throws { throw Self.unbuilt }

    private static var unbuilt: StorageError { StorageError(.other, "not built yet", hint: "Wait.") }

    /// Takes points, all or none. Returns when they are on the disk; callers at one time share one write and one sync.
    /// A point that is there already, in all three numbers, is kept once.
    ///
    /// - Throws: `StorageError`; then none of them was taken.
    package func append(_ series: [MetricPoints]) async throws { throw Self.unbuilt }

    /// Removes all points of runs. Returns when that is on the disk. The ids may be used anew.
    package func delete(_ runs: [RunID]) async throws { throw Self.unbuilt }

    /// Points of a metric in the order of timestamp, step, value (as MLflow's `get-history`).
    ///
    /// - Parameters:
    ///   - after: The last point of the page before: a cursor that neither repeats nor hides when others append meanwhile.
    ///   - limit: How many at most.
    package func history(
        _ run: RunID, _ key: String, after: MetricPoint? = nil, limit: Int = .max
    ) async throws -> [MetricPoint] { throw Self.unbuilt }

    /// The latest point of each metric of a run, sorted by the bytes of the key.
    package func latest(_ run: RunID) async throws -> [LatestPoint] { throw Self.unbuilt }

    /// Points of a metric for a picture.
    ///
    /// - Parameters:
    ///   - axis: What the buckets divide.
    ///   - from, to: Bounds on that axis, both included; nil for all.
    ///   - buckets: Of even width; each gives at most four points, so that no peak is lost (M4, Jugel 2014).
    package func sampled(
        _ run: RunID, _ key: String, axis: PointAxis = .step, from: Int64? = nil, to: Int64? = nil, buckets: Int
    ) async throws -> SampledPoints { throw Self.unbuilt }
}
