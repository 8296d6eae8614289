import API

/// Where repositories are reached over HTTP.
package struct RepositoryURLs: Sendable {
    /// The server's own address; nil while it is not known.
    let server: @Sendable () -> String?

    package init(_ server: @escaping @Sendable () -> String? = { nil }) { self.server = server }

    func push(_ repository: Reference<RepositoryKind>) -> String? {
        server().map { "\($0)/git/\(repository.project)/\(repository.name).git" }
    }

    /// Gives a lease the address of its repository, at which a runner on any machine finds it.
    ///
    /// Orders keep the folder, since the server's address may change between the order and the lease.
    func place(_ lease: inout Lease) {
        for index in lease.steps.indices {
            guard let name = lease.steps[index].repository_name,
                let url = push(Reference(project: lease.project, name: name))
            else { continue }
            lease.steps[index].repository = url
        }
    }
}
