import API
import ArgumentParser
import Client
import Foundation
import Manifests

struct TracesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "traces", abstract: "Looks traces up, or shows one.",
        discussion: """
            Examples:
              vagus traces
              vagus traces --service vagus-pipelines --min-duration 10s
              vagus traces --service shop --tag http.status_code=500 --since 6h
              vagus traces 5b8efff798038103d269b633813fc60c
              vagus traces run_01h2x…      the trace of a run
            """)
    @OptionGroup var connection: Connection
    @Argument(help: "Id of a trace, or of a run.") var trace: String?
    @Option(help: "Service that took part.") var service: String?
    @Option(help: "Name of a span.") var operation: String?
    @Option(help: "Attribute of a span: KEY=VALUE; may be repeated.") var tag: [String] = []
    @Option(help: "No shorter: 250ms.") var minDuration: String?
    @Option(help: "How far back: 1h.") var since = "1h"
    @Option(help: "At most this many.") var limit = 20

    func run() async throws {
        if let trace {
            var name = TraceName()
            name.trace = trace
            let sent = name
            let detail = try await connection.connected { try await $0.call(Traces.get, sent) }
            connection.show(detail) { Self.text(detail) }
            return
        }
        var input = TraceQuery()
        (input.service, input.operation, input.limit) = (service, operation, limit)
        input.tags = tag.isEmpty ? nil : tag.joined(separator: ",")
        guard TimeSpan(since) != nil else { throw ValidationError("--since \(since) is no length; write it like 1h.") }
        input.from = "now-\(since)"
        if let minDuration {
            guard let span = TimeSpan(minDuration) else {
                throw ValidationError("--min-duration \(minDuration) is no length; write it like 250ms.")
            }
            input.min_duration = span
        }
        let sent = input
        let list = try await connection.connected { try await $0.call(Traces.search, sent) }
        connection.show(list) {
            guard !list.items.isEmpty else { return "no traces in the last \(since)\n" }
            var table = Table(["TRACE", "BEGAN", "TOOK", "SPANS", "ERRORS", "SERVICE", "OPERATION"])
            table.rows = list.items.map {
                [
                    $0.trace, Words.ago($0.at), Words.length(seconds: $0.seconds), "\($0.spans)", "\($0.errors)",
                    $0.service, $0.operation,
                ]
            }
            return table.text
        }
    }

    private static func text(_ trace: TraceDetail) -> String {
        var out =
            Terminal.styled("trace \(trace.trace)", .bold)
            + "  \(trace.at), \(Words.length(seconds: trace.seconds)), \(trace.spans.count) spans\n"
        for span in trace.spans {
            let mark = span.is_error ? Terminal.styled("✗ ", .red) : ""
            let indent = String(repeating: "  ", count: min(span.depth, 20))
            let times =
                "\(padded(Words.length(seconds: span.offset_seconds))) \(padded(Words.length(seconds: span.seconds)))"
            out += "\(times)  \(indent)\(mark)\(span.service): \(span.name)"
            out += span.message.map { Terminal.styled("  \($0)", .dim) } ?? ""
            out += "\n"
        }
        if !trace.lines.isEmpty { out += "\n" + trace.lines.map { "\($0.at)  \($0.line)\n" }.joined() }
        return out
    }

    private static func padded(_ text: String) -> String {
        String(repeating: " ", count: max(0, 8 - text.count)) + text
    }
}
