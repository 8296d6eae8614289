import API
import Foundation
import Glibc
import Kernel
import LogStore
import Manifests
import Series

/// How far the output of a copy has been taken, kept in a file of its own.
///
/// A batch is written down here before it goes to the store, with the time that its first line is given there, and crossed out
/// after. Whoever finds one that is not crossed out asks the store for that time: a batch is there whole or not at all. So a
/// crash neither loses a line nor doubles it.
struct CopyCursor: Equatable {
    /// A batch on its way into the store.
    struct Batch: Equatable {
        /// Where the next one begins.
        var end: Int64
        /// Nanoseconds of its first line; each further one is a nanosecond later.
        var time: Int64
        var lines: Int64
    }

    /// Bytes of the file that are taken.
    var offset: Int64 = 0
    /// What the part before (`output.log.1`) was when `offset` was counted; another one says that the file began anew.
    var part = ""
    /// Nanoseconds of the newest line: the next one is newer, whatever clocks say.
    var newest: Int64 = 0
    var batch: Batch?

    static func name(of id: InstanceID) -> String { id.text.split(separator: "/").joined(separator: ".") }
    static func path(of id: InstanceID, in folder: String) -> String { "\(folder)/\(name(of: id))" }

    /// What is written down; a copy that nothing is known of is read from its beginning.
    init(readingFrom path: String) {
        guard let data = FileManager.default.contents(atPath: path) else { return }
        let words = String(decoding: data, as: UTF8.self).split(separator: " ", omittingEmptySubsequences: false)
        guard words.count >= 3, let offset = Int64(words[0]), let newest = Int64(words[2]) else { return }
        (self.offset, part, self.newest) = (offset, String(words[1]), newest)
        guard words.count == 6, let end = Int64(words[3]), let time = Int64(words[4]), let lines = Int64(words[5])
        else { return }
        batch = Batch(end: end, time: time, lines: lines)
    }

    /// Whole or not at all.
    func write(to path: String) throws {
        let rest = batch.map { " \($0.end) \($0.time) \($0.lines)" } ?? ""
        try Data("\(offset) \(part) \(newest)\(rest)".utf8).write(to: URL(filePath: path), options: .atomic)
    }
}

/// Reads one copy's output; used by one thread at a time.
final class CopyOutputReader {
    var output: CopyOutput
    /// Number of the list that it was in last.
    var list = 0
    /// The copy has ended and all of its output is taken.
    private(set) var isOver = false
    private let path: String
    private lazy var cursor = CopyCursor(readingFrom: path)

    /// Bytes read at once.
    static let chunk = 256 << 10
    /// Bytes after which a line that does not end is cut.
    static let lineLimit = 64 << 10

    /// - Parameter cursor: The file of its place.
    init(_ output: CopyOutput, cursor path: String) {
        self.output = output
        self.path = path
    }

    /// Takes the next batch. Blocks.
    ///
    /// - Returns: Bytes that were taken; 0 when there is nothing new.
    /// - Throws: When the store or the file of the place could not be written; the place is as before then.
    func take(_ house: TelemetryHouse) throws -> Int {
        try settle(house)
        // Asked before the file is read: what was there by then is all that an ended copy has to say.
        let hasEnded = output.hasEnded
        let (bytes, isWhole): ([UInt8], Bool)
        switch read() {
        case .some(let found, let isAll): (bytes, isWhole) = (found, isAll)
        case .moved: return 0
        case .nothing:
            isOver = hasEnded
            return 0
        }
        let taken = Self.lines(bytes, isWhole: isWhole)
        guard taken.length > 0 else { return 0 }
        let time = max(house.nanoseconds, cursor.newest + 1)
        let batch = CopyCursor.Batch(
            end: cursor.offset + Int64(taken.length), time: time, lines: Int64(taken.lines.count))
        if !taken.lines.isEmpty {
            // Should anything below fail, the next look asks whether it is in the store.
            cursor.batch = batch
            try cursor.write(to: path)
            let entries = taken.lines.enumerated().map { index, line in
                IncomingStream.Entry(time: time + Int64(index), line: line)
            }
            _ = try LogIntake(house: house).take([IncomingStream(labels: labels, entries: entries)])
        }
        try cross(batch)
        return taken.length
    }

    /// A batch that was on its way when we were stopped: counts as taken when the store has it.
    private func settle(_ house: TelemetryHouse) throws {
        guard let batch = cursor.batch else { return }
        var isThere = false
        var selection = LogSelection(matchers, from: batch.time, to: batch.time + max(1, batch.lines))
        (selection.order, selection.wantsText) = (.any, false)
        try house.logs.scan(selection) { _ in
            isThere = true
            return false
        }
        if isThere {
            try cross(batch)
        } else {
            cursor.batch = nil
        }
    }

    private func cross(_ batch: CopyCursor.Batch) throws {
        var next = cursor
        (next.offset, next.newest, next.batch) = (batch.end, max(next.newest, batch.time + batch.lines - 1), nil)
        try next.write(to: path)
        cursor = next
    }

    // MARK: - The file

    private enum Piece {
        case nothing
        /// The file begins anew at this moment: the next look knows where to go on.
        case moved
        /// And whether a line at its end has to be taken though it does not end.
        case some([UInt8], isWhole: Bool)
    }

    private func read() -> Piece {
        // Nearly always, and thousands of times a second. One that began anew and is as long again is seen when it grows.
        if !output.hasEnded, Self.status(output.path)?.st_size == off_t(cursor.offset) { return .nothing }
        let old = output.path + ".1"
        let part = Self.identity(of: old)
        if !part.isEmpty, part != cursor.part {
            // The file began anew: what was left of it is at the end of the part before.
            if let bytes = Self.read(old, from: cursor.offset) {
                return .some(bytes, isWhole: bytes.count < Self.chunk)
            }
            (cursor.offset, cursor.part) = (0, part)
        }
        let isStill = { Self.status(old + ".partial") == nil && Self.identity(of: old) == part }
        if let size = Self.status(output.path)?.st_size, size < cursor.offset, isStill() {
            // Cut by somebody else.
            cursor.offset = 0
        }
        let bytes = Self.read(output.path, from: cursor.offset)
        guard isStill() else { return .moved }
        return bytes.map { .some($0, isWhole: output.hasEnded && $0.count < Self.chunk) } ?? .nothing
    }

    /// Names a file so that another one in its place is told apart; empty when there is none.
    ///
    /// By its last write as well: the number of a file that is gone is given to the next one.
    private static func identity(of path: String) -> String {
        status(path).map { "\($0.st_ino).\($0.st_mtim.tv_sec).\($0.st_mtim.tv_nsec)" } ?? ""
    }

    private static func status(_ path: String) -> stat? {
        var info = stat()
        return stat(path, &info) == 0 ? info : nil
    }

    private static func read(_ path: String, from offset: Int64) -> [UInt8]? {
        guard let info = status(path), Int64(info.st_size) > offset else { return nil }
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        let bytes = [UInt8](unsafeUninitializedCapacity: chunk) { buffer, count in
            count = max(0, pread(file, buffer.baseAddress, chunk, off_t(offset)))
        }
        return bytes.isEmpty ? nil : bytes
    }

    /// The lines that have ended, without those that are blank, and the bytes that they are. One that is too long is cut.
    static func lines(_ bytes: [UInt8], isWhole: Bool) -> (lines: [String], length: Int) {
        var (lines, start): ([String], Int) = ([], 0)
        func add(_ end: Int) {
            var line = bytes[start..<end]
            if line.last == 0x0D { line.removeLast() }
            if line.contains(where: { $0 != 0x20 && $0 != 0x09 }) {
                lines.append(String(decoding: line, as: UTF8.self))
            }
        }
        for index in bytes.indices {
            if bytes[index] == 0x0A {
                add(index)
                start = index + 1
            } else if index - start + 1 >= lineLimit {
                add(index + 1)
                start = index + 1
            }
        }
        if isWhole, start < bytes.count {
            add(bytes.count)
            start = bytes.count
        }
        return (lines, start)
    }

    // MARK: - Its stream

    private var names: [(String, String)] {
        let parts = output.id.text.split(separator: "/", maxSplits: 3).map(String.init)
        guard parts.count == 4 else { return [("service", output.id.text)] }
        return [("project", parts[0]), ("service", parts[1]), ("revision", parts[2]), ("copy", parts[3])]
    }

    private var labels: Labels {
        var all = Dictionary(names) { first, _ in first }
        all["source"] = "copies"
        all["service_name"] = all["service"]
        return Labels(all)
    }

    private var matchers: [LabelMatcher] {
        [LabelMatcher("source", .equal, "copies")] + names.map { LabelMatcher($0.0, .equal, $0.1) }
    }
}
