import API
import Kernel
import Logging

/// Packs what lies about in repositories that vagus keeps.
///
/// Here and not behind each push: git would leave a process behind for it, which ends with the push.
struct UpkeepReconciler: Reconciler {
    static let name = "pipelines-upkeep"
    static let topics: Set<String> = []
    let context: DomainContext
    let git: Git
    let repositories: String

    /// How often git is asked whether there is something to do; most of the time there is not.
    static let interval: Duration = .seconds(6 * 3600)
    static let timeout: Duration = .seconds(3600)

    func keys() async throws -> [Reference<RepositoryKind>] {
        try await context.store.read { sql in
            try sql.resources(RepositoryKind.self).filter { $0.spec.path == nil }.map(\.reference)
        }
    }

    func reconcile(_ key: Reference<RepositoryKind>) async throws -> Next {
        let place = Git.place(of: key, path: nil, hosted: repositories)
        guard Git.isFolder("\(place)/objects") else { return .again(in: .seconds(600)) }
        let (code, text) = try await git.attempt(
            ["-c", "gc.autoDetach=false", "gc", "--auto", "--quiet"], in: place, timeout: Self.timeout)
        guard code == 0 else {
            throw Problem("git.gc", status: 502, "could not pack \(key)", detail: String(text.prefix(300)))
        }
        return .again(in: Self.interval)
    }
}
