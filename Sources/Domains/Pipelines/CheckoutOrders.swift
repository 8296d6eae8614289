import API
import Kernel
import Manifests
import SQL

extension OrderMaker {
    /// Tells a checkout where its repository is and which commit it takes: always one exact commit, found now.
    func addCheckout(
        _ spec: CheckoutSpec, to order: inout StepOrder, own: String?, of run: Run, repositories: String
    ) async throws {
        let isOther = spec.repository != nil && spec.repository != run.repository
        if isOther, !run.trigger.is_trusted {
            throw Problem(
                "checkout.untrusted", status: 403,
                "a run that is not trusted may check out its own repository only, not \"\(spec.repository ?? "")\"",
                hint: "Do it in a run of a branch.")
        }
        guard isOther || spec.ref != nil else {
            guard let own, let commit = run.commit else {
                throw Problem(
                    "checkout.nothing", status: 422, "this run has no commit to check out",
                    hint: "Give the pipeline a repository: `repository: NAME`.")
            }
            (order.repository, order.repository_name, order.commit) = (own, run.repository, commit)
            return
        }
        guard let name = spec.repository ?? run.repository else {
            throw Problem(
                "checkout.nothing", status: 422, "this run has no repository to check \"\(spec.ref ?? "")\" out of",
                hint: "Name one: checkout: { repository: NAME }.")
        }
        let reference = Reference<RepositoryKind>(project: run.project, name: name)
        guard let repository = try await context.store.read({ try $0.resource(RepositoryKind.self, reference) }) else {
            throw Problem.notFound("Repository", name, project: run.project, list: "get repositories")
        }
        let place = Git.place(of: reference, path: repository.spec.path, hosted: repositories)
        let wanted = spec.ref.map(Resolver.shown) ?? repository.spec.default_branch
        guard let commit = Git.isHash(wanted) ? wanted : Self.ref(wanted, in: try Git.refs(in: place)) else {
            throw Problem(
                "checkout.ref", status: 404, "no branch or tag \"\(wanted)\" in repository \"\(name)\"",
                hint: "Push it first, or name a whole commit.")
        }
        (order.repository, order.repository_name, order.commit) = (place, name, commit)
    }

    /// What a short or a full name points at: a branch before a tag.
    private static func ref(_ name: String, in refs: [String: String]) -> String? {
        for full in [name, "refs/heads/\(name)", "refs/tags/\(name)"] { if let found = refs[full] { return found } }
        return nil
    }
}
