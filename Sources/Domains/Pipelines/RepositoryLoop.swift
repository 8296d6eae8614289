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

    func keys() async throws -> [Reference<RepositoryKind>] {
        try await context.store.read { try $0.resources(RepositoryKind.self).map(\.reference) }
    }

    func reconcile(_ key: Reference<RepositoryKind>) async throws -> Next {
        let read = try await context.store.read { sql in
            (try sql.resource(RepositoryKind.self, key), try sql.refs(project: key.project, repository: key.name))
        }
        guard let repository = read.0 else { return .settled }
        let known = read.1
        let place = Git.place(of: key, path: repository.spec.path, hosted: repositories)
        if repository.spec.path == nil {
            try await git.create(place, branch: repository.spec.default_branch)
        } else if !Git.isFolder("\(place)/objects") {
            try await tellStatus(
                of: repository, place, [:],
                Condition("Watched", .no, reason: "NoRepository", message: "There is no git repository at \(place)."))
            return .again(in: .seconds(10))
        }
        let refs = try Git.refs(in: place)
        let changes = Self.changes(from: known, to: refs, first: "refs/heads/\(repository.spec.default_branch)")
        for change in changes {
            try await Push(context: context, git: git, place: place, repository: repository, change: change).take()
        }
        try await tellStatus(of: repository, place, refs, nil)
        return .again(in: PipelineLimits.refsInterval)
    }

    /// What differs, the default branch first, since its manifests decide what the others set off.
    static func changes(from known: [String: String], to seen: [String: String], first: String) -> [RefChange] {
        let names = Set(known.keys).union(seen.keys).filter { known[$0] != seen[$0] }
        return names.sorted { ($0 == first ? 0 : 1, $0) < ($1 == first ? 0 : 1, $1) }
            .map { RefChange(name: $0, old: known[$0], new: seen[$0]) }
    }

    private func tellStatus(
        of repository: TypedResource<RepositoryKind>, _ place: String, _ refs: [String: String], _ condition: Condition?
    ) async throws {
        var status = RepositoryStatus()
        status.push_url = place
        status.refs = Ordered(refs.sorted { $0.key < $1.key }.map { ($0.key, $0.value) })
        let watched =
            condition ?? Condition("Watched", .yes, reason: "Watched", message: "Pushes to \(place) are seen.")
        let final = status
        // Most looks bring no news: no transaction for them.
        if repository.status == final, repository.conditions.contains(watched) { return }
        let reference = repository.reference
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
    var branch: String? { name.hasPrefix("refs/heads/") ? String(name.dropFirst(11)) : nil }
}
