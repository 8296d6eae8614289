extension OTLP {
    package struct LogRecord: Hashable, Sendable {
        /// Nanoseconds since 1970; zero when the source did not know.
        package var time: UInt64 = 0
        /// Nanoseconds since 1970 at which it was collected.
        package var observedTime: UInt64 = 0
        /// 1...24 (trace, debug, info, warn, error, fatal: four each); zero when not told.
        package var severity: UInt8 = 0
        package var severityText = ""
        package var body = Value.empty
        package var attributes: [Attribute] = []
        package var traceID = TraceID.none
        package var spanID = SpanID.none
        package var flags: UInt32 = 0
        package var eventName = ""

        package init() {}

        /// The name of the severity's group: `info`.
        package var level: String? {
            guard (1...24).contains(severity) else { return nil }
            return ["trace", "debug", "info", "warn", "error", "fatal"][Int(severity - 1) / 4]
        }
    }

    /// Decodes an `ExportLogsServiceRequest`.
    ///
    /// - Throws: `WireError`.
    package static func decodeLogs(_ body: [UInt8], _ encoding: Encoding) throws -> [Batch<LogRecord>] {
        try decode(body, encoding, root: .logs, item: record)
    }

    private static func record(_ reader: inout ProtobufReader) throws -> LogRecord {
        var record = LogRecord()
        while let tag = try reader.tag() {
            switch tag {
            case 0x09: record.time = try reader.fixed64()
            case 0x10: record.severity = UInt8(clamping: try reader.varint())
            case 0x1a: record.severityText = try reader.string()
            case 0x2a:
                var message = try reader.message()
                record.body = try value(&message)
            case 0x32:
                var message = try reader.message()
                record.attributes.append(try attribute(&message))
            case 0x45: record.flags = try reader.fixed32()
            case 0x4a: record.traceID = try traceID(reader.data())
            case 0x52: record.spanID = try spanID(reader.data())
            case 0x59: record.observedTime = try reader.fixed64()
            case 0x62: record.eventName = try reader.string()
            default: try reader.skip(tag)
            }
        }
        return record
    }
}
