import Glibc
import Synchronization

/// Reads the pipes of a command and hands over what comes, in the order in which it is found.
final class OutputReader: Sendable {
    /// Most bytes of one chunk.
    static let chunkBytes = 128 * 1024

    private let pipes: Launched.Pipes
    private let wake = Wake()
    private let machinery: Machinery
    private let counted = Atomic<Int>(0)
    private let isFinishing = Atomic<Bool>(false)

    init(_ pipes: Launched.Pipes, _ machinery: Machinery) {
        self.pipes = pipes
        self.machinery = machinery
    }

    deinit {
        close(pipes.output)
        if let error = pipes.error { close(error) }
    }

    var bytesRead: Int { counted.load(ordering: .relaxed) }

    /// Tells that whoever could write is dead: what is in the pipes is read, nothing more is waited for.
    func finishSoon() {
        isFinishing.store(true, ordering: .releasing)
        wake.ring(.drained)
    }

    /// Reads until the pipes are closed, or empty after `finishSoon`.
    func drain(_ output: @Sendable (OutputChunk) async throws -> Void) async throws {
        let outputWatch = try machinery.events.watch(pipes.output) { [wake] in wake.ring(.output) }
        defer { machinery.events.forget(outputWatch) }
        let errorWatch = try pipes.error.map { try machinery.events.watch($0) { [wake] in wake.ring(.error) } }
        defer { if let errorWatch { machinery.events.forget(errorWatch) } }
        let space = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.chunkBytes, alignment: 16)
        defer { space.deallocate() }
        var streams = [Stream(pipes.output, isError: false)]
        if let error = pipes.error { streams.append(Stream(error, isError: true)) }
        // Bytes still read when finishing; a stranger who holds the pipe and writes on must not keep us for ever.
        var lastBytes: Int?
        while streams.contains(where: { !$0.isClosed }) {
            if lastBytes == nil && isFinishing.load(ordering: .acquiring) {
                lastBytes = 2 * Launch.pipeBytes
                for index in streams.indices { streams[index].wakeUp() }
            }
            for index in streams.indices where streams[index].isReady {
                guard let bytes = try streams[index].read(into: space) else { continue }
                counted.add(bytes.count, ordering: .relaxed)
                if let last = lastBytes { lastBytes = last - bytes.count }
                try await output(OutputChunk(bytes: bytes, isError: streams[index].isError))
            }
            if let lastBytes, lastBytes <= 0 { return }
            if streams.contains(where: { $0.isReady }) { continue }
            if lastBytes != nil || !streams.contains(where: { !$0.isClosed }) { return }
            let reasons = await wake.next()
            if reasons.contains(.output) { streams[0].wakeUp() }
            if reasons.contains(.error), streams.count > 1 { streams[1].wakeUp() }
        }
    }

    /// One pipe: ready until a read would have blocked.
    private struct Stream {
        let descriptor: Int32
        let isError: Bool
        private(set) var isReady = true
        private(set) var isClosed = false

        init(_ descriptor: Int32, isError: Bool) {
            self.descriptor = descriptor
            self.isError = isError
        }

        mutating func wakeUp() { isReady = !isClosed }

        /// Reads once without blocking; nil when there is nothing now, or nothing ever again.
        mutating func read(into space: UnsafeMutableRawBufferPointer) throws(ProcessError) -> [UInt8]? {
            let count = Glibc.read(descriptor, space.baseAddress, space.count)
            if count > 0 { return [UInt8](UnsafeRawBufferPointer(rebasing: space[..<count])) }
            if count < 0 && errno == EINTR { return nil }
            isReady = false
            if count == 0 {
                isClosed = true
            } else if errno != EAGAIN {
                isClosed = true
                throw .machinery("read the output of a program", errno)
            }
            return nil
        }
    }
}
