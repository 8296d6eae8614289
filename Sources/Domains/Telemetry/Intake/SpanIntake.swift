import API
import Kernel
import Segments
import SpanStore

/// Brings spans in: keeps the share of traces that the plan says, whole traces each.
struct SpanIntake {
    let house: TelemetryHouse

    /// Blocks.
    ///
    /// - Throws: `StorageError` when nothing could be written.
    func take(_ spans: [Span]) throws -> SpanStore.Receipt {
        let share = house.plan.sampling
        let kept = share >= 1 ? spans : spans.filter { Self.isKept($0.traceID, share) }
        house.drops.add("traces: not among the sampled", spans.count - kept.count)
        let receipt = try house.spans.append(kept, now: house.nanoseconds)
        if let message = receipt.message { house.drops.add("traces: \(Self.reason(message))", receipt.refused) }
        house.context.instruments.count("vagus_telemetry_spans_total", by: Double(receipt.accepted))
        return receipt
    }

    /// By the id's last bits, which OpenTelemetry asks to be random: every span of a trace is judged alike, on every server.
    private static func isKept(_ trace: TraceID, _ share: Double) -> Bool {
        Double(trace.low >> 11) / Double(UInt64(1) << 53) < share
    }

    /// The message without the names in it.
    private static func reason(_ message: String) -> String {
        message.split(separator: "\"", omittingEmptySubsequences: false).enumerated()
            .map { $0.offset % 2 == 0 ? String($0.element) : "…" }.joined()
    }
}
