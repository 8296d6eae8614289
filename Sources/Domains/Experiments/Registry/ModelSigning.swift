import API
import Blobs
import Crypto
import Foundation
import Kernel
import Manifests

/// OpenSSF Model Signing v1.0: a Sigstore bundle with a DSSE envelope over an in-toto statement that lists every file.
///
/// Sources: the OMS specification; DSSE v1 (pre-authentication encoding); in-toto Statement v1; Sigstore bundle v0.3.
enum ModelSigning {
    static let payloadType = "application/vnd.in-toto+json"
    static let statementType = "https://in-toto.io/Statement/v1"
    static let predicateType = "https://model_signing/signature/v1.0"
    static let bundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"
    /// Files of one signed model: its statement is read whole.
    static let fileLimit = 20_000

    /// What is signed: the files by path, and one digest over all of theirs in that order.
    static func statement(name: String, _ files: [ModelFile]) -> JSONValue {
        let sorted = sorted(files)
        let resources = sorted.map { file -> JSONValue in
            ["name": .string(file.path), "algorithm": "sha256", "digest": .string(hex(file.digest))]
        }
        return [
            "_type": .string(statementType),
            "subject": [["name": .string(name), "digest": ["sha256": .string(root(files))]]],
            "predicateType": .string(predicateType),
            "predicate": [
                "serialization": [
                    "method": "files", "hash_type": "sha256", "allow_symlinks": false,
                    "ignore_paths": ["model.sig"],
                ],
                "resources": .array(resources),
            ],
        ]
    }

    /// SHA-256, in hexadecimal, over the digests of all files in the order of their paths.
    static func root(_ files: [ModelFile]) -> String {
        let bytes = sorted(files).flatMap { Self.bytes(hex($0.digest)) }
        return Digest(of: bytes).hex
    }

    static func sorted(_ files: [ModelFile]) -> [ModelFile] {
        files.sorted { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
    }

    /// The bytes that a DSSE signature is made over.
    static func encoding(_ payload: [UInt8]) -> [UInt8] {
        Array("DSSEv1 \(payloadType.utf8.count) \(payloadType) \(payload.count) ".utf8) + payload
    }

    static func bundle(_ payload: [UInt8], _ signature: ContentSignature) -> JSONValue {
        [
            "mediaType": .string(bundleType),
            "verificationMaterial": ["publicKey": ["hint": .string(signature.key)], "tlogEntries": []],
            "dsseEnvelope": [
                "payload": .string(Data(payload).base64EncodedString()), "payloadType": .string(payloadType),
                "signatures": [["sig": .string(Data(signature.bytes).base64EncodedString()), "keyid": ""]],
            ],
        ]
    }

    static func key(of bundle: JSONValue) -> String? { bundle["verificationMaterial"]?["publicKey"]?["hint"]?.string }

    /// Why a bundle does not vouch for these files; empty when it does.
    static func problems(_ bundle: JSONValue, publicKey: String?, _ files: [ModelFile]) -> [String] {
        guard let publicKey,
            let key = try? P256.Signing.PublicKey(pemRepresentation: publicKey)  // no key of this house: told below
        else {
            return ["the signature was made with a key that this server does not know"]
        }
        guard let payload = bundle["dsseEnvelope"]?["payload"]?.string.flatMap({ Data(base64Encoded: $0) }),
            bundle["dsseEnvelope"]?["payloadType"]?.string == payloadType,
            let text = bundle["dsseEnvelope"]?["signatures"]?[0]?["sig"]?.string.flatMap({ Data(base64Encoded: $0) }),
            let signature = try? P256.Signing.ECDSASignature(derRepresentation: text)  // no signature: told below
        else { return ["the signature cannot be read"] }
        guard key.isValidSignature(signature, for: encoding(Array(payload))) else {
            return ["the signature does not fit what it signs"]
        }
        guard let statement = try? JSONParser.parse(Array(payload)),  // signed, and still no JSON: told below
            statement["_type"]?.string == statementType, statement["predicateType"]?.string == predicateType
        else { return ["what is signed is no model signature"] }
        return differences(statement["predicate"]?["resources"]?.array ?? [], files)
    }

    private static func differences(_ resources: [JSONValue], _ files: [ModelFile]) -> [String] {
        var signed: [String: String] = [:]
        for resource in resources { signed[resource["name"]?.string ?? ""] = resource["digest"]?.string ?? "" }
        var found: [String] = []
        for file in sorted(files) {
            switch signed.removeValue(forKey: file.path) {
            case hex(file.digest): continue
            case nil: found.append("\"\(file.path)\" was added after it was signed")
            default: found.append("\"\(file.path)\" was changed after it was signed")
            }
        }
        return found + signed.keys.sorted().map { "\"\($0)\" was taken away after it was signed" }
    }

    private static func hex(_ digest: String) -> String { Digest(digest)?.hex ?? digest }

    private static func bytes(_ hex: String) -> [UInt8] {
        let digits = Array(hex.utf8)
        return stride(from: 0, to: digits.count - 1, by: 2).map {
            UInt8(String(decoding: digits[$0...($0 + 1)], as: UTF8.self), radix: 16) ?? 0
        }
    }
}
