import API
import ArgumentParser
import Client
import Foundation
import Manifests

struct SecretCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "secret", abstract: "Keeps secrets: set, list, versions, delete. Values never come back.",
        subcommands: [Set.self, List.self, Versions.self, Delete.self])

    struct Set: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "set", abstract: "Keeps a secret's value as its newest version.",
            discussion: """
                The value comes from a file, from standard input, or from a prompt that does not show it; never from the
                command line, where other users of the machine could read it. One newline at its end is dropped.

                Examples:
                  vagus secret set DB_URL
                  vagus secret set DB_URL --from-file db-url.txt --environment production
                  pass show shop/db | vagus secret set 'kv/shop/prod#db_url' --from-file -
                """)
        @OptionGroup var connection: Connection
        @Argument(help: "Its name.") var name: String
        @Option(help: "File that holds the value, or - for standard input.") var fromFile: String?
        @Option(help: "Only jobs of this environment may have it; may be repeated.") var environment: [String] = []
        @Option(help: "Only jobs of this pipeline may have it; may be repeated.") var pipeline: [String] = []
        @Flag(help: "Lifts the limits that it had: all jobs of the project may have it.") var unlimited = false

        func run() async throws {
            guard !unlimited || (environment.isEmpty && pipeline.isEmpty) else {
                throw ValidationError("--unlimited cannot stand beside --environment or --pipeline.")
            }
            var input = SecretInput()
            (input.project, input.name) = (connection.projectName, name)
            input.value = .string(try Self.value(from: fromFile, name: name))
            input.environments = environment.isEmpty ? (unlimited ? [] : nil) : environment
            input.pipelines = pipeline.isEmpty ? (unlimited ? [] : nil) : pipeline
            let sent = input
            let kept = try await connection.connected { try await $0.call(Secrets.set, sent) }
            connection.show(kept) { "secret \(kept.name) set (version \(kept.version), \(SecretWords.limits(kept)))\n" }
        }

        private static func value(from file: String?, name: String) throws -> String {
            let data: Data
            if let file, file != "-" {
                guard let found = FileManager.default.contents(atPath: file) else {
                    throw Problem(
                        "file.unreadable", status: 404, "could not read \"\(file)\"", hint: "Check the path.")
                }
                data = found
            } else if file == nil, isatty(STDIN_FILENO) == 1 {
                data = try Prompt.hidden("Value of \(name): ")
            } else {
                data = FileHandle.standardInput.readDataToEndOfFile()
            }
            guard var text = String(data: data, encoding: .utf8) else {
                throw Problem(
                    "secret.value", status: 422, "the value is not UTF-8 text",
                    hint: "Encode it, in base64 for example.")
            }
            if text.hasSuffix("\n") { text.removeLast() }
            return text
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list", abstract: "Lists secrets, without their values.",
            discussion: "Example:\n  vagus secret list --project shop")
        @OptionGroup var connection: Connection

        func run() async throws {
            var query = SecretQuery()
            query.project = connection.projectName
            let sent = query
            let list = try await connection.connected { try await $0.call(Secrets.list, sent) }
            connection.show(list) {
                guard !list.items.isEmpty else { return "no secrets in project \"\(connection.projectName)\"\n" }
                var table = Table(["NAME", "VERSION", "CHANGED", "BY", "FOR"])
                table.rows = list.items.map {
                    [$0.name, "\($0.version)", Words.ago($0.changed_at), $0.changed_by, SecretWords.limits($0)]
                }
                return table.text
            }
        }
    }

    struct Versions: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "versions", abstract: "Lists the versions that are kept of a secret.",
            discussion: "Example:\n  vagus secret versions DB_URL")
        @OptionGroup var connection: Connection
        @Argument var name: String

        func run() async throws {
            let name = SecretName(project: connection.projectName, name: name)
            let list = try await connection.connected { try await $0.call(Secrets.versions, name) }
            connection.show(list) {
                var table = Table(["VERSION", "SET", "BY"])
                table.rows = list.items.map { ["\($0.version)", Words.ago($0.created_at), $0.created_by] }
                return table.text
            }
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "delete", abstract: "Removes a secret with all its versions, for good.",
            discussion: "Example:\n  vagus secret delete DB_URL")
        @OptionGroup var connection: Connection
        @Argument var name: String

        func run() async throws {
            let name = SecretName(project: connection.projectName, name: name)
            let gone = try await connection.connected { try await $0.call(Secrets.delete, name) }
            connection.show(gone) { "secret \(gone.name) deleted\n" }
        }
    }
}

enum SecretWords {
    static func limits(_ secret: SecretInfo) -> String {
        let parts =
            (secret.environments.isEmpty ? [] : ["environment \(secret.environments.joined(separator: ", "))"])
            + (secret.pipelines.isEmpty ? [] : ["pipeline \(secret.pipelines.joined(separator: ", "))"])
        return parts.isEmpty ? "all jobs of the project" : parts.joined(separator: "; ")
    }
}

/// A question on the terminal.
enum Prompt {
    /// Reads a line that is not shown while it is typed.
    static func hidden(_ question: String) throws -> Data {
        Terminal.error(question)
        var before = termios()
        guard tcgetattr(STDIN_FILENO, &before) == 0 else {
            throw Problem(
                "terminal", status: 500, "the terminal cannot hide what is typed", hint: "Use --from-file -.")
        }
        var silent = before
        silent.c_lflag &= ~tcflag_t(ECHO)
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent)
        defer {
            tcsetattr(STDIN_FILENO, TCSAFLUSH, &before)
            Terminal.error("\n")
        }
        return Data((readLine(strippingNewline: true) ?? "").utf8)
    }
}
