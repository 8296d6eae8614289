import Foundation
import NIOCore
import NIOPosix

/// The pieces of a file, read on threads that may block.
struct FileChunks: AsyncSequence, Sendable {
    typealias Element = ByteBuffer
    let path: String
    let size: Int64

    /// Bytes read at a time.
    static let chunkBytes = 128 << 10

    init(path: String) throws(OutboundError) {
        var status = stat()
        guard stat(path, &status) == 0 else {
            throw OutboundError(.other, "could not open \"\(path)\": \(String(cString: strerror(errno)))")
        }
        (self.path, size) = (path, Int64(status.st_size))
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(path: path) }

    /// Opens the file with the first piece, so that a request sent twice reads it twice.
    struct AsyncIterator: AsyncIteratorProtocol {
        let path: String
        private var file: Descriptor?

        init(path: String) { self.path = path }

        mutating func next() async throws -> ByteBuffer? {
            let path = path
            if file == nil {
                file = try await NIOThreadPool.singleton.runIfActive { try Descriptor(path, O_RDONLY) }
            }
            guard let file else { return nil }
            let bytes = try await NIOThreadPool.singleton.runIfActive { try file.read(atMost: FileChunks.chunkBytes) }
            return bytes.isEmpty ? nil : ByteBuffer(bytes: bytes)
        }
    }
}

/// Pieces of bytes as the HTTP client takes them.
struct BufferedPieces: AsyncSequence, Sendable {
    typealias Element = ByteBuffer
    let pieces: any AsyncSequence<[UInt8], any Error> & Sendable

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(pieces.makeAsyncIterator()) }

    /// Wraps each piece.
    struct AsyncIterator: AsyncIteratorProtocol {
        private var pieces: any AsyncIteratorProtocol<[UInt8], any Error>

        init(_ pieces: any AsyncIteratorProtocol<[UInt8], any Error>) { self.pieces = pieces }

        mutating func next() async throws -> ByteBuffer? {
            try await pieces.next(isolation: nil).map { ByteBuffer(bytes: $0) }
        }
    }
}

/// A file that is written under another name until it is whole.
struct PartialFile: Sendable {
    private let path: String
    private let partial: String
    private let file: Descriptor

    init(for path: String) async throws {
        let partial = "\(path).\(UInt64.random(in: .min ... .max)).partial"
        file = try await NIOThreadPool.singleton.runIfActive {
            try Descriptor(partial, O_WRONLY | O_CREAT | O_EXCL)
        }
        (self.path, self.partial) = (path, partial)
    }

    func write(_ bytes: [UInt8]) async throws {
        try await NIOThreadPool.singleton.runIfActive { try file.write(bytes) }
    }

    /// Syncs the file and gives it its name.
    func publish() async throws {
        try await NIOThreadPool.singleton.runIfActive {
            try file.sync()
            guard rename(partial, path) == 0 else { throw Descriptor.failure("rename", partial) }
        }
    }

    func discard() async {
        let remove = { @Sendable in _ = unlink(partial) }
        try? await NIOThreadPool.singleton.runIfActive(remove)  // what stays has a partial name and is never read
    }
}

/// An open file, closed when nobody holds it.
///
/// All calls block.
final class Descriptor: Sendable {
    private let number: Int32
    private let path: String

    init(_ path: String, _ flags: Int32) throws {
        number = open(path, flags | O_CLOEXEC, 0o644)
        self.path = path
        guard number >= 0 else { throw Self.failure("open", path) }
    }

    deinit { close(number) }

    func read(atMost count: Int) throws -> [UInt8] {
        try [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            let got = Foundation.read(number, buffer.baseAddress, count)
            guard got >= 0 else { throw Self.failure("read", path) }
            filled = got
        }
    }

    func write(_ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { buffer in
            var rest = buffer[...]
            while !rest.isEmpty {
                let written = Foundation.write(number, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
                if written < 0, errno == EINTR { continue }
                guard written > 0 else { throw Self.failure("write", path) }
                rest = rest.dropFirst(written)
            }
        }
    }

    func sync() throws {
        guard fsync(number) == 0 else { throw Self.failure("sync", path) }
    }

    static func failure(_ verb: String, _ path: String) -> OutboundError {
        OutboundError(.other, "could not \(verb) \"\(path)\": \(String(cString: strerror(errno)))")
    }
}
