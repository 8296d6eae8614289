import API
import Blobs
import Kernel
import Manifests
import SQL

/// Handlers of `Models.*`.
struct RegistryRoutes: Sendable {
    let context: DomainContext
    let blobs: BlobStore
    let outside: RegistryOutside
    private var signer: (any ContentSigner)? { outside.signer }
    private var store: Store { context.store }

    var intaking: Intaking { Intaking(blobs: blobs, outside: outside, caller: context.caller) }
    private var verifying: Verifying { Verifying(blobs: blobs, signer: signer, intaking: intaking) }

    func add(to routes: inout Routes) {
        let me = self
        routes.on(Models.versions) { input, _ in try await me.versions(input) }
        routes.on(Models.version) { input, _ in try await me.version(input) }
        routes.on(Models.register) { input, call in try await me.register(input, call) }
        routes.on(Models.remove) { input, call in try await me.remove(input, call) }
        routes.on(Models.setAlias) { input, call in
            try await me.store.change(call) { try Registry.setAlias(input, in: $0) }
        }
        routes.on(Models.moveAliases) { input, call in
            try await me.store.change(call) { change in
                try Registry.moveAliases(input, in: change)
                let model = Reference<ModelKind>(project: input.project, name: input.name)
                return ItemList(try change.sql.versions(of: model).filter { !$0.aliases.isEmpty })
            }
        }
        routes.on(Models.compare) { input, _ in try await me.compare(input) }
        routes.on(Models.evidence) { input, _ in try await me.evidence(input) }
        routes.on(Models.sign) { input, call in try await me.sign(input, call) }
        routes.on(Models.verify) { input, call in try await me.verify(input, call) }
        routes.on(Models.prune) { input, call in try await me.prune(input, call) }
        routes.on(Models.ask) { input, call in try await me.ask(input, call) }
        routes.on(Models.requests) { input, call in try await me.requests(input, call) }
        routes.on(Models.approve) { input, call in try await me.say(.approved, input, call) }
        routes.on(Models.reject) { input, call in try await me.say(.rejected, input, call) }
        routes.on(Models.deliveries) { input, _ in
            ItemList(try await me.store.read { try $0.deliveries(input) })
        }
    }

    // MARK: Looking

    private func versions(_ input: Name) async throws -> ItemList<ModelVersion> {
        try await store.read { sql in
            let model = Reference<ModelKind>(project: input.project, name: input.name)
            let versions = try sql.versions(of: model)
            if versions.isEmpty, try sql.resource(ModelKind.self, model) == nil { throw Registry.unknown(model) }
            return ItemList(versions)
        }
    }

    private func version(_ input: ModelVersionName) async throws -> ModelVersion {
        try await store.read { sql in
            let model = Reference<ModelKind>(project: input.project, name: input.name)
            return try Registry.find(input.version, of: model, in: sql)
        }
    }

    private func compare(_ input: ModelComparison) async throws -> ModelDifference {
        let (from, to) = try await store.read { sql in
            let model = Reference<ModelKind>(project: input.project, name: input.name)
            return (try Registry.find(input.from, of: model, in: sql), try Registry.find(input.to, of: model, in: sql))
        }
        return Comparison.difference(from, to, files: (try await files(of: from), try await files(of: to)))
    }

    private func files(of version: ModelVersion) async throws -> [ModelFile] {
        guard let digest = Digest(version.digest) else { return [] }
        return try await intaking.files(digest)
    }

    private func evidence(_ input: ModelVersionName) async throws -> ModelEvidence {
        let version = try await version(input)
        let (evidence, title, description) = try await store.read { sql in
            var evidence = ModelEvidence()
            evidence.version = version
            evidence.signature = try sql.document(.signature, of: version)
            evidence.bom = try sql.document(.bom, of: version)
            evidence.requests = try sql.requests(of: version)
            let title = try sql.model(version.reference)?.title ?? version.model
            return (evidence, title, try sql.resource(ModelKind.self, version.reference)?.spec.description)
        }
        var whole = evidence
        whole.files = try await files(of: version)
        if let key = whole.signature.flatMap(ModelSigning.key) { whole.public_key = try await signer?.publicKey(key) }
        whole.card = ModelCard.markdown(whole, title: title, description: description)
        return whole
    }

    // MARK: Registering

    private func register(_ input: ModelVersion, _ call: Call) async throws -> ModelVersion {
        guard isResourceName(input.model) else {
            throw Problem(
                "model.name", status: 422, "\"\(input.model.prefix(80))\" cannot be a model's name",
                hint: "Use small letters, digits, \"-\" and \"_\".")
        }
        let model = Reference<ModelKind>(project: input.project, name: input.model)
        let title = try await store.read { try $0.model(model)?.title } ?? input.model
        var version = input
        // What the registry itself finds out is nobody's to say.
        (version.authors, version.signed_with, version.label, version.created_by) = ([], nil, nil, nil)
        (version.stage, version.updated_at) = (nil, nil)
        guard !input.digest.isEmpty else {
            throw Problem(
                "model.no-content", status: 422, "a version has files", hint: "Upload them first: POST /api/v1/blobs.")
        }
        let identity = "\(input.run ?? "")/\(input.digest)"
        let intake = try await intaking.intake(version, title: title, identity: identity)
        return try await register(intake, call)
    }

    /// Registers; that a rule has refused it is told in the log.
    func register(_ intake: Intake, _ call: Call) async throws -> ModelVersion {
        do {
            return try await store.change(call) { try Registry.register(intake, in: $0) }
        } catch let problem as Problem where problem.code == "model.rule" || problem.code == "model.format" {
            let version = intake.version
            _ = try await store.change(call) { change in
                try change.tell(
                    "model.registration-refused", about: version.reference.subject,
                    ["digest": .string(version.digest), "run": version.run.json, "reason": .string(problem.message)])
            }
            throw problem
        }
    }

    private func remove(_ input: ModelVersionName, _ call: Call) async throws -> ModelVersion {
        let version = try await version(input)
        let references = try await references(to: version.reference, call)
        if let reason = references.reasons[version.version] {
            throw Problem(
                "model.referenced", status: 409,
                "version \(version.version) of \"\(version.model)\" is needed: \(reason)",
                hint: "Let go of it there first.")
        }
        return try await store.change(call) { change in
            guard let now = try change.sql.version(version.version, of: version.reference), now.aliases.isEmpty else {
                throw Problem(
                    "model.referenced", status: 409, "version \(version.version) of \"\(version.model)\" has an alias",
                    hint: "Move the alias first.")
            }
            try Registry.remove(now, in: change)
            return now
        }
    }

    // MARK: Signing

    private func sign(_ input: ModelVersionName, _ call: Call) async throws -> ModelVersion {
        let version = try await version(input)
        guard let digest = Digest(version.digest) else {
            throw Problem(
                "model.no-content", status: 409, "the files of this version are not here, so nothing can be signed",
                hint: "Only versions whose files are kept by this server are signed.")
        }
        guard signer != nil else {
            throw Problem(
                "model.no-signer", status: 503, "there is no vault to sign with", hint: "Start the server whole.")
        }
        var intake = Intake(version: version)
        intake.files = try await intaking.files(digest)
        guard intake.files.count <= ModelSigning.fileLimit else {
            throw Problem(
                "model.too-many-files", status: 422, "a signed model has at most \(ModelSigning.fileLimit) files",
                hint: "Pack small files together.")
        }
        let title = try await store.read { try $0.model(version.reference)?.title } ?? version.model
        // What has changed on the disk must not be signed as if it were what was registered.
        let check = try await verifying.look(at: version, signature: nil, bom: nil)
        guard check.problems.isEmpty || check.problems == ["its signature was taken away"] else {
            try await store.change(call) { try $0.tell(check) }
            throw Self.changed(check)
        }
        try await intaking.sign(&intake, title: title)
        let signed = intake
        return try await store.change(call) { change in
            guard var now = try change.sql.version(version.version, of: version.reference) else {
                throw Registry.unknown(version.reference)
            }
            now.signed_with = signed.version.signed_with
            try change.sql.update(now, at: change.now)
            try Registry.write(signed, of: now, title: title, in: change)
            if let key = now.signed_with { try Registry.tellSigned(now, key, in: change) }
            return try Registry.find("\(now.version)", of: now.reference, in: change.sql)
        }
    }

    func verification(of version: ModelVersion) async throws -> ModelVerification {
        let (signature, bom, spec) = try await store.read { sql in
            (
                try sql.document(.signature, of: version), try sql.document(.bom, of: version),
                try sql.resource(ModelKind.self, version.reference)?.spec
            )
        }
        var result = try await verifying.look(at: version, signature: signature, bom: bom)
        if result.outcome == .unsigned, spec?.require_signature ?? false {
            result.outcome = .refused
            result.problems.append("it is not signed, and its model wants that")
        }
        return result
    }

    private func verify(_ input: ModelVersionName, _ call: Call) async throws -> ModelVerification {
        let result = try await verification(of: try await version(input))
        try await store.change(call) { try $0.tell(result) }
        return result
    }

    static func changed(_ result: ModelVerification) -> Problem {
        Problem(
            "model.changed", status: 409,
            "version \(result.version.version) of \"\(result.version.model)\" is not what was registered: \(result.problems.first ?? "it has changed")",
            hint: "Register it anew from its run, and find out who can write to the server's blobs.")
    }

    // MARK: Approving

    private func ask(_ input: ModelRequestInput, _ call: Call) async throws -> ModelRequest {
        let version = try await version(
            ModelVersionName(project: input.project, name: input.name, version: input.version))
        let result = try await verification(of: version)
        guard result.outcome != .changed else {
            try await store.change(call) { try $0.tell(result) }
            throw Self.changed(result)
        }
        let id = context.ids.next("request")
        return try await store.change(call) { change in
            let now = try Registry.find("\(version.version)", of: version.reference, in: change.sql)
            return try change.ask(now, input, id: id)
        }
    }

    private func requests(_ query: ModelRequestQuery, _ call: Call) async throws -> ItemList<ModelRequest> {
        try await store.read { sql in
            let people = People(teams: try sql.modelTeams(project: query.project))
            let all = try sql.requests(query).map { request in
                var told = request
                if let person = People.name(of: call.actor), call.permission.allows(.run) {
                    told.mine = ApprovalDecision.isFor(person, request, people)
                }
                return told
            }
            return ItemList(query.mine ? all.filter(\.mine) : all)
        }
    }

    private func say(
        _ verdict: Approval.Verdict, _ input: ModelVerdictInput, _ call: Call
    ) async throws -> ModelRequest {
        guard let person = People.name(of: call.actor) else {
            throw Problem(
                "approval.person", status: 403, "\(call.actor) is no person, and only people approve",
                hint: "Use the token of a person.")
        }
        let version = try await version(
            ModelVersionName(project: input.project, name: input.name, version: input.version))
        if verdict == .approved {
            // Every file is read again: nobody approves what has been changed behind the registry's back.
            let result = try await verification(of: version)
            guard result.outcome != .changed else {
                try await store.change(call) { try $0.tell(result) }
                throw Self.changed(result)
            }
        }
        let before = try await store.read { try $0.openRequests(of: version).map(\.id) }
        let request: ModelRequest
        do {
            request = try await store.change(call) { change in
                let now = try Registry.find("\(version.version)", of: version.reference, in: change.sql)
                return try change.say(verdict, of: now, by: person, input)
            }
        } catch let problem as Problem where problem.code.hasPrefix("approval.") {
            _ = try await store.change(call) { change in
                try change.tell(
                    "model.approval-refused", about: version.reference.subject,
                    [
                        "version": .integer(Int64(version.version)), "by": .string(person),
                        "verdict": verdict.json, "code": .string(problem.code), "reason": .string(problem.message),
                    ])
            }
            throw problem
        }
        guard before.contains(request.id), request.status == .expired || request.status == .voided else {
            return request
        }
        throw Problem(
            "approval.\(request.status.rawValue)", status: 409,
            "the request for \"\(request.model)@\(request.version)\" as \(request.stage) is over: \(request.reason ?? "")",
            hint: "Ask again: vagus models ask \(request.model)@\(request.version) --stage \(request.stage)")
    }

    // MARK: Pruning

    private func prune(_ input: ModelPruneInput, _ call: Call) async throws -> ModelPrunePlan {
        let model = Reference<ModelKind>(project: input.project, name: input.name)
        let (spec, versions) = try await store.read { sql in
            (try Registry.spec(of: model, in: sql), try sql.versions(of: model, limit: 100_000))
        }
        guard let keep = input.keep ?? spec.retention?.keep, let after = input.after ?? spec.retention?.after else {
            throw Problem(
                "model.no-retention", status: 422, "model \"\(input.name)\" does not say which versions may go",
                hint: "Give --keep and --after, or put `retention` into its manifest.")
        }
        var contents: [Int: [String: Int64]] = [:]
        for version in versions {
            for file in try await files(of: version) {
                contents[version.version, default: [:]][file.digest] = file.size_bytes
            }
        }
        var plan = Retention.plan(
            versions, files: contents, keep: keep, after: after.duration, try await references(to: model, call),
            now: store.time.now)
        plan.is_dry = input.dry_run
        guard !input.dry_run else { return plan }
        let going = plan.removed.map(\.version)
        let gone = try await store.change(call) { change in
            // Read again: an alias may have come since.
            let named = Set(try change.sql.aliases(of: model).values)
            let free = try going.filter { number in
                guard let version = try change.sql.version(number, of: model), !named.contains(number) else {
                    return false
                }
                return try change.sql.openRequests(of: version).isEmpty
            }
            for number in free {
                if let version = try change.sql.version(number, of: model) { try Registry.remove(version, in: change) }
            }
            return Set(free)
        }
        plan.removed.removeAll { !gone.contains($0.version) }
        return plan
    }

    /// Who refers to versions of a model: aliases, stages, approvals, children, services, monitors.
    private func references(to model: Reference<ModelKind>, _ call: Call) async throws -> Retention.References {
        var references = Retention.References()
        let (versions, asked, monitors) = try await store.read { sql in
            var query = ModelRequestQuery()
            (query.project, query.model, query.limit) = (model.project, model.name, 1000)
            return (
                try sql.versions(of: model, limit: 100_000), try sql.requests(query),
                try sql.resources(MonitorKind.self, project: model.project)
            )
        }
        for version in versions {
            if let alias = version.aliases.first { references.add(version.version, "alias \"\(alias)\" points to it") }
            if let stage = version.stage, stage != "Archived" {
                references.add(version.version, "it is in stage \(stage)")
            }
        }
        for request in asked where request.status == .waiting || request.status == .approved {
            references.add(request.version, "it is \(request.status.rawValue) for stage \(request.stage)")
        }
        for version in versions {
            guard let parent = version.parent, parent.hasPrefix(model.name + "@"),
                let number = Int(parent.dropFirst(model.name.count + 1))
            else { continue }
            references.add(number, "version \(version.version) was made from it")
        }
        func note(_ text: String?, _ who: String) {
            guard let text, text.hasPrefix(model.name + "@"), let number = Int(text.dropFirst(model.name.count + 1))
            else {
                return
            }
            references.add(number, who)
        }
        for monitor in monitors {
            note(monitor.spec.json["model"]?.string, "monitor \"\(monitor.reference.name)\" names it")
        }
        for service in try await services(model.project) {
            for revision in service.revisions { note(revision.model, "service \"\(service.service)\" has it") }
        }
        return references
    }

    private func services(_ project: String) async throws -> [ServiceStatus] {
        do {
            return try await context.caller.call(
                Services.list, ProjectQuery(project: project), as: .system(ExperimentsDomain.name)
            ).items
        } catch let problem as Problem where problem.code == "operation.unknown" {
            // A house without deliveries has no services.
            return []
        }
    }
}
