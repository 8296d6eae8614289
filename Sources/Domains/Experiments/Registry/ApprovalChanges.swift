import API
import Kernel
import Manifests
import SQL

/// What becomes of requests, each in the transaction under way, with its event.
extension Change {
    // MARK: Asking

    /// Asks people to approve a version for a stage; a request that waits already is the one.
    func ask(_ version: ModelVersion, _ input: ModelRequestInput, id: String) throws -> ModelRequest {
        let stage = try stage(input.stage, of: version)
        for open in try sql.openRequests(of: version) where open.stage == stage.name {
            if try settle(open, version) == nil { return open }
        }
        var request = ModelRequest()
        (request.id, request.project, request.model) = (id, version.project, version.model)
        (request.version, request.stage) = (version.version, stage.name)
        (request.digest, request.requested_by) = (ApprovalDecision.digest(of: version), call.actor)
        request.authors = version.authors.isEmpty ? [version.created_by].compactMap { $0 } : version.authors
        request.comment = input.comment
        (request.began_at, request.expires_at) = (now, now.advanced(by: stage.approvals.expires.duration))
        let rules = stage.approvals
        (request.min, request.from, request.not_author) = (rules.min, rules.from, rules.not_author)
        request.comment_rule = rules.comment
        try sql.keep(request)
        try tell(
            "model.requested", request,
            ["min": .integer(Int64(request.min)), "from": request.from.json, "expires_at": request.expires_at.json])
        return request
    }

    private func stage(_ name: String, of version: ModelVersion) throws -> ModelStageSpec {
        let stages = try Registry.spec(of: version.reference, in: sql).stages
        if let stage = stages.first(where: { $0.name == name.lowercased() }) { return stage }
        throw Problem(
            "model.stage", status: 422, "model \"\(version.model)\" has no stage \"\(name.prefix(80))\"",
            hint: stages.isEmpty
                ? "Declare it under `stages` in the model's manifest."
                : suggestion(for: name, among: stages.map(\.name), called: "stage"))
    }

    // MARK: Saying

    /// Writes down what a person says of a version.
    ///
    /// - Returns: The request as it is then, which may also have expired or be void; a problem is thrown by the caller, so
    ///   that what time has done stays written.
    func say(_ verdict: Approval.Verdict, of version: ModelVersion, by person: String, _ input: ModelVerdictInput)
        throws
        -> ModelRequest
    {
        let request = try request(of: version, stage: input.stage)
        let people = People(teams: try sql.modelTeams(project: version.project))
        let answer = ApprovalDecision.say(
            verdict, by: person, input, of: request, now: ApprovalDecision.digest(of: version), people, at: now)
        switch answer {
        case .same: return request
        case .refuse(let problem): throw problem
        case .keep(let next):
            try sql.keep(next)
            try tellChange(from: request, to: next, said: person)
            return next
        }
    }

    /// The request that is meant: the newest of the stage.
    private func request(of version: ModelVersion, stage: String?) throws -> ModelRequest {
        let all = try sql.requests(of: version).filter { stage == nil || $0.stage == stage?.lowercased() }
        let waiting = Set(all.filter { $0.status == .waiting }.map(\.stage))
        guard stage != nil || waiting.count <= 1 else {
            throw Problem(
                "approval.which", status: 422, "\(waiting.count) stages are asked for",
                hint: "Name one with --stage: \(waiting.sorted().joined(separator: ", ")).")
        }
        guard let found = all.first(where: { $0.status == .waiting }) ?? all.first else {
            throw Problem(
                "approval.nothing", status: 409,
                "nobody has asked to approve \"\(version.model)@\(version.version)\"",
                hint: "Ask with: vagus models ask \(version.model)@\(version.version) --stage STAGE")
        }
        return found
    }

    private func tellChange(from old: ModelRequest, to new: ModelRequest, said person: String?) throws {
        let word = new.approvals.last
        var data: Ordered<JSONValue> = [
            "given": .integer(Int64(ApprovalDecision.yes(new).count)), "min": .integer(Int64(new.min)),
            "reason": new.reason.json,
        ]
        if let person, new.status != .expired, new.status != .voided {
            (data["by"], data["comment"]) = (.string(person), word?.comment.json ?? .null)
        }
        switch new.status {
        case .waiting: try tell("model.approval-given", new, data)
        case .approved where old.status == .waiting:
            try tell("model.approval-given", new, data)
            data["by"] = ApprovalDecision.yes(new).json
            try tell("model.approved", new, data)
        case .approved: break
        case .rejected: try tell("model.rejected", new, data)
        case .expired: try tell("model.approval-expired", new, data)
        case .voided:
            data["approvals"] = old.approvals.map(\.by).json
            try tell("model.approval-voided", new, data)
        }
    }

    // MARK: Time, and changes

    /// What time or a change of the version has made of a request, written; nil when it stands as it did.
    @discardableResult
    func settle(_ request: ModelRequest, _ version: ModelVersion?) throws -> ModelRequest? {
        let digest = version.map(ApprovalDecision.digest) ?? request.digest
        guard let next = ApprovalDecision.later(request, now: digest, at: now) else { return nil }
        try sql.keep(next)
        try tellChange(from: request, to: next, said: nil)
        return next
    }

    /// Takes back all that was said of a version whose files are not what was looked at.
    func void(_ version: ModelVersion, because reason: String) throws {
        for request in try sql.openRequests(of: version) {
            var next = request
            (next.status, next.reason, next.ended_at) = (.voided, reason, now)
            for index in next.approvals.indices { next.approvals[index].is_void = true }
            try sql.keep(next)
            try tellChange(from: request, to: next, said: nil)
        }
    }

    // MARK: Guarding

    /// Refuses an alias to a version that its stage has not approved, or that breaks whoever calls the one before.
    func allow(_ version: ModelVersion, alias: String, insteadOf before: Int) throws {
        let spec = try Registry.spec(of: version.reference, in: sql)
        try stayCompatible(version, spec, insteadOf: before)
        guard let stage = spec.stages.first(where: { $0.aliases.contains(alias) }) else { return }
        try spend(stage, for: version, as: "alias \"\(alias)\"")
    }

    /// Refuses a stage of MLflow's to a version that has not been approved for the stage of that name.
    func allow(_ version: ModelVersion, stage name: String) throws {
        let spec = try Registry.spec(of: version.reference, in: sql)
        guard let stage = spec.stages.first(where: { $0.name == name.lowercased() }) else { return }
        try spend(stage, for: version, as: "stage \"\(name)\"")
    }

    private func stayCompatible(_ version: ModelVersion, _ spec: ModelSpec, insteadOf before: Int) throws {
        guard spec.compatibility != .none, let old = try sql.version(before, of: version.reference) else { return }
        let schemas = (SchemaReading.schema(of: old.signature), SchemaReading.schema(of: version.signature))
        guard !schemas.0.isEmpty,
            let broken = SchemaChange.breaks(from: schemas.0, to: schemas.1, spec.compatibility).first
        else { return }
        throw Problem(
            "model.incompatible", status: 403,
            "version \(version.version) cannot take the place of version \(before): \(broken)",
            detail: "Model \"\(version.model)\" is to stay compatible: \(spec.compatibility.rawValue).",
            hint: "See the difference with: vagus models diff \(version.model) \(before) \(version.version)")
    }

    private func spend(_ stage: ModelStageSpec, for version: ModelVersion, as what: String) throws {
        let digest = ApprovalDecision.digest(of: version)
        let good = try sql.requests(of: version).first { request in
            request.stage == stage.name && request.status == .approved
                && ApprovalDecision.later(request, now: digest, at: now) == nil
        }
        guard var good else {
            // 403, not 409: whoever moves aliases takes 409 for a race and tries again.
            throw Problem(
                "model.not-approved", status: 403,
                "\(what) of model \"\(version.model)\" needs version \(version.version) approved for stage \"\(stage.name)\"",
                hint: "Ask with: vagus models ask \(version.model)@\(version.version) --stage \(stage.name)")
        }
        guard good.used_at == nil else { return }
        good.used_at = now
        try sql.keep(good)
    }

    private func tell(_ name: String, _ request: ModelRequest, _ more: Ordered<JSONValue>) throws {
        var data: Ordered<JSONValue> = [
            "version": .integer(Int64(request.version)), "stage": .string(request.stage),
            "digest": .string(request.digest), "request": .string(request.id),
        ]
        for (key, value) in more { data[key] = value }
        try tell(
            name, about: Reference<ModelKind>(project: request.project, name: request.model).subject, data)
    }
}

extension Connection {
    func keep(_ request: ModelRequest) throws {
        try run(
            """
            INSERT INTO experiments_model_request (id, project, model, version, stage, status, began_at, expires_at, body)
            VALUES (\(request.id), \(request.project), \(request.model), \(request.version), \(request.stage),
                \(request.status.rawValue), \(request.began_at.microseconds), \(request.expires_at.microseconds),
                \(request.json.text))
            ON CONFLICT (id) DO UPDATE SET status = excluded.status, body = excluded.body
            """)
    }

    func request(_ id: String) throws -> ModelRequest? {
        try row("SELECT body FROM experiments_model_request WHERE id = \(id)").map(Self.request)
    }

    /// Newest first.
    func requests(of version: ModelVersion) throws -> [ModelRequest] {
        try rows(
            """
            SELECT body FROM experiments_model_request WHERE project = \(version.project)
                AND model = \(version.model) AND version = \(version.version) ORDER BY began_at DESC, id DESC LIMIT 200
            """
        ).map(Self.request)
    }

    func openRequests(of version: ModelVersion) throws -> [ModelRequest] {
        try requests(of: version).filter { $0.status == .waiting || $0.status == .approved }
    }

    func requests(_ query: ModelRequestQuery) throws -> [ModelRequest] {
        let model: Statement = query.model.map { "AND model = \($0)" } ?? ""
        let status: Statement = query.status.map { "AND status = \($0.rawValue)" } ?? ""
        return try rows(
            """
            SELECT body FROM experiments_model_request WHERE project = \(query.project) \(model) \(status)
            ORDER BY began_at DESC, id DESC LIMIT \(query.limit)
            """
        ).map(Self.request)
    }

    /// Ids of those that time may still end.
    func pendingRequests() throws -> [String] {
        try rows(
            """
            SELECT id FROM experiments_model_request WHERE status IN ('waiting', 'approved') ORDER BY expires_at LIMIT 10000
            """
        ).map { try $0.get(0) }
    }

    func modelTeams(project: String) throws -> [String: TeamSpec] {
        Dictionary(
            try resources(TeamKind.self, project: project).map { ($0.reference.name, $0.spec) },
            uniquingKeysWith: { first, _ in first })
    }

    private static func request(_ row: Row) throws -> ModelRequest {
        try ModelRequest(json: JSONParser.parse(try row.get(0, as: String.self)), at: [])
    }
}

/// Ends requests whose time is over.
struct RequestReconciler: Reconciler {
    static let name = "model-requests"
    static let topics: Set<String> = ["model.requested", "model.approved"]
    let store: Store

    func keys() async throws -> [String] { try await store.read { try $0.pendingRequests() } }

    func reconcile(_ key: String) async throws -> Next {
        let now = store.time.now
        guard let request = try await store.read({ try $0.request(key) }), request.used_at == nil,
            request.status == .waiting || request.status == .approved
        else { return .settled }
        guard now >= request.expires_at else { return .again(in: request.expires_at.since(now)) }
        try await store.change(.system("experiments")) { change in
            guard let request = try change.sql.request(key) else { return }
            try change.settle(request, nil)
        }
        return .settled
    }
}
