import Glibc
import Segments
import Synchronization
import Testing

@testable import Points

private func at(_ timestamp: Int64, _ step: Int64, _ value: Double) -> MetricPoint {
    MetricPoint(timestamp: timestamp, step: step, value: value)
}

private func run(_ number: UInt64) -> RunID { RunID(high: number &* 0x9E37_79B9_7F4A_7C15, low: number) }

private func small() -> PointStore.Limits {
    var limits = PointStore.Limits()
    (limits.headBytes, limits.smallSegment, limits.segmentsOfOneSize) = (4_096, 4_096, 3)
    return limits
}

@Suite struct PointStoreTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    @Test func `a run id has one spelling`() {
        let text = "0123456789abcdef00ff00ff00ff00ff"
        #expect(RunID(text)?.description == text)
        #expect(RunID(text.uppercased()) == nil)
        #expect(RunID(String(text.dropLast())) == nil)
        #expect(RunID(text + "0") == nil)
    }

    @Test func `values come back bit for bit`() async throws {
        let values = [
            0.0, -0.0, 1, .nan, .infinity, -.infinity, 5e-324, 1.7976931348623157e308, 0.1,
            Double(bitPattern: 0x7ff8_0000_0000_1234), 1e-7, 123_456_789.25,
        ]
        let points = values.enumerated().map { at(1_700_000_000_000 + Int64($0) * 7, Int64($0), $1) }
        let store = try PointStore(folder.path)
        try await store.append([MetricPoints(run: run(1), key: "loss", points: points)])
        #expect(try await store.history(run(1), "loss") == points)
        try await store.flush()
        #expect(try await store.history(run(1), "loss") == points)
        #expect(try await PointStore(folder.path).history(run(1), "loss") == points)
    }

    @Test func `the extremes of times and steps are kept`() async throws {
        let points = [at(.min, .max, 1), at(-1, .min, 2), at(0, 0, 3), at(.max, .min, 4), at(.max, .max, 5)]
        let store = try PointStore(folder.path)
        try await store.append([MetricPoints(run: run(1), key: "loss", points: points.reversed())])
        try await store.flush()
        #expect(try await store.history(run(1), "loss") == points)
        for axis in [PointAxis.step, .time] {
            #expect(try await store.sampled(run(1), "loss", axis: axis, buckets: 1).total == 5)
        }
    }

    @Test func `a point that is there already is kept once`() async throws {
        let store = try PointStore(folder.path)
        let points = [at(1, 0, .nan), at(1, 0, 2), at(2, 0, 2)]
        for turn in 0..<4 {
            try await store.append([MetricPoints(run: run(1), key: "loss", points: points + points.reversed())])
            if turn != 2 { try await store.flush() }
            #expect(try await store.history(run(1), "loss") == points)
        }
        try await store.compact()
        #expect(store.status.points == 3)
        #expect(try await store.history(run(1), "loss") == points)
    }

    @Test func `the latest is that of the greatest step, then time, then value`() async throws {
        let store = try PointStore(folder.path)
        try await store.append([
            MetricPoints(run: run(1), key: "a", points: [at(9, 1, 1), at(5, 2, 2), at(6, 2, 1), at(6, 2, 3)]),
            MetricPoints(run: run(1), key: "b", points: [at(1, 1, .nan), at(1, 1, -1)]),
        ])
        try await store.flush()
        try await store.append([
            MetricPoints(run: run(1), key: "a", points: [at(99, 1, 7)]),
            MetricPoints(run: run(1), key: "c", points: [at(1, 1, .infinity)]),
        ])
        let latest = try await store.latest(run(1))
        #expect(latest.map(\.key) == ["a", "b", "c"])
        // As MLflow, which compares NaN as zero.
        #expect(latest.map(\.point) == [at(6, 2, 3), at(1, 1, .nan), at(1, 1, .infinity)])
        try await store.compact()
        #expect(try await store.latest(run(1)) == latest)
        #expect(try await store.latest(run(2)).isEmpty)
    }

    @Test func `names that Unicode holds for equal are two metrics`() async throws {
        let store = try PointStore(folder.path)
        try await store.append([
            MetricPoints(run: run(1), key: "caf\u{e9}", points: [at(1, 1, 1)]),
            MetricPoints(run: run(1), key: "cafe\u{301}", points: [at(1, 1, 2)]),
        ])
        #expect(try await store.history(run(1), "caf\u{e9}") == [at(1, 1, 1)])
        #expect(try await store.latest(run(1)).count == 2)
    }

    @Test func `pages neither repeat nor hide when others append meanwhile`() async throws {
        let store = try PointStore(folder.path)
        let first = (0..<3_000).map { at(Int64($0), Int64($0), Double($0)) }
        try await store.append([MetricPoints(run: run(1), key: "loss", points: first)])
        var seen: [MetricPoint] = []
        while true {
            let page = try await store.history(run(1), "loss", after: seen.last, limit: 700)
            if page.isEmpty { break }
            seen += page
            // Behind the cursor and before it.
            let late = [at(1, 5_000, Double(seen.count)), at(10_000, Int64(seen.count), 0)]
            if seen.count < 2_800 { try await store.append([MetricPoints(run: run(1), key: "loss", points: late)]) }
            if seen.count == 1_400 { try await store.flush() }
        }
        #expect(Array(seen.prefix(3_000)) == first)
        #expect(Set(seen).count == seen.count)
    }

    @Test func `a removed run is gone, and what comes after is kept`() async throws {
        let store = try PointStore(folder.path, limits: small())
        for number in 1...40 as ClosedRange<UInt64> {
            try await store.append([MetricPoints(run: run(number), key: "loss", points: [at(1, 1, 1), at(2, 2, 2)])])
        }
        try await store.flush()
        try await store.delete([run(3), run(7)])
        try await store.append([MetricPoints(run: run(7), key: "loss", points: [at(3, 3, 3)])])
        func check(_ store: PointStore) async throws {
            #expect(try await store.history(run(3), "loss").isEmpty)
            #expect(try await store.latest(run(3)).isEmpty)
            #expect(try await store.history(run(7), "loss") == [at(3, 3, 3)])
            #expect(try await store.history(run(8), "loss").count == 2)
        }
        try await check(store)
        try await check(PointStore(folder.path))
        try await store.flush()
        try await check(store)
        try await store.compact()
        try await check(store)
        #expect(store.status.points == 38 * 2 + 1)
        try await check(PointStore(folder.path))
    }

    @Test func `many callers share syncs, and each batch is there whole`() async throws {
        let store = try PointStore(folder.path, limits: small())
        try await withThrowingTaskGroup(of: Void.self) { group in
            for caller in 0..<32 as Range<UInt64> {
                group.addTask {
                    for turn in 0..<20 as Range<Int64> {
                        try await store.append([
                            MetricPoints(run: run(caller), key: "a", points: [at(turn, turn, 1)]),
                            MetricPoints(run: run(caller), key: "b", points: [at(turn, turn, 2)]),
                        ])
                    }
                }
            }
            try await group.waitForAll()
        }
        let again = try PointStore(folder.path)
        for caller in 0..<32 as Range<UInt64> {
            #expect(try await again.history(run(caller), "a").count == 20)
            #expect(try await again.history(run(caller), "b").count == 20)
        }
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func `whatever came in whatever order, history and latest are those of a sorted set`(seed: UInt64) async throws {
        var random = SeededNumbers(state: seed)
        var folders = [folder]
        var store = try PointStore(folder.path, limits: small())
        var model: [RunID: [String: Set<MetricPoint>]] = [:]
        for turn in 0..<150 {
            var batch: [MetricPoints] = []
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                let one = run(UInt64.random(in: 1...6, using: &random))
                let key = "m\(Int.random(in: 0...3, using: &random))"
                let start = Int64.random(in: 0...300, using: &random)
                let points = (0..<Int64.random(in: 1...90, using: &random)).map { step in
                    at(
                        start + step * Int64.random(in: 0...2, using: &random), step,
                        Double(Int64.random(in: 0...3, using: &random)))
                }
                batch.append(MetricPoints(run: one, key: key, points: points))
                model[one, default: [:]][key, default: []].formUnion(points)
            }
            try await store.append(batch)
            switch Int.random(in: 0..<20, using: &random) {
            case 0:
                let gone = run(UInt64.random(in: 1...6, using: &random))
                try await store.delete([gone])
                model[gone] = nil
            case 1: try await store.flush()
            case 2:
                // The next life of the process finds the files as they are at one moment.
                while store.state.withLock({ $0.isSettling }) { await Task.yield() }
                folders.append(try folders[folders.count - 1].copy())
                store = try PointStore(folders[folders.count - 1].path, limits: small())
            case 3: try await store.compact()
            default: continue
            }
            for (one, keys) in model where turn % 3 == 0 {
                for (key, points) in keys {
                    #expect(try await store.history(one, key) == points.sorted(), "seed \(seed), turn \(turn)")
                }
                let latest = try await store.latest(one)
                #expect(latest.map(\.key) == keys.keys.sorted(), "seed \(seed), turn \(turn)")
                for one in latest {
                    let best = keys[one.key]?.reduce(one.point) { $1.isLater(than: $0) ? $1 : $0 }
                    #expect(best == one.point)
                }
            }
        }
    }
}
