import Foundation
import Series
import Testing

@testable import TSDB

/// Blocks of other formats than the one that is written.
@Suite struct BlockFormatTests {
    private static let odd = [1.5, StaleMarker.value, 1 / 3, -0.0, .infinity]

    /// What the block below was made of.
    private static func batch() -> Batch {
        var batch = Batch()
        for step in 0..<40 {
            let time = Int64(step) * 15_000
            batch.add(Labels(["__name__": "whole", "job": "a"]), time, Double(step * 7))
            batch.add(Labels(["__name__": "whole", "job": "b"]), time + Int64(step % 3), Double(step) / 100)
            batch.add(Labels(["__name__": "odd"]), time, odd[step % 5] * Double(step % 4 + 1))
            batch.add(Labels(["__name__": "wide"]), time, histogram(Double(step)))
        }
        return batch
    }

    private static func whole() throws -> [Labels: SampleBuffer] {
        let folder = try Folder()
        let store = try TSDB(folder: folder.path)
        _ = try store.append(batch())
        return try store.all()
    }

    /// A folder with the old block alone.
    private static func old() throws -> Folder {
        let folder = try Folder()
        let place = folder.path + "/blocks/" + BlockMeta.name(1)
        try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
        for (name, text) in [("chunks", chunks), ("index", index), ("meta", meta)] {
            let bytes = try #require(Data(base64Encoded: text, options: .ignoreUnknownCharacters))
            try bytes.write(to: URL(filePath: place + "/" + name))
        }
        return folder
    }

    @Test func `a block of format 1 is read`() throws {
        let folder = try Self.old()
        let store = try TSDB(folder: folder.path) { #expect($0.dropped.isEmpty) }
        #expect(try store.all() == Self.whole())
    }

    @Test func `a block of format 1 that is written anew has the current format and the same bits`() throws {
        let folder = try Self.old()
        let store = try TSDB(folder: folder.path)
        #expect(try store.delete([LabelMatcher("job", .equal, "a")], from: 0, to: 0) == 1)
        #expect(try store.cleanTombstones() == 1)
        let place = folder.path + "/blocks/" + BlockMeta.name(2)
        #expect(try Files.read(place + "/meta").starts(with: "vagus-block 2\n".utf8))
        #expect(try Files.read(place + "/index").starts(with: BlockFormat.magic(BlockFormat.index)))
        var wanted = try Self.whole()
        let labels = Labels(["__name__": "whole", "job": "a"])
        wanted[labels]?.times.removeFirst()
        wanted[labels]?.values.removeFirst()
        #expect(try store.all() == wanted)
    }

    @Test func `a block of a newer format is told and stays where it is`() throws {
        let folder = try Self.old()
        let path = folder.path + "/blocks/" + BlockMeta.name(1)
        let body = Array("vagus-block 9\nid 1\n".utf8)
        try Files.replace(path + "/meta", with: body + Array("checksum \(Checksum.of(body))\n".utf8))
        let error = #expect(throws: SeriesError.self) { try TSDB(folder: folder.path) }
        #expect(error?.description.contains("format 9; this version reads 1 to 2") == true)
        #expect(Files.exists(path + "/meta"))
    }

    @Test func `series of one target share their times in a block`() throws {
        var sizes: [Int] = []
        for spread in [0, 1] {
            let folder = try Folder()
            let store = try TSDB(folder: folder.path)
            var (batch, random) = (Batch(), Seeded(state: 3))
            let jitter = (0..<100 * 120).map { _ in Int64.random(in: -20...20, using: &random) }
            for series in 0..<100 {
                for step in 0..<120 {
                    let at = Int64(step + 1) * 15_000 + jitter[series * spread * 120 + step]
                    batch.add(Labels(["__name__": "m", "id": "\(series)"]), at, step % 2 == 0 ? 1 / 3 : 1 / 7)
                }
            }
            _ = try store.append(batch)
            let whole = try store.all()
            try store.cut(before: 7_200_000)
            #expect(try store.all() == whole)
            let place = folder.path + "/blocks/" + BlockMeta.name(1)
            sizes.append(try Files.size(place + "/index") + Files.size(place + "/chunks"))
        }
        // A column of 120 jittered times takes about 90 bytes.
        #expect(sizes[1] - sizes[0] > 99 * 80)
    }

    private static let chunks = """
        VkdUQwEAAAABKAAAAAAAAAAAP/gAAAAAAADnUwwPsAAAAAAAAACwPsAIAAAAAAACwBd/7AF//sEV/9gvP/AAAAAAAALA/QA1VVVVVVVd
        gP7/1VVVVVVVVYAv/9gjP+LBef9QAAAAAAAWB+gFqqqqqqqq7Af3+qqqqqqqqqwBf/7BFf9YLz/gAAAAAAACwP0AdVVVVVVVXYD+/5VV
        VVVVVVWAL//YEuAFgfYAAAAAAAAAFgfYAQAAAAAAAFgC7/2AL//YIr/7Bef+AAAAAAAAWB+gBqqqqqqqq7Af3/qqqqqqqqqwBf/7BGf8
        WC8/6gAAAAAAAsD9ALVVVVVVVV2A/v9VVVVVVVVVgC//2CK/6wXn/AAAAAAAAFgfoA6qqqqqqquwH9/yqqqqqqqqsAX/+L1LbSoCKACw
        6gEAAAAOAA4An3hazwIoAKzqAQLzzzzzzzzzzzzwAgACAAIAdZvXCwMoAQL8qfHSTWJQPwIDAgYBAwEAAQEAAIMc6mEg0OOE9BoNgvf9
        VVVVVVVVWFEg0OMCV/+DQbFA8KJBoccJ6DQbF6VVVVVVVVVhRINDjGBWDQbG5VVVVVVVVWFEg0OOE9BoNjMv////////CiQaHGKD+DQb
        A/f/qqqqqqqquFEg0OOE9BoNjsaqqqqqqquFEg0OMYHsGg2Nx////////4USDQ44T0Gg2Mz1VVVVVVVWFEg0OMaFYNBsdjVVVVVVVVwo
        kGhxwnoNBsbj////////wokGhxjgrBoNi9OqqqqqqqqwokGhxwnoNBsfhVVVVVVVVhRINDjGh7BoNjsP///////8KJBoccJ6DQbG5aqq
        qqqqquFEg0OMYJ2DQbH4VVVVVVVVYUSDQ44T0Gg2Ow////////wokGhxjgrBoNjM+qqqqqqqrhRINDjhPQaDY/CqqqqqqqrCiQaHGOCs
        Gg2Ow////////wokGhxwnoNBsblqqqqqqqq4USDQ4xI3+DQbH4VVVVVVVVYUSDQ44T0Gg2Ow////////wokGhxjg9g0GxWv1VVVVVVVc
        KJBoccJ6DQbIX1VVVVVVVwokGhxjwrBoNj7////////4USDQ44T0Gg2Ox1VVVVVVVYUSDQ4x4Vg0GyF9VVVVVVVcKJBoccJ6DQbH3///
        /////wokGhxjg9g0GxuXVVVVVVVVhRINDjhPQaDZC+qqqqqqquFEg0OMYL7BoNj7////////4USDQ44T0Gg2Ox1VVVVVVVYUSDQ4x4Vg
        0GyF9VVVVVVVcKJBoccJ6DQbH3////////wokGhxjwrBoNjM/VVVVVVVVhRINDjhPQaDZC+qqqqqqquFEg0OMaJ2DQbH3////////wok
        GhxwnoNBsdjqqqqqqqqwoIdt8w4=
        """

    private static let index = """
        VkdUSQEAAAACAAAABQAAAAQAAAAAAAAAWAAAAAAAAABkAAAAAAAAAHwAAAAAAAAAsgAAAAAAAADGAAAAAAAAAPUAAAAAAAAADQEAAAAA
        AAATAQAAAAAAAAAAAAADAAAABQAAAAAAAAANAAAAHAAAACoAAAAwAAAANgAAAAhfX25hbWVfXwNvZGQIX19uYW1lX18Fd2hvbGUIX19u
        YW1lX18Ed2lkZQNqb2IBYQNqb2IBYgAAAAALAAAAFwAAACMAAAAvAAAAAQAIAQCo2iOoAigCAQK0AgEAqNojDSgCAQPFAgEAqNojFygB
        AuACAQCo2iOmBSgAAAAAAQAAAAMAAAAEAAAABQAAAAYAAAAAAQEDAQKsv2Nc
        """

    private static let meta = """
        dmFndXMtYmxvY2sgMQppZCAxCmZyb20gMAp0byA3MjAwMDAwCmN1dCA3MjAwMDAwCnJlc29sdXRpb24gMApsZXZlbCAxCnNlcmllcyA0
        CmNodW5rcyA0CnNhbXBsZXMgMTYwCnJlcGxhY2VzIApzb3VyY2VzIApjaGVja3N1bSAzNDI3NTcwNjc5Cg==
        """
}
