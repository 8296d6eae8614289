import Foundation
import Testing

@testable import Frames

struct FileTests {
    @Test func `ten gigabytes in one line fail at once and are not read`() throws {
        let folder = try Folder()
        let path = try folder.write("huge.csv", "a,b\n1,2\n")
        let handle = try #require(FileHandle(forWritingAtPath: path))
        try handle.truncate(atOffset: 10 << 30)
        try handle.close()
        let clock = ContinuousClock()
        let start = clock.now
        let error = failure { _ = try Frame.readCSV(path: path) }
        #expect(clock.now - start < .seconds(2))
        #expect(error?.code == .limitExceeded)
        #expect(error?.message == "row 2 of \"\(path)\" is longer than 1048576 bytes")
        #expect(failure { _ = try Frame.readJSONLines(path: path) }?.code == .limitExceeded)
    }

    @Test func `files that are not there, folders and devices are clear errors`() throws {
        let folder = try Folder()
        let missing = failure { _ = try Frame.readCSV(path: folder.path("none.csv")) }
        #expect(missing?.code == .unreadable)
        #expect(missing?.message.hasSuffix("no such file or directory") == true)
        #expect(failure { _ = try Frame.readCSV(path: folder.url.path) }?.code == .unreadable)
        #expect(failure { _ = try Frame.read(path: "/dev/null") }?.code == .unreadable)
        #expect(failure { try mixedFrame().write(path: folder.path("no/such/folder")) }?.code == .unwritable)
    }

    @Test func `a table comes back from its own file as it was`() throws {
        let folder = try Folder()
        let frame = try mixedFrame()
        try frame.write(path: folder.path("t.vgf"))
        let back = try Frame.read(path: folder.path("t.vgf"))
        #expect(back == frame)
        #expect(back.digest == frame.digest)
        let empty = try Frame([])
        try empty.write(path: folder.path("t.vgf"))
        #expect(try Frame.read(path: folder.path("t.vgf")) == empty)
        #expect(try folder.names == ["t.vgf"])
    }

    @Test func `a table comes back from CSV as it was`() throws {
        let folder = try Folder()
        let frame = try mixedFrame()
        try frame.writeCSV(path: folder.path("t.csv"))
        let result = try Frame.readCSV(path: folder.path("t.csv"), schema: frame.schema)
        #expect(result.rejected.isEmpty)
        #expect(result.frame == frame)
        #expect(result.frame.digest == frame.digest)
        let one = try Frame([(ColumnSchema("a", .string), .strings(["x", nil, "", "y"]))])
        try one.writeCSV(path: folder.path("t.csv"))
        #expect(try Frame.readCSV(path: folder.path("t.csv"), schema: one.schema).frame == one)
        #expect(try folder.names == ["t.csv"])
    }

    @Test func `a file with any byte changed or cut off is refused`() throws {
        let folder = try Folder()
        let path = folder.path("t.vgf")
        try mixedFrame().write(path: path)
        let good = try Data(contentsOf: URL(filePath: path))
        for index in good.indices {
            var bad = good
            bad[index] ^= 0x41
            try bad.write(to: URL(filePath: path))
            let error = failure { _ = try Frame.read(path: path) }
            #expect(error?.code == .corrupt, "byte \(index)")
        }
        for length in stride(from: 0, to: good.count, by: 7) {
            try good.prefix(length).write(to: URL(filePath: path))
            #expect(failure { _ = try Frame.read(path: path) }?.code == .corrupt)
        }
        try (good + Data([0])).write(to: URL(filePath: path))
        #expect(failure { _ = try Frame.read(path: path) }?.code == .corrupt)
    }

    @Test func `the digest hears values and order, and no spelling`() throws {
        let schema = [ColumnSchema("x", .float), ColumnSchema("c", .category)]
        let plain = try csv("x,c\n1,a\n2.50,b\n,a\n-0.0,b\n", schema).frame
        let other = try csv("c,x\r\n\"a\",1.0e0\r\nb,25e-1\r\na,NaN\r\nb,0\r\n", schema).frame
        #expect(plain.digest == other.digest)
        #expect(plain.digest.count == 64)
        let relabelled = try plain.replacing("c", with: .category(codes: [1, 0, 1, 0], levels: ["b", "a", "unused"]))
        #expect(relabelled == plain)
        #expect(relabelled.digest == plain.digest)
        #expect(plain.take([1, 0, 2, 3]).digest != plain.digest)
        #expect(try plain.replacing("x", with: .floats([1, 2.5, 0, 0])).digest != plain.digest)
        #expect(try plain.renaming("x", to: "y").digest != plain.digest)
        #expect(try plain.select(["c", "x"]).digest != plain.digest)
        #expect(try plain.replacing("c", with: .strings(["a", "b", "a", "b"])).digest != plain.digest)
        let gaps = try Frame.digest(.ints([1, nil]))
        #expect(try gaps == Frame.digest(.int([1, 99], missing: Bitmap([false, true]))))
        #expect(try gaps != Frame.digest(.ints([1, 0])))
        #expect(try Frame.digest(.strings(["ab", "c"])) != Frame.digest(.strings(["a", "bc"])))
        #expect(try Frame.digest(.strings([nil])) != Frame.digest(.strings([""])))
    }

    @Test func `the digest of a known table stays what it is`() throws {
        // sha256 of the bytes that Formats.md tells, made once by Python's hashlib.
        let frame = try Frame([
            (ColumnSchema("n", .int), .ints([1, nil])), (ColumnSchema("c", .category), .categories(["b", "a"])),
        ])
        #expect(frame.digest == "c281a88b730f3df9cf57e96affae2ef32afe1e0bd5df2f0872decafead7751b7")
    }
}

extension Frame {
    fileprivate static func digest(_ column: Column) throws -> String {
        try Frame([(ColumnSchema("v", column.type), column)]).digest
    }
}
