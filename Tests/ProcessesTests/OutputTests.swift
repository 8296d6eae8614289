import Foundation
import Glibc
import Processes
import Synchronization
import Testing

@testable import struct Processes.ProcessEntry

@Suite(.timeLimit(.minutes(2))) struct OutputTests {
    /// Measures the memory of the whole test process, so `scripts/test` runs it alone, after the others.
    @Test(.enabled(if: ProcessInfo.processInfo.environment["VAGUS_TEST_ALONE"] != nil, "runs alone"))
    func `much output flows through little memory`() async throws {
        let bytes = 400 * 1024 * 1024
        let before = ProcessEntry(pid: getpid())?.residentBytes ?? 0
        let largest = Mutex(UInt64(0))
        let total = Mutex(0)
        let clock = ContinuousClock.now
        let outcome = try await Processes.run(
            Command(
                executable: "head", arguments: ["-c", "\(bytes)", "/dev/zero"], environment: Shell.environment,
                directory: "/")
        ) { chunk in
            let seen = total.withLock { total in
                total += chunk.bytes.count
                return total
            }
            guard seen % (32 * 1024 * 1024) < chunk.bytes.count else { return }
            let resident = ProcessEntry(pid: getpid())?.residentBytes ?? 0
            largest.withLock { $0 = max($0, resident) }
        }
        #expect(outcome.outputBytes == bytes)
        #expect(total.withLock { $0 } == bytes)
        let growth = Int64(largest.withLock { $0 }) - Int64(before)
        #expect(growth < 64 * 1024 * 1024, "grew by \(growth) bytes")
        print(
            "processes: \(bytes >> 20) MiB of output in \(ContinuousClock.now - clock), memory \(growth >> 10) KiB more"
        )
    }

    @Test func `a slow consumer holds the program back`() async throws {
        let identity = Mutex<ProcessIdentity?>(nil)
        let written = Mutex<[Int]>([])
        _ = try await Processes.run(
            Command(
                executable: "head", arguments: ["-c", "16777216", "/dev/zero"], environment: Shell.environment,
                directory: "/"),
            started: { started in identity.withLock { $0 = started } },
            output: { _ in
                guard written.withLock({ $0.isEmpty }), let pid = identity.withLock({ $0?.pid }) else { return }
                // Asleep in its write: the pipe is full and nobody reads.
                let isHeld = await eventually { ProcessEntry(pid: pid)?.state == UInt8(ascii: "S") }
                #expect(isHeld)
                written.withLock { $0.append(bytesWritten(by: pid)) }
            })
        let held = try #require(written.withLock { $0.first })
        #expect(held > 0 && held < 2 * 1024 * 1024)
    }

    @Test func `output to a file is appended and outlives the handle`() async throws {
        let folder = try Folder()
        let file = try folder.write("before\n", to: "log")
        for word in ["one", "two"] {
            let process = try await Processes.start(
                Shell.command("echo \(word); echo \(word) again >&2", output: .file(file)))
            #expect(try await process.wait() == .exited(0))
        }
        #expect(folder.read("log") == "before\none\none again\ntwo\ntwo again\n")
    }

    @Test func `a run whose output goes to a file streams nothing`() async throws {
        let folder = try Folder()
        let heard = Listener()
        let outcome = try await Processes.run(
            Shell.command("echo said", output: .file("\(folder.path)/log")), output: heard.take)
        #expect(outcome.isSuccess && outcome.outputBytes == 0)
        #expect(heard.output.isEmpty)
        #expect(folder.read("log") == "said\n")
    }

    private func bytesWritten(by pid: Int32) -> Int {
        let descriptor = open("/proc/\(pid)/io", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return 0 }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 1024)
        let count = read(descriptor, &bytes, bytes.count)
        let text = String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
        let line = text.split(separator: "\n").first { $0.hasPrefix("wchar:") }
        return line.flatMap { Int($0.dropFirst(7)) } ?? 0
    }
}

struct LineSplitterTests {
    @Test(
        arguments: [
            (["a\nb\n"], ["a", "b"]),
            (["a", "b\nc"], ["ab", "c"]),
            (["", "\n", "\n\n"], ["", "", ""]),
            (["abcd\n"], ["abcd"]),
            (["abcde\n"], ["abcd+", "e"]),
            (["ab", "cd", "efgh", "i\nj\n"], ["abcd+", "efgh+", "i", "j"]),
            (["abcdefgh\n"], ["abcd+", "efgh"]),
            (["abcdefgh"], ["abcd+", "efgh"]),
            (["a\r\nb"], ["a\r", "b"]),
            ([], []),
        ] as [([String], [String])])
    func `chunks become lines, and long lines pieces`(chunks: [String], expected: [String]) {
        var splitter = LineSplitter(maximumBytes: 4)
        var lines: [String] = []
        for chunk in chunks { splitter.append(Array(chunk.utf8)) { lines.append($0.text + ($0.isCut ? "+" : "")) } }
        splitter.finish { lines.append($0.text + ($0.isCut ? "+" : "")) }
        #expect(lines == expected)
    }

    @Test func `a line without end is delivered in pieces of the limit`() {
        var splitter = LineSplitter()
        let chunk = [UInt8](repeating: 0x61, count: 100_000)
        var bytes = 0
        var longest = 0
        var whole = 0
        func take(_ line: OutputLine) {
            bytes += line.bytes.count
            longest = max(longest, line.bytes.count)
            if !line.isCut { whole += 1 }
        }
        for _ in 0..<100 { splitter.append(chunk, take) }
        splitter.finish(take)
        #expect(bytes == 10_000_000)
        #expect(longest == LineSplitter.standardMaximumBytes)
        #expect(whole == 1)
    }
}
