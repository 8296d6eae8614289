import API
import ArgumentParser
import Client
import Foundation
import Manifests

struct MetricsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "metrics", abstract: "Asks about metrics: query, names, labels, values, status.",
        discussion: "Example:\n  vagus metrics query 'sum by (job) (up)'",
        subcommands: [Query.self, Names.self, Labels.self, Values.self, Status.self])

    struct Query: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "query", abstract: "Works out PromQL, at one moment or over a range of time.",
            discussion: """
                Examples:
                  vagus metrics query 'up'
                  vagus metrics query 'sum by (code) (rate(vagus_http_requests_total[5m]))'
                  vagus metrics query 'process_resident_memory_bytes' --range 1h --step 15s
                  vagus metrics query 'up == 0' --at 2026-11-26T08:30:00Z -o json
                """)
        @OptionGroup var connection: Connection
        @Argument(help: "PromQL.") var query: String
        @Option(help: "When: 2026-11-26T08:30:00Z, seconds since 1970, or now-1h. (default: now)") var at: String?
        @Option(help: "How far back from there: 1h. Absent: that one moment.") var range: String?
        @Option(help: "Distance of moments: 15s.") var step: String?
        @Option(help: "Series at most.") var limit = 1000

        func run() async throws {
            guard let range else {
                var input = MetricQuery()
                (input.query, input.time, input.limit) = (query, at, limit)
                let sent = input
                let answer = try await connection.connected { try await $0.call(Metrics.query, sent) }
                connection.show(answer) { MetricText.vector(answer) }
                return
            }
            guard TimeSpan(range) != nil else {
                throw ValidationError("--range \(range) is no length; write it like 1h.")
            }
            guard step == nil || step.flatMap({ TimeSpan($0) }) != nil else {
                throw ValidationError("--step \(step ?? "") is no length; write it like 15s.")
            }
            guard at == nil || at == "now" else { throw ValidationError("--range goes back from now: leave --at out.") }
            var input = MetricRangeQuery()
            (input.query, input.from, input.limit) = (query, "now-\(range)", limit)
            input.step = step.flatMap { TimeSpan($0) }
            let sent = input
            let answer = try await connection.connected { try await $0.call(Metrics.queryRange, sent) }
            connection.show(answer) { MetricText.matrix(answer) }
        }
    }

    struct Names: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "names", abstract: "Lists metrics, with what they are.",
            discussion: "Examples:\n  vagus metrics names\n  vagus metrics names http")
        @OptionGroup var connection: Connection
        @Argument(help: "Only names in which this stands.") var search: String?
        @Option(help: "At most this many.") var limit = 1000

        func run() async throws {
            var input = MetricNameQuery()
            (input.search, input.limit) = (search, limit)
            let sent = input
            let list = try await connection.connected { try await $0.call(Metrics.names, sent) }
            connection.show(list) {
                var table = Table(["NAME", "TYPE", "HELP"])
                table.rows = list.items.map { [$0.name, $0.type, $0.help] }
                return list.items.isEmpty ? "no metrics\n" : table.text
            }
        }
    }

    struct Labels: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "labels", abstract: "Lists names of labels.",
            discussion: "Examples:\n  vagus metrics labels\n  vagus metrics labels --match 'up{job=\"api\"}'")
        @OptionGroup var connection: Connection
        @Option(help: "Only of these series.") var match: String?

        func run() async throws {
            var input = MetricLabelQuery()
            input.match = match
            let sent = input
            let list = try await connection.connected { try await $0.call(Metrics.labels, sent) }
            connection.show(list) { list.items.map { $0.value + "\n" }.joined() }
        }
    }

    struct Values: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "values", abstract: "Lists a label's values.",
            discussion: "Examples:\n  vagus metrics values job\n  vagus metrics values instance --match up")
        @OptionGroup var connection: Connection
        @Argument(help: "Name of the label.") var label: String
        @Option(help: "Only of these series.") var match: String?

        func run() async throws {
            var input = MetricValueQuery()
            (input.label, input.match) = (label, match)
            let sent = input
            let list = try await connection.connected { try await $0.call(Metrics.values, sent) }
            connection.show(list) { list.items.map { $0.value + "\n" }.joined() }
        }
    }

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "status", abstract: "Tells what the store of telemetry holds, and what is scraped.",
            discussion: "Example:\n  vagus metrics status")
        @OptionGroup var connection: Connection

        func run() async throws {
            let status = try await connection.connected { try await $0.call(Telemetry.status, TelemetryStatusQuery()) }
            connection.show(status) { Self.text(status) }
        }

        private static func text(_ status: TelemetryStatus) -> String {
            let (metrics, logs, traces) = (status.metrics, status.logs, status.traces)
            var out =
                "metrics  \(metrics.series) series, \(metrics.samples_in_memory + metrics.samples_in_blocks) samples, "
                + "\(Words.size(Int64(metrics.bytes_of_blocks + metrics.bytes_of_log)))\n"
                + "logs     \(logs.streams) streams, \(logs.lines) lines, \(Words.size(Int64(logs.bytes)))\n"
                + "traces   \(traces.spans) spans, \(Words.size(Int64(traces.bytes)))\n\n"
            var targets = Table(["JOB", "TARGET", "HEALTH", "SCRAPED", "SAMPLES", "ERROR"])
            targets.rows = status.targets.map {
                [$0.job, $0.url, $0.health.rawValue, Words.ago($0.last_at), "\($0.samples)", $0.error ?? ""]
            }
            out += targets.text
            if !metrics.top_metrics.isEmpty {
                var top = Table(["MOST SERIES", "COUNT"])
                top.rows = metrics.top_metrics.map { [$0.name, "\($0.count)"] }
                out += "\n" + top.text
            }
            if !status.rules.isEmpty {
                var rules = Table(["RULE", "GROUP", "EVERY", "LAST", "SERIES", "ERROR"])
                rules.rows = status.rules.map {
                    [$0.name, $0.group, $0.every.description, Words.ago($0.last_at), "\($0.series)", $0.error ?? ""]
                }
                out += "\n" + rules.text
            }
            return out
        }
    }
}

/// Answers to PromQL as a terminal shows them.
enum MetricText {
    /// `name{label="value"}` of a series.
    static func series(_ metric: JSONValue?) -> String {
        var (name, pairs) = ("", [String]())
        for (key, value) in metric?.object ?? [:] {
            if key == "__name__" { name = value.string ?? "" } else { pairs.append("\(key)=\(value.text)") }
        }
        return pairs.isEmpty ? (name.isEmpty ? "{}" : name) : "\(name){\(pairs.joined(separator: ", "))}"
    }

    static func vector(_ answer: MetricAnswer) -> String {
        if answer.resultType == "scalar" || answer.resultType == "string" {
            return (answer.result[1]?.string ?? "") + "\n" + remarks(answer)
        }
        let items = answer.result.array ?? []
        guard !items.isEmpty else { return "no series\n" + remarks(answer) }
        var table = Table(["SERIES", "VALUE"])
        table.rows = items.map { item in
            if let histogram = item["histogram"]?[1] {
                let (count, sum) = (histogram["count"]?.string ?? "", histogram["sum"]?.string ?? "")
                return [series(item["metric"]), "histogram of \(count), sum \(sum)"]
            }
            let values = item["values"]?.array.map { "\($0.count) samples" }
            return [series(item["metric"]), item["value"]?[1]?.string ?? values ?? ""]
        }
        return table.text + remarks(answer)
    }

    static func matrix(_ answer: MetricAnswer) -> String {
        let items = answer.result.array ?? []
        guard !items.isEmpty else { return "no series\n" + remarks(answer) }
        var out = ""
        for item in items {
            out += Terminal.styled(series(item["metric"]), .bold) + "\n"
            for pair in item["values"]?.array ?? [] {
                let at = Timestamp(microseconds: Int64((pair[0]?.double ?? 0) * 1e6))
                out += "  \(at)  \(pair[1]?.string ?? "")\n"
            }
            for pair in item["histograms"]?.array ?? [] {
                let at = Timestamp(microseconds: Int64((pair[0]?.double ?? 0) * 1e6))
                out += "  \(at)  histogram of \(pair[1]?["count"]?.string ?? "")\n"
            }
        }
        return out + remarks(answer)
    }

    static func remarks(_ answer: MetricAnswer) -> String {
        let left = answer.left_out > 0 ? ["\(answer.left_out) more series"] : []
        return (answer.warnings.map { "warning: \($0)" } + answer.infos.map { "info: \($0)" } + left)
            .map { Terminal.styled($0, .yellow) + "\n" }.joined()
    }
}
