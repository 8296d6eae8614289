import API
import Crypto
import Kernel
import SQL

/// Tokens that a job is leased with: they read the run's project, and die with the lease.
///
/// The secret is made at the lease and kept nowhere; its hash stands with the job. It is worth nothing once the job has
/// ended or was leased anew.
struct JobTokens: Sendable {
    let store: Store

    static let prefix = "vgj_"

    func call(for secret: String, correlation: String) async throws -> Call? {
        guard secret.hasPrefix(Self.prefix), secret.utf8.count <= 200 else { return nil }
        let hash = TokenBook.hash(secret)
        let found = try await store.read { sql in
            try sql.row(
                """
                SELECT r.project AS project, r.id AS run FROM pipelines_job AS j JOIN pipelines_run AS r ON r.id = j.run
                WHERE j.token_hash = \(hash) AND j.status = 'running'
                """
            ).map { (project: try $0.get("project", as: String.self), run: try $0.get("run", as: String.self)) }
        }
        return found.map {
            Call(actor: "run:\($0.run)", correlation: correlation, permission: .read, project: $0.project)
        }
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
