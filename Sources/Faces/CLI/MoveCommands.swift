import API
import ArgumentParser
import Client
import Foundation
import Manifests
import Moving
import Outbound

struct ImportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import", abstract: "Takes over what another system holds: mlflow.",
        discussion: "Example:\n  vagus import mlflow --from sqlite:///mlflow.db", subcommands: [MLflow.self])

    struct MLflow: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "mlflow", abstract: "Takes over experiments, runs, artifacts and models of an MLflow store.",
            discussion: """
                Examples:
                  vagus import mlflow --from sqlite:///mlflow.db --artifacts ./mlartifacts
                  vagus import mlflow --from ./mlruns
                  vagus import mlflow --from http://mlflow.internal:5000 --dry-run

                Runs keep their ids. What is here already is passed over: after any end, begin again with the same command.
                The exit code is 1 when something is missing afterwards.
                """)
        @OptionGroup var connection: Connection
        @Option(help: "sqlite:///FILE, a folder such as ./mlruns, or http://HOST:PORT of a server.") var from: String
        @Option(help: "Folder of the artifact root, where it is on this machine.") var artifacts: String?
        @Option(help: "Token of the server that is read; also MLFLOW_TRACKING_TOKEN.") var fromToken: String?
        @Option(help: "Which of MLflow's workspaces is read.") var workspace: String?
        @OptionGroup var move: MoveFlags

        func run() async throws {
            let outbound = OutboundClient()
            let report = try await connection.connected { client in
                let source = try await MoveSources.source(
                    from, artifacts: artifacts, token: fromToken, workspace: workspace, move.options, outbound)
                return try await move.run { progress, scratch in
                    try await MLflowImport(
                        from: source, to: client, proxy: try connection.mlflow(client, outbound),
                        project: connection.projectName, options: move.options, progress: progress, scratch: scratch
                    ).run()
                }
            }
            await outbound.shutdown()
            try move.end(report, connection)
        }
    }
}

struct ExportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export", abstract: "Gives what is here to another system: mlflow.",
        discussion: "Example:\n  vagus export mlflow --to http://mlflow.internal:5000", subcommands: [MLflow.self])

    struct MLflow: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "mlflow", abstract: "Logs experiments, runs, artifacts and models to an MLflow server.",
            discussion: """
                Examples:
                  vagus export mlflow --to http://mlflow.internal:5000
                  vagus export mlflow --to http://ana:PASSWORD@mlflow.internal:5000 --experiment churn

                Runs get new ids there and keep their old one as the tag vagus.run_id, by which a second export passes over
                what is there. The exit code is 1 when something is missing afterwards.
                """)
        @OptionGroup var connection: Connection
        @Option(help: "http://HOST:PORT of the server.") var to: String
        @Option(help: "Token of that server; also MLFLOW_TRACKING_TOKEN.") var toToken: String?
        @OptionGroup var move: MoveFlags

        func run() async throws {
            let outbound = OutboundClient()
            let report = try await connection.connected { client in
                let target = try MLflowServer(to, token: toToken ?? MoveSources.token, outbound: outbound)
                let source = ServerSource(try connection.mlflow(client, outbound), options: move.options)
                return try await move.run { progress, scratch in
                    try await MLflowExport(
                        from: source, to: target, options: move.options, progress: progress, scratch: scratch
                    ).run()
                }
            }
            await outbound.shutdown()
            try move.end(report, connection)
        }
    }
}

/// What both directions take.
struct MoveFlags: ParsableArguments {
    @Option(parsing: .upToNextOption, help: "Only these experiments, by name, and no registered models.")
    var experiment: [String] = []
    @Flag(help: "Only count what there is; send nothing.") var dryRun = false
    @Flag(help: "Missing artifact folders are a failure, too.") var strict = false

    var options: MoveOptions {
        var options = MoveOptions()
        (options.experiments, options.isDry) = (Set(experiment), dryRun)
        return options
    }

    /// Runs a move with a scratch folder, telling how far it is.
    func run(_ body: (MoveProgress, String) async throws -> MoveReport) async throws -> MoveReport {
        let scratch = FileManager.default.temporaryDirectory.appending(path: "vagus-move-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: scratch, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: scratch) }  // what stays is in the system's temporary folder
        return try await body(MoveProgress { Terminal.error(Self.line($0)) }, scratch)
    }

    private static func line(_ line: MoveProgress.Line) -> String {
        let total = line.total.map { " of \($0)" } ?? ""
        let left = line.isLast ? "" : line.left.map { ", \(Words.length($0)) left" } ?? ""
        return "\(line.runs)\(total) runs, \(Words.size(line.bytes)) of artifacts\(left)\n"
    }

    /// Shows how it ended.
    func end(_ report: MoveReport, _ connection: Connection) throws {
        connection.show(report) { text(report) }
        let lacks = !dryRun && (!report.is_equal || (strict && !report.missing.isEmpty))
        if lacks { throw ExitCode(1) }
    }

    private func text(_ report: MoveReport) -> String {
        var table = Table(dryRun ? ["", "SOURCE"] : ["", "SOURCE", "TARGET"])
        table.rows = report.counts.map { count in
            let cells = [count.kind, "\(count.source)", "\(count.target)"]
            return dryRun ? Array(cells.prefix(2)) : cells
        }
        var out = table.text
        func list(_ title: String, _ lines: [String], _ more: Int = 0) {
            guard !lines.isEmpty else { return }
            out += "\(title)\n" + lines.map { "  \($0)\n" }.joined()
            if more > 0 { out += "  and \(more) more\n" }
        }
        list("changed:", report.mapped)
        list("not moved:", report.not_taken)
        list("not found:", report.missing)
        list("missing on the other side:", report.differences, report.more_differences)
        let time = Words.length(seconds: report.seconds)
        if dryRun { return out + "counted in \(time); nothing was sent\n" }
        let passed = report.passed_over > 0 ? "; \(report.passed_over) runs were there already" : ""
        return out
            + (report.is_equal
                ? "all of it is there, after \(time)\(passed)\n" : "not all of it is there, after \(time)\(passed)\n")
    }
}

extension Connection {
    /// The dialect of MLflow of the server that is asked.
    func mlflow(_ client: VagusClient, _ outbound: OutboundClient) throws -> MLflowServer {
        try MLflowServer(
            client.server + "/mlflow", token: token ?? Self.setting("VAGUS_TOKEN"), workspace: projectName,
            outbound: outbound)
    }
}

/// Which source an address means.
enum MoveSources {
    static var token: String? {
        ProcessInfo.processInfo.environment["MLFLOW_TRACKING_TOKEN"].flatMap { $0.isEmpty ? nil : $0 }
    }

    static func source(
        _ address: String, artifacts: String?, token: String?, workspace: String?, _ options: MoveOptions,
        _ outbound: OutboundClient
    ) async throws -> any MoveSource {
        let lower = address.lowercased()
        if lower.hasPrefix("http://") || lower.hasPrefix("https://") {
            let server = try MLflowServer(
                address, token: token ?? Self.token, workspace: workspace, outbound: outbound)
            return ServerSource(server, options: options)
        }
        if lower.hasPrefix("sqlite:") {
            // SQLAlchemy's way: three slashes before a relative path, four before an absolute one.
            let rest = address.dropFirst("sqlite:".count)
            guard rest.hasPrefix("///"), rest.count > 3 else {
                throw Problem(
                    "move.address", status: 422, "\"\(address)\" names no file",
                    hint: "Write sqlite:///mlflow.db, or sqlite:////var/lib/mlflow.db for an absolute path.")
            }
            return try await SQLiteSource(
                path: String(rest.dropFirst(3)), artifacts: artifacts, workspace: workspace ?? "default")
        }
        if let colon = address.range(of: "://"), !lower.hasPrefix("file://") {
            throw Problem(
                "move.address", status: 422,
                "stores of the kind \"\(address[..<colon.lowerBound])\" are not read from outside",
                hint: "Start an mlflow server on it, and name that: --from http://HOST:5000.")
        }
        let path = lower.hasPrefix("file://") ? String(address.dropFirst("file://".count)) : address
        var isFolder: ObjCBool = false
        if FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), !isFolder.boolValue {
            return try await SQLiteSource(path: path, artifacts: artifacts, workspace: workspace ?? "default")
        }
        return try FolderSource(path: path, artifacts: artifacts)
    }
}
