import API
package import Kernel
package import SQL

// The vault: secrets sealed at rest, and the keys that sign identity tokens.
//
// What comes in: `Secrets.set` with a value; asks of jobs, by way of the port SecretSource. What goes out: plain text, lent
// for the length of a closure; signed statements (port TokenSigner); the public keys to check them with.
//
// One key file, DATA/vault.key, seals everything with AES-256-GCM. What is sealed is bound to its place (kind, project, name,
// version), so that a row moved elsewhere does not open. The file is made when there is nothing sealed yet; when it is
// missing or another, nothing opens, everything says so, and nothing is overwritten: putting the file back mends it.
//
// Tables owned: vault_secret (every version), vault_name (what a secret is limited to), vault_signing_key,
// vault_content_key.
// Events told: secret.set, secret.deleted, signing-key.made, signing-key.retired, content-key.made. (secret.released is told by pipelines, where
// it is known which job has got it.)
// Loops run: vault-signing-keys.
//
//   KeyFile        the one key: made once, seals and opens     Routes    handlers
//   Tables         the only SQL                                SecretBook   set, list, delete; limits; lending
//   SigningKeys    keys of identity tokens: plan, sign, tell   ContentKeys   keys that sign models, kept for good

/// The bounds of this room.
package enum VaultLimits {
    /// Bytes of one value.
    package static let valueBytes = 64 << 10
    /// Secrets of one project.
    package static let secrets = 10_000
    /// Versions kept of one secret.
    package static let versions = 10
    /// The longest that a signed statement may be good for.
    package static let tokenLife: Duration = .seconds(600)
}

/// The room of secrets and of identity tokens.
package struct VaultDomain: Domain {
    package static let name = "vault"
    let context: DomainContext
    let book: SecretBook
    let keys: SigningKeys
    let contentKeys: ContentKeys

    /// - Parameters:
    ///   - keyFile: Path of the key file, made at first need.
    ///   - issuer: Address under which others find the public keys; asked for once the server listens.
    package init(
        context: DomainContext, keyFile: String, issuer: @escaping @Sendable () async throws -> String
    ) {
        self.context = context
        let file = KeyFile(keyFile)
        book = SecretBook(store: context.store, file: file)
        contentKeys = ContentKeys(store: context.store, file: file)
        keys = SigningKeys(store: context.store, file: file, ids: context.ids, issuer: issuer)
    }

    /// Lends secrets to other rooms.
    package var secrets: any SecretSource { book }
    /// Signs for other rooms.
    package var tokens: any TokenSigner { keys }
    /// Signs content for other rooms.
    package var content: any ContentSigner { contentKeys }

    package var migrations: [Migration] { Tables.migrations + [ContentKeys.migration] }

    package func routes(_ routes: inout Routes) {
        let (book, keys) = (book, keys)
        routes.on(Secrets.set) { input, call in try await book.set(input, call) }
        routes.on(Secrets.list) { input, _ in try await book.list(input) }
        routes.on(Secrets.versions) { input, _ in ItemList(try await book.versions(of: input)) }
        routes.on(Secrets.delete) { input, call in try await book.delete(input, call) }
        routes.on(Identity.configuration) { _, _ in try await keys.configuration() }
        routes.on(Identity.keys) { _, _ in try await keys.published() }
        routes.on(Identity.rotate) { _, call in try await keys.rotate(call) }
    }

    package var loops: [any RunnableLoop] {
        [
            ReconcileLoop(
                KeyReconciler(keys: keys), store: context.store, sweep: .seconds(3600),
                logger: context.logger(for: Self.name))
        ]
    }
}
