import NIOCore
import Synchronization

/// The level of a token bucket as one number: the time at which it would be full again (GCRA, ITU-T I.371).
enum TokenBucket {
    /// The two times of a bucket, within what 64 bits can add up: at most a token in eleven days and a year to be full.
    static func times(perSecond: Double, burst: Double) -> (interval: UInt64, whole: UInt64) {
        let interval = min(max(1e9 / perSecond, 1_000), 1e15)
        return (UInt64(interval), UInt64(max(interval, min(interval * max(1, burst.rounded()), 3e16))))
    }

    /// Takes a token at a time; returns the nanoseconds to wait when there is none.
    ///
    /// - Parameters:
    ///   - interval: Time in which a token grows back.
    ///   - whole: Time in which an empty bucket becomes full.
    static func take(_ fullAt: inout UInt64, now: UInt64, interval: UInt64, whole: UInt64) -> UInt64? {
        let next = max(fullAt, now) &+ interval
        let limit = now &+ whole
        guard next <= limit else { return next - limit }
        fullAt = next
        return nil
    }
}

/// The buckets of one rate limit, shared by all loops.
final class RateLimiter: Sendable {
    private enum Key {
        case all
        case client
        case header([UInt8])
        case cookie([UInt8])
    }

    let limit: RateLimit
    private let key: Key
    private let times: (interval: UInt64, whole: UInt64)
    private let buckets = Mutex<[UInt64: UInt64]>([:])

    /// nil for a rate that is not above 0.
    init?(_ limit: RateLimit) {
        guard limit.per_second > 0, limit.per_second.isFinite else { return nil }
        self.limit = limit
        let burst = limit.burst.map(Double.init) ?? limit.per_second.rounded(.up)
        times = TokenBucket.times(perSecond: limit.per_second, burst: burst)
        if limit.by_client == true {
            key = .client
        } else if let name = limit.by_header {
            key = .header(Array(name.lowercased().utf8))
        } else if let name = limit.by_cookie {
            key = .cookie(Array(name.utf8))
        } else {
            key = .all
        }
    }

    /// Takes a token for a request; returns the whole seconds to wait when there is none.
    func refuse(
        _ head: RequestHead, _ bytes: UnsafeRawBufferPointer, client: [UInt8], now: NIODeadline
    ) -> Int? {
        let value: UInt64 =
            switch key {
            case .all: 0
            case .client: client.withUnsafeBytes { Self.hash($0) }
            case .header(let name): head.header(name, bytes).map(Self.hash) ?? 0
            case .cookie(let name): head.cookie(name, bytes).map(Self.hash) ?? 0
            }
        let wait = take(value, now: now.uptimeNanoseconds)
        return wait.map { Int(($0 + 999_999_999) / 1_000_000_000) }
    }

    func take(_ key: UInt64, now: UInt64) -> UInt64? {
        buckets.withLock { buckets in
            var key = key
            if buckets[key] == nil, buckets.count >= ProxyConfiguration.rateKeysLimit {
                // A full bucket is as good as none.
                buckets = buckets.filter { $0.value > now }
                if buckets.count >= ProxyConfiguration.rateKeysLimit { key = 0 }
            }
            return TokenBucket.take(&buckets[key, default: 0], now: now, interval: times.interval, whole: times.whole)
        }
    }

    /// SipHash with the process' seed, so that nobody outside can make two keys share a bucket.
    private static func hash(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        var hasher = Hasher()
        hasher.combine(bytes: bytes)
        return UInt64(bitPattern: Int64(hasher.finalize())) | 1
    }
}

/// How many requests of a route may be sent again: a share of all, and a few each second besides.
final class RetryBudget: Sendable {
    /// Thousandths of a retry that each request adds.
    private let deposit: Int
    /// nil when there is nothing besides the share.
    private let times: (interval: UInt64, whole: UInt64)?
    private let saved = Atomic<Int>(0)
    private let floor = Mutex<UInt64>(0)

    init(_ policy: RetryPolicy?) {
        deposit = Int((min(max(policy?.budget_percent ?? 20, 0), 100) * 10).rounded())
        let perSecond = policy?.budget_per_second ?? 10
        times = perSecond > 0 ? TokenBucket.times(perSecond: perSecond, burst: perSecond) : nil
    }

    func noteRequest() {
        if saved.load(ordering: .relaxed) < Self.savedLimit { saved.wrappingAdd(deposit, ordering: .relaxed) }
    }

    /// Takes one retry; false when there is none left.
    func spend(at now: NIODeadline) -> Bool {
        if let times {
            let wait = floor.withLock {
                TokenBucket.take(&$0, now: now.uptimeNanoseconds, interval: times.interval, whole: times.whole)
            }
            if wait == nil { return true }
        }
        if saved.wrappingSubtract(1_000, ordering: .relaxed).newValue >= 0 { return true }
        saved.wrappingAdd(1_000, ordering: .relaxed)
        return false
    }

    /// A hundred retries: what a quiet hour may save up for a bad second.
    private static let savedLimit = 100_000
}
