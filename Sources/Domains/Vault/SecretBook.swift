import API
import Kernel
import Manifests
import SQL

/// Secrets: set, listed, lent.
struct SecretBook: SecretSource {
    let store: Store
    let file: KeyFile

    // MARK: Operations

    func set(_ input: SecretInput, _ call: Call) async throws -> SecretInfo {
        let plain = try Self.checked(input)
        let file = file
        return try await store.change(call) { change in
            let name = SecretName(project: input.project, name: input.name)
            let before = try change.sql.secret(name)
            if before == nil, try change.sql.secretCount(project: input.project) >= VaultLimits.secrets {
                throw Problem(
                    "secret.limit", status: 409,
                    "project \"\(input.project)\" has \(VaultLimits.secrets) secrets already",
                    hint: "Delete some.")
            }
            var secret = before ?? SecretInfo()
            (secret.project, secret.name, secret.version) = (input.project, input.name, secret.version + 1)
            secret.environments = input.environments ?? secret.environments
            secret.pipelines = input.pipelines ?? secret.pipelines
            (secret.changed_at, secret.changed_by) = (change.now, call.actor)
            let key = try file.key(needed: change.sql.sealingKey())
            try change.sql.keep(secret, sealed: try key.seal(plain, at: Self.place(name, secret.version)), key: key.id)
            try change.tell(
                "secret.set", about: Subject(kind: "Secret", project: input.project, name: input.name),
                [
                    "version": .integer(Int64(secret.version)), "environments": secret.environments.json,
                    "pipelines": secret.pipelines.json,
                ])
            return secret
        }
    }

    private static func checked(_ input: SecretInput) throws(Problem) -> [UInt8] {
        guard SecretReference.isName(input.name) else {
            throw Problem(
                "secret.name", status: 422, "\"\(input.name.prefix(80))\" cannot be a secret's name",
                hint: SecretReference.nameRule)
        }
        guard let text = input.value.string, !text.isEmpty, !text.utf8.contains(0) else {
            throw Problem(
                "secret.value", status: 422, "a secret's value is text, at least one character, without NUL",
                hint: "Encode anything else, in base64 for example.")
        }
        guard text.utf8.count <= VaultLimits.valueBytes else {
            throw Problem(
                "secret.value", status: 413, "a secret's value has at most \(VaultLimits.valueBytes >> 10) KiB",
                hint: "Keep larger things elsewhere, and the key to them here.")
        }
        return Array(text.utf8)
    }

    func list(_ query: SecretQuery) async throws -> ItemList<SecretInfo> {
        let found = try await store.read { try $0.secrets(query) }
        return ItemList(found, next: found.count == query.limit ? found.last?.name : nil)
    }

    func versions(of name: SecretName) async throws -> [SecretVersion] {
        let found = try await store.read { try $0.versions(of: name) }
        guard !found.isEmpty else { throw Self.unknown(name) }
        return found
    }

    func delete(_ name: SecretName, _ call: Call) async throws -> SecretInfo {
        try await store.change(call) { change in
            guard let gone = try change.sql.secret(name) else { throw Self.unknown(name) }
            try change.sql.forget(name)
            try change.tell("secret.deleted", about: Subject(kind: "Secret", project: name.project, name: name.name))
            return gone
        }
    }

    // MARK: Lending

    func withSecret<Result: Sendable>(
        _ ask: SecretAsk, _ body: (borrowing Secret) throws -> Result
    ) async throws -> Result {
        let file = file
        let name = SecretName(project: ask.project, name: ask.name)
        // Opened on the reader's thread: the key file is read there at first, and no plain text waits in a queue.
        let plain = try await store.read { sql in
            guard let secret = try sql.secret(name), let sealed = try sql.sealed(name, version: secret.version) else {
                throw Self.unknown(name)
            }
            if let reason = Self.refusal(of: ask, by: secret) {
                throw Problem(
                    "secret.not-allowed", status: 403, reason,
                    hint: "See what it is limited to with: vagus secret list --project \(ask.project)")
            }
            return try file.key(needed: sealed.key).open(sealed.sealed, at: Self.place(name, secret.version))
        }
        return try body(Secret(plain))
    }

    /// Why the secret is not for this use; nil when it is. Pure.
    static func refusal(of ask: SecretAsk, by secret: SecretInfo) -> String? {
        let (taker, environment): (String, String?)
        switch ask.use {
        case .server: return nil
        case .job(let pipeline, let place):
            (taker, environment) = ("jobs", place)
            if !secret.pipelines.isEmpty, !secret.pipelines.contains(pipeline) {
                return "secret \"\(ask.name)\" is not for pipeline \"\(pipeline)\""
            }
        case .service(let name, let place):
            (taker, environment) = ("services", place)
            if !secret.pipelines.isEmpty {
                return "secret \"\(ask.name)\" is only for some pipelines, not for service \"\(name)\""
            }
        }
        guard !secret.environments.isEmpty else { return nil }
        guard let environment else {
            return
                "secret \"\(ask.name)\" is only for \(taker) of environment \(secret.environments.joined(separator: ", "))"
        }
        return secret.environments.contains(environment)
            ? nil : "secret \"\(ask.name)\" is not for environment \"\(environment)\""
    }

    private static func place(_ name: SecretName, _ version: Int) -> VaultKey.Place {
        VaultKey.Place(kind: "secret", project: name.project, name: name.name, version: version)
    }

    private static func unknown(_ name: SecretName) -> Problem {
        Problem(
            "secret.not-found", status: 404, "no secret \"\(name.name)\" in project \"\(name.project)\"",
            hint: "Set it with: vagus secret set '\(name.name)' --project \(name.project)")
    }
}
