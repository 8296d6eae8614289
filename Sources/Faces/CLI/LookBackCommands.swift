import API
import ArgumentParser
import Client
import Manifests

struct DoraCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dora", abstract: "The five numbers, measured from what happened here.",
        discussion:
            "Examples:\n  vagus dora\n  vagus dora --service shop-api --days 7 -o json\n  vagus dora --team checkout")
    @OptionGroup var connection: Connection
    @Option(help: "Only this service.") var service: String?
    @Option(help: "Only services with this label `team`.") var team: String?
    @Option(help: "Days back.") var days = 30

    func run() async throws {
        var query = DoraQuery()
        (query.project, query.service, query.days) = (connection.projectName, service, days)
        query.team = team
        let sent = query
        let report = try await connection.connected { try await $0.call(Dora.get, sent) }
        connection.show(report) {
            var table = Table(["NUMBER", "VALUE", "TARGET", "N", ""])
            for (name, number) in [
                ("deployment frequency", report.deployment_frequency), ("lead time", report.lead_time),
                ("change failure rate", report.change_failure_rate), ("recovery time", report.recovery_time),
                ("rework rate", report.rework_rate),
            ] {
                let verdict = number.meets_target.map { $0 ? Terminal.styled("✓", .green) : Terminal.styled("✗", .red) }
                table.rows.append([
                    name, number.value.map { Self.text($0, number.unit) } ?? "-", Self.text(number.target, number.unit),
                    "\(number.n)", verdict ?? "",
                ])
            }
            return table.text + Self.parts(report.lead_time_parts) + "\n" + Self.deployments(report)
        }
    }

    private static func parts(_ parts: LeadTimeParts) -> String {
        guard parts.n > 0 else { return "" }
        let all: [(String, Double?)] = [
            ("wait", parts.wait), ("review", parts.review), ("queue", parts.queue), ("build", parts.build),
            ("approval", parts.approval), ("rollout", parts.rollout),
        ]
        let words = all.compactMap { name, value in value.map { "\(name) \(Words.length(seconds: $0))" } }
        return "lead time, median of each part: \(words.joined(separator: ", "))\n"
    }

    private static func deployments(_ report: DoraReport) -> String {
        guard !report.deployments.isEmpty else { return "no deployments in this time\n" }
        var table = Table(["SERVICE", "REVISION", "OUTCOME", "COMMIT", "LEAD TIME", "STARTED", "REASON"])
        table.rows = report.deployments.map { deployment in
            [
                deployment.service, "\(deployment.revision)", deployment.outcome.rawValue,
                String((deployment.commit ?? "-").prefix(9)),
                deployment.lead_time_seconds.map(Words.length(seconds:)) ?? "-", Words.ago(deployment.started_at),
                deployment.reason ?? "",
            ]
        }
        return table.text
    }

    private static func text(_ value: Double, _ unit: String) -> String {
        switch unit {
        case "seconds": Words.length(seconds: value)
        case "fraction": "\((value * 1000).rounded() / 10)%"
        default: "\((value * 100).rounded() / 100) a day"
        }
    }
}

struct AuditCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit", abstract: "What happened, by whom; and whether the record is whole.",
        subcommands: [List.self, Verify.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list", abstract: "Lists events, newest first.",
            discussion:
                "Examples:\n  vagus audit\n  vagus audit --name 'rollout.*' --limit 20\n  vagus audit --correlation run_01… -o json"
        )
        @OptionGroup var connection: Connection
        @Option(help: "Only events of this name; 'run.*' takes all of a kind.") var name: String?
        @Option(help: "Only what this actor did.") var actor: String?
        @Option(help: "Only events about the thing of this name.") var subject: String?
        @Option(help: "Only what this request or run set off.") var correlation: String?
        @Option var limit = 50

        func run() async throws {
            var query = EventQuery()
            (query.name, query.actor, query.subject, query.correlation, query.limit) = (
                name, actor, subject, correlation, limit
            )
            query.project = connection.project
            let sent = query
            let list = try await connection.connected { try await $0.call(Events.list, sent) }
            connection.show(list) { list.items.map { EventLine.text($0) + "\n" }.joined() }
        }
    }

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "verify", abstract: "Walks the hash chain; exit code 2 when an event does not fit.",
            discussion: "Example:\n  vagus audit verify")
        @OptionGroup var connection: Connection

        func run() async throws {
            let outcome = try await connection.connected { try await $0.call(Events.verify, Nothing()) }
            connection.show(outcome) { outcome.message + "\n" }
            if !outcome.intact { throw Ending.Refused(message: "the event log is not as it was written") }
        }
    }
}

struct TokenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token", abstract: "Access tokens.",
        subcommands: [Create.self, List.self, Revoke.self, Redeem.self],
        defaultSubcommand: List.self)

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "create", abstract: "Makes a token; its secret is told this once.",
            discussion: "Example:\n  vagus token create ci --permission run --expires 90d")
        @OptionGroup var connection: Connection
        @Argument var name: String
        @Option(help: "read, run, write, admin or agent.") var permission = "read"
        @Option(help: "How long it is good for: 90d.") var expires: String?
        @Option(help: "The only project it may touch.") var only: String?

        func run() async throws {
            var input = TokenInput()
            (input.name, input.project) = (name, only)
            input.permission = try Permission(json: .string(permission), at: ["permission"])
            input.expires = try expires.map { try TimeSpan(json: .string($0), at: ["expires"]) }
            let sent = input
            let made = try await connection.connected { try await $0.call(Tokens.create, sent) }
            connection.show(made) { "\(made.token)\n" }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "list", abstract: "Lists tokens.")
        @OptionGroup var connection: Connection

        func run() async throws {
            let list = try await connection.connected { try await $0.call(Tokens.list, Nothing()) }
            connection.show(list) {
                var table = Table(["NAME", "PERMISSION", "PROJECT", "CREATED", "ENDS"])
                table.rows = list.items.map {
                    [
                        $0.name, $0.permission.rawValue, $0.project ?? "all", Words.ago($0.created_at),
                        $0.expires_at?.description ?? "never",
                    ]
                }
                return table.text
            }
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "revoke", abstract: "Makes a token worthless at once.",
            discussion: "Example:\n  vagus token revoke ci")
        @OptionGroup var connection: Connection
        @Argument var name: String

        func run() async throws {
            var input = TokenName()
            input.name = name
            let sent = input
            let gone = try await connection.connected { try await $0.call(Tokens.revoke, sent) }
            connection.show(gone) { "token \(gone.name) revoked\n" }
        }
    }

    struct Redeem: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "redeem",
            abstract: "Turns the single-use token of the first start into a lasting admin token.",
            discussion: "Example:\n  vagus token redeem admin --token vg_…")
        @OptionGroup var connection: Connection
        @Argument var name: String

        func run() async throws {
            var input = TokenInput()
            input.name = name
            let sent = input
            let made = try await connection.connected { try await $0.call(Tokens.redeem, sent) }
            connection.show(made) { "\(made.token)\n" }
        }
    }
}
