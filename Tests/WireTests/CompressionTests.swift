import Testing

@testable import Wire

@Suite struct CompressionTests {
    let text = Array(
        (String(repeating: "the quick brown fox jumps over the lazy dog. ", count: 8)
            + String(repeating: "a", count: 300)).utf8)
    // cramjam 2.14.0, `snappy.compress_raw`; Python 3.11 `gzip.compress(mtime=0)` and `zlib.compress`.
    let snappy = hex(
        """
        94057874686520717569636b2062726f776e20666f78206a756d7073206f76657220011f206c617a7920646f672e050efe2d
        00fe2d00fe2d00fe2d00da2d000061fe0100fe0100fe0100fe0100aa0100
        """)
    let gzip = hex(
        """
        1f8b08000000000002032bc94855282ccd4cce56482aca2fcf5348cbaf50c82acd2d2856c82f4b2d5228014ae72456552aa4
        e4a7eb8179a38ac9529c380a880600e78e1de194020000
        """)
    let zlib = hex(
        """
        789c2bc94855282ccd4cce56482aca2fcf5348cbaf50c82acd2d2856c82f4b2d5228014ae72456552aa4e4a7eb8179a38ac9
        529c380a880600aafff3e5
        """)

    @Test func `what others compressed comes back`() throws {
        #expect(try Snappy.decode(snappy, limit: 1_000) == text)
        #expect(try Gzip.inflate(gzip, limit: 1_000) == text)
        #expect(try Gzip.inflate(zlib, limit: 1_000) == text)
        #expect(try Gzip.inflate(gzip + gzip, limit: 2_000) == text + text)
        for coding in ContentCoding.allCases {
            let body = [.identity: text, .gzip: gzip, .deflate: zlib, .snappy: snappy][coding] ?? []
            #expect(try coding.decode(body, limit: text.count) == text)
        }
    }

    @Test(arguments: [0, 1, 3, 4, 59, 60, 61, 255, 256, 257, 65_535, 65_536, 65_537, 200_000])
    func `what is compressed here comes back`(size: Int) throws {
        var random = SeededRandom(UInt64(size))
        let noise = (0..<size).map { _ in UInt8.random(in: 0...255, using: &random) }
        let words = (0..<size).map { _ in UInt8.random(in: 97...99, using: &random) }
        let runs = (0..<size).map { UInt8(truncatingIfNeeded: $0 / 100) }
        for bytes in [noise, words, runs] {
            #expect(try Snappy.decode(Snappy.encode(bytes), limit: size) == bytes)
            #expect(try Gzip.inflate(Gzip.compress(bytes), limit: size) == bytes)
        }
    }

    @Test func `a body beyond the limit is too large at the first byte beyond`() throws {
        for coding in ContentCoding.allCases {
            let body = [.identity: text, .gzip: gzip, .deflate: zlib, .snappy: snappy][coding] ?? []
            let error = #expect(throws: WireError.self) { try coding.decode(body, limit: text.count - 1) }
            #expect(error?.code == .tooLarge)
        }
    }

    @Test func `a snappy block is refused for what it declares before memory is taken`() {
        // 2^32 - 1 bytes declared in five; and 1 MiB declared by a block of four bytes, which none can hold.
        let bomb = #expect(throws: WireError.self) { try Snappy.decode(hex("ffffffff0f"), limit: 32 << 20) }
        #expect(bomb?.code == .tooLarge)
        let liar = #expect(throws: WireError.self) { try Snappy.decode(hex("80804000"), limit: 32 << 20) }
        #expect(liar?.code == .malformed)
    }

    @Test(arguments: ["", "05", "8080808080", "0500", "0501aa", "040061feff00", "0100620063", "05f0ff"])
    func `a damaged snappy block is refused`(block: String) {
        let error = #expect(throws: WireError.self) { try Snappy.decode(hex(block), limit: 1 << 20) }
        #expect(error?.code == .malformed)
    }

    @Test func `a gzip body that ends early is refused`() {
        for count in 0..<gzip.count {
            #expect(throws: WireError.self) { try Gzip.inflate(Array(gzip[..<count]), limit: 1_000) }
        }
    }

    @Test func `no mutation of a compressed body crashes`() {
        fuzz(snappy) { _ = try Snappy.decode($0, limit: 1 << 20) }
        fuzz(gzip) { _ = try Gzip.inflate($0, limit: 1 << 20) }
    }
}
