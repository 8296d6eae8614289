import Series

/// The write-ahead log: files of records, each of which can be read without the others.
///
/// Used under the store's lock.
final class Log {
    struct Segment {
        var number: UInt32
        var bytes: Int
        /// The newest time in it: once blocks hold all up to there, the file may go.
        var newest: Int64
    }

    static let magic: [UInt8] = Array("VGTL\u{1}\u{0}\u{0}\u{0}".utf8)
    static let recordHead = 8
    /// A longer record is damage.
    static let recordBytesAtMost = 1 << 30

    let folder: String
    private let segmentBytes: Int
    private(set) var closed: [Segment] = []
    private(set) var current: Segment?
    private(set) var file: WritableFile?
    private(set) var lastNumber: UInt32 = 0
    /// A record that memory holds and the disk refused: it goes first before anything else is acknowledged.
    private var stuck: [UInt8] = []
    private var buffer: [UInt8] = []
    let record: UnsafeMutablePointer<LogRecord>
    /// Ended files that the disk may not have yet.
    private var unsynced: [WritableFile] = []
    /// Bytes written since the store was opened: what a sync has to reach.
    private(set) var written = 0

    init(folder: String, segmentBytes: Int) {
        self.folder = folder
        self.segmentBytes = segmentBytes
        record = .allocate(capacity: 1)
        record.initialize(to: LogRecord())
    }

    deinit {
        record.deinitialize(count: 1)
        record.deallocate()
    }

    var byteCount: Int { closed.reduce(0) { $0 + $1.bytes } + (current?.bytes ?? 0) }

    var segmentCount: Int { closed.count + (current == nil ? 0 : 1) }

    static func name(_ number: UInt32) -> String {
        let digits = String(number)
        return String(repeating: "0", count: 10 - digits.count) + digits
    }

    func path(_ number: UInt32) -> String { folder + "/" + Self.name(number) }

    /// Takes a segment that was there at the start.
    func adopt(_ segment: Segment, exists: Bool) {
        if exists { closed.append(segment) }
        lastNumber = max(lastNumber, segment.number)
    }

    /// Makes ready for one record.
    ///
    /// Returns the number of the segment it will be in.
    func begin() throws -> UInt32 {
        if !stuck.isEmpty { try put(stuck) }
        stuck = []
        record.pointee.removeAll()
        if let current, current.bytes < segmentBytes { return current.number }
        roll()
        let number = lastNumber + 1
        let file = try WritableFile(path(number))
        try Self.magic.withUnsafeBytes { try file.write($0) }
        try Files.syncFolder(folder)
        (self.file, lastNumber) = (file, number)
        current = Segment(number: number, bytes: Self.magic.count, newest: .min)
        return number
    }

    /// Writes the record that was gathered.
    ///
    /// When this throws, the record is kept and goes first next time.
    func commit() throws {
        guard !record.pointee.isEmpty else { return }
        buffer.removeAll(keepingCapacity: true)
        buffer.appendWord(0)
        record.pointee.append(to: &buffer)
        let size = UInt32(buffer.count - Self.recordHead)
        buffer.withUnsafeMutableBytes { bytes in
            bytes.storeBytes(of: size.littleEndian, as: UInt32.self)
            let payload = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(bytes)[Self.recordHead...])
            // The length is under the checksum too: a flipped one must not swallow what follows.
            let crc = withUnsafeBytes(of: size.littleEndian) { Checksum.of(payload, continuing: Checksum.of($0)) }
            bytes.storeBytes(of: crc.littleEndian, toByteOffset: 4, as: UInt32.self)
        }
        let newest = max(current?.newest ?? .min, record.pointee.newest)
        current?.newest = newest
        do {
            try put(buffer)
        } catch {
            stuck = buffer
            throw error
        }
    }

    private func put(_ bytes: [UInt8]) throws {
        guard let file, let size = current?.bytes else { return }
        try bytes.withUnsafeBytes { try file.write($0, at: size) }
        current?.bytes += bytes.count
        written += bytes.count
    }

    /// The files that a sync has to wait for.
    ///
    /// They are the caller's from now on.
    func takeUnsynced() -> [WritableFile] {
        defer { unsynced = [] }
        return unsynced + (file.map { [$0] } ?? [])
    }

    /// Ends the current segment; the next record begins another.
    func roll() {
        guard stuck.isEmpty else { return }
        if let current { closed.append(current) }
        if let file { unsynced.append(file) }
        (current, file) = (nil, nil)
    }

    /// Removes segments from the oldest on, as long as blocks hold all that is in them; none that began after
    /// `number`.
    func drop(before boundary: Int64, upTo number: UInt32) throws {
        while let first = closed.first, first.newest < boundary, first.number <= number {
            try Files.remove(path(first.number))
            closed.removeFirst()
        }
    }
}
