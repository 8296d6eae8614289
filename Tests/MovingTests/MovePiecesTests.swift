import API
import Manifests
import Testing

@testable import Moving

@Suite struct MovePiecesTests {
    @Test func `a run that fits one request stays whole`() {
        var run = MovedRun()
        run.params["a"] = "1"
        #expect(MovePieces.cut(run) == [run])
    }

    @Test func `parts of a large run fit, and add up to it`() {
        var run = MovedRun()
        (run.id, run.model_inputs) = ("a", ["m-1"])
        for index in 0..<300 { run.params["p\(index)"] = String(repeating: "x", count: 6000) }
        for index in 0..<100 { run.tags["t\(index)"] = String(repeating: "y", count: 8000) }
        for key in ["loss", "auc"] {
            var points = MovedPoints(key: key)
            for step in 0..<40_000 {
                points.times.append(Int64(step))
                points.steps.append(Int64(step))
                points.values.append(Double(step))
            }
            run.metrics.append(points)
        }
        let pieces = MovePieces.cut(run)
        #expect(pieces.count > 3)
        #expect(pieces.allSatisfy { MovePieces.weight($0) <= MovePieces.limit && $0.id == "a" })
        #expect(pieces.reduce(0) { $0 + $1.params.count } == 300)
        #expect(pieces.reduce(0) { $0 + $1.tags.count } == 100)
        #expect(pieces.flatMap(\.model_inputs) == ["m-1"])
        for key in ["loss", "auc"] {
            let values = pieces.flatMap(\.metrics).filter { $0.key == key }.flatMap(\.values)
            #expect(values == (0..<40_000).map(Double.init))
        }
        // A server takes 4 MiB.
        #expect(pieces.allSatisfy { $0.json.bytes.count < 4 << 20 })
    }
}
