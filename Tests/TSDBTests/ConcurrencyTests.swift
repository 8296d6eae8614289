import Dispatch
import Series
import Synchronization
import Testing

@testable import TSDB

@Suite struct ConcurrencyTests {
    @Test func `appends, queries, compactions and deletions at once lose nothing`() throws {
        let folder = try Folder()
        var options = TSDBOptions()
        (options.blockRange, options.segmentBytes, options.downsampleAfter) = (10_000, 20_000, nil)
        options.durability = .synced
        let store = try TSDB(folder: folder.path, options: options)
        let problems = Mutex<[String]>([])
        let writers = 3
        let accepted = Mutex(Array(repeating: [Double](), count: writers))
        DispatchQueue.concurrentPerform(iterations: writers + 3) { worker in
            do {
                switch worker {
                case 0..<writers: try Self.write(store, worker, accepted, problems)
                case writers: for _ in 0..<40 { try Self.read(store, problems) }
                case writers + 1: for _ in 0..<30 { try store.compact() }
                default: for _ in 0..<30 { _ = try store.delete([.init("kind", .equal, "gone")], from: .min, to: .max) }
                }
            } catch {
                problems.withLock { $0.append("\(error)") }
            }
        }
        #expect(problems.withLock { $0 } == [])
        let found = try store.all([LabelMatcher("kind", .equal, "kept")])
        let kept = accepted.withLock { $0 }
        #expect(kept.allSatisfy { !$0.isEmpty })
        for (labels, buffer) in found {
            let worker = Int(labels["worker"] ?? "").map { kept[$0] }
            #expect(buffer.values == worker, "\(labels)")
        }
        #expect(found.count == writers)
    }

    private static func write(
        _ store: TSDB, _ worker: Int, _ accepted: borrowing Mutex<[[Double]]>, _ problems: borrowing Mutex<[String]>
    ) throws {
        var batch = Batch()
        for step in 0..<300 {
            batch.removeAll()
            batch.add(Labels(["kind": "kept", "worker": "\(worker)"]), Int64(step) * 200, Double(step))
            batch.add(Labels(["kind": "gone", "worker": "\(worker)"]), Int64(step) * 200, Double(step))
            let result = try store.append(batch)
            // A writer that is behind the others' newest sample by a whole cut is told so; that is no loss.
            if result.accepted == 2 {
                accepted.withLock { $0[worker].append(Double(step)) }
            } else if result.accepted != 0 || result.counts != [.tooOld: 2] {
                problems.withLock { $0.append("\(result)") }
            }
        }
    }

    /// Values equal their place: a snapshot that saw half of a change would show.
    private static func read(_ store: TSDB, _ problems: borrowing Mutex<[String]>) throws {
        let set = try store.select(Selection([.init("kind", .equal, "kept")], from: .min, to: .max))
        var buffer = SampleBuffer()
        for index in 0..<set.count {
            try set.read(index, into: &buffer)
            if buffer.values != buffer.times.map({ Double($0 / 200) }) {
                problems.withLock { $0.append("\(set.labels(at: index)): \(buffer.times)") }
            }
        }
    }
}
