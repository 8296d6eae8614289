import API

/// Where repositories are reached over HTTP.
package struct RepositoryURLs: Sendable {
    /// The server's own address; nil while it is not known.
    let server: @Sendable () -> String?

    package init(_ server: @escaping @Sendable () -> String? = { nil }) { self.server = server }

    func push(_ repository: Reference<RepositoryKind>) -> String? {
        server().map { "\($0)/git/\(repository.project)/\(repository.name).git" }
    }
}
