import API
import Foundation
import Kernel
import Processes
import Synchronization

/// What a commit tells of itself.
struct CommitFacts: Sendable, Equatable {
    var author: String
    var email: String
    var committedAt: Timestamp
    /// First line of its message.
    var message: String
    var actor: String { "git:\(author) <\(email)>" }
}

/// Asks git.
///
/// Each call is a process with a time limit, a limit of output and an environment of its own.
struct Git: Sendable {
    let executable: String
    let environment: [String: String]

    /// How a hook writes that a ref is to be gone.
    static let noCommit = String(repeating: "0", count: 40)
    static let timeout: Duration = .seconds(60)
    static let outputLimit = 32 << 20

    /// Folder of a repository: the watched one, or the hosted one.
    static func place(of reference: Reference<RepositoryKind>, path: String?, hosted: String) -> String {
        guard let path else { return "\(hosted)/\(reference.project)/\(reference.name).git" }
        let inner = path.hasSuffix("/") ? "\(path).git" : "\(path)/.git"
        return isFolder(inner) ? inner : path
    }

    static func isFolder(_ path: String) -> Bool {
        var isFolder: ObjCBool = false
        return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && isFolder.boolValue
    }

    // MARK: Making

    /// Makes a bare repository, unless there is one; true when it did.
    @discardableResult
    func create(_ place: String, branch: String) async throws -> Bool {
        guard !Self.isFolder("\(place)/objects") else { return false }
        let parent = String(place[..<(place.lastIndex(of: "/") ?? place.startIndex)])
        try FileManager.default.createDirectory(atPath: parent, withIntermediateDirectories: true)
        _ = try await run(["init", "--quiet", "--bare", "--initial-branch=\(branch)", place], in: parent)
        return true
    }

    /// Brings refs of a repository elsewhere here, and takes away what is no longer there.
    func fetch(_ url: String, _ refs: [String], into place: String, access: [String: String]) async throws {
        guard !url.hasPrefix("-") else {
            throw Problem("remote.url", status: 422, "\"\(url)\" is no address", hint: "Write an https URL.")
        }
        let arguments = ["fetch", "--quiet", "--prune", "--no-tags", "--no-write-fetch-head", "--force", url] + refs
        let (code, output) = try await attempt(
            ["-c", "http.followRedirects=false", "-c", "gc.auto=0"] + arguments, in: place, adding: access,
            timeout: RemoteReconciler.timeout)
        guard code == 0 else {
            throw Problem(
                "git.fetch", status: 502, "could not fetch",
                detail: String(output.split(separator: "\n").joined(separator: "; ").prefix(300)))
        }
    }

    // MARK: Looking

    /// Branches and tags with their commits, read from the files of the repository: no process for what is asked each second.
    ///
    /// Loose refs are read before packed ones: git packs a ref before it removes the loose file.
    static func refs(in place: String) throws -> [String: String] {
        var loose: [String: String] = [:]
        for kind in ["refs/heads", "refs/tags"] { try collect(kind, in: place, into: &loose) }
        var found: [String: String] = [:]
        let file = "\(place)/packed-refs"
        let packed = (try? String(contentsOfFile: file, encoding: .utf8)) ?? ""  // absent: nothing is packed
        for line in packed.split(separator: "\n") where !line.hasPrefix("#") && !line.hasPrefix("^") {
            let parts = line.split(separator: " ", maxSplits: 1)
            guard parts.count == 2, isHash(parts[0]) else { continue }
            if parts[1].hasPrefix("refs/heads/") || parts[1].hasPrefix("refs/tags/") {
                found[String(parts[1])] = String(parts[0])
            }
        }
        found.merge(loose) { _, newer in newer }
        guard found.count <= PipelineLimits.refs else {
            throw Problem(
                "repository.refs", status: 413, "the repository has more than \(PipelineLimits.refs) branches and tags",
                hint: "Remove old ones.")
        }
        return found
    }

    private static func collect(_ folder: String, in place: String, into refs: inout [String: String]) throws {
        let path = "\(place)/\(folder)"
        let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []  // gone: no refs there
        for name in names where !name.hasSuffix(".lock") {
            let ref = "\(folder)/\(name)"
            if isFolder("\(place)/\(ref)") {
                try collect(ref, in: place, into: &refs)
                continue
            }
            let text = try? String(contentsOfFile: "\(place)/\(ref)", encoding: .utf8)  // gone: deleted or packed
            let hash = (text ?? "").prefix { !$0.isWhitespace }
            if isHash(hash) { refs[ref] = String(hash) }
        }
    }

    static func isHash(_ text: some StringProtocol) -> Bool {
        (text.utf8.count == 40 || text.utf8.count == 64)
            && text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }

    /// The commit that a name means; nil when there is none.
    func resolve(_ name: String, in place: String) async throws -> String? {
        guard !name.hasPrefix("-"), name.utf8.count <= 255, Self.isFolder(place) else { return nil }
        let (code, output) = try await attempt(["rev-parse", "--verify", "--quiet", "\(name)^{commit}"], in: place)
        let hash = output.prefix { !$0.isWhitespace }
        return code == 0 && Self.isHash(hash) ? String(hash) : nil
    }

    /// "refs/heads/main" for "main"; nil for a bare commit.
    func fullName(of name: String, in place: String) async throws -> String? {
        guard !name.hasPrefix("-") else { return nil }
        let (code, output) = try await attempt(
            ["rev-parse", "--symbolic-full-name", "--verify", "--quiet", name], in: place)
        let full = output.prefix { !$0.isWhitespace }
        return code == 0 && full.hasPrefix("refs/") ? String(full) : nil
    }

    func facts(of commit: String, in place: String) async throws -> CommitFacts {
        let text = try await run(["log", "-1", "--format=%an%x00%ae%x00%ct%x00%s", commit], in: place)
        let parts = text.split(separator: "\0", maxSplits: 3, omittingEmptySubsequences: false)
        guard parts.count == 4, let seconds = Int64(parts[2]) else {
            throw Problem("commit.unreadable", status: 422, "git tells nothing of commit \(commit.prefix(12))")
        }
        return CommitFacts(
            author: String(parts[0]), email: String(parts[1]),
            committedAt: Timestamp(microseconds: seconds * 1_000_000),
            message: String(parts[3].prefix { $0 != "\n" }.prefix(200)))
    }

    /// Files that differ between two commits; all files when there is no earlier one.
    func changed(from old: String?, to new: String, in place: String) async throws -> [String] {
        if let old {
            let (code, text) = try await attempt(["diff", "--name-only", "-z", "--no-renames", old, new], in: place)
            if code == 0 { return text.split(separator: "\0").map(String.init) }
            // The old commit is gone, after a push by force and a clean-up: then all counts as changed.
        }
        return try await files(beneath: nil, of: new, in: place)
    }

    /// Files that `commit` has changed since it left `base`; nil when there is no such base.
    func changed(since base: String, of commit: String, in place: String) async throws -> [String]? {
        let (code, text) = try await attempt(
            ["diff", "--name-only", "-z", "--no-renames", "\(base)...\(commit)", "--"], in: place)
        return code == 0 ? text.split(separator: "\0").map(String.init) : nil
    }

    /// Whether all of `commit` is in `branch` already.
    func isMerged(_ commit: String, into branch: String, in place: String) async throws -> Bool {
        try await attempt(["merge-base", "--is-ancestor", commit, branch], in: place).0 == 0
    }

    /// Whether a branch or a tag holds the commit, and not only a pull request.
    func isOurs(_ commit: String, in place: String) async throws -> Bool {
        let (code, found) = try await attempt(
            ["for-each-ref", "--count=1", "--contains=\(commit)", "refs/heads", "refs/tags"], in: place)
        return code == 0 && !found.isEmpty
    }

    /// Moves a ref, if it still points to `old`; nil: whatever it points to.
    func update(_ ref: String, to commit: String, from old: String? = nil, in place: String) async throws {
        _ = try await run(["update-ref", ref, commit] + (old.map { [$0] } ?? []), in: place)
    }

    func files(beneath folder: String?, of commit: String, in place: String) async throws -> [String] {
        let arguments =
            ["ls-tree", "-r", "-z", "--name-only", "--full-tree", commit] + (folder.map { ["--", $0] } ?? [])
        return try await run(arguments, in: place).split(separator: "\0").map(String.init)
    }

    func content(of file: String, at commit: String, in place: String) async throws -> String {
        try await run(["cat-file", "blob", "\(commit):\(file)"], in: place)
    }

    // MARK: -

    func run(_ arguments: [String], in place: String) async throws -> String {
        let (code, output) = try await attempt(arguments, in: place)
        guard code == 0 else {
            throw Problem(
                "git.failed", status: 502, "git \(arguments.first ?? "") failed in \(place)",
                detail: String(output.prefix(500)), hint: "Run it by hand in that folder.")
        }
        return output
    }

    func attempt(
        _ arguments: [String], in place: String, adding extra: [String: String] = [:],
        timeout: Duration = Git.timeout
    ) async throws -> (Int32, String) {
        var variables = environment
        variables["GIT_CONFIG_NOSYSTEM"] = "1"
        variables["GIT_CONFIG_GLOBAL"] = "/dev/null"
        variables["GIT_TERMINAL_PROMPT"] = "0"
        variables["GIT_OPTIONAL_LOCKS"] = "0"
        variables["LC_ALL"] = "C.UTF-8"
        variables["HOME"] = variables["HOME"] ?? "/"
        variables.merge(extra) { _, added in added }
        let command = Command(
            executable: executable, arguments: ["-c", "safe.directory=*", "-c", "core.quotePath=false"] + arguments,
            environment: variables, directory: place, dieWithParent: true, isContained: false)
        let output = Mutex<(standard: [UInt8], error: [UInt8])>(([], []))
        do {
            let outcome = try await Processes.run(command, timeout: timeout, grace: .seconds(1)) { chunk in
                let isTooLong = output.withLock { output in
                    if chunk.isError {
                        output.error += chunk.bytes.prefix(4096)
                    } else {
                        output.standard += chunk.bytes
                    }
                    return output.standard.count > Self.outputLimit
                }
                if isTooLong {
                    throw Problem("git.output", status: 413, "git told more than \(Self.outputLimit >> 20) MiB")
                }
            }
            let (standard, error) = output.withLock { $0 }
            switch outcome.status {
            case .exited(0): return (0, String(decoding: standard, as: UTF8.self))
            case .exited(let code): return (code, String(decoding: error, as: UTF8.self))
            case .signalled(let number): return (128 + number, String(decoding: error, as: UTF8.self))
            case .timedOut:
                throw Problem(
                    "git.timeout", status: 504, "git \(arguments.first ?? "") took longer than \(timeout)")
            }
        } catch let error as ProcessError {
            throw Problem("git.missing", status: 502, "could not start git: \(error.message)", hint: error.hint)
        }
    }
}
