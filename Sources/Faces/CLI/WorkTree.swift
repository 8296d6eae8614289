import API
import Foundation
import Processes
import Synchronization

/// A git work tree as it stands, copied into a bare repository of our own: what is not committed yet is a commit there.
///
/// Nothing is written to the repository it is taken of, not even its index: our repository borrows its objects, works on
/// a copy of its index, and keeps what is new to itself.
struct WorkTree: Sendable {
    /// The bare repository.
    let place: String
    let branch: String
    let commit: String
    /// Whether the commit holds changes that the work tree has over its HEAD.
    let hasChanges: Bool

    /// Branches and tags that are copied, the newest first.
    static let refsLimit = 2000

    /// Copies the work tree that the folder is in; nil when it is in none.
    ///
    /// `ref` names a branch, tag or commit to take instead of the files as they stand; `withRefs` takes all branches and
    /// tags too, for checkouts that ask for them.
    static func copy(
        around folder: String, to place: String, ref: String?, withRefs: Bool = false
    ) async throws -> WorkTree? {
        let git = LocalGit()
        let (code, top) = try await git.attempt(["rev-parse", "--show-toplevel"], in: folder)
        guard code == 0, !top.isEmpty else {
            guard let ref else { return nil }
            throw Problem(
                "local.no-git", status: 422, "there is no git work tree to take \"\(ref)\" from",
                hint: "Leave --ref out, or go into the work tree.")
        }
        return try await Copy(git: git, top: top, place: place, takesRefs: withRefs).make(ref)
    }

    private struct Copy {
        let git: LocalGit
        let top: String
        let place: String
        let takesRefs: Bool

        func make(_ ref: String?) async throws -> WorkTree {
            let head = try await git.text(
                ["rev-parse", "--verify", "--quiet", "HEAD^{commit}"], in: top, orEmpty: true)
            let current = try await git.text(["symbolic-ref", "--quiet", "--short", "HEAD"], in: top, orEmpty: true)
            let branch = current.isEmpty ? "work-tree" : current
            try await borrow(branch: branch)
            if takesRefs { try await copyRefs(besides: branch) }
            if let ref { return try await named(ref) }
            let commit = try await commitOfFiles(on: head)
            _ = try await ours(["update-ref", "refs/heads/\(branch)", commit])
            return WorkTree(place: place, branch: branch, commit: commit, hasChanges: commit != head)
        }

        private func named(_ ref: String) async throws -> WorkTree {
            let isOption = ref.hasPrefix("-")
            let commit =
                isOption
                ? ""
                : try await git.text(["rev-parse", "--verify", "--quiet", "\(ref)^{commit}"], in: top, orEmpty: true)
            guard !commit.isEmpty else {
                throw Problem(
                    "commit.not-found", status: 404, "no commit, branch or tag \"\(ref)\" in \(top)",
                    hint: "Look at what there is: git branch --all")
            }
            let full = try await git.text(["rev-parse", "--symbolic-full-name", ref], in: top, orEmpty: true)
            let name = full.hasPrefix("refs/heads/") || full.hasPrefix("refs/tags/") ? full : "refs/heads/work-tree"
            _ = try await ours(["update-ref", name, commit])
            return WorkTree(
                place: place, branch: String(name.split(separator: "/").dropFirst(2).joined(separator: "/")),
                commit: commit, hasChanges: false)
        }

        /// A bare repository that finds the objects of the other one without copying them.
        private func borrow(branch: String) async throws {
            let parent = (place as NSString).deletingLastPathComponent
            _ = try await git.text(["init", "--quiet", "--bare", "--initial-branch=\(branch)", place], in: parent)
            let objects = try await theirPath("objects")
            try Data("\(objects)\n".utf8).write(to: URL(filePath: "\(place)/objects/info/alternates"))
            for (theirs, own) in [("index", "index"), ("shallow", "shallow"), ("info/exclude", "info/exclude")] {
                let path = try await theirPath(theirs)
                guard let data = FileManager.default.contents(atPath: path) else { continue }
                try Data(data).write(to: URL(filePath: "\(place)/\(own)"))
            }
            try keepAge(of: try await theirPath("index"), at: "\(place)/index")
        }

        /// Names what the branches and tags of the other one name, in git's own file of packed refs.
        private func copyRefs(besides branch: String) async throws {
            let list = [
                "for-each-ref", "--sort=-creatordate", "--count=\(WorkTree.refsLimit)",
                "--format=%(objectname) %(refname)", "refs/heads", "refs/tags",
            ]
            let told = try await git.text(list, in: top, orEmpty: true)
            // A branch that we make cannot lie where others have a folder.
            let folders = [branch, "work-tree"].map { " refs/heads/\($0)/" }
            let lines = told.split(separator: "\n").filter { line in !folders.contains { line.contains($0) } }
            guard !lines.isEmpty else { return }
            let text = lines.joined(separator: "\n") + "\n"
            try Data(text.utf8).write(to: URL(filePath: "\(place)/packed-refs"))
        }

        /// Gives the copied index the age of the original, rounded down.
        ///
        /// git trusts what an index says of a file that is older than the index, and looks into one that is not ("racy git").
        /// Were the copy as new as it is, a change of the same length right behind the last `git add` would not be seen.
        private func keepAge(of index: String, at copy: String) throws {
            guard FileManager.default.fileExists(atPath: copy) else { return }
            let facts = try FileManager.default.attributesOfItem(atPath: index)
            let age = (facts[.modificationDate] as? Date)?.timeIntervalSince1970 ?? 1
            try FileManager.default.setAttributes(
                [.modificationDate: Date(timeIntervalSince1970: age.rounded(.down))], ofItemAtPath: copy)
        }

        private func theirPath(_ name: String) async throws -> String {
            let path = try await git.text(["rev-parse", "--git-path", name], in: top)
            return path.hasPrefix("/") ? path : "\(top)/\(path)"
        }

        /// Files as they stand, ignored ones left out.
        private func commitOfFiles(on head: String) async throws -> String {
            // Contents go in as they are, whatever clean-up filters the attributes ask for.
            let plain = ["-c", "filter.lfs.clean=", "-c", "filter.lfs.process=", "-c", "filter.lfs.required=false"]
            _ = try await ours(plain + ["add", "--all", "."])
            let tree = try await ours(["write-tree"])
            if !head.isEmpty, try await ours(["rev-parse", "\(head)^{tree}"]) == tree { return head }
            var identity = LocalGit.identity
            for (key, variable) in [("user.name", "NAME"), ("user.email", "EMAIL")] {
                let value = try await git.text(["config", key], in: top, orEmpty: true)
                guard !value.isEmpty else { continue }
                for role in ["AUTHOR", "COMMITTER"] { identity["GIT_\(role)_\(variable)"] = value }
            }
            let parents = head.isEmpty ? [] : ["-p", head]
            return try await ours(
                ["commit-tree", tree, "-m", "work tree with changes that are not committed"] + parents, adding: identity
            )
        }

        private func ours(_ arguments: [String], adding variables: [String: String] = [:]) async throws -> String {
            let own = ["GIT_DIR": place, "GIT_WORK_TREE": top, "GIT_INDEX_FILE": "\(place)/index"]
            return try await git.text(arguments, in: top, adding: own.merging(variables) { $1 })
        }
    }
}

/// git, as the person who started us has set it up.
struct LocalGit: Sendable {
    /// Longest time of one call.
    static let timeout = Duration.seconds(300)
    /// Bytes of an answer.
    static let outputLimit = 1 << 20
    static let identity = [
        "GIT_AUTHOR_NAME": "vagus", "GIT_AUTHOR_EMAIL": "vagus@localhost",
        "GIT_COMMITTER_NAME": "vagus", "GIT_COMMITTER_EMAIL": "vagus@localhost",
    ]

    func text(
        _ arguments: [String], in folder: String, adding variables: [String: String] = [:], orEmpty: Bool = false
    ) async throws -> String {
        let (code, output) = try await attempt(arguments, in: folder, adding: variables)
        if code == 0 { return output }
        if orEmpty { return "" }
        throw Problem(
            "git.failed", status: 500,
            "git \(arguments.first { !$0.hasPrefix("-") && !$0.contains("=") } ?? "") failed",
            detail: String(output.prefix(500)), hint: "Run it by hand in \(folder).")
    }

    func attempt(
        _ arguments: [String], in folder: String, adding variables: [String: String] = [:]
    ) async throws -> (code: Int32, output: String) {
        let own = ProcessInfo.processInfo.environment
        var environment = ["LC_ALL": "C.UTF-8", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"]
        for name in ["PATH", "HOME", "XDG_CONFIG_HOME"] { environment[name] = own[name] }
        environment.merge(variables) { $1 }
        let command = Command(
            executable: "git", arguments: ["-c", "safe.directory=*"] + arguments, environment: environment,
            directory: folder, dieWithParent: true, isContained: false)
        let heard = Mutex<(output: [UInt8], error: [UInt8])>(([], []))
        let outcome: RunOutcome
        do {
            outcome = try await Processes.run(command, timeout: Self.timeout) { chunk in
                heard.withLock { heard in
                    if chunk.isError {
                        heard.error += chunk.bytes.prefix(4096)
                    } else if heard.output.count < Self.outputLimit {
                        heard.output += chunk.bytes
                    }
                }
            }
        } catch let error as ProcessError {
            throw Problem("git.missing", status: 500, "could not start git: \(error.message)", hint: error.hint)
        }
        let (output, error) = heard.withLock { $0 }
        let isSuccess = outcome.isSuccess
        let text = String(decoding: isSuccess ? output : error, as: UTF8.self)
        let code: Int32 = if case .exited(let code) = outcome.status { code } else { 128 }
        return (code, text.trimmingCharacters(in: .whitespacesAndNewlines))
    }
}
