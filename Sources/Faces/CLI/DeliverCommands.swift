import API
import ArgumentParser
import Client
import Manifests

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Tells how a service is doing; without a name, all of them.",
        discussion: "Examples:\n  vagus status\n  vagus status shop-api -o json")
    @OptionGroup var connection: Connection
    @Argument var service: String?

    func run() async throws {
        try await connection.connected { client in
            guard let service else {
                let list = try await client.call(Services.list, ProjectQuery(project: connection.projectName))
                return connection.show(list) {
                    guard !list.items.isEmpty else {
                        return "no services yet; apply one with: vagus apply -f service.yaml\n"
                    }
                    var table = Table(["SERVICE", "PHASE", "STABLE", "MESSAGE"])
                    table.rows = list.items.map {
                        [
                            $0.service, ServiceText.phase($0.phase), $0.stable_revision.map(String.init) ?? "-",
                            $0.message,
                        ]
                    }
                    return table.text
                }
            }
            let status = try await client.call(Services.status, Name(project: connection.projectName, name: service))
            connection.show(status) { ServiceText.text(status) }
        }
    }
}

enum ServiceText {
    static func phase(_ phase: ServiceStatus.Phase) -> String {
        let style: Terminal.Style =
            switch phase {
            case .healthy: .green
            case .progressing: .blue
            case .paused: .yellow
            case .degraded: .red
            }
        return Terminal.styled(phase.rawValue, style)
    }

    /// Where the rollout is in its steps; after the last come all copies and all traffic.
    static func step(_ status: ServiceStatus) -> String? {
        guard let step = status.step else { return nil }
        let name = status.step_name.map { ": \($0)" } ?? ""
        if status.steps == 0 { return "without steps\(name)" }
        if step >= status.steps { return "after step \(status.steps) of \(status.steps)\(name)" }
        return "step \(step + 1) of \(status.steps)\(name)"
    }

    static func text(_ status: ServiceStatus) -> String {
        var out = "\(Terminal.styled(status.service, .bold))  \(phase(status.phase))  \(status.message)\n"
        if let url = status.url { out += "  \(url)\n" }
        if let place = step(status) { out += "  \(place)\n" }
        var table = Table(["REVISION", "WEIGHT", "READY", "REQUESTS", "ERRORS", "P99", "RUNS", "COMMIT"])
        table.rows = status.revisions.map { revision in
            let role =
                revision.revision == status.stable_revision
                ? " (stable)" : revision.revision == status.preview_revision ? " (preview)" : ""
            return [
                "\(revision.revision)\(role)", "\(revision.weight)%", "\(revision.ready)/\(revision.replicas)",
                "\(revision.requests)", "\(revision.errors)",
                revision.p99_ms.map { "\(($0 * 10).rounded() / 10) ms" } ?? "-",
                revision.model ?? revision.image ?? "-", String((revision.commit ?? "-").prefix(9)),
            ]
        }
        if !table.rows.isEmpty { out += table.text }
        for arm in status.arms {
            out += "  \(arm.name) (revision \(arm.revision)): \(arm.weight)%, \(arm.ready)/\(arm.replicas) ready, "
            out += "\(arm.errors) of \(arm.requests) requests failed\n"
        }
        for analysis in status.analyses {
            out += "  \(analysis.name): \(analysis.verdict.rawValue). \(analysis.message)\n"
        }
        return out
    }
}

struct PromoteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "promote", abstract: "Ends a rollout's pause, or skips its step.",
        discussion: "Examples:\n  vagus promote shop-api\n  vagus promote shop-api --full")
    @OptionGroup var connection: Connection
    @Argument var service: String
    @Flag(help: "Skips all steps that are left.") var full = false

    func run() async throws {
        var input = PromoteInput()
        (input.project, input.name, input.full) = (connection.projectName, service, full)
        let sent = input
        let status = try await connection.connected { try await $0.call(Services.promote, sent) }
        connection.show(status) { ServiceText.text(status) }
    }
}

struct AbortCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "abort", abstract: "Takes all traffic off the new revision at once.",
        discussion: "Example:\n  vagus abort shop-api --reason \"wrong prices\"")
    @OptionGroup var connection: Connection
    @Argument var service: String
    @Option(help: "Why; kept in the event log.") var reason: String?

    func run() async throws {
        var input = AbortInput()
        (input.project, input.name, input.reason) = (connection.projectName, service, reason)
        let sent = input
        let status = try await connection.connected { try await $0.call(Services.abort, sent) }
        connection.show(status) { ServiceText.text(status) }
    }
}

struct UndoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "undo", abstract: "Goes back to an earlier revision: at once inside the rollback window.",
        discussion: "Examples:\n  vagus undo shop-api\n  vagus undo shop-api --to 3\n  vagus undo shop-api --gradual")
    @OptionGroup var connection: Connection
    @Argument var service: String
    @Option(help: "Revision; absent: the one before the stable one.") var to: Int?
    @Flag(help: "Goes back by the steps of the rollout.") var gradual = false
    @Flag(help: "Goes back even to a revision that knows an older form of the data.") var acrossMigration = false

    func run() async throws {
        var input = UndoInput()
        (input.project, input.name, input.revision) = (connection.projectName, service, to)
        (input.gradual, input.across_migration) = (gradual, acrossMigration)
        let sent = input
        let status = try await connection.connected { try await $0.call(Services.undo, sent) }
        connection.show(status) { ServiceText.text(status) }
    }
}
