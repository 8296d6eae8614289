import API
import Foundation
import Kernel
import Manifests
import SQL

/// Makes hosted repositories, and turns what changed in their refs into pushes.
struct RepositoryReconciler: Reconciler {
    static let name = "pipelines-repositories"
    static let topics: Set<String> = [RepositoryKind.name]
    let context: DomainContext
    let git: Git
    let repositories: String
    let urls: RepositoryURLs
    private let hosting: Hosting

    init(context: DomainContext, git: Git, repositories: String, urls: RepositoryURLs) {
        (self.context, self.git, self.repositories, self.urls) = (context, git, repositories, urls)
        hosting = Hosting(repositories: repositories)
    }

    func keys() async throws -> [Reference<RepositoryKind>] {
        try await context.store.read { try $0.resources(RepositoryKind.self).map(\.reference) }
    }

    func reconcile(_ key: Reference<RepositoryKind>) async throws -> Next {
        // What is told of a repository is where to push to.
        guard !urls.isPending else { return .again(in: .milliseconds(20)) }
        let (found, known, before) = try await context.store.read { sql in
            (
                try sql.resource(RepositoryKind.self, key),
                try sql.refs(project: key.project, repository: key.name), try sql.pulls(of: key, state: .open)
            )
        }
        guard let repository = found else { return .settled }
        let place = Git.place(of: key, path: repository.spec.path, hosted: repositories)
        if repository.spec.path == nil {
            let isNew = try await git.create(place, branch: repository.spec.default_branch)
            try hosting.prepare(place, repository.reference, repository.spec, isNew: isNew)
        } else if !Git.isFolder("\(place)/objects") {
            try await tellStatus(
                of: repository, place, [:], [],
                Condition("Watched", .no, reason: "NoRepository", message: "There is no git repository at \(place)."))
            return .again(in: .seconds(10))
        }
        // The refs before the notes: of a ref that has moved the note is there.
        let refs = try Git.refs(in: place)
        let notes = repository.spec.path == nil ? PushNote.all(in: place, at: context.time.now) : []
        let changes = Self.changes(from: known, to: refs, first: "refs/heads/\(repository.spec.default_branch)")
        for change in changes {
            let note = notes.last { $0.updates[change.name] == change.new ?? Git.noCommit }
            try await Push(
                context: context, git: git, place: place, repository: repository, change: change, note: note
            ).take()
        }
        for note in notes where note.isDone(refs) { note.removeFile() }
        let open = try await changes.isEmpty ? before : context.store.read { try $0.pulls(of: key, state: .open) }
        try await keep(open, in: place)
        try await tellStatus(of: repository, place, refs, open, nil)
        return .again(in: PipelineLimits.refsInterval)
    }

    /// The heads of open pull requests as refs, so that git can fetch them by their number.
    private func keep(_ open: [PullRequest], in place: String) async throws {
        for pull in open where !pull.is_fork {
            let now = try? String(contentsOfFile: "\(place)/\(pull.ref)", encoding: .utf8)  // absent: not kept yet
            if now?.hasPrefix(pull.head_commit) ?? false { continue }
            guard try await git.resolve(pull.head_commit, in: place) != nil else { continue }
            try await git.update(pull.ref, to: pull.head_commit, in: place)
        }
    }

    /// What differs, the default branch first, since its manifests decide what the others set off.
    static func changes(from known: [String: String], to seen: [String: String], first: String) -> [RefChange] {
        let names = Set(known.keys).union(seen.keys).filter { known[$0] != seen[$0] }
        return names.sorted { ($0 == first ? 0 : 1, $0) < ($1 == first ? 0 : 1, $1) }
            .map { RefChange(name: $0, old: known[$0], new: seen[$0]) }
    }

    private func tellStatus(
        of repository: TypedResource<RepositoryKind>, _ place: String, _ refs: [String: String],
        _ open: [PullRequest], _ condition: Condition?
    ) async throws {
        var status = RepositoryStatus()
        let reference = repository.reference
        (status.push_url, status.path) = (
            repository.spec.remote.map { RemoteReconciler.public($0.url) } ?? urls.push(reference) ?? place, place
        )
        status.pull_requests = open.count
        status.refs = Ordered(refs.sorted { $0.key < $1.key }.map { ($0.key, $0.value) })
        let watched =
            condition ?? Condition("Watched", .yes, reason: "Watched", message: "Pushes to \(place) are seen.")
        let final = status
        // Most looks bring no news: no transaction for them.
        if repository.status == final, repository.conditions.contains(watched) { return }
        try await context.store.change(.system("pipelines")) { change in
            guard let now = try change.sql.resource(RepositoryKind.self, reference) else { return }
            let conditions = now.conditions.filter { $0.name != watched.name } + [watched]
            if now.status == final, now.conditions == conditions { return }
            try change.setStatus(final, of: reference, conditions: conditions)
        }
    }
}

/// A branch or tag that points elsewhere than it did; nil: nowhere.
struct RefChange: Sendable, Equatable {
    var name: String
    var old: String?
    var new: String?
    /// "main" for "refs/heads/main"; nil for a tag.
    var branch: String? { Refs.branch(name) }
}
