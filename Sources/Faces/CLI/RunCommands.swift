import API
import ArgumentParser
import Client
import Foundation
import Manifests

struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Starts a run of a pipeline.",
        discussion:
            "Examples:\n  vagus run train\n  vagus run train -p rounds=200 --follow\n  vagus run --local .vagus/shop.yaml test\n\nWith --follow and --local the exit code is 0 when the run succeeded and 2 when it did not."
    )
    @OptionGroup var connection: Connection
    @Argument(help: "Pipeline to run; with --local a file with one in it.") var pipeline: String
    @OptionGroup var local: LocalFlags
    @Option(name: [.customShort("p"), .long], help: "A parameter: key=value; may be repeated.") var parameter:
        [String] = []
    @Option(help: "Commit, branch or tag.") var commit: String?
    @Option(help: "A word that a freeze may let pass: hotfix; may be repeated.") var label: [String] = []
    @Flag(name: .shortAndLong, help: "Stays until the run has ended.") var follow = false

    func run() async throws {
        var input = RunInput()
        (input.project, input.pipeline, input.commit) = (connection.projectName, pipeline, commit)
        input.labels = label
        for pair in parameter {
            guard let equals = pair.firstIndex(of: "=") else {
                throw ValidationError("\"\(pair)\" is not key=value.")
            }
            input.parameters[String(pair[..<equals])] = .string(String(pair[pair.index(after: equals)...]))
        }
        try local.check()
        if local.local {
            guard commit == nil else { throw ValidationError("With --local, --ref names the commit.") }
            return try await LocalRun(
                file: pipeline, flags: local, connection: connection, parameters: input.parameters
            ).run()
        }
        let sent = input
        try await connection.connected { client in
            let run = try await client.call(Runs.start, sent)
            if follow {
                try await RunView(client: client, connection: connection).follow(run)
            } else {
                connection.show(run) { "run \(run.pipeline):\(run.number) \(run.status.rawValue) (\(run.id))\n" }
            }
        }
    }
}

struct RunsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "runs", abstract: "Lists runs, or shows one.",
        discussion: "Examples:\n  vagus runs\n  vagus runs train:latest\n  vagus runs --pipeline train -o json")
    @OptionGroup var connection: Connection
    @Argument(help: "Its id, or PIPELINE:NUMBER, or PIPELINE:latest; absent: a list.") var run: String?
    @Option var pipeline: String?
    @Option(help: "Only runs that stand so.") var status: String?
    @Option var limit = 50
    @Flag(name: .shortAndLong, help: "Stays until the run has ended.") var follow = false

    func run() async throws {
        try await connection.connected { client in
            if let run {
                let found = try await client.call(Runs.get, RunName(project: connection.projectName, run: run))
                if follow { return try await RunView(client: client, connection: connection).follow(found) }
                return connection.show(found) { RunView.text(found) }
            }
            var query = RunQuery()
            (query.project, query.pipeline, query.limit) = (connection.projectName, pipeline, limit)
            query.status = try status.map { try RunStatus(json: .string($0), at: ["status"]) }
            let list = try await client.call(Runs.list, query)
            connection.show(list) {
                guard !list.items.isEmpty else { return "no runs yet; start one with: vagus run PIPELINE\n" }
                var table = Table(["RUN", "STATUS", "TRIGGER", "COMMIT", "TOOK", "STARTED", "ID"])
                table.rows = list.items.map { run in
                    [
                        "\(run.pipeline):\(run.number)", Words.status(run.status), run.trigger.type.rawValue,
                        String((run.commit ?? "-").prefix(9)), Words.between(run.started_at, run.finished_at),
                        Words.ago(run.started_at), run.id,
                    ]
                }
                return table.text
            }
        }
    }
}

struct CancelCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cancel", abstract: "Stops a run.", discussion: "Example:\n  vagus cancel train:latest")
    @OptionGroup var connection: Connection
    @Argument var run: String

    func run() async throws {
        let run = try await connection.connected {
            try await $0.call(Runs.cancel, RunName(project: connection.projectName, run: self.run))
        }
        connection.show(run) { "run \(run.pipeline):\(run.number) \(run.status.rawValue)\n" }
    }
}

struct ArtifactsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "artifacts", abstract: "Lists what a run left behind, or fetches one of them.",
        discussion: "Examples:\n  vagus artifacts train:latest\n  vagus artifacts train:latest train.model --to ./model"
    )
    @OptionGroup var connection: Connection
    @Argument var run: String
    @Argument(help: "stage.name of one to fetch.") var artifact: String?
    @Option(help: "Where to put it.") var to: String?

    func run() async throws {
        try await connection.connected { client in
            let list = try await client.call(Runs.artifacts, RunName(project: connection.projectName, run: run))
            guard let artifact else {
                return connection.show(list) {
                    guard !list.items.isEmpty else { return "nothing was left behind\n" }
                    var table = Table(["ARTIFACT", "JOB", "SIZE", "FORM", "DIGEST"])
                    table.rows = list.items.map {
                        ["\($0.stage).\($0.name)", $0.job, Words.size($0.size_bytes), $0.form.rawValue, $0.digest]
                    }
                    return table.text
                }
            }
            guard let found = list.items.last(where: { "\($0.stage).\($0.name)" == artifact }) else {
                throw Problem(
                    "artifact.not-found", status: 404, "run \(run) left no \"\(artifact)\" behind",
                    hint: suggestion(
                        for: artifact, among: list.items.map { "\($0.stage).\($0.name)" }, called: "artifact"))
            }
            let place = to ?? found.file_name
            try await Fetch(client: client).artifact(found, to: place)
            Terminal.line("\(place)  \(Words.size(found.size_bytes))")
        }
    }
}
