/// The OpenTelemetry protocol (opentelemetry-proto 1.x): what its three exports carry, as plain values.
///
/// Requests come as protobuf or as JSON; the answer has the request's encoding. JSON is turned into protobuf by a table
/// of field names (``OTLPSchema``) and then read by the same code, so that both mean the same.
package enum OTLP {
    package enum Encoding: Sendable, CaseIterable {
        case protobuf, json

        /// By `Content-Type`; nil when it is neither.
        package init?(contentType: String) {
            let type = contentType.lowercased().prefix { $0 != ";" }.filter { $0 != " " }
            switch type {
            case "application/x-protobuf": self = .protobuf
            case "application/json": self = .json
            default: return nil
            }
        }

        package var contentType: String { self == .protobuf ? "application/x-protobuf" : "application/json" }
    }

    package enum Signal: Sendable, CaseIterable { case traces, metrics, logs }

    /// Most bytes that a request may have when decompressed.
    package static let sizeLimit = 20 << 20

    // MARK: - What all signals share

    package struct Attribute: Hashable, Sendable {
        package var key: String
        package var value: Value

        package init(_ key: String, _ value: Value) {
            self.key = key
            self.value = value
        }
    }

    package enum Value: Hashable, Sendable {
        case empty
        case string(String)
        case bool(Bool)
        case int(Int64)
        case double(Double)
        case array([Value])
        case map([Attribute])
        case bytes([UInt8])
    }

    package struct Resource: Hashable, Sendable {
        package var attributes: [Attribute] = []

        package init() {}

        package subscript(key: String) -> Value? { attributes.first { $0.key == key }?.value }
    }

    package struct Scope: Hashable, Sendable {
        package var name = ""
        package var version = ""
        package var attributes: [Attribute] = []

        package init() {}
    }

    /// Sixteen bytes; zero is none.
    package struct TraceID: Hashable, Sendable {
        package var high: UInt64
        package var low: UInt64
        package static let none = TraceID(high: 0, low: 0)

        package init(high: UInt64, low: UInt64) {
            self.high = high
            self.low = low
        }

        /// From 32 hexadecimal digits of either case, or fewer with zeros understood in front of them, as Jaeger
        /// writes.
        package init?(hex: String) {
            guard !hex.isEmpty, hex.utf8.count <= 32 else { return nil }
            var (high, low): (UInt64, UInt64) = (0, 0)
            for byte in hex.utf8 {
                guard let digit = hexDigit(byte) else { return nil }
                high = high << 4 | low >> 60
                low = low << 4 | UInt64(digit)
            }
            self.init(high: high, low: low)
        }

        package var isEmpty: Bool { high == 0 && low == 0 }
        package var hex: String { hexText(high) + hexText(low) }
    }

    /// Eight bytes; zero is none.
    package struct SpanID: Hashable, Sendable {
        package var value: UInt64
        package static let none = SpanID(value: 0)

        package init(value: UInt64) { self.value = value }

        package init?(hex: String) {
            guard hex.utf8.count <= 16, let value = UInt64(hex, radix: 16), hex.first != "+" else { return nil }
            self.value = value
        }

        package var isEmpty: Bool { value == 0 }
        package var hex: String { hexText(value) }
    }

    private static func hexText(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.utf8.count) + digits
    }

    /// What one resource sent, scope by scope.
    package struct Batch<Item: Sendable & Hashable>: Hashable, Sendable {
        package struct Part: Hashable, Sendable {
            package var scope = Scope()
            package var schemaURL = ""
            package var items: [Item] = []

            package init() {}
        }

        package var resource = Resource()
        package var schemaURL = ""
        package var parts: [Part] = []

        package init() {}
    }
}

extension OTLP.Value {
    /// As a label or a line shows it: a text bare, lists and maps as JSON, bytes as base64 (the collector's
    /// `AsString`).
    package var text: String {
        switch self {
        case .empty: return ""
        case .string(let value): return value
        case .bool(let value): return value ? "true" : "false"
        case .int(let value): return String(value)
        case .double(let value): return Self.text(value)
        case .bytes(let value): return Base64.encode(value)
        case .array, .map:
            var out: [UInt8] = []
            appendJSON(to: &out)
            return String(decoding: out, as: UTF8.self)
        }
    }

    /// Plain digits, with an exponent only where there would be too many.
    private static func text(_ value: Double) -> String {
        let size = value.magnitude
        return size == 0 || (size >= 1e-6 && size < 1e21) ? GoFloat.plain(value) : GoFloat.general(value)
    }

    package func appendJSON(to out: inout [UInt8]) {
        switch self {
        case .empty: out.append(contentsOf: "null".utf8)
        case .string(let value): JSONText.append(value, to: &out)
        case .bytes, .double(.infinity), .double(-.infinity): JSONText.append(text, to: &out)
        case .double(let value) where value.isNaN: JSONText.append(text, to: &out)
        case .bool, .int, .double: out.append(contentsOf: text.utf8)
        case .array(let values):
            out.append(UInt8(ascii: "["))
            for (index, value) in values.enumerated() {
                if index > 0 { out.append(UInt8(ascii: ",")) }
                value.appendJSON(to: &out)
            }
            out.append(UInt8(ascii: "]"))
        case .map(let attributes):
            out.append(UInt8(ascii: "{"))
            for (index, attribute) in attributes.sorted(by: { $0.key < $1.key }).enumerated() {
                if index > 0 { out.append(UInt8(ascii: ",")) }
                JSONText.append(attribute.key, to: &out)
                out.append(UInt8(ascii: ":"))
                attribute.value.appendJSON(to: &out)
            }
            out.append(UInt8(ascii: "}"))
        }
    }
}
