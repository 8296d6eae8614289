/// Wire: how metrics, logs and traces look on the wire, and nothing else: no socket, no clock, no store.
///
/// What comes in: bytes of a request or a scrape. What goes out: plain values, or a ``WireError`` that says what is
/// wrong with them. No input stops the process: every length is checked against what is there before it is used, and
/// every nesting, count and inflated size has a limit.
///
/// | folder | formats |
/// |---|---|
/// | `Protobuf/` | the encoding itself: ``ProtobufReader`` and ``ProtobufWriter`` over bytes, no generated code |
/// | `Compression/` | ``Snappy`` (block format), ``Gzip`` (gzip and deflate by the system's zlib) |
/// | `Prometheus/` | remote write 1.0 and remote read, in and out; all series meet in ``WriteBatch`` |
/// | `Exposition/` | Prometheus text 0.0.4, OpenMetrics 1.0 and delimited protobuf, read and written |
/// | `OTLP/` | OTLP 1.x metrics, logs, traces in protobuf and JSON, and their translation into series |
/// | `Loki/` | the push format in protobuf and JSON, and the text of a label set |
/// | `JSON/` | the pull parser under OTLP/JSON and Loki's JSON |
///
/// Decoders are written by hand because they lie on the path of every sample: generated code took four times as long.
enum Wire {}

/// Why bytes could not be read.
package struct WireError: Error, Sendable, Hashable, CustomStringConvertible {
    package enum Code: Sendable, Hashable {
        /// The bytes do not follow their format.
        case malformed
        /// A size or count beyond a limit, declared or found.
        case tooLarge
        /// Messages or values nest too deep.
        case tooDeep
        /// Text that is not UTF-8.
        case invalidText
        /// Labels unsorted, doubled, or without a name; a histogram that contradicts itself.
        case invalidSeries
        /// A valid input that is not spoken here.
        case unsupported
    }

    package let code: Code
    /// A lower-case clause without a full stop.
    package let description: String

    package init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }

    static func malformed(_ description: String) -> WireError { WireError(.malformed, description) }
}

/// How a body is compressed, by its name in `Content-Encoding`.
package enum ContentCoding: String, Sendable, CaseIterable {
    case identity
    case gzip
    case deflate
    case snappy

    /// Takes the compression away.
    ///
    /// - Parameter limit: Most bytes that may come out.
    /// - Throws: `WireError`: `tooLarge` beyond the limit, else `malformed`.
    package func decode(_ bytes: [UInt8], limit: Int) throws -> [UInt8] {
        switch self {
        case .identity:
            guard bytes.count <= limit else { throw Gzip.tooLarge(limit) }
            return bytes
        case .gzip, .deflate: return try Gzip.inflate(bytes, limit: limit)
        case .snappy: return try Snappy.decode(bytes, limit: limit)
        }
    }
}
