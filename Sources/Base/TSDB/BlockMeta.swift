import Series

/// What a block says of itself: lines of `key value`, the last one a checksum of those before.
struct BlockMeta: Sendable, Equatable {
    /// The first line, and the numbers of the formats that are read.
    static let first = "vagus-block"
    static let formats = 1...BlockFormat.current

    var id: UInt64
    /// The range of its samples; `to` is not included.
    var from: Int64
    var to: Int64
    /// In-order samples older than this had left the head when the block was written.
    var cut: Int64
    /// 0 for samples as they came, else the width of the window that was thinned.
    var resolution: Int64 = 0
    var level: Int = 1
    var series: Int = 0
    var chunks: Int = 0
    var samples: Int = 0
    /// Blocks that this one takes the place of: when both are there, they go.
    var replaces: [UInt64] = []
    /// For thinned blocks: those whose samples it was made of.
    var sources: [UInt64] = []

    static func name(_ id: UInt64) -> String {
        let digits = String(id)
        return "block-" + String(repeating: "0", count: max(0, 10 - digits.count)) + digits
    }

    var encoded: [UInt8] {
        var text =
            "\(Self.first) \(BlockFormat.current)\nid \(id)\nfrom \(from)\nto \(to)\ncut \(cut)\nresolution \(resolution)\nlevel \(level)\n"
        text += "series \(series)\nchunks \(chunks)\nsamples \(samples)\n"
        text += "replaces \(replaces.map(String.init).joined(separator: " "))\n"
        text += "sources \(sources.map(String.init).joined(separator: " "))\n"
        let body = Array(text.utf8)
        return body + Array("checksum \(Checksum.of(body))\n".utf8)
    }

    init(id: UInt64, from: Int64, to: Int64, cut: Int64) {
        (self.id, self.from, self.to, self.cut) = (id, from, to, cut)
    }

    init(decoding bytes: [UInt8], path: String) throws {
        let text = String(decoding: bytes, as: UTF8.self)
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        var fields: [String: String] = [:]
        for line in lines.dropFirst() {
            let parts = line.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            if parts.count == 2 { fields[parts[0]] = parts[1] }
        }
        let body = Array((lines.dropLast(2).joined(separator: "\n") + "\n").utf8)
        let format = lines.first.flatMap {
            $0.hasPrefix(Self.first + " ") ? Int($0.dropFirst(Self.first.count + 1)) : nil
        }
        guard let format, fields["checksum"] == "\(Checksum.of(body))" else {
            throw SeriesError(.storage, "\(path) is damaged")
        }
        guard Self.formats.contains(format) else { throw NewerFormat(path: path, format: format) }
        func number(_ key: String) -> Int64 { fields[key].flatMap { Int64($0) } ?? 0 }
        func ids(_ key: String) -> [UInt64] { (fields[key] ?? "").split(separator: " ").compactMap { UInt64($0) } }
        self.init(id: UInt64(clamping: number("id")), from: number("from"), to: number("to"), cut: number("cut"))
        (resolution, level) = (number("resolution"), Int(number("level")))
        (series, chunks, samples) = (Int(number("series")), Int(number("chunks")), Int(number("samples")))
        (replaces, sources) = (ids("replaces"), ids("sources"))
    }
}

/// How blocks are written.
enum BlockFormat {
    /// Series share columns of times since 2.
    static let current = 2
    static let chunks = "VGTC"
    static let index = "VGTI"

    /// How a file of the current format begins.
    static func magic(_ name: String) -> [UInt8] { Array(name.utf8) + [UInt8(current), 0, 0, 0] }

    /// Whether a file begins as one of a format that is read.
    static func isReadable(_ bytes: UnsafeRawBufferPointer, _ name: String) -> Bool {
        bytes.count >= 8 && bytes.starts(with: name.utf8) && bytes[5] == 0 && bytes[6] == 0 && bytes[7] == 0
            && BlockMeta.formats.contains(Int(bytes[4]))
    }
}

/// A block that a newer Vagus wrote: whole, so it is not put aside.
struct NewerFormat: Error {
    let path: String
    let format: Int

    var told: SeriesError {
        SeriesError(
            .storage,
            "\(path) has format \(format); this version reads \(BlockMeta.formats.lowerBound) to "
                + "\(BlockMeta.formats.upperBound): start the version that wrote it")
    }
}
