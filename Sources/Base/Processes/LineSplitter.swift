import Glibc

/// A line of output, or a piece of one that is too long.
package struct OutputLine: Sendable {
    /// Without the line feed.
    ///
    /// A view of the chunk it came in: copy it to keep it.
    package let bytes: ArraySlice<UInt8>
    /// True when the line was longer than allowed and goes on with the next piece.
    package let isCut: Bool

    /// The line as text; bytes that are not UTF-8 become the replacement character.
    package var text: String { String(decoding: bytes, as: UTF8.self) }
}

/// Cuts a stream of chunks into lines, keeping no more than one unfinished line.
///
/// 1 GB of one line is delivered in pieces of `maximumBytes`, so nothing is lost and nothing grows.
package struct LineSplitter: Sendable {
    /// The longest line that is delivered whole, unless another length is given.
    package static let standardMaximumBytes = 64 * 1024

    private let maximumBytes: Int
    private var unfinished: [UInt8] = []

    package init(maximumBytes: Int = LineSplitter.standardMaximumBytes) {
        precondition(maximumBytes > 0, "a line must be allowed at least one byte")
        self.maximumBytes = maximumBytes
    }

    /// Takes a chunk and calls `body` for each line that it completes.
    ///
    /// O(n) in the chunk.
    package mutating func append(_ chunk: [UInt8], _ body: (OutputLine) throws -> Void) rethrows {
        var start = 0
        while start < chunk.count {
            let end = Self.lineFeed(in: chunk, from: start)
            let piece = chunk[start..<(end ?? chunk.count)]
            start = (end ?? chunk.count) + 1
            if end == nil {
                try hold(piece, body)
            } else if unfinished.isEmpty {
                try deliver(piece, body)
            } else {
                try hold(piece, body)
                try body(OutputLine(bytes: unfinished[...], isCut: false))
                unfinished.removeAll(keepingCapacity: true)
            }
        }
    }

    /// Delivers what came after the last line feed, if anything did.
    package mutating func finish(_ body: (OutputLine) throws -> Void) rethrows {
        guard !unfinished.isEmpty else { return }
        let line = OutputLine(bytes: unfinished[...], isCut: false)
        unfinished = []
        try body(line)
    }

    /// A line that lies whole in one chunk: no copy.
    private func deliver(_ piece: ArraySlice<UInt8>, _ body: (OutputLine) throws -> Void) rethrows {
        var rest = piece
        while rest.count > maximumBytes {
            try body(OutputLine(bytes: rest.prefix(maximumBytes), isCut: true))
            rest = rest.dropFirst(maximumBytes)
        }
        try body(OutputLine(bytes: rest, isCut: false))
    }

    /// Keeps the beginning of a line, delivering pieces whenever it is more than full.
    private mutating func hold(_ piece: ArraySlice<UInt8>, _ body: (OutputLine) throws -> Void) rethrows {
        var rest = piece
        while unfinished.count + rest.count > maximumBytes {
            let room = maximumBytes - unfinished.count
            unfinished.append(contentsOf: rest.prefix(room))
            rest = rest.dropFirst(room)
            try body(OutputLine(bytes: unfinished[...], isCut: true))
            unfinished.removeAll(keepingCapacity: true)
        }
        unfinished.append(contentsOf: rest)
    }

    private static func lineFeed(in bytes: [UInt8], from start: Int) -> Int? {
        bytes.withUnsafeBytes { buffer in
            guard let base = buffer.baseAddress, let found = memchr(base + start, 0x0A, buffer.count - start) else {
                return nil
            }
            return UnsafeRawPointer(found) - base
        }
    }
}
