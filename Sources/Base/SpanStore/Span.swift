/// The id of a trace: 128 bits, written as 32 hexadecimal digits.
package struct TraceID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let high: UInt64
    package let low: UInt64

    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// 1 to 32 digits of either case; fewer than 32 have zeros before them.
    package init?(_ text: String) {
        let digits = Array(text.utf8)
        guard (1...32).contains(digits.count) else { return nil }
        var (high, low): (UInt64, UInt64) = (0, 0)
        for digit in digits {
            guard let value = Character(Unicode.Scalar(digit)).hexDigitValue else { return nil }
            high = high << 4 | low >> 60
            low = low << 4 | UInt64(value)
        }
        self.init(high: high, low: low)
    }

    package var description: String { hexadecimal(high) + hexadecimal(low) }

    package static func < (left: TraceID, right: TraceID) -> Bool { (left.high, left.low) < (right.high, right.low) }
}

/// The id of a span within its trace, written as 16 hexadecimal digits; zero is none.
package struct SpanID: Hashable, Sendable, CustomStringConvertible {
    package let value: UInt64

    package init(_ value: UInt64) { self.value = value }

    package var description: String { hexadecimal(value) }
}

private func hexadecimal(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
}

/// A fact about a span, its resource, an event or a link.
package struct SpanAttribute: Hashable, Sendable {
    package enum Value: Hashable, Sendable, CustomStringConvertible {
        case text(String)
        case whole(Int64)
        case real(Double)
        case flag(Bool)
        /// A list, a map or bytes, as JSON.
        case json(String)

        /// As a search writes it.
        package var description: String {
            switch self {
            case .text(let text), .json(let text): text
            case .whole(let number): String(number)
            case .real(let number): String(number)
            case .flag(let flag): String(flag)
            }
        }
    }

    package let key: String
    package let value: Value

    package init(_ key: String, _ value: Value) {
        self.key = key
        self.value = value
    }
}

/// A piece of work within a trace, as OpenTelemetry describes it.
package struct Span: Hashable, Sendable {
    package enum Kind: UInt8, Sendable, CaseIterable {
        case unspecified, `internal`, server, client, producer, consumer

        package var name: String {
            switch self {
            case .unspecified: "unspecified"
            case .internal: "internal"
            case .server: "server"
            case .client: "client"
            case .producer: "producer"
            case .consumer: "consumer"
            }
        }
    }

    package enum Status: UInt8, Sendable { case unset, ok, error }

    package struct Event: Hashable, Sendable {
        /// Nanoseconds since 1970.
        package let time: Int64
        package let name: String
        package let attributes: [SpanAttribute]

        package init(time: Int64, name: String, attributes: [SpanAttribute] = []) {
            self.time = time
            self.name = name
            self.attributes = attributes
        }
    }

    package struct Link: Hashable, Sendable {
        package let traceID: TraceID
        package let spanID: SpanID
        package let attributes: [SpanAttribute]

        package init(traceID: TraceID, spanID: SpanID, attributes: [SpanAttribute] = []) {
            self.traceID = traceID
            self.spanID = spanID
            self.attributes = attributes
        }
    }

    package var traceID: TraceID
    package var id: SpanID
    /// Zero for the root of a trace.
    package var parent = SpanID(0)
    package var service: String
    package var operation: String
    package var kind = Kind.unspecified
    /// Nanoseconds since 1970.
    package var start: Int64
    /// Nanoseconds, not negative.
    package var duration: Int64
    package var status = Status.unset
    package var statusMessage = ""
    /// Name of the library that made it.
    package var scope = ""
    package var attributes: [SpanAttribute] = []
    package var events: [Event] = []
    package var links: [Link] = []
    package var resource: [SpanAttribute] = []

    package init(traceID: TraceID, id: SpanID, service: String, operation: String, start: Int64, duration: Int64) {
        self.traceID = traceID
        self.id = id
        self.service = service
        self.operation = operation
        self.start = start
        self.duration = duration
    }
}

/// All spans of a trace that the store has, by their start.
package struct Trace: Hashable, Sendable {
    package let id: TraceID
    package let spans: [Span]
}
