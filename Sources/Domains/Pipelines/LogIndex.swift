import API
import Glibc
import Kernel

/// Where the lines of a log are: how many line feeds come before each 64 KiB of it, 8 bytes each, low byte first.
///
/// By bytes, not by lines, so that a line of any length costs no more to find than another: one stride is looked at. It is
/// a function of the log alone: whatever is missing of it, or makes no sense, is made again.
struct LogIndex: Sendable {
    static let suffix = ".idx"
    static let stride: Int64 = 64 << 10
    /// `words[k]`: line feeds before byte `k * stride`; `words[0]` is 0.
    private(set) var words: [UInt64]

    /// Entries of a log of so many bytes.
    static func entries(of size: Int64) -> Int { Int(size / stride) + 1 }

    /// What was stored, as far as it can be true of a log of this size.
    init(_ stored: [UInt64], of size: Int64) {
        var end = 0
        var last: UInt64 = 0
        for word in stored.prefix(Self.entries(of: size)) {
            guard end == 0 ? word == 0 : word >= last && word - last <= UInt64(Self.stride) else { break }
            (last, end) = (word, end + 1)
        }
        words = end == 0 ? [0] : Array(stored.prefix(end))
    }

    func isShort(for size: Int64) -> Bool { words.count < Self.entries(of: size) }

    /// Adds what is missing, by reading the log.
    mutating func extend(over log: borrowing LogFile, size: Int64) throws {
        while isShort(for: size) {
            let bytes = try log.read(from: Int64(words.count - 1) * Self.stride, limit: Int(Self.stride))
            guard bytes.count == Int(Self.stride) else { return }
            words.append(words[words.count - 1] + UInt64(bytes.newlines))
        }
    }

    /// The last entry with at most so many line feeds before it.
    func entry(before newlines: Int) -> Int {
        var (low, high) = (0, words.count)
        while high - low > 1 {
            let middle = (low + high) / 2
            if words[middle] <= UInt64(newlines) { low = middle } else { high = middle }
        }
        return low
    }
}

/// The lines of a log as it stood at one moment, counted from 1.
struct LogLines: ~Copyable {
    let file: LogFile
    let index: LogIndex
    let size: Int64

    init(file: consuming LogFile, index: LogIndex, size: Int64) {
        self.file = file
        self.index = index
        self.size = size
    }

    /// How many lines there are; a last one without line feed counts.
    func count() throws -> Int {
        let newlines = try newlines(before: size)
        guard size > 0 else { return 0 }
        return try newlines + (file.read(from: size - 1, limit: 1) == [0x0A] ? 0 : 1)
    }

    /// The number of the line that holds the byte at `offset`.
    func number(at offset: Int64) throws -> Int { try newlines(before: min(max(0, offset), size)) + 1 }

    private func newlines(before offset: Int64) throws -> Int {
        let entry = min(Int(offset / LogIndex.stride), index.words.count - 1)
        let start = Int64(entry) * LogIndex.stride
        return Int(index.words[entry]) + (try file.read(from: start, limit: Int(offset - start)).newlines)
    }

    /// Where a line begins; the end of the log for one that is not there.
    func start(of line: Int) throws -> Int64 {
        guard line > 1 else { return 0 }
        let entry = index.entry(before: line - 2)
        var left = line - 1 - Int(index.words[entry])
        var at = Int64(entry) * LogIndex.stride
        while at < size {
            let bytes = try file.read(from: at, limit: Int(LogIndex.stride))
            if bytes.isEmpty { break }
            if let place = bytes.place(afterNewline: &left) { return at + Int64(place) }
            at += Int64(bytes.count)
        }
        return size
    }
}

extension [UInt8] {
    /// How many line feeds there are.
    var newlines: Int {
        withUnsafeBytes { buffer in
            var count = 0
            for byte in buffer where byte == 0x0A { count += 1 }
            return count
        }
    }

    /// Index behind the line feed number `left`; counts `left` down when there are not so many.
    func place(afterNewline left: inout Int) -> Int? {
        withUnsafeBytes { buffer in
            guard let base = buffer.baseAddress else { return nil }
            var at = 0
            while left > 0, let found = memchr(base + at, 0x0A, buffer.count - at) {
                at = base.distance(to: UnsafeRawPointer(found)) + 1
                left -= 1
            }
            return left == 0 ? at : nil
        }
    }
}

/// An open file of the log book; closed when it is let go.
struct LogFile: ~Copyable {
    private let descriptor: Int32

    /// Nil when there is no such file.
    init?(reading path: String) throws {
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
        if descriptor < 0 {
            guard errno == ENOENT else { throw Self.problem("open") }
            return nil
        }
    }

    init(writing path: String) throws {
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o640)
        guard descriptor >= 0 else { throw Self.problem("open") }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    func size() throws -> Int64 {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw Self.problem("look at") }
        return Int64(status.st_size)
    }

    func read(from offset: Int64, limit: Int) throws -> [UInt8] {
        guard limit > 0 else { return [] }
        var failed = false
        let bytes = [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
            while count < limit {
                let got = pread(
                    descriptor, buffer.baseAddress.map { $0 + count }, limit - count, off_t(offset) + off_t(count))
                if got < 0, errno == EINTR { continue }
                failed = got < 0
                if got <= 0 { return }
                count += got
            }
        }
        if failed { throw Self.problem("read") }
        return bytes
    }

    func write(_ bytes: ArraySlice<UInt8>, at offset: Int64) throws {
        try bytes.withUnsafeBytes { buffer in
            var done = 0
            while done < buffer.count {
                let count = pwrite(
                    descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done, off_t(offset) + off_t(done))
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { throw Self.problem("write") }
                done += count
            }
        }
    }

    // MARK: Words

    func words() throws -> [UInt64] {
        let bytes = try read(from: 0, limit: Int(size()))
        return bytes.withUnsafeBytes { buffer in
            (0..<bytes.count / 8).map {
                UInt64(littleEndian: buffer.loadUnaligned(fromByteOffset: $0 * 8, as: UInt64.self))
            }
        }
    }

    /// Writes words behind the first `known` ones; nothing comes after them.
    func put(_ words: ArraySlice<UInt64>, behind known: Int) throws {
        try write(Self.bytes(words)[...], at: Int64(known) * 8)
        guard ftruncate(descriptor, off_t(8 * (known + words.count))) == 0 else { throw Self.problem("shorten") }
    }

    private static func bytes(_ words: ArraySlice<UInt64>) -> [UInt8] {
        words.flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(8 * $0)) } }
    }

    static func problem(_ verb: String) -> Problem {
        let text = String(cString: strerror(errno)).lowercased()
        return Problem(
            "log.failed", status: 503, "could not \(verb) the output of a job: \(text)",
            hint: "Look at the disk of the data folder.")
    }
}
