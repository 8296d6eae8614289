import Testing

@testable import Points

@Suite struct PointThinningTests {
    private func sampled(_ points: [MetricPoint], axis: PointAxis = .step, buckets: Int) async throws -> SampledPoints {
        let folder = try TemporaryFolder()
        let store = try PointStore(folder.path)
        let run = RunID(high: 0, low: 1)
        try await store.append([MetricPoints(run: run, key: "loss", points: points)])
        try await store.flush()
        return try await store.sampled(run, "loss", axis: axis, buckets: buckets)
    }

    @Test func `one spike among a hundred thousand points is in the picture`() async throws {
        var points = (0..<100_000).map { MetricPoint(timestamp: Int64($0) * 10, step: Int64($0), value: 1) }
        points[77_777].value = 1_000
        points[3].value = -.infinity
        for axis in [PointAxis.step, .time] {
            let picture = try await sampled(points, axis: axis, buckets: 500)
            #expect(picture.total == 100_000)
            #expect(!picture.isWhole)
            #expect(picture.points.count <= 2_000)
            #expect(picture.points.contains(points[77_777]))
            #expect(picture.points.contains(points[3]))
            #expect(picture.points.first == points.first)
            #expect(picture.points.last == points.last)
            #expect(picture.points == picture.points.sorted())
        }
    }

    @Test func `few points are all there, in order of the axis`() async throws {
        let points = (0..<100).map { MetricPoint(timestamp: Int64(100 - $0), step: Int64($0), value: .nan) }
        let picture = try await sampled(points, buckets: 25)
        #expect(picture.isWhole)
        #expect(picture.points == points)
        #expect(try await sampled(points, axis: .time, buckets: 25).points == points.reversed())
    }

    @Test func `NaN does not hide a peak`() async throws {
        var points = (0..<1_000).map { MetricPoint(timestamp: 0, step: Int64($0), value: $0 % 2 == 0 ? .nan : 1) }
        points[501].value = 9
        let picture = try await sampled(points, buckets: 10)
        #expect(picture.points.contains(points[501]))
    }

    @Test func `only what lies between two steps is taken`() async throws {
        let folder = try TemporaryFolder()
        let store = try PointStore(folder.path)
        let run = RunID(high: 0, low: 1)
        let points = (0..<5_000).map { MetricPoint(timestamp: 0, step: Int64($0), value: Double($0)) }
        try await store.append([MetricPoints(run: run, key: "loss", points: points)])
        try await store.flush()
        let picture = try await store.sampled(run, "loss", from: 1_000, to: 1_099, buckets: 100)
        #expect(picture.points == Array(points[1_000...1_099]))
        #expect(try await store.sampled(run, "loss", from: 9, to: 3, buckets: 10).points.isEmpty)
        #expect(try await store.sampled(run, "other", buckets: 10) == SampledPoints())
    }
}
