import API
import Foundation
import Kernel
import KernelTesting
import Manifests
import Testing

@testable import Pipelines

@Suite struct LogTests {
    private static let key = JobKey(run: "r", stage: "s", job: "j")

    private func withLogs(_ body: (LogBook, String) throws -> Void) throws {
        let folder = NSTemporaryDirectory() + "vagus-logs-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }  // a leftover folder harms no other test
        try body(LogBook(folder: folder), folder)
    }

    /// Lines of very different lengths, some longer than a stride of the index.
    private static let lines: [String] = (1...3000).map { number in
        let length = number % 500 == 0 ? 150_000 : number % 7 * 11
        return "line \(number) " + String(repeating: "x", count: length)
    }

    private func fill(_ logs: LogBook, _ text: String, pieces: Int = 70_001) throws {
        let bytes = Array(text.utf8)
        var offset = 0
        while offset < bytes.count {
            let end = min(bytes.count, offset + pieces)
            _ = try logs.append(Array(bytes[offset..<end]), at: Int64(offset), to: Self.key, epoch: 1)
            offset = end
        }
    }

    private func line(_ number: Int, of logs: LogBook) throws -> String? {
        try logs.lines(Self.key) { lines in
            let start = try lines.start(of: number)
            #expect(try lines.number(at: start) == min(number, lines.count() + (number > lines.count() ? 1 : 0)))
            let bytes = try lines.file.read(from: start, limit: 20)
            return String(decoding: bytes.prefix { $0 != 0x0A && $0 != 0x78 }, as: UTF8.self)
        }
    }

    @Test func `any line is found, whatever the lengths of the lines before it`() throws {
        try withLogs { (logs, _) in
            try fill(logs, Self.lines.joined(separator: "\n") + "\n")
            for number in [1, 2, 499, 500, 501, 502, 1000, 1001, 2999, 3000] {
                #expect(try line(number, of: logs) == "line \(number) ")
            }
            #expect(try logs.lines(Self.key) { try $0.count() } == 3000)
            #expect(try logs.lines(Self.key) { (try $0.start(of: 3001), $0.size) }.map { $0.0 == $0.1 } == true)
        }
    }

    @Test func `a last line without a line feed counts, and an empty log has none`() throws {
        try withLogs { (logs, _) in
            #expect(try logs.lines(Self.key) { try $0.count() } == nil)
            try fill(logs, "one\ntwo")
            #expect(try logs.lines(Self.key) { try $0.count() } == 2)
            #expect(try line(2, of: logs) == "two")
        }
    }

    @Test(arguments: ["gone", "torn", "empty", "zeros", "nonsense"])
    func `an index that is not whole is made again`(damage: String) throws {
        try withLogs { (logs, folder) in
            try fill(logs, Self.lines.joined(separator: "\n"))
            let path = "\(folder)/r/s.j.log.idx"
            let whole = try #require(FileManager.default.contents(atPath: path))
            switch damage {
            case "gone": try FileManager.default.removeItem(atPath: path)
            case "torn": try whole.prefix(13).write(to: URL(fileURLWithPath: path))
            case "empty": try Data().write(to: URL(fileURLWithPath: path))
            case "zeros": try (whole.prefix(16) + Data(count: whole.count - 16)).write(to: URL(fileURLWithPath: path))
            default: try Data(repeating: 0xFF, count: whole.count).write(to: URL(fileURLWithPath: path))
            }
            for number in [1, 500, 501, 3000] {
                #expect(try line(number, of: LogBook(folder: folder)) == "line \(number) ")
            }
            #expect(damage == "zeros" || FileManager.default.contents(atPath: path) == whole)
        }
    }

    @Test func `a log that lost its end goes on with an index that fits`() throws {
        try withLogs { (logs, folder) in
            let text = Self.lines.joined(separator: "\n")
            try fill(logs, text)
            truncate("\(folder)/r/s.j.log", 100_000)
            let again = LogBook(folder: folder)
            _ = try again.append(Array(repeating: 0x0A, count: 300_000), at: 100_000, to: Self.key, epoch: 1)
            let newlines = Array(text.utf8.prefix(100_000)).newlines
            #expect(try again.lines(Self.key) { try $0.count() } == newlines + 300_000)
            #expect(try again.lines(Self.key) { try $0.start(of: newlines + 200_001) } == 100_000 + 200_000)
        }
    }

    // MARK: Operations

    private func begun() async throws -> (PipelineHouse, Run, Lease) {
        let it = try await PipelineHouse()
        try await it.house.apply("kind: Pipeline\nname: p\nstages: [{ name: s, jobs: { j: { steps: [{ run: a }] } } }]")
        try await it.hello()
        let run = try await it.start("p")
        return (it, run, try await it.lease())
    }

    private func log(_ it: PipelineHouse, _ run: Run, _ edit: (inout LogQuery) -> Void) async throws -> LogChunk {
        var query = LogQuery()
        (query.run, query.job) = (run.id, "s")
        edit(&query)
        return try await it.house.call(Runs.log, query)
    }

    @Test func `a log is read from a line, for so many lines, or by its last ones, while it is written`() async throws {
        let (it, run, lease) = try await begun()
        let text = (1...50).map { "l\($0)\n" }.joined()
        _ = try await it.append(text, at: 0, lease)
        let middle = try await log(it, run) { ($0.line, $0.lines) = (7, 3) }
        #expect(middle.text == "l7\nl8\nl9\n" && middle.first_line == 7 && middle.total_lines == 50 && !middle.ended)
        let next = try await log(it, run) { ($0.offset, $0.lines) = (middle.next_offset, 1) }
        #expect(next.text == "l10\n" && next.first_line == 10)
        let tail = try await log(it, run) { $0.tail = 2 }
        #expect(tail.text == "l49\nl50\n" && tail.first_line == 49)
        #expect(try await log(it, run) { $0.tail = 0 }.text == "")
        #expect(try await log(it, run) { $0.line = 51 }.text == "")
        #expect(try await log(it, run) { $0.tail = 1000 }.first_line == 1)
    }

    @Test func `who follows from the end sees what comes then`() async throws {
        let (it, run, lease) = try await begun()
        _ = try await it.append("before\n", at: 0, lease)
        async let chunk = log(it, run) { ($0.tail, $0.wait) = (0, true) }
        await it.house.time.untilSomeoneSleeps()
        _ = try await it.append("then\n", at: 7, lease)
        #expect(try await chunk.text == "then\n")
    }

    @Test func `what one try of a job wrote is read by itself`() async throws {
        let it = try await PipelineHouse()
        try await it.house.apply(
            "kind: Pipeline\nname: p\nstages: [{ name: s, jobs: { j: { retry: { max: 1, for: [failure] }, steps: [{ run: a }] } } }]"
        )
        try await it.hello()
        let run = try await it.start("p")
        let first = try await it.lease()
        _ = try await it.append("one\nhalf\n", at: 0, first)
        try await it.finish(first, .failed)
        try await it.end(first, .failed, cause: .failure, reason: "broke")
        let second = try await it.lease()
        #expect(second.output_offset == 9)
        _ = try await it.append("two\n", at: 9, second)
        let before = try await log(it, run) { $0.attempt = 1 }
        #expect(before.text == "one\nhalf\n" && before.ended)
        #expect(try await log(it, run) { ($0.attempt, $0.tail) = (1, 1) }.text == "half\n")
        let now = try await log(it, run) { $0.attempt = 2 }
        #expect(now.text == "two\n" && now.first_line == 3 && !now.ended)
        let missing = await #expect(throws: Problem.self) { try await log(it, run) { $0.attempt = 3 } }
        #expect(missing?.hint == "It has 1, 2.")
    }

    @Test func `output in bytes that are no text is kept as it is`() async throws {
        let (it, run, lease) = try await begun()
        var place = OutputInput()
        (place.run, place.stage, place.job, place.epoch) = (lease.run, lease.stage, lease.job, lease.epoch)
        _ = try await it.domain.append([0xFF, 0x00, 0x0A], place, .system("test"))
        #expect(try await log(it, run) { _ in }.text == "\u{FFFD}\0\n")
        let refused = await #expect(throws: Problem.self) {
            try await it.domain.append([1], place, Call(actor: "x", correlation: "x", permission: .write))
        }
        #expect(refused?.status == 403)
    }

    @Test func `lines are found by text and by pattern`() async throws {
        let (it, run, lease) = try await begun()
        _ = try await it.append("one\nERROR: two.x\nthree\nerror: four\nlast error", at: 0, lease)
        func search(_ pattern: String, _ edit: (inout LogSearch) -> Void = { _ in }) async throws -> LogMatches {
            var input = LogSearch()
            (input.run, input.job, input.pattern) = (run.id, "s", pattern)
            edit(&input)
            return try await it.house.call(Runs.searchLog, input)
        }
        #expect(try await search("error").matches.map(\.line) == [4, 5])
        #expect(
            try await search("error") { $0.ignore_case = true }.matches.map(\.text) == [
                "ERROR: two.x", "error: four", "last error",
            ])
        #expect(try await search(".x").matches.map(\.line) == [2])
        #expect(try await search("^e.*r$") { $0.regex = true }.matches.map(\.line) == [4])
        #expect(try await search("^(one|three)$") { $0.regex = true }.matches.map(\.offset) == [0, 17])
        let first = try await search("r") { $0.limit = 2 }
        #expect(first.matches.map(\.line) == [3, 4] && first.next_line == 5)
        #expect(try await search("r") { $0.line = 5 }.matches.map(\.line) == [5])
        let refused = await #expect(throws: Problem.self) { try await search("(") { $0.regex = true } }
        #expect(refused?.code == "pattern.invalid")
    }

    @Test(arguments: [
        ("a*b", "xxaaab", true), ("^a*b$", "aac", false), ("[a-c]{2,3}$", "xabc", true), ("^[^a]+$", "bcd", true),
        ("^[^a]+$", "bad", false), ("\\d+\\.\\d", "v1.2", true), ("\\d+\\.\\d", "v1x2", false), ("x?y", "y", true),
        ("(ab|cd)+e", "abcde", true), ("^(ab|cd)+e$", "abce", false), ("^$", "", true), ("^$", "a", false),
        ("a{3}", "aa", false), ("a{3}", "aaa", true), ("[]]", "]", true), ("(?:a|b)c", "bc", true),
        ("\\$", "a$b", true),
        ("(a*)*$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", true),
    ])
    func `a pattern finds what it says`(pattern: String, text: String, isFound: Bool) throws {
        var search = LineSearch(try LinePattern(pattern, isRegex: true, ignoresCase: false), limit: 10)
        search.feed(Array(text.utf8) + [0x0A])
        #expect(search.found.isEmpty == !isFound)
    }
}
