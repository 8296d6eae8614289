import API
import Crypto
import Foundation
import Kernel
import KernelTesting
import Manifests
import SQL
import Testing

@testable import Vault

private func vault(_ house: TestHouse) -> VaultDomain {
    VaultDomain(context: house.context, keyFile: "\(house.folder)/vault.key") { "https://vagus.example.com" }
}

private func opened(folder: String? = nil, time: ManualTime = ManualTime()) async throws -> (TestHouse, VaultDomain) {
    let house = try TestHouse(folder: folder, time: time)
    let domain = vault(house)
    try await house.open([domain])
    return (house, domain)
}

extension TestHouse {
    @discardableResult
    fileprivate func set(_ name: String, _ value: String, edit: (inout SecretInput) -> Void = { _ in }) async throws
        -> SecretInfo
    {
        var input = SecretInput()
        (input.name, input.value) = (name, .string(value))
        edit(&input)
        return try await call(Secrets.set, input)
    }
}

extension VaultDomain {
    fileprivate func lent(_ name: String, for use: SecretAsk.Use = .server) async throws -> String {
        try await secrets.withSecret(SecretAsk(project: "default", name: name, for: use)) { $0.text }
    }
}

@Suite struct SecretTests {
    @Test func `a secret is lent as it was set, its newest version first`() async throws {
        let (house, domain) = try await opened()
        #expect(try await house.set("DB_URL", "postgres://one").version == 1)
        #expect(try await house.set("DB_URL", "postgres://two ünï").version == 2)
        #expect(try await domain.lent("DB_URL") == "postgres://two ünï")
        let versions = try await house.call(Secrets.versions, SecretName(project: "default", name: "DB_URL"))
        #expect(versions.items.map(\.version) == [2, 1])
    }

    @Test func `no value is in any answer, event or file`() async throws {
        let (house, _) = try await opened()
        let canary = "canary-7f3a91"
        let told = try await house.set("DB_URL", canary)
        let list = try await house.call(Secrets.list, SecretQuery())
        let events = try await house.events()
        let all = told.json.text + list.json.text + events.map(\.json.text).joined()
        #expect(all.contains("DB_URL") && !all.contains(canary))
        await house.store.close()
        for file in try FileManager.default.contentsOfDirectory(atPath: house.folder) {
            let bytes = FileManager.default.contents(atPath: "\(house.folder)/\(file)") ?? Data()
            #expect(bytes.range(of: Data(canary.utf8)) == nil, "\(file) holds the plain text")
        }
    }

    @Test func `only the newest versions are kept`() async throws {
        let (house, _) = try await opened()
        for number in 1...13 { try await house.set("A", "value \(number)") }
        let versions = try await house.call(Secrets.versions, SecretName(project: "default", name: "A"))
        #expect(versions.items.map(\.version) == Array((4...13).reversed()))
    }

    @Test func `a deleted secret is gone, and says so`() async throws {
        let (house, domain) = try await opened()
        try await house.set("A", "value")
        _ = try await house.call(Secrets.delete, SecretName(project: "default", name: "A"))
        let refused = await #expect(throws: Problem.self) { try await domain.lent("A") }
        #expect(refused?.status == 404)
        #expect(try await house.events().map(\.name) == ["secret.set", "secret.deleted"])
    }

    @Test(arguments: ["", "a b", "-a", "é", "a\u{0}", String(repeating: "x", count: 201)])
    func `what is no name is refused`(name: String) async throws {
        let (house, _) = try await opened()
        let refused = await #expect(throws: Problem.self) { try await house.set(name, "value") }
        #expect(refused?.code == "secret.name")
    }

    @Test func `what is no value is refused without repeating it`() async throws {
        let (house, _) = try await opened()
        for value: JSONValue in ["", ["s3cret"], ["s3cret": 1], .string(String(repeating: "s3cret", count: 12_000))] {
            let refused = await #expect(throws: Problem.self) { try await house.set("A", "") { $0.value = value } }
            #expect(refused?.code == "secret.value")
            #expect(refused?.json.text.contains("s3cret") == false)
        }
    }

    static let limits: [(environments: [String], pipelines: [String], use: SecretAsk.Use, isLent: Bool)] = [
        ([], [], .job(pipeline: "shop", environment: nil), true),
        (["production"], [], .job(pipeline: "shop", environment: "production"), true),
        (["production"], [], .job(pipeline: "shop", environment: "staging"), false),
        (["production"], [], .job(pipeline: "shop", environment: nil), false),
        ([], ["shop"], .job(pipeline: "shop", environment: nil), true),
        ([], ["shop"], .job(pipeline: "blog", environment: "production"), false),
        (["production"], ["shop"], .job(pipeline: "blog", environment: "production"), false),
        (["production"], ["shop"], .server, true),
    ]

    @Test(arguments: limits.indices)
    func `a secret is lent only within its limits`(row: Int) async throws {
        let (environments, pipelines, use, isLent) = Self.limits[row]
        let (house, domain) = try await opened()
        try await house.set("A", "value") { ($0.environments, $0.pipelines) = (environments, pipelines) }
        do {
            #expect(try await domain.lent("A", for: use) == "value")
            #expect(isLent)
        } catch let problem as Problem {
            #expect(!isLent && problem.code == "secret.not-allowed")
        }
    }

    @Test func `limits stay when a value is set without them, and go when they are lifted`() async throws {
        let (house, _) = try await opened()
        try await house.set("A", "one") { $0.environments = ["production"] }
        #expect(try await house.set("A", "two").environments == ["production"])
        #expect(try await house.set("A", "three") { $0.environments = [] }.environments == [])
    }

    @Test func `a secret does not print`() {
        let secret = Secret(Array("s3cret".utf8))
        #expect(secret.description == "‹hidden›")
    }
}

/// What every source of secrets keeps, the one that other rooms' tests use among them.
@Suite struct SourceTests {
    private func sources() async throws -> (TestHouse, [any SecretSource]) {
        let (house, domain) = try await opened()
        try await house.set("A", "value")
        return (house, [domain.secrets, FakeSecrets(["default/A": "value"])])
    }

    @Test func `a source lends what is there, and says what is not`() async throws {
        let (house, sources) = try await sources()
        for source in sources {
            let ask = SecretAsk(project: "default", name: "A", for: .job(pipeline: "p", environment: nil))
            #expect(try await source.withSecret(ask) { $0.text } == "value")
            for absent in [("default", "B"), ("other", "A")] {
                let ask = SecretAsk(project: absent.0, name: absent.1, for: .server)
                let refused = await #expect(throws: Problem.self) { try await source.withSecret(ask) { $0.text } }
                #expect(refused?.status == 404 && refused?.code == "secret.not-found")
            }
        }
        await house.store.close()
    }

    @Test func `what its borrower throws comes through`() async throws {
        struct Mine: Error {}
        let (house, sources) = try await sources()
        for source in sources {
            let ask = SecretAsk(project: "default", name: "A", for: .server)
            await #expect(throws: Mine.self) { try await source.withSecret(ask) { _ in throw Mine() } }
        }
        await house.store.close()
    }
}

@Suite struct KeyTests {
    @Test func `the key file is made once, for its owner only`() async throws {
        let (house, _) = try await opened()
        try await house.set("A", "value")
        let path = "\(house.folder)/vault.key"
        let first = try #require(FileManager.default.contents(atPath: path))
        try await house.set("B", "value")
        #expect(FileManager.default.contents(atPath: path) == first)
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
        #expect(mode == 0o600)
    }

    @Test func `without its key nothing opens and nothing is lost`() async throws {
        let time = ManualTime()
        let (first, _) = try await opened(time: time)
        try await first.set("A", "value")
        let path = "\(first.folder)/vault.key"
        try FileManager.default.moveItem(atPath: path, toPath: path + ".away")

        let (house, domain) = try await opened(folder: first.folder, time: time)
        var refused = await #expect(throws: Problem.self) { try await domain.lent("A") }
        #expect(refused?.code == "vault.key-missing" && refused?.status == 503)
        refused = await #expect(throws: Problem.self) { try await house.set("B", "other") }
        #expect(refused?.code == "vault.key-missing")
        #expect(!FileManager.default.fileExists(atPath: path), "a new key was made beside what the old one sealed")

        try FileManager.default.moveItem(atPath: path + ".away", toPath: path)
        #expect(try await domain.lent("A") == "value")
    }

    @Test func `another key is refused by name`() async throws {
        let (first, _) = try await opened()
        try await first.set("A", "value")
        let (second, _) = try await opened()
        try await second.set("A", "value")
        let path = "\(first.folder)/vault.key"
        try FileManager.default.removeItem(atPath: path)
        try FileManager.default.copyItem(atPath: "\(second.folder)/vault.key", toPath: path)
        let (_, domain) = try await opened(folder: first.folder)
        let refused = await #expect(throws: Problem.self) { try await domain.lent("A") }
        #expect(refused?.code == "vault.key-wrong")
    }

    @Test func `a key file that others can read is not used`() async throws {
        let (first, _) = try await opened()
        try await first.set("A", "value")
        chmod("\(first.folder)/vault.key", 0o644)
        let (_, domain) = try await opened(folder: first.folder)
        let refused = await #expect(throws: Problem.self) { try await domain.lent("A") }
        #expect(refused?.code == "vault.key-open")
    }

    @Test(arguments: ["name = 'B'", "project = 'other'", "version = 7"])
    func `a sealed value moved to another place does not open`(change: String) async throws {
        let (house, domain) = try await opened()
        try await house.set("A", "value")
        try await house.database.write { sql in
            for table in ["vault_secret", "vault_name"] {
                let statement = Statement(stringLiteral: "UPDATE \(table) SET \(change)")
                try sql.run(statement)
            }
        }
        let project = change.contains("project") ? "other" : "default"
        let name = change.contains("name") ? "B" : "A"
        let refused = await #expect(throws: Problem.self) {
            try await domain.secrets.withSecret(SecretAsk(project: project, name: name, for: .server)) { $0.text }
        }
        #expect(refused?.code == "vault.damaged")
    }
}

@Suite struct SigningTests {
    /// Opens a token with a published key, as anyone outside would.
    private func claims(_ token: String, _ set: JWKSet) throws -> JSONValue {
        let parts = token.split(separator: ".").map(String.init)
        try #require(parts.count == 3)
        let head = try JSONParser.parse(try decoded(parts[0]))
        let key = try #require(set.keys.first { $0.kid == head["kid"]?.string })
        let point = try [4] + decoded(key.x) + decoded(key.y)
        let signature = try P256.Signing.ECDSASignature(rawRepresentation: decoded(parts[2]))
        let isValid = try P256.Signing.PublicKey(x963Representation: point)
            .isValidSignature(signature, for: Array("\(parts[0]).\(parts[1])".utf8))
        try #require(isValid)
        return try JSONParser.parse(try decoded(parts[1]))
    }

    private func decoded(_ text: String) throws -> [UInt8] {
        var base64 = text.replacing("-", with: "+").replacing("_", with: "/")
        while base64.utf8.count % 4 != 0 { base64 += "=" }
        return Array(try #require(Data(base64Encoded: base64)))
    }

    @Test func `a token can be checked with the published key and says who it is for`() async throws {
        let (house, domain) = try await opened()
        let token = try await domain.tokens.sign(["sub": "project:p", "aud": "cloud"], life: .seconds(300))
        let claims = try claims(token, try await house.call(Identity.keys, Nothing()))
        let now = house.time.now.microseconds / 1_000_000
        #expect(
            claims["iss"] == "https://vagus.example.com" && claims["sub"] == "project:p" && claims["aud"] == "cloud")
        #expect(claims["iat"] == .integer(now) && claims["exp"] == .integer(now + 300))
        let configuration = try await house.call(Identity.configuration, Nothing())
        #expect(configuration.jwks_uri == "https://vagus.example.com/.well-known/jwks.json")
    }

    @Test func `no token is good for longer than ten minutes`() async throws {
        let (house, domain) = try await opened()
        let token = try await domain.tokens.sign([:], life: .seconds(86_400))
        let claims = try claims(token, try await house.call(Identity.keys, Nothing()))
        #expect((claims["exp"]?.int ?? 0) - (claims["iat"]?.int ?? 0) == 600)
    }

    @Test func `a new key is told an hour before it signs, and the old one for a day after`() async throws {
        let (house, domain) = try await opened()
        func kid() async throws -> String {
            let token = try await domain.tokens.sign([:], life: .seconds(60))
            return try #require(try JSONParser.parse(try decoded(String(token.prefix { $0 != "." })))["kid"]?.string)
        }
        func told() async throws -> [String] { try await house.call(Identity.keys, Nothing()).keys.map(\.kid) }
        let old = try await kid()
        _ = try await house.call(Identity.rotate, Nothing())
        #expect(try await told().count == 2)
        #expect(try await kid() == old)
        house.time.advance(by: .seconds(3600))
        let new = try await kid()
        #expect(new != old)
        #expect(try await told() == [new, old])
        house.time.advance(by: .seconds(86_399))
        #expect(try await told() == [new, old])
        house.time.advance(by: .seconds(1))
        #expect(try await told() == [new])
        house.time.advance(by: .seconds(30 * 86_400))
        #expect(try await told().count == 2)
        #expect(try await house.events().map(\.name).filter { $0 == "signing-key.made" }.count == 3)
    }
}

@Suite struct ContentKeyTests {
    @Test func `content is signed with one key that outlives the server, and anyone can check it`() async throws {
        let (house, domain) = try await opened()
        let bytes = Array("a model".utf8)
        let first = try await domain.content.sign(bytes)
        let key = try P256.Signing.PublicKey(pemRepresentation: first.publicKey)
        #expect(key.isValidSignature(try P256.Signing.ECDSASignature(derRepresentation: first.bytes), for: bytes))
        #expect(first.publicKey.hasSuffix("-----END PUBLIC KEY-----\n"))
        // The name that others compute: the hash of the text as it stands.
        let hash = SHA256.hash(data: Array(first.publicKey.utf8)).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }
        #expect(first.key == hash.joined())
        let again = try await vault(house).content.sign(bytes)
        #expect(again.key == first.key)
        #expect(try await domain.content.publicKey(first.key) == first.publicKey)
        #expect(try await domain.content.publicKey("other") == nil)
        #expect(try await house.events(named: "content-key.made").count == 1)
    }

    @Test func `many who sign at first make one key`() async throws {
        let (house, domain) = try await opened()
        let keys = try await withThrowingTaskGroup(of: String.self) { group in
            for index in 0..<8 { group.addTask { try await domain.content.sign([UInt8(index)]).key } }
            return try await group.reduce(into: Set<String>()) { $0.insert($1) }
        }
        #expect(keys.count == 1)
        #expect(try await house.events(named: "content-key.made").count == 1)
    }
}
