import API
import Blobs
import Kernel
import Manifests
import SQL

/// MLflow's artifact proxy, and its calls that show what lies in it. Files are blobs by content, named by a row each.
struct ArtifactCalls: Sendable {
    let tracking: TrackingHouse
    let blobs: BlobStore
    /// Versions of the registry, as they were registered: a part of the proxy that only reads.
    let frozen: FrozenFiles

    static let proxy = "/api/2.0/mlflow-artifacts/artifacts"
    /// Addresses of parts carry a signature, since clients send none of their tokens there.
    static let parts = "/api/2.0/mlflow-artifacts/mpu/parts"
    private static let uploads = "/api/2.0/mlflow-artifacts/mpu"
    private static let partLimit = 10_000
    /// How long the address of a download holds, as with MLflow (MLFLOW_PRESIGNED_DOWNLOAD_URL_TTL_SECONDS).
    private static let downloadLife: Int64 = 300_000

    var routes: [MLflowRoute] {
        [
            MLflowRoute("GET", Self.proxy, list), MLflowRoute("GET", "\(Self.proxy)/{path...}", download),
            MLflowRoute("PUT", "\(Self.proxy)/{path...}", upload),
            MLflowRoute("DELETE", "\(Self.proxy)/{path...}", delete),
            MLflowRoute("GET", "/api/2.0/mlflow/artifacts/list", listOfRun),
            MLflowRoute("GET", "/get-artifact", getOfRun),
            MLflowRoute("GET", "/model-versions/get-artifact", getOfVersion),
            MLflowRoute(
                "GET", "/api/2.0/mlflow/logged-models/{model_id}/artifacts/directories", listOfModel),
            MLflowRoute("GET", "/api/2.0/mlflow/logged-models/{model_id}/artifacts/files", getOfModel),
            MLflowRoute("POST", "\(Self.uploads)/create/{path...}", createUpload),
            MLflowRoute("POST", "\(Self.uploads)/complete/{path...}", completeUpload),
            MLflowRoute("POST", "\(Self.uploads)/abort/{path...}", abortUpload),
            MLflowRoute("PUT", "\(Self.parts)/{upload}/{part}/{signature}", needs: .read, uploadPart),
            MLflowRoute("GET", "/api/2.0/mlflow-artifacts/presigned/{path...}", signDownload),
            MLflowRoute("GET", "\(Self.parts)/{digest}/{until}/{signature}", downloadSigned),
            MLflowRoute("POST", "/api/2.0/mlflow/artifacts/presigned-upload-url") { try refuse("upload", $0, $1) },
            MLflowRoute("POST", "/api/2.0/mlflow/artifacts/presigned-download-url") { try refuse("download", $0, $1) },
        ]
    }

    /// Whether a request's body is a file.
    static func streams(_ request: ForeignRequest) -> Bool {
        let path = request.path.hasPrefix("/ajax-api/") ? "/api/" + request.path.dropFirst(10) : request.path
        return request.method == "PUT" && (path.hasPrefix(proxy) || path.hasPrefix(parts))
    }

    // MARK: The proxy

    /// The path of a request. Who may touch one project only may touch the artifacts of its experiments only.
    private func path(_ input: MLflowInput, _ call: Call) async throws -> String {
        let path = try ArtifactPlaces.checked(input.path["path"] ?? "")
        guard !path.isEmpty else { throw MLflowError.invalid("Invalid path") }
        guard input.request.method == "GET" || input.request.method == "HEAD" || !FrozenFiles.holds(path) else {
            throw MLflowError(.permissionDenied, "What was registered does not change; register another version.")
        }
        try await allow(path, input.project, call)
        return path
    }

    private func allow(_ path: String, _ project: String, _ call: Call) async throws {
        guard let own = call.project else { return }
        if FrozenFiles.holds(path) {
            guard FrozenFiles.project(of: path) == own else {
                throw MLflowError(.permissionDenied, "Permission denied")
            }
            return
        }
        guard let first = path.split(separator: "/").first, let id = Int64(first) else {
            throw MLflowError(.permissionDenied, "Permission denied")
        }
        _ = try await tracking.store.read { try $0.experiment(id, in: project) }
    }

    private func list(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let path = try ArtifactPlaces.checked(input.text("path") ?? "")
        if call.project != nil { try await allow(path, input.project, call) }
        let entries =
            FrozenFiles.holds(path)
            ? try await frozen.entries(in: path) : try await tracking.store.read { try $0.artifacts(in: path) }
        return .json(entries.isEmpty ? [:] : ["files": .array(entries.map { $0.json(in: "") })])
    }

    private func upload(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let path = try await path(input, call)
        let (digest, bytes) = try await store(input.request)
        let now = try tracking.store.milliseconds
        try await tracking.store.write { try $0.keepArtifact(path, digest, bytes: bytes, at: now) }
        return .foreign(ForeignAnswer(type: nil, headers: [], .bytes([])))
    }

    /// Keeps the body of a request. What comes to an end too early leaves nothing.
    private func store(_ request: ForeignRequest) async throws -> (digest: Digest, size: Int64) {
        let writer = blobs.writer(limit: ArtifactPlaces.sizeLimit)
        do {
            if let pieces = request.pieces {
                try await pieces { try await writer.feed($0) }
            } else {
                try await writer.append(request.body)
            }
            return try await writer.finish()
        } catch let error as BlobError {
            writer.cancel()
            throw Self.problem(error)
        } catch {
            writer.cancel()
            throw error
        }
    }

    private static func problem(_ error: BlobError) -> MLflowError {
        switch error.code {
        case .full: MLflowError(.unavailable, "The disk of the server is full.", status: 507)
        case .tooLarge: MLflowError(.invalidParameter, "The artifact is too large.", status: 413)
        case .busy: MLflowError(.exhausted, "The server writes too many files already. Send it again.")
        default: MLflowError(.internal, "The artifact could not be kept; see the server's log.")
        }
    }

    private func delete(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let path = try await path(input, call)
        _ = try await tracking.store.write { try $0.deleteArtifacts(at: path) }
        return .empty
    }

    private func download(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        try await send(try await path(input, call), input.request)
    }

    private func digest(_ path: String) async throws -> Digest {
        let found =
            FrozenFiles.holds(path)
            ? try await frozen.digest(of: path) : try await tracking.store.read { try $0.artifact(path) }
        guard let found else { throw MLflowError.missing("No such artifact: '\(path)'") }
        return found
    }

    private func send(_ path: String, _ request: ForeignRequest) async throws -> MLflowAnswer {
        try await send(digest(path), as: path.split(separator: "/").last.map(String.init) ?? path, request)
    }

    private func send(_ digest: Digest, as name: String, _ request: ForeignRequest) async throws -> MLflowAnswer {
        let reader = try await blobs.open(digest)
        let range = ByteRange(request.headers["range"], of: reader.size)
        guard range.isSatisfiable else {
            throw MLflowError(.invalidParameter, "The range is outside of the artifact.", status: 416)
        }
        var headers: [(name: String, value: String)] = [
            ("Content-Length", String(range.bytes.count)), ("ETag", "\"\(digest.hex)\""), ("Accept-Ranges", "bytes"),
            ("Content-Disposition", "attachment; filename=\(Self.plain(name))"),
            // Whatever a run wrote is data here, never a page of this site.
            ("X-Content-Type-Options", "nosniff"),
        ]
        if range.isPart {
            headers.append(
                ("Content-Range", "bytes \(range.bytes.lowerBound)-\(range.bytes.upperBound - 1)/\(reader.size)"))
        }
        return .foreign(
            ForeignAnswer(
                range.isPart ? 206 : 200, type: MediaTypes.type(of: name), headers: headers,
                .stream { write in try await reader.forEachChunk(in: range.bytes) { try await write($0) } }))
    }

    /// A name that may stand in a header.
    private static func plain(_ name: String) -> String {
        String(
            name.unicodeScalars.map {
                $0.isASCII && $0.value > 0x20 && !"\"\\;,".unicodeScalars.contains($0) ? Character($0) : "_"
            })
    }

    // MARK: Of runs and models

    private func root(_ address: String) throws(MLflowError) -> String {
        guard let path = ArtifactPlaces.path(of: address) else {
            throw MLflowError(.notImplemented, "The artifacts lie at '\(address)', which this server does not read.")
        }
        return path
    }

    private func list(_ address: String, _ folder: String) async throws -> MLflowAnswer {
        let root = try root(address)
        let place = folder.isEmpty ? root : "\(root)/\(folder)"
        let entries = try await tracking.store.read { try $0.artifacts(in: place) }
        var json: Ordered<JSONValue> = ["root_uri": .string(address)]
        if !entries.isEmpty { json["files"] = .array(entries.map { $0.json(in: folder) }) }
        return .json(.object(json))
    }

    private func listOfRun(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (uuid, project) = (try input.string("run_id", or: "run_uuid"), input.project)
        let folder = try ArtifactPlaces.checked(input.text("path") ?? "")
        let run = try await tracking.store.read { try $0.storedRun(uuid, in: project) }
        return try await list(run.artifactURI, folder)
    }

    private func getOfRun(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (uuid, project) = (try input.string("run_id", or: "run_uuid"), input.project)
        let path = try ArtifactPlaces.checked(input.string("path"))
        let run = try await tracking.store.read { try $0.storedRun(uuid, in: project) }
        return try await send("\(root(run.artifactURI))/\(path)", input.request)
    }

    private func listOfModel(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (id, project) = (input.path["model_id"] ?? "", input.project)
        let folder = try ArtifactPlaces.checked(input.text("artifact_directory_path") ?? "")
        let model = try await tracking.store.read { try $0.storedModel(id, in: project, orDeleted: false) }
        return try await list(model.artifactURI, folder)
    }

    private func getOfModel(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (id, project) = (input.path["model_id"] ?? "", input.project)
        let path = try ArtifactPlaces.checked(input.string("artifact_file_path"))
        let model = try await tracking.store.read { try $0.storedModel(id, in: project, orDeleted: false) }
        return try await send("\(root(model.artifactURI))/\(path)", input.request)
    }

    /// A file of a registered version; where its files lie elsewhere, of the run that it came from.
    private func getOfVersion(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let (name, number, project) = (try MLflowRegistry.name(input), try MLflowRegistry.version(input), input.project)
        let path = try ArtifactPlaces.checked(input.string("path"))
        let (_, version) = try await frozen.store.read { try MLflowRegistry.find(name, number, project, in: $0) }
        let place = "\(try root(FrozenFiles.address(of: version)))/\(path)"
        // Whoever registered it may have named a place of another project.
        try await allow(place, project, call)
        return try await send(place, input.request)
    }

    // MARK: Downloads by signed addresses

    /// Where the file can be fetched for some minutes without a token, in pieces at once if the client likes.
    private func signDownload(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let digest = try await digest(path(input, call))
        let reader = try await blobs.open(digest)
        let store = try tracking.store
        let until = store.milliseconds + Self.downloadLife
        let address =
            "\(origin(input.request))/\(digest.hex)/\(until)/\(store.tokens.sign(download: digest.hex, until: until))"
        return .json(["url": .string(address), "headers": [:], "file_size": .integer(reader.size)])
    }

    private func downloadSigned(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let store = try tracking.store
        guard let digest = Digest(hex: input.path["digest"] ?? ""), let until = Int64(input.path["until"] ?? ""),
            store.tokens.isSigned(input.path["signature"] ?? "", download: digest.hex, until: until)
        else { throw MLflowError(.permissionDenied, "Permission denied") }
        guard store.milliseconds < until else {
            throw MLflowError(.permissionDenied, "The address has expired; ask for another.")
        }
        return try await send(digest, as: digest.hex, input.request)
    }

    /// MLflow signs addresses of a cloud's storage alone; what lies in its proxy, it refuses in these words.
    private func refuse(_ verb: String, _ input: MLflowInput, _ call: Call) throws -> MLflowAnswer {
        throw MLflowError.invalid(
            "Presigned \(verb) is not supported for \(verb == "upload" ? "" : "runs with ")proxied artifact storage "
                + "(artifact URI scheme: mlflow-artifacts).")
    }

    /// What begins every signed address, as the client sees this server.
    private func origin(_ request: ForeignRequest) -> String {
        let host = request.headers["x-forwarded-host"] ?? request.headers["host"] ?? ""
        return "\(request.headers["x-forwarded-proto"] ?? "http")://\(host)\(request.base)\(Self.parts)"
    }

    // MARK: Uploads in parts

    private func createUpload(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        _ = try await path(input, call)
        let count = Int(try input.integer("num_parts") ?? 1)
        guard (1...Self.partLimit).contains(count) else { throw MLflowError.wrong("num_parts", .integer(Int64(count))) }
        let store = try tracking.store
        let upload = RunNames.id()
        let origin = origin(input.request)
        let credentials = (1...count).map { part -> JSONValue in
            let signature = store.tokens.sign(upload, part)
            return [
                "url": .string("\(origin)/\(upload)/\(part)/\(signature)"),
                "part_number": .integer(Int64(part)), "headers": [:],
            ]
        }
        return .json(["upload_id": .string(upload), "credentials": .array(credentials)])
    }

    private func uploadPart(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let upload = input.path["upload"] ?? ""
        let store = try tracking.store
        guard let part = Int(input.path["part"] ?? ""), (1...Self.partLimit).contains(part),
            store.tokens.isSigned(input.path["signature"] ?? "", upload, part)
        else { throw MLflowError(.permissionDenied, "Permission denied") }
        let (digest, bytes) = try await self.store(input.request)
        let now = store.milliseconds
        try await store.write { try $0.keepPart(part, of: upload, digest, bytes: bytes, at: now) }
        return .foreign(ForeignAnswer(type: nil, headers: [("ETag", "\"\(digest.hex)\"")], .bytes([])))
    }

    private func completeUpload(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        let folder = try await path(input, call)
        let upload = try input.string("upload_id")
        let wanted = try input.list("parts")
        // The path of a file where the client runs: only its last word means something here.
        let name = try ArtifactPlaces.checked(String(input.string("path").split(separator: "/").last ?? ""))
        guard !name.isEmpty else { throw MLflowError.invalid("Invalid path") }
        let store = try tracking.store
        let parts = try await store.read { try $0.parts(of: upload) }
        guard !wanted.isEmpty, parts.map(\.number) == Array(1...max(1, wanted.count)) else {
            throw MLflowError.invalid("The upload '\(upload)' does not have all of its \(wanted.count) parts.")
        }
        for (part, told) in zip(parts, wanted) {
            let tag = told["etag"]?.string?.replacing("\"", with: "")
            guard tag == part.digest.hex else {
                throw MLflowError.invalid("Part \(part.number) of the upload '\(upload)' is another than the one told.")
            }
        }
        let writer = blobs.writer(limit: ArtifactPlaces.sizeLimit)
        for part in parts {
            let reader = try await blobs.open(part.digest)
            try await reader.forEachChunk { try await writer.append($0) }
        }
        let (digest, bytes) = try await writer.finish()
        let now = store.milliseconds
        try await store.write { sql in
            try sql.keepArtifact("\(folder)/\(name)", digest, bytes: bytes, at: now)
            try sql.forget(upload: upload)
        }
        return .empty
    }

    private func abortUpload(_ input: MLflowInput, _ call: Call) async throws -> MLflowAnswer {
        _ = try await path(input, call)
        let upload = try input.string("upload_id")
        try await tracking.store.write { try $0.forget(upload: upload) }
        return .empty
    }
}

/// The part of a file that a request asks for: one range of bytes (RFC 9110, section 14).
struct ByteRange {
    var bytes: Range<Int64>
    var isPart = false
    var isSatisfiable = true

    init(_ header: String?, of size: Int64) {
        bytes = 0..<size
        guard let header, header.hasPrefix("bytes="), !header.contains(",") else { return }
        let ends = header.dropFirst(6).split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        guard ends.count == 2 else { return }
        switch (Int64(ends[0]), Int64(ends[1])) {
        case (let first?, let last) where first >= 0:
            guard first < size else {
                isSatisfiable = false
                return
            }
            guard last.map({ $0 >= first }) ?? true else { return }
            bytes = first..<(last.map { $0 < size ? $0 + 1 : size } ?? size)
            isPart = true
        case (nil, let count?) where ends[0].isEmpty && count > 0:
            bytes = max(0, size - count)..<size
            isPart = true
        default: return
        }
    }
}

/// What browsers call the kinds of files that runs write.
enum MediaTypes {
    private static let types = [
        "json": "application/json", "txt": "text/plain", "log": "text/plain", "yaml": "text/plain", "yml": "text/plain",
        "csv": "text/csv", "html": "text/html", "md": "text/plain", "py": "text/plain", "png": "image/png",
        "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "svg": "image/svg+xml", "pdf": "application/pdf",
        "MLmodel": "text/plain", "zip": "application/zip",
    ]

    static func type(of name: String) -> String {
        let end = name.split(separator: ".").last.map(String.init) ?? name
        return types[end] ?? "application/octet-stream"
    }
}
