public import Manifests

/// Wall-clock time in microseconds since 1970, UTC: the only time type in vagus's tables and on its wires.
public struct Timestamp: Sendable, Hashable, Comparable, WireValue, Codable {
    public var microseconds: Int64

    public init(microseconds: Int64) { self.microseconds = microseconds }
    public static let zero = Timestamp(microseconds: 0)

    public static func < (left: Self, right: Self) -> Bool { left.microseconds < right.microseconds }

    public func advanced(by duration: Duration) -> Self {
        let (seconds, attoseconds) = duration.components
        return Self(microseconds: microseconds + seconds * 1_000_000 + attoseconds / 1_000_000_000_000)
    }

    /// The time from `other` to this moment; negative when this is earlier.
    public func since(_ other: Self) -> Duration { .microseconds(microseconds - other.microseconds) }

    public static var schema: Schema {
        var schema = Schema(type: "string")
        schema.title = "time"
        schema.pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]+)?Z$"
        return schema
    }

    public init(json: JSONValue, at path: [String]) throws(ManifestError) {
        guard let text = json.string, let time = Timestamp(text) else {
            throw ManifestError(
                at: path, message: "\"\(path.last ?? "value")\" is not a time: \(json.text)",
                hint: "Write it in UTC like 2026-11-26T08:30:00Z.")
        }
        self = time
    }

    public var json: JSONValue { .string(description) }
    public init(from decoder: any Decoder) throws { try self.init(json: JSONValue(from: decoder), at: []) }
    public func encode(to encoder: any Encoder) throws { try json.encode(to: encoder) }
}

extension Timestamp: CustomStringConvertible {
    /// RFC 3339 in UTC, with milliseconds: `2026-11-26T08:30:00.125Z`.
    public var description: String {
        let micros = microseconds.quotientAndRemainder(dividingBy: 86_400_000_000)
        var days = micros.quotient
        var rest = micros.remainder
        if rest < 0 { (days, rest) = (days - 1, rest + 86_400_000_000) }
        let (year, month, day) = Self.civil(days)
        let milliseconds = rest / 1000
        let (seconds, fraction) = (milliseconds / 1000, milliseconds % 1000)
        return "\(pad(year, 4))-\(pad(month, 2))-\(pad(day, 2))T\(pad(seconds / 3600, 2)):"
            + "\(pad(seconds / 60 % 60, 2)):\(pad(seconds % 60, 2)).\(pad(fraction, 3))Z"
    }

    /// Reads RFC 3339 in UTC (`Z`), a date alone (`2018-01-01`) as its midnight; nil otherwise.
    public init?(_ text: String) {
        let bytes = Array(text.utf8)
        func number(_ from: Int, _ count: Int) -> Int64? {
            guard from + count <= bytes.count else { return nil }
            return Int64(String(decoding: bytes[from..<from + count], as: UTF8.self))
        }
        guard bytes.count >= 10, let year = number(0, 4), let month = number(5, 2), let day = number(8, 2),
            bytes[4] == 0x2D, bytes[7] == 0x2D, (1...12).contains(month), (1...31).contains(day)
        else { return nil }
        var micros = Self.days(year, month, day) * 86_400_000_000
        if bytes.count > 10 {
            guard bytes.count >= 20, bytes[10] | 0x20 == 0x74 || bytes[10] == 0x20, bytes[13] == 0x3A,
                bytes[16] == 0x3A,
                bytes.last.map({ $0 | 0x20 }) == 0x7A, let hour = number(11, 2), let minute = number(14, 2),
                let second = number(17, 2), hour < 24, minute < 60, second < 61
            else { return nil }
            micros += (hour * 3600 + minute * 60 + second) * 1_000_000
            if bytes.count > 20 {
                let digits = bytes[20..<(bytes.count - 1)].prefix(6)
                guard bytes[19] == 0x2E, let fraction = Int64(String(decoding: digits, as: UTF8.self)) else {
                    return nil
                }
                micros += (0..<(6 - digits.count)).reduce(fraction) { value, _ in value * 10 }
            }
        }
        self.init(microseconds: micros)
    }

    /// Days since 1970-01-01 of a date in the Gregorian calendar (Hinnant, "chrono-compatible low-level date algorithms").
    public static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let y = month <= 2 ? year - 1 : year
        let era = (y >= 0 ? y : y - 399) / 400
        let yearOfEra = y - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    /// Year, month and day of a number of days since 1970-01-01; the inverse of ``days(_:_:_:)``.
    public static func civil(_ days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let z = days + 719_468
        let era = (z >= 0 ? z : z - 146_096) / 146_097
        let dayOfEra = z - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let m = (5 * dayOfYear + 2) / 153
        let month = m < 10 ? m + 3 : m - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * m + 2) / 5 + 1)
    }

    private func pad(_ number: Int64, _ width: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, width - text.count)) + text
    }
}
