import Foundation
import Kernel
import KernelTesting
import LogStore
import Series
import Testing

@testable import Telemetry

@Suite struct CopyOutputTests {
    fileprivate struct Desk {
        let platform: FakePlatform
        let room: Room
        let file: String
        private let id = InstanceID("default/shop/3/7")

        init() async throws {
            platform = FakePlatform(time: ManualTime())
            room = try await Room.open(platform: platform)
            file = room.house.folder + "/output.log"
            #expect(FileManager.default.createFile(atPath: file, contents: nil))
            tell()
        }

        func tell(hasEnded: Bool = false) {
            platform.tell([CopyOutput(id: id, path: file, hasEnded: hasEnded)])
        }

        var loop: CopyOutputLoop {
            CopyOutputLoop(house: room.domain.house, outputs: { [platform] in try await platform.outputs() })
        }
        var cursor: String { CopyCursor.path(of: id, in: room.domain.house.folder + "/copies") }

        func write(_ text: String) throws {
            let handle = try #require(FileHandle(forWritingAtPath: file))
            try handle.seekToEnd()
            try handle.write(contentsOf: Data(text.utf8))
            try handle.close()
        }

        /// As `InstanceFolder.boundLog` does.
        func cut() throws {
            try? FileManager.default.removeItem(atPath: file + ".1.new")
            try FileManager.default.copyItem(atPath: file, toPath: file + ".1.new")
            let handle = try #require(FileHandle(forWritingAtPath: file))
            try handle.truncate(atOffset: 0)
            try handle.close()
            #expect(rename(file + ".1.new", file + ".1") == 0)
        }

        /// All lines, the oldest first, with their levels.
        func lines() throws -> [String] {
            var found: [String] = []
            var selection = LogSelection(
                [LabelMatcher("service", .equal, "shop"), LabelMatcher("revision", .equal, "3")], from: 0, to: .max)
            selection.order = .forward
            try room.domain.house.logs.scan(selection) { line in
                found.append(String(decoding: line.line, as: UTF8.self))
                return true
            }
            return found
        }
    }

    @Test func `a line is taken when it has ended, and once`() async throws {
        let desk = try await Desk()
        var book = CopyOutputLoop.Book()
        try desk.write("one\ntwo\r\n\nthr")
        try await desk.loop.look(&book)
        try await desk.loop.look(&book)
        #expect(try desk.lines() == ["one", "two"])
        try desk.write("ee\n")
        // Another life of the server.
        book = CopyOutputLoop.Book()
        try await desk.loop.look(&book)
        #expect(try desk.lines() == ["one", "two", "three"])
        try desk.write("the end")
        try await desk.loop.look(&book)
        #expect(try desk.lines().count == 3)
        desk.tell(hasEnded: true)
        try await desk.loop.look(&book)
        #expect(try desk.lines().last == "the end")
        desk.platform.tell([])
        try await desk.loop.look(&book)
        #expect(!FileManager.default.fileExists(atPath: desk.cursor))
    }

    @Test func `a file that began anew is read to its end first`() async throws {
        let desk = try await Desk()
        var book = CopyOutputLoop.Book()
        for round in 0..<3 {
            try desk.write("\(round) a\n")
            try await desk.loop.look(&book)
            try desk.write("\(round) b\n")
            try desk.cut()
            try desk.write("\(round) c, and longer than all that was there before it\n")
            if round == 1 { book = CopyOutputLoop.Book() }
            try await desk.loop.look(&book)
        }
        #expect(
            try desk.lines().map { String($0.prefix(3)) } == (0..<3).flatMap { ["\($0) a", "\($0) b", "\($0) c"] })
    }

    @Test(arguments: [false, true])
    func `a batch that was on its way is neither lost nor doubled`(wasStored: Bool) async throws {
        let desk = try await Desk()
        var book = CopyOutputLoop.Book()
        try desk.write("one\n")
        try await desk.loop.look(&book)
        let before = CopyCursor(readingFrom: desk.cursor)
        let text = (0..<300).map { "line \($0)\n" }.joined()
        try desk.write(text)
        if wasStored { try await desk.loop.look(&book) }
        // The server died with the batch written down and not crossed out.
        var cursor = before
        cursor.batch = .init(
            end: before.offset + Int64(text.utf8.count), time: wasStored ? try desk.time(of: "line 0") : 77, lines: 300)
        try cursor.write(to: desk.cursor)
        book = CopyOutputLoop.Book()
        try await desk.loop.look(&book)
        #expect(try desk.lines() == ["one"] + (0..<300).map { "line \($0)" })
    }

    @Test func `levels are found in lines, and streams are named by what printed them`() async throws {
        let desk = try await Desk()
        var book = CopyOutputLoop.Book()
        try desk.write("{\"level\":\"warn\",\"message\":\"hm\"}\nlevel=error msg=no\n")
        try await desk.loop.look(&book)
        var selection = LogSelection([LabelMatcher("service", .equal, "shop")], from: 0, to: .max)
        selection.order = .forward
        var levels: [String] = []
        try desk.room.domain.house.logs.scan(selection) { line in
            #expect(
                line.stream["copy"] == "7" && line.stream["source"] == "copies" && line.stream["project"] == "default")
            levels.append(Labels(encoded: Array(line.metadata))["detected_level"] ?? "")
            return true
        }
        #expect(levels == ["warning", "error"] || levels == ["warn", "error"])
    }

    @Test func `a line without an end is cut`() {
        let long = [UInt8](repeating: 0x61, count: CopyOutputReader.lineLimit + 10)
        let (lines, length) = CopyOutputReader.lines(long, isWhole: false)
        #expect(lines.map(\.utf8.count) == [CopyOutputReader.lineLimit] && length == CopyOutputReader.lineLimit)
        #expect(
            CopyOutputReader.lines(long, isWhole: true).lines.map(\.utf8.count) == [CopyOutputReader.lineLimit, 10])
    }
}

extension CopyOutputTests.Desk {
    fileprivate func time(of text: String) throws -> Int64 {
        var time: Int64 = 0
        try room.domain.house.logs.scan(LogSelection([LabelMatcher("service", .equal, "shop")], from: 0, to: .max)) {
            guard String(decoding: $0.line, as: UTF8.self) == text else { return true }
            time = $0.time
            return false
        }
        return time
    }
}
