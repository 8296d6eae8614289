import API
import Foundation
import Kernel
import Manifests
import Processes
import Synchronization

/// run: a script, and what it says through its files and its output.
extension StepWork {
    mutating func shell(in place: String) async throws {
        guard let text = order.settings.string else {
            throw Problem("run.script", status: 422, "a run step has no script")
        }
        let script = "\(place)/script.\(order.shell == .python ? "py" : "sh")"
        try JobFolder.put(
            Array((text.hasSuffix("\n") ? text : text + "\n").utf8), at: script, keeping: keepsFolder)
        let directory = try workingDirectory()
        let (program, arguments, environment) = try start(script, in: directory)
        let commands = Mutex(StepCommands(step: order.index))
        _ = try await execute(
            program, arguments, environment: environment, in: directory, isUser: true,
            filter: { bytes in commands.withLock { $0.feed(bytes) } })
        let rest = commands.withLock { $0.flush() }
        if !rest.isEmpty { try await output.write(rest) }
        let (annotations, dropped) = commands.withLock { ($0.annotations, $0.dropped) }
        outcome.annotations = annotations
        if dropped > 0 {
            try await output.say("! \(dropped) annotations beyond \(Annotation.limit) are told here only")
        }
        do {
            try readFiles(in: place)
        } catch let problem as Problem {
            // What ended the script counts more than what it had left unfinished.
            if outcome.status == .succeeded { fail(StepsWork.words(problem)) }
        }
    }

    private static let bash = ["bash", "--noprofile", "--norc", "-euo", "pipefail"]
    private static let sh = ["sh", "-eu"]
    private static let python = ["python3", "-u"]

    /// What runs a script, with the folders that steps before have named before those of PATH, whatever PATH is where it
    /// runs. Only scripts see them: our own git is found where it always was.
    private func start(_ script: String, in directory: String) throws -> (String, [String], [String: String]) {
        var environment = environment
        let folders = outcome.later.path
        let words =
            switch order.shell {
            case .bash: Self.bash
            case .sh: Self.sh
            case .python: Self.python
            }
        if try shared.executor(lease.execution.executor).traits.contains(.isBeside), let path = environment["PATH"] {
            let command = Command(
                executable: words[0], environment: ["PATH": (folders + [path]).joined(separator: ":")],
                directory: directory)
            if let file = try? Processes.file(of: command) {  // else a shell says so
                (environment["PATH"], environment["PWD"]) = (command.environment["PATH"], directory)
                return (file, words.dropFirst() + [script], environment)
            }
        }
        // What there is elsewhere is seen there. One pipe for both streams, so that their words stay in order.
        func exec(_ words: [String]) -> String { "exec \(words.joined(separator: " ")) \"$0\" 2>&1" }
        let quoted = folders.map { "'\($0.replacing("'", with: "'\\''"))'" }
        let setting = quoted.isEmpty ? "" : "PATH=\(quoted.joined(separator: ":")):\"$PATH\"; export PATH; "
        let start =
            switch order.shell {
            // Not every image has a bash.
            case .bash: "if command -v bash >/dev/null 2>&1; then \(exec(words)); else \(exec(Self.sh)); fi"
            case .sh, .python: exec(words)
            }
        return ("sh", ["-c", setting + start, script], environment)
    }

    private func workingDirectory() throws -> String {
        guard let path = order.working_directory else { return folder.workspace }
        guard isInsideWorkspace(path) else {
            throw Problem("run.directory", status: 422, "\"\(path)\" leads out of the workspace")
        }
        var isFolder: ObjCBool = false
        let place = "\(folder.workspace)/\(path)"
        guard FileManager.default.fileExists(atPath: place, isDirectory: &isFolder), isFolder.boolValue else {
            throw Problem(
                "run.directory", status: 422, "there is no folder \"\(path)\" in the workspace",
                hint: "working_directory begins at the workspace; check the repository out first.")
        }
        return place
    }

    private mutating func readFiles(in place: String) throws {
        outcome.outputs = try KeyValues.parse(StepFile.output.read(in: place)).map { .string($0) }
        let summary = try StepFile.summary.read(in: place)
        if !summary.isEmpty { outcome.summary = summary }
        try outcome.later.add(env: StepFile.env.read(in: place), path: StepFile.path.read(in: place))
    }
}

/// fetch: an artifact of an earlier stage, put into the workspace.
extension StepWork {
    mutating func fetch(in place: String) async throws {
        guard let artifact = order.inputs["artifact"] else {
            throw Problem("fetch.nothing", status: 422, "there is no artifact to fetch")
        }
        let spec = try FetchSpec(json: order.settings, at: [])
        let target = try Disk.folder(spec.to, in: folder.workspace)
        let began = shared.time.now
        let found = try await shared.cache.fetch(artifact, to: "\(place)/fetched")
        switch artifact.form {
        case .tree: try Disk.merge(found, into: target)
        case .file:
            let name = (artifact.file_name as NSString).lastPathComponent
            guard !name.isEmpty, name != "..", name != "." else {
                throw Problem("fetch.name", status: 422, "\"\(artifact.file_name)\" cannot be a file's name")
            }
            // Copied beside first: the blob is shared, and a link may lie in its place.
            let copy = "\(place)/fetched"
            try FileManager.default.copyItem(atPath: found, toPath: copy)
            chmod(copy, 0o640)
            guard rename(copy, "\(target)/\(name)") == 0 else {
                throw Problem("fetch.write", status: 422, "could not put \"\(name)\" into the workspace")
            }
        }
        let seconds = shared.time.now.since(began) / .seconds(1)
        try await output.say(
            "fetched \(artifact.stage).\(artifact.name): \(Disk.words(artifact.size_bytes)) in \(TimeSpan.seconds(seconds))"
        )
    }
}
