import Synchronization

/// Hands the parts of one answer from the task that reads the network to the task of the caller.
///
/// It holds one part: the network is read no faster than the caller takes. It also knows how long the network has been
/// silent, not counting the time in which the caller was slow.
final class Mailbox: Sendable {
    enum Part: Sendable {
        case head(HTTPResponse)
        case chunk([UInt8])
        case end
    }

    private struct State {
        var part: Part?
        var failure: OutboundError?
        var taker: CheckedContinuation<Part, any Error>?
        var putter: CheckedContinuation<Void, any Error>?
        /// Since when the network is awaited; nil while the caller is.
        var silentSince: ContinuousClock.Instant?
        var hasHead = false
    }
    private let state: Mutex<State>

    init(now: ContinuousClock.Instant) { state = Mutex(State(silentSince: now)) }

    /// Hands over a part and waits until it was taken.
    func put(_ part: Part) async throws {
        try await withCheckedThrowingContinuation { (putter: CheckedContinuation<Void, any Error>) in
            let action = state.withLock { state -> (() -> Void) in
                if let failure = state.failure { return { putter.resume(throwing: failure) } }
                if case .head = part { state.hasHead = true }
                if let taker = state.taker {
                    state.taker = nil
                    state.silentSince = .now
                    return {
                        taker.resume(returning: part)
                        putter.resume()
                    }
                }
                (state.part, state.putter, state.silentSince) = (part, putter, nil)
                return {}
            }
            action()
        }
    }

    /// Waits for the next part.
    func take() async throws -> Part {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (taker: CheckedContinuation<Part, any Error>) in
                let action = state.withLock { state -> (() -> Void) in
                    if let part = state.part {
                        let putter = state.putter
                        (state.part, state.putter, state.silentSince) = (nil, nil, .now)
                        return {
                            taker.resume(returning: part)
                            putter?.resume()
                        }
                    }
                    if let failure = state.failure { return { taker.resume(throwing: failure) } }
                    state.taker = taker
                    return {}
                }
                action()
            }
        } onCancel: {
            fail(OutboundError(.cancelled, "the request was cancelled"))
        }
    }

    /// Ends both sides with an error; the first one counts.
    func fail(_ error: OutboundError) {
        let (taker, putter, failure) = state.withLock { state in
            let failure = state.failure ?? error
            defer { (state.taker, state.putter, state.part, state.failure) = (nil, nil, nil, failure) }
            return (state.taker, state.putter, failure)
        }
        taker?.resume(throwing: failure)
        putter?.resume(throwing: failure)
    }

    /// When the wait for the network becomes too long, and why; checked again then, as it moves with each part.
    func overdue(
        _ patience: Patience, since start: ContinuousClock.Instant, now: ContinuousClock.Instant
    ) -> (at: ContinuousClock.Instant, reason: String)? {
        let (silentSince, hasHead) = state.withLock { ($0.silentSince, $0.hasHead) }
        var limits: [(ContinuousClock.Instant, String)] = []
        if let total = patience.total { limits.append((start + total, "no whole answer within \(total)")) }
        if !hasHead, let head = patience.head { limits.append((start + head, "no answer within \(head)")) }
        if hasHead, let idle = patience.idle {
            limits.append(((silentSince ?? now) + idle, "nothing more was sent for \(idle)"))
        }
        return limits.min { $0.0 < $1.0 }.map { (at: $0.0, reason: $0.1) }
    }
}

/// How long an answer may take.
struct Patience: Sendable {
    /// For all of it.
    var total: Duration?
    /// Until the head is there.
    var head: Duration?
    /// Between two pieces of the body.
    var idle: Duration?

    /// The wait until something may be overdue; a moving limit is looked at again at least this often.
    static let longestLook = Duration.seconds(3600)
}
