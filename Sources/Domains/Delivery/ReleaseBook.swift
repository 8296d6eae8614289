import API
import Kernel
import Manifests
import SQL

/// Releases as the tables know them: begun, opened, over.
struct ReleaseBook {
    let change: Change
    let proxies: ProxyWatch
    let url: ProxyURL
    /// Rung when a rollout that belongs to a release has moved.
    static let topic = ReleaseKind.name

    private var sql: Connection { change.sql }

    // MARK: - Joining

    /// The release that a new rollout of a service belongs to: the one that is rolling out, or the next.
    static func join(_ service: ServiceReference, in change: Change) throws -> ReleaseLink? {
        let sql = change.sql
        guard let group = try group(of: service, in: sql) else { return nil }
        let newest = try ReleaseRow.newest(of: group, in: sql)
        if let newest, newest.phase == .rollingOut { return ReleaseLink(name: group.name, number: newest.number) }
        let row = ReleaseRow(group, number: (newest?.number ?? 0) + 1, at: change.now)
        try row.write(in: sql)
        try change.tell("release.started", about: group.subject, ["number": .integer(Int64(row.number))])
        return ReleaseLink(name: group.name, number: row.number)
    }

    private static func group(of service: ServiceReference, in sql: Connection) throws -> ReleaseReference? {
        try sql.resources(ReleaseKind.self, project: service.project)
            .first { $0.spec.services.contains(service.name) }?.reference
    }

    /// Refuses a service in two groups: neither could promise anything of it.
    static func admit(_ candidate: Candidate, _ spec: ReleaseSpec, in sql: Connection) throws {
        for other in try sql.resources(ReleaseKind.self, project: candidate.project)
        where other.reference.name != candidate.name {
            guard let both = spec.services.first(where: { other.spec.services.contains($0) }) else { continue }
            throw Problem(
                "release.taken", status: 409,
                "service \"\(both)\" belongs to release \"\(other.reference.name)\" already",
                hint: "Take it out of one of them.", location: "services")
        }
    }

    /// A group that is deleted holds nobody any more.
    static func dissolve(_ name: ReleaseReference, in change: Change) throws {
        guard var row = try ReleaseRow.newest(of: name, in: change.sql), row.isOpen else { return }
        (row.phase, row.finishedAt) = (.dissolved, change.now)
        try row.write(in: change.sql)
        change.ring(RolloutLoop.everyService)
    }

    // MARK: - Looking

    /// What is seen of a release.
    static func view(_ row: ReleaseRow, in sql: Connection) throws -> ReleaseView {
        var view = ReleaseView(phase: row.phase)
        view.members = try row.rollouts(in: sql).map { try member($0, in: sql) }
        guard row.phase == .rollingOut, let spec = try sql.resource(ReleaseKind.self, row.name)?.spec else {
            return view
        }
        for name in spec.services where !view.members.contains(where: { $0.service == name }) {
            let service = ServiceReference(project: row.name.project, name: name)
            var member = ReleaseMember()
            (member.service, member.state) = (name, .pending)
            if spec.whole {
                view.members.append(member)
                continue
            }
            guard let declared = try sql.resource(ServiceKind.self, service)?.spec else { continue }
            let signature = WorkloadFreezer.signature(
                declared, try Verbs.environment(declared, service, in: sql))
            // Applied, and not looked at yet: it will want to be part of this.
            guard try ServiceRow.read(service, in: sql).signature != signature else { continue }
            view.members.append(member)
        }
        return view
    }

    private static func member(_ rollout: RolloutRow, in sql: Connection) throws -> ReleaseMember {
        var member = ReleaseMember()
        (member.service, member.revision, member.rollout) = (
            rollout.service.name, rollout.revision, rollout.number
        )
        switch rollout.completion {
        case nil: member.state = rollout.release?.readyAt == nil ? .going : .ready
        case .superseded: member.state = .superseded
        case .aborted, .rolled_back: (member.state, member.reason) = (.failed, rollout.reason)
        case .promoted, .fast_promoted:
            member.state = .promoted
            // It had all traffic, and somebody went back from it.
            if rollout.outcome == .failed { (member.state, member.reason) = (.failed, rollout.reason) }
        }
        return member
    }

    static func status(_ name: ReleaseReference, in sql: Connection) throws -> ReleaseStatus {
        var status = ReleaseStatus()
        (status.project, status.name) = (name.project, name.name)
        guard let row = try ReleaseRow.newest(of: name, in: sql) else {
            status.message = "Nothing of it was rolled out yet."
            return status
        }
        let view = try view(row, in: sql)
        status.number = row.number
        status.phase =
            switch row.phase {
            case .rollingOut: .rolling_out
            case .promoting: .promoting
            case .released: .released
            case .takenBack: .taken_back
            case .dissolved: .idle
            }
        (status.message, status.services) = (ReleaseDecision.words(view, row), view.members)
        (status.started_at, status.finished_at) = (row.startedAt, row.finishedAt)
        return status
    }

    // MARK: - Carrying out

    func carry(_ decision: ReleaseDecision, _ old: ReleaseRow) throws {
        var row = old
        switch decision {
        case .open:
            row.phase = .promoting
            try row.write(in: sql)
            try tell("release.promoting", row, [:])
            change.ring(RolloutLoop.everyService)
        case .finish:
            (row.phase, row.finishedAt) = (.released, change.now)
            try row.write(in: sql)
            try tell("release.released", row, [:])
        case .takeBack(let reason): try takeBack(row, reason: reason)
        }
    }

    /// Every member goes back to where it was, in this one transaction.
    ///
    /// One whose data were migrated in between stays, and is told: a way back over that is for a person to ask for.
    func takeBack(_ old: ReleaseRow, reason: String) throws {
        var (row, left) = (old, [String]())
        let why = "release \(row.number) of \(row.name.name) was taken back: \(reason)"
        for rollout in try row.rollouts(in: sql) {
            guard let spec = try sql.resource(ServiceKind.self, rollout.service)?.spec else { continue }
            let writer = RolloutWriter(change: change, name: rollout.service, spec: spec, proxies: proxies, url: url)
            if rollout.isUnderWay {
                try writer.end(rollout, .aborted, reason: why)
            } else if try !goBack(rollout, writer, why) {
                left.append(rollout.service.name)
            }
            _ = try writer.settle()
        }
        (row.phase, row.finishedAt, row.reason) = (.takenBack, change.now, reason)
        if !left.isEmpty {
            row.reason = "\(reason); but \(left.joined(separator: ", ")) stays, over a migration of its data"
        }
        try row.write(in: sql)
        try tell("release.taken-back", row, ["reason": .string(row.reason ?? reason)])
    }

    /// Takes a member back that had come to all traffic; false when its migration forbids it.
    private func goBack(_ rollout: RolloutRow, _ writer: RolloutWriter, _ reason: String) throws -> Bool {
        var service = try ServiceRow.read(rollout.service, in: sql)
        // Only what is in service still: whoever has gone on, or back, since then has decided.
        guard rollout.outcome == .succeeded, service.stable == rollout.revision, let origin = rollout.origin,
            var target = try RevisionRow.find(origin, of: rollout.service, in: sql)
        else { return true }
        let present = try RevisionRow.find(rollout.revision, of: rollout.service, in: sql)
        guard present?.workload.migration == target.workload.migration else { return false }
        if let newer = try RolloutRow.newest(of: rollout.service, in: sql), newer.isUnderWay { return true }
        try writer.goBack(to: &target, isGradual: false, reason: reason, &service)
        return true
    }

    private func tell(_ event: String, _ row: ReleaseRow, _ more: Ordered<JSONValue>) throws {
        var data: Ordered<JSONValue> = ["number": .integer(Int64(row.number))]
        for (key, value) in more { data[key] = value }
        try change.tell(event, about: row.name.subject, data)
    }
}

/// Lets the services of a release to all traffic together, or takes them back together.
struct ReleaseLoop: Reconciler {
    static let name = "delivery.release"
    static let topics: Set<String> = [ReleaseBook.topic]
    /// Not all that a release waits for rings.
    static let interval = Duration.seconds(1)
    let store: Store
    let proxies: ProxyWatch
    let url: ProxyURL

    func keys() async throws -> [ReleaseReference] { try await store.read { try ReleaseRow.open(in: $0) } }

    func reconcile(_ name: ReleaseReference) async throws -> Next {
        let (proxies, url) = (proxies, url)
        return try await store.change(.system("delivery")) { change in
            guard let row = try ReleaseRow.newest(of: name, in: change.sql) else { return .settled }
            let decision = ReleaseDecision.decide(try ReleaseBook.view(row, in: change.sql))
            if let decision {
                try ReleaseBook(change: change, proxies: proxies, url: url).carry(decision, row)
            }
            try change.setStatus(try ReleaseBook.status(name, in: change.sql), of: name)
            if decision != nil { return .now }
            return row.isOpen ? .again(in: Self.interval) : .settled
        }
    }
}
