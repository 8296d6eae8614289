import API

/// Where repositories are reached over HTTP.
package struct RepositoryURLs: Sendable {
    private let told: (@Sendable () -> String?)?

    /// - Parameter server: Tells the server's own address; nil while it is not known.
    package init(_ server: (@Sendable () -> String?)? = nil) { told = server }

    /// The server's own address; nil while it is not known, or when there is no server.
    func server() -> String? { told?() }

    /// Whether there is a server that does not listen yet.
    var isPending: Bool { told != nil && server() == nil }

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
