import API
import Kernel
import Series
import Synchronization
import Wire

extension Scraper {
    /// What is remembered of a target from one scrape to the next: what became of the labels of each series, so that it is worked
    /// out once; which series were there; and whether it ever showed any.
    final class Memory: Sendable {
        fileprivate struct Known: Sendable {
            /// As it is kept; nil when relabelling drops it.
            var labels: Labels?
            /// The scrape that had it last.
            var round: UInt64
            /// Whether it ends when it is left out: in this scrape, and in the one before.
            var isLive = false
            var wasLive = false
        }
        fileprivate struct State: Sendable {
            var labelling: ScrapeLabels?
            /// By the labels that the target tells.
            var known: [Labels: Known] = [:]
            var round: UInt64 = 0
            /// Series that were alive in the last scrape.
            var live = 0
            /// Scrapes that showed nothing, since one that did.
            var blanks = 0
        }
        private let state = Mutex(State())

        var count: Int { state.withLock { $0.live } }

        func noteNothing() { state.withLock { $0.blanks += 1 } }

        /// Milliseconds until a target is asked again that is asked at this interval: four times as long after each time that there was
        /// nothing, so that a copy that never shows metrics is left alone, and one that comes to show them is seen at last.
        func patience(_ interval: Int64) -> Int64 {
            let blanks = state.withLock { $0.blanks }
            return max(interval, min(interval << Int64(min(2 * blanks, 20)), Self.longestPatience))
        }

        private static let longestPatience: Int64 = 3_600_000

        /// Takes in a scrape: what is kept of it, under which labels.
        ///
        /// - Throws: `Problem` when a limit is broken; then nothing of the scrape counts, and ``end()`` is to be called.
        func apply(
            _ raw: WriteBatch, of target: Target, at: Int64, into batch: inout WriteBatch,
            _ counts: inout ScrapeCounts
        ) throws {
            let limit = target.spec.limits.samples
            try state.withLock { state in
                let labelling = state.labelling ?? ScrapeLabels(target)
                (state.labelling, state.round) = (labelling, state.round + 1)
                for entry in raw.entries {
                    let count = entry.samples.count + entry.histograms.count
                    counts.scraped += count
                    // A series that tells its own times does not end when it is left out once.
                    let keepsTime = entry.hasOwnTime && target.spec.honor_timestamps
                    guard let labels = try state.labels(raw.labels(of: entry), labelling, isLive: !keepsTime) else {
                        continue
                    }
                    counts.kept += count
                    if limit > 0, counts.kept > limit {
                        throw Problem("scrape.samples", status: 422, "sample limit of \(limit) exceeded")
                    }
                    let (times, histogramTimes) = (raw.times, raw.histogramTimes)
                    batch.append(labels) { batch in
                        for index in entry.samples { batch.append(keepsTime ? times[index] : at, raw.values[index]) }
                        for index in entry.histograms {
                            batch.append(keepsTime ? histogramTimes[index] : at, raw.histograms[index])
                        }
                        batch.exemplars += raw.exemplars[entry.exemplars]
                    }
                }
            }
            batch.metadata = raw.metadata
        }

        /// Ends a scrape that counts: which series have gone since the one before, and how many are new.
        func exchange() -> (gone: [Labels], added: Int) {
            state.withLock { state in
                var (gone, come, live, isOld): ([Labels], [Labels], Int, Bool) = ([], [], 0, false)
                var past: [Labels] = []
                for (told, series) in state.known {
                    let isLive = series.isLive && series.round == state.round
                    if isLive { live += 1 } else if series.wasLive, let labels = series.labels { gone.append(labels) }
                    if isLive, !series.wasLive { come.append(told) }
                    if !isLive, series.wasLive { past.append(told) }
                    if series.round != state.round { isOld = true }
                }
                let (round, added) = (state.round, come.count)
                for told in come { state.known[told]?.wasLive = true }
                for told in past { state.known[told]?.wasLive = false }
                if isOld { state.known = state.known.filter { $0.value.round == round } }
                (state.live, state.blanks) = (live, 0)
                guard !gone.isEmpty else { return ([], added) }
                // Two names may have become one: it lives while one of them does.
                let alive = Set(state.known.values.lazy.filter(\.wasLive).compactMap(\.labels))
                return (gone.filter { !alive.contains($0) }, added)
            }
        }

        /// Ends all series: those that were there before.
        func end() -> [Labels] {
            state.withLock { state in
                defer { (state.known, state.live) = ([:], 0) }
                return Array(Set(state.known.values.lazy.filter(\.wasLive).compactMap(\.labels)))
            }
        }
    }
}

extension Scraper.Memory.State {
    /// What a series is kept as, worked out the first time that it is told.
    fileprivate mutating func labels(_ told: Labels, _ labelling: ScrapeLabels, isLive: Bool) throws -> Labels? {
        if let index = known.index(forKey: told) {
            known.values[index].round = round
            known.values[index].isLive = isLive && known.values[index].labels != nil
            return known.values[index].labels
        }
        let labels = try labelling.kept(told)
        known[told] = .init(labels: labels, round: round, isLive: isLive && labels != nil)
        return labels
    }
}

struct ScrapeCounts {
    var scraped = 0
    var kept = 0
}

/// What becomes of the labels of a scrape.
struct ScrapeLabels {
    private let target: Target
    private let relabelling: Relabelling
    private let limits: ScrapeLimits

    init(_ target: Target) {
        self.target = target
        relabelling = Relabelling(target.spec.metric_relabel)
        limits = target.spec.limits
    }

    /// The labels that a series is kept under; nil when it is dropped.
    ///
    /// - Throws: `Problem` when a limit is broken; then nothing of the scrape counts.
    func kept(_ told: Labels) throws -> Labels? {
        guard let labels = relabelling.apply(combined(told)), labels.metricName != nil else { return nil }
        try check(labels)
        return labels
    }

    /// The target's labels and the series' own: who wins is the job's choice.
    private func combined(_ labels: Labels) -> Labels {
        var pairs = labels.pairs
        var added: [(name: String, value: String)] = []
        for (name, value) in target.labels {
            guard let place = pairs.firstIndex(where: { $0.name == name }) else {
                added.append((name, value))
                continue
            }
            if target.spec.honor_labels { continue }
            pairs[place].name = "exported_" + name
            added.append((name, value))
        }
        return Labels(pairs + added)
    }

    private func check(_ labels: Labels) throws {
        guard limits.labels > 0 || limits.label_name_bytes > 0 || limits.label_value_bytes > 0 else { return }
        let pairs = labels.pairs
        let name = labels.metricName ?? ""
        if limits.labels > 0, pairs.count > limits.labels {
            throw Problem(
                "scrape.labels", status: 422, "\(name) has \(pairs.count) labels, and \(limits.labels) are allowed")
        }
        for pair in pairs {
            if limits.label_name_bytes > 0, pair.name.utf8.count > limits.label_name_bytes {
                throw Problem("scrape.labels", status: 422, "a label name of \(name) is too long: \(pair.name)")
            }
            if limits.label_value_bytes > 0, pair.value.utf8.count > limits.label_value_bytes {
                throw Problem("scrape.labels", status: 422, "the value of label \(pair.name) of \(name) is too long")
            }
        }
    }
}
