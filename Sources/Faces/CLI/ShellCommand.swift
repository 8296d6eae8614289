import API
import ArgumentParser
import Client
import Foundation
import Manifests
import Runner

struct ShellCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "shell", abstract: "Opens a shell in the kept workspace of a job, as a step of it saw the world.",
        discussion: """
            Examples:
              vagus shell shop:latest test/unit
              vagus shell shop:12 test/unit@2 --step 3
              vagus shell shop:latest build/app -- ls -la out

            Where the workspace is on another machine, the terminal goes by way of the server and the job's runner, which
            needs the permission admin. Secrets are not in the environment. With a command after -- the exit code is the
            command's.
            """)
    @OptionGroup var connection: Connection
    @Argument(help: "The run.") var run: String
    @Argument(help: "stage/job, or the stage alone when it has one; @N for its try N.") var job: String
    @Option(help: "Step whose variables are set, as the log counts them; absent: the one that failed, or the last.")
    var step: Int?
    @Option(help: "Data folder of the server or runner, when the server does not tell where the workspace is.")
    var data: String?
    @Flag(help: "Goes by way of the server, also when the workspace is on this machine.") var remote = false
    @Argument(parsing: .postTerminator, help: "A command instead of a shell.") var command: [String] = []

    func run() async throws {
        let found = try await connection.connected {
            try await $0.call(Runs.get, RunName(project: connection.projectName, run: self.run))
        }
        if !remote {
            do {
                let place = try ShellPlace(run: found, job: job, step: step, data: data)
                try ShellStart(place: place, command: command).start()
            } catch let problem as Problem where problem.code == ShellPlace.elsewhere && data == nil {
                // On another machine, then.
            }
        }
        var input = ShellInput()
        (input.project, input.run, input.step) = (found.project, found.id, step)
        (input.job, input.command) = (try ShellPlace.name(job, in: found), command)
        let wanted = input
        let code = try await connection.connected { try await RemoteShell(client: $0, input: wanted).run() }
        if code != 0 { throw ExitCode(code) }
    }
}

/// Where a shell begins, and what it sees.
struct ShellPlace {
    let workspace: String
    let environment: [String: String]
    /// For the prompt: "shop:12 test/unit step 3".
    let title: String

    init(run: Run, job text: String, step wanted: Int?, data: String?) throws {
        let (job, step) = try run.shellPlace(job: try Self.name(text, in: run), step: wanted)
        workspace = try Self.workspace(of: job, in: run, data: data)
        let folder = (workspace as NSString).deletingLastPathComponent
        var environment =
            StepMemory.environment(ofStep: step?.index ?? 0, in: folder)
            ?? ProcessInfo.processInfo.environment.filter { ["PATH", "HOME", "LANG"].contains($0.key) }
        environment["VAGUS_WORKSPACE"] = workspace
        for name in ["TERM", "COLORTERM"] { environment[name] = ProcessInfo.processInfo.environment[name] }
        self.environment = environment
        title = run.shellTitle(job, step)
    }

    /// The workspace is not on this machine.
    static let elsewhere = "shell.no-workspace"

    /// The job's name without the try, which must be the newest.
    static func name(_ text: String, in run: Run) throws -> String {
        let parts = text.split(separator: "@", maxSplits: 1).map(String.init)
        let name = parts.first ?? ""
        let (job, _) = try run.shellPlace(job: name, step: nil)
        guard parts.count < 2 || Int(parts[1]) == job.attempt else {
            throw Problem(
                "shell.attempt", status: 404,
                "only the workspace of the newest try is kept, and that is \(job.attempt)",
                hint: "Leave @\(parts[1]) out.")
        }
        return job.key
    }

    /// What the server tells, or else where a runner of this machine keeps it.
    private static func workspace(of job: Job, in run: Run, data: String?) throws -> String {
        var places: [String] = []
        if let told = job.json["workspace"]?.string { places.append(told) }
        if let runner = job.runner {
            let folder = data ?? ProcessInfo.processInfo.environment["VAGUS_DATA"] ?? "./vagus-data"
            let absolute = URL(filePath: folder).standardizedFileURL.path
            places.append("\(absolute)/runner/\(runner)/workspaces/\(run.id)/\(job.stage).\(job.name)/workspace")
        }
        if let place = places.first(where: { FileManager.default.fileExists(atPath: $0) }) { return place }
        guard let runner = job.runner else {
            throw Problem("shell.never-ran", status: 409, "job \"\(job.key)\" has not run on a runner")
        }
        throw Problem(
            elsewhere, status: 404, "the workspace of \"\(job.key)\" is not on this machine",
            detail: "Runner \"\(runner)\" had it; looked for \(places.joined(separator: ", ")).",
            hint: job.status == .failed
                ? "Run this on the runner's machine, and name its data folder with --data."
                : "The workspace of a job that succeeded is kept only with `workspace: { keep: always }`.")
    }
}

/// Puts a shell in our place: it has the terminal itself, so that every program works as usual in it.
struct ShellStart {
    let place: ShellPlace
    let command: [String]

    /// Comes back only when it could not be done.
    func start() throws {
        guard chdir(place.workspace) == 0 else { throw problem("could not go into \(place.workspace)") }
        var environment = place.environment
        environment["PWD"] = place.workspace
        let arguments: [String]
        let executable: String
        if let program = command.first {
            executable = try Self.find(program, in: environment["PATH"] ?? "")
            arguments = command
        } else {
            executable = try Self.find("bash", in: environment["PATH"] ?? "/usr/bin:/bin")
            arguments = ["bash", "--noprofile", "--norc", "-i"]
            environment["PS1"] = "[\(place.title)] \\W\\$ "
            Terminal.error("\(place.title): \(place.workspace)\n")
        }
        // What our own life has set must not be its.
        signal(SIGPIPE, SIG_DFL)
        var none = sigset_t()
        sigemptyset(&none)
        sigprocmask(SIG_SETMASK, &none, nil)
        try Self.execute(executable, arguments, environment.map { "\($0.key)=\($0.value)" })
    }

    private static func execute(_ executable: String, _ arguments: [String], _ environment: [String]) throws {
        var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        var envp: [UnsafeMutablePointer<CChar>?] = environment.map { strdup($0) } + [nil]
        execve(executable, &argv, &envp)
        let code = errno
        for pointer in argv + envp { free(pointer) }
        throw Problem(
            "shell.start", status: 500, "could not start \(executable)", detail: String(cString: strerror(code)) + ".")
    }

    private func problem(_ message: String) -> Problem {
        Problem("shell.start", status: 500, message, detail: String(cString: strerror(errno)) + ".")
    }

    /// A path as it is; a name where PATH has it.
    private static func find(_ program: String, in path: String) throws -> String {
        if program.contains("/") { return program }
        for folder in path.split(separator: ":") where access("\(folder)/\(program)", X_OK) == 0 {
            return "\(folder)/\(program)"
        }
        throw Problem(
            "shell.program", status: 404, "there is no program \"\(program)\"",
            hint: "The step's PATH is \(path).")
    }
}
