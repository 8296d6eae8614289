package import API
package import Kernel
package import Manifests
import Synchronization

/// Secrets in a table, and what was asked for; no limits but those that a test sets.
package final class FakeSecrets: SecretSource, TokenSigner {
    private struct State {
        var values: [String: String]
        var refused: Set<String> = []
        var asked: [SecretAsk] = []
    }
    private let state: Mutex<State>

    /// - Parameter values: "project/name" → plain text.
    package init(_ values: [String: String] = [:]) { state = Mutex(State(values: values)) }

    package func withSecret<Result: Sendable>(
        _ ask: SecretAsk, _ body: (borrowing Secret) throws -> Result
    ) async throws -> Result {
        let key = "\(ask.project)/\(ask.name)"
        let (value, isRefused) = state.withLock { state in
            state.asked.append(ask)
            return (state.values[key], state.refused.contains(key))
        }
        if isRefused { throw Problem("secret.not-allowed", status: 403, "\"\(ask.name)\" is not for this job") }
        guard let value else { throw Problem("secret.not-found", status: 404, "no secret \"\(ask.name)\"") }
        return try body(Secret(Array(value.utf8)))
    }

    /// Not signed: the claims as they are, behind "fake.", so that a test can read them.
    package func sign(
        _ claims: Ordered<JSONValue>, life: Duration, algorithm: TokenAlgorithm
    ) async throws -> String {
        "fake." + JSONValue.object(claims).text
    }

    // MARK: - The test's hand

    package func set(_ name: String, _ value: String?, project: String = "default") {
        state.withLock { $0.values["\(project)/\(name)"] = value }
    }

    /// Lets the secret be one that no job may have.
    package func refuse(_ name: String, project: String = "default") {
        state.withLock { _ = $0.refused.insert("\(project)/\(name)") }
    }

    package var asked: [SecretAsk] { state.withLock { $0.asked } }
}
