import Glibc
import Segments
import Series
import Testing

@testable import LogStore

let second: Int64 = 1_000_000_000

/// A folder of its own that goes with its last user.
final class TemporaryFolder {
    let path: String

    init() throws {
        var template = Array("/tmp/vagus-logs-XXXXXX".utf8CString)
        guard template.withUnsafeMutableBufferPointer({ $0.baseAddress.flatMap { mkdtemp($0) } }) != nil else {
            throw Disk.error(errno, "make a folder")
        }
        path = template.withUnsafeBufferPointer {
            String(decoding: $0.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
    }

    deinit {
        for name in (try? Disk.names(in: path)) ?? [] { unlink("\(path)/\(name)") }  // What is left over is in /tmp.
        rmdir(path)
    }

    /// A copy of all files in another folder.
    func copy() throws -> TemporaryFolder {
        let other = try TemporaryFolder()
        for name in try Disk.names(in: path) {
            let file = try OpenFile("\(path)/\(name)", O_RDONLY)
            let bytes = try file.read()
            try Disk.replace("\(other.path)/\(name)") { try Disk.writeAll(bytes, to: $0) }
        }
        return other
    }
}

struct SeededNumbers: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

/// Names of a store's files.
func files(_ folder: String) throws -> StoreFolder { try StoreFolder(folder, segmentEnding: ".logs") }

func page(_ entries: [(Int64, String)]) -> LogPage {
    var page = LogPage()
    for (time, line) in entries { page.add(time, line) }
    return page
}

extension LogStore {
    func lines(
        _ matchers: [LabelMatcher] = [], from: Int64 = .min, to: Int64 = .max, order: LogSelection.Order = .forward,
        needles: [String] = [], limit: Int = .max
    ) throws -> [String] {
        var selection = LogSelection(matchers, from: from, to: to)
        selection.order = order
        selection.needles = needles.map { Array($0.utf8) }
        var lines: [String] = []
        if limit > 0 {
            try scan(selection) { line in
                lines.append(line.text)
                return lines.count < limit
            }
        }
        return lines
    }
}

@Suite struct LogStoreTests {
    static let api = Labels(["app": "api"])
    static let web = Labels(["app": "web"])

    /// Limits under which a few lines make blocks and segments.
    static var small: LogLimits {
        var limits = LogLimits()
        limits.oldest = nil
        limits.blockBytes = 200
        limits.headBytes = 4_000
        limits.window = 50
        limits.ahead = .max / 2
        return limits
    }

    @Test func `lines of several streams come in order of time, either way, with a limit`() throws {
        let folder = try TemporaryFolder()
        let store = try LogStore(folder.path, limits: Self.small)
        _ = try store.append(
            [(Self.api, page([(1, "a"), (3, "c")])), (Self.web, page([(2, "b"), (4, "d")]))], now: 5)
        for _ in 0..<2 {
            #expect(try store.lines() == ["a", "b", "c", "d"])
            #expect(try store.lines(order: .backward, limit: 3) == ["d", "c", "b"])
            #expect(try store.lines([LabelMatcher("app", .equal, "web")]) == ["b", "d"])
            #expect(try store.lines([LabelMatcher("app", .doesNotMatch, "w.*")]) == ["a", "c"])
            #expect(try store.lines(from: 2, to: 4) == ["b", "c"])
            try store.flush()
        }
    }

    @Test(arguments: [11, 12, 13, 14] as [UInt64])
    func `a store answers as a sorted list would, across flushes and restarts`(seed: UInt64) throws {
        print("seed \(seed)")
        var numbers = SeededNumbers(state: seed)
        let folder = try TemporaryFolder()
        var store = try LogStore(folder.path, limits: Self.small)
        var model: [(time: Int64, app: String, line: String)] = []
        let words = ["error", "timeout", "served", "user", "retry", "needle"]
        for step in 0..<60 {
            let app = "app\(Int.random(in: 0..<4, using: &numbers))"
            var batch = LogPage()
            for entry in 0..<Int.random(in: 1...30, using: &numbers) {
                let time = Int64(step * 20) + Int64.random(in: 0..<40, using: &numbers)
                let line = "\(words.randomElement(using: &numbers) ?? "") \(step).\(entry) \(numbers.next() % 1_000)"
                batch.add(time, line, metadata: Labels(["trace_id": "\(numbers.next() % 5)"]))
                model.append((time, app, line))
            }
            let receipt = try store.append([(Labels(["app": app]), batch)], now: 0)
            #expect(receipt.refused == 0 && receipt.accepted == batch.count)
            if step % 17 == 3 { try store.flush() }
            if step % 23 == 5 { store = try LogStore(folder.path, limits: Self.small) }
        }
        for _ in 0..<40 {
            let (from, to) = (
                Int64.random(in: 0..<1_000, using: &numbers), Int64.random(in: 0..<1_300, using: &numbers)
            )
            let word = words.randomElement(using: &numbers) ?? ""
            let app = "app\(Int.random(in: 0..<5, using: &numbers))"
            let isNot = Bool.random(using: &numbers)
            let expected = model.filter {
                $0.time >= from && $0.time < to && $0.line.contains(word) && ($0.app == app) != isNot
            }
            let matcher = LabelMatcher("app", isNot ? .notEqual : .equal, app)
            for order in [LogSelection.Order.forward, .backward, .any] {
                var times: [Int64] = []
                var lines: [String] = []
                var selection = LogSelection([matcher], from: from, to: to)
                (selection.order, selection.needles) = (order, [Array(word.utf8)])
                try store.scan(selection) { line in
                    times.append(line.time)
                    lines.append(line.text)
                    return true
                }
                #expect(lines.sorted() == expected.map(\.line).sorted(), "seed \(seed)")
                if order == .forward { #expect(times == expected.map(\.time).sorted()) }
                if order == .backward { #expect(times == expected.map(\.time).sorted(by: >)) }
            }
        }
    }

    @Test func `what was acknowledged before a kill at any byte is there, and nothing else`() throws {
        let folder = try TemporaryFolder()
        let store = try LogStore(folder.path, limits: Self.small)
        var sizes = [store.status.logBytes]
        for number in 0..<4 {
            _ = try store.append([(Self.api, page([(Int64(number), "line \(number)")]))], now: 0)
            sizes.append(store.status.logBytes)
        }
        for cut in 0...(sizes.last ?? 0) {
            let copy = try folder.copy()
            #expect(truncate(try files(copy.path).log(1), cut) == 0)
            let survivor = try LogStore(copy.path, limits: Self.small)
            let expected = sizes.dropFirst().filter { $0 <= cut }.count
            #expect(try survivor.lines() == (0..<expected).map { "line \($0)" }, "cut at \(cut)")
            #expect(survivor.recovery.tornLogs.isEmpty == (sizes + [0]).contains(cut), "cut at \(cut)")
            // And it goes on from there.
            _ = try survivor.append([(Self.api, page([(10, "next")]))], now: 0)
            try survivor.flush()
            #expect(try LogStore(copy.path, limits: Self.small).lines().count == expected + 1)
        }
    }

    @Test func `a segment whose log was not removed yet does not count twice`() throws {
        let folder = try TemporaryFolder()
        let store = try LogStore(folder.path, limits: Self.small)
        _ = try store.append([(Self.api, page([(1, "once")]))], now: 0)
        let before = try folder.copy()
        try store.flush()
        let log = try OpenFile(try files(before.path).log(1), O_RDONLY)
        let bytes = try log.read()
        try Disk.replace(try files(folder.path).log(1)) { try Disk.writeAll(bytes, to: $0) }
        try Disk.replace("\(folder.path)/000000000009.logs.keep") { try Disk.writeAll([1], to: $0) }
        #expect(try LogStore(folder.path, limits: Self.small).lines() == ["once"])
    }

    @Test func `a damaged segment is told, and no damage ends the process`() throws {
        let folder = try TemporaryFolder()
        let store = try LogStore(folder.path, limits: Self.small)
        _ = try store.append([(Self.api, page((0..<20).map { (Int64($0), "the line \($0)") }))], now: 0)
        try store.flush()
        let path = try files(folder.path).segment(1)
        let file = try OpenFile(path, O_RDONLY)
        let bytes = try file.read()
        var told = 0
        for place in stride(from: 0, to: bytes.count, by: 7) {
            var damaged = bytes
            damaged[place] ^= 0x55
            try Disk.replace(path) { try Disk.writeAll(damaged, to: $0) }
            do {
                let store = try LogStore(folder.path, limits: Self.small)
                #expect(try store.lines(needles: ["line 1"]).count <= 11)
                _ = try store.lines()
            } catch let error as StorageError {
                #expect(error.code == .damaged)
                told += 1
            }
        }
        #expect(told > bytes.count / 7 / 2)
    }

    @Test func `many writers, a flusher and a reader do not lose or double a line`() async throws {
        let folder = try TemporaryFolder()
        var limits = Self.small
        limits.window = .max
        let store = try LogStore(folder.path, limits: limits)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for writer in 0..<3 {
                group.addTask {
                    for step in 0..<40 {
                        let batch = page((0..<10).map { (Int64(step * 10 + $0), "\(writer).\(step).\($0)") })
                        let stream = Labels(["app": "api", "writer": "\(writer % 2)"])
                        let receipt = try store.append([(stream, batch)], now: 0)
                        #expect(receipt.accepted == 10)
                    }
                }
            }
            group.addTask { for _ in 0..<20 { try store.flush() } }
            group.addTask {
                for _ in 0..<20 {
                    let lines = try store.lines()
                    #expect(Set(lines).count == lines.count)
                }
            }
            try await group.waitForAll()
        }
        #expect(try Set(store.lines()).count == 1_200)
        #expect(try LogStore(folder.path, limits: limits).lines().count == 1_200)
    }

    @Test func `a scan that only counts shows as many lines as one that reads them`() throws {
        let folder = try TemporaryFolder()
        let store = try LogStore(folder.path, limits: Self.small)
        _ = try store.append([(Self.api, page((0..<50).map { (Int64($0), "line \($0)") }))], now: 0)
        try store.flush()
        var selection = LogSelection([], from: 10, to: 30)
        (selection.order, selection.wantsText) = (.any, false)
        var times: Set<Int64> = []
        try store.scan(selection) { times.insert($0.time).inserted }
        #expect(times == Set(10..<30))
    }

    @Test func `a push that is repeated counts once`() throws {
        let folder = try TemporaryFolder()
        let store = try LogStore(folder.path, limits: Self.small)
        let batch = page([(1, "a"), (2, "b"), (2, "c")])
        _ = try store.append([(Self.api, batch)], now: 0)
        let again = try store.append([(Self.api, page([(2, "b"), (2, "c"), (2, "new")]))], now: 0)
        #expect(again.repeated == 2)
        #expect(try store.lines() == ["a", "b", "c", "new"])
    }
}
