package import Series

/// Remote read (prometheus/prompb `remote.proto`) in the form that all servers speak: samples, not chunks. Both bodies
/// are protobuf in snappy's block format.
package enum RemoteRead {
    /// Queries in one request.
    package static let queryLimit = 1_000

    /// What one query asks for.
    package struct Query: Hashable, Sendable {
        /// Milliseconds since 1970, both included.
        package var from: Int64
        package var to: Int64
        package var matchers: [LabelMatcher]
        /// Milliseconds between the steps of the range query this is for; 0 when not told.
        package var step: Int64 = 0

        package init(from: Int64, to: Int64, matchers: [LabelMatcher]) {
            self.from = from
            self.to = to
            self.matchers = matchers
        }
    }

    private static let comparisons: [LabelMatcher.Comparison] = [.equal, .notEqual, .matches, .doesNotMatch]

    package static func encode(request queries: [Query]) -> [UInt8] {
        var writer = ProtobufWriter()
        for query in queries {
            writer.message(1) { writer in
                writer.int64(1, query.from)
                writer.int64(2, query.to)
                for matcher in query.matchers {
                    writer.message(3) { writer in
                        writer.unsigned(1, UInt64(comparisons.firstIndex(of: matcher.comparison) ?? 0))
                        writer.string(2, matcher.name)
                        writer.string(3, matcher.value)
                    }
                }
                guard query.step > 0 else { return }
                writer.message(4) { writer in
                    writer.int64(1, query.step)
                    writer.int64(3, query.from)
                    writer.int64(4, query.to)
                }
            }
        }
        return Snappy.encode(writer.bytes)
    }

    /// - Throws: `WireError`.
    package static func decode(request body: [UInt8], limit: Int = RemoteWrite.sizeLimit) throws -> [Query] {
        try Snappy.decode(body, limit: limit).withUnsafeBufferPointer { bytes in
            var (reader, queries) = (ProtobufReader(bytes), [Query]())
            while let tag = try reader.tag() {
                guard tag == 0x0a else {
                    try reader.skip(tag)
                    continue
                }
                guard queries.count < queryLimit else {
                    throw WireError(.tooLarge, "a read request has more than \(queryLimit) queries")
                }
                var message = try reader.message()
                queries.append(try query(&message))
            }
            return queries
        }
    }

    private static func query(_ reader: inout ProtobufReader) throws -> Query {
        var query = Query(from: 0, to: 0, matchers: [])
        while let tag = try reader.tag() {
            switch tag {
            case 0x08: query.from = try reader.int64()
            case 0x10: query.to = try reader.int64()
            case 0x1a:
                var message = try reader.message()
                query.matchers.append(try matcher(&message))
            case 0x22:
                var hints = try reader.message()
                while let tag = try hints.tag() {
                    if tag == 0x08 { query.step = try hints.int64() } else { try hints.skip(tag) }
                }
            default: try reader.skip(tag)
            }
        }
        return query
    }

    private static func matcher(_ reader: inout ProtobufReader) throws -> LabelMatcher {
        var (kind, name, value) = (UInt64(0), "", "")
        while let tag = try reader.tag() {
            switch tag {
            case 0x08: kind = try reader.varint()
            case 0x12: name = try reader.string()
            case 0x1a: value = try reader.string()
            default: try reader.skip(tag)
            }
        }
        guard kind < comparisons.count else { throw WireError.malformed("a matcher has the type \(kind)") }
        return LabelMatcher(name, comparisons[Int(kind)], value)
    }

    /// Encodes one result for each query, in their order.
    package static func encode(response results: [WriteBatch]) -> [UInt8] {
        var writer = ProtobufWriter()
        for result in results {
            writer.message(1) { writer in
                for entry in result.entries { RemoteWrite.encode(entry, of: result, to: &writer) }
            }
        }
        return Snappy.encode(writer.bytes)
    }

    /// One batch for each query, in their order.
    ///
    /// - Throws: `WireError`.
    package static func decode(response body: [UInt8], limit: Int) throws -> [WriteBatch] {
        try Snappy.decode(body, limit: limit).withUnsafeBufferPointer { bytes in
            var (reader, results) = (ProtobufReader(bytes), [WriteBatch]())
            while let tag = try reader.tag() {
                guard tag == 0x0a else {
                    try reader.skip(tag)
                    continue
                }
                let message = try reader.message()
                var batch = WriteBatch()
                try RemoteWrite.series(in: message, into: &batch) { tag, reader, _ in try reader.skip(tag) }
                results.append(batch)
            }
            return results
        }
    }
}
