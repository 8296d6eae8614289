package import API
package import Manifests

/// Where an input field goes: named in the path → path; GET and DELETE → query; else → JSON body.
package enum Wire {
    package struct Request: Sendable {
        package var method: String
        package var target: String
        package var body: JSONValue?
    }

    package static func request<Input: Manifest, Output: Manifest>(
        _ operation: Operation<Input, Output>, _ input: JSONValue
    ) -> Request {
        var rest = input.object ?? [:]
        // Defaults are left out of JSON, but a path must be whole.
        let defaults = Input()
        var segments: [String] = []
        for segment in operation.path.split(separator: "/") {
            guard segment.hasPrefix("{") else {
                segments.append(String(segment))
                continue
            }
            let name = String(segment.dropFirst().dropLast())
            let value = rest[name] ?? fullJSON(defaults)[name] ?? ""
            segments.append(encode(text(value)))
            rest[name] = nil
        }
        let path = "/" + segments.joined(separator: "/")
        switch operation.method {
        case .get, .delete:
            let query = rest.map { "\(encode($0.key))=\(encode(text($0.value)))" }.joined(separator: "&")
            return Request(
                method: operation.method.rawValue, target: query.isEmpty ? path : "\(path)?\(query)", body: nil)
        case .post, .put:
            return Request(method: operation.method.rawValue, target: path, body: .object(rest))
        }
    }

    /// The value with its defaults, by way of its schema.
    private static func fullJSON<M: Manifest>(_ value: M) -> JSONValue {
        var members = value.json.object ?? [:]
        for (name, schema) in M.schema.properties where members[name] == nil { members[name] = schema.defaultValue }
        return .object(members)
    }

    private static func text(_ value: JSONValue) -> String { value.string ?? value.text }

    /// Percent-encodes all but unreserved characters (RFC 3986 §2.3).
    package static func encode(_ text: String) -> String {
        var out = ""
        for byte in text.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E:
                out.unicodeScalars.append(Unicode.Scalar(byte))
            default: out += "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
            }
        }
        return out
    }

    /// Undoes ``encode(_:)``; nil for a broken escape or text that is not UTF-8.
    package static func decode(_ text: some StringProtocol, plusIsSpace: Bool = false) -> String? {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%") {
                guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
                else {
                    return nil
                }
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(plusIsSpace && byte == UInt8(ascii: "+") ? 0x20 : byte)
            }
        }
        return String(validating: bytes, as: UTF8.self)
    }
}
