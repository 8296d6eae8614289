internal import Glibc

/// A file to which records are appended before anything else happens to them.
///
/// What `commit` returned from survives the end of the process at any moment (`kill -9`): it is with the kernel. Against a power
/// cut call `sync`. A file is written by one process life only: the next one replays it and begins another, so that a torn end
/// never has anything behind it.
package struct WriteAheadLog: ~Copyable {
    /// What a log held, and what of it could not be read.
    package struct Replay: Sendable, Hashable {
        package var records = 0
        /// Bytes behind the last whole record: a write that the end of the process cut off, or damage.
        package var tornBytes = 0

        package init() {}
    }

    /// The largest record. A length above it is not a length.
    package static let recordBytes = 64 << 20
    static let magic: [UInt8] = Array("VGWAL1\n\0".utf8)
    static let headBytes = 8
    /// Bytes read at a time.
    static let pieceBytes = 4 << 20

    private let file: OpenFile
    /// Bytes of whole records that are with the kernel.
    package private(set) var size: Int
    private var pending: [UInt8] = []
    /// Why nothing can be appended any more: a write failed and what it left could not be cut off.
    private var isBroken = false

    package init(creating path: String) throws {
        let file = try OpenFile(path, O_WRONLY | O_CREAT | O_TRUNC)
        try file.write(Self.magic)
        self.file = file
        size = Self.magic.count
    }

    package var path: String { file.path }

    /// Adds a record to what the next `commit` writes.
    package mutating func append(_ payload: [UInt8]) {
        payload.withUnsafeBytes { bytes in
            var head = ByteWriter()
            head.add(fixed: UInt32(truncatingIfNeeded: bytes.count))
            head.add(fixed: Checksum.of(bytes))
            pending.append(contentsOf: head.bytes)
            pending.append(contentsOf: bytes)
        }
    }

    /// Hands all records since the last time to the kernel, in one write.
    ///
    /// - Throws: `StorageError`; then none of them is in the log.
    package mutating func commit() throws {
        defer { pending.removeAll(keepingCapacity: pending.capacity <= Self.pieceBytes) }
        if isBroken {
            throw StorageError(
                .other, "the write-ahead log \"\(path)\" ends in a torn record",
                hint: "Free space on its disk and start again.")
        }
        do {
            try file.write(pending)
            size += pending.count
        } catch {
            // A torn record in the middle would hide all that come after it.
            if !file.cut(at: size) { isBroken = true }
            throw error
        }
    }

    /// Forgets what was appended since the last commit.
    package mutating func abandon() { pending.removeAll() }

    package func sync() throws { try file.sync() }

    /// What `sync` needs, for a caller who does not want to hold a lock meanwhile.
    package var openFile: OpenFile { file }

    /// Calls the body with each whole record, oldest first, and stops at the first that is not.
    package static func replay(_ path: String, _ body: (UnsafeRawBufferPointer) throws -> Void) throws -> Replay {
        let file = try OpenFile(path, O_RDONLY)
        let size = try file.size()
        var replay = Replay()
        var position = magic.count
        guard size >= magic.count, try file.read(at: 0, count: magic.count) == magic else {
            replay.tornBytes = size
            return replay
        }
        while position < size {
            let wanted = min(pieceBytes, size - position)
            let used = try take(file.read(at: position, count: wanted), &replay, body)
            if used > 0 {
                position += used
            } else if let length = try recordLength(file, position), length > wanted, length <= size - position,
                case let used = try take(file.read(at: position, count: length), &replay, body), used > 0
            {
                position += used
            } else {
                break
            }
        }
        replay.tornBytes = size - position
        return replay
    }

    private static func recordLength(_ file: OpenFile, _ position: Int) throws -> Int? {
        let head = try file.read(at: position, count: headBytes)
        guard head.count == headBytes else { return nil }
        let length = head.withUnsafeBytes { Int(UInt32(littleEndian: $0.loadUnaligned(as: UInt32.self))) }
        return length <= recordBytes ? headBytes + length : nil
    }

    /// Bytes of the whole records at the start of a piece.
    private static func take(
        _ piece: [UInt8], _ replay: inout Replay, _ body: (UnsafeRawBufferPointer) throws -> Void
    ) throws -> Int {
        try piece.withUnsafeBytes { bytes in
            var position = 0
            while bytes.count - position >= headBytes {
                let length = Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt32.self)))
                let sum = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: position + 4, as: UInt32.self))
                let end = position + headBytes + length
                guard length <= recordBytes, end <= bytes.count else { break }
                let payload = UnsafeRawBufferPointer(rebasing: bytes[(position + headBytes)..<end])
                guard Checksum.of(payload) == sum else { break }
                try body(payload)
                replay.records += 1
                position = end
            }
            return position
        }
    }
}
