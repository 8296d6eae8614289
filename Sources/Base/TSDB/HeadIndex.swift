import Series

/// Which series of the head have which label: per name its values, per value the numbers of the series, ascending.
final class HeadIndex: LabelIndex {
    /// Most values of a name like `instance` or `id` have one series: that one needs no array.
    struct Postings {
        var first: UInt32
        var more: [UInt32] = []
        var count: Int { more.count + 1 }
    }

    final class Name {
        var values = TextTable()
        var postings: [Postings] = []
        var seriesCount = 0
    }

    private(set) var nameTable = TextTable()
    private(set) var names: [Name] = []
    private(set) var universe = 0
    private(set) var live = IDSet(universe: 0)
    private(set) var pairCount = 0
    private(set) var nameBytes = 0

    /// Enters a series whose number is higher than any before.
    func add(_ id: Int, _ labels: Labels) {
        universe = id + 1
        live.grow(universe: universe)
        live.insert(id)
        labels.forEach { name, value in
            let (place, isNew) = nameTable.insert(name)
            if isNew { names.append(Name()) }
            let entry = names[place]
            let (index, isFirst) = entry.values.insert(value)
            if isFirst {
                entry.postings.append(Postings(first: UInt32(id)))
                pairCount += 1
            } else {
                entry.postings[index].more.append(UInt32(id))
            }
            entry.seriesCount += 1
        }
    }

    func name(_ name: [UInt8]) -> Name? {
        name.withUnsafeBufferPointer { nameTable.find($0) }.map { names[$0] }
    }

    func insertAll(into set: inout IDSet) { set.formUnion(live) }

    func insert(_ name: [UInt8], _ value: UnsafeBufferPointer<UInt8>, into set: inout IDSet) {
        guard let entry = self.name(name), let index = entry.values.find(value) else { return }
        insert(entry.postings[index], into: &set)
    }

    func insert(_ name: [UInt8], into set: inout IDSet, where accepts: (UnsafeBufferPointer<UInt8>) -> Bool) {
        guard let entry = self.name(name) else { return }
        for index in 0..<entry.values.count where entry.values.withText(index, accepts) {
            insert(entry.postings[index], into: &set)
        }
    }

    private func insert(_ postings: Postings, into set: inout IDSet) {
        set.insert(Int(postings.first))
        for id in postings.more { set.insert(Int(id)) }
    }
}
