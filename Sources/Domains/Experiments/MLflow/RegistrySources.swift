import API
import Blobs
import Kernel
import Manifests
import SQL

/// What tracking knows of the source of a version: its files in the artifact proxy, and what its run or logged model has measured.
struct RegistrySources: Sendable {
    let tracking: TrackingHouse
    /// Params of a run that are taken over.
    private static let paramLimit = 200
    /// The tag in which MLflow's server notes on a logged model which versions were made of it.
    private static let versionsTag = "mlflow.modelVersions"

    /// Where the artifacts of a source lie: logged models and runs are looked up.
    func address(of source: String, _ project: String) async throws -> String {
        let parts = source.split(separator: ":", maxSplits: 1).map(String.init)
        guard parts.count == 2 else { return source }
        let path = parts[1].split(separator: "/").map(String.init)
        switch parts[0] {
        case "models":
            guard let id = path.first else { return source }
            return try await tracking.store.read { try $0.storedModel(id, in: project, orDeleted: false).artifactURI }
        case "runs":
            guard let id = path.first else { return source }
            let root = try await tracking.store.read { try $0.storedRun(id, in: project).artifactURI }
            return ([root] + path.dropFirst()).joined(separator: "/")
        default: return source
        }
    }

    /// The files of an address, their paths relative to it; empty when it is not the artifact proxy's, or nothing lies there.
    func files(at address: String) async throws -> [ModelFile] {
        guard let root = ArtifactPlaces.path(of: address), !root.isEmpty else { return [] }
        return try await tracking.store.read { sql in
            try sql.rows(
                """
                SELECT path, digest, bytes FROM artifact WHERE path >= \(root + "/") AND path < \(root + "0")
                ORDER BY path LIMIT \(Tree.entryLimit)
                """
            ).map { row in
                ModelFile(
                    path: String(try row.get(0, as: String.self).dropFirst(root.count + 1)), digest: try row.get(1),
                    size: try row.get(2))
            }
        }
    }

    /// Refuses artifacts of the proxy that do not lie in the run or logged model that is named.
    func check(_ address: String, source: String, _ version: ModelVersion) async throws {
        guard let path = ArtifactPlaces.path(of: address), let root = try await root(of: version) else { return }
        guard path == root || path.hasPrefix(root + "/") else {
            throw SourceRules.wrong(source, version.model_id == nil ? "run_id" : "model_id")
        }
    }

    private func root(of version: ModelVersion) async throws -> String? {
        let (run, model, project) = (version.run, version.model_id, version.project)
        return try await tracking.store.read { sql in
            if let model {
                return ArtifactPlaces.path(of: try sql.storedModel(model, in: project, orDeleted: false).artifactURI)
            }
            return try run.flatMap { ArtifactPlaces.path(of: try sql.storedRun($0, in: project).artifactURI) }
        }
    }

    /// Takes over what the run of a version has measured, was given and has learned from. A run of another server is not known.
    func describe(_ version: inout ModelVersion) async throws {
        let (wanted, model, project) = (version.run, version.model_id, version.project)
        let found = try await tracking.store.read { sql -> (run: String, RunFacts)? in
            let source = try model.map { try sql.storedModel($0, in: project, orDeleted: false).sourceRun }
            guard let uuid = wanted ?? source, !uuid.isEmpty,
                let run = try? sql.storedRun(uuid, in: project)  // of another server
            else { return nil }
            return (uuid, try sql.facts(of: run, params: Self.paramLimit))
        }
        guard let (run, facts) = found else { return }
        version.run = run
        version.metrics = facts.metrics
        if !facts.params.isEmpty { version.facts["hyperparameters"] = .object(facts.params) }
        version.data_digest = facts.dataDigest
        version.commit = facts.commit
        if let user = facts.user { version.authors.append(user) }
    }

    /// Notes the version on the logged model that it was made of, as MLflow's server does.
    func note(_ version: ModelVersion, title: String) async throws {
        guard let id = version.model_id else { return }
        try await tracking.store.write { sql in
            let old = try sql.value(
                "SELECT value FROM model_tag WHERE model = \(id) AND key = \(Self.versionsTag)", as: String.self)
            var list: [JSONValue] = []
            if let old, let parsed = try? JSONParser.parse(old) { list = parsed.array ?? [] }  // else: begun anew
            list.append(["name": .string(title), "version": .integer(Int64(version.version))])
            try sql.keepModelTag(Self.versionsTag, JSONValue.array(list).text, of: id)
        }
    }
}

/// What a run is good for to a version made of it.
struct RunFacts: Sendable {
    var metrics: Ordered<Double> = [:]
    var params: Ordered<JSONValue> = [:]
    var dataDigest: String?
    var commit: String?
    var user: String?
}

extension Connection {
    fileprivate func facts(of run: StoredRun, params limit: Int) throws -> RunFacts {
        var facts = RunFacts()
        try each(
            """
            SELECT n.text, m.value FROM metric m JOIN name n ON n.id = m.key WHERE m.run = \(run.id) AND m.is_nan = 0
            ORDER BY n.text
            """
        ) { facts.metrics[try $0.get(0)] = try $0.get(1, as: Double.self) }
        try each(
            """
            SELECT n.text, p.value FROM param p JOIN name n ON n.id = p.key WHERE p.run = \(run.id)
            ORDER BY n.text LIMIT \(limit)
            """
        ) { facts.params[try $0.get(0)] = .string(try $0.get(1)) }
        facts.dataDigest = try value(
            "SELECT d.digest FROM input i JOIN dataset d ON d.id = i.dataset WHERE i.run = \(run.id) ORDER BY i.id LIMIT 1"
        )
        facts.commit = try tag("mlflow.source.git.commit", of: run)
        facts.user = run.user.isEmpty ? nil : run.user
        return facts
    }
}
