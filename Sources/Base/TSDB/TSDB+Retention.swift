import Series
import Synchronization

extension TSDB {
    /// Lets go what is too old or too much.
    ///
    /// Whole blocks, and out of blocks whole series: a series whose own time is shorter than its block is old goes
    /// once the whole block is past it.
    ///
    /// - Parameter now: What time it is. The newest sample counts when it is older, so that a store of old data keeps it.
    /// - Returns: How many blocks were removed or written anew.
    /// - Throws: `SeriesError`.
    @discardableResult
    package func applyRetention(now: Int64) throws -> Int {
        try maintenance.withLock { _ in
            let (blocks, newest) = core.withLock { ($0.blocks, $0.newest) }
            let rules = try options.retentionRules.map { rule in
                (matchers: try rule.matchers.map { try PreparedMatcher($0) }, duration: rule.duration)
            }
            var changed = 0
            for block in blocks where try retain(block, at: min(now, newest), rules) { changed += 1 }
            return try changed + boundSize()
        }
    }

    private typealias Rule = (matchers: [PreparedMatcher], duration: Int64)

    /// Lets go what is too old in one block.
    ///
    /// Whether there was anything.
    private func retain(_ block: Block, at now: Int64, _ rules: [Rule]) throws -> Bool {
        let general: Int64 =
            switch block.meta.resolution {
            case 0: options.retention
            case TSDBOptions.hour: options.retentionOfHours
            default: options.retentionOfFiveMinutes
            }
        let age = now.subtractingReportingOverflow(block.meta.to)
        func isPast(_ duration: Int64) -> Bool { duration > 0 && !age.overflow && age.partialValue >= duration }
        guard isPast(general) || rules.contains(where: { isPast($0.duration) }) else { return false }
        var (gone, kept) = (Set<Int>(), 0)
        do {
            if rules.isEmpty {
                try replace([block], by: nil)
                return true
            }
            for id in 0..<block.index.seriesCount {
                let labels = try block.index.labels(id)
                let rule = rules.first { $0.matchers.allSatisfy { $0.accepts(labels) } }
                if isPast(rule?.duration ?? general) { gone.insert(id) } else { kept += 1 }
            }
        } catch is ByteReader.Damaged {
            throw SeriesError(.storage, "\(block.files.folder)/index is damaged")
        }
        guard !gone.isEmpty else { return false }
        try rewrite(block, isEmpty: kept == 0) { !gone.contains($0) }
        return true
    }

    /// Writes a block anew with some of its series.
    private func rewrite(_ block: Block, isEmpty: Bool, where isKept: (Int) -> Bool) throws {
        guard !isEmpty else { return try replace([block], by: nil) }
        var meta = block.meta
        meta.id = core.withLock { $0.takeBlockNumber() }
        meta.replaces = [block.meta.id]
        var id = -1
        let written = try writeBlock(meta) { writer in
            try BlockMerge.write([block], into: writer) { _ in
                id += 1
                return isKept(id)
            }
        }
        try replace([block], by: written)
        try follow(block.meta.id, meta.id)
    }

    /// Thinned copies of a block that was written anew know its new number: their content is as right as before.
    private func follow(_ old: UInt64, _ new: UInt64) throws {
        for block in core.withLock({ $0.blocks }) where block.meta.sources == [old] {
            var meta = block.meta
            meta.sources = [new]
            try Files.replace(block.files.folder + "/meta", with: meta.encoded)
            let again = try Block.open(block.files.folder)
            core.withLock { core in core.blocks = core.blocks.map { $0.meta.id == meta.id ? again : $0 } }
        }
    }

    /// Removes the oldest blocks until the rest is no larger than allowed.
    private func boundSize() throws -> Int {
        guard options.retentionBytes > 0 else { return 0 }
        var blocks = core.withLock { $0.blocks }.sorted { $0.meta.to < $1.meta.to }
        var (bytes, removed) = (blocks.reduce(0) { $0 + $1.files.byteCount }, 0)
        while bytes > options.retentionBytes, let oldest = blocks.first {
            try replace([oldest], by: nil)
            bytes -= oldest.files.byteCount
            blocks.removeFirst()
            removed += 1
        }
        return removed
    }

    /// Writes blocks that have deleted samples anew, without them.
    ///
    /// - Returns: How many.
    @discardableResult
    package func cleanTombstones() throws -> Int {
        try maintenance.withLock { _ in
            let blocks = core.withLock { $0.blocks }.filter { !$0.tombstones.isEmpty }
            for block in blocks { try rewrite(block, isEmpty: false) { _ in true } }
            return blocks.count
        }
    }
}
