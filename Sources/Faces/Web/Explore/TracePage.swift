import API
import Manifests

/// One trace: its spans over time, what they tell, and its log lines.
struct TracePage: PageBody {
    static let template = "trace"
    static let section = Section.explore

    struct SpanRow: Sendable {
        let id: String
        /// "d3": how far it is set in.
        let depth: String
        let name: String
        let service: String
        let swatch: Markup
        let took: String
        let bar: Markup
        let isError: Bool
        let message: String?
        let facts: [Fact]
        let attributes: Listing<Pair>?
        let events: Listing<SpanEvent>?
        let logs: String
    }
    struct Pair: Sendable {
        let name: String
        let value: String
    }
    struct SpanEvent: Sendable {
        let after: String
        let name: String
        let attributes: [Pair]
    }

    let head: PageHead
    let facts: [Fact]
    let services: [LegendItem]
    let note: String
    let spans: [SpanRow]
    let axis: [String]
    let lines: Listing<LogRow>?
    let linesNote: String
    let logsHref: String

    /// Spans that a page shows.
    static let spanLimit = 1000
    /// How far a span is set in at most.
    private static let depthLimit = 12

    init(_ trace: TraceDetail, now: Double) {
        let root = trace.spans.first
        let errors = trace.spans.count { $0.is_error }
        head = PageHead(
            root.map { "\($0.service): \($0.name)" } ?? "Trace", in: [Link("Traces", "/explore/traces")],
            status: errors > 0 ? Badge(.bad, "failed", Format.plural(errors, "error")) : Badge(.ok, "ok", "No error"),
            lead: "Trace \(trace.trace)")
        var names: [String] = []
        for span in trace.spans where !names.contains(span.service) { names.append(span.service) }
        facts = [
            Fact("Began", Moment(trace.at.seconds).full), Fact("Took", Format.duration(trace.seconds)),
            Fact("Spans", Format.count(trace.spans.count)), Fact("Services", Format.count(names.count)),
            Fact("Log lines", Format.count(trace.lines.count)), Fact("Trace id", trace.trace, code: true),
        ]
        services = names.prefix(12).enumerated().map { .area($1, "f\($0 % 8)") }
        note =
            trace.spans.count > Self.spanLimit
            ? "the first \(Format.count(Self.spanLimit)) of \(Format.count(trace.spans.count)) spans"
            : Format.plural(trace.spans.count, "span")
        let query = { (span: String?) in
            "{service_name=~\".+\"} | trace_id=\(MetricSeries.quoted(trace.trace))"
                + (span.map { " | span_id=\(MetricSeries.quoted($0))" } ?? "")
        }
        let logs = { (span: String?) in
            Links.path(["explore", "logs"], ["q": query(span)]) + "&"
                + TimeChoice.query(from: trace.at.seconds - 60, to: trace.at.seconds + trace.seconds + 60)
        }
        logsHref = logs(nil)
        spans = trace.spans.prefix(Self.spanLimit).enumerated().map { index, span in
            Self.row(span, index, trace, colour: (names.firstIndex(of: span.service) ?? 0) % 8, logs: logs(span.span))
        }
        axis = (0...4).map { Format.duration(trace.seconds * Double($0) / 4) }
        lines = Listing(
            trace.lines.prefix(500).enumerated().map { index, line in
                LogRow(line, number: index, now: now) { _, _ in nil }
            })
        linesNote = Format.plural(trace.lines.count, "line") + ", oldest first"
    }

    private static func row(_ span: TraceSpan, _ index: Int, _ trace: TraceDetail, colour: Int, logs: String) -> SpanRow
    {
        var facts = [
            Fact("Began after", Format.duration(span.offset_seconds)), Fact("Took", Format.duration(span.seconds)),
            Fact("Span id", span.span, code: true),
        ]
        if !span.kind.isEmpty { facts.insert(Fact("Kind", span.kind), at: 0) }
        return SpanRow(
            id: "s\(index)", depth: "d\(min(max(0, span.depth), depthLimit))", name: span.name, service: span.service,
            swatch: LegendItem.area(span.service, "f\(colour)").swatch, took: Format.duration(span.seconds),
            bar: bar(span, trace.seconds, colour: colour), isError: span.is_error, message: span.message, facts: facts,
            attributes: Listing(span.attributes.map { Pair(name: $0.key, value: $0.value) }),
            events: Listing(
                span.events.map { event in
                    SpanEvent(
                        after: Format.duration(event.at.seconds - span.at.seconds), name: event.name,
                        attributes: event.attributes.map { Pair(name: $0.key, value: $0.value) })
                }), logs: logs)
    }

    /// Where the span lies in the whole time of its trace.
    private static func bar(_ span: TraceSpan, _ whole: Double, colour: Int) -> Markup {
        let room = whole > 0 ? whole : 1
        let from = min(1000, max(0, span.offset_seconds / room * 1000))
        let width = min(1000 - min(from, 996), max(4, span.seconds / room * 1000))
        var svg = SVG()
        svg.open(
            "svg",
            [
                "class": "spanbar", "viewBox": "0 0 1000 12", "preserveAspectRatio": "none", "role": "img",
                "aria-label":
                    "began after \(Format.duration(span.offset_seconds)), took \(Format.duration(span.seconds))",
            ])
        svg.add(
            "rect",
            [
                "class": "\(span.is_error ? "fbad" : "f\(colour)")", "x": .number(min(from, 996)), "y": 0,
                "width": .number(width), "height": 12,
            ])
        for event in span.events.prefix(50) {
            let at = (event.at.seconds - span.at.seconds + span.offset_seconds) / room * 1000
            svg.add(
                "rect", ["class": "event", "x": .number(min(997, max(0, at))), "y": 0, "width": 3, "height": 12])
        }
        svg.close("svg")
        return Markup(svg.text)
    }
}
