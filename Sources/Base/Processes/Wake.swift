import CLinux
import Glibc
import Synchronization

/// Why somebody was woken.
///
/// Several reasons may have come together.
struct WakeReasons: OptionSet, Sendable {
    let rawValue: UInt8

    static let ended = WakeReasons(rawValue: 1)
    static let deadline = WakeReasons(rawValue: 2)
    static let pause = WakeReasons(rawValue: 4)
    static let cancelled = WakeReasons(rawValue: 8)
    static let drained = WakeReasons(rawValue: 16)
    static let failed = WakeReasons(rawValue: 32)
    static let output = WakeReasons(rawValue: 64)
    static let error = WakeReasons(rawValue: 128)
}

/// A bell with one listener, which loses no ring: what rang while nobody listened is told at the next `next`.
final class Wake: Sendable {
    private struct State {
        var reasons: WakeReasons = []
        var listener: CheckedContinuation<WakeReasons, Never>?
    }

    private let state = Mutex(State())

    func ring(_ reasons: WakeReasons) {
        let woken: (CheckedContinuation<WakeReasons, Never>, WakeReasons)? = state.withLock { state in
            state.reasons.formUnion(reasons)
            guard let listener = state.listener else { return nil }
            defer { state = State() }
            return (listener, state.reasons)
        }
        if let (listener, told) = woken { listener.resume(returning: told) }
    }

    /// Waits for the next ring; not interrupted by cancellation, for which there is a reason of its own.
    func next() async -> WakeReasons {
        await withCheckedContinuation { continuation in
            let told: WakeReasons = state.withLock { state in
                if state.reasons.isEmpty { state.listener = continuation }
                defer { state.reasons = [] }
                return state.reasons
            }
            if !told.isEmpty { continuation.resume(returning: told) }
        }
    }
}

/// A timer that rings a bell once, on the kernel's monotonic clock.
final class Alarm: Sendable {
    /// A hundred years: whoever waits longer waits for nothing.
    private static let longestSeconds: Int64 = 100 * 365 * 86_400

    private let timer: Int32
    private let events: EventThread
    private let watch: EventThread.Watch

    init(_ events: EventThread, rings wake: Wake, as reason: WakeReasons) throws(ProcessError) {
        self.events = events
        timer = clinux_timer()
        guard timer >= 0 else { throw .machinery("make a timer", -timer) }
        do {
            watch = try events.watch(timer) { wake.ring(reason) }
        } catch {
            close(timer)
            throw error
        }
    }

    deinit {
        events.forget(watch)
        close(timer)
    }

    /// Arms the timer anew; a duration that is not positive rings at once.
    func set(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        let whole = UInt64(clamping: min(seconds, Self.longestSeconds)) * 1_000_000_000
        _ = clinux_timer_set(timer, max(1, whole + UInt64(clamping: attoseconds / 1_000_000_000)))
    }
}
