import Synchronization

/// Hands pieces from one task to another, one at a time: whoever gives waits until it is taken.
final class Handover: Sendable {
    private enum State {
        case empty
        case offered([UInt8], CheckedContinuation<Bool, Never>)
        case awaited(CheckedContinuation<[UInt8]?, Never>)
        case over
    }
    private let state = Mutex(State.empty)

    /// Gives a piece; false when nobody takes any more.
    func give(_ bytes: [UInt8]) async -> Bool {
        await withCheckedContinuation { giver in
            let (taker, isOver) = state.withLock { state -> (CheckedContinuation<[UInt8]?, Never>?, Bool) in
                switch state {
                case .empty:
                    state = .offered(bytes, giver)
                    return (nil, false)
                case .awaited(let taker):
                    state = .empty
                    return (taker, false)
                case .offered: preconditionFailure("one gives at a time")
                case .over: return (nil, true)
                }
            }
            if let taker {
                taker.resume(returning: bytes)
                giver.resume(returning: true)
            } else if isOver {
                giver.resume(returning: false)
            }
        }
    }

    /// The next piece; nil when there will be none.
    func take() async -> [UInt8]? {
        await withCheckedContinuation { taker in
            enum Answer {
                case wait
                case piece([UInt8], CheckedContinuation<Bool, Never>)
                case none
            }
            let answer = state.withLock { state -> Answer in
                switch state {
                case .empty:
                    state = .awaited(taker)
                    return .wait
                case .offered(let bytes, let giver):
                    state = .empty
                    return .piece(bytes, giver)
                case .awaited: preconditionFailure("one takes at a time")
                case .over: return .none
                }
            }
            switch answer {
            case .wait: break
            case .piece(let bytes, let giver):
                giver.resume(returning: true)
                taker.resume(returning: bytes)
            case .none: taker.resume(returning: nil)
            }
        }
    }

    /// Ends it from either side; a piece that was not taken is lost.
    func end() {
        let last = state.withLock { state in
            defer { state = .over }
            return state
        }
        switch last {
        case .offered(_, let giver): giver.resume(returning: false)
        case .awaited(let taker): taker.resume(returning: nil)
        case .empty, .over: break
        }
    }
}
