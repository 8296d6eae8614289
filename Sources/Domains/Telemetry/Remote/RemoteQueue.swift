import API
import Kernel
import Series
import Synchronization
import Wire

/// Samples that wait to be sent to other stores, one queue for each.
final class RemoteQueues: Sendable {
    private let queues = Mutex<[String: RemoteQueue]>([:])

    /// Makes the queues be those of the plan; one that stays keeps what waits in it.
    func keep(_ wanted: [TelemetryPlan.Owned<RemoteWriteSpec>]) {
        queues.withLock { queues in
            var kept: [String: RemoteQueue] = [:]
            for one in wanted {
                let before = queues[one.part.name]
                kept[one.part.name] = before?.owned == one ? before : RemoteQueue(one)
            }
            queues = kept
        }
    }

    var all: [RemoteQueue] { queues.withLock { Array($0.values) }.sorted { $0.name < $1.name } }

    func offer(_ batch: borrowing WriteBatch, _ house: TelemetryHouse) {
        guard batch.sampleCount > 0 else { return }
        for queue in all { queue.offer(batch, house.drops) }
    }
}

/// What waits for one other store, in memory: a crash loses what the other has not got yet, and the own store still has it.
final class RemoteQueue: Sendable {
    fileprivate struct State {
        var batches: [WriteBatch] = []
        /// Batches that have left the queue so far: the number of the first one in it.
        var gone = 0
        var waiting = 0
        var sent: Int64 = 0
        var dropped: Int64 = 0
        var error: String?
    }

    let owned: TelemetryPlan.Owned<RemoteWriteSpec>
    private let relabelling: Relabelling
    private let state = Mutex(State())

    init(_ owned: TelemetryPlan.Owned<RemoteWriteSpec>) {
        self.owned = owned
        relabelling = Relabelling(owned.part.relabel)
    }

    var name: String { owned.part.name }

    func offer(_ batch: borrowing WriteBatch, _ drops: DropCounts) {
        var mine = WriteBatch()
        for entry in batch.entries {
            var labels = batch.labels(of: entry)
            if !relabelling.isEmpty {
                guard let changed = relabelling.apply(labels) else { continue }
                labels = changed
            }
            mine.append(labels) { mine in
                for index in entry.samples { mine.append(batch.times[index], batch.values[index]) }
                for index in entry.histograms { mine.append(batch.histogramTimes[index], batch.histograms[index]) }
                mine.exemplars += batch.exemplars[entry.exemplars]
            }
        }
        guard mine.sampleCount > 0 else { return }
        let added = mine
        let lost = state.withLock { state in
            var lost = 0
            state.batches.append(added)
            state.waiting += added.sampleCount
            while state.waiting > owned.part.queue, state.batches.count > 1 {
                lost += state.leave()
            }
            state.dropped += Int64(lost)
            return lost
        }
        drops.add("remote write \(name): the queue is full", lost)
    }

    /// What is to be sent next: what came first, and more with it up to one request's worth; and the number of the batch behind.
    func next() -> (batch: WriteBatch, end: Int)? {
        state.withLock { state in
            guard var batch = state.batches.first else { return nil }
            var taken = 1
            while taken < state.batches.count, batch.sampleCount < RemoteWrite.samplesPerRequest {
                batch.append(all: state.batches[taken])
                taken += 1
            }
            return (batch, state.gone + taken)
        }
    }

    /// Takes away what was sent, or could never be. Some may have been dropped meanwhile, because the queue was full.
    func done(_ batch: WriteBatch, end: Int, error: String?, isLost: Bool) {
        state.withLock { state in
            state.error = error
            while state.gone < end, !state.batches.isEmpty { _ = state.leave() }
            if isLost { state.dropped += Int64(batch.sampleCount) } else { state.sent += Int64(batch.sampleCount) }
        }
    }

    func failed(_ error: String) { state.withLock { $0.error = error } }

    var status: RemoteStatus {
        state.withLock { state in
            var status = RemoteStatus()
            (status.name, status.url) = (name, owned.part.to.url)
            (status.waiting, status.sent, status.dropped) = (state.waiting, state.sent, state.dropped)
            status.error = state.error
            return status
        }
    }
}

extension RemoteQueue.State {
    /// Takes the first batch away.
    ///
    /// - Returns: How many samples it had.
    fileprivate mutating func leave() -> Int {
        let count = batches.removeFirst().sampleCount
        waiting -= count
        gone += 1
        return count
    }
}

extension WriteBatch {
    /// Adds all series of another batch.
    mutating func append(all other: WriteBatch) {
        for entry in other.entries {
            append(other.labels(of: entry)) { batch in
                for index in entry.samples { batch.append(other.times[index], other.values[index]) }
                for index in entry.histograms { batch.append(other.histogramTimes[index], other.histograms[index]) }
                batch.exemplars += other.exemplars[entry.exemplars]
            }
        }
    }
}
