import API
import Manifests

/// One line of a log as it is shown.
struct LogRow: Sendable {
    /// Unique on a page.
    let id: String
    let clock: String
    let full: String
    let level: String
    let tone: Tone
    let html: Markup
    let trace: String?
    let facts: [Detail]

    struct Detail: Sendable {
        let name: String
        let value: String
        /// The same search, with this label's value asked for.
        let narrow: String?
        let href: String?
    }

    /// Characters of a line that are shown.
    static let textLimit = 8000

    /// - Parameter narrow: Makes of a label and its value the address of a search that asks for it.
    init(_ line: LogLine, number: Int, now: Double, narrow: (String, String) -> String?) {
        let moment = Moment(line.at.seconds)
        id = "l\(line.nanoseconds)-\(number)"
        let isToday = now - line.at.seconds < 86_400
        clock =
            (isToday ? "" : "\(moment.day) \(moment.monthName) ")
            + "\(moment.clock):\(Format.two(moment.second)).\(Self.milliseconds(line.nanoseconds))"
        full = moment.full
        let known = Self.level(line)
        (level, tone) = (known.word, known.tone)
        html = Self.text(line.line)
        let traceID = ["trace_id", "traceid", "traceID"].lazy.compactMap { line.metadata[$0] ?? line.labels[$0] }
            .first { !$0.isEmpty }
        trace = traceID.map { Links.path(["explore", "traces", $0]) }
        facts =
            line.labels.map { Detail(name: $0.key, value: $0.value, narrow: narrow($0.key, $0.value), href: nil) }
            + line.metadata.map { pair in
                Detail(
                    name: pair.key, value: pair.value, narrow: nil,
                    href: pair.value == traceID ? Links.path(["explore", "traces", pair.value]) : nil)
            }
    }

    static func level(_ line: LogLine) -> LogLevel {
        LogLevel(
            line.metadata["detected_level"] ?? line.labels["detected_level"] ?? line.labels["level"]
                ?? line.metadata["level"])
    }

    private static func milliseconds(_ nanoseconds: Int64) -> String {
        let part = Int(((nanoseconds % 1_000_000_000) + 1_000_000_000) % 1_000_000_000 / 1_000_000)
        return (part < 10 ? "00" : part < 100 ? "0" : "") + "\(part)"
    }

    /// The line with the colours that programs write, everything else escaped.
    private static func text(_ line: String) -> Markup {
        var style = ANSIStyle()
        let shown = line.prefix(textLimit)
        return Markup(LogLines.coloured(shown, &style) + (shown.endIndex < line.endIndex ? "…" : ""))
    }

    /// A query with one more label asked for in its selector; nil where there is no selector to put it in.
    static func narrowed(_ query: String, _ name: String, _ value: String) -> String? {
        guard let open = query.firstIndex(of: "{"), name.utf8.allSatisfy({ isWord($0) }), !name.isEmpty else {
            return nil
        }
        let after = query.index(after: open)
        let isBare = query[after...].drop { $0.isWhitespace }.first == "}"
        return query[..<after] + "\(name)=\(MetricSeries.quoted(value))" + (isBare ? "" : ", ") + query[after...]
    }

    private static func isWord(_ byte: UInt8) -> Bool {
        (0x61...0x7A).contains(byte | 0x20) || (0x30...0x39).contains(byte) || byte == 0x5F
    }
}

/// Lines that came in after a page was made.
struct LogTailPart: Sendable {
    let next: String
    let missed: String?
    let rows: [LogRow]
}

extension Site {
    func logTail(_ part: LogTailPart) -> String {
        struct Root: Sendable {
            let icons: String
            let tail: LogTailPart
        }
        return templates.render(Root(icons: assets.icons, tail: part), "logtail")
    }
}
