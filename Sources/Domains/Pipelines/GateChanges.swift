import API
import Blobs
import Kernel
import Manifests
import SQL

/// What becomes of gates, each in the transaction under way, with its event.
extension Change {
    /// Notes that a job has come to the gate, or why it is turned away there.
    func arrive(_ gate: StoredGate, refused reason: String?) throws {
        guard try sql.gate(gate.key) == nil else { return }
        var arrived = gate
        if let reason { (arrived.status, arrived.reason, arrived.endedAt) = (.refused, reason, now) }
        try sql.keep(arrived)
        if let reason { try tellGate("gate.refused", arrived, ["reason": .string(reason)]) }
        ring("Run/\(gate.key.run)")
    }

    /// Ends a gate that waits; the run's own loop ends the job.
    func end(_ seen: StoredGate, as status: GateStatus, because reason: String) throws {
        guard var gate = try waiting(seen) else { return }
        (gate.status, gate.reason, gate.endedAt) = (status, reason, now)
        try sql.keep(gate)
        // A job that was cancelled meanwhile has told so itself.
        guard status != .closed else { return }
        try tellGate(status == .expired ? "approval.expired" : "gate.refused", gate, ["reason": .string(reason)])
    }

    /// Begins the checks of what waits now.
    func beginChecks(of seen: StoredGate, _ specs: [GateCheckSpec]) throws {
        guard let gate = try waiting(seen) else { return }
        for (position, spec) in specs.enumerated() {
            var told = GateCheck()
            (told.position, told.began_at) = (position, now)
            try sql.keep(StoredCheck(key: gate.key, digest: gate.digest, spec: spec, told: told, nextAt: now))
        }
        ring(CheckReconciler.topic)
    }

    /// Asks people to approve what waits now.
    func ask(_ seen: StoredGate, _ spec: ApprovalsSpec) throws {
        guard var gate = try waiting(seen), gate.askedAt == nil else { return }
        (gate.askedAt, gate.expiresAt) = (now, now.advanced(by: spec.expires.duration))
        try sql.keep(gate)
        try tellGate(
            "approval.requested", gate,
            [
                "min": .integer(Int64(spec.min)), "from": spec.from.json,
                "expires_at": gate.expiresAt.map(\.json) ?? .null,
            ])
    }

    /// What waits is not what was approved any more: all that was said of it counts no longer.
    func void(_ seen: StoredGate, now digest: String) throws {
        guard var gate = try sql.gate(seen.key), gate.digest == seen.digest else { return }
        let said = try sql.approvals(run: gate.key.run)
            .filter { $0.key == gate.key && $0.said.digest == gate.digest }.map(\.said.by)
        let before = gate.digest
        (gate.status, gate.reason, gate.digest, gate.endedAt) = (.waiting, nil, digest, nil)
        (gate.askedAt, gate.expiresAt) = (nil, nil)
        try sql.keep(gate)
        try tellGate("approval.voided", gate, ["before": .string(before), "approvals": said.json])
    }

    /// Lets a job in whose orders have just been resolved, if they are what was approved; false when it must wait on.
    func passGate(of job: StoredJob, in stored: StoredRun, _ orders: JobOrders) throws -> Bool {
        guard let environment = stored.environment(of: job.key) else { return true }
        guard var gate = try sql.gate(job.key) else { return false }
        // Everything is read again in this transaction: the environment may have changed since the decision.
        let facts = try sql.gateFacts(for: stored, jobs: [job])
        guard let known = facts.cases[job.job.key] else { return false }
        let digest = GateDigest.of(job, stored, orders, known.spec)
        guard digest == gate.digest else {
            try void(gate, now: digest)
            return false
        }
        guard gate.status != .open else { return true }
        guard case .open = GateDecision.decide(known, stored.run, at: now).answer else {
            return false
        }
        (gate.status, gate.reason, gate.endedAt) = (.open, nil, now)
        try sql.keep(gate)
        try tellGate("gate.opened", gate, ["approvals": known.approvals.map(\.by).json])
        if known.spec?.approval_gates.approvals?.supersede ?? false {
            try supersede(sql.waitingGates(before: gate), by: stored.run, in: environment)
        }
        return true
    }

    /// Older runs that still wait are not wanted any more: the environment has something newer.
    private func supersede(_ gates: [StoredGate], by run: Run, in environment: String) throws {
        for var gate in gates {
            guard let older = try sql.run(id: gate.key.run), let job = try sql.job(gate.key),
                !job.job.status.hasEnded
            else { continue }
            let reason =
                "superseded by \(run.pipeline):\(run.number), which was let into environment \"\(environment)\""
            (gate.status, gate.reason, gate.endedAt) = (.superseded, reason, now)
            try sql.keep(gate)
            try tellGate("gate.superseded", gate, ["by": .string(run.id)])
            var followed = older
            followed.run.superseded_by = run.id
            try sql.update(followed)
            try end(job, of: followed, as: .superseded, because: reason)
        }
    }

    private func waiting(_ seen: StoredGate) throws -> StoredGate? {
        guard let gate = try sql.gate(seen.key), gate.status == .waiting, gate.digest == seen.digest else {
            return nil
        }
        return gate
    }

    func tellGate(_ name: String, _ gate: StoredGate, _ more: Ordered<JSONValue> = [:]) throws {
        var data: Ordered<JSONValue> = [
            "stage": .string(gate.key.stage), "job": .string(gate.key.job), "environment": .string(gate.environment),
            "digest": .string(gate.digest),
        ]
        for (key, value) in more { data[key] = value }
        try tell(name, about: Subject(kind: "Run", project: gate.project, name: gate.key.run), data)
    }
}

/// What an approval is bound to, beside its run and environment.
enum GateDigest {
    /// SHA-256 over all that the job would do: its spec and orders (commit, artifacts and models by digest, variables), and
    /// which secrets it would be given.
    static func of(
        _ job: StoredJob, _ stored: StoredRun, _ orders: JobOrders, _ environment: EnvironmentSpec?
    ) -> String {
        let content: JSONValue = [
            "commit": stored.run.commit.map(JSONValue.string) ?? .null,
            "job": stored.plan.find(job.key)?.job.spec.json ?? .null,
            "orders": orders.steps.json, "execution": orders.execution.json,
            "secrets": environment?.secrets.json ?? .null,
            "targets": environment?.targets.json ?? .null,
        ]
        return Digest(of: Array(content.canonicalText.utf8)).text
    }
}
