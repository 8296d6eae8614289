/// Walks through a chunked body (RFC 9112 §7.1) without copying it, and stops at the first byte that is not right.
///
/// Line ends are CRLF only, and sizes are 1 to 15 hexadecimal digits with nothing but `;` behind them. Trailers, which
/// could carry framing past a check, are read and dropped, but for a side that takes them apart (HTTP/2).
struct ChunkScanner {
    private enum State {
        case sizeStart, size, chunkExtension, sizeLF
        case data, dataCR, dataLF
        case trailerStart, trailer, trailerLF, lastLF
        case done
    }

    /// What `scan` found in the bytes given.
    struct Progress: Equatable {
        /// Bytes that belong to this body.
        var consumed = 0
        /// Of those, how many at the front may be sent on as they are.
        var forward = 0
        /// Trailers were dropped, so the empty line at the end has to be written behind what is sent on.
        var needsFinalLine = false
    }

    private var state = State.sizeStart
    private var size: UInt64 = 0
    private var digits = 0
    private var lineLength = 0
    private let keepsTrailers: Bool
    /// The trailer section with its line ends; filled when trailers are kept.
    private(set) var trailers: [UInt8] = []

    init(keepsTrailers: Bool = false) { self.keepsTrailers = keepsTrailers }

    var isDone: Bool { state == .done }

    /// Reads on from where the last call ended.
    ///
    /// - Parameters:
    ///   - bytes: What came next.
    ///   - payload: Hears of each run of body bytes by its place in `bytes`.
    /// - Returns: How far the body goes and what of it may be sent on.
    /// - Throws: A fault with status 400.
    mutating func scan(
        _ bytes: UnsafeRawBufferPointer, payload: (Range<Int>) -> Void = { _ in }
    ) throws(HTTPFault) -> Progress {
        var at = 0
        var progress = Progress()
        while at < bytes.count, state != .done {
            let isPastLastChunk = isInTrailers
            if state == .data {
                let count = Int(min(size, UInt64(bytes.count - at)))
                payload(at..<at + count)
                at += count
                size -= UInt64(count)
                if size == 0 { state = .dataCR }
            } else {
                try step(bytes[at])
                at += 1
            }
            if keepsTrailers || !isPastLastChunk { progress.forward = at }
        }
        progress.consumed = at
        guard state == .done, !keepsTrailers else { return progress }
        // Behind the last chunk only the final CRLF goes on: as it stands here, or written anew when it came torn
        // apart or behind trailers.
        if at - progress.forward == 2 { progress.forward = at } else { progress.needsFinalLine = true }
        return progress
    }

    private var isInTrailers: Bool {
        switch state {
        case .trailerStart, .trailer, .trailerLF, .lastLF: true
        default: false
        }
    }

    private mutating func step(_ byte: UInt8) throws(HTTPFault) {
        switch state {
        case .sizeStart, .size: try stepSize(byte)
        case .chunkExtension:
            lineLength += 1
            guard lineLength <= ProxyConfiguration.chunkLineLimit else { throw .badChunk }
            if byte == Ascii.cr { state = .sizeLF } else { try require(Bytes.isFieldValue(byte)) }
        case .sizeLF:
            try require(byte == Ascii.lf)
            lineLength = 0
            state = size == 0 ? .trailerStart : .data
        case .dataCR:
            try require(byte == Ascii.cr)
            state = .dataLF
        case .dataLF:
            try require(byte == Ascii.lf)
            state = .sizeStart
        case .trailerStart, .trailer, .trailerLF, .lastLF: try stepTrailer(byte)
        case .data, .done: break
        }
    }

    private mutating func stepSize(_ byte: UInt8) throws(HTTPFault) {
        if state == .sizeStart {
            size = 0
            digits = 0
            state = .size
        }
        if let digit = Bytes.hexDigit(byte) {
            digits += 1
            guard digits <= 15 else { throw .badChunk }
            size = size << 4 | digit
            return
        }
        try require(digits > 0)
        if byte == Ascii.cr {
            state = .sizeLF
        } else {
            try require(byte == Ascii.semicolon)
            lineLength = 0
            state = .chunkExtension
        }
    }

    private mutating func stepTrailer(_ byte: UInt8) throws(HTTPFault) {
        lineLength += 1
        guard lineLength <= ProxyConfiguration.trailerLimit else { throw .badChunk }
        if keepsTrailers { trailers.append(byte) }
        switch state {
        case .trailerStart:
            if byte == Ascii.cr {
                state = .lastLF
            } else {
                try require(Bytes.isToken(byte))
                state = .trailer
            }
        case .trailer:
            if byte == Ascii.cr { state = .trailerLF } else { try require(Bytes.isFieldValue(byte)) }
        case .trailerLF:
            try require(byte == Ascii.lf)
            state = .trailerStart
        default:
            try require(byte == Ascii.lf)
            state = .done
        }
    }

    private func require(_ isRight: Bool) throws(HTTPFault) {
        guard isRight else { throw .badChunk }
    }
}

extension HTTPFault {
    static let badChunk = HTTPFault.bad("a chunk of the body is malformed")
}
