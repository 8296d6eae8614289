import Synchronization

/// Pieces of bytes on their way to one work that takes them in order, behind the back of whoever brings them.
final class PieceLane: Sendable {
    private struct State {
        var pieces: [[UInt8]] = []
        var bytes = 0
        var isWorking = false
        /// Who waits: for room, or for the end of the work.
        var waiting: CheckedContinuation<Void, Never>?
        var waitsForAll = false

        /// Who may go on.
        mutating func ready() -> CheckedContinuation<Void, Never>? {
            guard waitsForAll ? !isWorking : bytes < PieceLane.roomBytes else { return nil }
            defer { waiting = nil }
            return waiting
        }
    }

    /// Bytes that may wait before who brings them has to.
    private static let roomBytes = 4 << 20
    private let state = Mutex(State())

    /// Takes a piece; true when somebody must be set to work on it.
    func add(_ piece: [UInt8]) -> Bool {
        state.withLock { state in
            state.pieces.append(piece)
            state.bytes += piece.count
            defer { state.isWorking = true }
            return !state.isWorking
        }
    }

    /// Waits until there is room, or until nothing is left; one at a time.
    func wait(forAll: Bool) async {
        let mustWait = state.withLock { forAll ? $0.isWorking : $0.bytes >= Self.roomBytes }
        guard mustWait else { return }
        await withCheckedContinuation { continuation in
            let ready = state.withLock { state in
                (state.waiting, state.waitsForAll) = (continuation, forAll)
                return state.ready()
            }
            ready?.resume()
        }
    }

    /// Works until there is nothing more.
    func drain(_ work: ([UInt8]) -> Void) {
        while true {
            let (pieces, ready) = state.withLock { state in
                let pieces = state.pieces
                (state.pieces, state.bytes, state.isWorking) = ([], 0, !pieces.isEmpty)
                return (pieces, state.ready())
            }
            ready?.resume()
            guard !pieces.isEmpty else { return }
            for piece in pieces { work(piece) }
        }
    }
}
