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

    /// What was found lately, the last asked for last.
    private var finds: [(matchers: [LabelMatcher], found: FoundSeries)] = []

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
        if !finds.isEmpty { finds = [] }
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

    // MARK: - Selecting

    /// The series that match, sorted by their labels.
    ///
    /// Dashboards ask for the same series every few seconds: as long as no series comes or goes, what was found is kept.
    func find(_ matchers: [LabelMatcher], _ prepared: [PreparedMatcher]) -> FoundSeries {
        if let place = finds.firstIndex(where: { $0.matchers == matchers }) {
            let known = finds.remove(at: place)
            finds.append(known)
            return known.found
        }
        let ids = sorted(PreparedMatcher.matching(prepared, index))
        let found = FoundSeries(ids) { pointer($0).pointee.labels }
        finds.append((matchers, found))
        var kept = finds.reduce(0) { $0 + $1.found.ids.count }
        while finds.count > Self.findsAtMost || (finds.count > 1 && kept > max(seriesCount * 3 / 2, Self.pageSize)) {
            kept -= finds.removeFirst().found.ids.count
        }
        return found
    }

    private static let findsAtMost = 64

    /// Calls the body with the place and the series of each one found.
    @inline(__always)
    func forEach(
        of found: FoundSeries, _ body: (Int, UnsafeMutablePointer<HeadSeries>) throws -> Void
    ) rethrows {
        try found.ids.withUnsafeBufferPointer { ids in
            try pages.withUnsafeBufferPointer { pages in
                for place in ids.indices {
                    let id = Int(ids[place])
                    guard let page = pages[id / Self.pageSize] else { continue }
                    try body(place, page + id % Self.pageSize)
                }
            }
        }
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

    /// Series that came since all were sorted, to be sorted without the lock.
    struct Fresh: Sendable {
        let first: Int
        fileprivate var series: [(id: UInt32, labels: Labels)]

        mutating func sort() { series.sort { SetMerge.order($0.labels, $1.labels) < 0 } }
    }

    /// Nil when there are only so few that sorting them holds nobody up.
    func freshToSort() -> Fresh? {
        guard nextID - sortedBelow > Self.pageSize else { return nil }
        return fresh()
    }

    private func fresh() -> Fresh {
        Fresh(
            first: sortedBelow,
            series: (sortedBelow..<nextID).map { (UInt32($0), pointer($0).pointee.labels) })
    }

    private func sortIn() {
        guard sortedBelow < nextID else { return }
        var fresh = fresh()
        fresh.sort()
        merge(fresh)
    }

    /// Takes sorted series into the order, unless another has done so meanwhile.
    func merge(_ fresh: Fresh) {
        guard fresh.first == sortedBelow else { return }
        sortedBelow += fresh.series.count
        var merged: [UInt32] = []
        merged.reserveCapacity(order.count + fresh.series.count)
        var start = 0
        for (id, labels) in fresh.series {
            // Found by halving: a handful of new series does not compare all the old ones.
            var (low, high) = (start, order.count)
            while low < high {
                let middle = (low + high) / 2
                if SetMerge.order(pointer(Int(order[middle])).pointee.labels, labels) < 0 {
                    low = middle + 1
                } else {
                    high = middle
                }
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
        ranks = Array(repeating: 0, count: sortedBelow)
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
        finds = []
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
