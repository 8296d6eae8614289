import Series

/// Brings a folder back after whatever ended the last process: opens blocks, replays the log, and says what was not
/// whole.
struct Recovery {
    let folder: String
    let options: TSDBOptions
    var report = RecoveryReport()

    init(folder: String, options: TSDBOptions) {
        self.folder = folder
        self.options = options
    }

    mutating func run() throws -> Core {
        let blocks = try openBlocks()
        let head = Head(range: options.blockRange)
        head.boundary = blocks.map { $0.meta.cut }.max() ?? .min
        // What is late is told from the newest sample, even when the log has none any more.
        head.newest = blocks.map { $0.meta.to - 1 }.max() ?? .min
        let core = Core(
            head: head, log: Log(folder: folder + "/wal", segmentBytes: options.segmentBytes),
            exemplarsAtMost: options.exemplarsAtMost)
        core.blocks = blocks.sorted { $0.meta.from < $1.meta.from }
        core.nextBlock = (blocks.map { $0.meta.id }.max() ?? 0) + 1
        report.blocks = blocks.count
        try readMetadata(core)
        let names = try Files.names(in: core.log.folder)
        for name in names {
            guard let number = UInt32(name) else { continue }
            report.segments += 1
            var replay = LogReplay(core: core, number: number, isLast: name == names.last { UInt32($0) != nil })
            try replay.run(&report)
        }
        report.series = head.seriesCount
        return core
    }

    /// Blocks that are whole and not replaced by others.
    private mutating func openBlocks() throws -> [Block] {
        let place = folder + "/blocks"
        var blocks: [Block] = []
        for name in try Files.names(in: place) {
            let path = place + "/" + name
            if name.hasPrefix("unfinished-") {
                try Files.removeTree(path)
                report.dropped.append("blocks/\(name): was being written; its samples are where they came from")
                continue
            }
            guard name.hasPrefix("block-"), !name.hasSuffix(".damaged") else { continue }
            do {
                blocks.append(try Block.open(path))
            } catch let newer as NewerFormat {
                throw newer.told
            } catch {
                var aside = path + ".damaged"
                while Files.exists(aside) { aside = aside.dropLast(8) + "-again.damaged" }
                try Files.rename(path, to: aside)
                report.dropped.append("blocks/\(name): put aside as \(name).damaged: \(error)")
            }
        }
        let replaced = Set(blocks.flatMap { $0.meta.replaces })
        for block in blocks where replaced.contains(block.meta.id) { try Files.removeTree(block.files.folder) }
        return blocks.filter { !replaced.contains($0.meta.id) }
    }

    private mutating func readMetadata(_ core: Core) throws {
        let path = folder + "/metadata"
        guard Files.exists(path) else { return }
        do {
            try MappedFile(path).withBytes { bytes in
                guard Checksum.isLast(in: bytes) else { throw ByteReader.Damaged() }
                var reader = ByteReader(UnsafeRawBufferPointer(rebasing: bytes.dropLast(4)))
                while !reader.isAtEnd {
                    let (name, metadata) = try Core.decodeMetadata(&reader)
                    core.metadata[name] = metadata
                }
            }
        } catch is ByteReader.Damaged {
            report.dropped.append("metadata: damaged; it fills again as exporters say it")
        }
    }
}

/// Replays one segment of the log.
struct LogReplay {
    let core: Core
    let number: UInt32
    let isLast: Bool
    /// The head's number and the last logged value for each of the segment's numbers.
    private var ids: [Int32] = []
    private var bases: [UInt64] = []
    private var samples = 0

    /// A number above this is damage that a checksum let through.
    private static let idAtMost: UInt32 = 1 << 30

    init(core: Core, number: UInt32, isLast: Bool) {
        self.core = core
        self.number = number
        self.isLast = isLast
    }

    mutating func run(_ report: inout RecoveryReport) throws {
        let path = core.log.path(number)
        let segment = try MappedFile(path).withBytes { bytes in
            var segment = Log.Segment(number: number, bytes: 0, newest: .min)
            let reason = try read(bytes, &segment, &report)
            if let reason { try cut(path, bytes, segment.bytes, reason, &report) }
            return segment
        }
        report.samples += samples
        if segment.bytes == 0 { try Files.remove(path) }
        core.log.adopt(segment, exists: segment.bytes > 0)
    }

    /// Replays records up to the end or the first that is not whole.
    ///
    /// Why it ended early; nil when it did not.
    private mutating func read(
        _ bytes: UnsafeRawBufferPointer, _ segment: inout Log.Segment, _ report: inout RecoveryReport
    ) throws -> String? {
        guard bytes.starts(with: Log.magic) else {
            return bytes.count < Log.magic.count ? Self.torn : "not a file of the log"
        }
        segment.bytes = Log.magic.count
        while segment.bytes < bytes.count {
            switch next(bytes, segment.bytes) {
            case .record(let payload, let end):
                let before = core.head.newest
                core.head.newest = .min
                defer {
                    segment.newest = max(segment.newest, core.head.newest)
                    core.head.newest = max(core.head.newest, before)
                }
                do {
                    try apply(payload)
                } catch is ByteReader.Damaged {
                    return "a record that makes no sense"
                }
                report.records += 1
                segment.bytes = end
            case .torn: return Self.torn
            case .damaged: return "a record whose checksum does not hold"
            }
        }
        return nil
    }

    private static let torn = "a record that was cut short"

    private enum Next {
        case record(UnsafeRawBufferPointer, end: Int)
        case torn
        case damaged
    }

    private func next(_ bytes: UnsafeRawBufferPointer, _ at: Int) -> Next {
        guard bytes.count - at >= Log.recordHead else { return .torn }
        let word = bytes.loadUnaligned(fromByteOffset: at, as: UInt32.self)
        let size = Int(UInt32(littleEndian: word))
        guard size <= Log.recordBytesAtMost else { return .damaged }
        let start = at + Log.recordHead
        guard size <= bytes.count - start else { return .torn }
        let payload = UnsafeRawBufferPointer(rebasing: bytes[start..<start + size])
        let told = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: at + 4, as: UInt32.self))
        let crc = withUnsafeBytes(of: word) { Checksum.of(payload, continuing: Checksum.of($0)) }
        return crc == told ? .record(payload, end: start + size) : .damaged
    }

    /// Ends the file where the damage begins.
    ///
    /// What is more than a torn end is kept beside it for whoever wants to look.
    private func cut(
        _ path: String, _ bytes: UnsafeRawBufferPointer, _ at: Int, _ reason: String, _ report: inout RecoveryReport
    ) throws {
        let lost = bytes.count - at
        let name = "wal/\(Log.name(number))"
        report.dropped.append("\(name): \(lost) bytes from \(at) on: \(reason)")
        if lost > Log.recordHead, !isLast || reason != Self.torn {
            let aside = try WritableFile(path + ".damaged")
            try aside.write(UnsafeRawBufferPointer(rebasing: bytes[at...]))
            try aside.sync()
        }
        try Files.truncate(path, to: at)
    }

    private mutating func apply(_ payload: UnsafeRawBufferPointer) throws {
        // All sections are looked at first: a record counts whole or not at all.
        try LogRecord.forEachSection(payload) { _, _ in }
        try LogRecord.forEachSection(payload) { section, bytes in
            switch section {
            case .series: try LogRecord.readDefinitions(bytes) { try define($0, $1) }
            case .samples: try replaySamples(bytes)
            case .late: try replayLate(bytes)
            case .histograms: try replayHistogram(bytes)
            case .exemplars: try replayExemplar(bytes)
            case .metadata:
                var reader = ByteReader(bytes)
                let (name, metadata) = try Core.decodeMetadata(&reader)
                core.metadata[name] = metadata
            case .deletion:
                let (matchers, interval) = try Core.decodeDeletion(bytes)
                _ = try core.eraseFromHead(matchers, interval)
            }
        }
    }

    private mutating func define(_ id: UInt32, _ labels: Labels) throws {
        guard id < Self.idAtMost else { throw ByteReader.Damaged() }
        while ids.count <= Int(id) {
            ids.append(-1)
            bases.append(0)
        }
        let (hash, known) = labels.bytes.withUnsafeBufferPointer { bytes in
            let hash = ByteHash.of(bytes)
            return (hash, core.head.find(bytes, hash))
        }
        ids[Int(id)] = Int32(known ?? core.head.insert(labels, hash))
        bases[Int(id)] = 0
    }

    private func series(_ id: UInt32) -> UnsafeMutablePointer<HeadSeries>? {
        guard Int(id) < ids.count, ids[Int(id)] >= 0 else { return nil }
        return core.head.pointer(Int(ids[Int(id)]))
    }

    private mutating func replaySamples(_ bytes: UnsafeRawBufferPointer) throws {
        let (range, boundary) = (core.head.range, core.head.boundary)
        var (bases, count) = ([UInt64](), 0)
        swap(&bases, &self.bases)
        defer { swap(&bases, &self.bases) }
        try bases.withUnsafeMutableBufferPointer { bases in
            try SampleColumn.read(bytes, base: { Int($0) < bases.count ? bases[Int($0)] : 0 }) { id, time, bits in
                guard let series = series(id) else { return }
                bases[Int(id)] = bits
                if time > core.head.newest { core.head.newest = time }
                guard time >= boundary, time > series.pointee.lastTime else { return }
                series.pointee.append(time, bits, range: range)
                core.note(time)
                count += 1
            }
        }
        samples += count
    }

    private mutating func replayLate(_ bytes: UnsafeRawBufferPointer) throws {
        var count = 0
        try SampleColumn.read(bytes, base: { _ in 0 }) { id, time, bits in
            guard let series = series(id) else { return }
            _ = series.pointee.insertLate(LateSample(time: time, bits: bits, histogram: nil))
            core.noteLate(time)
            count += 1
        }
        samples += count
    }

    private mutating func replayHistogram(_ bytes: UnsafeRawBufferPointer) throws {
        var reader = ByteReader(bytes)
        let id = UInt32(truncatingIfNeeded: try reader.varint())
        let isLate = try reader.byte() == 1
        var buffer = SampleBuffer()
        try ChunkKind.decode(ChunkBytes(try reader.take(reader.remaining)), from: .min, to: .max, into: &buffer)
        guard let series = series(id), let time = buffer.times.first, let histogram = buffer.histograms.first else {
            return
        }
        if time > core.head.newest { core.head.newest = time }
        if isLate {
            _ = series.pointee.insertLate(LateSample(time: time, bits: 0, histogram: .init(histogram)))
            core.noteLate(time)
        } else {
            guard time >= core.head.boundary, time > series.pointee.lastTime else { return }
            series.pointee.append(time, histogram, range: core.head.range)
            core.note(time)
        }
        samples += 1
    }

    private func replayExemplar(_ bytes: UnsafeRawBufferPointer) throws {
        var reader = ByteReader(bytes)
        let series = Labels(encoded: Array(try reader.text()))
        let labels = Labels(encoded: Array(try reader.text()))
        let time = try reader.signed()
        core.exemplars.add(
            .init(
                series: series,
                exemplar: Exemplar(labels: labels, time: time, value: Double(bitPattern: try reader.word()))))
    }
}
