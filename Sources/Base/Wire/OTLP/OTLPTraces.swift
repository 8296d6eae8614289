extension OTLP {
    package struct Span: Hashable, Sendable {
        package enum Kind: UInt8, Sendable { case unspecified, `internal`, server, client, producer, consumer }
        package enum StatusCode: UInt8, Sendable { case unset, ok, error }

        package struct Event: Hashable, Sendable {
            /// Nanoseconds since 1970.
            package var time: UInt64 = 0
            package var name = ""
            package var attributes: [Attribute] = []
        }

        package struct Link: Hashable, Sendable {
            package var traceID = TraceID.none
            package var spanID = SpanID.none
            package var traceState = ""
            package var attributes: [Attribute] = []
        }

        package var traceID = TraceID.none
        package var spanID = SpanID.none
        package var parentID = SpanID.none
        package var traceState = ""
        package var name = ""
        package var kind = Kind.unspecified
        /// Nanoseconds since 1970.
        package var start: UInt64 = 0
        package var end: UInt64 = 0
        package var attributes: [Attribute] = []
        package var events: [Event] = []
        package var links: [Link] = []
        package var status = StatusCode.unset
        package var statusMessage = ""
        package var flags: UInt32 = 0

        package init() {}
    }

    /// Decodes an `ExportTraceServiceRequest`.
    ///
    /// - Throws: `WireError`.
    package static func decodeTraces(_ body: [UInt8], _ encoding: Encoding) throws -> [Batch<Span>] {
        try decode(body, encoding, root: .traces, item: span)
    }

    private static func span(_ reader: inout ProtobufReader) throws -> Span {
        var span = Span()
        while let tag = try reader.tag() {
            switch tag {
            case 0x0a: span.traceID = try traceID(reader.data())
            case 0x12: span.spanID = try spanID(reader.data())
            case 0x1a: span.traceState = try reader.string()
            case 0x22: span.parentID = try spanID(reader.data())
            case 0x2a: span.name = try reader.string()
            case 0x30: span.kind = Span.Kind(rawValue: UInt8(clamping: try reader.varint())) ?? .unspecified
            case 0x39: span.start = try reader.fixed64()
            case 0x41: span.end = try reader.fixed64()
            case 0x4a:
                var message = try reader.message()
                span.attributes.append(try attribute(&message))
            case 0x5a:
                var message = try reader.message()
                span.events.append(try event(&message))
            case 0x6a:
                var message = try reader.message()
                span.links.append(try link(&message))
            case 0x7a:
                var message = try reader.message()
                while let tag = try message.tag() {
                    switch tag {
                    case 0x12: span.statusMessage = try message.string()
                    case 0x18:
                        span.status = Span.StatusCode(rawValue: UInt8(clamping: try message.varint())) ?? .unset
                    default: try message.skip(tag)
                    }
                }
            // Field 16, fixed32.
            case 0x85: span.flags = try reader.fixed32()
            default: try reader.skip(tag)
            }
        }
        return span
    }

    private static func event(_ reader: inout ProtobufReader) throws -> Span.Event {
        var event = Span.Event()
        while let tag = try reader.tag() {
            switch tag {
            case 0x09: event.time = try reader.fixed64()
            case 0x12: event.name = try reader.string()
            case 0x1a:
                var message = try reader.message()
                event.attributes.append(try attribute(&message))
            default: try reader.skip(tag)
            }
        }
        return event
    }

    private static func link(_ reader: inout ProtobufReader) throws -> Span.Link {
        var link = Span.Link()
        while let tag = try reader.tag() {
            switch tag {
            case 0x0a: link.traceID = try traceID(reader.data())
            case 0x12: link.spanID = try spanID(reader.data())
            case 0x1a: link.traceState = try reader.string()
            case 0x22:
                var message = try reader.message()
                link.attributes.append(try attribute(&message))
            default: try reader.skip(tag)
            }
        }
        return link
    }
}
