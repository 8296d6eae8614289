import Series

/// What a record of the log can hold.
///
/// See `Formats.md`.
enum LogSection: UInt8 {
    case series = 1
    case samples = 2
    case late = 3
    case histograms = 4
    case exemplars = 5
    case metadata = 6
    case deletion = 7
}

/// Numbers of many series, one after another: who, when and what, each by its distance from the one before.
struct SampleColumn: ~Copyable {
    private(set) var writer = BitWriter(capacity: 1 << 12)
    private(set) var count = 0
    private var lastID: UInt32 = .max
    private var lastTime: Int64 = 0
    private var step: Int64 = 0

    mutating func removeAll() {
        writer.removeAll()
        (count, lastID, lastTime, step) = (0, .max, 0, 0)
    }

    @inline(__always)
    mutating func add(_ id: UInt32, _ time: Int64, _ bits: UInt64, after base: UInt64) {
        if id == lastID &+ 1 {
            writer.write(0, 1)
        } else if id == lastID {
            writer.write(0b10, 2)
        } else {
            writer.write(0b11 << 32 | UInt64(id), 34)
        }
        let distance = time &- lastTime
        if distance == 0 {
            writer.write(0, 1)
        } else if distance == step {
            writer.write(0b10, 2)
        } else {
            let value = ValueCode.zigzag(distance)
            if value < 1 << 20 {
                writer.write(0b110 << 20 | value, 23)
            } else {
                writer.write(0b111, 3)
                writer.write(value, 64)
            }
            if distance > 0 { step = distance }
        }
        ValueCode.encode(bits, after: base) { writer.write($0, $1) }
        (lastID, lastTime) = (id, time)
        count += 1
    }

    func append(to bytes: inout [UInt8], as section: LogSection) {
        guard count > 0 else { return }
        bytes.append(section.rawValue)
        var length: [UInt8] = []
        length.appendVarint(count)
        bytes.appendVarint(length.count + writer.byteCount)
        bytes.append(contentsOf: length)
        writer.append(to: &bytes)
    }

    /// Reads a section: calls the body with each sample, whose answer is the value that this one follows.
    static func read(
        _ section: UnsafeRawBufferPointer, base: (UInt32) -> UInt64, _ body: (UInt32, Int64, UInt64) -> Void
    ) throws {
        var head = ByteReader(section)
        let count = try head.count(limit: section.count * 8)
        guard let start = section.baseAddress else { throw ByteReader.Damaged() }
        var reader = BitReader(start + head.position, byteCount: section.count - head.position)
        var (id, time, step): (UInt32, Int64, Int64) = (.max, 0, 0)
        for _ in 0..<count {
            if reader.read(1) == 0 {
                id &+= 1
            } else if reader.read(1) == 1 {
                id = UInt32(truncatingIfNeeded: reader.read(32))
            }
            if reader.read(1) == 1 {
                var distance = step
                if reader.read(1) == 1 {
                    distance = ValueCode.unzigzag(reader.read(1) == 0 ? reader.read(20) : reader.readWide(64))
                    if distance > 0 { step = distance }
                }
                time &+= distance
            }
            let bits = ValueCode.decode(&reader, after: base(id))
            if reader.isPastEnd { throw ByteReader.Damaged() }
            body(id, time, bits)
        }
    }
}

/// One record in the making: what one append writes.
struct LogRecord: ~Copyable {
    private var definitions: [UInt8] = []
    private var definitionCount = 0
    private var lastDefinition = Labels.none
    var samples = SampleColumn()
    var late = SampleColumn()
    private var others: [UInt8] = []
    /// The newest time in the record.
    var newest = Int64.min

    mutating func removeAll() {
        definitions.removeAll(keepingCapacity: true)
        (definitionCount, lastDefinition, newest) = (0, .none, .min)
        samples.removeAll()
        late.removeAll()
        others.removeAll(keepingCapacity: true)
    }

    /// Says which series a number means, label by label as far as it differs from the one said before.
    mutating func define(_ id: UInt32, _ labels: Labels) {
        definitionCount += 1
        definitions.appendVarint(UInt64(id))
        labels.bytes.withUnsafeBufferPointer { now in
            lastDefinition.bytes.withUnsafeBufferPointer { before in
                var (count, cursor) = (0, LabelCursor(now))
                while cursor.next() != nil { count += 1 }
                definitions.appendVarint(count)
                var (old, new) = (LabelCursor(before), LabelCursor(now))
                while let pair = new.next() {
                    let last = old.next()
                    let hasName = last.map { compareEqual($0.name, pair.name) } ?? false
                    let hasValue = last.map { compareEqual($0.value, pair.value) } ?? false
                    definitions.append(hasName ? (hasValue ? 0 : 1) : 2)
                    if !hasName { definitions.appendText(pair.name) }
                    if !hasName || !hasValue { definitions.appendText(pair.value) }
                }
            }
        }
        lastDefinition = labels
    }

    static func readDefinitions(
        _ section: UnsafeRawBufferPointer, _ body: (UInt32, Labels) throws -> Void
    ) throws {
        var reader = ByteReader(section)
        var before: [(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer)] = []
        for _ in 0..<(try reader.count()) {
            let id = UInt32(truncatingIfNeeded: try reader.varint())
            var pairs: [(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer)] = []
            var writer = LabelsWriter()
            for place in 0..<(try reader.count(limit: reader.remaining)) {
                let code = try reader.byte()
                guard code <= 2, code == 2 || place < before.count else { throw ByteReader.Damaged() }
                let name = code == 2 ? try reader.text() : before[place].name
                let value = code == 0 ? before[place].value : try reader.text()
                pairs.append((name, value))
                writer.add(name.bindMemory(to: UInt8.self), value.bindMemory(to: UInt8.self))
            }
            before = pairs
            try body(id, Labels(encoded: writer.bytes))
        }
    }

    /// Adds a section behind the numbers so far: a replay goes by the order of the sections, and a series may change
    /// from numbers to histograms within a record.
    mutating func add(_ section: LogSection, _ bytes: [UInt8]) {
        if samples.count > 0 {
            samples.append(to: &others, as: .samples)
            samples.removeAll()
        }
        others.append(section.rawValue)
        others.appendText(bytes)
    }

    var isEmpty: Bool {
        definitionCount == 0 && samples.count == 0 && late.count == 0 && others.isEmpty
    }

    func append(to bytes: inout [UInt8]) {
        if definitionCount > 0 {
            var count: [UInt8] = []
            count.appendVarint(definitionCount)
            bytes.append(LogSection.series.rawValue)
            bytes.appendVarint(count.count + definitions.count)
            bytes.append(contentsOf: count)
            bytes.append(contentsOf: definitions)
        }
        bytes.append(contentsOf: others)
        samples.append(to: &bytes, as: .samples)
        late.append(to: &bytes, as: .late)
    }

    /// Calls the body with each section of a record's payload.
    static func forEachSection(
        _ payload: UnsafeRawBufferPointer, _ body: (LogSection, UnsafeRawBufferPointer) throws -> Void
    ) throws {
        var reader = ByteReader(payload)
        while !reader.isAtEnd {
            guard let section = LogSection(rawValue: try reader.byte()) else { throw ByteReader.Damaged() }
            try body(section, try reader.text())
        }
    }
}
