import Series

/// The newest samples, in memory.
///
/// Used under the store's lock only.
final class Head {
    /// Series are kept in pages of so many, which never move.
    static let pageSize = 1024

    let range: Int64
    private var pages: [UnsafeMutablePointer<HeadSeries>?] = []
    private var slots: [UInt64] = Array(repeating: 0, count: 1 << 10)
    private(set) var nextID = 0
    private(set) var index = HeadIndex()

    /// Numbers by order of labels, and for each number its place there; what came since is not sorted in yet.
    private var order: [UInt32] = []
    private var ranks: [UInt32] = []
    private var sortedBelow = 0

    private(set) var seriesCount = 0
    private(set) var seriesCreated = 0
    private(set) var seriesRemoved = 0
    /// In-order samples older than this have been cut into blocks.
    var boundary = Int64.min
    var newest = Int64.min
    /// The oldest time that was appended since the last compaction looked: a range that still fills is not cut.
    var oldestSinceLook = Int64.max
    var sampleCount = 0
    var lateCount = 0

    init(range: Int64) { self.range = range }

    deinit {
        index.live.forEach { pointer($0).deinitialize(count: 1) }
        for page in pages { page?.deallocate() }
    }

    @inline(__always)
    func pointer(_ id: Int) -> UnsafeMutablePointer<HeadSeries> {
        guard let page = pages[id / Self.pageSize] else { preconditionFailure("a series that was let go") }
        return page + id % Self.pageSize
    }

    // MARK: - Finding series

    /// - Complexity: one probe, one comparison of the labels; no allocation.
    @inline(__always)
    func find(_ labels: UnsafeBufferPointer<UInt8>, _ hash: UInt64) -> Int? {
        let tag = hash & ~0xffff_ffff
        return slots.withUnsafeBufferPointer { slots in
            let mask = slots.count - 1
            var at = Int(truncatingIfNeeded: hash) & mask
            while slots[at] != 0 {
                if slots[at] & ~0xffff_ffff == tag {
                    let id = Int(slots[at] & 0xffff_ffff) - 1
                    if pointer(id).pointee.labels.bytes.withUnsafeBufferPointer({ compareEqual($0, labels) }) {
                        return id
                    }
                }
                at = (at + 1) & mask
            }
            return nil
        }
    }

    func insert(_ labels: Labels, _ hash: UInt64) -> Int {
        let id = nextID
        nextID += 1
        if id / Self.pageSize >= pages.count { pages.append(.allocate(capacity: Self.pageSize)) }
        pointer(id).initialize(to: HeadSeries(labels: labels, hash: hash))
        index.add(id, labels)
        seriesCount += 1
        seriesCreated += 1
        if (seriesCount + 1) * 2 > slots.count { rehash(slots.count * 2) } else { place(id, hash) }
        return id
    }

    private func place(_ id: Int, _ hash: UInt64) {
        let mask = slots.count - 1
        var at = Int(truncatingIfNeeded: hash) & mask
        while slots[at] != 0 { at = (at + 1) & mask }
        slots[at] = hash & ~0xffff_ffff | UInt64(id + 1)
    }

    private func rehash(_ size: Int) {
        slots = Array(repeating: 0, count: size)
        index.live.forEach { place($0, pointer($0).pointee.hash) }
    }

    // MARK: - Order

    /// The series of a set, sorted by their labels.
    func sorted(_ set: IDSet) -> [Int] {
        sortIn()
        var byRank = IDSet(universe: order.count)
        set.forEach { byRank.insert(Int(ranks[$0])) }
        var ids: [Int] = []
        byRank.forEach { ids.append(Int(order[$0])) }
        return ids
    }

    private func isOrdered(_ left: UInt32, _ right: UInt32) -> Bool {
        pointer(Int(left)).pointee.labels.bytes.withUnsafeBufferPointer { one in
            pointer(Int(right)).pointee.labels.bytes.withUnsafeBufferPointer { compareEncoded(one, $0) < 0 }
        }
    }

    private func sortIn() {
        guard sortedBelow < nextID else { return }
        let fresh = (sortedBelow..<nextID).map { UInt32($0) }.sorted(by: isOrdered)
        sortedBelow = nextID
        var merged: [UInt32] = []
        merged.reserveCapacity(order.count + fresh.count)
        var start = 0
        for id in fresh {
            // Found by halving: a handful of new series does not compare all the old ones.
            var (low, high) = (start, order.count)
            while low < high {
                let middle = (low + high) / 2
                if isOrdered(order[middle], id) { low = middle + 1 } else { high = middle }
            }
            merged.append(contentsOf: order[start..<low])
            merged.append(id)
            start = low
        }
        merged.append(contentsOf: order[start...])
        order = merged
        rank()
    }

    private func rank() {
        ranks = Array(repeating: 0, count: nextID)
        for (place, id) in order.enumerated() { ranks[Int(id)] = UInt32(place) }
    }

    // MARK: - Letting go

    /// Removes series that have no sample left.
    ///
    /// Returns how many.
    func removeEmpty() -> Int {
        sortIn()
        var dead: [Int] = []
        index.live.forEach { if pointer($0).pointee.isEmpty { dead.append($0) } }
        guard !dead.isEmpty else { return 0 }
        var live = index.live
        for id in dead {
            live.remove(id)
            pointer(id).deinitialize(count: 1)
        }
        let fresh = HeadIndex()
        live.forEach { fresh.add($0, pointer($0).pointee.labels) }
        index = fresh
        order.removeAll { !live.contains(Int($0)) }
        rank()
        seriesCount -= dead.count
        seriesRemoved += dead.count
        rehash(slots.count)
        freePages(live)
        return dead.count
    }

    private func freePages(_ live: IDSet) {
        var used = Set<Int>()
        live.forEach { used.insert($0 / Self.pageSize) }
        for page in pages.indices where !used.contains(page) && (page + 1) * Self.pageSize <= nextID {
            pages[page]?.deallocate()
            pages[page] = nil
        }
    }
}
