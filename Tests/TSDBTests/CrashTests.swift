import Foundation
import Series
import Testing

@testable import TSDB

/// What is left after a process ended at any byte.
@Suite struct CrashTests {
    private static let up = Labels(["__name__": "up", "job": "api"])
    private static let load = Labels(["__name__": "load", "job": "api", "zone": "a"])

    /// Writes a small log: one record for each step.
    ///
    /// Returns its bytes and where each record ends.
    private static func log() throws -> (bytes: [UInt8], ends: [Int]) {
        let folder = try Folder()
        let store = try TSDB(folder: folder.path)
        var ends: [Int] = []
        let path = folder.path + "/wal/" + Log.name(1)
        for step in 0..<6 {
            _ = try store.append(batch(step))
            ends.append(try Files.size(path))
        }
        return (try Files.read(path), ends)
    }

    private static func batch(_ step: Int) -> Batch {
        var batch = Batch()
        batch.add(up, Int64(step) * 1_000, Double(step))
        if step % 2 == 0 { batch.add(load, Int64(step) * 1_000, Double(step) / 10) }
        if step == 3 { batch.add(Labels(["__name__": "sizes"]), 3_000, histogram(5)) }
        return batch
    }

    /// Opens a store whose log is these bytes, and checks that it holds the first records and goes on.
    private static func check(_ bytes: [UInt8], whole: Int, _ note: String) throws {
        let folder = try Folder()
        for name in ["wal", "blocks"] { try Files.makeFolder(folder.path + "/" + name) }
        try Data(bytes).write(to: URL(filePath: folder.path + "/wal/" + Log.name(1)))
        for round in 0..<2 {
            var report = RecoveryReport()
            let store = try TSDB(folder: folder.path) { report = $0 }
            let found = try store.all()
            #expect(found[up]?.values ?? [] == (0..<whole + round).map(Double.init), "\(note)")
            let loads = stride(from: 0, to: whole + round, by: 2).map { Double($0) / 10 }
            #expect(found[load]?.values ?? [] == loads, "\(note)")
            if round == 1 { #expect(report.dropped.isEmpty, "\(note): \(report.dropped)") }
            #expect(try store.append(batch(whole + round)).refused == 0, "\(note)")
        }
    }

    @Test func `a log cut at any byte keeps every record before`() throws {
        let (bytes, ends) = try Self.log()
        for length in 0...bytes.count {
            try Self.check(Array(bytes[..<length]), whole: ends.filter { $0 <= length }.count, "cut at \(length)")
        }
    }

    @Test func `a log with any byte flipped keeps every record before`() throws {
        let (bytes, ends) = try Self.log()
        for place in bytes.indices {
            var flipped = bytes
            flipped[place] ^= 0x41
            let whole = place < Log.magic.count ? 0 : ends.filter { $0 <= place }.count
            try Self.check(flipped, whole: whole, "flipped at \(place)")
        }
    }

    @Test func `damage in an older file of the log loses nothing of the later ones`() throws {
        let folder = try Folder()
        for step in 0..<3 {
            let store = try TSDB(folder: folder.path)
            _ = try store.append(Self.batch(step))
        }
        let path = folder.path + "/wal/" + Log.name(2)
        var bytes = try Files.read(path)
        bytes[bytes.count - 1] ^= 0xff
        try Data(bytes).write(to: URL(filePath: path))
        var report = RecoveryReport()
        let store = try TSDB(folder: folder.path) { report = $0 }
        #expect(try store.all()[Self.up]?.values == [0, 2])
        #expect(report.dropped.count == 1)
        #expect(report.dropped.first?.contains("wal/0000000002") == true)
        #expect(Files.exists(path + ".damaged"))
    }

    @Test func `a half-written block is removed and its samples come from the log`() throws {
        let folder = try Folder()
        var options = TSDBOptions()
        options.blockRange = 10_000
        let whole: [Labels: SampleBuffer]
        do {
            let store = try TSDB(folder: folder.path, options: options)
            for step in 0..<30 { _ = try store.append(Self.batch(step)) }
            whole = try store.all()
        }
        let copy = try Folder()
        let cut = try Folder()
        try FileManager.default.copyItem(atPath: folder.path + "/wal", toPath: cut.path + "/wal")
        do { try TSDB(folder: cut.path, options: options).cut(before: 20_000) }
        let written = cut.path + "/blocks/" + BlockMeta.name(1)
        for name in ["chunks", "index", "meta"] {
            let bytes = try Files.read(written + "/" + name)
            for length in stride(from: 0, to: bytes.count, by: 7) {
                let place = copy.path + "/\(name)-\(length)"
                try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
                try FileManager.default.copyItem(atPath: folder.path + "/wal", toPath: place + "/wal")
                try Files.makeFolder(place + "/blocks")
                try FileManager.default.copyItem(atPath: written, toPath: place + "/blocks/unfinished-1")
                try Data(bytes[..<length]).write(to: URL(filePath: place + "/blocks/unfinished-1/" + name))
                var report = RecoveryReport()
                let store = try TSDB(folder: place, options: options) { report = $0 }
                #expect(report.dropped.count == 1)
                #expect(try store.all() == whole)
                #expect(!Files.exists(place + "/blocks/unfinished-1"))
            }
        }
    }

    @Test func `a block that was put in place before the log was shortened is not counted twice`() throws {
        let (folder, copy) = (try Folder(), try Folder())
        var options = TSDBOptions()
        options.blockRange = 10_000
        let whole: [Labels: SampleBuffer]
        do {
            let store = try TSDB(folder: folder.path, options: options)
            for step in 0..<30 { _ = try store.append(Self.batch(step)) }
            whole = try store.all()
            try FileManager.default.copyItem(atPath: folder.path + "/wal", toPath: copy.path + "/wal")
            try store.cut(before: 20_000)
            #expect(try store.all() == whole)
        }
        try FileManager.default.copyItem(atPath: folder.path + "/blocks", toPath: copy.path + "/blocks")
        let store = try TSDB(folder: copy.path, options: options)
        #expect(try store.all() == whole)
        #expect(store.statistics().headSamples == 10 + 5)
        let again = try TSDB(folder: folder.path, options: options)
        #expect(try again.all() == whole)
    }

    @Test func `a damaged block is put aside and told`() throws {
        let folder = try Folder()
        var options = TSDBOptions()
        options.blockRange = 10_000
        do {
            let store = try TSDB(folder: folder.path, options: options)
            for step in 0..<30 { _ = try store.append(Self.batch(step)) }
            try store.cut(before: 20_000)
        }
        let index = folder.path + "/blocks/" + BlockMeta.name(1) + "/index"
        var bytes = try Files.read(index)
        bytes[100] ^= 1
        try Data(bytes).write(to: URL(filePath: index))
        var report = RecoveryReport()
        let store = try TSDB(folder: folder.path, options: options) { report = $0 }
        #expect(report.dropped.count == 1)
        #expect(try store.all()[Self.up]?.times.first == 10_000)
    }
}
