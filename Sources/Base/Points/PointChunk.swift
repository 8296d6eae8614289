internal import Segments
internal import TSDB

/// Points after one another: the first whole, then each by the change of the distance of times and of steps, and its value after the
/// last one. See `Formats.md`.
enum PointChunk {
    /// Points of one chunk. Larger ones cost a reader who wants a page of few, smaller ones their heads.
    static let most = 1_024

    static func encode(_ points: ArraySlice<MetricPoint>, into bytes: inout ByteWriter) {
        guard var last = points.first else { return }
        bytes.add(signed: last.timestamp)
        bytes.add(signed: last.step)
        bytes.add(fixed: last.value.bitPattern)
        var (distance, stride): (Int64, Int64) = (0, 0)
        var bits = BitWriter(capacity: points.count + 2)
        for point in points.dropFirst() {
            let (time, step) = (point.timestamp &- last.timestamp, point.step &- last.step)
            TimeCode.encode(time &- distance) { bits.write($0, $1) }
            TimeCode.encode(step &- stride) { bits.write($0, $1) }
            ValueCode.encode(point.value.bitPattern, after: last.value.bitPattern) { bits.write($0, $1) }
            (distance, stride, last) = (time, step, point)
        }
        bits.append(to: &bytes.bytes)
    }

    /// Adds the points of a chunk.
    ///
    /// - Parameters:
    ///   - bytes: Of the chunk, and `BitReader.padding` readable ones behind it.
    ///   - length: Of the chunk alone.
    /// - Throws: `StorageError.damaged`.
    static func decode(
        _ bytes: UnsafeRawBufferPointer, length: Int, count: Int, into points: inout [MetricPoint]
    ) throws {
        guard let base = bytes.baseAddress, length + BitReader.padding <= bytes.count, count > 0, count <= most else {
            throw StorageError.damaged("a chunk of points has no sense")
        }
        var head = ByteReader(UnsafeRawBufferPointer(start: base, count: length))
        var time = try head.signed()
        var step = try head.signed()
        var value = try head.fixed(UInt64.self)
        points.append(MetricPoint(timestamp: time, step: step, value: Double(bitPattern: value)))
        var bits = BitReader(base + head.position, byteCount: length - head.position)
        var (distance, stride): (Int64, Int64) = (0, 0)
        for _ in 1..<count {
            distance &+= TimeCode.decode(&bits)
            stride &+= TimeCode.decode(&bits)
            value = ValueCode.decode(&bits, after: value)
            time &+= distance
            step &+= stride
            if bits.isPastEnd { throw StorageError.damaged("a chunk of points ends too early") }
            points.append(MetricPoint(timestamp: time, step: step, value: Double(bitPattern: value)))
        }
    }
}

/// What is known of a chunk without reading it.
struct PointChunkHead: Sendable {
    var count = 0
    /// Bytes of the chunk, without its checksum.
    var length = 0
    /// Timestamp and step of the first and the last point, in the order of a history.
    var first = PointPlace(timestamp: 0, step: 0)
    var last = PointPlace(timestamp: 0, step: 0)
    var leastStep: Int64 = 0
    var greatestStep: Int64 = 0

    init() {}

    init(_ points: ArraySlice<MetricPoint>, length: Int) {
        (count, self.length) = (points.count, length)
        guard let first = points.first, let last = points.last else { return }
        (self.first, self.last) = (PointPlace(first), PointPlace(last))
        (leastStep, greatestStep) = (first.step, first.step)
        for point in points {
            leastStep = min(leastStep, point.step)
            greatestStep = max(greatestStep, point.step)
        }
    }

    func encode(into writer: inout ByteWriter) {
        writer.add(count: count)
        writer.add(count: length)
        writer.add(signed: first.timestamp)
        writer.add(signed: first.step)
        writer.add(signed: last.timestamp &- first.timestamp)
        writer.add(signed: last.step &- first.step)
        writer.add(signed: leastStep &- first.step)
        writer.add(signed: greatestStep &- first.step)
    }

    init(_ reader: inout ByteReader) throws {
        count = try reader.count(atMost: PointChunk.most)
        length = try reader.count(atMost: PointSegment.mostBytes)
        first = PointPlace(timestamp: try reader.signed(), step: try reader.signed())
        last = PointPlace(
            timestamp: first.timestamp &+ (try reader.signed()), step: first.step &+ (try reader.signed()))
        leastStep = first.step &+ (try reader.signed())
        greatestStep = first.step &+ (try reader.signed())
        guard count > 0 else { throw StorageError.damaged("a chunk of points is empty") }
    }
}

/// Where points lie in a history, as far as a head of a chunk tells.
struct PointPlace: Comparable, Sendable {
    var timestamp: Int64
    var step: Int64

    init(timestamp: Int64, step: Int64) {
        self.timestamp = timestamp
        self.step = step
    }

    init(_ point: MetricPoint) { self.init(timestamp: point.timestamp, step: point.step) }

    static func < (left: PointPlace, right: PointPlace) -> Bool {
        left.timestamp == right.timestamp ? left.step < right.step : left.timestamp < right.timestamp
    }
}
