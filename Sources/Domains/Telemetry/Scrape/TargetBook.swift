import API
import Manifests
import Synchronization

/// What is scraped, and how that went.
final class TargetBook: Sendable {
    struct Entry: Sendable {
        var told: ScrapeTarget
        var discovered: Ordered<String>
        var interval: TimeSpan
        var timeout: TimeSpan
    }

    private let entries = Mutex<[String: Entry]>([:])

    var all: [Entry] {
        entries.withLock { Array($0.values) }.sorted { ($0.told.job, $0.told.url) < ($1.told.job, $1.told.url) }
    }

    /// Makes the book be about these, keeping what is known.
    func keep(_ targets: [Target]) {
        entries.withLock { entries in
            var kept: [String: Entry] = [:]
            for target in targets {
                var told = ScrapeTarget()
                (told.job, told.url) = (target.job, target.url)
                told.labels = Ordered(target.labels.sorted { $0.key < $1.key }.map { ($0.key, $0.value) })
                let discovered = Ordered(target.discovered.sorted { $0.key < $1.key }.map { ($0.key, $0.value) })
                kept[target.id] =
                    entries[target.id]
                    ?? Entry(told: told, discovered: discovered, interval: target.interval, timeout: target.timeout)
            }
            entries = kept
        }
    }

    func note(_ target: Target, at: Timestamp, seconds: Double, samples: Int, error: String?) {
        entries.withLock { entries in
            entries[target.id]?.told.health = error == nil ? .up : .down
            entries[target.id]?.told.last_at = at
            entries[target.id]?.told.last_seconds = seconds
            entries[target.id]?.told.samples = samples
            entries[target.id]?.told.error = error
        }
    }
}
