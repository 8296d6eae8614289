import API
import Foundation
import Kernel
import Manifests

/// checkout: one exact commit, in a workspace that may hold an earlier checkout.
///
/// Credentials reach git in its environment, for the one server that they are meant for; they are never in an argument,
/// in an address or in a file. Whatever the workspace holds (hooks, settings) has no say in it.
extension StepWork {
    mutating func checkout() async throws {
        guard let repository = order.repository, let commit = order.commit, !commit.hasPrefix("-"),
            !repository.hasPrefix("-")
        else {
            throw Problem("checkout.nothing", status: 422, "there is no commit to check out")
        }
        let spec = try CheckoutSpec(json: order.settings, at: [])
        let place = try Disk.folder(spec.path ?? ".", in: folder.workspace)
        let remote = CheckoutRemote(repository, token: lease.token)
        var variables = remote.environment(environment)
        if spec.lfs {
            guard try await git(["lfs", "version"], variables, in: place, quietly: true) else {
                return fail("this runner has no git-lfs, which `lfs: true` needs")
            }
            // Its files come at the end, all at once.
            variables["GIT_LFS_SKIP_SMUDGE"] = "1"
        }
        let isKept = FileManager.default.fileExists(atPath: "\(place)/.git")
        if isKept { Self.removeLocks(beneath: "\(place)/.git") }
        let depth = spec.depth == 0 ? [] : ["--depth=\(spec.depth)"]
        var commands = [
            ["init", "--quiet", "--initial-branch=main", "."],
            ["config", "remote.origin.url", remote.url],
            Self.fetch(commit, spec, in: place),
            ["checkout", "--quiet", "--force", "--detach", commit],
        ]
        // A workspace that was kept holds what the last try has left.
        if isKept { commands.append(["clean", "-ffdx", "--quiet"]) }
        if spec.lfs { commands += [["lfs", "install", "--local", "--skip-repo"], ["lfs", "pull", "origin"]] }
        if spec.submodules != .no {
            let recursive = spec.submodules == .recursive ? ["--recursive"] : []
            commands += [
                ["submodule", "--quiet", "sync"] + recursive,
                ["submodule", "--quiet", "update", "--init", "--force"] + recursive + depth,
            ]
        }
        for command in commands {
            guard try await git(command, variables, in: place) else { return }
        }
        try await verify(commit, variables, in: place)
    }

    /// The commit, and the refs that are wanted beside it; only what the command names comes.
    private static func fetch(_ commit: String, _ spec: CheckoutSpec, in place: String) -> [String] {
        var arguments = ["fetch", "--quiet", "--no-tags", "--force", "--no-recurse-submodules"]
        if spec.depth > 0 {
            arguments.append("--depth=\(spec.depth)")
        } else {
            // Of a repository that is shallow itself, all that it has.
            arguments.append("--update-shallow")
            let isShallow = FileManager.default.fileExists(atPath: "\(place)/.git/shallow")
            if isShallow { arguments.append("--unshallow") }
        }
        // Refs of an earlier checkout must not stand in the way of new ones.
        if !spec.refs.isEmpty { arguments.append("--prune") }
        return arguments + ["origin", commit] + spec.refs
    }

    /// Whether what lies there is what was asked for: the last word is git's own.
    private mutating func verify(_ commit: String, _ variables: [String: String], in place: String) async throws {
        let script = "head=$(git rev-parse HEAD) && [ \"$head\" = \"$(git rev-parse \"$0^{commit}\")\" ]"
        guard
            try await execute(
                "sh", ["-c", script, commit], environment: variables, in: place)
        else { return fail("HEAD is not \(commit) after checkout") }
        try await output.say("checked out \(commit)")
        outcome.outputs["commit"] = .string(commit)
    }

    /// One call of git; its failure is the step's, unless `quietly`.
    private mutating func git(
        _ arguments: [String], _ variables: [String: String], in place: String, quietly: Bool = false
    ) async throws -> Bool {
        let isWell = try await execute("git", arguments, environment: variables, in: place, quietly: quietly)
        if quietly { (outcome.status, outcome.reason) = (.succeeded, nil) }
        if !isWell, !quietly { fail("git \(arguments[0]): \(outcome.reason ?? "failed")") }
        return isWell
    }

    /// A git that was killed leaves its locks behind, and nobody else works here now.
    private static func removeLocks(beneath folder: String) {
        for name in ["index.lock", "HEAD.lock", "config.lock", "shallow.lock", "FETCH_HEAD.lock"] {
            unlink("\(folder)/\(name)")
        }
    }
}

/// Where a checkout fetches from: an address without credentials, and the variables that give git what it needs.
struct CheckoutRemote: Sendable {
    /// A path, or a URL without user and password.
    var url: String
    /// The value of an Authorization header for it.
    private var authorization: String?

    init(_ repository: String, token: String?) {
        url = repository
        guard Self.isHTTP(repository), let scheme = repository.range(of: "://") else { return }
        let rest = repository[scheme.upperBound...]
        let host = rest.prefix { $0 != "/" }
        var login = token.map { "vagus:\($0)" }
        if let at = host.lastIndex(of: "@") {
            let written = String(host[..<at])
            url = String(repository[..<scheme.upperBound]) + rest[rest.index(after: at)...]
            login = login ?? written.removingPercentEncoding ?? written
        }
        authorization = login.map { "Authorization: Basic \(Data($0.utf8).base64EncodedString())" }
    }

    static func isHTTP(_ text: String) -> Bool { text.hasPrefix("http://") || text.hasPrefix("https://") }

    /// Scheme, host and port: only there do credentials go, so that no submodule of another host is told them.
    private var server: String {
        guard let scheme = url.range(of: "://") else { return url }
        return url[..<scheme.upperBound] + url[scheme.upperBound...].prefix { $0 != "/" } + "/"
    }

    func environment(_ given: [String: String]) -> [String: String] {
        var variables = given
        for name in given.keys where name.hasPrefix("GIT_") { variables[name] = nil }
        variables["GIT_CONFIG_NOSYSTEM"] = "1"
        variables["GIT_CONFIG_GLOBAL"] = "/dev/null"
        variables["GIT_TERMINAL_PROMPT"] = "0"
        variables["GIT_ASKPASS"] = "/bin/false"
        var settings = [
            ("advice.detachedHead", "false"), ("protocol.version", "2"), ("safe.directory", "*"),
            ("core.hooksPath", "/dev/null"), ("core.fsmonitor", "false"), ("gc.auto", "0"),
        ]
        if let authorization {
            settings += [("http.\(server).extraHeader", authorization), ("http.\(server).followRedirects", "false")]
        }
        // A submodule of a repository that is a folder here is a folder here too.
        if !url.contains("://") { settings.append(("protocol.file.allow", "always")) }
        variables["GIT_CONFIG_COUNT"] = String(settings.count)
        for (index, (key, value)) in settings.enumerated() {
            variables["GIT_CONFIG_KEY_\(index)"] = key
            variables["GIT_CONFIG_VALUE_\(index)"] = value
        }
        return variables
    }
}
