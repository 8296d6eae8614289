import Series
import Wire

/// OpenTelemetry's log records as streams of lines, as Loki takes them: a few attributes of the resource tell streams apart, all
/// others stand beside the line.
enum OTLPLogs {
    /// Attributes of the resource that become labels: few values each (Loki's default list, without ids of single processes).
    private static let labels: Set<String> = [
        "service.name", "service.namespace", "deployment.environment", "deployment.environment.name", "cloud.region",
        "cloud.availability_zone", "k8s.cluster.name", "k8s.namespace.name", "k8s.container.name", "container.name",
        "k8s.deployment.name", "k8s.statefulset.name", "k8s.daemonset.name", "k8s.cronjob.name", "k8s.job.name",
    ]

    static func streams(_ batches: [OTLP.Batch<OTLP.LogRecord>], now: Int64) -> [IncomingStream] {
        batches.compactMap { batch in
            var (named, others): ([(name: String, value: String)], [(name: String, value: String)]) = ([], [])
            for attribute in batch.resource.attributes {
                let pair = (name: MetricNames.label(attribute.key), value: attribute.value.text)
                if labels.contains(attribute.key) { named.append(pair) } else { others.append(pair) }
            }
            if !named.contains(where: { $0.name == "service_name" }) {
                named.append(("service_name", "unknown_service"))
            }
            var entries: [IncomingStream.Entry] = []
            for part in batch.parts {
                var beside = others
                if !part.scope.name.isEmpty { beside.append(("scope_name", part.scope.name)) }
                if !part.scope.version.isEmpty { beside.append(("scope_version", part.scope.version)) }
                for record in part.items { entries.append(entry(record, beside, now)) }
            }
            return entries.isEmpty ? nil : IncomingStream(labels: Labels(named), entries: entries)
        }
    }

    private static func entry(
        _ record: OTLP.LogRecord, _ beside: [(name: String, value: String)], _ now: Int64
    ) -> IncomingStream.Entry {
        var metadata = beside
        for attribute in record.attributes { metadata.append((MetricNames.label(attribute.key), attribute.value.text)) }
        if !record.traceID.isEmpty { metadata.append(("trace_id", record.traceID.hex)) }
        if !record.spanID.isEmpty { metadata.append(("span_id", record.spanID.hex)) }
        if record.severity > 0 { metadata.append(("severity_number", String(record.severity))) }
        if !record.severityText.isEmpty { metadata.append(("severity_text", record.severityText)) }
        if let level = record.level { metadata.append(("detected_level", level == "warn" ? "warning" : level)) }
        if !record.eventName.isEmpty { metadata.append(("event_name", record.eventName)) }
        let time = record.time > 0 ? record.time : record.observedTime
        return IncomingStream.Entry(
            time: time > 0 ? Int64(clamping: time) : now, line: record.body.text, metadata: metadata)
    }
}
