import API
import Kernel
import Manifests
import SQL

/// What a job may be given that others may not know: secrets, an identity token. Decided in the transaction of its lease,
/// handed over after that has been told.
struct JobNeeds: Sendable, Equatable {
    var project: String
    var pipeline: String
    var environment: String?
    /// Name for the job → the secret's own name.
    var secrets: Ordered<String> = [:]
    var idToken: IDTokenSpec?
    /// Why the job goes on without, though it asks.
    var withheld: String?
    /// Why the job must not go on: what it would be given is not what was approved.
    var refusal: String?
}

extension Connection {
    /// What the job asks for; nil when that is nothing.
    func needs(of job: StoredJob, in stored: StoredRun) throws -> JobNeeds? {
        let spec = stored.plan.find(job.key)?.job.spec
        let place = stored.environment(of: job.key)
        guard place != nil || spec?.id_token != nil || !(spec?.secrets.isEmpty ?? true) else { return nil }
        var needs = JobNeeds(project: stored.run.project, pipeline: stored.run.pipeline, environment: place)
        for name in spec?.secrets ?? [] { needs.secrets[name] = SecretReference(name)?.name ?? name }
        needs.idToken = spec?.id_token
        if let place {
            let reference = Reference<EnvironmentKind>(project: stored.run.project, name: place)
            let environment = try resource(EnvironmentKind.self, reference)?.spec
            for (name, text) in environment?.secrets ?? [:] {
                needs.secrets[name] = SecretReference(text)?.name ?? text
            }
            needs.idToken = needs.idToken ?? environment?.oidc
            let gate = try gate(job.key)
            if gate?.status != .open || gate?.digest != GateDigest.of(job, stored, JobOrders(job), environment) {
                needs.refusal = "environment \"\(place)\" has changed since it let this job in"
            }
        }
        if !stored.run.trigger.is_trusted { needs.withheld = "its code is not trusted" }
        return needs.secrets.isEmpty && needs.idToken == nil ? nil : needs
    }
}

struct JobSecrets: Sendable {
    let context: DomainContext
    let outside: Outside?

    /// The leases with what their jobs need in them; without those whose jobs were ended, as it cannot be had.
    func fill(_ taken: [(Lease, JobNeeds?)], _ call: Call) async throws -> [Lease] {
        var leases: [Lease] = []
        for (lease, needs) in taken {
            var lease = lease
            if let needs, try await !fill(&lease, needs, call) { continue }
            leases.append(lease)
        }
        return leases
    }

    /// Fills the lease with what the job needs; false when that cannot be had, and the job was ended therefore.
    private func fill(_ lease: inout Lease, _ needs: JobNeeds, _ call: Call) async throws -> Bool {
        let runCall = Call(actor: call.actor, correlation: lease.run, permission: call.permission)
        let subject = Subject(kind: "Run", project: needs.project, name: lease.run)
        let facts: Ordered<JSONValue> = [
            "stage": .string(lease.stage), "job": .string(lease.job), "attempt": .integer(Int64(lease.attempt)),
            "environment": needs.environment.map(JSONValue.string) ?? .null, "names": needs.secrets.keys.json,
            "id_token": needs.idToken.map { .string($0.audience) } ?? .null,
        ]
        if let reason = needs.withheld {
            try await context.store.change(runCall) { change in
                var data = facts
                data["reason"] = .string(reason)
                try change.tell("secret.withheld", about: subject, data)
            }
            return true
        }
        if let reason = needs.refusal { return try await refuse(lease, reason, runCall) }
        // Told before anything is handed over: there is no release that nobody knows of.
        try await context.store.change(runCall) { change in
            _ = try change.tell("secret.released", about: subject, facts)
        }
        do {
            lease.secrets = try await values(needs)
            lease.id_token = needs.idToken
            return true
        } catch let problem as Problem {
            return try await refuse(lease, problem.message, runCall)
        }
    }

    /// Ends the job that was just leased; false.
    private func refuse(_ lease: Lease, _ reason: String, _ call: Call) async throws -> Bool {
        let key = JobKey(run: lease.run, stage: lease.stage, job: lease.job)
        let epoch = lease.epoch
        try await context.store.change(call) { change in
            guard let job = try change.sql.job(key), job.epoch == epoch, job.job.status == .running,
                let stored = try change.sql.run(id: key.run)
            else { return }
            try change.end(job, of: stored, as: .failed, because: reason)
        }
        return false
    }

    private func values(_ needs: JobNeeds) async throws -> Ordered<String> {
        guard !needs.secrets.isEmpty else { return [:] }
        guard let outside else {
            throw Problem("secret.none", status: 503, "this server keeps no secrets")
        }
        var values = Ordered<String>()
        for (name, secret) in needs.secrets {
            let ask = SecretAsk(
                project: needs.project, name: secret,
                for: .job(pipeline: needs.pipeline, environment: needs.environment))
            values[name] = try await outside.secrets.withSecret(ask) { $0.text }
        }
        return values
    }

    // MARK: Identity

    /// An identity token for a job that its runner holds.
    func token(_ key: LeaseKey, _ call: Call) async throws -> IDToken {
        let job = JobKey(run: key.run, stage: key.stage, job: key.job)
        let known = try await context.store.read { sql in
            guard try sql.held(job, epoch: key.epoch).0 != nil, let whole = try sql.job(job),
                let stored = try sql.run(id: job.run)
            else { return (Run, JobNeeds?)?.none }
            return (stored.run, try sql.needs(of: whole, in: stored))
        }
        guard let (run, needs) = known else {
            throw Problem(
                "lease.lost", status: 409, "job \"\(key.stage)/\(key.job)\" is not held by this lease any more",
                hint: "Stop it; another runner may have it.")
        }
        guard let needs, let spec = needs.idToken, needs.withheld == nil, needs.refusal == nil, let outside else {
            throw Problem(
                "oidc.not-for-job", status: 403,
                needs?.withheld ?? needs?.refusal ?? "job \"\(key.stage)/\(key.job)\" has asked for no identity token",
                hint: "Give the job an audience: id_token: { audience: … }.")
        }
        var token = IDToken()
        token.expires_at = context.time.now.advanced(by: Self.life)
        token.token = try await outside.tokens.sign(
            Self.claims(of: job, run, needs.environment, audience: spec.audience), life: Self.life,
            algorithm: spec.algorithm)
        return token
    }

    /// How long an identity token is good for.
    static let life: Duration = .seconds(600)

    static func claims(of job: JobKey, _ run: Run, _ environment: String?, audience: String) -> Ordered<JSONValue> {
        let place = environment.map { ":environment:\($0)" } ?? ""
        let ref = run.trigger.ref.map { ":ref:\($0)" } ?? ""
        var claims: Ordered<JSONValue> = [
            "sub": .string("project:\(run.project):pipeline:\(run.pipeline)\(place)\(ref)"), "aud": .string(audience),
            "project": .string(run.project), "pipeline": .string(run.pipeline), "run": .string(run.id),
            "job": .string("\(job.stage)/\(job.job)"), "actor": .string(run.trigger.actor),
        ]
        claims["environment"] = environment.map(JSONValue.string)
        claims["ref"] = run.trigger.ref.map(JSONValue.string)
        claims["commit"] = run.commit.map(JSONValue.string)
        return claims
    }
}
