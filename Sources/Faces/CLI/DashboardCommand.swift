import API
import ArgumentParser
import Client
import Foundation
import Manifests

struct DashboardCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dashboard", abstract: "Dashboards: list, import from Grafana.",
        discussion: "Example:\n  vagus dashboard import node-exporter.json --apply",
        subcommands: [List.self, Import.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list", abstract: "Lists dashboards: those that are declared, and those that vagus brings.",
            discussion: "Example:\n  vagus dashboard list")
        @OptionGroup var connection: Connection

        func run() async throws {
            var query = DashboardQuery()
            query.project = connection.projectName
            let sent = query
            let list = try await connection.connected { try await $0.call(Dashboards.list, sent) }
            connection.show(list) {
                var table = Table(["NAME", "TITLE", "FROM"])
                table.rows = list.items.map { [$0.name, $0.title, $0.is_stock ? "vagus" : "a manifest"] }
                return table.text
            }
        }
    }

    struct Import: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "import", abstract: "Turns a dashboard of Grafana into a manifest.",
            discussion: """
                Writes the manifest to standard output, and what was not taken to standard error. With --apply it is applied
                at once.

                Examples:
                  vagus dashboard import node-exporter.json > dashboards/node-exporter.yaml
                  vagus dashboard import node-exporter.json --name nodes --apply
                """)
        @OptionGroup var connection: Connection
        @Argument(help: "The JSON that Grafana exports, or - for standard input.") var file: String
        @Option(help: "Name of the dashboard; absent: made of its title.") var name: String?
        @Flag(help: "Applies it.") var apply = false

        func run() async throws {
            var input = GrafanaInput()
            (input.project, input.name) = (connection.projectName, name)
            input.dashboard = try Self.read(file)
            let sent = input
            let outcome = try await connection.connected { client in
                let outcome = try await client.call(Dashboards.importGrafana, sent)
                if apply {
                    var wanted = ApplyInput()
                    (wanted.project, wanted.documents) = (connection.projectName, [outcome.manifest])
                    _ = try await client.call(Resources.apply, wanted)
                }
                return outcome
            }
            for line in outcome.left_out { Terminal.error("not taken: \(line)\n") }
            guard connection.output != .json else { return Terminal.line(outcome.json.prettyText) }
            if apply {
                Terminal.line("dashboard \(outcome.manifest["name"]?.string ?? "") applied")
            } else {
                Terminal.out(outcome.manifest.yaml)
            }
        }

        private static func read(_ file: String) throws -> JSONValue {
            let data =
                file == "-"
                ? FileHandle.standardInput.readDataToEndOfFile() : FileManager.default.contents(atPath: file)
            guard let data else {
                throw Problem("file.unreadable", status: 404, "could not read \"\(file)\"", hint: "Check the path.")
            }
            do { return try JSONParser.parse(Array(data)) } catch {
                throw Problem(
                    "file.not-json", status: 422, "\"\(file)\" is no JSON: \(error.message)", location: error.location)
            }
        }
    }
}
