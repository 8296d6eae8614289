import API
import Foundation
import Kernel
import Synchronization

/// Output of a job on its way up: bounded, in order, sent again from where the server stands until it is heard.
///
/// One task writes, one task sends. A writer waits while too much is waiting, and with it the program that writes.
final class JobOutput: Sendable {
    private struct State {
        var bytes: [UInt8] = []
        /// Offset of `bytes[0]` in the job's output.
        var offset: Int64
        var isClosed = false
        /// The server wants no more.
        var isRefused = false
        var line = LineLimiter()
    }

    private let state: Mutex<State>
    private let filled = Bell()
    private let drained = Bell()

    init(offset: Int64) { state = Mutex(State(offset: offset)) }

    /// Takes bytes in; waits while `RunnerLimits.waitingOutput` are waiting.
    func write(_ bytes: [UInt8]) async throws {
        while true {
            let isTaken = state.withLock { state in
                if state.isRefused { return true }
                guard state.bytes.count < RunnerLimits.waitingOutput else { return false }
                state.line.feed(bytes, into: &state.bytes)
                return true
            }
            if isTaken { break }
            try await drained.wait()
        }
        filled.ring()
    }

    /// A line of the runner's own.
    func say(_ line: String) async throws { try await write(Array((line + "\n").utf8)) }

    /// No more will come.
    func close() {
        state.withLock { $0.isClosed = true }
        filled.ring()
    }

    /// Sends until closed and empty, or until the server refuses.
    ///
    /// `send` takes bytes and their offset; it tells where the server stands then, or nil when that wants no more.
    func pump(by time: any TimeSource, send: (Int64, [UInt8]) async throws -> Int64?) async throws {
        while true {
            let (chunk, offset, isClosed) = state.withLock { state in
                (Array(state.bytes.prefix(RunnerLimits.chunkBytes)), state.offset, state.isClosed)
            }
            if chunk.isEmpty {
                if isClosed { return }
                try await filled.wait()
                // What comes in the next moment goes up with it.
                if !state.withLock({ $0.isClosed || $0.bytes.count >= RunnerLimits.chunkBytes }) {
                    try await time.sleep(for: RunnerLimits.gathering)
                }
                continue
            }
            guard let heard = try await send(offset, chunk) else {
                state.withLock { state in (state.isRefused, state.bytes) = (true, []) }
                drained.ring()
                return
            }
            acknowledge(heard)
            drained.ring()
        }
    }

    /// Forgets what the server has.
    ///
    /// It may stand elsewhere than expected after a crash: then its word counts.
    private func acknowledge(_ heard: Int64) {
        state.withLock { state in
            let count = heard - state.offset
            if count > 0 { state.bytes.removeFirst(min(Int(count), state.bytes.count)) }
            state.offset = heard
        }
    }
}

/// Drops what is beyond the longest line, so that no reader ever has to hold one that is larger.
struct LineLimiter: Sendable {
    private var length = 0
    private static let notice = Array(" … (the rest of this line is cut)".utf8)

    mutating func feed(_ bytes: [UInt8], into out: inout [UInt8]) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let end = rest.firstIndex(of: UInt8(ascii: "\n"))
            let piece = rest[..<(end ?? rest.endIndex)]
            let room = RunnerLimits.lineBytes - length
            if room > 0 {
                out += piece.prefix(room)
                if piece.count > room { out += Self.notice }
            }
            length += piece.count
            guard let end else { return }
            out.append(UInt8(ascii: "\n"))
            length = 0
            rest = rest[(end + 1)...]
        }
    }
}
