import Glibc

/// Writes a file beside its place and moves it there when it is whole.
///
/// Readers see the old file or the new one, never a part; a writer that fails leaves nothing behind.
final class FileWriter {
    /// How much is gathered before it is written.
    static let bufferBytes = 1 << 16

    private let path: String
    private let temporary: String
    private var descriptor: Int32
    private var buffer: [UInt8] = []

    init(path: String) throws(FrameError) {
        self.path = path
        var template = Array((path + ".partial-XXXXXX").utf8CString)
        descriptor = mkstemp(&template)
        temporary = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        guard descriptor >= 0 else { throw Self.unwritable(path) }
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        _ = fchmod(descriptor, 0o644)
        buffer.reserveCapacity(Self.bufferBytes * 2)
    }

    deinit {
        if descriptor >= 0 {
            close(descriptor)
            unlink(temporary)
        }
    }

    func write(_ bytes: some Sequence<UInt8>) throws(FrameError) {
        buffer.append(contentsOf: bytes)
        if buffer.count >= Self.bufferBytes { try flush() }
    }

    func write(_ byte: UInt8) throws(FrameError) {
        buffer.append(byte)
        if buffer.count >= Self.bufferBytes { try flush() }
    }

    /// Writes what is gathered, waits until the disk has it, and puts the file in its place.
    func finish() throws(FrameError) {
        try flush()
        guard fsync(descriptor) == 0, rename(temporary, path) == 0 else { throw Self.unwritable(path) }
        close(descriptor)
        descriptor = -1
    }

    private func flush() throws(FrameError) {
        var written = 0
        while written < buffer.count {
            let count = buffer.withUnsafeBytes { bytes in
                bytes.baseAddress.map { Glibc.write(descriptor, $0 + written, bytes.count - written) } ?? 0
            }
            if count >= 0 {
                written += count
            } else if errno != EINTR {
                throw Self.unwritable(path)
            }
        }
        buffer.removeAll(keepingCapacity: true)
    }

    private static func unwritable(_ path: String) -> FrameError {
        FrameError(
            .unwritable, "could not write \"\(path)\": \(systemMessage(errno))",
            hint: "Check that the folder exists, may be written to by this user, and has room.")
    }
}
