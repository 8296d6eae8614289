import Blobs
import Manifests
import SQL

/// A file of an artifact store, or a folder in it.
struct ArtifactEntry: Sendable, Equatable {
    /// Its name in its folder.
    var name: String
    var isFolder: Bool
    var bytes: Int64 = 0

    /// As MLflow's API shows it.
    ///
    /// - Parameter folder: What stands before the name; empty in lists of the proxy.
    func json(in folder: String) -> JSONValue {
        let path = folder.isEmpty ? name : "\(folder)/\(name)"
        var json: Ordered<JSONValue> = ["path": .string(path), "is_dir": .bool(isFolder)]
        if bytes > 0 { json["file_size"] = .integer(bytes) }
        return .object(json)
    }
}

/// Where artifacts lie, and what may be a path of one.
enum ArtifactPlaces {
    private static let scheme = "mlflow-artifacts:"
    /// Bytes of a path.
    static let pathLimit = 4096
    /// Bytes of one artifact.
    static let sizeLimit: Int64 = 1 << 40

    /// The path that an address of this server means; nil for addresses elsewhere.
    static func path(of address: String) -> String? {
        guard address.hasPrefix(scheme) else { return nil }
        var rest = address.dropFirst(scheme.count)
        if rest.hasPrefix("//") { rest = rest.dropFirst(2).drop { $0 != "/" } }
        return String(rest.drop { $0 == "/" })
    }

    /// A path that stays in its folder, however often it is encoded.
    static func checked(_ path: String) throws(MLflowError) -> String {
        let wrong = MLflowError.invalid("Invalid path")
        var decoded = path
        // As many rounds as MLflow's clients could have encoded it by mistake; more are no path.
        for _ in 0..<10 where decoded.contains("%") { decoded = FormPath.decode(decoded) }
        let parts = decoded.split(separator: "/", omittingEmptySubsequences: false)
        let isWindows = decoded.dropFirst().first == ":" && (decoded.first?.isLetter ?? false)
        guard decoded.utf8.count <= pathLimit, !decoded.hasPrefix("/"), !parts.contains(".."), !isWindows,
            !decoded.contains("#"), !decoded.contains("\\"), decoded.utf8.allSatisfy({ $0 >= 0x20 })
        else { throw wrong }
        return parts.filter { !$0.isEmpty && $0 != "." }.joined(separator: "/")
    }

    /// An experiment's own place for artifacts.
    static func checkLocation(_ location: String) throws(MLflowError) {
        guard !location.isEmpty else { return }
        guard !location.hasPrefix("runs:") else {
            throw .invalid("Artifact location cannot be a runs:/ URI. Given: '\(location)'")
        }
        let path = location.split(separator: "?")[0]
        guard !FormPath.decode(String(path)).split(separator: "/").contains(".."), !location.contains("#") else {
            throw .invalid("Invalid artifact_location: '\(location)'.")
        }
    }
}

/// Percent-encoding in paths, where a plus is a plus.
enum FormPath {
    static func decode(_ text: String) -> String {
        var bytes: [UInt8] = []
        let source = Array(text.utf8)
        var index = 0
        while index < source.count {
            if source[index] == UInt8(ascii: "%"), index + 2 < source.count,
                let byte = UInt8(String(decoding: source[(index + 1)...(index + 2)], as: UTF8.self), radix: 16)
            {
                bytes.append(byte)
                index += 3
            } else {
                bytes.append(source[index])
                index += 1
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension Connection {
    func artifact(_ path: String) throws -> Digest? {
        try value("SELECT digest FROM artifact WHERE path = \(path)", as: String.self).flatMap { Digest($0) }
    }

    func keepArtifact(_ path: String, _ digest: Digest, bytes: Int64, at now: Int64) throws {
        try run(
            """
            INSERT INTO artifact (path, digest, bytes, written) VALUES (\(path), \(digest.text), \(bytes), \(now))
            ON CONFLICT (path) DO UPDATE
            SET digest = excluded.digest, bytes = excluded.bytes, written = excluded.written
            """)
    }

    /// What lies in a folder, by name. A path that is a file lies in itself, alone.
    func artifacts(in folder: String) throws -> [ArtifactEntry] {
        let start = folder.isEmpty ? "" : folder + "/"
        var entries: [ArtifactEntry] = []
        // "0" follows "/" in ASCII: the rows of one folder lie between the two.
        try each(
            """
            SELECT substr(path, \(start.unicodeScalars.count + 1)), bytes FROM artifact
            WHERE path >= \(start) AND (\(start) = '' OR path < \(folder + "0")) ORDER BY path
            """
        ) { row in
            let rest: String = try row.get(0)
            if let slash = rest.firstIndex(of: "/") {
                let name = String(rest[..<slash])
                if entries.last?.name != name { entries.append(ArtifactEntry(name: name, isFolder: true)) }
            } else {
                entries.append(ArtifactEntry(name: rest, isFolder: false, bytes: try row.get(1)))
            }
        }
        // Files and folders come in the order of their paths, in which "a-b" lies between "a" and "a/".
        var seen: Set<String> = []
        return entries.filter { !$0.isFolder || seen.insert($0.name).inserted }.sorted { $0.name < $1.name }
    }

    /// How many files went.
    func deleteArtifacts(at path: String) throws -> Int {
        try run("DELETE FROM artifact WHERE path = \(path) OR (path >= \(path + "/") AND path < \(path + "0"))")
    }

    /// Texts in which the digests of all artifacts stand.
    func artifactDigests() throws -> [String] {
        try rows("SELECT digest FROM artifact UNION SELECT digest FROM upload_part").map { try $0.get(0) }
    }

    // MARK: Uploads in parts

    func keepPart(_ number: Int, of upload: String, _ digest: Digest, bytes: Int64, at now: Int64) throws {
        try run(
            """
            INSERT INTO upload_part (upload, part, digest, bytes, written)
            VALUES (\(upload), \(number), \(digest.text), \(bytes), \(now))
            ON CONFLICT (upload, part) DO UPDATE
            SET digest = excluded.digest, bytes = excluded.bytes, written = excluded.written
            """)
    }

    func parts(of upload: String) throws -> [(number: Int, digest: Digest)] {
        try rows("SELECT part, digest FROM upload_part WHERE upload = \(upload) ORDER BY part").compactMap { row in
            guard let digest = Digest(try row.get(1, as: String.self)) else { return nil }
            return (try row.get(0), digest)
        }
    }

    func forget(upload: String) throws { try run("DELETE FROM upload_part WHERE upload = \(upload)") }

    /// Parts of uploads that nobody went on with.
    func forgetParts(before moment: Int64) throws { try run("DELETE FROM upload_part WHERE written < \(moment)") }
}
