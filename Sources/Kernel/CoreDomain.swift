import API
package import Manifests
import SQL

/// The room of the kernel itself: declared things of every kind, the event log, tokens.
package struct CoreDomain: Domain {
    package static let name = "core"
    private let store: Store
    private let others: [any Domain]
    private let tokens: TokenBook

    package init(context: DomainContext, others: [any Domain], tokens: TokenBook) {
        self.store = context.store
        self.others = others
        self.tokens = tokens
    }

    package func routes(_ routes: inout Routes) {
        let (store, others, tokens) = (store, others, tokens)
        routes.on(Resources.apply) { input, call in try await Self.apply(input, call, store, others) }
        routes.on(Resources.list) { input, _ in
            let kind = try Kinds.named(input.kind)
            return ItemList(try await store.read { try Self.list(kind.name, input, in: $0) })
        }
        routes.on(Resources.get) { input, _ in
            try await store.read { try Self.find(input, in: $0) }
        }
        routes.on(Resources.delete) { input, call in
            try await store.change(call) { change in
                let resource = try Self.find(input, in: change.sql)
                for domain in others { try domain.release(resource, in: change) }
                try change.remove(resource)
                return resource
            }
        }
        routes.on(Events.list) { input, call in
            var query = input
            if let only = call.project { query.project = only }
            let final = query
            return ItemList(try await store.read { try EventLog.list(final, in: $0) })
        }
        routes.on(Events.verify) { _, _ in try await store.read { try EventLog.verify(in: $0) } }
        routes.on(Tokens.create) { input, call in try await tokens.create(input, call) }
        routes.on(Tokens.list) { _, _ in ItemList(try await tokens.list()) }
        routes.on(Tokens.revoke) { input, call in try await tokens.revoke(input.name, call) }
        routes.on(Tokens.redeem) { input, call in try await tokens.redeem(input, call) }
    }

    private static func find(_ input: ResourceName, in sql: Connection) throws -> Resource {
        let kind = try Kinds.named(input.kind)
        guard let found = try sql.resource(kind: kind.name, project: input.project, name: input.name) else {
            throw Problem.notFound(kind.name, input.name, project: input.project, list: "get \(kind.plural)")
        }
        return found
    }

    private static func list(_ kind: String, _ input: ResourceQuery, in sql: Connection) throws -> [Resource] {
        let wanted = (input.labels ?? "").split(separator: ",").map {
            $0.split(separator: "=", maxSplits: 1).map(String.init)
        }
        return Array(
            try sql.resources(kind: kind, project: input.project).filter { resource in
                wanted.allSatisfy { pair in pair.count == 2 && resource.labels[pair[0]] == pair[1] }
                    && (input.after.map { resource.name > $0 } ?? true)
            }.prefix(input.limit))
    }

    // MARK: - Apply

    /// Documents that one apply may carry.
    static let documentLimit = 500

    private struct DryRun: Error { let outcome: ApplyOutcome }

    private static func apply(
        _ input: ApplyInput, _ call: Call, _ store: Store, _ others: [any Domain]
    ) async throws -> ApplyOutcome {
        guard input.documents.count <= documentLimit else {
            throw Problem(
                "apply.too-many", status: 413, "more than \(documentLimit) documents in one apply", hint: "Split them.")
        }
        let wanted = try input.documents.enumerated().map { index, document -> (Candidate, Resource) in
            do {
                let candidate = try read(document, project: input.project)
                return (candidate, candidate.resource)
            } catch let error as ManifestError {
                throw Problem(error.below(input.documents.count > 1 ? ["documents", "\(index)"] : []))
            }
        }
        for (candidate, _) in wanted { try call.allow(project: candidate.project) }
        do {
            return try await store.change(call) { change in
                var outcome = ApplyOutcome()
                for (candidate, resource) in wanted {
                    for domain in others { try domain.admit(candidate, in: change) }
                    outcome.items.append(try change.put(resource))
                }
                if input.dry_run { throw DryRun(outcome: outcome) }
                return outcome
            }
        } catch let dry as DryRun {
            return dry.outcome
        }
    }

    /// Reads the flat form of a manifest, its spec decoded and so checked.
    ///
    /// - Parameter project: What it belongs to when it does not say.
    package static func read(_ document: JSONValue, project: String) throws(ManifestError) -> Candidate {
        guard var members = document.object else {
            throw ManifestError(
                at: [], message: "a manifest is a map, not \(document.kindName)",
                hint: "It begins with \"kind: …\" and \"name: …\".")
        }
        guard let kindName = members["kind"] else {
            throw ManifestError(
                at: [], message: "\"kind\" is missing", hint: "Add \"kind: \" and one of: \(kindNames).")
        }
        let kind = try self.kind(try String(json: kindName, at: ["kind"]))
        guard let name = members["name"] else {
            throw ManifestError(at: [], message: "\"name\" is missing", hint: "Add \"name: …\".")
        }
        let ownName = try String(json: name, at: ["name"])
        let ownProject =
            try members["project"].map { json throws(ManifestError) in try String(json: json, at: ["project"]) }
            ?? project
        let labels =
            try members["labels"].map { json throws(ManifestError) in try Ordered<String>(json: json, at: ["labels"]) }
            ?? [:]
        for (key, text) in [("name", ownName), ("project", ownProject)] where !isResourceName(text) {
            throw ManifestError(
                at: [key], message: "\"\(text)\" cannot be a \(key)",
                hint: "Use small letters, digits, \"-\" and \"_\", beginning with a letter or digit, at most 63.")
        }
        for key in ["kind", "name", "project", "labels"] { members[key] = nil }
        let spec = try spec(kind, .object(members))
        return Candidate(kind, project: ownProject, name: ownName, labels: labels, spec: spec)
    }

    private static var kindNames: String { Kinds.all.map { $0.name }.joined(separator: ", ") }

    private static func kind(_ word: String) throws(ManifestError) -> any Kind.Type {
        if let kind = Kinds.all.first(where: { $0.name == word }) { return kind }
        throw ManifestError(
            at: ["kind"], message: "no kind \"\(word)\"",
            hint: suggestion(for: word, among: Kinds.all.map { $0.name }, called: "kind"))
    }

    private static func spec<K: Kind>(_ kind: K.Type, _ json: JSONValue) throws(ManifestError) -> any Manifest {
        try K.Spec(json: json, at: [])
    }
}
