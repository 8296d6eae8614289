import API
import ArgumentParser
import Client
import Foundation
import Manifests

struct ExperimentsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "experiments",
        abstract: "Looks at experiments and their runs: list, show, runs, run, compare; and purges.",
        discussion:
            "Example:\n  vagus experiments runs churn --filter 'metrics.auc > 0.9' --order-by 'metrics.auc DESC'",
        subcommands: [List.self, Show.self, RunsOf.self, One.self, Compare.self, Purge.self],
        defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list", abstract: "Lists experiments, the newest first.",
            discussion: "Example:\n  vagus experiments list --search churn")
        @OptionGroup var connection: Connection
        @Option(help: "A part of the name.") var search: String?
        @Option(help: "At most this many.") var limit = 100

        func run() async throws {
            var input = ExperimentQuery()
            (input.project, input.search, input.limit) = (connection.projectName, search, limit)
            let sent = input
            let list = try await connection.connected { try await $0.call(Experiments.list, sent) }
            connection.show(list) {
                guard !list.items.isEmpty else { return "no experiments\n" }
                var table = Table(["ID", "NAME", "MADE", "CHANGED"])
                table.rows = list.items.map {
                    [$0.id, $0.name, Words.ago($0.created_at), Words.ago($0.updated_at)]
                }
                return table.text
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "show", abstract: "Shows an experiment.",
            discussion: "Example:\n  vagus experiments show churn")
        @OptionGroup var connection: Connection
        @Argument(help: "Its number or name.") var experiment: String

        func run() async throws {
            var input = ExperimentName()
            (input.project, input.experiment) = (connection.projectName, experiment)
            let sent = input
            let info = try await connection.connected { try await $0.call(Experiments.get, sent) }
            connection.show(info) {
                var table = Table(["", ""])
                table.rows = [
                    ["id", info.id], ["name", info.name], ["made", Words.ago(info.created_at)],
                    ["changed", Words.ago(info.updated_at)],
                    ["artifacts", info.artifact_location],
                ]
                table.rows += info.tags.map { ["tag \($0.key)", $0.value] }
                return table.text
            }
        }
    }

    struct RunsOf: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "runs", abstract: "Finds runs of an experiment.",
            discussion: """
                Examples:
                  vagus experiments runs churn
                  vagus experiments runs churn --filter "metrics.auc BETWEEN 0.8 AND 0.9 OR tags.keep IS NOT NULL"
                  vagus experiments runs churn --order-by 'metrics.auc DESC' --limit 10 -o json
                """)
        @OptionGroup var connection: Connection
        @Argument(help: "Number or name of the experiment.") var experiment: String
        @Option(help: "Only those it holds for.") var filter: String?
        @Option(help: "Sorted by this: metrics.auc DESC.") var orderBy: String?
        @Flag(help: "The deleted, instead of the others.") var deleted = false
        @Option(help: "At most this many.") var limit = 50

        func run() async throws {
            var input = TrackedRunQuery()
            (input.project, input.experiment, input.filter) = (connection.projectName, experiment, filter)
            (input.order_by, input.deleted, input.limit) = (orderBy, deleted, limit)
            let sent = input
            let list = try await connection.connected { try await $0.call(Experiments.runs, sent) }
            connection.show(list) {
                guard !list.items.isEmpty else { return "no such runs\n" }
                var table = Table(["RUN", "NAME", "STATUS", "BEGAN", "TOOK", "METRICS"])
                table.rows = list.items.map { run in
                    let metrics = run.metrics.prefix(4).map { "\($0.key)=\(ExperimentWords.number($0.value))" }
                    return [
                        String(run.id.prefix(12)), run.name, run.status, Words.ago(run.started_at),
                        Words.between(run.started_at, run.ended_at), metrics.joined(separator: " "),
                    ]
                }
                return table.text
            }
        }
    }

    struct One: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "run", abstract: "Shows a run with everything that was logged to it.",
            discussion: "Example:\n  vagus experiments run 0b3f9c")
        @OptionGroup var connection: Connection
        @Argument(help: "Its id, or enough of its first digits.") var run: String

        func run() async throws {
            var input = TrackedRunName()
            (input.project, input.run) = (connection.projectName, run)
            let sent = input
            let run = try await connection.connected { try await $0.call(Experiments.run, sent) }
            connection.show(run) {
                var table = Table(["", ""])
                table.rows = [
                    ["id", run.id], ["name", run.name], ["experiment", run.experiment], ["status", run.status],
                    ["user", run.user], ["began", Words.ago(run.started_at)],
                    ["took", Words.between(run.started_at, run.ended_at)],
                ]
                table.rows += run.params.map { ["param \($0.key)", $0.value] }
                table.rows += run.metrics.map { ["metric \($0.key)", ExperimentWords.number($0.value)] }
                table.rows += run.tags.map { ["tag \($0.key)", ExperimentWords.short($0.value)] }
                return table.text
            }
        }
    }

    struct Compare: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "compare", abstract: "Puts what was logged to runs side by side.",
            discussion: "Example:\n  vagus experiments compare 0b3f9c 77aa01 --differences")
        @OptionGroup var connection: Connection
        @Argument(help: "Ids of runs, or enough of the first digits of each.") var runs: [String]
        @Flag(help: "Only what differs.") var differences = false

        func run() async throws {
            var input = RunComparison()
            (input.project, input.runs) = (connection.projectName, runs)
            let sent = input
            let found = try await connection.connected { try await $0.call(Experiments.compare, sent) }
            connection.show(found) {
                var table = Table(["", "KEY"] + found.runs.map(\.name))
                table.rows = found.values.filter { $0.differs || !differences }.map { value in
                    let cells = value.values.map { cell in
                        cell.isNull
                            ? "-" : cell.double.map(ExperimentWords.number) ?? ExperimentWords.short(cell.string ?? "")
                    }
                    return [value.differs ? "\(value.kind) *" : value.kind, value.key] + cells
                }
                return table.text
            }
        }
    }

    struct Purge: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "purge", abstract: "Removes deleted runs, experiments and logged models for good.",
            discussion: """
                Their points and artifacts go, too. Versions of registered models keep files of their own.

                Examples:
                  vagus experiments purge --older-than 30d --dry-run
                  vagus experiments purge --older-than 30d
                """)
        @OptionGroup var connection: Connection
        @Option(help: "How long ago they must have been deleted: 30d.") var olderThan: String?
        @Flag(help: "Only tells what it would do.") var dryRun = false

        func run() async throws {
            var input = ExperimentPurgeInput()
            (input.project, input.dry_run) = (connection.projectName, dryRun)
            if let olderThan {
                guard let span = TimeSpan(olderThan) else {
                    throw ValidationError("\"\(olderThan)\" is no length of time: 30d.")
                }
                input.older_than = span
            }
            let sent = input
            let gone = try await connection.connected { try await $0.call(Experiments.purge, sent) }
            connection.show(gone) {
                let names = gone.experiments.map { "- experiment \($0)\n" }.joined()
                return names
                    + "\(gone.runs) runs, \(gone.models) logged models and \(gone.artifacts) files (\(Words.size(gone.size_bytes))) "
                    + "\(gone.is_dry ? "would go" : "gone")\n"
            }
        }
    }
}

/// Values of runs in the cells of tables.
enum ExperimentWords {
    static func number(_ value: Double) -> String {
        guard value.isFinite else { return "\(value)" }
        if value == value.rounded(), value.magnitude < 1e15 { return String(Int64(value)) }
        return String(format: "%.6g", value)
    }

    static func short(_ text: String) -> String {
        let line = text.split(separator: "\n", omittingEmptySubsequences: false).first.map(String.init) ?? ""
        return line.count > 60 || line.count < text.count ? line.prefix(57) + "..." : line
    }
}
