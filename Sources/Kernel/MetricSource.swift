package import API

/// Answers questions about metrics in PromQL: the own store, or another Prometheus.
package protocol MetricSource: Sendable {
    /// The value of each series at one moment; a scalar is one series without labels.
    ///
    /// - Throws: `Problem`: 422 `metrics.query` when it is no PromQL or cannot be worked out, 503 when nobody answers.
    func query(_ expression: String, at time: Timestamp) async throws -> [MetricSample]
    /// The values of each series at moments `step` apart, both ends included.
    func query(_ expression: String, from: Timestamp, to: Timestamp, step: Duration) async throws -> [MetricSeries]
}

package struct MetricSample: Sendable, Hashable {
    package var labels: [String: String]
    package var value: Double

    package init(labels: [String: String], value: Double) { (self.labels, self.value) = (labels, value) }
}

package struct MetricSeries: Sendable, Hashable {
    package var labels: [String: String]
    package var points: [Point]

    package struct Point: Sendable, Hashable {
        package var at: Timestamp
        package var value: Double
        package init(at: Timestamp, value: Double) { (self.at, self.value) = (at, value) }
    }

    package init(labels: [String: String], points: [Point]) { (self.labels, self.points) = (labels, points) }
}
