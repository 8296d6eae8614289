import API
import Kernel
import Manifests

/// Parameters of a foreign request: those of its query, and of its form when it was posted.
struct Form {
    private let pairs: [(name: String, value: String)]

    init(_ request: ForeignRequest) {
        let isForm = (request.headers["content-type"] ?? "").lowercased().hasPrefix("application/x-www-form-urlencoded")
        let posted = isForm ? FormText.pairs(String(decoding: request.body, as: UTF8.self)) : []
        pairs = request.query + posted
    }

    /// The first value of a parameter; what is posted goes before what stands in the address, as in Go's `FormValue`.
    subscript(name: String) -> String? { pairs.last { $0.name == name && !$0.value.isEmpty }?.value }

    func all(_ name: String) -> [String] { pairs.filter { $0.name == name }.map(\.value) }
}

/// Moments and lengths of time as the protocols write them.
enum TimeText {
    /// Seconds before and after 1970: so far that sums and differences of moments in microseconds still fit 64 bits.
    static let farthest = 4e12

    /// Milliseconds since 1970: seconds with a fraction, or RFC 3339 with any offset.
    static func milliseconds(_ text: String) -> Int64? {
        if let seconds = Double(text), seconds.isFinite {
            return abs(seconds) < farthest ? Int64((seconds * 1000).rounded()) : nil
        }
        return rfc3339(text).map { $0.microseconds / 1000 }
    }

    /// Milliseconds: seconds with a fraction, or a duration such as `1h30m`.
    static func length(_ text: String) -> Int64? {
        if let seconds = Double(text), seconds.isFinite {
            return abs(seconds) < farthest ? Int64((seconds * 1000).rounded()) : nil
        }
        return PromDuration.milliseconds(text).flatMap { Double($0) < farthest * 1000 ? $0 : nil }
    }

    /// Reads `2026-11-26T08:30:00Z` and `2026-11-26T09:30:00+01:00`.
    static func rfc3339(_ text: String) -> Timestamp? {
        if let time = Timestamp(text) { return time }
        let bytes = Array(text.utf8)
        guard bytes.count > 6, let sign = [UInt8(ascii: "+"): 1, UInt8(ascii: "-"): -1][bytes[bytes.count - 6]],
            bytes[bytes.count - 3] == UInt8(ascii: ":"), let hours = Int64(text.suffix(5).prefix(2)),
            let minutes = Int64(text.suffix(2)), let local = Timestamp(text.dropLast(6) + "Z")
        else { return nil }
        return Timestamp(microseconds: local.microseconds - Int64(sign) * (hours * 60 + minutes) * 60_000_000)
    }

    /// A moment as our own operations take it: RFC 3339, seconds, `now`, `now-1h`.
    ///
    /// - Throws: 422 when it is none.
    static func moment(_ text: String?, now: Timestamp, or usual: Timestamp) throws(Problem) -> Timestamp {
        guard let text, !text.isEmpty else { return usual }
        if text == "now" { return now }
        if text.hasPrefix("now-"), let span = length(String(text.dropFirst(4))) {
            return Timestamp(microseconds: now.microseconds - span * 1000)
        }
        if let milliseconds = milliseconds(text) { return Timestamp(microseconds: milliseconds * 1000) }
        throw Problem(
            "time.unknown", status: 422, "\"\(text)\" is no moment",
            hint: "Write it as 2026-11-26T08:30:00Z, as seconds since 1970, or as now-1h.")
    }
}

/// Durations as Prometheus writes them: `1h30m`, `500ms`.
enum PromDuration {
    private static let units: [(name: Substring, milliseconds: Int64)] = [
        ("y", 31_536_000_000), ("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000),
        ("ms", 1),
    ]

    static func milliseconds(_ text: String) -> Int64? {
        var (rest, total) = (text[...], Int64(0))
        if rest == "0" { return 0 }
        guard !rest.isEmpty else { return nil }
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isASCII && $0.isNumber }
            rest = rest.dropFirst(digits.count)
            let letters = rest.prefix { $0.isASCII && $0.isLetter }
            rest = rest.dropFirst(letters.count)
            guard let number = Int64(digits), let unit = units.first(where: { $0.name == letters }) else { return nil }
            let (part, overflow) = number.multipliedReportingOverflow(by: unit.milliseconds)
            let (sum, overflow2) = total.addingReportingOverflow(part)
            if overflow || overflow2 { return nil }
            total = sum
        }
        return total
    }
}

extension TimeSpan {
    /// Whole milliseconds, as far as they can be counted.
    var milliseconds: Int64 { Int64(min(seconds * 1e3, 4e15)) }
    /// Whole nanoseconds, as far as they can be counted: 126 years.
    var nanoseconds: Int64 { Int64(min(seconds * 1e9, 4e18)) }
}

extension Timestamp {
    /// Nanoseconds since 1970, as far as they can be counted: up to 126 years before and after.
    var nanoseconds: Int64 { min(max(microseconds, -4_000_000_000_000_000), 4_000_000_000_000_000) * 1000 }
}
