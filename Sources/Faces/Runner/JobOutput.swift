import API
import Foundation
import Kernel
import Masking
import Synchronization

/// Output of a job on its way up: masked, bounded, in order, sent again from where the server stands until it is heard.
///
/// One task writes, one task sends. A writer waits while too much is waiting, and with it the program that writes.
final class JobOutput: Sendable {
    private struct State {
        /// What waits to be sent, from `head` on.
        var bytes: [UInt8] = []
        var head = 0
        /// Offset of `bytes[head]` in the job's output.
        var offset: Int64
        var isClosed = false
        /// What waits holds bytes of a program, not only lines of ours.
        var isUrgent = false
        /// The server wants no more.
        var isRefused = false
        var commands = MaskCommands()
        var masker: Masker
        /// What the masker knows of the mask.
        var version = 0
        var line = LineLimiter()
        var waiting: Int { bytes.count - head }
    }

    private let state: Mutex<State>
    private let filled = Bell()
    private let drained = Bell()
    let mask: JobMask

    init(offset: Int64, mask: JobMask) {
        self.mask = mask
        state = Mutex(State(offset: offset, masker: Masker(mask.set)))
    }

    /// Takes bytes in; waits while `RunnerLimits.waitingOutput` are waiting.
    func write(_ bytes: [UInt8]) async throws { try await write(bytes, isUrgent: true) }

    private func write(_ bytes: [UInt8], isUrgent: Bool) async throws {
        while true {
            let isTaken = state.withLock { state in
                if state.isRefused { return true }
                guard state.waiting < RunnerLimits.waitingOutput else { return false }
                take(bytes, &state)
                state.isUrgent = state.isUrgent || isUrgent
                return true
            }
            if isTaken { break }
            try await drained.wait()
        }
        filled.ring()
    }

    /// Every byte goes this way: commands taken out, secrets masked, lines cut.
    private func take(_ bytes: [UInt8], _ state: inout State) {
        learn(&state)
        var (masker, clean) = (state.masker, [UInt8]())
        clean.reserveCapacity(bytes.count)
        state.commands.feed(
            bytes, bytes: { masker.feed($0, into: &clean) }, secret: { add($0, &masker, &clean) })
        state.masker = masker
        state.line.feed(clean, into: &state.bytes)
    }

    private func add(_ secret: String, _ masker: inout Masker, _ out: inout [UInt8]) {
        mask.add(secret)
        masker.know(mask.set)
        masker.feed(Array("::add-mask::\(Masking.mask)\n".utf8)[...], into: &out)
    }

    /// Others add secrets too.
    private func learn(_ state: inout State) {
        let (set, version) = mask.current
        guard version != state.version else { return }
        state.masker.know(set)
        state.version = version
    }

    /// A line of the runner's own.
    func say(_ line: String) async throws {
        // What a program has left open ends before: it is not the beginning of our line.
        state.withLock { flush(&$0) }
        try await write(Array((line + "\n").utf8), isUrgent: false)
    }

    /// What is left to be sent once all else was, when it is so short that it goes along with the job's end.
    var tail: OutputTail? {
        state.withLock { state in
            guard state.isClosed, !state.isRefused, state.waiting > 0, state.waiting <= RunnerLimits.tailBytes,
                let text = String(validating: state.bytes[state.head...], as: UTF8.self)
            else { return nil }
            var tail = OutputTail()
            (tail.offset, tail.text) = (state.offset, text)
            return tail
        }
    }

    /// No more will come.
    func close() {
        state.withLock { state in
            flush(&state)
            state.isClosed = true
        }
        filled.ring()
    }

    /// Lets go of what was held back as a possible beginning of a command or secret.
    private func flush(_ state: inout State) {
        var (masker, clean) = (state.masker, [UInt8]())
        state.commands.flush(bytes: { masker.feed($0, into: &clean) }, secret: { add($0, &masker, &clean) })
        masker.flush(into: &clean)
        state.masker = masker
        state.line.feed(clean, into: &state.bytes)
    }

    /// Sends until closed and empty but for a short tail, or until the server refuses.
    ///
    /// `send` takes bytes and their offset; it tells where the server stands then, or nil when that wants no more.
    func pump(by time: any TimeSource, send: (Int64, [UInt8]) async throws -> Int64?) async throws {
        var last: Timestamp?
        /// Since when words of ours wait alone.
        var said: Timestamp?
        while true {
            let (waiting, isClosed, isUrgent) = state.withLock { ($0.waiting, $0.isClosed, $0.isUrgent) }
            if isClosed, waiting == 0 || tail != nil { return }
            if waiting == 0 {
                said = nil
                try await filled.wait()
                continue
            }
            // A program's first word after a silence goes up at once; what follows it closely is gathered, and so is
            // what only the runner says.
            if !isUrgent, said == nil { said = time.now }
            let gathersFrom = isUrgent ? last : max(last ?? .zero, said ?? .zero)
            if !isClosed, waiting < RunnerLimits.chunkBytes,
                let due = gathersFrom?.advanced(by: RunnerLimits.gathering), time.now < due
            {
                try await filled.wait(until: due, by: time)
                continue
            }
            let (chunk, offset) = state.withLock { state in
                let end = min(state.bytes.count, state.head + RunnerLimits.chunkBytes)
                state.isUrgent = false
                return (Array(state.bytes[state.head..<end]), state.offset)
            }
            guard let heard = try await send(offset, chunk) else {
                state.withLock { state in (state.isRefused, state.bytes, state.head) = (true, [], 0) }
                drained.ring()
                return
            }
            acknowledge(heard)
            drained.ring()
            last = time.now
        }
    }

    /// Forgets what the server has.
    ///
    /// It may stand elsewhere than expected after a crash: then its word counts.
    private func acknowledge(_ heard: Int64) {
        state.withLock { state in
            let count = heard - state.offset
            if count > 0 { state.head += min(Int(count), state.waiting) }
            state.offset = heard
            if state.head == state.bytes.count {
                state.bytes.removeAll(keepingCapacity: true)
                state.head = 0
            } else if state.head > state.bytes.count / 2 {
                state.bytes.removeFirst(state.head)
                state.head = 0
            }
        }
    }
}

/// Drops what is beyond the longest line, so that no reader ever has to hold one that is larger.
struct LineLimiter: Sendable {
    private var length = 0
    private static let notice = Array(" … (the rest of this line is cut)".utf8)

    mutating func feed(_ bytes: [UInt8], into out: inout [UInt8]) {
        // Nearly always nothing is to be cut.
        if length + bytes.count <= RunnerLimits.lineBytes {
            out += bytes
            length = bytes[...].lastNewline.map { bytes.count - 1 - $0 } ?? length + bytes.count
            return
        }
        var rest = bytes[...]
        while !rest.isEmpty {
            let end = rest.newline
            let piece = rest[..<(end ?? rest.endIndex)]
            let room = RunnerLimits.lineBytes - length
            if room >= 0 {
                out += piece.prefix(room)
                if piece.count > room {
                    out += Self.notice
                    length = RunnerLimits.lineBytes + 1
                } else {
                    length += piece.count
                }
            }
            guard let end else { return }
            out.append(UInt8(ascii: "\n"))
            length = 0
            rest = rest[(end + 1)...]
        }
    }
}

extension ArraySlice<UInt8> {
    /// Index of the first line feed; memchr looks at many bytes at once.
    var newline: Int? {
        withUnsafeBytes { buffer in
            guard let base = buffer.baseAddress, let found = memchr(base, 0x0A, buffer.count) else { return nil }
            return startIndex + base.distance(to: UnsafeRawPointer(found))
        }
    }

    var lastNewline: Int? {
        withUnsafeBytes { buffer in buffer.lastIndex(of: 0x0A).map { startIndex + $0 } }
    }
}
