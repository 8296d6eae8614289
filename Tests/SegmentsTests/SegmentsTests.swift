import Glibc
import Testing

@testable import Segments

/// Numbers that come again with the same seed (splitmix64).
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

/// A folder of its own that goes with its last user.
final class TemporaryFolder {
    let path: String

    init() throws {
        var template = Array("/tmp/vagus-segments-XXXXXX".utf8CString)
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
}

@Suite struct SegmentsTests {
    @Test func `a log that is cut off at any byte gives the records before the cut`() throws {
        let folder = try TemporaryFolder()
        let records: [[UInt8]] = [Array("one".utf8), [], Array(repeating: 7, count: 300), Array("last".utf8)]
        var log = try WriteAheadLog(creating: "\(folder.path)/a")
        var ends = [log.size]
        for record in records {
            log.append(record)
            try log.commit()
            ends.append(log.size)
        }
        let whole = try OpenFile("\(folder.path)/a", O_RDONLY).read()
        #expect(whole.count == ends.last)
        for cut in 0...whole.count {
            try Disk.replace("\(folder.path)/b") { try Disk.writeAll(Array(whole.prefix(cut)), to: $0) }
            var read: [[UInt8]] = []
            let replay = try WriteAheadLog.replay("\(folder.path)/b") { read.append(Array($0)) }
            let expected = ends.dropFirst().filter { $0 <= cut }.count
            #expect(read == Array(records.prefix(expected)), "cut at \(cut)")
            #expect(replay.tornBytes == (cut < ends[0] ? cut : cut - ends[expected]), "cut at \(cut)")
        }
    }

    @Test func `a bit that turned ends the log there and nowhere before`() throws {
        let folder = try TemporaryFolder()
        var log = try WriteAheadLog(creating: "\(folder.path)/a")
        for number in 0..<5 { log.append(Array("record \(number)".utf8)) }
        try log.commit()
        let whole = try OpenFile("\(folder.path)/a", O_RDONLY).read()
        for place in WriteAheadLog.magic.count..<whole.count {
            var bytes = whole
            bytes[place] ^= 0x10
            try Disk.replace("\(folder.path)/b") { try Disk.writeAll(bytes, to: $0) }
            var read: [String] = []
            let replay = try WriteAheadLog.replay("\(folder.path)/b") {
                read.append(String(decoding: $0, as: UTF8.self))
            }
            let damaged = (place - WriteAheadLog.magic.count) / 16
            #expect(read == (0..<damaged).map { "record \($0)" })
            #expect(replay.tornBytes > 0)
        }
    }

    @Test func `a record longer than a piece of the reader is read whole`() throws {
        let folder = try TemporaryFolder()
        var log = try WriteAheadLog(creating: "\(folder.path)/a")
        let sizes = [10, WriteAheadLog.pieceBytes + 5, 3, WriteAheadLog.pieceBytes - 8, 1]
        for size in sizes { log.append([UInt8](repeating: 1, count: size)) }
        try log.commit()
        var read: [Int] = []
        _ = try WriteAheadLog.replay("\(folder.path)/a") { read.append($0.count) }
        #expect(read == sizes)
    }

    @Test(arguments: [1, 2, 3] as [UInt64]) func `a filter never denies what a text holds`(seed: UInt64) throws {
        var numbers = SeededNumbers(state: seed)
        var builder = GramFilter.Builder()
        for length in [0, 3, 4, 50, 5_000, 100_000] {
            let text = (0..<length).map { _ in UInt8.random(in: 32...126, using: &numbers) }
            text.withUnsafeBufferPointer { builder.add($0) }
            let filter = builder.finish()
            for _ in 0..<100 where length > 0 {
                let start = Int.random(in: 0..<length, using: &numbers)
                let needle = Array(text[start..<min(length, start + Int.random(in: 1...20, using: &numbers))])
                let upper = Array(String(decoding: needle, as: UTF8.self).uppercased().utf8)
                let holds = filter.withUnsafeBytes { bytes in
                    [needle, upper].allSatisfy { GramFilter.mayHold(GramFilter.grams(of: $0), in: bytes) }
                }
                #expect(holds, "seed \(seed), length \(length), start \(start)")
            }
        }
    }

    @Test func `a filter denies nearly all words that a text lacks`() {
        var builder = GramFilter.Builder()
        var numbers = SeededNumbers(state: 9)
        for line in 0..<2_000 {
            let text = Array(
                "level=info msg=\"request served\" path=/api/v1/users/\(line) trace=\(numbers.next())".utf8)
            text.withUnsafeBufferPointer { builder.add($0) }
        }
        let filter = builder.finish()
        let absent = (0..<500).map { _ in (0..<8).map { _ in UInt8.random(in: 97...122, using: &numbers) } }
        let maybe = absent.filter { needle in
            filter.withUnsafeBytes { GramFilter.mayHold(GramFilter.grams(of: needle), in: $0) }
        }
        #expect(maybe.count < 10)
    }

    @Test func `what was compressed comes back, and damage is found`() throws {
        let text = Array(String(repeating: "all the same ", count: 1_000).utf8)
        var packed = Deflate.compress(text)
        #expect(packed.count < 300)
        #expect(try Deflate.inflate(packed, count: text.count) == text)
        #expect(throws: StorageError.self) { try Deflate.inflate(packed, count: text.count + 1) }
        packed[packed.count / 2] ^= 1
        #expect(throws: StorageError.self) { try Deflate.inflate(packed, count: text.count) }
        #expect(try Deflate.inflate(Deflate.compress([]), count: 0).isEmpty)
    }

    @Test func `numbers come back as they were, and a short record is refused`() throws {
        var writer = ByteWriter()
        let signed: [Int64] = [0, -1, 1, .min, .max, 300]
        for number in signed { writer.add(signed: number) }
        writer.add(text: "é")
        writer.add(fixed: UInt32(0xDEAD_BEEF))
        for cut in 0...writer.bytes.count {
            Array(writer.bytes.prefix(cut)).withUnsafeBytes { bytes in
                var reader = ByteReader(bytes)
                let numbers = try? signed.map { _ in try reader.signed() }
                let text = try? reader.text()
                let fixed = try? reader.fixed(UInt32.self)
                let isWhole = numbers == signed && text == "é" && fixed == 0xDEAD_BEEF
                #expect(isWhole == (cut == writer.bytes.count))
            }
        }
    }
}
