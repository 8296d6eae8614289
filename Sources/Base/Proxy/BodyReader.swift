import NIOCore

/// Takes a body off the bytes of a connection, piece by piece, in the shape the other side is to get it.
struct BodyReader {
    /// What to do with the framing the body came in.
    enum Relay {
        /// Pass it on as it is.
        case raw
        /// Take the chunks apart, for a side that does not know them (HTTP/1.0).
        case decoded
        /// Make chunks of a body that ends with its connection, so that the other connection can live on.
        case encoded
    }

    private var framing = BodyFraming.none
    private var relay = Relay.raw
    private var remaining = 0
    private var chunks = ChunkScanner()
    private(set) var isComplete = true
    /// Set to have what is taken told apart from other bodies; framing left out.
    var digest: BodyDigest?

    /// Nothing to read.
    init() {}

    /// - Parameter keepsTrailers: For a side that knows them: passed on with the chunks, or told by `trailers`.
    init(_ framing: BodyFraming, relay: Relay = .raw, keepsTrailers: Bool = false) {
        self.framing = framing
        self.relay = relay
        chunks = ChunkScanner(keepsTrailers: keepsTrailers)
        isComplete = framing == .none
        if case .length(let length) = framing { remaining = length }
    }

    /// Ends with the connection that carries it.
    var endsWithConnection: Bool { framing == .untilClose }

    /// Takes what belongs to the body from `input` and returns what to send; nil when there is nothing to send yet.
    ///
    /// Bytes behind the end of the body stay in `input`.
    mutating func take(from input: inout ByteBuffer) throws(HTTPFault) -> ByteBuffer? {
        guard !isComplete, input.readableBytes > 0 else { return nil }
        switch framing {
        case .none: return nil
        case .length:
            let count = min(remaining, input.readableBytes)
            remaining -= count
            isComplete = remaining == 0
            let piece = input.readSlice(length: count)
            if digest != nil { piece?.withUnsafeReadableBytes { digest?.add($0) } }
            return piece
        case .chunked:
            return relay == .decoded ? try takeDecoded(&input) : try takeChunks(&input)
        case .untilClose:
            if digest != nil { input.withUnsafeReadableBytes { digest?.add($0) } }
            guard relay == .encoded else { return input.readSlice(length: input.readableBytes) }
            return Self.chunk(&input)
        }
    }

    /// The trailers of a body that is complete, those that may stand there, with names in lower case.
    var trailers: [(String, String)] {
        guard isComplete, chunks.trailers.count > 2 else { return [] }
        return chunks.trailers.split(separator: Ascii.lf).compactMap { line -> (String, String)? in
            let line = line.dropLast()
            guard let colon = line.firstIndex(of: Ascii.colon) else { return nil }
            let name = String(decoding: line[..<colon], as: UTF8.self).lowercased()
            let blank = { (byte: UInt8) in byte == Ascii.space || byte == 0x09 }
            let value = line[(colon + 1)...].drop(while: blank)
            let end = value.lastIndex { !blank($0) }.map { $0 + 1 } ?? value.startIndex
            guard Self.isTrailer(name) else { return nil }
            return (name, String(decoding: value[value.startIndex..<end], as: UTF8.self))
        }
    }

    /// The connection of a body that ends with it has closed: the last bytes to send, nil for none.
    mutating func endOfConnection() -> ByteBuffer? {
        isComplete = true
        return relay == .encoded ? ByteBuffer(staticString: "0\r\n\r\n") : nil
    }

    private mutating func takeChunks(_ input: inout ByteBuffer) throws(HTTPFault) -> ByteBuffer? {
        let progress = try scan(input)
        var piece = input.readSlice(length: progress.forward)
        input.moveReaderIndex(forwardBy: progress.consumed - progress.forward)
        if progress.needsFinalLine {
            var whole = piece ?? ByteBuffer()
            whole.writeStaticString("\r\n")
            piece = whole
        }
        return piece.flatMap { $0.readableBytes > 0 ? $0 : nil }
    }

    private mutating func takeDecoded(_ input: inout ByteBuffer) throws(HTTPFault) -> ByteBuffer? {
        var output = ByteBuffer()
        let source = input
        let progress = try scan(input) { range in
            guard let slice = source.getSlice(at: source.readerIndex + range.lowerBound, length: range.count) else {
                return
            }
            output.writeImmutableBuffer(slice)
        }
        input.moveReaderIndex(forwardBy: progress.consumed)
        return output.readableBytes > 0 ? output : nil
    }

    private mutating func scan(
        _ input: ByteBuffer, payload: (Range<Int>) -> Void = { _ in }
    ) throws(HTTPFault) -> ChunkScanner.Progress {
        var digest = digest
        let result = input.withUnsafeReadableBytes { bytes in
            Result { () throws(HTTPFault) in
                try chunks.scan(bytes) { range in
                    payload(range)
                    if digest != nil { digest?.add(UnsafeRawBufferPointer(rebasing: bytes[range])) }
                }
            }
        }
        self.digest = digest
        isComplete = chunks.isDone
        return try result.get()
    }

    /// The bytes as one chunk.
    static func chunk(_ input: inout ByteBuffer) -> ByteBuffer {
        var output = ByteBuffer()
        output.reserveCapacity(input.readableBytes + 12)
        output.writeString(String(input.readableBytes, radix: 16))
        output.writeStaticString("\r\n")
        output.writeBuffer(&input)
        output.writeStaticString("\r\n")
        return output
    }
}
