import API
import Manifests

/// Which time a page looks at, as its address says it: the last hour, or from one moment to another.
struct TimeChoice: Sendable {
    /// "1h"; nothing when both ends are told.
    let range: String?
    let fromText: String
    let toText: String
    /// Seconds since 1970.
    let from: Double
    let to: Double
    /// What is wrong with what was typed.
    let problem: String?

    static let ranges: [(value: String, text: String)] = [
        ("5m", "Last 5 minutes"), ("15m", "Last 15 minutes"), ("30m", "Last 30 minutes"), ("1h", "Last hour"),
        ("3h", "Last 3 hours"), ("6h", "Last 6 hours"), ("12h", "Last 12 hours"), ("1d", "Last day"),
        ("2d", "Last 2 days"), ("7d", "Last 7 days"), ("30d", "Last 30 days"), ("90d", "Last 90 days"),
        ("1y", "Last year"),
    ]
    /// The shortest time that is looked at.
    private static let shortest = 0.001

    init(_ query: [String: String], now: Double, fallback: TimeSpan = .hours(1)) {
        let (first, last) = (Self.clean(query["from"]), Self.clean(query["to"]))
        let wanted = Self.clean(query["range"])
        let span = TimeSpan(wanted).flatMap { $0.seconds >= 1 ? $0 : nil } ?? fallback
        guard !first.isEmpty || !last.isEmpty else {
            (range, fromText, toText) = (span.description, "", "")
            (from, to) = (now - span.seconds, now)
            problem =
                wanted.isEmpty || TimeSpan(wanted) != nil ? nil : "\"\(Format.clipped(wanted, 60))\" is no duration"
            return
        }
        (range, fromText, toText) = (nil, first, last)
        let end = last.isEmpty ? now : Self.moment(last, now: now)
        let start = first.isEmpty ? (end ?? now) - span.seconds : Self.moment(first, now: now)
        guard let start, let end else {
            problem =
                "\"\(Format.clipped(start == nil ? first : last, 60))\" is no moment: write 2026-11-26T09:30:00Z, seconds since 1970, or now-1h"
            (from, to) = (now - span.seconds, now)
            return
        }
        problem = start < end ? nil : "the beginning lies behind the end"
        (from, to) = start < end ? (start, end) : (end - span.seconds, max(end, end - span.seconds + Self.shortest))
    }

    private static func clean(_ text: String?) -> String {
        String((text ?? "").trimmed().prefix(64))
    }

    /// A moment in any of the ways that people write one.
    static func moment(_ text: String, now: Double) -> Double? {
        if text == "now" { return now }
        if text.hasPrefix("now-") { return TimeSpan(String(text.dropFirst(4))).map { now - $0.seconds } }
        if let seconds = Double(text), seconds.isFinite, abs(seconds) < 1e11 { return seconds }
        var written = text.replacing(" ", with: "T")
        // A browser's own field for date and time leaves out the seconds, and we count in UTC.
        if written.utf8.count == 16 { written += ":00" }
        if written.utf8.count == 19 { written += "Z" }
        return Timestamp(written)?.seconds
    }

    var span: Double { to - from }

    /// As operations take a moment.
    var first: String { Self.seconds(from) }
    var last: String { Self.seconds(to) }

    static func seconds(_ value: Double) -> String { "\((value * 1000).rounded() / 1000)" }

    /// What stands in an address for it.
    var pairs: [(String, String)] {
        if let range { return [("range", range)] }
        return [("from", fromText), ("to", toText)].filter { !$0.1.isEmpty }
    }

    var choices: [Choice] {
        var all = Self.ranges.map { Choice(value: $0.value, text: $0.text, isChosen: $0.value == range) }
        if let range, !all.contains(where: \.isChosen) {
            all.insert(Choice(value: range, text: "Last \(range)", isChosen: true), at: 0)
        }
        return all
    }

    /// "26 Nov 2026, 09:30:00 UTC to …".
    var words: String { "\(Moment(from).full) to \(Moment(to).full)" }

    /// The same length a step earlier or later, or twice as long.
    var moves: [Link] {
        let (half, middle) = (span / 2, (from + to) / 2)
        return [
            Link("Earlier", Self.query(from: from - half, to: to - half)),
            Link("Later", Self.query(from: from + half, to: to + half)),
            Link("Zoom out", Self.query(from: middle - span, to: middle + span)),
        ]
    }

    static func query(from: Double, to: Double) -> String {
        "from=\(Links.encoded(Moment(from).rfc3339))&to=\(Links.encoded(Moment(to).rfc3339))"
    }
}

extension String {
    /// Without white space at both ends.
    func trimmed() -> String {
        var rest = self[...]
        while let first = rest.first, first.isWhitespace { rest = rest.dropFirst() }
        while let last = rest.last, last.isWhitespace { rest = rest.dropLast() }
        return String(rest)
    }
}

extension Links {
    /// A path with the pairs of a list.
    static func path(_ segments: [String], pairs: [(String, String)]) -> String {
        path(segments)
            + (pairs.isEmpty ? "" : "?" + pairs.map { "\(encoded($0.0))=\(encoded($0.1))" }.joined(separator: "&"))
    }
}
