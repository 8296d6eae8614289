import API
import Blobs
import Kernel
import Manifests

/// A version on its way into the registry, with all that its transaction needs.
struct Intake: Sendable {
    var version: ModelVersion
    /// What makes it the same version when it is registered again.
    var identity: String?
    var files: [ModelFile] = []
    var sample: JSONValue?
    var bundle: JSONValue?
}

/// Gathers what a version brings before its transaction: its files claimed and listed, its sample read, its signature made.
struct Intaking: Sendable {
    let blobs: BlobStore
    let outside: RegistryOutside
    let caller: any OperationCaller

    /// Files with rows to try, the first that is there.
    static let sampleNames = ["input_example.json", "serving_input_example.json", "sample.json"]
    /// Bytes of such a file that are read.
    static let sampleBytes: Int64 = 4 << 20

    /// - Parameters:
    ///   - version: With the digest of its files, or without when they lie elsewhere.
    ///   - title: Name that is signed.
    func intake(_ version: ModelVersion, title: String, identity: String?) async throws -> Intake {
        var intake = Intake(version: version, identity: identity)
        intake.version.facts[Self.loadingFact] = nil
        if !version.digest.isEmpty {
            // The content first: a version never points at what is not there.
            guard let digest = Digest(version.digest), try await claim(digest) else {
                throw Problem(
                    "model.no-content", status: 422, "there is no blob \"\(version.digest)\"",
                    hint: "Upload the model's files first: POST /api/v1/blobs.")
            }
            intake.files = try await files(digest)
            if version.size_bytes == 0 { intake.version.size_bytes = intake.files.reduce(0) { $0 + $1.size_bytes } }
            intake.sample = try await sample(intake.files)
            intake.version.facts[Self.loadingFact] = try await trial(digest, intake)
            try await sign(&intake, title: title)
        }
        if let run = version.run {
            intake.version.authors = (version.authors + (await authors(of: run, version.project))).uniqued()
        }
        return intake
    }

    /// The fact that tells whether a version loads. It is found out here: what a caller says of it does not count.
    static let loadingFact = "loading"
    /// Files that are a model which this house can serve.
    static let loadable: Set<String> = ["model.ubj", "model.json"]

    /// Whether the files load, and can score the rows they bring; nil when nobody here could serve them.
    private func trial(_ digest: Digest, _ intake: Intake) async throws -> JSONValue? {
        guard let trial = outside.trial, intake.files.count > 1 || intake.files.first?.path != "model",
            intake.files.contains(where: { Self.loadable.contains($0.path) })
        else { return nil }
        return try await trial(digest, intake.sample.flatMap(SampleCheck.scoring))
    }

    /// Whether the content is here, with all its files; sweeps then spare it until its row is written.
    private func claim(_ digest: Digest) async throws -> Bool {
        let files = try await Tree.files(namedBy: digest, in: blobs)
        return try await blobs.absent([digest] + files).isEmpty
    }

    /// The files of a version: those of its folder, or the one that it is.
    func files(_ digest: Digest) async throws -> [ModelFile] {
        guard try await !Tree.files(namedBy: digest, in: blobs).isEmpty else {
            return [ModelFile(path: "model", digest: digest.text, size: try await blobs.size(digest))]
        }
        return try await Tree.open(digest, from: blobs).entries.compactMap { entry in
            entry.kind == .file
                ? entry.digest.map { ModelFile(path: entry.path, digest: $0.text, size: entry.size ?? 0) } : nil
        }
    }

    private func sample(_ files: [ModelFile]) async throws -> JSONValue? {
        for name in Self.sampleNames {
            guard let file = files.first(where: { $0.path == name }), let digest = Digest(file.digest),
                file.size_bytes <= Self.sampleBytes
            else { continue }
            let bytes = try await blobs.open(digest).readAll(limit: Self.sampleBytes)
            if let parsed = try? JSONParser.parse(bytes) { return parsed }  // no JSON: not the rows that are meant
        }
        return nil
    }

    /// Signs the files, if there is who signs.
    func sign(_ intake: inout Intake, title: String) async throws {
        guard let signer = outside.signer, !intake.files.isEmpty else { return }
        guard intake.files.count <= ModelSigning.fileLimit else { return }
        let payload = ModelSigning.statement(name: title, intake.files).bytes
        let signature = try await signer.sign(ModelSigning.encoding(payload))
        intake.bundle = ModelSigning.bundle(payload, signature)
        intake.version.signed_with = signature.key
    }

    /// Who has made a run of this house: whoever started it, pushed it or wrote its commit.
    private func authors(of run: String, _ project: String) async -> [String] {
        do {
            let run = try await caller.call(Runs.get, RunName(project: project, run: run), as: .system("experiments"))
            let event = run.trigger.event
            return [run.trigger.actor, event?["pusher"]?.string, event?["author"]?.string].compactMap { $0 }
                .filter { !$0.isEmpty }
        } catch {
            // A run of MLflow's, or one of another server: whoever registers it is its author.
            return []
        }
    }
}

extension Array where Element: Hashable {
    /// Each once, in the order in which they came.
    func uniqued() -> [Element] {
        var seen = Set<Element>()
        return filter { seen.insert($0).inserted }
    }
}
