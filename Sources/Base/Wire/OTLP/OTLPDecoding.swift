/// The parts of OTLP's messages that all signals share (`common.proto`, `resource.proto`, and the request's frame,
/// whose field numbers are the same in all three services).
extension OTLP {
    static func decode<Item: Sendable & Hashable>(
        _ body: [UInt8], _ encoding: Encoding, root: OTLPSchema.Message,
        item: (inout ProtobufReader) throws -> Item
    ) throws -> [Batch<Item>] {
        let body = encoding == .protobuf ? body : try OTLPSchema.protobuf(json: body, root)
        return try body.withUnsafeBufferPointer { bytes in
            var (reader, batches) = (ProtobufReader(bytes), [Batch<Item>]())
            while let tag = try reader.tag() {
                guard tag == 0x0a else {
                    try reader.skip(tag)
                    continue
                }
                var message = try reader.message()
                batches.append(try batch(&message, item))
            }
            return batches
        }
    }

    private static func batch<Item: Sendable & Hashable>(
        _ reader: inout ProtobufReader, _ item: (inout ProtobufReader) throws -> Item
    ) throws -> Batch<Item> {
        var batch = Batch<Item>()
        while let tag = try reader.tag() {
            switch tag {
            case 0x0a:
                var message = try reader.message()
                while let tag = try message.tag() {
                    guard tag == 0x0a else {
                        try message.skip(tag)
                        continue
                    }
                    var pair = try message.message()
                    batch.resource.attributes.append(try attribute(&pair))
                }
            case 0x12:
                var message = try reader.message()
                batch.parts.append(try part(&message, item))
            case 0x1a: batch.schemaURL = try reader.string()
            default: try reader.skip(tag)
            }
        }
        return batch
    }

    private static func part<Item: Sendable & Hashable>(
        _ reader: inout ProtobufReader, _ item: (inout ProtobufReader) throws -> Item
    ) throws -> Batch<Item>.Part {
        var part = Batch<Item>.Part()
        while let tag = try reader.tag() {
            switch tag {
            case 0x0a:
                var message = try reader.message()
                part.scope = try scope(&message)
            case 0x12:
                var message = try reader.message()
                part.items.append(try item(&message))
            case 0x1a: part.schemaURL = try reader.string()
            default: try reader.skip(tag)
            }
        }
        return part
    }

    private static func scope(_ reader: inout ProtobufReader) throws -> Scope {
        var scope = Scope()
        while let tag = try reader.tag() {
            switch tag {
            case 0x0a: scope.name = try reader.string()
            case 0x12: scope.version = try reader.string()
            case 0x1a:
                var message = try reader.message()
                scope.attributes.append(try attribute(&message))
            default: try reader.skip(tag)
            }
        }
        return scope
    }

    static func attribute(_ reader: inout ProtobufReader) throws -> Attribute {
        var attribute = Attribute("", .empty)
        while let tag = try reader.tag() {
            switch tag {
            case 0x0a: attribute.key = try reader.string()
            case 0x12:
                var message = try reader.message()
                attribute.value = try value(&message)
            default: try reader.skip(tag)
            }
        }
        return attribute
    }

    static func value(_ reader: inout ProtobufReader) throws -> Value {
        var result = Value.empty
        while let tag = try reader.tag() {
            switch tag {
            case 0x0a: result = .string(try reader.string())
            case 0x10: result = .bool(try reader.bool())
            case 0x18: result = .int(try reader.int64())
            case 0x21: result = .double(try reader.double())
            case 0x2a:
                var (list, message) = ([Value](), try reader.message())
                while let tag = try message.tag() {
                    guard tag == 0x0a else {
                        try message.skip(tag)
                        continue
                    }
                    var item = try message.message()
                    list.append(try value(&item))
                }
                result = .array(list)
            case 0x32:
                var (map, message) = ([Attribute](), try reader.message())
                while let tag = try message.tag() {
                    guard tag == 0x0a else {
                        try message.skip(tag)
                        continue
                    }
                    var pair = try message.message()
                    map.append(try attribute(&pair))
                }
                result = .map(map)
            case 0x3a: result = .bytes(try reader.copiedData())
            default: try reader.skip(tag)
            }
        }
        return result
    }

    static func traceID(_ bytes: UnsafeBufferPointer<UInt8>) throws -> TraceID {
        if bytes.isEmpty { return .none }
        guard bytes.count == 16 else {
            throw WireError.malformed("a trace id has \(bytes.count) bytes instead of 16")
        }
        let raw = UnsafeRawBufferPointer(bytes)
        return TraceID(
            high: raw.loadUnaligned(as: UInt64.self).bigEndian,
            low: raw.loadUnaligned(fromByteOffset: 8, as: UInt64.self).bigEndian)
    }

    static func spanID(_ bytes: UnsafeBufferPointer<UInt8>) throws -> SpanID {
        if bytes.isEmpty { return .none }
        guard bytes.count == 8 else { throw WireError.malformed("a span id has \(bytes.count) bytes instead of 8") }
        return SpanID(value: UnsafeRawBufferPointer(bytes).loadUnaligned(as: UInt64.self).bigEndian)
    }
}
