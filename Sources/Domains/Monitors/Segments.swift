import API
import Foundation
import Glibc

/// A file of predictions.
struct Segment: Sendable, Equatable {
    /// Path below the service's folder; also its name in the tables.
    var file: String
    var inode: Int64
    var size: Int64
    /// When it was last written, in nanoseconds since 1970.
    var written: Int64

    /// Files of one service that are looked at.
    static let limit = 10_000

    /// The files of one service, by name: in its folder, and one folder deeper.
    static func list(_ folder: String) -> [Segment] {
        var found: [Segment] = []
        for name in names(folder) {
            if name.hasSuffix(".jsonl") {
                if let segment = look(folder, name) { found.append(segment) }
            } else {
                for below in names("\(folder)/\(name)") where below.hasSuffix(".jsonl") {
                    if let segment = look(folder, "\(name)/\(below)") { found.append(segment) }
                }
            }
            if found.count >= limit { break }
        }
        return found
    }

    private static func names(_ folder: String) -> [String] {
        let names = try? FileManager.default.contentsOfDirectory(atPath: folder)  // not there: nothing yet
        return (names ?? []).sorted()
    }

    private static func look(_ folder: String, _ file: String) -> Segment? {
        var status = stat()
        guard lstat("\(folder)/\(file)", &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        return Segment(
            file: file, inode: Int64(bitPattern: UInt64(status.st_ino)), size: Int64(status.st_size),
            written: Int64(status.st_mtim.tv_sec) * 1_000_000_000 + Int64(status.st_mtim.tv_nsec))
    }

    /// What the segments of one writer have in common, and the number of this one: "a-000002.jsonl" is ("a-", 2).
    var series: (prefix: String, number: Int)? {
        let stem = file.dropLast(".jsonl".count)
        let digits = stem.reversed().prefix { $0.isASCII && $0.isNumber }.count
        guard digits > 0, digits < 18, let number = Int(stem.suffix(digits)) else { return nil }
        return (String(stem.dropLast(digits)), number)
    }

    /// The segments that were read to their end and whose writer has gone on to another.
    static func finished(_ segments: [Segment], _ marks: [String: SegmentMark]) -> [Segment] {
        segments.filter { segment in
            guard let mark = marks[segment.file], mark.inode == segment.inode, mark.readBytes == segment.size,
                let own = segment.series
            else { return false }
            return segments.contains { other in
                guard let series = other.series else { return false }
                // The later time too: numbers begin again at 1 when a writer of the same name does.
                return series.prefix == own.prefix && series.number > own.number && other.written > segment.written
            }
        }
    }
}

/// Whole lines out of a file, up to a limit.
struct SegmentBatch: Sendable {
    var predictions: [Prediction] = []
    /// Lines that were no prediction.
    var garbage = 0
    /// Where the next batch begins.
    var end: Int64

    /// Bytes that one batch reads; a longer line is garbage.
    static let bytesLimit = 4 << 20
    /// Rows of one transaction.
    static let rowLimit = 5000

    /// Reads whole lines from an offset on; what is behind the last newline stays for the next time.
    static func read(_ path: String, from offset: Int64) throws -> SegmentBatch {
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard file >= 0 else { throw Problem("monitors.unreadable", status: 500, "cannot open \(path): \(errno)") }
        defer { close(file) }
        var failure: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: bytesLimit) { buffer, count in
            while count < buffer.count, let base = buffer.baseAddress {
                let read = pread(file, base + count, buffer.count - count, off_t(offset) + count)
                if read < 0, errno == EINTR { continue }
                if read < 0 { failure = errno }
                if read <= 0 { return }
                count += read
            }
        }
        guard failure == 0 else { throw Problem("monitors.unreadable", status: 500, "cannot read \(path): \(failure)") }
        var batch = SegmentBatch(end: offset)
        bytes.withUnsafeBufferPointer { batch.lines(in: $0) }
        return batch
    }

    private mutating func lines(in bytes: UnsafeBufferPointer<UInt8>) {
        guard let base = bytes.baseAddress else { return }
        var position = 0
        while position < bytes.count, predictions.count < Self.rowLimit {
            guard let newline = memchr(base + position, 0x0A, bytes.count - position) else { break }
            let length = UnsafeRawPointer(newline) - UnsafeRawPointer(base + position)
            if let prediction = Prediction(base + position, length) {
                predictions.append(prediction)
            } else if length > 0 {
                garbage += 1
            }
            position += length + 1
        }
        if position == 0, bytes.count == Self.bytesLimit {
            garbage += 1
            position = bytes.count
        }
        end += Int64(position)
    }
}
