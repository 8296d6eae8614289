import CLinux
import Glibc
import Processes
import Synchronization

@testable import struct Processes.ProcessEntry

/// Shell words that every test machine has, and the environment that finds them.
enum Shell {
    static let environment = ["PATH": "/usr/local/bin:/usr/bin:/bin"]

    static func command(
        _ script: String, environment: [String: String] = Shell.environment, output: Command.Output = .stream,
        isContained: Bool = true
    ) -> Command {
        Command(
            executable: "/bin/sh", arguments: ["-c", script], environment: environment, directory: "/", output: output,
            isContained: isContained)
    }
}

/// Collects output; may be told to stop the run by an error when something has been said.
final class Listener: Sendable {
    /// Thrown when the awaited number of lines has come.
    struct Heard: Error {}

    private struct State {
        var output: [UInt8] = []
        var error: [UInt8] = []
    }

    private let state = Mutex(State())
    private let stopsAfterLines: Int

    init(stopsAfterLines: Int = .max) { self.stopsAfterLines = stopsAfterLines }

    @Sendable func take(_ chunk: OutputChunk) async throws {
        let count = state.withLock { state in
            if chunk.isError { state.error += chunk.bytes } else { state.output += chunk.bytes }
            return state.output.count { $0 == 0x0A }
        }
        if count >= stopsAfterLines { throw Heard() }
    }

    var output: String { state.withLock { String(decoding: $0.output, as: UTF8.self) } }
    var error: String { state.withLock { String(decoding: $0.error, as: UTF8.self) } }
    var lines: [String] { output.split(separator: "\n").map(String.init) }
    /// The process numbers that the script has printed, one a line.
    var numbers: [Int32] { lines.compactMap { Int32($0) } }
}

/// A folder of one test's own, gone with it.
final class Folder: Sendable {
    let path: String

    init() throws {
        var template = Array("/tmp/processes-tests-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Failure(number: errno) }
        path = template.withUnsafeBufferPointer { text in
            text.baseAddress.map { String(cString: $0) } ?? ""
        }
    }

    struct Failure: Error { let number: Int32 }

    deinit { removeAll(path) }

    private func removeAll(_ path: String) {
        if unlink(path) == 0 { return }
        guard let folder = opendir(path) else { return }
        defer {
            closedir(folder)
            rmdir(path)
        }
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { removeAll("\(path)/\(name)") }
        }
    }

    func write(_ text: String, to name: String, mode: mode_t = 0o644) throws -> String {
        let file = "\(path)/\(name)"
        let descriptor = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
        guard descriptor >= 0 else { throw Failure(number: errno) }
        defer { close(descriptor) }
        let bytes = Array(text.utf8)
        guard Glibc.write(descriptor, bytes, bytes.count) == bytes.count else { throw Failure(number: errno) }
        return file
    }

    func read(_ name: String) -> String {
        let descriptor = open("\(path)/\(name)", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return "" }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 65536)
        let count = Glibc.read(descriptor, &bytes, bytes.count)
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    }
}

/// True when nothing runs under this number any more.
func isGone(_ pid: Int32) -> Bool { ProcessEntry(pid: pid)?.hasEnded ?? true }

/// Looks again and again until something of the outside world holds; false after a minute.
func eventually(_ holds: () -> Bool) async -> Bool {
    let deadline = ContinuousClock.now + .seconds(60)
    while ContinuousClock.now < deadline {
        if holds() { return true }
        await Task.yield()
    }
    return holds()
}
