/// What a server answers to an export.
extension OTLP {
    /// `Export…ServiceResponse`.
    ///
    /// - Parameters:
    ///   - rejected: Spans, data points or log records that were not taken.
    ///   - message: Why; with none rejected, a warning. Without either, the partial success is left unset.
    package static func response(
        _ signal: Signal, _ encoding: Encoding, rejected: Int = 0, message: String = ""
    ) -> [UInt8] {
        switch encoding {
        case .protobuf:
            var writer = ProtobufWriter()
            guard rejected > 0 || !message.isEmpty else { return [] }
            writer.message(1) { writer in
                writer.int64(1, Int64(rejected))
                writer.string(2, message)
            }
            return writer.bytes
        case .json:
            guard rejected > 0 || !message.isEmpty else { return Array("{}".utf8) }
            let name =
                [.traces: "rejectedSpans", .metrics: "rejectedDataPoints", .logs: "rejectedLogRecords"][signal] ?? ""
            // 64-bit numbers are texts in protobuf's JSON.
            var out = Array("{\"partialSuccess\":{\"\(name)\":\"\(rejected)\",\"errorMessage\":".utf8)
            JSONText.append(message, to: &out)
            return out + Array("}}".utf8)
        }
    }

    /// Codes of `google.rpc.Code`.
    package enum StatusCode: Int32, Sendable {
        case invalidArgument = 3
        case resourceExhausted = 8
        case unimplemented = 12
        case `internal` = 13
        case unavailable = 14
        case unauthenticated = 16
    }

    /// `google.rpc.Status`: the body of every answer that is not 200.
    package static func status(_ code: StatusCode, _ message: String, _ encoding: Encoding) -> [UInt8] {
        switch encoding {
        case .protobuf:
            var writer = ProtobufWriter()
            writer.int64(1, Int64(code.rawValue))
            writer.string(2, message)
            return writer.bytes
        case .json:
            var out = Array("{\"code\":\(code.rawValue),\"message\":".utf8)
            JSONText.append(message, to: &out)
            out.append(UInt8(ascii: "}"))
            return out
        }
    }
}
