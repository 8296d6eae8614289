internal import Segments

/// What a search looks at first, column by column: one entry for each span.
struct SpanColumns: Sendable {
    /// Texts that spans share.
    struct Names: Sendable {
        private(set) var all: [String] = []
        private var places: [String: UInt32] = [:]

        func place(of name: String) -> UInt32? { places[name] }

        mutating func enter(_ name: String) -> UInt32 {
            if let place = places[name] { return place }
            let place = UInt32(all.count)
            all.append(name)
            places[name] = place
            return place
        }
    }

    var names = Names()
    var traces: [TraceID] = []
    var services: [UInt32] = []
    var operations: [UInt32] = []
    var starts: [Int64] = []
    var durations: [Int64] = []
    /// The kind in the lower bits, the status above.
    var kinds: [UInt8] = []

    var count: Int { starts.count }

    mutating func add(_ span: Span) {
        traces.append(span.traceID)
        services.append(names.enter(span.service))
        operations.append(names.enter(span.operation))
        starts.append(span.start)
        durations.append(span.duration)
        kinds.append(span.kind.rawValue | span.status.rawValue << 4)
    }

    /// The services, and of each the operations with their kinds.
    var catalogue: Set<SpanOperation> {
        var seen: Set<UInt64> = []
        var found: Set<SpanOperation> = []
        for index in 0..<count {
            let kind = kinds[index] & 15
            let key = UInt64(services[index]) << 34 | UInt64(operations[index]) << 4 | UInt64(kind)
            guard seen.insert(key).inserted else { continue }
            found.insert(
                SpanOperation(
                    service: names.all[Int(services[index])], name: names.all[Int(operations[index])],
                    kind: Span.Kind(rawValue: kind) ?? .unspecified))
        }
        return found
    }

    /// Spans sorted by trace; each trace once with the number of its spans.
    func encode() -> [UInt8] {
        var writer = ByteWriter()
        writer.add(count: names.all.count)
        for name in names.all { writer.add(text: name) }
        writer.add(count: count)
        var index = 0
        while index < count {
            let first = index
            while index < count, traces[index] == traces[first] { index += 1 }
            writer.add(fixed: traces[first].high)
            writer.add(fixed: traces[first].low)
            writer.add(count: index - first)
        }
        var last: Int64 = 0
        for index in 0..<count {
            writer.add(count: Int(services[index]))
            writer.add(count: Int(operations[index]))
            writer.add(signed: starts[index] &- last)
            writer.add(signed: durations[index])
            writer.add(kinds[index])
            last = starts[index]
        }
        return writer.bytes
    }

    init() {}

    init(_ bytes: UnsafeRawBufferPointer) throws {
        var reader = ByteReader(bytes)
        for _ in 0..<(try reader.count()) { _ = names.enter(try reader.text()) }
        let count = try reader.count()
        while traces.count < count {
            let trace = TraceID(high: try reader.fixed(), low: try reader.fixed())
            let spans = try reader.count(atMost: count - traces.count)
            guard spans > 0 else { throw StorageError.damaged("a trace has no spans") }
            traces += Array(repeating: trace, count: spans)
        }
        var last: Int64 = 0
        for _ in 0..<count {
            services.append(UInt32(try reader.count(atMost: names.all.count - 1)))
            operations.append(UInt32(try reader.count(atMost: names.all.count - 1)))
            last = last &+ (try reader.signed())
            starts.append(last)
            durations.append(try reader.signed())
            kinds.append(try reader.byte())
        }
    }
}

/// An operation of a service.
package struct SpanOperation: Hashable, Comparable, Sendable {
    package let service: String
    package let name: String
    package let kind: Span.Kind

    package static func < (left: SpanOperation, right: SpanOperation) -> Bool {
        (left.service, left.name, left.kind.rawValue) < (right.service, right.name, right.kind.rawValue)
    }
}

/// Tells of most traces that a segment does not have them: a Bloom filter, 10 bits a trace, 7 of them set.
struct TraceFilter: Sendable {
    static let bitsPerTrace = 10
    static let probes: UInt64 = 7

    private(set) var words: [UInt64]

    init(_ traces: Set<TraceID>) {
        words = Array(repeating: 0, count: max(1, (traces.count * Self.bitsPerTrace + 63) / 64))
        for trace in traces {
            for bit in Self.bits(trace, words.count) { words[bit >> 6] |= 1 << UInt64(bit & 63) }
        }
    }

    init(words: [UInt64]) { self.words = words }

    func mayHold(_ trace: TraceID) -> Bool {
        Self.bits(trace, words.count).allSatisfy { words[$0 >> 6] & 1 << UInt64($0 & 63) != 0 }
    }

    private static func bits(_ trace: TraceID, _ words: Int) -> [Int] {
        let first = mixed(trace.high ^ mixed(trace.low))
        let second = mixed(first) | 1
        return (0..<probes).map { Int((first &+ $0 &* second) % UInt64(max(1, words) * 64)) }
    }

    /// The finishing steps of MurmurHash3: ids of traces need not be random.
    private static func mixed(_ value: UInt64) -> UInt64 {
        var mixed = value
        mixed = (mixed ^ (mixed >> 33)) &* 0xFF51_AFD7_ED55_8CCD
        mixed = (mixed ^ (mixed >> 33)) &* 0xC4CE_B9FE_1A85_EC53
        return mixed ^ (mixed >> 33)
    }
}
