import API
import Foundation
import Kernel
import Manifests
import Synchronization

/// run: a script, and what it says through its files and its output.
extension StepWork {
    mutating func shell(in place: String) async throws {
        guard let text = order.settings.string else {
            throw Problem("run.script", status: 422, "a run step has no script")
        }
        let script = "\(place)/script.\(order.shell == .python ? "py" : "sh")"
        try JobFolder.put(Array((text.hasSuffix("\n") ? text : text + "\n").utf8), at: script)
        // One pipe for both streams, so that their words stay in order.
        let sh = "exec sh -eu \"$0\" 2>&1"
        let bash = "exec bash --noprofile --norc -euo pipefail \"$0\" 2>&1"
        let start =
            switch order.shell {
            // Not every image has a bash.
            case .bash: "if command -v bash >/dev/null 2>&1; then \(bash); else \(sh); fi"
            case .sh: sh
            case .python: "exec python3 -u \"$0\" 2>&1"
            }
        let directory = try workingDirectory()
        let commands = Mutex(StepCommands(step: order.index))
        _ = try await execute(
            "sh", ["-c", pathSetting + start, script], environment: environment, in: directory, isUser: true,
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

    /// Puts the folders that steps before have named before those of PATH, whatever PATH is where the script runs. Only
    /// scripts see them: our own git is found where it always was.
    private var pathSetting: String {
        let folders = outcome.later.path.map { "'\($0.replacing("'", with: "'\\''"))'" }
        return folders.isEmpty ? "" : "PATH=\(folders.joined(separator: ":")):\"$PATH\"; export PATH; "
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
