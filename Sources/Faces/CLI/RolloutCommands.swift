import API
import ArgumentParser
import Client
import Manifests

struct PauseCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pause", abstract: "Holds a rollout where it is.",
        discussion: "Example:\n  vagus pause shop-api --reason \"the on-call wants to look\"")
    @OptionGroup var connection: Connection
    @Argument var service: String
    @Option(help: "Why; kept in the event log.") var reason: String?

    func run() async throws { try await hold(Services.pause, service, reason, connection) }
}

struct ResumeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume", abstract: "Lets a rollout that was held by hand go on.",
        discussion: "Example:\n  vagus resume shop-api")
    @OptionGroup var connection: Connection
    @Argument var service: String
    @Option(help: "Why; kept in the event log.") var reason: String?

    func run() async throws { try await hold(Services.resume, service, reason, connection) }
}

private func hold(
    _ operation: API.Operation<HoldInput, ServiceStatus>, _ service: String, _ reason: String?, _ connection: Connection
) async throws {
    var input = HoldInput()
    (input.project, input.name, input.reason) = (connection.projectName, service, reason)
    try await act(operation, input, connection)
}

/// Does one thing about a service, and shows how it stands then.
private func act<Input: Manifest>(
    _ operation: API.Operation<Input, ServiceStatus>, _ input: Input, _ connection: Connection
) async throws {
    let status = try await connection.connected { try await $0.call(operation, input) }
    connection.show(status) { ServiceText.text(status) }
}

struct RetryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "retry", abstract: "Rolls out once more what was aborted or gone back from, from the first step.",
        discussion: "Example:\n  vagus retry shop-api")
    @OptionGroup var connection: Connection
    @Argument var service: String

    func run() async throws {
        try await act(Services.retry, Name(project: connection.projectName, name: service), connection)
    }
}

struct RestartCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restart", abstract: "Replaces all copies by new ones of the same revision, few at a time.",
        discussion: "Example:\n  vagus restart shop-api")
    @OptionGroup var connection: Connection
    @Argument var service: String

    func run() async throws {
        try await act(Services.restart, Name(project: connection.projectName, name: service), connection)
    }
}

struct ScaleCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "scale", abstract: "Sets how many copies are wanted.",
        discussion: "Example:\n  vagus scale shop-api 6")
    @OptionGroup var connection: Connection
    @Argument var service: String
    @Argument(help: "Copies.") var replicas: Int

    func run() async throws {
        var input = ScaleInput()
        (input.project, input.name, input.replicas) = (connection.projectName, service, replicas)
        try await act(Services.scale, input, connection)
    }
}

struct AnalysisCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "analysis", abstract: "The judgements of a rollout, with their evidence.",
        discussion: "Examples:\n  vagus analysis shop-api\n  vagus analysis shop-api --rollout 4 -o json")
    @OptionGroup var connection: Connection
    @Argument var service: String
    @Option(help: "Number of the attempt; absent: the newest.") var rollout: Int?

    func run() async throws {
        var query = AnalysisQuery()
        (query.project, query.name, query.rollout) = (connection.projectName, service, rollout)
        let sent = query
        let report = try await connection.connected { try await $0.call(Services.analysis, sent) }
        connection.show(report) {
            guard !report.runs.isEmpty else { return "nothing was judged in the newest rollout\n" }
            var table = Table(["RUN", "METRIC", "PHASE", "GOOD", "BAD", "NEITHER", "ERRORS", "MESSAGE"])
            for run in report.runs {
                for metric in run.metrics {
                    table.rows.append([
                        run.name, metric.name + (metric.dry_run ? " (dry)" : ""), metric.phase.rawValue,
                        "\(metric.successful)", "\(metric.failed)", "\(metric.inconclusive)", "\(metric.error)",
                        metric.message,
                    ])
                }
            }
            return table.text
        }
    }
}

struct OutcomeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "outcome", abstract: "Tells that a client was on a side of an A/B test, and what came of it.",
        discussion: """
            Told twice is told once. Many at once are told by the API, see docs/how-to/services.md.

            Examples:
              vagus outcome shop-api --client user-7 --revision 4
              vagus outcome shop-api --client user-7 --revision 4 --outcome signup
            """)
    @OptionGroup var connection: Connection
    @Argument var service: String
    @Option(help: "Who it is: the same name each time.") var client: String
    @Option(help: "Revision that served it: the answer's header X-Vagus-Revision.") var revision: Int
    @Option(help: "What came about; absent: it was only there.") var outcome: String?

    func run() async throws {
        var item = OutcomeItem()
        (item.entity, item.revision, item.outcome) = (client, revision, outcome ?? "")
        var input = OutcomesInput()
        (input.project, input.name, input.items) = (connection.projectName, service, [item])
        let sent = input
        let told = try await connection.connected { try await $0.call(Services.outcomes, sent) }
        connection.show(told) {
            "\(client) was served by revision \(revision)\(outcome.map { ", and it came to \($0)" } ?? "")\n"
        }
    }
}

struct EventsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "events", abstract: "What happened to a service, oldest first.",
        discussion: "Examples:\n  vagus events --about shop-api\n  vagus events --about shop-api --after 812 -o json")
    @OptionGroup var connection: Connection
    @Option(help: "The service; with --kind anything else of this name.") var about: String
    @Option(help: "Kind of what it is about.") var kind = "Service"
    @Option(help: "Only events after this sequence number.") var after: Int64 = 0
    @Option(help: "The newest so many of them.") var limit = 10_000

    /// Events that one request brings.
    private static let page = 1000

    func run() async throws {
        let kind = try Kinds.named(kind).name
        let (about, project, first) = (about, connection.projectName, after)
        let events = try await connection.connected { client in
            var all: [Event] = []
            var last = first
            while true {
                var query = EventQuery()
                (query.kind, query.subject, query.project) = (kind, about, project)
                (query.after, query.limit) = (last, Self.page)
                let items = try await client.call(Events.list, query).items
                all += items
                guard items.count == Self.page, let end = items.last?.sequence, end > last else { return all }
                last = end
            }
        }
        let list = ItemList(Array(events.suffix(max(0, limit))))
        connection.show(list) { list.items.map { EventLine.text($0) + "\n" }.joined() }
    }
}
