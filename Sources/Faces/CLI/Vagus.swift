package import ArgumentParser
import Foundation
import Processes
import Server

/// The command `vagus`: picks a face; all thinking is elsewhere.
package struct Vagus: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "vagus",
        abstract: "From a commit to a healthy, watched, self-mending service.",
        discussion: """
            Start a server with everything in it, apply a manifest, and run a pipeline:

              vagus dev --data ./data
              vagus apply -f pipeline.yaml
              vagus run hello --follow

            Exit codes: 0 done, 1 a problem, 2 a gate said no, 64 wrong usage, 69 no answer from the server, 130 interrupted.
            """,
        version: vagusVersion,
        subcommands: [WorkCommand.self, GenerateCommand.self, ServeCommand.self],
        groupedSubcommands: [
            CommandGroup(
                name: "Start:",
                subcommands: [DevCommand.self, ServerCommand.self, RunnerCommand.self, ProxyCommand.self]),
            CommandGroup(
                name: "Declare:",
                subcommands: [
                    ApplyCommand.self, GetCommand.self, DescribeCommand.self, DeleteCommand.self, WatchCommand.self,
                    ExplainCommand.self, SchemaCommand.self, ConvertCommand.self,
                ]),
            CommandGroup(
                name: "Run:",
                subcommands: [
                    RunCommand.self, RunsCommand.self, LogsCommand.self, CancelCommand.self, ShellCommand.self,
                    ArtifactsCommand.self, TriggersCommand.self, PullsCommand.self, StatusesCommand.self,
                    CachesCommand.self, SweepCommand.self,
                    TestsCommand.self,
                ]),
            CommandGroup(
                name: "Deliver:",
                subcommands: [
                    StatusCommand.self, AnalysisCommand.self, OutcomeCommand.self, EventsCommand.self,
                    PromoteCommand.self,
                    PauseCommand.self, ResumeCommand.self, AbortCommand.self, RetryCommand.self, UndoCommand.self,
                    ScaleCommand.self, RestartCommand.self, ReleaseCommand.self, ModelsCommand.self,
                ]),
            CommandGroup(
                name: "Learn:", subcommands: [ExperimentsCommand.self, ImportCommand.self, ExportCommand.self]),
            CommandGroup(
                name: "Guard:",
                subcommands: [ApprovalsCommand.self, ApproveCommand.self, RejectCommand.self, SecretCommand.self]),
            CommandGroup(
                name: "Observe:", subcommands: [MetricsCommand.self, TracesCommand.self, DashboardCommand.self]),
            CommandGroup(name: "Look back:", subcommands: [DoraCommand.self, AuditCommand.self, TokenCommand.self]),
        ])

    package init() {}

    /// Parses the arguments, runs the command, and leaves with its exit code.
    package static func start() async -> Never {
        signal(SIGPIPE, SIG_IGN)
        OpenFiles.raise()
        do {
            var command = try parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
            Foundation.exit(0)
        } catch {
            Ending.leave(error)
        }
    }
}
