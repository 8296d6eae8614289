import API
import Client
import Foundation
import Kernel
import Manifests
import Synchronization

/// A terminal on a runner far away, shown in ours: by way of the server, which the runner asks.
struct RemoteShell {
    let client: VagusClient
    let input: ShellInput

    /// How often it is looked whether our terminal has another size, and how long an unheard call is repeated.
    private static let sizeInterval: Duration = .milliseconds(500)
    private static let tries = 20

    /// Comes back with the program's exit code.
    func run() async throws -> Int32 {
        var input = input
        if let size = Self.size { (input.rows, input.columns) = (size.rows, size.columns) }
        input.term = ProcessInfo.processInfo.environment["TERM"] ?? "dumb"
        let ticket = try await client.call(Shells.open, input)
        if input.command.isEmpty { Terminal.error("\(ticket.title), on runner \(ticket.runner)\n") }
        let raw = RawTerminal()
        defer { raw?.restore() }
        let isTerminal = raw != nil
        do {
            return try await withThrowingTaskGroup(of: Int32?.self) { group in
                group.addTask { try await show(ticket.shell) }
                group.addTask {
                    try await forward(into: ticket.shell, isTerminal: isTerminal)
                    return nil
                }
                defer { group.cancelAll() }
                while let code = try await group.next() {
                    if let code { return code }
                }
                return 1
            }
        } catch {
            // Whatever it was: nobody sits there any more.
            _ = try? await client.call(Shells.close, ShellOffset(ticket.shell))  // else the server finds out by itself
            throw error
        }
    }

    private func show(_ shell: String) async throws -> Int32 {
        var place = ShellOffset(shell)
        while true {
            let output = try await repeated { try await client.call(Shells.read, place) }
            let bytes = Array(Data(base64Encoded: output.bytes) ?? Data())
            Terminal.out(bytes)
            place.offset += Int64(bytes.count)
            if let problem = output.problem { throw Problem("shell.ended", status: 502, problem) }
            if let code = output.exit_code { return Int32(clamping: code) }
        }
    }

    private func forward(into shell: String, isTerminal: Bool) async throws {
        var keys = ShellKeys()
        keys.shell = shell
        var size = Self.size
        let typed = TypedBytes()
        typed.start()
        while true {
            let piece = try await typed.next(within: Self.sizeInterval)
            let now = Self.size
            if piece.bytes.isEmpty, !piece.isOver, now == size { continue }
            (size, keys.rows, keys.columns) = (now, now?.rows, now?.columns)
            // The end of input, where there is no terminal to say it: Control and D.
            let bytes = piece.bytes + (piece.isOver && !isTerminal ? [4] : [])
            keys.bytes = Data(bytes).base64EncodedString()
            let told = keys
            _ = try await repeated { try await client.call(Shells.send, told) }
            keys.offset += Int64(bytes.count)
            if piece.isOver { return }
        }
    }

    /// Again while the failure may pass.
    private func repeated<T>(_ body: () async throws -> T) async throws -> T {
        var tries = 0
        while true {
            do {
                return try await body()
            } catch let problem as Problem
                where (problem.status == 0 || problem.status >= 500 || problem.status == 429) && tries < Self.tries
            {
                tries += 1
                try await Task.sleep(for: .milliseconds(250))
            }
        }
    }

    private struct Size: Equatable {
        var rows: Int
        var columns: Int
    }

    private static var size: Size? {
        var size = winsize()
        guard ioctl(STDIN_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_row > 0, size.ws_col > 0 else { return nil }
        return Size(rows: Int(size.ws_row), columns: Int(size.ws_col))
    }
}

/// Our terminal with every key handed on as it is: the one far away knows what they mean.
private struct RawTerminal {
    private let before: termios

    /// Nil when standard input is no terminal.
    init?() {
        var settings = termios()
        guard isatty(STDIN_FILENO) == 1, tcgetattr(STDIN_FILENO, &settings) == 0 else { return nil }
        before = settings
        cfmakeraw(&settings)
        // What was typed before we were ready is not thrown away.
        tcsetattr(STDIN_FILENO, TCSADRAIN, &settings)
    }

    func restore() {
        var settings = before
        tcsetattr(STDIN_FILENO, TCSADRAIN, &settings)
    }
}

/// Standard input, read on a thread of its own that nobody waits for.
private final class TypedBytes: Sendable {
    struct Piece {
        var bytes: [UInt8]
        var isOver: Bool
    }
    private let state = Mutex<(bytes: [UInt8], isOver: Bool)>(([], false))
    private let bell = Bell()
    private let time = SystemTime()
    /// Bytes that are read before they are sent; what is piped in faster waits in its pipe.
    private static let limit = 32 << 10

    func start() {
        Thread.detachNewThread { [self] in
            var space = [UInt8](repeating: 0, count: 4096)
            while true {
                while state.withLock({ $0.bytes.count }) > Self.limit { usleep(20_000) }
                let count = Foundation.read(STDIN_FILENO, &space, space.count)
                if count < 0, errno == EINTR { continue }
                let piece = space.prefix(max(0, count))
                state.withLock { state in
                    state.bytes += piece
                    state.isOver = count <= 0
                }
                bell.ring()
                if count <= 0 { return }
            }
        }
    }

    /// What was typed since the last time; nothing when that time is over.
    func next(within length: Duration) async throws -> Piece {
        let now = take()
        if !now.bytes.isEmpty || now.isOver { return now }
        try await bell.wait(until: time.now.advanced(by: length), by: time)
        return take()
    }

    private func take() -> Piece {
        state.withLock { state in
            let count = min(state.bytes.count, Self.limit)
            let piece = Piece(
                bytes: Array(state.bytes.prefix(count)), isOver: state.isOver && count == state.bytes.count)
            state.bytes.removeFirst(count)
            return piece
        }
    }
}
