import Series

/// The series of the head that matchers found, by the order of their labels.
///
/// Their labels lie in that order one behind the other: a walk over a hundred thousand waits for memory far less than one over
/// the series' own.
final class FoundSeries: @unchecked Sendable {  // written by `init` alone
    let ids: [UInt32]
    private let bytes: UnsafeMutablePointer<UInt8>
    /// Where the labels of each begin, and where the last end.
    private let starts: UnsafeMutablePointer<Int>

    init(_ series: [Int], _ labels: (Int) -> Labels) {
        ids = series.map { UInt32($0) }
        let starts = UnsafeMutablePointer<Int>.allocate(capacity: series.count + 1)
        starts[0] = 0
        for place in series.indices { starts[place + 1] = starts[place] + labels(series[place]).bytes.count }
        let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: max(1, starts[series.count]))
        for place in series.indices {
            labels(series[place]).bytes.withUnsafeBufferPointer { own in
                guard let base = own.baseAddress else { return }
                (bytes + starts[place]).update(from: base, count: own.count)
            }
        }
        (self.starts, self.bytes) = (starts, bytes)
    }

    deinit {
        starts.deallocate()
        bytes.deallocate()
    }

    /// - Precondition: the place is one of those in `ids`.
    @inline(__always)
    func labels(_ place: Int) -> UnsafeBufferPointer<UInt8> {
        UnsafeBufferPointer(start: bytes + starts[place], count: starts[place + 1] - starts[place])
    }
}

struct HeadSample: Sendable {
    var time: Int64
    var bits: UInt64
}

/// What a selection found when the head alone has it.
struct HeadSet: SeriesSet {
    private struct Place: Sendable {
        /// Which of those found.
        let series: UInt32
        /// Where its samples are; below zero when the one beside is all that is wanted.
        let part: Int32
        let newest: HeadSample
    }

    private let found: FoundSeries
    private let from: Int64
    private let to: Int64
    private var places: [Place] = []
    private var parts: [HeadPart] = []

    init(_ found: FoundSeries, from: Int64, to: Int64) {
        self.found = found
        self.from = from
        self.to = to
    }

    mutating func reserve(_ count: Int, newestOnly: Bool) {
        places.reserveCapacity(count)
        if !newestOnly { parts.reserveCapacity(count) }
    }

    @inline(__always)
    mutating func add(_ place: Int, _ newest: HeadSample) {
        places.append(Place(series: UInt32(place), part: -1, newest: newest))
    }

    mutating func add(_ place: Int, _ part: HeadPart) {
        places.append(Place(series: UInt32(place), part: Int32(parts.count), newest: HeadSample(time: 0, bits: 0)))
        parts.append(part)
    }

    var count: Int { places.count }
    func labels(at index: Int) -> Labels { Labels(encoded: Array(found.labels(Int(places[index].series)))) }

    func newest(at index: Int) -> NewestNumber? {
        let place = places[index]
        guard place.part < 0 else { return nil }
        return NewestNumber(
            labels: found.labels(Int(place.series)), time: place.newest.time,
            value: Double(bitPattern: place.newest.bits))
    }

    func read(_ index: Int, into buffer: inout SampleBuffer) throws {
        buffer.removeAll()
        let place = places[index]
        if place.part < 0 { return buffer.append(place.newest.time, Double(bitPattern: place.newest.bits)) }
        do {
            try parts[Int(place.part)].read(from: from, to: to, into: &buffer)
        } catch is ByteReader.Damaged {
            throw SeriesError(.storage, "a chunk of \(labels(at: index)) is damaged")
        }
    }

    /// The same for a merge with blocks.
    var entries: [StoreSet.Entry] {
        places.indices.map { StoreSet.Entry(labels: labels(at: $0), head: parts[Int(places[$0].part)]) }
    }
}
