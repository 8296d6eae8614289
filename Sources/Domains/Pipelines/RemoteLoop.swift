import API
import Foundation
import Kernel
import Logging
import Manifests
import SQL

/// Follows repositories that live elsewhere: brings their branches, tags and pull requests here when a webhook says so, and
/// every `poll` without one.
///
/// What it fetches lies where a hosted repository would, so that everything behind it is as for a push.
struct RemoteReconciler: Reconciler {
    static let name = "pipelines-remotes"
    static let topic = "RepositoryRemote"
    static let topics: Set<String> = [topic, RepositoryKind.name]
    let context: DomainContext
    let git: Git
    let settings: PipelinesSettings

    /// The longest wait after failures.
    static let longestWait: Duration = .seconds(3600)
    /// Longest time of one fetch.
    static let timeout: Duration = .seconds(1800)

    func keys() async throws -> [Reference<RepositoryKind>] {
        try await context.store.read { sql in
            try sql.resources(RepositoryKind.self).filter { $0.spec.remote != nil }.map(\.reference)
        }
    }

    func reconcile(_ key: Reference<RepositoryKind>) async throws -> Next {
        let (found, stored, told) = try await context.store.read { sql in
            (try sql.resource(RepositoryKind.self, key), try sql.remote(key), try sql.told(of: key))
        }
        guard let repository = found, let remote = repository.spec.remote else { return .settled }
        let now = context.time.now
        let state = stored ?? StoredRemote(wantedAt: now)
        guard state.wantedAt <= now else { return .again(in: state.wantedAt.since(now)) }
        let place = Git.place(of: key, path: nil, hosted: settings.repositories)
        var failure: String?
        do {
            try await git.create(place, branch: repository.spec.default_branch)
            let access = try await self.access(remote, project: key.project)
            try await git.fetch(remote.url, Self.refs, into: place, access: access)
            // Branches first: a pull request is compared with its base.
            context.store.bells.ring([RepositoryKind.name])
            for one in told { try await take(one, repository, remote, place, access) }
        } catch let problem as Problem {
            failure = problem.detail ?? problem.message
        }
        return try await note(failure, state, repository, remote)
    }

    private static let refs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]

    /// Writes down how it went, and when to look again: after a failure later and later, at most an hour.
    private func note(
        _ failure: String?, _ state: StoredRemote, _ repository: TypedResource<RepositoryKind>, _ remote: RemoteSpec
    ) async throws -> Next {
        let (key, began) = (repository.reference, state.wantedAt)
        let condition =
            failure.map {
                Condition(
                    "Fetched", .no, reason: "FetchFailed", message: "\(Self.public(remote.url)): \($0.prefix(300))")
            } ?? Condition("Fetched", .yes, reason: "Fetched", message: "It is as at \(Self.public(remote.url)).")
        let next = try await context.store.change(.system("pipelines")) { change -> Timestamp in
            var after = try change.sql.remote(key) ?? state
            // A webhook that came while we fetched wants another look.
            let isWanted = after.wantedAt > began
            after.failures = failure == nil ? 0 : after.failures + 1
            if failure == nil { after.fetchedAt = change.now }
            let wait: Duration =
                failure == nil
                ? max(.seconds(1), remote.poll.duration)
                : min(Self.longestWait, .seconds(5 << min(after.failures - 1, 10)))
            after.wantedAt = isWanted && failure == nil ? change.now : change.now.advanced(by: wait)
            try change.sql.keep(after, of: key)
            if let now = try change.sql.resource(RepositoryKind.self, key), !now.conditions.contains(condition) {
                let others = now.conditions.filter { $0.name != condition.name }
                try change.setStatus(now.status ?? RepositoryStatus(), of: key, conditions: others + [condition])
            }
            return after.wantedAt
        }
        return .again(in: max(.milliseconds(10), next.since(context.time.now)))
    }

    /// The address without a user or password that somebody wrote into it.
    static func `public`(_ url: String) -> String {
        guard let scheme = url.range(of: "://"), let at = url[scheme.upperBound...].firstIndex(of: "@"),
            !url[scheme.upperBound..<at].contains("/")
        else { return url }
        return String(url[..<scheme.upperBound] + url[url.index(after: at)...])
    }

    /// What git is given to be let in: a header for that very address, in the environment, where no other user sees it.
    private func access(_ remote: RemoteSpec, project: String) async throws -> [String: String] {
        var access = ["GIT_ALLOW_PROTOCOL": "https:http:ssh:git:file", "GIT_SSH_COMMAND": "ssh -o BatchMode=yes"]
        guard let token = try await settings.secret(remote.token, project: project), remote.url.hasPrefix("http") else {
            return access
        }
        let user =
            switch remote.forge {
            case .github: "x-access-token"
            case .gitlab: "oauth2"
            case .bitbucket: "x-token-auth"
            case .gitea, nil: "git"
            }
        access["GIT_CONFIG_COUNT"] = "1"
        access["GIT_CONFIG_KEY_0"] = "http.\(remote.url).extraHeader"
        access["GIT_CONFIG_VALUE_0"] =
            "Authorization: Basic \(Data("\(user):\(token)".utf8).base64EncodedString())"
        return access
    }

    // MARK: Pull requests

    private func take(
        _ told: ToldPull, _ repository: TypedResource<RepositoryKind>, _ remote: RemoteSpec, _ place: String,
        _ access: [String: String]
    ) async throws {
        var pull = told.pull
        if told.action != .closed {
            if let ref = Self.ref(of: pull, remote.forge) {
                try await git.fetch(remote.url, ["+\(ref):\(pull.ref)"], into: place, access: access)
            }
            guard let commit = try await git.resolve(pull.head_commit, in: place) else {
                return try await drop(told, repository.reference)
            }
            pull.head_commit = commit
        }
        var news = PullNews(pull: pull, action: told.action)
        if told.action != .closed {
            let facts = try await git.facts(of: pull.head_commit, in: place)
            (news.committedAt, news.message) = (facts.committedAt, facts.message)
            news.changed = try await git.changed(since: pull.base_ref, of: pull.head_commit, in: place)
        }
        let (final, key, ids) = (news, repository.reference, context.ids)
        let call = Call(
            actor: "\(remote.forge?.rawValue ?? "git"):\(pull.author)", correlation: "pull:\(pull.number)",
            permission: .run)
        try await context.store.change(call) { change in
            guard try change.sql.untell(told.id) else { return }
            var news = final
            let before = try change.sql.pull(news.pull.number, of: key)
            news.pull.created_at = before?.created_at ?? change.now
            // Bitbucket says "updated" of a new title as well.
            if news.action == .synchronize, before?.head_commit == news.pull.head_commit { news.action = .edited }
            try change.note(news, of: key, ids: ids)
        }
    }

    /// Where the forge keeps the head of a pull request; nil: only as a branch.
    private static func ref(of pull: PullRequest, _ forge: RemoteSpec.Forge?) -> String? {
        switch forge {
        case .github, .gitea: "refs/pull/\(pull.number)/head"
        case .gitlab: "refs/merge-requests/\(pull.number)/head"
        case .bitbucket, nil: nil
        }
    }

    /// Its head cannot be had: a fork at a forge that shows no forks' heads, or it is gone already.
    private func drop(_ told: ToldPull, _ key: Reference<RepositoryKind>) async throws {
        try await context.store.change(.system("pipelines")) { change in
            guard try change.sql.untell(told.id) else { return }
            try change.tell(
                "repository.pull-unreachable", about: key.subject,
                [
                    "pull_request": told.pull.json,
                    "reason": .string("its head \(told.pull.head_commit.prefix(12)) cannot be fetched"),
                ])
        }
    }
}
