import API
import ArgumentParser
import Client
import Foundation
import Manifests

extension ModelsCommand {
    struct Ask: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "ask", abstract: "Asks people to approve a version for a stage.",
            discussion: "Example:\n  vagus models ask churn@4 --stage production --comment \"ece is better\"")
        @OptionGroup var connection: Connection
        @Argument(help: "MODEL@VERSION.") var version: String
        @Option(help: "Stage of the model.") var stage: String
        @Option(help: "Why.") var comment: String?

        func run() async throws {
            let name = try VersionWord(version, connection).whole
            var input = ModelRequestInput()
            (input.project, input.name, input.version) = (name.project, name.name, name.version)
            (input.stage, input.comment) = (stage, comment)
            let sent = input
            let request = try await connection.connected { try await $0.call(Models.ask, sent) }
            connection.show(request) { ModelWords.line(request) }
        }
    }

    struct Requests: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "requests", abstract: "Lists what people were asked of versions.",
            discussion: "Examples:\n  vagus models requests --mine\n  vagus models requests --model churn -o json")
        @OptionGroup var connection: Connection
        @Flag(help: "Only what you may approve.") var mine = false
        @Option(help: "Only of this model.") var model: String?

        func run() async throws {
            var query = ModelRequestQuery()
            (query.project, query.mine, query.model) = (connection.projectName, mine, model)
            let sent = query
            let list = try await connection.connected { try await $0.call(Models.requests, sent) }
            connection.show(list) {
                guard !list.items.isEmpty else { return "nothing is asked\n" }
                var table = Table(["VERSION", "STAGE", "STATUS", "GIVEN", "BY", "DIGEST", "ASKED", "REASON"])
                table.rows = list.items.map { request in
                    [
                        "\(request.model)@\(request.version)", request.stage, request.status.rawValue,
                        "\(ModelWords.given(request)) of \(request.min)", request.requested_by,
                        ModelWords.digest(request.digest), Words.ago(request.began_at), request.reason ?? "",
                    ]
                }
                return table.text
            }
        }
    }

    struct Approve: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "approve", abstract: "Says yes to a version.",
            discussion: """
                Every file is read again first. An approval counts for exactly what was looked at: give --digest, as
                `vagus models requests` shows it, to approve nothing else.

                Examples:
                  vagus models approve churn@4
                  vagus models approve churn@4 --stage production --comment "tested on last month"
                """)
        @OptionGroup var connection: Connection
        @OptionGroup var verdict: ModelVerdictArguments

        func run() async throws {
            let input = try verdict.input(connection)
            let request = try await connection.connected { try await $0.call(Models.approve, input) }
            connection.show(request) { ModelWords.line(request) }
        }
    }

    struct Reject: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "reject", abstract: "Says no to a version, whoever has said yes.",
            discussion: "Example:\n  vagus models reject churn@4 --comment \"worse for new customers\"")
        @OptionGroup var connection: Connection
        @OptionGroup var verdict: ModelVerdictArguments

        func run() async throws {
            let input = try verdict.input(connection)
            let request = try await connection.connected { try await $0.call(Models.reject, input) }
            connection.show(request) { ModelWords.line(request) }
        }
    }
}

struct ModelVerdictArguments: ParsableArguments {
    @Argument(help: "MODEL@VERSION.") var version: String
    @Option(help: "The stage; needed when several are asked for.") var stage: String?
    @Option(help: "Why.") var comment: String?
    @Option(help: "What you have looked at; refused when it has changed since.") var digest: String?

    func input(_ connection: Connection) throws -> ModelVerdictInput {
        let name = try VersionWord(version, connection).whole
        var input = ModelVerdictInput()
        (input.project, input.name, input.version) = (name.project, name.name, name.version)
        (input.stage, input.comment, input.digest) = (stage, comment, digest)
        return input
    }
}

enum ModelWords {
    static func number(_ value: Double) -> String { "\((value * 10000).rounded() / 10000)" }

    static func digest(_ text: String) -> String { String(text.drop { $0 != ":" }.dropFirst().prefix(12)) }

    static func given(_ request: ModelRequest) -> Int {
        request.approvals.count { $0.verdict == .approved && !$0.is_void }
    }

    static func line(_ request: ModelRequest) -> String {
        "\(request.model)@\(request.version) for \(request.stage): \(request.status.rawValue), "
            + "\(given(request)) of \(request.min) approvals" + (request.reason.map { " (\($0))" } ?? "") + "\n"
    }

    static func text(_ evidence: ModelEvidence) -> String {
        var version = evidence.version
        version.signature = [:]
        var out = version.json.yaml
        if !evidence.files.isEmpty {
            out += "files:\n"
            for file in evidence.files.prefix(20) {
                out += "  \(file.path)  \(Words.size(file.size_bytes))  \(digest(file.digest))\n"
            }
            if evidence.files.count > 20 { out += "  … and \(evidence.files.count - 20) more\n" }
        }
        for request in evidence.requests {
            out += "\(request.stage): \(request.status.rawValue)  \(request.reason ?? "")\n"
            for said in request.approvals {
                out += "  \(said.verdict.rawValue) by \(said.by) at \(said.at)" + (said.is_void ? " (void)" : "")
                out += (said.comment.map { ": \($0)" } ?? "") + "\n"
            }
        }
        return out
    }

    static func text(_ difference: ModelDifference) -> String {
        let (from, to) = (difference.from, difference.to)
        var out = "\(from.model)@\(from.version) → \(to.model)@\(to.version): "
        out +=
            difference.is_full
            ? "compatible both ways\n" : difference.is_backward ? "backward compatible\n" : "not compatible\n"
        for (title, lines) in [
            ("signature", difference.breaks), ("facts", difference.lines), ("files", difference.files),
        ]
        where !lines.isEmpty {
            out += "\(title):\n" + lines.map { "  \($0)\n" }.joined()
        }
        return out
    }
}

/// A version written into a folder with all that is on record of it.
struct ModelExport {
    let evidence: ModelEvidence
    let folder: URL

    init(_ evidence: ModelEvidence, to path: String) {
        (self.evidence, folder) = (evidence, URL(filePath: path, directoryHint: .isDirectory))
    }

    func writeEvidence() throws {
        guard !FileManager.default.fileExists(atPath: folder.path) else {
            throw Problem(
                "file.exists", status: 409, "\"\(folder.path)\" is there already", hint: "Name a folder that is not.")
        }
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try write("evidence.json", evidence.json.prettyText + "\n")
        try write("card.md", evidence.card)
        if let signature = evidence.signature { try write("model.sig", signature.text) }
        if let key = evidence.public_key { try write("key.pem", key) }
        if let bom = evidence.bom { try write("bom.json", bom.prettyText + "\n") }
    }

    func writeFiles(_ client: VagusClient) async throws {
        for file in evidence.files {
            // The server has checked paths when the tree came in; what comes over a wire is looked at again.
            guard !file.path.split(separator: "/").contains(".."), !file.path.hasPrefix("/") else {
                throw Problem(
                    "tree.path", status: 422, "the version names a path outside itself", hint: "Do not trust it.")
            }
            let place = folder.appending(path: "model/\(file.path)")
            try FileManager.default.createDirectory(
                at: place.deletingLastPathComponent(), withIntermediateDirectories: true)
            try await client.download(file.digest, to: place.path)
        }
    }

    private func write(_ name: String, _ text: String) throws {
        try Data(text.utf8).write(to: folder.appending(path: name), options: .atomic)
    }
}
