import Testing

@testable import Processes

@Suite struct TerminalTests {
    private func start(_ script: String, rows: Int = 30, columns: Int = 100) async throws -> TerminalProcess {
        let command = Command(
            executable: "/bin/sh", arguments: ["-c", script], environment: ["PATH": "/usr/bin:/bin", "TERM": "dumb"],
            directory: "/tmp")
        return try await TerminalProcess.start(command, rows: rows, columns: columns)
    }

    /// All that is printed up to the end.
    private func rest(_ terminal: TerminalProcess) async throws -> String {
        var bytes: [UInt8] = []
        while let piece = try await terminal.read() { bytes += piece }
        return String(decoding: bytes, as: UTF8.self)
    }

    @Test func `a program has a terminal of its own, which controls it, in the size that was asked for`() async throws {
        let terminal = try await start("tty; stty size; echo from-tty > /dev/tty; exit 7")
        let text = try await rest(terminal)
        #expect(text.contains("/dev/pts/") && text.contains("30 100\r\n") && text.contains("from-tty"))
        #expect(try await terminal.wait() == .exited(7))
    }

    @Test func `what is typed is read, and the interrupt key interrupts`() async throws {
        let terminal = try await start(
            "trap 'echo interrupted; exit 3' INT; read line; echo got:$line; while :; do sleep 1; done")
        #expect(terminal.write(Array("hello\n".utf8)[...]) == 6)
        var text = ""
        while !text.contains("got:hello"), let piece = try await terminal.read() {
            text += String(decoding: piece, as: UTF8.self)
        }
        terminal.resize(rows: 10, columns: 20)
        #expect(terminal.write([3]) == 1)
        text += try await rest(terminal)
        #expect(text.contains("interrupted"))
        #expect(try await terminal.wait() == .exited(3))
    }

    @Test func `ending it ends all that was started in it`() async throws {
        let terminal = try await start("sleep 600 & trap '' HUP; echo begun; wait")
        var text = ""
        while !text.contains("begun"), let piece = try await terminal.read() {
            text += String(decoding: piece, as: UTF8.self)
        }
        await terminal.terminate(grace: .zero)
        #expect(try await rest(terminal).contains("begun") == false)
        #expect(try await terminal.wait() != .exited(0))
    }

    @Test func `a program that is not there is told`() async throws {
        let command = Command(executable: "/nowhere/sh", directory: "/tmp")
        await #expect(throws: ProcessError.self) { try await TerminalProcess.start(command, rows: 1, columns: 1) }
    }
}
