import Glibc

/// A file or bytes in memory, seen through a window that slides forward; never held whole.
final class ByteSource {
    /// The least size of the window.
    static let window = 1 << 22

    let name: String
    private(set) var base: UnsafeMutablePointer<UInt8>
    /// The next byte to read and the end of what is in the window.
    var start = 0
    private(set) var end = 0
    private(set) var isAtEnd = false
    private var capacity: Int
    private let descriptor: Int32
    private let memory: [UInt8]
    private var memoryRead = 0

    /// Opens a regular file.
    init(path: String, record: Int) throws(FrameError) {
        name = path
        memory = []
        let size: Int
        (descriptor, size) = try openForReading(path)
        capacity = min(max(Self.window, record + 2), max(size, 1) + 1)
        base = .allocate(capacity: capacity)
    }

    init(memory: [UInt8], name: String) {
        self.name = name
        self.memory = memory
        descriptor = -1
        capacity = max(1, min(Self.window, memory.count + 1))
        base = .allocate(capacity: capacity)
    }

    deinit {
        base.deallocate()
        if descriptor >= 0 { close(descriptor) }
    }

    /// Moves what is left to the front of the window and reads on; doubles a window that is full.
    func refill() throws(FrameError) {
        if start > 0 {
            memmove(base, base + start, end - start)
            end -= start
            start = 0
        }
        if end == capacity { grow() }
        let count = try read(into: base + end, capacity - end)
        if count == 0 { isAtEnd = true }
        end += count
    }

    /// Starts again at the first byte.
    func rewind() throws(FrameError) {
        start = 0
        end = 0
        isAtEnd = false
        memoryRead = 0
        if descriptor >= 0, lseek(descriptor, 0, SEEK_SET) != 0 { throw unreadable(name) }
    }

    private func grow() {
        let larger = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity * 2)
        memcpy(larger, base, end)
        base.deallocate()
        base = larger
        capacity *= 2
    }

    private func read(into target: UnsafeMutablePointer<UInt8>, _ room: Int) throws(FrameError) -> Int {
        guard descriptor >= 0 else {
            let count = min(room, memory.count - memoryRead)
            memory.withUnsafeBufferPointer { bytes in
                if let from = bytes.baseAddress { memcpy(target, from + memoryRead, count) }
            }
            memoryRead += count
            return count
        }
        while true {
            let count = Glibc.read(descriptor, target, room)
            if count >= 0 { return count }
            if errno != EINTR { throw unreadable(name) }
        }
    }
}

/// Opens a regular file and tells its size.
func openForReading(_ path: String) throws(FrameError) -> (descriptor: Int32, size: Int) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw unreadable(path) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
        close(descriptor)
        throw FrameError(
            .unreadable, "could not read \"\(path)\": it is not a regular file", hint: "Give the path of a file.")
    }
    return (descriptor, Int(status.st_size))
}

/// The error of the last system call on a file that was to be read.
func unreadable(_ path: String) -> FrameError {
    FrameError(
        .unreadable, "could not read \"\(path)\": \(systemMessage(errno))",
        hint: "Check that the file exists and may be read by this user.")
}

/// What the system says about an error number.
func systemMessage(_ number: Int32) -> String {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
        guard let start = buffer.baseAddress, strerror_r(number, start, buffer.count) == 0 else {
            return "error \(number)"
        }
        return String(cString: start).lowercased()
    }
}
