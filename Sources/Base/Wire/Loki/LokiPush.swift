package import Series

/// What is pushed to Loki: streams of lines (grafana/loki `pkg/push/push.proto`, and the JSON of `POST
/// /loki/api/v1/push`).
package enum LokiPush {
    /// Most bytes that a request may have when decompressed.
    package static let sizeLimit = 20 << 20
    /// Labels of one stream.
    package static let labelLimit = 100

    package struct Entry: Hashable, Sendable {
        /// Nanoseconds since 1970.
        package var time: Int64 = 0
        package var line = ""
        /// Structured metadata: facts on this line that are no labels of its stream.
        package var metadata: [(name: String, value: String)] = []

        package init(time: Int64, line: String, metadata: [(name: String, value: String)] = []) {
            self.time = time
            self.line = line
            self.metadata = metadata
        }

        package static func == (left: Entry, right: Entry) -> Bool {
            left.time == right.time && left.line == right.line
                && left.metadata.elementsEqual(right.metadata) { $0.name == $1.name && $0.value == $1.value }
        }

        package func hash(into hasher: inout Hasher) {
            hasher.combine(time)
            hasher.combine(line)
        }
    }

    package struct Stream: Hashable, Sendable {
        package var labels: Labels
        package var entries: [Entry]

        package init(labels: Labels, entries: [Entry]) {
            self.labels = labels
            self.entries = entries
        }
    }

    /// Decodes `logproto.PushRequest` in snappy's block format.
    ///
    /// - Throws: `WireError`.
    package static func decode(snappy body: [UInt8], limit: Int = sizeLimit) throws -> [Stream] {
        try Snappy.decode(body, limit: limit).withUnsafeBufferPointer { bytes in
            var (reader, streams) = (ProtobufReader(bytes), [Stream]())
            while let tag = try reader.tag() {
                guard tag == 0x0a else {
                    try reader.skip(tag)
                    continue
                }
                var message = try reader.message()
                streams.append(try stream(&message))
            }
            return streams
        }
    }

    private static func stream(_ reader: inout ProtobufReader) throws -> Stream {
        var (labels, entries): (Labels?, [Entry]) = (nil, [])
        while let tag = try reader.tag() {
            switch tag {
            case 0x0a: labels = try LabelSetText.parse(try reader.string())
            case 0x12:
                var message = try reader.message()
                entries.append(try entry(&message))
            default: try reader.skip(tag)
            }
        }
        guard let labels, !labels.isEmpty else { throw noLabels }
        return Stream(labels: labels, entries: entries)
    }

    private static func entry(_ reader: inout ProtobufReader) throws -> Entry {
        var entry = Entry(time: 0, line: "")
        while let tag = try reader.tag() {
            switch tag {
            case 0x0a:
                var (message, seconds, nanos) = (try reader.message(), Int64(0), Int64(0))
                while let tag = try message.tag() {
                    switch tag {
                    case 0x08: seconds = try message.int64()
                    case 0x10: nanos = try message.int64()
                    default: try message.skip(tag)
                    }
                }
                entry.time = seconds &* 1_000_000_000 &+ nanos
            case 0x12: entry.line = String(decoding: try reader.data(), as: UTF8.self)
            case 0x1a:
                var (message, pair) = (try reader.message(), (name: "", value: ""))
                while let tag = try message.tag() {
                    switch tag {
                    case 0x0a: pair.name = try message.string()
                    case 0x12: pair.value = try message.string()
                    default: try message.skip(tag)
                    }
                }
                entry.metadata.append(pair)
            default: try reader.skip(tag)
            }
        }
        return entry
    }

    /// Decodes `{"streams": [{"stream": {"a": "b"}, "values": [["<ns>", "<line>", {"trace_id": "…"}]]}]}`.
    ///
    /// - Throws: `WireError`.
    package static func decode(json body: [UInt8]) throws -> [Stream] {
        try body.withUnsafeBufferPointer { bytes in
            try JSONReader.read(bytes) { reader in
                var streams: [Stream] = []
                try reader.object { key, reader in
                    guard key == "streams" else { return try reader.skip() }
                    try reader.array { streams.append(try stream(&$0)) }
                }
                return streams
            }
        }
    }

    private static func stream(_ reader: inout JSONReader) throws -> Stream {
        var (labels, entries): ([(name: String, value: String)], [Entry]) = ([], [])
        try reader.object { key, reader in
            switch key {
            case "stream":
                labels = try texts(&reader)
            case "values": try reader.array { entries.append(try entry(&$0)) }
            default: try reader.skip()
            }
        }
        guard labels.count <= labelLimit else { throw tooManyLabels }
        for pair in labels { try LabelSetText.check(name: pair.name) }
        let encoded = Labels(labels)
        guard !encoded.isEmpty else { throw noLabels }
        return Stream(labels: encoded, entries: entries)
    }

    private static func entry(_ reader: inout JSONReader) throws -> Entry {
        var (entry, place) = (Entry(time: 0, line: ""), 0)
        try reader.array { reader in
            switch place {
            case 0:
                let text = try reader.string()
                guard let time = Int64(text) else {
                    throw reader.wrong("a time is no number of nanoseconds: \"\(text)\"")
                }
                entry.time = time
            case 1: entry.line = try reader.string()
            case 2: entry.metadata = try texts(&reader)
            default: try reader.skip()
            }
            place += 1
        }
        guard place >= 2 else { throw reader.wrong("a value is not a list of a time and a line") }
        return entry
    }

    private static func texts(_ reader: inout JSONReader) throws -> [(name: String, value: String)] {
        var pairs: [(name: String, value: String)] = []
        try reader.object { key, reader in pairs.append((key, try reader.string())) }
        return pairs
    }

    private static var noLabels: WireError { WireError(.invalidSeries, "a stream has no labels") }
    static var tooManyLabels: WireError { WireError(.tooLarge, "a stream has more than \(labelLimit) labels") }
}
