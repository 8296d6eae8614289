package import API
import Crypto
import Foundation
package import Kernel
package import Processes
import SQL

/// What git over HTTP asks of this room: where a repository lies, who may read or write it, and to be told of a push.
package struct GitDoor: Sendable {
    /// A repository that was found.
    package struct Place: Sendable {
        package var reference: Reference<RepositoryKind>
        package var path: String
        /// Whether pushes are taken: only what vagus hosts itself.
        package var isHosted: Bool
    }

    let store: Store
    let settings: PipelinesSettings

    /// The two services of git's smart protocol.
    package enum Service: String, Sendable { case upload = "git-upload-pack", receive = "git-receive-pack" }

    /// Folder for the bodies of requests under way; its content is worth nothing after a restart.
    package var incoming: String { "\(settings.repositories)/_incoming" }

    package func find(_ reference: Reference<RepositoryKind>) async throws -> Place? {
        guard let repository = try await store.read({ try $0.resource(RepositoryKind.self, reference) }) else {
            return nil
        }
        let path = Git.place(of: reference, path: repository.spec.path, hosted: settings.repositories)
        guard Git.isFolder("\(path)/objects") else { return nil }
        return Place(
            reference: reference, path: path,
            isHosted: repository.spec.path == nil && repository.spec.remote == nil)
    }

    /// Lets a caller in, or says why not.
    package func allow(_ call: Call, _ service: Service, _ place: Place) throws(Problem) {
        try call.allow(project: place.reference.project)
        switch service {
        case .upload: try call.allow(.read, operation: "git fetch")
        case .receive:
            try call.allow(.write, operation: "git push")
            guard place.isHosted else {
                throw Problem(
                    "repository.elsewhere", status: 403, "this repository is only followed here",
                    hint: "Push to where it lives.")
            }
        }
    }

    /// `git http-backend` for one request; its input is the request's body, its output a CGI answer.
    package func backend(
        _ service: Service, _ place: Place, request: [String: String], body: String?
    ) -> Command {
        var environment = settings.environment
        environment.merge(request) { _, own in own }
        environment["GIT_PROJECT_ROOT"] = place.path
        environment["GIT_HTTP_EXPORT_ALL"] = "1"
        environment["GIT_CONFIG_NOSYSTEM"] = "1"
        environment["GIT_CONFIG_GLOBAL"] = "/dev/null"
        environment["LC_ALL"] = "C.UTF-8"
        // The folder may belong to another user; what is in it was brought here by us or is read only.
        environment["GIT_CONFIG_COUNT"] = "2"
        (environment["GIT_CONFIG_KEY_0"], environment["GIT_CONFIG_VALUE_0"]) = ("safe.directory", "*")
        (environment["GIT_CONFIG_KEY_1"], environment["GIT_CONFIG_VALUE_1"]) = (
            "uploadpack.allowAnySHA1InWant", "true"
        )
        return Command(
            executable: settings.git, arguments: ["http-backend"], environment: environment, directory: place.path,
            input: body.map { .file($0) } ?? .nothing, dieWithParent: true, isContained: false)
    }

    /// Tells that refs may have moved.
    package func pushed() { store.bells.ring([RepositoryKind.name]) }

    /// Who a job's token speaks for at a repository; nil when it is unknown, or its lease has ended.
    package func job(
        _ secret: String, at repository: Reference<RepositoryKind>, correlation: String
    ) async throws -> Call? {
        try await JobTokens(store: store).call(for: secret, at: repository, correlation: correlation)
    }
}

extension PipelinesDomain {
    package var gitDoor: GitDoor { GitDoor(store: context.store, settings: settings) }
}
