import Series
import Synchronization

extension TSDB {
    /// Makes a folder that can be opened as a store of its own, with all that was appended until now.
    ///
    /// Blocks are hard links and cost nothing; what is in memory is written to the log of the copy.
    ///
    /// - Parameter target: A place that is not there yet, in the same file system.
    /// - Throws: `SeriesError`; what was begun of the copy is removed.
    package func snapshot(to target: String) throws {
        guard !Files.exists(target) else { throw SeriesError(.storage, "\(target) is there already") }
        try maintenance.withLock { _ in
            do {
                try writeSnapshot(target)
            } catch {
                if Files.exists(target) { try Files.removeTree(target) }
                throw error
            }
        }
    }

    private func writeSnapshot(_ target: String) throws {
        for path in [target, target + "/wal", target + "/blocks"] { try Files.makeFolder(path) }
        let (blocks, parts, metadata) = core.withLock { core in
            let ids = core.head.sorted(core.head.index.live)
            let parts = ids.map { (core.head.pointer($0).pointee.labels, HeadPart(core.head.pointer($0).pointee)) }
            return (core.blocks, parts, core.metadata)
        }
        for block in blocks {
            let place = target + "/blocks/" + BlockMeta.name(block.meta.id)
            try Files.makeFolder(place)
            for name in try Files.names(in: block.files.folder) where !name.hasSuffix(".tmp") {
                try Files.link(block.files.folder + "/" + name, to: place + "/" + name)
            }
            try Files.syncFolder(place)
        }
        // The copy's own log takes what memory has: samples that may still be followed by others of their range.
        let copy = try TSDB(folder: target, options: options)
        var (batch, buffer) = (Batch(), SampleBuffer())
        for (name, described) in metadata { batch.describe(name, described) }
        for (labels, part) in parts {
            buffer.removeAll()
            do {
                try part.read(from: .min, to: .max, into: &buffer)
            } catch is ByteReader.Damaged {
                throw SeriesError(.storage, "a chunk of \(labels) is damaged")
            }
            batch.series(labels)
            for index in 0..<buffer.count {
                if buffer.hasHistograms, buffer.histogramAt[index] >= 0 {
                    batch.add(buffer.times[index], buffer.histograms[Int(buffer.histogramAt[index])])
                } else {
                    batch.add(buffer.times[index], buffer.values[index])
                }
            }
            if batch.count >= Self.snapshotBatch {
                try copy.takeAll(batch)
                batch.removeAll()
            }
        }
        try copy.takeAll(batch)
        try copy.sync()
    }

    /// Samples that a snapshot writes at once.
    private static let snapshotBatch = 100_000

    /// Appends what another store had taken, so nothing of it may be refused: late samples are so again.
    private func takeAll(_ batch: borrowing Batch) throws {
        let result = try core.withLock { try $0.append(batch, now: nil, options: options, isTrusted: true) }
        if result.refused > 0 {
            throw SeriesError(.storage, "the copy refused \(result.refused) samples: \(result.refusals[0].message)")
        }
    }
}
