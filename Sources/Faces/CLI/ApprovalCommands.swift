import API
import ArgumentParser
import Client
import Manifests

struct ApprovalsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "approvals", abstract: "Lists jobs that wait at the gate of an environment.",
        discussion:
            "Examples:\n  vagus approvals\n  vagus approvals --mine\n  vagus approvals --environment production -o json"
    )
    @OptionGroup var connection: Connection
    @Flag(help: "Only what you may approve.") var mine = false
    @Option(help: "Only gates of this environment.") var environment: String?

    func run() async throws {
        var query = GateQuery()
        (query.project, query.mine, query.environment) = (connection.projectName, mine, environment)
        let sent = query
        let list = try await connection.connected { try await $0.call(Approvals.list, sent) }
        connection.show(list) {
            guard !list.items.isEmpty else { return "nothing waits at a gate\n" }
            var table = Table(["RUN", "JOB", "ENVIRONMENT", "WAITS", "COMMIT", "BY", "DIGEST", "REASON"])
            table.rows = list.items.map { gate in
                [
                    "\(gate.pipeline):\(gate.number)", GateWords.job(gate), gate.environment,
                    Words.between(gate.began_at, nil), String((gate.commit ?? "-").prefix(9)), gate.actor,
                    GateWords.digest(gate), gate.reason ?? "",
                ]
            }
            let own = list.items.filter(\.mine).count
            return table.text
                + (own == 0 ? "" : "\n\(own) may be approved by you: vagus approve RUN [STAGE] --comment \"…\"\n")
        }
    }
}

struct ApproveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "approve", abstract: "Says yes to what waits at a gate.",
        discussion: """
            An approval counts for exactly what waits now: when that changes, it is void, and is asked for again. Give
            --digest, as `vagus approvals` shows it, to approve nothing but what you have looked at.

            Examples:
              vagus approve shop:12
              vagus approve shop:12 deploy --comment "tested on staging"
              vagus approve shop:12 deploy --digest 9f86d081884c
            """)
    @OptionGroup var connection: Connection
    @OptionGroup var verdict: VerdictArguments

    func run() async throws {
        let input = verdict.input(connection)
        let list = try await connection.connected { try await $0.call(Approvals.approve, input) }
        connection.show(list) {
            list.items.map { gate in
                let given = gate.approvals.filter { $0.verdict == .approved && !$0.is_void }.count
                return "\(gate.pipeline):\(gate.number) \(GateWords.job(gate)) for \(gate.environment): "
                    + "\(given) of \(gate.min) approvals\n"
            }.joined()
        }
    }
}

struct RejectCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reject", abstract: "Says no to what waits at a gate: the job fails.",
        discussion: "Example:\n  vagus reject shop:12 deploy --comment \"the migration locks the orders table\"")
    @OptionGroup var connection: Connection
    @OptionGroup var verdict: VerdictArguments

    func run() async throws {
        let input = verdict.input(connection)
        let list = try await connection.connected { try await $0.call(Approvals.reject, input) }
        connection.show(list) {
            list.items.map { "\($0.pipeline):\($0.number) \(GateWords.job($0)): \($0.reason ?? $0.status.rawValue)\n" }
                .joined()
        }
    }
}

struct VerdictArguments: ParsableArguments {
    @Argument(help: "The run: its id, or PIPELINE:NUMBER, or PIPELINE:latest.") var run: String
    @Argument(help: "The stage; needed when several wait.") var stage: String?
    @Option(help: "The job; absent: all that wait in the stage.") var job: String?
    @Option(help: "Why.") var comment: String?
    @Option(help: "What you have looked at; refused when it has changed since.") var digest: String?

    func input(_ connection: Connection) -> VerdictInput {
        var input = VerdictInput()
        (input.project, input.run, input.stage, input.job) = (connection.projectName, run, stage, job)
        (input.comment, input.digest) = (comment, digest)
        return input
    }
}

enum GateWords {
    static func job(_ gate: Gate) -> String { gate.stage == gate.job ? gate.stage : "\(gate.stage)/\(gate.job)" }

    static func digest(_ gate: Gate) -> String { String(gate.digest.drop { $0 != ":" }.dropFirst().prefix(12)) }

    /// What was said at a run's gates, a line for each word.
    static func evidence(_ run: Run) -> String {
        run.gates.map { gate in
            var out = "  \(job(gate)) at \(gate.environment): \(gate.status.rawValue)  \(digest(gate))\n"
            for check in gate.checks {
                out += "    \(check.status.rawValue)  \(check.title)" + (check.message.map { ": \($0)" } ?? "") + "\n"
            }
            for said in gate.approvals {
                out += "    \(said.verdict.rawValue) by \(said.by) at \(said.at)" + (said.is_void ? " (void)" : "")
                out += (said.comment.map { ": \($0)" } ?? "") + "\n"
            }
            return out
        }.joined()
    }
}
