import API
import Crypto
import Foundation
import Synchronization

/// The one key that seals what lies in the vault.
struct VaultKey: Sendable {
    /// Sixteen hexadecimal digits of a hash of the key: tells which key is needed, and nothing of it.
    let id: String
    private let key: SymmetricKey

    init(_ bytes: [UInt8]) {
        key = SymmetricKey(data: bytes)
        let hash = SHA256.hash(data: Array("vagus-vault-key-id".utf8) + bytes)
        id = hash.prefix(8).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    /// Seals with AES-256-GCM (NIST SP 800-38D) under a nonce of chance; `place` must be named again to open it.
    func seal(_ plain: [UInt8], at place: Place) throws -> String {
        let box = try AES.GCM.seal(plain, using: key, authenticating: place.bytes(id))
        guard let combined = box.combined else {
            throw Problem("vault.seal", status: 500, "the value could not be sealed")
        }
        return combined.base64EncodedString()
    }

    func open(_ sealed: String, at place: Place) throws(Problem) -> [UInt8] {
        do {
            let box = try AES.GCM.SealedBox(combined: Data(base64Encoded: sealed) ?? Data())
            return Array(try AES.GCM.open(box, using: key, authenticating: place.bytes(id)))
        } catch {
            throw Problem(
                "vault.damaged", status: 500, "what is sealed as \(place.words) does not open",
                detail: "It was changed, or moved here from another place.",
                hint: "Set it again, or put a backup of the database in its place.")
        }
    }

    /// Where something sealed belongs: a value moved to another place does not open there.
    struct Place: Sendable {
        var kind: String
        var project: String
        var name: String
        var version: Int

        /// Each part with its length before it, so that no two places give the same bytes.
        fileprivate func bytes(_ key: String) -> [UInt8] {
            ["vagus-vault-1", key, kind, project, name, String(version)].flatMap { part in
                Array("\(part.utf8.count):".utf8) + Array(part.utf8)
            }
        }

        fileprivate var words: String { "\(kind) \"\(name)\" (version \(version), project \"\(project)\")" }
    }
}

/// The file that holds the key. Read once, made once.
final class KeyFile: Sendable {
    let path: String
    private let held = Mutex<VaultKey?>(nil)
    private static let header = "vagus-vault-key-1"
    private static let keyBytes = 32

    init(_ path: String) { self.path = path }

    /// The key; a new one when there is neither a file nor anything sealed.
    ///
    /// Blocks for one small file; meant to be called on the database's own threads.
    ///
    /// - Parameter needed: Id of the key that something was sealed with, or nil when nothing is sealed yet.
    func key(needed: String?) throws(Problem) -> VaultKey {
        let key = try held.withLock { held throws(Problem) -> VaultKey in
            if let held { return held }
            let key: VaultKey
            if let found = try read() { key = found } else { key = try make(needed: needed) }
            held = key
            return key
        }
        guard let needed, needed != key.id else { return key }
        throw Problem(
            "vault.key-wrong", status: 503, "the vault was sealed with key \(needed), the file holds key \(key.id)",
            hint: "Nothing is lost: put the right file back as \"\(path)\", then start the server again.")
    }

    private func read() throws(Problem) -> VaultKey? {
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        var facts = stat()
        if stat(path, &facts) == 0, facts.st_mode & 0o077 != 0 {
            throw Problem(
                "vault.key-open", status: 503, "the vault's key file can be read by others",
                hint: "Close it: chmod 600 \"\(path)\". If others may have read it, set all secrets anew.")
        }
        let text = String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
        let lines = text.split(separator: "\n")
        guard lines.count == 2, lines[0] == Self.header, let bytes = Data(base64Encoded: String(lines[1])),
            bytes.count == Self.keyBytes
        else {
            throw Problem(
                "vault.key-damaged", status: 503, "the vault's key file cannot be read",
                hint: "Nothing is lost: put a backup of the file back as \"\(path)\".")
        }
        return VaultKey(Array(bytes))
    }

    private func make(needed: String?) throws(Problem) -> VaultKey {
        if let needed {
            throw Problem(
                "vault.key-missing", status: 503, "the vault's key file is missing",
                detail: "What is in the vault was sealed with key \(needed).",
                hint: "Nothing is lost: put a backup of the file back as \"\(path)\". No new key is made meanwhile.")
        }
        var random = SystemRandomNumberGenerator()
        let bytes = (0..<Self.keyBytes).map { _ in UInt8.random(in: .min ... .max, using: &random) }
        try write("\(Self.header)\n\(Data(bytes).base64EncodedString())\n")
        return VaultKey(bytes)
    }

    /// Whole and on the disk, or not at all: what is sealed with a key that a power cut took could never be opened.
    private func write(_ text: String) throws(Problem) {
        let draft = path + ".new"
        unlink(draft)
        let file = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        let bytes = Array(text.utf8)
        let isWritten = file >= 0 && Foundation.write(file, bytes, bytes.count) == bytes.count && fsync(file) == 0
        if file >= 0 { close(file) }
        guard isWritten, rename(draft, path) == 0 else {
            unlink(draft)
            throw Problem(
                "vault.key-unwritable", status: 500, "could not write the vault's key file",
                hint: "Check that the disk has room and that you may write to \"\(path)\".")
        }
        let folder = open((path as NSString).deletingLastPathComponent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if folder >= 0 {
            fsync(folder)
            close(folder)
        }
    }
}
