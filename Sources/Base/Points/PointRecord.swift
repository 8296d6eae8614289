internal import Segments

/// What the write-ahead log holds: points as they came, or runs that were removed. See `Formats.md`.
enum PointRecord {
    private static let pointsKind: UInt8 = 1
    private static let deletionKind: UInt8 = 2

    case points([MetricPoints])
    case deletion([RunID])

    static func encode(_ series: [MetricPoints]) -> [UInt8] {
        var writer = ByteWriter()
        writer.bytes.reserveCapacity(series.reduce(8) { $0 + 32 + $1.key.utf8.count + $1.points.count * 16 })
        writer.add(pointsKind)
        writer.add(count: series.count)
        var run: RunID?
        var last = MetricPoint(timestamp: 0, step: 0, value: 0)
        for one in series {
            writer.add(one.run == run ? 0 : 1)
            if one.run != run { writer.add(id: one.run) }
            run = one.run
            writer.add(text: one.key)
            writer.add(count: one.points.count)
            for point in one.points {
                writer.add(signed: point.timestamp &- last.timestamp)
                writer.add(signed: point.step &- last.step)
                writer.add(fixed: point.value.bitPattern)
                last = point
            }
        }
        return writer.bytes
    }

    static func encode(deleting runs: [RunID]) -> [UInt8] {
        var writer = ByteWriter()
        writer.add(deletionKind)
        writer.add(count: runs.count)
        for run in runs { writer.add(id: run) }
        return writer.bytes
    }

    init(_ bytes: UnsafeRawBufferPointer) throws {
        var reader = ByteReader(bytes)
        switch try reader.byte() {
        case Self.pointsKind: self = .points(try Self.series(&reader))
        case Self.deletionKind: self = .deletion(try (0..<reader.count()).map { _ in try reader.runID() })
        default: throw StorageError.damaged("a record of the log of points is of no known kind")
        }
    }

    private static func series(_ reader: inout ByteReader) throws -> [MetricPoints] {
        var all: [MetricPoints] = []
        var run: RunID?
        var last = MetricPoint(timestamp: 0, step: 0, value: 0)
        for _ in 0..<(try reader.count()) {
            if try reader.byte() == 1 { run = try reader.runID() }
            guard let run else { throw StorageError.damaged("a record of points names no run") }
            var one = MetricPoints(run: run, key: try reader.text(), points: [])
            let count = try reader.count()
            one.points.reserveCapacity(count)
            for _ in 0..<count {
                last.timestamp &+= try reader.signed()
                last.step &+= try reader.signed()
                last.value = Double(bitPattern: try reader.fixed())
                one.points.append(last)
            }
            all.append(one)
        }
        return all
    }
}

extension ByteWriter {
    mutating func add(id run: RunID) {
        add(fixed: run.high.bigEndian)
        add(fixed: run.low.bigEndian)
    }
}

extension ByteReader {
    mutating func runID() throws -> RunID {
        RunID(high: UInt64(bigEndian: try fixed()), low: UInt64(bigEndian: try fixed()))
    }
}
