/// The fields of OTLP's messages by their names in JSON, and the way from that JSON to protobuf.
///
/// OTLP's JSON is protobuf's, but for ids, which are hexadecimal, and enums, which are numbers (their names are taken,
/// too). Names are those of opentelemetry-proto 1.x in lowerCamelCase; what is not listed is passed over.
enum OTLPSchema {
    enum Message {
        case traces, metrics, logs
        case resourceSpans, scopeSpans, span, spanEvent, spanLink, spanStatus
        case resourceLogs, scopeLogs, logRecord
        case resourceMetrics, scopeMetrics, metric, gauge, sum, histogram, exponentialHistogram, summary
        case numberPoint, histogramPoint, exponentialPoint, buckets, summaryPoint, quantile, exemplar
        case resource, scope, attribute, value, list, map

        var fields: [Field] { OTLPSchema.tables[self] ?? [] }
    }

    enum Kind {
        case text, base64, hexadecimal, bool, varint, zigzag, fixed64, fixed32, double
        /// The common start of the names of an enum, and the names from zero on.
        case enumeration(String, [String])
        case message(Message)
    }

    struct Field {
        let name: String
        let number: Int
        let kind: Kind

        init(_ name: String, _ number: Int, _ kind: Kind) {
            self.name = name
            self.number = number
            self.kind = kind
        }
    }

    private static let tables: [Message: [Field]] = common.merging(
        traces.merging(logs.merging(metrics) { a, _ in a }) { a, _ in a }
    ) { a, _ in a }

    private static let common: [Message: [Field]] = [
        .resource: [Field("attributes", 1, .message(.attribute))],
        .scope: [Field("name", 1, .text), Field("version", 2, .text), Field("attributes", 3, .message(.attribute))],
        .attribute: [Field("key", 1, .text), Field("value", 2, .message(.value))],
        .value: [
            Field("stringValue", 1, .text), Field("boolValue", 2, .bool), Field("intValue", 3, .varint),
            Field("doubleValue", 4, .double), Field("arrayValue", 5, .message(.list)),
            Field("kvlistValue", 6, .message(.map)), Field("bytesValue", 7, .base64),
        ],
        .list: [Field("values", 1, .message(.value))],
        .map: [Field("values", 1, .message(.attribute))],
    ]

    private static let traces: [Message: [Field]] = [
        .traces: [Field("resourceSpans", 1, .message(.resourceSpans))],
        .resourceSpans: frame("scopeSpans", .scopeSpans, .resource, "resource"),
        .scopeSpans: frame("spans", .span, .scope, "scope"),
        .span: [
            Field("traceId", 1, .hexadecimal), Field("spanId", 2, .hexadecimal), Field("traceState", 3, .text),
            Field("parentSpanId", 4, .hexadecimal), Field("name", 5, .text),
            Field(
                "kind", 6,
                .enumeration("SPAN_KIND_", ["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"])),
            Field("startTimeUnixNano", 7, .fixed64), Field("endTimeUnixNano", 8, .fixed64),
            Field("attributes", 9, .message(.attribute)), Field("events", 11, .message(.spanEvent)),
            Field("links", 13, .message(.spanLink)), Field("status", 15, .message(.spanStatus)),
            Field("flags", 16, .fixed32),
        ],
        .spanEvent: [
            Field("timeUnixNano", 1, .fixed64), Field("name", 2, .text), Field("attributes", 3, .message(.attribute)),
        ],
        .spanLink: [
            Field("traceId", 1, .hexadecimal), Field("spanId", 2, .hexadecimal), Field("traceState", 3, .text),
            Field("attributes", 4, .message(.attribute)),
        ],
        .spanStatus: [
            Field("message", 2, .text), Field("code", 3, .enumeration("STATUS_CODE_", ["UNSET", "OK", "ERROR"])),
        ],
    ]

    private static let logs: [Message: [Field]] = [
        .logs: [Field("resourceLogs", 1, .message(.resourceLogs))],
        .resourceLogs: frame("scopeLogs", .scopeLogs, .resource, "resource"),
        .scopeLogs: frame("logRecords", .logRecord, .scope, "scope"),
        .logRecord: [
            Field("timeUnixNano", 1, .fixed64), Field("observedTimeUnixNano", 11, .fixed64),
            Field("severityNumber", 2, .enumeration("SEVERITY_NUMBER_", severities)), Field("severityText", 3, .text),
            Field("body", 5, .message(.value)), Field("attributes", 6, .message(.attribute)),
            Field("flags", 8, .fixed32), Field("traceId", 9, .hexadecimal), Field("spanId", 10, .hexadecimal),
            Field("eventName", 12, .text),
        ],
    ]

    private static let severities =
        ["UNSPECIFIED"]
        + ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"].flatMap { [$0, $0 + "2", $0 + "3", $0 + "4"] }

    private static let temporality = Field(
        "aggregationTemporality", 2, .enumeration("AGGREGATION_TEMPORALITY_", ["UNSPECIFIED", "DELTA", "CUMULATIVE"]))

    private static let times = [Field("startTimeUnixNano", 2, .fixed64), Field("timeUnixNano", 3, .fixed64)]

    private static let metrics: [Message: [Field]] = [
        .metrics: [Field("resourceMetrics", 1, .message(.resourceMetrics))],
        .resourceMetrics: frame("scopeMetrics", .scopeMetrics, .resource, "resource"),
        .scopeMetrics: frame("metrics", .metric, .scope, "scope"),
        .metric: [
            Field("name", 1, .text), Field("description", 2, .text), Field("unit", 3, .text),
            Field("gauge", 5, .message(.gauge)), Field("sum", 7, .message(.sum)),
            Field("histogram", 9, .message(.histogram)),
            Field("exponentialHistogram", 10, .message(.exponentialHistogram)),
            Field("summary", 11, .message(.summary)),
        ],
        .gauge: [Field("dataPoints", 1, .message(.numberPoint))],
        .sum: [Field("dataPoints", 1, .message(.numberPoint)), temporality, Field("isMonotonic", 3, .bool)],
        .histogram: [Field("dataPoints", 1, .message(.histogramPoint)), temporality],
        .exponentialHistogram: [Field("dataPoints", 1, .message(.exponentialPoint)), temporality],
        .summary: [Field("dataPoints", 1, .message(.summaryPoint))],
        .numberPoint: times + [
            Field("asDouble", 4, .double), Field("exemplars", 5, .message(.exemplar)), Field("asInt", 6, .fixed64),
            Field("attributes", 7, .message(.attribute)), Field("flags", 8, .varint),
        ],
        .histogramPoint: times + [
            Field("count", 4, .fixed64), Field("sum", 5, .double), Field("bucketCounts", 6, .fixed64),
            Field("explicitBounds", 7, .double), Field("exemplars", 8, .message(.exemplar)),
            Field("attributes", 9, .message(.attribute)), Field("flags", 10, .varint),
        ],
        .exponentialPoint: times + [
            Field("attributes", 1, .message(.attribute)), Field("count", 4, .fixed64), Field("sum", 5, .double),
            Field("scale", 6, .zigzag), Field("zeroCount", 7, .fixed64), Field("positive", 8, .message(.buckets)),
            Field("negative", 9, .message(.buckets)), Field("flags", 10, .varint),
            Field("exemplars", 11, .message(.exemplar)), Field("zeroThreshold", 14, .double),
        ],
        .buckets: [Field("offset", 1, .zigzag), Field("bucketCounts", 2, .varint)],
        .summaryPoint: times + [
            Field("count", 4, .fixed64), Field("sum", 5, .double), Field("quantileValues", 6, .message(.quantile)),
            Field("attributes", 7, .message(.attribute)), Field("flags", 8, .varint),
        ],
        .quantile: [Field("quantile", 1, .double), Field("value", 2, .double)],
        .exemplar: [
            Field("timeUnixNano", 2, .fixed64), Field("asDouble", 3, .double), Field("spanId", 4, .hexadecimal),
            Field("traceId", 5, .hexadecimal), Field("asInt", 6, .fixed64),
            Field("filteredAttributes", 7, .message(.attribute)),
        ],
    ]

    private static func frame(_ items: String, _ item: Message, _ head: Message, _ name: String) -> [Field] {
        [Field(name, 1, .message(head)), Field(items, 2, .message(item)), Field("schemaUrl", 3, .text)]
    }
}

// MARK: - From JSON to protobuf

extension OTLPSchema {
    /// - Throws: `WireError` with the place in the JSON.
    static func protobuf(json: [UInt8], _ root: Message) throws -> [UInt8] {
        try json.withUnsafeBufferPointer { bytes in
            var writer = ProtobufWriter()
            writer.bytes.reserveCapacity(bytes.count / 2)
            try JSONReader.read(bytes) { try write(&$0, root, to: &writer) }
            return writer.bytes
        }
    }

    private static func write(_ reader: inout JSONReader, _ message: Message, to writer: inout ProtobufWriter) throws {
        let fields = message.fields
        try reader.object { key, reader in
            guard let field = fields.first(where: { $0.name == key }) else { return try reader.skip() }
            switch try reader.kind() {
            case .null: try reader.null()
            // A list of a field that is no list would be several of it, of which the last one counts.
            case .array: try reader.array { reader in try write(&reader, field, to: &writer) }
            default: try write(&reader, field, to: &writer)
            }
        }
    }

    private static func write(_ reader: inout JSONReader, _ field: Field, to writer: inout ProtobufWriter) throws {
        switch field.kind {
        case .message(let message):
            // A null in a list is the message's default.
            if try reader.kind() == .null {
                try reader.null()
                return writer.message(field.number) { _ in }
            }
            try writer.message(field.number) { writer in try write(&reader, message, to: &writer) }
        case .text:
            writer.tag(field.number, 2)
            var text = try reader.string()
            writer.varint(UInt64(text.utf8.count))
            text.withUTF8 { writer.bytes.append(contentsOf: $0) }
        case .base64, .hexadecimal:
            let text = try reader.string()
            let isHexadecimal = if case .hexadecimal = field.kind { true } else { false }
            guard let bytes = isHexadecimal ? hexBytes(text) : Base64.decode(text) else {
                throw reader.wrong("\(field.name) is not \(isHexadecimal ? "hexadecimal" : "base64")")
            }
            writer.data(field.number, bytes)
        case .bool:
            writer.tag(field.number, 0)
            writer.varint(try reader.bool() ? 1 : 0)
        case .varint:
            writer.tag(field.number, 0)
            writer.varint(try integer(&reader, field))
        case .zigzag:
            writer.tag(field.number, 0)
            writer.varint(ProtobufWriter.zigzag(Int64(bitPattern: try integer(&reader, field))))
        case .fixed64:
            writer.tag(field.number, 1)
            writer.little(try integer(&reader, field))
        case .fixed32:
            writer.tag(field.number, 5)
            let value = UInt32(truncatingIfNeeded: try integer(&reader, field))
            withUnsafeBytes(of: value.littleEndian) { writer.bytes.append(contentsOf: $0) }
        case .double:
            writer.tag(field.number, 1)
            writer.little(try double(&reader, field).bitPattern)
        case .enumeration(let prefix, let names):
            writer.tag(field.number, 0)
            writer.varint(try enumeration(&reader, field, prefix, names))
        }
    }

    /// A whole number, as a number or as a text; negative ones in two's complement.
    private static func integer(_ reader: inout JSONReader, _ field: Field) throws -> UInt64 {
        let text =
            try reader.kind() == .string ? try reader.string() : String(decoding: try reader.number(), as: UTF8.self)
        if let value = UInt64(text) { return value }
        if let value = Int64(text) { return UInt64(bitPattern: value) }
        // `1e3` and `5.0` are whole numbers, too.
        if let value = Double(text), let whole = Int64(exactly: value) { return UInt64(bitPattern: whole) }
        throw reader.wrong("\(field.name) is not a whole number of 64 bits")
    }

    private static func double(_ reader: inout JSONReader, _ field: Field) throws -> Double {
        if try reader.kind() == .string {
            switch try reader.string() {
            case "NaN": return .nan
            case "Infinity": return .infinity
            case "-Infinity": return -.infinity
            case let text:
                if let value = Double(text), value.isFinite { return value }
                throw reader.wrong("\(field.name) is not a number")
            }
        }
        guard let value = GoFloat.parse(try reader.number()) else { throw reader.wrong("\(field.name) is too large") }
        return value
    }

    private static func enumeration(
        _ reader: inout JSONReader, _ field: Field, _ prefix: String, _ names: [String]
    ) throws -> UInt64 {
        guard try reader.kind() == .string else { return try integer(&reader, field) }
        let name = try reader.string()
        if let value = UInt64(name) { return value }
        guard name.hasPrefix(prefix), let value = names.firstIndex(of: String(name.dropFirst(prefix.count))) else {
            throw reader.wrong("\(field.name) is not one of \(prefix)…")
        }
        return UInt64(value)
    }

    private static func hexBytes(_ text: String) -> [UInt8]? {
        let digits = Array(text.utf8)
        guard digits.count.isMultiple(of: 2) else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(digits.count / 2)
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let high = hexDigit(digits[index]), let low = hexDigit(digits[index + 1]) else { return nil }
            bytes.append(high << 4 | low)
        }
        return bytes
    }
}
