import API
import Crypto
import Kernel
import SQL

/// Tokens that a job is leased with: they read the repositories of the run's project, that of an untrusted run its own
/// repository alone, and die with the lease.
///
/// The secret is made at the lease and kept nowhere; its hash stands with the job. It is worth nothing once the job has
/// ended or was leased anew.
struct JobTokens: Sendable {
    let store: Store

    static let prefix = "vgj_"

    /// Who the token speaks for at one repository; nil when it is unknown, or its lease has ended.
    ///
    /// - Throws: `Problem` (403) when the run may not read that repository.
    func call(
        for secret: String, at repository: Reference<RepositoryKind>, correlation: String
    ) async throws -> Call? {
        guard secret.hasPrefix(Self.prefix), secret.utf8.count <= 200 else { return nil }
        let hash = TokenBook.hash(secret)
        let found = try await store.read { sql -> Run? in
            let row = try sql.row(
                "SELECT run FROM pipelines_job WHERE token_hash = \(hash) AND status = 'running'")
            return try row.flatMap { try sql.run(id: try $0.get("run"))?.run }
        }
        guard let run = found else { return nil }
        guard run.trigger.is_trusted || (run.project == repository.project && run.repository == repository.name) else {
            throw Problem(
                "repository.untrusted", status: 403, "a run that is not trusted reads its own repository only",
                hint: "What it needs of others, a trusted run can leave as an artifact.")
        }
        return Call(actor: "run:\(run.id)", correlation: correlation, permission: .read, project: run.project)
    }
}

extension Change {
    /// A new token for a job that is being leased.
    func giveToken(to key: JobKey) throws -> String {
        let secret =
            JobTokens.prefix
            + SymmetricKey(size: .bits256).withUnsafeBytes { bytes in
                bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
            }
        try sql.run(
            """
            UPDATE pipelines_job SET token_hash = \(TokenBook.hash(secret))
            WHERE run = \(key.run) AND stage = \(key.stage) AND name = \(key.job)
            """)
        return secret
    }
}
