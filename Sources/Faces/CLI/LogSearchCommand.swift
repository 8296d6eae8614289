import API
import ArgumentParser
import Client
import Foundation
import Manifests

/// `vagus logs`: the output of a run's jobs, unless told to search in all lines.
struct LogsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logs", abstract: "Prints the output of a run's jobs, or searches in all log lines.",
        discussion: """
            Examples:
              vagus logs train:latest build/image --follow     output of a job: see `vagus logs output --help`
              vagus logs search '{service_name="shop"} |= "error"'
            """,
        subcommands: [LogOutputCommand.self, LogSearchCommand.self], defaultSubcommand: LogOutputCommand.self)
}

struct LogSearchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "search", abstract: "Looks log lines up by LogQL, and follows them.",
        discussion: """
            Examples:
              vagus logs search '{service_name="shop"}'
              vagus logs search '{service_name="shop"} |= "refused" | json | status >= 500' --since 6h
              vagus logs search '{source="events"}' --tail
              vagus logs search 'sum by (level) (count_over_time({app="shop"} [5m]))' -o json
            """)
    @OptionGroup var connection: Connection
    @Argument(help: "LogQL.") var query: String
    @Option(help: "How far back: 1h.") var since = "1h"
    @Option(help: "Lines at most.") var limit = 100
    @Flag(help: "Follows what comes in, from now on.") var tail = false
    @Flag(help: "Shows the labels of each line.") var labels = false

    func run() async throws {
        guard TimeSpan(since) != nil else { throw ValidationError("--since \(since) is no length; write it like 1h.") }
        try await connection.connected { client in
            if tail { return try await follow(client) }
            var input = LogQLQuery()
            (input.query, input.from, input.limit) = (query, "now-\(since)", limit)
            let answer = try await client.call(Logs.search, input)
            connection.show(answer) {
                guard let result = answer.result else {
                    // Newest came first, so that the limit keeps them; people read downwards.
                    return answer.lines.isEmpty
                        ? "no lines in the last \(since)\n" : answer.lines.reversed().map(text).joined()
                }
                var figures = MetricAnswer()
                (figures.resultType, figures.result) = (answer.resultType, result)
                return MetricText.matrix(figures)
            }
        }
    }

    private func follow(_ client: VagusClient) async throws {
        var input = LogTailQuery()
        input.query = query
        while true {
            let answer = try await client.call(Logs.tail, input)
            input.after = answer.next
            for line in answer.lines {
                connection.output == .json ? Terminal.line(line.json.text) : Terminal.out(text(line))
            }
        }
    }

    private func text(_ line: LogLine) -> String {
        let text = Terminal.isInteractive ? LogView.safe(line.line) : line.line
        let pairs = labels ? " {" + line.labels.map { "\($0.key)=\"\($0.value)\"" }.joined(separator: ", ") + "}" : ""
        return "\(Terminal.styled(line.at.description, .dim))\(pairs) \(text)\n"
    }
}
