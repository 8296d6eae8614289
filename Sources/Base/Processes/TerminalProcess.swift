import CLinux
import Glibc
import Synchronization

/// A program with a terminal of its own, for somebody who types and reads.
///
/// One reader at a time; all else may be called from anywhere. Dropping it hangs the terminal up.
package final class TerminalProcess: Sendable {
    private let terminal: Int32
    private let process: RunningProcess
    private let wake: Wake
    private let watch: EventThread.Watch
    private let hasEnded = Atomic<Bool>(false)
    /// Most bytes of one piece.
    private static let pieceBytes = 32 * 1024

    private init(_ terminal: Int32, _ process: RunningProcess) throws(ProcessError) {
        let wake = Wake()
        (self.terminal, self.process, self.wake) = (terminal, process, wake)
        watch = try process.machinery.events.watch(terminal) { wake.ring(.output) }
        _ = process.observe { [weak self] in
            self?.hasEnded.store(true, ordering: .releasing)
            wake.ring(.ended)
        }
    }

    deinit {
        process.machinery.events.forget(watch)
        close(terminal)
    }

    /// Starts a program; its input and output are the terminal, whatever the command says of them.
    package static func start(_ command: Command, rows: Int, columns: Int) async throws(ProcessError) -> TerminalProcess
    {
        var name = [CChar](repeating: 0, count: 128)
        let terminal = clinux_terminal(&name, name.count, Int32(clamping: rows), Int32(clamping: columns))
        guard terminal >= 0 else { throw .machinery("make a terminal", -terminal) }
        let path = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        var command = command
        (command.input, command.output, command.ownsTerminal) = (.file(path), .file(path), true)
        command.ownSession = true
        // Who runs in it opens it by its name, too: editors, pagers, passwords.
        if let user = command.user { _ = chown(path, user.id, user.group) }
        do throws(ProcessError) {
            return try TerminalProcess(terminal, try await Launch.start(command).process)
        } catch {
            close(terminal)
            throw error
        }
    }

    /// The next output; nil when the program has ended and all was read.
    ///
    /// - Throws: `CancellationError`, which leaves the program alone.
    package func read() async throws -> [UInt8]? {
        var space = [UInt8](repeating: 0, count: Self.pieceBytes)
        while true {
            try Task.checkCancellation()
            let isOver = hasEnded.load(ordering: .acquiring)
            let count = Glibc.read(terminal, &space, space.count)
            if count > 0 { return Array(space.prefix(count)) }
            if count < 0, errno == EINTR { continue }
            // EIO: nobody holds the other end any more. Whoever holds it after the program's end is not waited for.
            guard count < 0, errno == EAGAIN, !isOver else { return nil }
            _ = await withTaskCancellationHandler {
                await wake.next()
            } onCancel: {
                wake.ring(.cancelled)
            }
        }
    }

    /// Types; returns how many bytes there was room for.
    package func write(_ bytes: ArraySlice<UInt8>) -> Int {
        bytes.withUnsafeBytes { max(0, Glibc.write(terminal, $0.baseAddress, $0.count)) }
    }

    package func resize(rows: Int, columns: Int) {
        _ = clinux_terminal_resize(terminal, Int32(clamping: rows), Int32(clamping: columns))
    }

    /// Waits until the program itself has ended.
    package func wait() async throws -> ExitStatus { try await process.wait() }

    /// Ends the program and all that it has started.
    package func terminate(grace: Duration) async { await process.terminate(grace: grace) }
}
