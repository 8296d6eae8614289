import Crypto
import SpanStore

/// Names of traces and spans that vagus makes itself: worked out from what they are about, so that whoever knows a run or a
/// correlation finds its trace, and telling one twice tells it once.
enum TraceNaming {
    /// The trace of a correlation or a run's id. An id of a trace stands for itself.
    static func trace(_ text: String) -> TraceID {
        if text.utf8.count == 32, let id = TraceID(text) { return id }
        let bytes = digest("trace:" + text)
        return TraceID(high: number(bytes[0..<8]), low: number(bytes[8..<16]))
    }

    static func span(_ text: String) -> SpanID {
        // Zero is none.
        SpanID(max(1, number(digest("span:" + text)[0..<8])))
    }

    private static func digest(_ text: String) -> [UInt8] { Array(SHA256.hash(data: Array(text.utf8))) }

    private static func number(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
}
