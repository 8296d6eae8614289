import NIOCore
import Synchronization

/// Finished requests that somebody wants to hear of one by one: all that failed or were slow, and a share of the others.
///
/// Loops gather records and hand them over in batches, so that a request costs the others no lock. Nothing waits without a bound:
/// what finds no room is dropped and counted.
package final class RequestRecords: Sendable {
    /// Records that wait to be taken.
    package static let limit = 400
    /// Requests a loop chooses in a second at most; failed and slow ones come besides.
    package static let chosenPerSecond = 10
    /// Records that a loop gathers before it hands them over.
    static let batch = 32

    private let ratio = Atomic<UInt64>(Double(1).bitPattern)
    private let slow = Atomic<UInt64>(1_000_000)
    private let state = Mutex<(records: [AccessRecord], dropped: Int)>(([], 0))

    package init() {}

    /// - Parameters:
    ///   - ratio: Share of traces that is chosen, 0...1.
    ///   - slow: Time from which a request is recorded whoever chose it.
    package func choose(ratio: Double, slow: Duration) {
        self.ratio.store(ratio.bitPattern, ordering: .relaxed)
        self.slow.store(UInt64(max(0, slow / .microseconds(1))), ordering: .relaxed)
    }

    /// Takes what was handed over, with the number of records that were dropped since the last time.
    package func take() -> (records: [AccessRecord], dropped: Int) {
        var taken: (records: [AccessRecord], dropped: Int) = state.withLock { state in
            defer { state = ([], 0) }
            return state
        }
        let now = NIODeadline.now()
        for index in taken.records.indices {
            let age = now - NIODeadline.uptimeNanoseconds(taken.records[index].endedAt)
            taken.records[index].ageMicroseconds = UInt64(max(0, age.nanoseconds)) / 1_000
        }
        return taken
    }

    /// By the last bits of the trace's id, which are random: all who go by the same share choose the same traces.
    func isChosen(_ trace: RequestTrace) -> Bool {
        let share = Double(bitPattern: ratio.load(ordering: .relaxed))
        return share >= 1 || Double(trace.low >> 11) / Double(UInt64(1) << 53) < share
    }

    func isSlow(_ microseconds: UInt64) -> Bool { microseconds >= slow.load(ordering: .relaxed) }

    func keep(_ batch: [AccessRecord]) {
        state.withLock { state in
            let room = max(0, Self.limit - state.records.count)
            state.records += batch.prefix(room)
            state.dropped += max(0, batch.count - room)
        }
    }
}

/// One loop's part of it.
struct RecordGathering {
    private let records: RequestRecords
    private var batch: [AccessRecord] = []
    private var left = RequestRecords.chosenPerSecond
    private var second = NIODeadline.now()

    init(_ records: RequestRecords) { self.records = records }

    /// Whether the request that begins now is recorded, however it ends.
    mutating func chooses(_ trace: RequestTrace, now: NIODeadline) -> Bool {
        if now - second >= .seconds(1) { (second, left) = (now, RequestRecords.chosenPerSecond) }
        guard left > 0, records.isChosen(trace) else { return false }
        left -= 1
        return true
    }

    func isSlow(_ microseconds: UInt64) -> Bool { records.isSlow(microseconds) }

    mutating func add(_ record: AccessRecord) {
        batch.append(record)
        if batch.count >= RequestRecords.batch { handOver() }
    }

    mutating func handOver() {
        guard !batch.isEmpty else { return }
        records.keep(batch)
        batch.removeAll(keepingCapacity: true)
    }
}

/// One finished request.
package struct AccessRecord: Sendable, Equatable {
    package var service: String
    package var revision: String
    /// The endpoint that served it last; empty when none did.
    package var instance: String
    package var method: String
    /// As asked for, query included.
    package var target: String
    /// As asked for, port included.
    package var host: String
    /// The client's IP address.
    package var client: String
    /// 499 when the client left before a response began.
    package var status: Int
    /// From the request's head to the last byte of the response.
    package var durationMicroseconds: UInt64
    /// From the request's head to the response's; nil when the proxy answered itself.
    package var firstByteMicroseconds: UInt64?
    /// Bytes to the upstream and to the client, heads included.
    package var requestBytes: Int
    package var responseBytes: Int
    /// Endpoints tried.
    package var attempts: Int
    package var requestID: String
    /// The proxy answered itself, or the upstream broke off.
    package var isTransportError: Bool
    package var trace: RequestTrace
    /// Time since its end when it was taken.
    package var ageMicroseconds: UInt64 = 0
    /// Nanoseconds of this machine's uptime.
    var endedAt: UInt64
}

/// A request's place in its trace (W3C Trace Context).
package struct RequestTrace: Sendable, Equatable {
    package var high: UInt64
    package var low: UInt64
    /// The span that the client sent; 0: the trace begins here.
    package var parent: UInt64
    /// The span of the request's way through this proxy.
    package var span: UInt64
    var flags: UInt8
    /// Chosen to be recorded: what is behind the proxy is told so.
    package var isChosen = false

    /// The trace that a request belongs to; a new one has the request's id, so that whoever knows the one knows the other.
    init(given: UnsafeRawBufferPointer?, requestID: RequestID, ids: inout IDGenerator) {
        span = ids.next() | 1
        if let given, Traceparent.isValid(given) {
            high = Bytes.hex(given[3..<19])
            low = Bytes.hex(given[19..<35])
            parent = Bytes.hex(given[36..<52])
            flags = UInt8(truncatingIfNeeded: Bytes.hex(given[53..<55]))
        } else {
            (high, low) = requestID.bits ?? (ids.next(), ids.next() | 1)
            parent = 0
            // Sampled, so that samplers that follow their parent go on as by default.
            flags = 1
        }
    }

    /// Whether the client's own header goes on as it came.
    var keepsHeader: Bool { parent != 0 && !isChosen }

    /// Writes what the next hop is told, unless the client's header is kept.
    func write(to buffer: inout ByteBuffer) {
        guard !keepsHeader else { return }
        buffer.writeStaticString("traceparent: 00-")
        buffer.writeHex(high)
        buffer.writeHex(low)
        buffer.writeStaticString("-")
        buffer.writeHex(span)
        buffer.writeStaticString("-")
        buffer.writeInteger(Bytes.hexDigit(of: flags >> 4))
        buffer.writeInteger(Bytes.hexDigit(of: flags & 15))
        buffer.writeStaticString("\r\n")
        // Before the others, as the newest entry (§3.5).
        if isChosen { buffer.writeStaticString("tracestate: vagus=r\r\n") }
    }
}

extension Bytes {
    /// Value of at most 16 hexadecimal digits; others count as 0.
    static func hex(_ bytes: Slice<UnsafeRawBufferPointer>) -> UInt64 {
        bytes.reduce(0) { $0 << 4 | (hexDigit($1) ?? 0) }
    }

    static func hexDigit(of nibble: UInt8) -> UInt8 { nibble < 10 ? zero + nibble : 0x57 + nibble }

    private static let zero = Ascii.zero
}
