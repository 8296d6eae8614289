import API
import Synchronization

/// What a loop has before it: keys that wait to be looked at, those that are, and when others are due.
///
/// News is taken while there is room, that is while fewer than `width` keys are looked at and none waits. Whoever has done
/// with a key takes the next that waits; whoever finds none makes room again.
final class ReconcileDesk<Key: Hashable & Sendable>: Sendable {
    /// What follows when a key has been looked at.
    struct Ended {
        /// The key to look at then.
        var next: Key?
        /// How long the key waits that has thrown.
        var wait = Duration.zero
        /// There is something to begin before the loop would wake by itself.
        var wakesLoop = false
        /// Nothing is being looked at any more.
        var isLast = false
    }

    private struct State {
        let width: Int
        var schedule = Schedule<Key>()
        var waiting: ArraySlice<Key> = []
        var isWaiting: Set<Key> = []
        var working: Set<Key> = []
        /// Told of while they were looked at.
        var again: Set<Key> = []
        /// Until when those are left alone that are told of again and again.
        var rests: [Key: Timestamp] = [:]

        /// Of the last list of all keys, those that are yet to be looked at.
        var listed: ArraySlice<Key> = []
        var listedAt: Timestamp?
        /// Somebody has asked for it; else it finds what nobody has told of.
        var isListWanted = false
        /// How long it took until the last of a list came up.
        var listTook = Duration.zero
        /// All are to be listed, but not before this.
        var listsAll = false
        var listsFrom = Timestamp.zero

        var sleepsUntil = Timestamp.zero
        /// The loop sleeps without room: whoever makes some wakes it.
        var wakesForRoom = false

        var hasRoom: Bool { waiting.isEmpty && working.count < width }

        /// Takes what was told, or listed; that does not hurry a key that keeps failing.
        mutating func offer(_ key: Key, at now: Timestamp) {
            if working.contains(key) {
                again.insert(key)
            } else if schedule.isFree(key, at: now) {
                if let rest = rests[key], rest > now { schedule.hurry(key, to: rest) } else { add(key) }
            }
        }

        mutating func add(_ key: Key) {
            guard isWaiting.insert(key).inserted else { return }
            waiting.append(key)
            schedule.take(key)
            rests[key] = nil
        }

        mutating func takeListed(at now: Timestamp) {
            for _ in 0..<ReconcileDesk.listedAtOnce {
                guard let key = listed.popFirst() else { break }
                if isListWanted || !working.contains(key) { offer(key, at: now) }
            }
            guard listed.isEmpty, let began = listedAt else { return }
            listed = []
            listTook = now.since(began)
            listsFrom = max(listsFrom, now.advanced(by: min(listTook, ReconcileDesk.longestRest)))
        }

        mutating func next() -> Key? {
            guard working.count < width, let key = waiting.popFirst() else { return nil }
            isWaiting.remove(key)
            working.insert(key)
            return key
        }

        mutating func ended(_ key: Key, wait: Duration = .zero) -> Ended {
            let next = next()
            let isEarly = next == nil && (wakesForRoom || schedule.dueTime(of: key).map { $0 < sleepsUntil } ?? false)
            if isEarly { wakesForRoom = false }
            return Ended(next: next, wait: wait, wakesLoop: isEarly, isLast: working.isEmpty)
        }
    }
    private let state: Mutex<State>
    /// As long as a look has taken, and no longer than this, news may gather for the next.
    private static var longestRest: Duration { .milliseconds(50) }
    /// How many of a long list go before what is told meanwhile.
    private static var listedAtOnce: Int { 256 }
    /// A list takes at most one part in so many of the time: it only finds what no bell has told of.
    private static var listShare: Int { 200 }
    /// All keys are listed at least so often.
    private static var longestSweep: Duration { .seconds(3600) }

    init(width: Int) { state = Mutex(State(width: width)) }

    /// Whether more may be begun; if not, whoever makes room rings.
    var hasRoom: Bool { state.withLock { $0.hasRoom } }

    /// Takes keys that were told of.
    func add(_ keys: [Key], at now: Timestamp) {
        state.withLock { state in for key in keys { state.offer(key, at: now) } }
    }

    /// Has all keys listed as soon as may be.
    func wantList() { state.withLock { $0.listsAll = true } }

    /// Whether all keys are to be listed now.
    ///
    /// - Parameter sweep: Least time between two lists that nobody has asked for.
    func isListDue(every sweep: Duration, at now: Timestamp) -> Bool {
        state.withLock { state in
            guard state.listed.isEmpty, now >= state.listsFrom else { return false }
            return state.listsAll || now >= Self.sweepTime(state, sweep)
        }
    }

    private static func sweepTime(_ state: State, _ sweep: Duration) -> Timestamp {
        state.listedAt?.advanced(by: max(sweep, min(longestSweep, state.listTook * listShare))) ?? .zero
    }

    /// Takes the list of all keys; one that is not in it is gone.
    func list(_ keys: [Key], at now: Timestamp) {
        let known = Set(keys)
        state.withLock { state in
            state.schedule.keep(known)
            state.rests = state.rests.filter { $0.value > now }
            (state.listed, state.listedAt) = (keys[...], now)
            (state.isListWanted, state.listsAll, state.listTook) = (state.listsAll, false, .zero)
        }
    }

    /// They could not be listed, or not those that were told of: all of them shall be, in a second.
    func listAgain(at now: Timestamp) {
        state.withLock { state in
            // Whoever fails again and again does not put off the list for ever.
            if !state.listsAll || state.listsFrom <= now { state.listsFrom = now.advanced(by: .seconds(1)) }
            state.listsAll = true
        }
    }

    /// The keys to look at now, each by a task that goes on with others: what was told, what is due, what was listed.
    func begin(at now: Timestamp) -> [Key] {
        state.withLock { state in
            for key in state.schedule.dueKeys(at: now) { state.add(key) }
            if !state.listed.isEmpty { state.takeListed(at: now) }
            var keys: [Key] = []
            while let key = state.next() { keys.append(key) }
            return keys
        }
    }

    /// Until when nothing is to be begun, unless a bell rings.
    func sleep(every sweep: Duration, at now: Timestamp) -> Timestamp {
        state.withLock { state in
            guard state.hasRoom else {
                state.wakesForRoom = true
                return now.advanced(by: sweep)
            }
            guard state.listed.isEmpty else {
                state.sleepsUntil = now
                return now
            }
            let list = max(state.listsFrom, state.listsAll ? now : Self.sweepTime(state, sweep))
            state.sleepsUntil = state.schedule.nextWake(before: list)
            return state.sleepsUntil
        }
    }

    func succeeded(_ key: Key, _ next: Next, since began: Timestamp, at now: Timestamp) -> Ended {
        state.withLock { state in
            state.working.remove(key)
            state.schedule.succeeded(key, next, at: now)
            if state.again.remove(key) != nil {
                let rest = now.advanced(by: next == .now ? .zero : min(now.since(began), Self.longestRest))
                state.rests[key] = rest
                state.schedule.hurry(key, to: rest)
            }
            return state.ended(key)
        }
    }

    func failed(_ key: Key, at now: Timestamp) -> Ended {
        state.withLock { state in
            state.working.remove(key)
            state.again.remove(key)
            return state.ended(key, wait: state.schedule.failed(key, at: now))
        }
    }
}
