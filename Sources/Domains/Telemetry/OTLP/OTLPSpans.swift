import SpanStore
import Wire

/// OpenTelemetry's spans as the store keeps them.
enum OTLPSpans {
    static func spans(_ batches: [OTLP.Batch<OTLP.Span>]) -> [Span] {
        var spans: [Span] = []
        for batch in batches {
            let service = batch.resource["service.name"]?.text ?? ""
            let resource = batch.resource.attributes.filter { $0.key != "service.name" }.map(attribute)
            for part in batch.parts {
                for item in part.items {
                    spans.append(span(item, service.isEmpty ? "unknown_service" : service, resource, part.scope.name))
                }
            }
        }
        return spans
    }

    private static func span(
        _ item: OTLP.Span, _ service: String, _ resource: [SpanAttribute], _ scope: String
    ) -> Span {
        let start = Int64(clamping: item.start)
        var span = Span(
            traceID: TraceID(high: item.traceID.high, low: item.traceID.low), id: SpanID(item.spanID.value),
            service: service, operation: item.name, start: start, duration: Int64(clamping: item.end) - start)
        span.parent = SpanID(item.parentID.value)
        span.kind = Span.Kind(rawValue: item.kind.rawValue) ?? .unspecified
        span.status = Span.Status(rawValue: item.status.rawValue) ?? .unset
        (span.statusMessage, span.scope, span.resource) = (item.statusMessage, scope, resource)
        span.attributes = item.attributes.map(attribute)
        span.events = item.events.map {
            Span.Event(time: Int64(clamping: $0.time), name: $0.name, attributes: $0.attributes.map(attribute))
        }
        span.links = item.links.map {
            Span.Link(
                traceID: TraceID(high: $0.traceID.high, low: $0.traceID.low), spanID: SpanID($0.spanID.value),
                attributes: $0.attributes.map(attribute))
        }
        return span
    }

    private static func attribute(_ attribute: OTLP.Attribute) -> SpanAttribute {
        let value: SpanAttribute.Value =
            switch attribute.value {
            case .empty: .text("")
            case .string(let text): .text(text)
            case .bool(let flag): .flag(flag)
            case .int(let number): .whole(number)
            case .double(let number): .real(number)
            case .array, .map, .bytes: .json(attribute.value.text)
            }
        return SpanAttribute(attribute.key, value)
    }
}
