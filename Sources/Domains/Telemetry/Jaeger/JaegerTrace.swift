import SpanStore

/// A trace in the JSON of Jaeger's UI.
struct JaegerTrace {
    private let trace: Trace
    private var processes: [(id: String, service: String, tags: [SpanAttribute])] = []
    private var process: [Int] = []

    init(_ trace: Trace) {
        self.trace = trace
        for span in trace.spans {
            if let place = processes.firstIndex(where: { $0.service == span.service && $0.tags == span.resource }) {
                process.append(place)
            } else {
                process.append(processes.count)
                processes.append(("p\(processes.count + 1)", span.service, span.resource))
            }
        }
    }

    func write(_ out: inout JSONOut) {
        out.raw("{\"traceID\":\"\(trace.id)\",\"spans\":[")
        for (index, span) in trace.spans.enumerated() {
            out.comma(index)
            write(span, processes[process[index]].id, &out)
        }
        out.raw("],\"processes\":{")
        for (index, process) in processes.enumerated() {
            out.comma(index)
            out.raw("\"\(process.id)\":{\"serviceName\":")
            out.text(process.service)
            out.raw(",\"tags\":")
            Self.tags(process.tags, &out)
            out.raw("}")
        }
        out.raw("},\"warnings\":null}")
    }

    private func write(_ span: Span, _ process: String, _ out: inout JSONOut) {
        out.raw("{\"traceID\":\"\(trace.id)\",\"spanID\":\"\(span.id)\",\"operationName\":")
        out.text(span.operation)
        out.raw(",\"references\":[")
        var count = 0
        if span.parent.value != 0 {
            out.raw("{\"refType\":\"CHILD_OF\",\"traceID\":\"\(trace.id)\",\"spanID\":\"\(span.parent)\"}")
            count = 1
        }
        for link in span.links {
            out.comma(count)
            count += 1
            out.raw("{\"refType\":\"FOLLOWS_FROM\",\"traceID\":\"\(link.traceID)\",\"spanID\":\"\(link.spanID)\"}")
        }
        out.raw("],\"startTime\":\(span.start / 1000),\"duration\":\(span.duration / 1000),\"tags\":")
        Self.tags(span.attributes + Self.facts(span), &out)
        out.raw(",\"logs\":[")
        for (index, event) in span.events.enumerated() {
            out.comma(index)
            out.raw("{\"timestamp\":\(event.time / 1000),\"fields\":")
            Self.tags([SpanAttribute("event", .text(event.name))] + event.attributes, &out)
            out.raw("}")
        }
        out.raw("],\"processID\":\"\(process)\",\"warnings\":null}")
    }

    /// What OpenTelemetry has in fields of its own and Jaeger among the tags.
    private static func facts(_ span: Span) -> [SpanAttribute] {
        var facts: [SpanAttribute] = []
        if span.kind != .unspecified { facts.append(SpanAttribute("span.kind", .text(span.kind.name))) }
        switch span.status {
        case .unset: break
        case .ok: facts.append(SpanAttribute("otel.status_code", .text("OK")))
        case .error:
            facts += [SpanAttribute("otel.status_code", .text("ERROR")), SpanAttribute("error", .flag(true))]
        }
        if !span.statusMessage.isEmpty {
            facts.append(SpanAttribute("otel.status_description", .text(span.statusMessage)))
        }
        if !span.scope.isEmpty { facts.append(SpanAttribute("otel.scope.name", .text(span.scope))) }
        return facts
    }

    private static func tags(_ attributes: [SpanAttribute], _ out: inout JSONOut) {
        out.raw("[")
        for (index, attribute) in attributes.enumerated() {
            out.comma(index)
            out.raw("{\"key\":")
            out.text(attribute.key)
            switch attribute.value {
            case .text(let text), .json(let text):
                out.raw(",\"type\":\"string\",\"value\":")
                out.text(text)
            case .whole(let number): out.raw(",\"type\":\"int64\",\"value\":\(number)")
            case .real(let number):
                out.raw(",\"type\":\"float64\",\"value\":")
                if number.isFinite { out.raw("\(number)") } else { out.text("\(number)") }
            case .flag(let flag): out.raw(",\"type\":\"bool\",\"value\":\(flag)")
            }
            out.raw("}")
        }
        out.raw("]")
    }
}
