import API
import Manifests

/// Cuts what is too large for one request; pure. Parts of a run add up on the other side.
enum MovePieces {
    /// Bytes of one request, roughly; a server of ours takes 4 MiB.
    static let limit = 1_500_000
    private static let pointBytes = 64

    static func weight(_ run: MovedRun) -> Int {
        let texts = weight(run.params) + weight(run.tags)
        let points = run.metrics.reduce(0) { $0 + $1.key.utf8.count + 40 + $1.values.count * pointBytes }
        let datasets = run.datasets.reduce(0) { sum, one in
            sum + 200 + one.source.utf8.count + (one.schema?.utf8.count ?? 0) + (one.profile?.utf8.count ?? 0)
        }
        return 500 + texts + points + datasets + (run.model_inputs.count + run.model_outputs.count) * 60
    }

    private static func weight(_ texts: Ordered<String>) -> Int {
        texts.reduce(0) { $0 + $1.key.utf8.count + $1.value.utf8.count + 10 }
    }

    /// The run in parts that each fit; most often in one.
    static func cut(_ run: MovedRun) -> [MovedRun] {
        guard weight(run) > limit else { return [run] }
        var bare = run
        (bare.params, bare.tags, bare.metrics, bare.datasets) = ([:], [:], [], [])
        (bare.model_inputs, bare.model_outputs) = ([], [])
        var pieces = [bare]
        func add(_ more: Int, _ put: (inout MovedRun) -> Void) {
            if weight(pieces[pieces.count - 1]) + more > limit { pieces.append(bare) }
            put(&pieces[pieces.count - 1])
        }
        for (key, value) in run.params { add(key.utf8.count + value.utf8.count) { $0.params[key] = value } }
        for (key, value) in run.tags { add(key.utf8.count + value.utf8.count) { $0.tags[key] = value } }
        for dataset in run.datasets {
            add((dataset.schema?.utf8.count ?? 0) + (dataset.profile?.utf8.count ?? 0)) { $0.datasets.append(dataset) }
        }
        add(0) { ($0.model_inputs, $0.model_outputs) = (run.model_inputs, run.model_outputs) }
        let most = limit / pointBytes / 2
        for metric in run.metrics {
            for start in stride(from: 0, to: metric.values.count, by: most) {
                let range = start..<min(start + most, metric.values.count)
                var part = MovedPoints(key: metric.key)
                (part.times, part.steps, part.values) = (
                    Array(metric.times[range]), Array(metric.steps[range]), Array(metric.values[range])
                )
                add(range.count * pointBytes) { $0.metrics.append(part) }
            }
        }
        return pieces
    }
}
