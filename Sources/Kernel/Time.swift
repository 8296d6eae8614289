public import API
import Foundation

/// Where time comes from: the system in production, the test's own hand in tests.
public protocol TimeSource: Sendable {
    var now: Timestamp { get }
    /// Returns once `now` has reached `deadline`, or throws when the task is cancelled.
    func sleep(until deadline: Timestamp) async throws(CancellationError)
}

extension TimeSource {
    package func sleep(for duration: Duration) async throws(CancellationError) {
        try await sleep(until: now.advanced(by: duration))
    }
}

/// The machine's clock.
public struct SystemTime: TimeSource {
    public init() {}

    public var now: Timestamp {
        // CLOCK_REALTIME, read without Foundation: this is on the path of every event.
        var spec = timespec()
        clock_gettime(CLOCK_REALTIME, &spec)
        return Timestamp(microseconds: Int64(spec.tv_sec) * 1_000_000 + Int64(spec.tv_nsec) / 1000)
    }

    public func sleep(until deadline: Timestamp) async throws(CancellationError) {
        let wait = deadline.since(now)
        if wait <= .zero {
            if Task.isCancelled { throw CancellationError() }
            return
        }
        do { try await Task.sleep(for: wait) } catch { throw CancellationError() }
    }
}

/// Where ids come from, so that tests can foretell them.
public struct IdentifierSource: Sendable {
    /// Makes an id that begins with the given prefix.
    public let next: @Sendable (_ prefix: String) -> String

    public init(_ next: @escaping @Sendable (_ prefix: String) -> String) { self.next = next }

    /// Ids that sort by time: prefix, 9 characters of milliseconds, 11 of chance (55 bits), Crockford's base 32.
    public static func system(_ time: any TimeSource) -> IdentifierSource {
        IdentifierSource { prefix in
            let alphabet = Array("0123456789abcdefghjkmnpqrstvwxyz")
            var milliseconds = UInt64(max(0, time.now.microseconds / 1000))
            var text = ""
            for _ in 0..<9 {
                text = String(alphabet[Int(milliseconds & 31)]) + text
                milliseconds >>= 5
            }
            var chance = UInt64.random(in: .min ... .max)
            for _ in 0..<11 {
                text.append(alphabet[Int(chance & 31)])
                chance >>= 5
            }
            return prefix.isEmpty ? text : "\(prefix)_\(text)"
        }
    }
}
