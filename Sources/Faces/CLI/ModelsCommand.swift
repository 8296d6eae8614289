import API
import ArgumentParser
import Client
import Foundation
import Manifests

struct ModelsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "models", abstract: "Models and their versions: look, compare, approve, sign, verify, prune.",
        discussion: """
            A version is written MODEL@VERSION, with its number, its label (2.1.0) or an alias (champion).

            Examples:
              vagus models
              vagus models churn
              vagus models churn@champion
              vagus models diff churn 3 4
              vagus models alias churn champion=4 challenger=3 --if champion=3
              vagus models ask churn@4 --stage production
              vagus models approve churn@4 --comment "ece is better"
            """,
        subcommands: [
            List.self, Show.self, Diff.self, Alias.self, Ask.self, Requests.self, Approve.self, Reject.self, Sign.self,
            Verify.self, Export.self, Prune.self, Delete.self, Deliveries.self,
        ], defaultSubcommand: Show.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list", abstract: "Lists models.",
            discussion: "Examples:\n  vagus models list\n  vagus models list -o json")
        @OptionGroup var connection: Connection

        func run() async throws {
            var query = ResourceQuery()
            (query.project, query.kind, query.limit) = (connection.projectName, ModelKind.plural, 500)
            let sent = query
            let list = try await connection.connected { try await $0.call(Resources.list, sent) }
            connection.show(list) {
                guard !list.items.isEmpty else { return "no models yet: a pipeline's register step makes one\n" }
                var table = Table(["MODEL", "LATEST", "ALIASES", "DESCRIPTION"])
                table.rows = list.items.map { item in
                    let aliases = (item.status?["aliases"]?.object ?? [:]).map { "\($0.key)=\($0.value.text)" }
                    let title = item.status?["title"]?.string.map { "\(item.name) (\($0))" }
                    return [
                        title ?? item.name, item.status?["latest_version"]?.text ?? "-",
                        aliases.isEmpty ? "-" : aliases.joined(separator: ","), item.spec["description"]?.string ?? "",
                    ]
                }
                return table.text
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "show", abstract: "Shows a model's versions, or one version with all that is on record of it.",
            discussion:
                "Examples:\n  vagus models show churn\n  vagus models show churn@champion\n  vagus models show churn@4 --card"
        )
        @OptionGroup var connection: Connection
        @Argument(help: "MODEL, MODEL@VERSION or MODEL@ALIAS; absent: all models.") var model: String?
        @Flag(help: "Writes the model card, in Markdown.") var card = false

        func run() async throws {
            guard let model else {
                var list = List()
                list.connection = connection
                return try await list.run()
            }
            let name = VersionWord(model, connection)
            try await connection.connected { client in
                guard let version = name.version else { return try await versions(name.model, client) }
                let wanted = ModelVersionName(project: connection.projectName, name: name.model, version: version)
                if card {
                    return Terminal.out(try await client.call(Models.evidence, wanted).card)
                }
                if connection.output != .table {
                    let found = try await client.call(Models.version, wanted)
                    return connection.show(found) { "" }
                }
                let evidence = try await client.call(Models.evidence, wanted)
                Terminal.out(ModelWords.text(evidence))
            }
        }

        private func versions(_ model: String, _ client: VagusClient) async throws {
            let list = try await client.call(Models.versions, Name(project: connection.projectName, name: model))
            connection.show(list) {
                guard !list.items.isEmpty else { return "model \"\(model)\" has no versions yet\n" }
                let metric =
                    list.items.first?.metrics.keys.first { $0 == "auc" } ?? list.items.first?.metrics.keys.first
                var table = Table(
                    [
                        "VERSION", "LABEL", "ALIASES", "STAGE", "FORMAT", (metric ?? "metric").uppercased(), "SIZE",
                        "SIGNED", "REGISTERED",
                    ])
                table.rows = list.items.map { version in
                    [
                        "\(version.version)", version.label ?? "-",
                        version.aliases.isEmpty ? "-" : version.aliases.joined(separator: ","), version.stage ?? "-",
                        version.format, metric.flatMap { version.metrics[$0] }.map(ModelWords.number) ?? "-",
                        Words.size(version.size_bytes), version.signed_with == nil ? "no" : "yes",
                        Words.ago(version.created_at),
                    ]
                }
                return table.text
            }
        }
    }

    struct Diff: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "diff", abstract: "Compares two versions: signature, metrics, facts, files.",
            discussion:
                "Exit code 2 when whoever calls the first could not call the second.\n\nExamples:\n  vagus models diff churn 3 4\n  vagus models diff churn champion latest -o json"
        )
        @OptionGroup var connection: Connection
        @Argument(help: "The model.") var model: String
        @Argument(help: "The one: number, label or alias.") var from: String
        @Argument(help: "The other.") var to: String

        func run() async throws {
            var input = ModelComparison()
            (input.project, input.name, input.from, input.to) = (connection.projectName, model, from, to)
            let sent = input
            let found = try await connection.connected { try await $0.call(Models.compare, sent) }
            connection.show(found) { ModelWords.text(found) }
            if !found.is_backward { throw ExitCode(2) }
        }
    }

    struct Alias: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "alias", abstract: "Points aliases to versions, all at once or none.",
            discussion: """
                Version 0 takes an alias away. With --if nothing changes unless the alias points there now, so that two
                who move it at the same time do not undo each other.

                Examples:
                  vagus models alias churn champion=4
                  vagus models alias churn champion=4 challenger=3 --if champion=3 --if challenger=4
                """)
        @OptionGroup var connection: Connection
        @Argument(help: "The model.") var model: String
        @Argument(help: "ALIAS=VERSION, once or more.") var aliases: [String]
        @Option(name: .customLong("if"), help: "ALIAS=VERSION that must hold now; 0: points nowhere. May be repeated.")
        var expected: [String] = []

        func run() async throws {
            var input = AliasesInput()
            (input.project, input.name) = (connection.projectName, model)
            input.aliases = try Self.pairs(aliases)
            input.expected = try Self.pairs(expected)
            let sent = input
            let list = try await connection.connected { try await $0.call(Models.moveAliases, sent) }
            connection.show(list) {
                sent.aliases.map { alias, version in
                    version == 0 ? "\(model)@\(alias) is gone\n" : "\(model)@\(alias) is version \(version) now\n"
                }.joined()
            }
        }

        private static func pairs(_ texts: [String]) throws -> Ordered<Int> {
            var pairs = Ordered<Int>()
            for text in texts {
                let parts = text.split(separator: "=").map(String.init)
                guard parts.count == 2, let version = Int(parts[1]) else {
                    throw ValidationError("\"\(text)\" is not ALIAS=VERSION.")
                }
                pairs[parts[0]] = version
            }
            return pairs
        }
    }

    struct Sign: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "sign",
            abstract: "Signs a version's files (OpenSSF Model Signing) and writes its ML-BOM anew.",
            discussion:
                "Versions are signed when they are registered; this is for older ones.\n\nExample:\n  vagus models sign churn@4"
        )
        @OptionGroup var connection: Connection
        @Argument(help: "MODEL@VERSION.") var version: String

        func run() async throws {
            let name = try VersionWord(version, connection).whole
            let signed = try await connection.connected { try await $0.call(Models.sign, name) }
            connection.show(signed) {
                "\(signed.model)@\(signed.version) signed with key \((signed.signed_with ?? "").prefix(16))…\n"
            }
        }
    }

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "verify",
            abstract: "Reads every file of a version again: is it what was registered and signed?",
            discussion:
                "Exit code 2 when it is not.\n\nExamples:\n  vagus models verify churn@champion\n  vagus models verify churn@4 -o json"
        )
        @OptionGroup var connection: Connection
        @Argument(help: "MODEL@VERSION.") var version: String

        func run() async throws {
            let name = try VersionWord(version, connection).whole
            let result = try await connection.connected { try await $0.call(Models.verify, name) }
            connection.show(result) {
                let head =
                    "\(result.version.model)@\(result.version.version): \(result.outcome.rawValue), "
                    + "\(result.files) file\(result.files == 1 ? "" : "s") read"
                return head + (result.key.map { ", signed with key \($0.prefix(16))…" } ?? "") + "\n"
                    + result.problems.map { "  \($0)\n" }.joined()
            }
            if !result.isGood { throw ExitCode(2) }
        }
    }

    struct Export: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "export", abstract: "Writes a version's files and evidence into a folder.",
            discussion: """
                The folder holds `model/` with the files, and beside it model.sig, key.pem, bom.json, card.md and
                evidence.json: enough to check the version without this server. With the public tool for that:
                  model_signing verify key model --signature model.sig --public_key key.pem

                Example:
                  vagus models export churn@4 --to ./churn-4
                """)
        @OptionGroup var connection: Connection
        @Argument(help: "MODEL@VERSION.") var version: String
        @Option(help: "Folder to write; must not exist.") var to: String
        @Flag(help: "Only the evidence, no files.") var evidenceOnly = false

        func run() async throws {
            let name = try VersionWord(version, connection).whole
            let evidence = try await connection.connected { client in
                let evidence = try await client.call(Models.evidence, name)
                try ModelExport(evidence, to: to).writeEvidence()
                if !evidenceOnly { try await ModelExport(evidence, to: to).writeFiles(client) }
                return evidence
            }
            connection.show(evidence) {
                "\(evidence.version.model)@\(evidence.version.version) written to \(to): \(evidence.files.count) files\n"
            }
        }
    }

    struct Prune: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "prune", abstract: "Removes old versions that nothing refers to.",
            discussion: """
                What aliases, stages, approvals, services, monitors or later versions refer to stays. Without --keep and
                --after, the model's own `retention` says what is old.

                Examples:
                  vagus models prune churn --dry-run
                  vagus models prune churn --keep 5 --after 30d
                """)
        @OptionGroup var connection: Connection
        @Argument(help: "The model.") var model: String
        @Flag(help: "Only tells what it would do.") var dryRun = false
        @Option(help: "The newest versions that stay.") var keep: Int?
        @Option(help: "How old a version must be: 30d.") var after: String?

        func run() async throws {
            var input = ModelPruneInput()
            (input.project, input.name, input.dry_run) = (connection.projectName, model, dryRun)
            input.keep = keep
            if let after {
                guard let span = TimeSpan(after) else {
                    throw ValidationError("\"\(after)\" is no length of time: 30d.")
                }
                input.after = span
            }
            let sent = input
            let plan = try await connection.connected { try await $0.call(Models.prune, sent) }
            connection.show(plan) {
                var out = plan.removed.map { "- \(model)@\($0.version)  \(Words.size($0.bytes))  \($0.reason)\n" }
                    .joined()
                out += plan.kept.map { "= \(model)@\($0.version)  \(Words.size($0.bytes))  \($0.reason)\n" }.joined()
                let verb = plan.is_dry ? "would go" : "gone"
                return out
                    + "\(plan.removed.count) versions \(verb), \(Words.size(plan.bytes)) that no other version has\n"
            }
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "delete", abstract: "Removes one version that nothing refers to.",
            discussion: "Its number is not given again.\n\nExample:\n  vagus models delete churn@2")
        @OptionGroup var connection: Connection
        @Argument(help: "MODEL@VERSION.") var version: String

        func run() async throws {
            let name = try VersionWord(version, connection).whole
            let gone = try await connection.connected { try await $0.call(Models.remove, name) }
            connection.show(gone) { "\(gone.model)@\(gone.version) removed\n" }
        }
    }

    struct Deliveries: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "deliveries", abstract: "Lists what webhooks of the registry were sent.",
            discussion: "Example:\n  vagus models deliveries --webhook webhook_01…")
        @OptionGroup var connection: Connection
        @Option(help: "Only of this webhook's id.") var webhook: String?

        func run() async throws {
            var query = WebhookDeliveryQuery()
            (query.project, query.webhook) = (connection.projectName, webhook)
            let sent = query
            let list = try await connection.connected { try await $0.call(Models.deliveries, sent) }
            connection.show(list) {
                guard !list.items.isEmpty else { return "nothing was sent yet\n" }
                var table = Table(["EVENT", "WEBHOOK", "STATUS", "TRIES", "ANSWER", "CREATED", "ERROR"])
                table.rows = list.items.map { item in
                    [
                        item.event, item.webhook, item.status.rawValue, "\(item.attempts)",
                        item.answer.map(String.init) ?? "-", Words.ago(item.created_at), item.error ?? "",
                    ]
                }
                return table.text
            }
        }
    }
}

/// MODEL@VERSION, as people type it.
struct VersionWord {
    let model: String
    let version: String?
    private let project: String

    init(_ text: String, _ connection: Connection) {
        let parts = text.split(separator: "@", maxSplits: 1).map(String.init)
        (model, version) = (parts.first ?? text, parts.count == 2 ? parts[1] : nil)
        project = connection.projectName
    }

    var whole: ModelVersionName {
        get throws {
            guard let version else { throw ValidationError("Write MODEL@VERSION: \(model)@latest.") }
            return ModelVersionName(project: project, name: model, version: version)
        }
    }
}
