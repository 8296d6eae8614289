internal import Segments
internal import Synchronization

/// Which traces are wanted: those with a span that meets all of it.
package struct SpanSearch: Sendable {
    package var service: String?
    package var operation: String?
    package var kind: Span.Kind?
    /// Attributes of the span, its resource or its events, as text. Also `error` (`true`, `false`), `span.kind` and
    /// `otel.status_code` (`OK`, `ERROR`, `UNSET`) of the span itself.
    package var tags: [(key: String, value: String)] = []
    /// Nanoseconds, included.
    package var least: Int64?
    package var most: Int64?
    /// When the span began, nanoseconds; the first is included, the second too.
    package var from: Int64
    package var to: Int64
    package var limit = 20

    package init(from: Int64, to: Int64) {
        self.from = from
        self.to = to
    }

    func meetsTags(_ span: Span) -> Bool {
        tags.allSatisfy { tag in
            switch tag.key {
            case "error" where (span.status == .error) == (tag.value == "true"): return true
            case "span.kind" where span.kind.name == tag.value: return true
            case "otel.status_code":
                let word = span.status == .error ? "ERROR" : span.status == .ok ? "OK" : "UNSET"
                if word == tag.value.uppercased() { return true }
            default: break
            }
            let places = [span.attributes, span.resource] + span.events.map(\.attributes)
            return places.contains { $0.contains { $0.key == tag.key && $0.value.description == tag.value } }
        }
    }

    /// Texts that a block's filter must know. Tags that a span meets without an attribute have none.
    var grams: [[UInt32]] {
        tags.filter { !["error", "span.kind", "otel.status_code"].contains($0.key) }
            .map { GramFilter.grams(of: Array("\($0.key)=\($0.value)".utf8)) }
    }
}

extension SpanStore {
    /// A segment or what is in memory, as it was when a search began.
    enum Part: Sendable {
        case memory(SpanHead)
        case disk(SpanSegment)

        var from: Int64 {
            switch self {
            case .memory(let head): head.from
            case .disk(let segment): segment.from
            }
        }

        var to: Int64 {
            switch self {
            case .memory(let head): head.to
            case .disk(let segment): segment.to
            }
        }

        func spans(of trace: TraceID) throws -> [Span] {
            switch self {
            case .memory(let head): try head.spans(of: trace)
            case .disk(let segment): try segment.spans(of: trace)
            }
        }
    }

    private var parts: [Part] {
        state.withLock { state in
            (state.frozen + [state.head]).filter { $0.count > 0 }.map(Part.memory) + state.segments.map(Part.disk)
        }
    }

    /// All spans of a trace; nil when there are none.
    ///
    /// - Throws: `StorageError`.
    package func trace(_ id: TraceID) throws -> Trace? { try trace(id, in: parts) }

    private func trace(_ id: TraceID, in parts: [Part]) throws -> Trace? {
        var (spans, seen): ([Span], Set<Span>) = ([], [])
        for part in parts {
            // A batch that was sent twice counts once.
            for span in try part.spans(of: id) where seen.insert(span).inserted { spans.append(span) }
        }
        if spans.isEmpty { return nil }
        let sorted = spans.sorted { ($0.start, $0.id.value) < ($1.start, $1.id.value) }
        return Trace(id: id, spans: Array(sorted.prefix(limits.spansPerTrace)))
    }

    /// Traces that have a span which meets the search, newest first by that span, with all their spans.
    ///
    /// - Throws: `StorageError`.
    package func search(_ search: SpanSearch) throws -> [Trace] {
        let parts = parts
        let limit = min(max(search.limit, 0), limits.traces)
        guard limit > 0 else { return [] }
        var found: [TraceID: Int64] = [:]
        for part in parts.sorted(by: { $0.to > $1.to }) where part.to >= search.from && part.from <= search.to {
            if found.count >= limit {
                // Nothing in an older part can come before what is there.
                let last = found.values.sorted(by: >)[limit - 1]
                if last > part.to { break }
            }
            let columns: SpanColumns
            switch part {
            case .memory(let head): columns = head.columns
            case .disk(let segment): columns = try segment.columns()
            }
            var matcher = SpanMatcher(part: part, columns: columns, search: search)
            for (trace, start) in try matcher.newest(limit) { found[trace] = max(found[trace] ?? .min, start) }
        }
        let newest = found.sorted { ($0.value, $1.key) > ($1.value, $0.key) }.prefix(limit)
        return try newest.compactMap { try trace($0.key, in: parts) }
    }

    /// Names of all services, sorted.
    package func services() -> [String] { Set(catalogue().map(\.service)).sorted() }

    /// Operations of a service, sorted; of one kind only if that is given.
    package func operations(of service: String, kind: Span.Kind? = nil) -> [SpanOperation] {
        catalogue().filter { $0.service == service && (kind == nil || $0.kind == kind) }.sorted()
    }

    private func catalogue() -> Set<SpanOperation> {
        parts.reduce(into: []) { all, part in
            switch part {
            case .memory(let head): all.formUnion(head.columns.catalogue)
            case .disk(let segment): all.formUnion(segment.catalogue)
            }
        }
    }

    /// Who called whom between two times, by whole hours. A call counts when its two spans came to the same segment, which all but
    /// a few at each segment's edge do.
    package func dependencies(from: Int64, to: Int64) -> [ServiceDependency] {
        let hours = (from / ServiceCall.hourLength)...max(from / ServiceCall.hourLength, to / ServiceCall.hourLength)
        var edges: [[String]: ServiceDependency] = [:]
        for part in parts {
            let calls: [ServiceCall: CallCount]
            switch part {
            case .memory(let head): calls = head.calls()
            case .disk(let segment): calls = segment.calls
            }
            for (call, count) in calls where hours.contains(call.hour) {
                let key = [call.parent, call.child]
                var edge = edges[key] ?? ServiceDependency(parent: call.parent, child: call.child, calls: 0, errors: 0)
                edge.calls += count.calls
                edge.errors += count.errors
                edges[key] = edge
            }
        }
        return edges.values.sorted { ($0.parent, $0.child) < ($1.parent, $1.child) }
    }
}

/// Finds the newest traces of one part that have a span which meets a search.
private struct SpanMatcher {
    private let part: SpanStore.Part
    private let columns: SpanColumns
    private let search: SpanSearch
    /// Blocks that were read, and for each span in them whether its tags fit; nil for a block without any.
    private var blocks: [Int: [Bool]?] = [:]

    init(part: SpanStore.Part, columns: SpanColumns, search: SpanSearch) {
        self.part = part
        self.columns = columns
        self.search = search
    }

    mutating func newest(_ limit: Int) throws -> [TraceID: Int64] {
        var found: [TraceID: Int64] = [:]
        for index in candidates().sorted(by: { columns.starts[$0] > columns.starts[$1] }) {
            if found.count >= limit { break }
            guard found[columns.traces[index]] == nil, try meetsTags(index) else { continue }
            found[columns.traces[index]] = columns.starts[index]
        }
        return found
    }

    /// Spans that meet all but the tags.
    private func candidates() -> [Int] {
        let service = search.service.map { columns.names.place(of: $0) }
        let operation = search.operation.map { columns.names.place(of: $0) }
        // A name that no span has.
        if service == .some(nil) || operation == .some(nil) { return [] }
        let (least, most) = (search.least ?? .min, search.most ?? .max)
        return (0..<columns.count).filter { index in
            if let service, columns.services[index] != service { return false }
            if let operation, columns.operations[index] != operation { return false }
            if let kind = search.kind, columns.kinds[index] & 15 != kind.rawValue { return false }
            guard columns.starts[index] >= search.from, columns.starts[index] <= search.to else { return false }
            return columns.durations[index] >= least && columns.durations[index] <= most
        }
    }

    private mutating func meetsTags(_ index: Int) throws -> Bool {
        if search.tags.isEmpty { return true }
        switch part {
        case .memory(let head): return try head.withSpan(index) { search.meetsTags(try Span($0)) }
        case .disk(let segment):
            guard let place = segment.blocks.lastIndex(where: { $0.start <= index }) else { return false }
            let block = segment.blocks[place]
            if blocks[place] == nil {
                var fits: [Bool]?
                if try segment.mayHold(search.grams, block) {
                    fits = Array(repeating: false, count: block.spans)
                    try segment.show(block) { place, bytes in fits?[place] = search.meetsTags(try Span(bytes)) }
                }
                blocks[place] = .some(fits)
            }
            guard let fits = blocks[place] ?? nil, fits.indices.contains(index - block.start) else { return false }
            return fits[index - block.start]
        }
    }
}
