import API
import ArgumentParser
import Client
import Manifests

struct ReleaseCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "release", abstract: "Services that are released together: how they are, and all back.",
        subcommands: [Status.self, Promote.self, Abort.self, Undo.self], defaultSubcommand: Status.self)

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Tells how a release is doing; without a name, all of them.",
            discussion: "Examples:\n  vagus release status\n  vagus release status shop -o json")
        @OptionGroup var connection: Connection
        @Argument var name: String?

        func run() async throws {
            try await connection.connected { client in
                guard let name else {
                    let list = try await client.call(Releases.list, ProjectQuery(project: connection.projectName))
                    return connection.show(list) {
                        guard !list.items.isEmpty else {
                            return "no releases yet; apply one: { kind: Release, name: shop, services: [api, web] }\n"
                        }
                        var table = Table(["RELEASE", "NUMBER", "PHASE", "MESSAGE"])
                        table.rows = list.items.map {
                            [$0.name, $0.number.map(String.init) ?? "-", $0.phase.rawValue, $0.message]
                        }
                        return table.text
                    }
                }
                let status = try await client.call(
                    Releases.status, Name(project: connection.projectName, name: name))
                connection.show(status) { ReleaseText.text(status) }
            }
        }
    }

    struct Promote: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Ends the pauses that its services are in; they still wait for each other.",
            discussion: "Examples:\n  vagus release promote shop\n  vagus release promote shop --full")
        @OptionGroup var connection: Connection
        @Argument var name: String
        @Flag(help: "Skips all steps that are left.") var full = false

        func run() async throws {
            var input = PromoteInput()
            (input.project, input.name, input.full) = (connection.projectName, name, full)
            let sent = input
            let status = try await connection.connected { try await $0.call(Releases.promote, sent) }
            connection.show(status) { ReleaseText.text(status) }
        }
    }

    struct Abort: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Takes all services of a release that is under way back.",
            discussion: "Example:\n  vagus release abort shop --reason \"wrong prices\"")
        @OptionGroup var connection: Connection
        @Argument var name: String
        @Option(help: "Why; kept in the event log.") var reason: String?

        func run() async throws { try await ReleaseText.back(Releases.abort, connection, name, reason) }
    }

    struct Undo: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Takes all services of a release that is out back to the revisions before it.",
            discussion: "Example:\n  vagus release undo shop")
        @OptionGroup var connection: Connection
        @Argument var name: String
        @Option(help: "Why; kept in the event log.") var reason: String?

        func run() async throws { try await ReleaseText.back(Releases.undo, connection, name, reason) }
    }
}

enum ReleaseText {
    static func back(
        _ operation: API.Operation<AbortInput, ReleaseStatus>, _ connection: Connection, _ name: String,
        _ reason: String?
    ) async throws {
        var input = AbortInput()
        (input.project, input.name, input.reason) = (connection.projectName, name, reason)
        let sent = input
        let status = try await connection.connected { try await $0.call(operation, sent) }
        connection.show(status) { text(status) }
    }

    static func text(_ status: ReleaseStatus) -> String {
        var out = "\(Terminal.styled(status.name, .bold))  \(status.phase.rawValue)  \(status.message)\n"
        var table = Table(["SERVICE", "STATE", "REVISION", "REASON"])
        table.rows = status.services.map {
            [$0.service, $0.state.rawValue, $0.revision.map(String.init) ?? "-", $0.reason ?? ""]
        }
        if !table.rows.isEmpty { out += table.text }
        return out
    }
}
