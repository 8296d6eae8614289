import API
import Kernel
import Manifests
import SQL

/// What people ask of a release.
///
/// Each is one transaction over all its services.
struct ReleaseVerbs: Sendable {
    let store: Store
    let proxies: ProxyWatch
    let url: ProxyURL

    func status(_ name: ReleaseReference) async throws -> ReleaseStatus {
        try await store.read { sql in
            guard try sql.resource(ReleaseKind.self, name) != nil else {
                throw Problem.notFound("Release", name.name, project: name.project, list: "get releases")
            }
            return try ReleaseBook.status(name, in: sql)
        }
    }

    func list(_ project: String) async throws -> [ReleaseStatus] {
        try await store.read { sql in
            try sql.resources(ReleaseKind.self, project: project).map { try ReleaseBook.status($0.reference, in: sql) }
        }
    }

    /// Ends what its services wait for people for; in full, skips all steps.
    func promote(_ input: PromoteInput, _ call: Call) async throws -> ReleaseStatus {
        let name = ReleaseReference(project: input.project, name: input.name)
        _ = try await status(name)
        let (proxies, url) = (proxies, url)
        try await store.change(call) { change in
            guard let row = try ReleaseRow.newest(of: name, in: change.sql), row.isOpen else { throw Self.idle(name) }
            for trial in try row.rollouts(in: change.sql) where trial.isUnderWay {
                guard let spec = try change.sql.resource(ServiceKind.self, trial.service)?.spec else { continue }
                let writer = RolloutWriter(
                    change: change, name: trial.service, spec: spec, proxies: proxies, url: url)
                if input.full {
                    try writer.skipSteps(trial)
                } else if trial.pauseKind == .held {
                    try writer.resume(trial, [:])
                } else if trial.waitsForPerson {
                    if trial.pause != nil { try writer.heedAnalyses(trial) }
                    try writer.advance(trial)
                }
                _ = try writer.settle()
            }
        }
        return try await status(name)
    }

    /// Takes all services back: of a release under way, or of one that is out.
    func takeBack(_ input: AbortInput, isOut: Bool, _ call: Call) async throws -> ReleaseStatus {
        let name = ReleaseReference(project: input.project, name: input.name)
        _ = try await status(name)
        let (proxies, url) = (proxies, url)
        try await store.change(call) { change in
            guard let row = try ReleaseRow.newest(of: name, in: change.sql),
                row.isOpen || (isOut && row.phase == .released)
            else {
                throw isOut
                    ? Problem(
                        "release.none", status: 409, "no release of \"\(name.name)\" is out that could be taken back",
                        hint: "See how it is with: vagus release status \(name.name)") : Self.idle(name)
            }
            let reason = input.reason ?? "\(call.actor) took it back"
            try ReleaseBook(change: change, proxies: proxies, url: url).takeBack(row, reason: reason)
            try change.setStatus(try ReleaseBook.status(name, in: change.sql), of: name)
        }
        return try await status(name)
    }

    private static func idle(_ name: ReleaseReference) -> Problem {
        Problem(
            "release.none", status: 409, "no release of \"\(name.name)\" is under way",
            hint: "Take back one that is out with: vagus release undo \(name.name)")
    }
}
