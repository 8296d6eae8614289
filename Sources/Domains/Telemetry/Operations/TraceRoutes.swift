import API
import Kernel
import LogQL
import Manifests
import Segments
import SpanStore

/// Our own operations on traces.
struct TraceRoutes: Sendable {
    let house: TelemetryHouse

    /// Lines of a trace that are told.
    private static let lineLimit = 1_000

    func add(to routes: inout Routes) {
        routes.on(Traces.search) { input, call in
            try call.allowHouse(Traces.search.name)
            return try await LogRoutes.told { try await search(input) }
        }
        routes.on(Traces.get) { input, call in
            try call.allowHouse(Traces.get.name)
            return try await LogRoutes.told { try await get(input.trace) }
        }
        routes.on(Traces.services) { input, call in
            try call.allowHouse(Traces.services.name)
            return try await house.readers.run {
                let names = house.spans.services().filter { input.service == nil || $0 == input.service }
                return ItemList(
                    names.map { name in
                        var service = TraceService()
                        service.name = name
                        service.operations = Set(house.spans.operations(of: name).map(\.name)).sorted()
                        return service
                    })
            }
        }
        routes.on(Traces.graph) { input, call in
            try call.allowHouse(Traces.graph.name)
            let (from, to) = try span(input.from, input.to)
            return try await house.readers.run {
                ItemList(
                    house.spans.dependencies(from: from, to: to).map { edge in
                        var told = ServiceCall()
                        (told.from, told.to) = (edge.parent, edge.child)
                        (told.calls, told.errors) = (edge.calls, edge.errors)
                        return told
                    })
            }
        }
    }

    private func span(_ from: String?, _ to: String?) throws -> (from: Int64, to: Int64) {
        let now = house.time.now
        let end = try TimeText.moment(to, now: now, or: now)
        let start = try TimeText.moment(from, now: now, or: end.advanced(by: .seconds(-3600)))
        return (start.nanoseconds, end.nanoseconds)
    }

    private func search(_ input: TraceQuery) async throws -> ItemList<TraceSummary> {
        let (from, to) = try span(input.from, input.to)
        var search = SpanSearch(from: from, to: to)
        (search.service, search.operation, search.limit) = (input.service, input.operation, input.limit)
        search.least = input.min_duration.map(\.nanoseconds)
        search.most = input.max_duration.map(\.nanoseconds)
        for pair in (input.tags ?? "").split(separator: ",") {
            let parts = pair.split(separator: "=", maxSplits: 1).map { String($0) }
            guard parts.count == 2 else {
                throw Problem(
                    "traces.tags", status: 422, "\"\(pair)\" is no tag", hint: "Write it as KEY=VALUE,KEY=VALUE.")
            }
            search.tags.append((parts[0], parts[1]))
        }
        let wanted = search
        return try await house.readers.run { ItemList(try house.spans.search(wanted).map(Self.summary)) }
    }

    private static func summary(_ trace: Trace) -> TraceSummary {
        var told = TraceSummary()
        let tree = SpanTree(trace)
        told.trace = trace.id.description
        if let first = tree.ordered.first?.span { (told.service, told.operation) = (first.service, first.operation) }
        told.at = Timestamp(microseconds: tree.start / 1000)
        told.seconds = Double(tree.end - tree.start) / 1e9
        told.spans = trace.spans.count
        told.errors = trace.spans.count { $0.status == .error }
        told.services = Set(trace.spans.map(\.service)).sorted()
        return told
    }

    private func get(_ text: String) async throws -> TraceDetail {
        let id = TraceID(text).flatMap { text.utf8.count >= 16 ? $0 : nil } ?? TraceNaming.trace(text)
        return try await house.readers.run {
            guard let trace = try house.spans.trace(id) else {
                throw Problem(
                    "trace.not-found", status: 404, "no trace \"\(text)\"", hint: "Look for it with: vagus traces")
            }
            var told = Self.detail(trace)
            let query = try LogQL.LogQuery("{service_name=~\".+\"} | trace_id=\"\(id)\"")
            let margin: Int64 = 3_600_000_000_000
            let (from, to) = (told.at.nanoseconds - margin, told.at.nanoseconds + margin * 24)
            try LogEngine(house.logs).lines(query, from: from, to: to, .forward) { row in
                told.lines.append(LogRoutes.line(row))
                return told.lines.count < Self.lineLimit
            }
            return told
        }
    }

    private static func detail(_ trace: Trace) -> TraceDetail {
        let tree = SpanTree(trace)
        var told = TraceDetail()
        told.trace = trace.id.description
        told.at = Timestamp(microseconds: tree.start / 1000)
        told.seconds = Double(tree.end - tree.start) / 1e9
        told.spans = tree.ordered.map { span, depth in
            var one = TraceSpan()
            one.span = span.id.description
            one.parent = span.parent.value == 0 ? nil : span.parent.description
            (one.depth, one.service, one.name, one.kind) = (depth, span.service, span.operation, span.kind.name)
            one.at = Timestamp(microseconds: span.start / 1000)
            one.offset_seconds = Double(span.start - tree.start) / 1e9
            one.seconds = Double(span.duration) / 1e9
            one.is_error = span.status == .error
            one.message = span.statusMessage.isEmpty ? nil : span.statusMessage
            for attribute in span.resource + span.attributes {
                one.attributes[attribute.key] = attribute.value.description
            }
            one.events = span.events.map { event in
                var told = TraceEvent()
                (told.at, told.name) = (Timestamp(microseconds: event.time / 1000), event.name)
                for attribute in event.attributes { told.attributes[attribute.key] = attribute.value.description }
                return told
            }
            return one
        }
        return told
    }
}

/// A trace's spans as a tree: parents before children, else by their beginning.
struct SpanTree {
    private(set) var ordered: [(span: Span, depth: Int)] = []
    let start: Int64
    let end: Int64

    init(_ trace: Trace) {
        start = trace.spans.map(\.start).min() ?? 0
        end = trace.spans.map { $0.start &+ $0.duration }.max() ?? 0
        let known = Set(trace.spans.map(\.id))
        var children: [SpanID: [Span]] = [:]
        var roots: [Span] = []
        for span in trace.spans {
            if span.parent.value != 0, span.parent != span.id, known.contains(span.parent) {
                children[span.parent, default: []].append(span)
            } else {
                roots.append(span)
            }
        }
        var seen = Set<SpanID>()
        var stack = roots.reversed().map { ($0, 0) }
        while let (span, depth) = stack.popLast() {
            ordered.append((span, depth))
            guard seen.insert(span.id).inserted else { continue }
            for child in (children[span.id] ?? []).reversed() { stack.append((child, depth + 1)) }
        }
        // Spans that are each other's parents hang on nothing.
        let shown = Set(ordered.map(\.span.id))
        for span in trace.spans where !shown.contains(span.id) { ordered.append((span, 0)) }
    }
}
