import API
import Crypto
import Foundation

/// Whether a webhook comes from who knows the secret: checked on the bytes as they came, in constant time; pure.
///
///   github     X-Hub-Signature-256: sha256=HEX      HMAC-SHA256 of the body
///   gitea      X-Gitea-Signature: HEX               the same, without a prefix; Forgejo too
///   bitbucket  X-Hub-Signature: sha256=HEX          the same
///   gitlab     webhook-signature: v1,BASE64         HMAC-SHA256 of ID.TIME.BODY (Standard Webhooks), or, from hooks with a
///              secret token instead of a signing token, X-Gitlab-Token: SECRET
enum ForgeSignature {
    /// How old a signed time may be (Standard Webhooks: "tolerance").
    static let tolerance: Duration = .seconds(300)

    /// - Parameter headers: Names in lower case.
    static func holds(
        _ forge: RemoteSpec.Forge?, headers: [String: String], body: [UInt8], secret: String, at now: Timestamp
    ) -> Bool {
        guard !secret.isEmpty else { return false }
        switch forge {
        case .gitlab: return holdsGitLab(headers, body, secret, now)
        case .gitea: return holds(headers["x-gitea-signature"] ?? headers["x-hub-signature-256"], body, secret)
        case .bitbucket: return holds(headers["x-hub-signature"], body, secret)
        case .github, nil: return holds(headers["x-hub-signature-256"], body, secret)
        }
    }

    private static func holds(_ header: String?, _ body: [UInt8], _ secret: String) -> Bool {
        guard var hex = header?[...] else { return false }
        if hex.hasPrefix("sha256=") { hex = hex.dropFirst(7) }
        guard let code = bytes(hex: hex), code.count == SHA256.byteCount else { return false }
        return HMAC<SHA256>.isValidAuthenticationCode(
            code, authenticating: body, using: SymmetricKey(data: Array(secret.utf8)))
    }

    private static func bytes(hex: Substring) -> [UInt8]? {
        let digits = Array(hex.utf8)
        guard digits.count % 2 == 0 else { return nil }
        var out: [UInt8] = []
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let byte = UInt8(String(decoding: digits[index..<index + 2], as: UTF8.self), radix: 16) else {
                return nil
            }
            out.append(byte)
        }
        return out
    }

    private static func holdsGitLab(
        _ headers: [String: String], _ body: [UInt8], _ secret: String, _ now: Timestamp
    ) -> Bool {
        if let signatures = headers["webhook-signature"] {
            guard let id = headers["webhook-id"], let time = headers["webhook-timestamp"], let seconds = Int64(time),
                abs(now.microseconds / 1_000_000 - seconds) <= tolerance.components.seconds
            else { return false }
            let isEncoded = secret.hasPrefix("whsec_")
            let key = isEncoded ? Data(base64Encoded: String(secret.dropFirst(6))) : Data(secret.utf8)
            guard let key else { return false }
            let signed = Array("\(id).\(time).".utf8) + body
            return signatures.split(separator: " ").contains { signature in
                guard signature.hasPrefix("v1,"), let code = Data(base64Encoded: String(signature.dropFirst(3))) else {
                    return false
                }
                return HMAC<SHA256>.isValidAuthenticationCode(
                    code, authenticating: signed, using: SymmetricKey(data: key))
            }
        }
        // A signing token is never sent, so nobody who only sends it back has signed.
        guard !secret.hasPrefix("whsec_"), let token = headers["x-gitlab-token"] else { return false }
        return areEqual(Array(token.utf8), Array(secret.utf8))
    }

    /// Compares digests under a key made for the purpose: the time tells nothing of either text.
    private static func areEqual(_ one: [UInt8], _ other: [UInt8]) -> Bool {
        let key = SymmetricKey(size: .bits256)
        let code = HMAC<SHA256>.authenticationCode(for: one, using: key)
        return HMAC<SHA256>.isValidAuthenticationCode(code, authenticating: other, using: key)
    }
}
