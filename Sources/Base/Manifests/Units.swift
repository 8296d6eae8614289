/// A length of time as people write it: `250ms`, `90s`, `10m`, `1h`, `7d`, `3y`; a bare number is seconds.
public struct TimeSpan: WireValue, Hashable, Codable, Comparable {
    public var seconds: Double

    public init(seconds: Double) { self.seconds = seconds }
    public static func seconds(_ seconds: Double) -> TimeSpan { TimeSpan(seconds: seconds) }
    public static func minutes(_ minutes: Double) -> TimeSpan { TimeSpan(seconds: minutes * 60) }
    public static func hours(_ hours: Double) -> TimeSpan { TimeSpan(seconds: hours * 3600) }
    public static func days(_ days: Double) -> TimeSpan { TimeSpan(seconds: days * 86400) }

    public var duration: Duration { .microseconds(Int64(seconds * 1e6)) }
    public static func < (left: Self, right: Self) -> Bool { left.seconds < right.seconds }

    private static let units: [(name: String, seconds: Double)] = [
        ("y", 31_536_000), ("w", 604_800), ("d", 86_400), ("h", 3600), ("m", 60), ("s", 1), ("ms", 0.001),
    ]

    public static var schema: Schema {
        var text = Schema(type: "string")
        text.pattern = "^([0-9]+(\\.[0-9]+)?(ms|s|m|h|d|w|y))+$"
        text.title = "duration"
        return text
    }

    public init(json: JSONValue, at path: [String]) throws(ManifestError) {
        if let number = json.double, number >= 0 {
            self.init(seconds: number)
            return
        }
        guard let text = json.string, let span = TimeSpan(text) else {
            throw ManifestError(
                at: path, message: "\"\(path.last ?? "value")\" is not a duration: \(json.text)",
                hint: "Write it like 90s, 10m, 1h30m or 7d.")
        }
        self = span
    }

    /// Reads `1h30m`; nil when the text is not a duration.
    public init?(_ text: String) {
        var total = 0.0
        var rest = text[...]
        guard !rest.isEmpty else { return nil }
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
            rest = rest.dropFirst(digits.count)
            let letters = rest.prefix { $0.isLetter }
            rest = rest.dropFirst(letters.count)
            guard let number = Double(digits), let unit = Self.units.first(where: { $0.name == letters }) else {
                return nil
            }
            total += number * unit.seconds
        }
        self.init(seconds: total)
    }

    public var json: JSONValue { .string(description) }
}

extension TimeSpan: CustomStringConvertible {
    /// The shortest exact spelling: `1h30m`, `45s`, `250ms`.
    public var description: String {
        var milliseconds = Int64((seconds * 1000).rounded())
        guard milliseconds > 0 else { return "0s" }
        var text = ""
        for (name, size) in [("d", Int64(86_400_000)), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
            let count = milliseconds / size
            if count > 0 { text += "\(count)\(name)" }
            milliseconds %= size
        }
        return text
    }

    public init(from decoder: any Decoder) throws { try self.init(json: JSONValue(from: decoder), at: []) }
    public func encode(to encoder: any Encoder) throws { try json.encode(to: encoder) }
}

/// A number of bytes as people write it: `512Mi`, `4Gi`, `10MB`; a bare number is bytes.
public struct ByteSize: WireValue, Hashable, CustomStringConvertible {
    public var bytes: Int64
    public init(bytes: Int64) { self.bytes = bytes }

    private static let units: [(name: String, bytes: Int64)] = [
        ("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10), ("TB", 1_000_000_000_000),
        ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000), ("B", 1),
    ]

    public static var schema: Schema {
        var text = Schema(type: "string")
        text.pattern = "^[0-9]+(\\.[0-9]+)?(Ki|Mi|Gi|Ti|kB|MB|GB|TB|B)?$"
        text.title = "size"
        return text
    }

    public init(json: JSONValue, at path: [String]) throws(ManifestError) {
        if let number = json.int, number >= 0 {
            self.init(bytes: Int64(number))
            return
        }
        let text = json.string ?? ""
        let digits = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        let unit = text.dropFirst(digits.count)
        guard let number = Double(digits), let found = Self.units.first(where: { $0.name == unit }),
            number * Double(found.bytes) < 1e18
        else {
            throw ManifestError(
                at: path, message: "\"\(path.last ?? "value")\" is not a size: \(json.text)",
                hint: "Write it like 512Mi, 4Gi or 10MB.")
        }
        self.init(bytes: Int64(number * Double(found.bytes)))
    }

    public var description: String {
        for (name, size) in Self.units.prefix(4) where bytes >= size && bytes % size == 0 {
            return "\(bytes / size)\(name)"
        }
        return "\(bytes)B"
    }
    public var json: JSONValue { .string(description) }
}

/// A share written as `20%` or `0.2`.
public struct Share: WireValue, Hashable, CustomStringConvertible {
    public var fraction: Double
    public init(_ fraction: Double) { self.fraction = fraction }

    public static var schema: Schema {
        var text = Schema(type: "string")
        text.pattern = "^[0-9]+(\\.[0-9]+)?%$"
        var number = Schema(type: "number")
        number.range = 0...1000
        var schema = Schema(type: "any")
        schema.alternatives = [text, number]
        return schema
    }

    public init(json: JSONValue, at path: [String]) throws(ManifestError) {
        if let number = json.double {
            self.init(number)
        } else if let text = json.string, text.hasSuffix("%"), let number = Double(text.dropLast()) {
            self.init(number / 100)
        } else {
            throw ManifestError(
                at: path, message: "\"\(path.last ?? "value")\" is not a share: \(json.text)",
                hint: "Write it like 20% or 0.2.")
        }
    }

    public var description: String { "\(plain((fraction * 1e6).rounded() / 1e4))%" }
    public var json: JSONValue { .string(description) }
}
