package import API
package import Kernel
import Synchronization

/// Metrics that a test tells: the values that an expression finds. Others are found by nobody.
package final class FakeMetrics: MetricSource {
    private let state = Mutex<(values: [String: [Double]], problem: Problem?, asked: [String])>(([:], nil, []))

    package init() {}

    package func tell(_ expression: String, _ values: [Double]) {
        state.withLock { $0.values[expression] = values }
    }

    /// From now on every question is answered with this.
    package func fail(_ problem: Problem?) { state.withLock { $0.problem = problem } }

    package var asked: [String] { state.withLock { $0.asked } }

    package func query(_ expression: String, at time: Timestamp) async throws -> [MetricSample] {
        try state.withLock { state in
            state.asked.append(expression)
            if let problem = state.problem { throw problem }
            return (state.values[expression] ?? []).map { MetricSample(labels: [:], value: $0) }
        }
    }

    package func query(
        _ expression: String, from: Timestamp, to: Timestamp, step: Duration
    ) async throws -> [MetricSeries] {
        try await query(expression, at: to).map {
            MetricSeries(labels: [:], points: [.init(at: to, value: $0.value)])
        }
    }
}
