internal import Segments

extension Span {
    /// Bytes at the start of an encoded span: trace, span and parent.
    static let idBytes = 32

    func encode(into writer: inout ByteWriter) {
        writer.add(fixed: traceID.high)
        writer.add(fixed: traceID.low)
        writer.add(fixed: id.value)
        writer.add(fixed: parent.value)
        writer.add(signed: start)
        writer.add(signed: duration)
        writer.add(kind.rawValue)
        writer.add(status.rawValue)
        for text in [service, operation, statusMessage, scope] { writer.add(text: text) }
        Self.encode(resource, into: &writer)
        Self.encode(attributes, into: &writer)
        writer.add(count: events.count)
        for event in events {
            writer.add(signed: event.time &- start)
            writer.add(text: event.name)
            Self.encode(event.attributes, into: &writer)
        }
        writer.add(count: links.count)
        for link in links {
            writer.add(fixed: link.traceID.high)
            writer.add(fixed: link.traceID.low)
            writer.add(fixed: link.spanID.value)
            Self.encode(link.attributes, into: &writer)
        }
    }

    private static func encode(_ attributes: [SpanAttribute], into writer: inout ByteWriter) {
        writer.add(count: attributes.count)
        for attribute in attributes {
            writer.add(text: attribute.key)
            switch attribute.value {
            case .text(let text):
                writer.add(0)
                writer.add(text: text)
            case .whole(let number):
                writer.add(1)
                writer.add(signed: number)
            case .real(let number):
                writer.add(2)
                writer.add(fixed: number.bitPattern)
            case .flag(let flag): writer.add(flag ? 4 : 3)
            case .json(let text):
                writer.add(5)
                writer.add(text: text)
            }
        }
    }

    /// - Throws: `StorageError.damaged`.
    init(_ bytes: UnsafeRawBufferPointer) throws {
        var reader = ByteReader(bytes)
        traceID = TraceID(high: try reader.fixed(), low: try reader.fixed())
        id = SpanID(try reader.fixed())
        parent = SpanID(try reader.fixed())
        start = try reader.signed()
        duration = try reader.signed()
        guard let kind = Kind(rawValue: try reader.byte()), let status = Status(rawValue: try reader.byte()) else {
            throw StorageError.damaged("a span has no such kind or status")
        }
        (self.kind, self.status) = (kind, status)
        service = try reader.text()
        operation = try reader.text()
        statusMessage = try reader.text()
        scope = try reader.text()
        resource = try Self.attributes(&reader)
        attributes = try Self.attributes(&reader)
        events = []
        for _ in 0..<(try reader.count()) {
            let time = start &+ (try reader.signed())
            events.append(Event(time: time, name: try reader.text(), attributes: try Self.attributes(&reader)))
        }
        links = []
        for _ in 0..<(try reader.count()) {
            let trace = TraceID(high: try reader.fixed(), low: try reader.fixed())
            let span = SpanID(try reader.fixed())
            links.append(Link(traceID: trace, spanID: span, attributes: try Self.attributes(&reader)))
        }
    }

    private static func attributes(_ reader: inout ByteReader) throws -> [SpanAttribute] {
        let count = try reader.count()
        var attributes: [SpanAttribute] = []
        attributes.reserveCapacity(count)
        for _ in 0..<count {
            let key = try reader.text()
            let value: SpanAttribute.Value
            switch try reader.byte() {
            case 0: value = .text(try reader.text())
            case 1: value = .whole(try reader.signed())
            case 2: value = .real(Double(bitPattern: try reader.fixed()))
            case 3: value = .flag(false)
            case 4: value = .flag(true)
            case 5: value = .json(try reader.text())
            case let type: throw StorageError.damaged("an attribute has the type \(type)")
            }
            attributes.append(SpanAttribute(key, value))
        }
        return attributes
    }

    /// What the filter of a block is made of: each attribute as `key=value` on a line.
    func searchText(into text: inout [UInt8]) {
        for attribute in resource + attributes + events.flatMap(\.attributes) {
            text += Array(attribute.key.utf8)
            text.append(UInt8(ascii: "="))
            text += Array(attribute.value.description.utf8)
            text.append(UInt8(ascii: "\n"))
        }
    }
}
