import API
import Blobs
import Kernel
import Manifests
import Points
import SQL

/// What our own API, command line and pages ask of the tracking store.
struct ExperimentRoutes: Sendable {
    let tracking: TrackingHouse
    let blobs: BlobStore

    /// Bytes of a file that are shown as text.
    private static let textBytes = 256 << 10
    /// Runs of one comparison.
    private static let comparedLimit = 100

    func add(to routes: inout Routes) {
        routes.on(Experiments.list) { input, _ in try await told { try await list(input) } }
        routes.on(Experiments.get) { input, _ in
            try await told {
                try await tracking.store.read { try Self.experiment(input.experiment, in: input.project, $0).manifest }
            }
        }
        routes.on(Experiments.runs) { input, _ in try await told { try await runs(input) } }
        routes.on(Experiments.run) { input, _ in
            try await told { try await tracking.store.read { try $0.trackedRun(like: input.run, in: input.project) } }
        }
        routes.on(Experiments.compare) { input, _ in try await told { try await compare(input) } }
        routes.on(Experiments.curve) { input, _ in try await told { try await curve(input) } }
        routes.on(Experiments.files) { input, _ in try await told { try await files(input) } }
        routes.on(Experiments.text) { input, _ in try await told { try await text(input) } }
        routes.on(Experiments.purge) { input, call in try await told { try await purge(input, call) } }
    }

    /// By its number, else by its name.
    private static func experiment(_ word: String, in project: String, _ sql: Connection) throws -> StoredExperiment {
        if let id = Int64(word), try !sql.experiments([id], in: project).isEmpty {
            return try sql.experiment(id, in: project)
        }
        guard let found = try sql.experiment(named: word, in: project) else {
            throw MLflowError.missing("No experiment \"\(word)\"")
        }
        return found
    }

    private func list(_ input: ExperimentQuery) async throws -> ItemList<Experiment> {
        let store = try tracking.store
        var search = try ExperimentSearch(
            project: input.project, stages: [false], filter: "", order: [], limit: input.limit)
        search.part = input.search
        let wanted = search
        return try await store.read { sql in
            let page = try wanted.run(in: sql, tokens: store.tokens, token: input.after)
            return ItemList(page.experiments.map(\.manifest), next: page.next)
        }
    }

    private func runs(_ input: TrackedRunQuery) async throws -> ItemList<TrackedRun> {
        let filter = try FilterParser.parse(input.filter ?? "", .runs)
        let clauses = (input.order_by ?? "").split(separator: ",").map(String.init)
        let order = try OrderClause.parse(clauses, .runs)
        let question =
            ["own runs", input.project, input.experiment, "\(input.deleted)", input.filter ?? "", input.order_by ?? ""]
        let store = try tracking.store
        let place = try input.after.map { try store.tokens.read($0, for: question) }
        return try await store.read { sql in
            let experiment = try Self.experiment(input.experiment, in: input.project, sql)
            let search = RunSearch(
                experiments: [experiment.id], stages: [input.deleted], filter: filter, order: order,
                limit: input.limit, place: place)
            let page = try search.run(in: sql)
            return ItemList(
                try sql.trackedRuns(page.items.map(\.id)),
                next: page.next.map { store.tokens.make($0, for: question) })
        }
    }

    private func purge(_ input: ExperimentPurgeInput, _ call: Call) async throws -> ExperimentPurge {
        let store = try tracking.store
        let age = input.older_than?.duration ?? .zero
        let oldest = store.milliseconds - Int64(age / .milliseconds(1))
        let told = try await store.purge(in: input.project, before: oldest, isDry: input.dry_run)
        if !input.dry_run, told.runs + told.models + told.experiments.count > 0 {
            try await tracking.tellPurge(told, in: input.project, call)
        }
        return told
    }

    private func run(_ word: String, in project: String) async throws -> TrackedRun {
        try await tracking.store.read { try $0.trackedRun(like: word, in: project) }
    }

    private func curve(_ input: CurveQuery) async throws -> MetricCurve {
        let run = try await run(input.run, in: input.project)
        var curve = MetricCurve()
        (curve.run, curve.key) = (run.id, input.key)
        guard let id = RunID(run.id) else { return curve }
        let sampled = try await tracking.store.points.sampled(
            id, input.key, axis: input.axis == .step ? .step : .time, from: input.from, to: input.to,
            buckets: input.buckets)
        curve.total = sampled.total
        curve.steps = sampled.points.map(\.step)
        curve.times = sampled.points.map(\.timestamp)
        curve.values = sampled.points.map(\.value)
        return curve
    }

    // MARK: Files

    private func place(_ input: TrackedFileName) async throws -> (root: String, path: String) {
        let run = try await run(input.run, in: input.project)
        guard let root = ArtifactPlaces.path(of: run.artifact_uri) else {
            throw MLflowError(
                .notImplemented, "The artifacts lie at '\(run.artifact_uri)', which this server does not read.")
        }
        return (root, try ArtifactPlaces.checked(input.path))
    }

    private func files(_ input: TrackedFileName) async throws -> ItemList<TrackedFile> {
        let (root, path) = try await place(input)
        let entries = try await tracking.store.read { try $0.artifacts(in: path.isEmpty ? root : "\(root)/\(path)") }
        return ItemList(
            entries.map { entry in
                var file = TrackedFile()
                file.path = path.isEmpty ? entry.name : "\(path)/\(entry.name)"
                (file.is_folder, file.size_bytes) = (entry.isFolder, entry.bytes)
                return file
            })
    }

    private func text(_ input: TrackedFileName) async throws -> TrackedText {
        let (root, path) = try await place(input)
        guard let digest = try await tracking.store.read({ try $0.artifact("\(root)/\(path)") }) else {
            throw MLflowError.missing("No such artifact: '\(path)'")
        }
        let reader = try await blobs.open(digest)
        var text = TrackedText()
        (text.path, text.size_bytes) = (path, reader.size)
        text.text = String(decoding: try await reader.read(at: 0, count: Self.textBytes), as: UTF8.self)
        return text
    }

    private func compare(_ input: RunComparison) async throws -> RunDifference {
        guard (1...Self.comparedLimit).contains(input.runs.count) else {
            throw MLflowError.invalid("Between 1 and \(Self.comparedLimit) runs can be compared")
        }
        return try await tracking.store.read { sql in
            var difference = RunDifference()
            difference.runs = try input.runs.map { try sql.trackedRun(like: $0, in: input.project) }
            difference.values = Self.values(difference.runs)
            return difference
        }
    }

    /// Everything that was logged to any of the runs, side by side: params, then metrics, then tags, by key.
    static func values(_ runs: [TrackedRun]) -> [ComparedValue] {
        let kinds: [(String, (TrackedRun) -> Ordered<JSONValue>)] = [
            ("param", { $0.params.map { JSONValue.string($0) } }),
            ("metric", { $0.metrics.map { JSONValue.number($0) } }),
            ("tag", { $0.tags.map { JSONValue.string($0) } }),
        ]
        return kinds.flatMap { kind, members in
            let columns = runs.map(members)
            return Set(columns.flatMap(\.keys)).sorted().map { key in
                var value = ComparedValue()
                (value.kind, value.key) = (kind, key)
                value.values = columns.map { $0[key] ?? .null }
                value.differs = Set(value.values.map(\.text)).count > 1
                return value
            }
        }
    }
}

/// What the store refuses in MLflow's words, in ours.
func told<T>(_ body: () async throws -> T) async throws -> T {
    do {
        return try await body()
    } catch let error as MLflowError {
        let first = error.message.prefix(1).lowercased() + error.message.dropFirst()
        throw Problem(
            error.code == .doesNotExist ? "experiment.not-found" : "experiment.invalid",
            status: error.status, first,
            hint: "See docs: experiments have the filters and orders of MLflow, and OR, NOT, IN and BETWEEN.")
    }
}

extension Connection {
    /// A run by its id or enough of its first digits.
    func trackedRun(like text: String, in project: String) throws -> TrackedRun {
        guard !text.isEmpty, text.utf8.allSatisfy({ $0 > 0x2F && $0 < 0x7B }) else {
            throw MLflowError.missing("Run with id=\(text) not found")
        }
        // "{" follows "z" in ASCII.
        let ids = try rows(
            """
            SELECT r.id FROM run r JOIN experiment e ON e.id = r.experiment
            WHERE r.uuid >= \(text) AND r.uuid < \(text + "{") AND e.project = \(project) LIMIT 2
            """
        ).map { try $0.get(0, as: Int64.self) }
        guard ids.count < 2 else { throw MLflowError.invalid("More than one run begins with \(text)") }
        guard let id = ids.first, let run = try trackedRuns([id]).first else {
            throw MLflowError.missing("Run with id=\(text) not found")
        }
        return run
    }

    /// Runs with the latest of what was logged to them, in the order of the ids.
    func trackedRuns(_ ids: [Int64]) throws -> [TrackedRun] {
        var found: [Int64: TrackedRun] = [:]
        for stored in try storedRuns(ids) {
            var run = TrackedRun()
            (run.id, run.experiment, run.name) = (stored.uuid, String(stored.experiment), stored.name)
            (run.user, run.status, run.is_deleted) = (stored.user, stored.status.lowercased(), stored.isDeleted)
            run.artifact_uri = stored.artifactURI
            run.started_at = Timestamp(milliseconds: stored.start)
            run.ended_at = stored.end.map { Timestamp(milliseconds: $0) }
            found[stored.id] = run
        }
        let wanted: Statement = "(SELECT value FROM json_each(\("[\(ids.map(String.init).joined(separator: ","))]")))"
        try each(
            """
            SELECT m.run, n.text, m.value, m.is_nan FROM metric m JOIN name n ON n.id = m.key
            WHERE m.run IN \(wanted) ORDER BY n.text
            """
        ) { row in
            let (id, key): (Int64, String) = (try row.get(0), try row.get(1))
            let value: Double = try row.get(3) ? .nan : row.get(2)
            found[id]?.metrics[key] = value
        }
        try each(
            """
            SELECT p.run, n.text, p.value FROM param p JOIN name n ON n.id = p.key WHERE p.run IN \(wanted)
            ORDER BY n.text
            """
        ) { row in
            let (id, key, value): (Int64, String, String) = (try row.get(0), try row.get(1), try row.get(2))
            found[id]?.params[key] = value
        }
        try each(
            """
            SELECT t.run, n.text, t.value FROM tag t JOIN name n ON n.id = t.key WHERE t.run IN \(wanted)
            ORDER BY n.text
            """
        ) { row in
            let (id, key, value): (Int64, String, String) = (try row.get(0), try row.get(1), try row.get(2))
            found[id]?.tags[key] = value
        }
        return ids.compactMap { found[$0] }
    }
}

extension StoredExperiment {
    var manifest: Experiment {
        var manifest = Experiment()
        (manifest.project, manifest.id, manifest.name) = (project, String(id), name)
        manifest.created_at = Timestamp(milliseconds: created)
        manifest.updated_at = Timestamp(milliseconds: updated)
        manifest.artifact_location = artifactLocation
        for tag in tags { manifest.tags[tag.key] = tag.value }
        return manifest
    }
}

extension Timestamp {
    /// Whatever a client called a time: those that are out of reach become the last or first that are not.
    init(milliseconds: Int64) {
        let (product, isOver) = milliseconds.multipliedReportingOverflow(by: 1000)
        let near = isOver ? (milliseconds < 0 ? -Self.reach : Self.reach) : product
        self.init(microseconds: min(max(near, -Self.reach), Self.reach))
    }

    /// The end of the year 9999, in microseconds since 1970.
    private static let reach: Int64 = 253_402_300_799_999_000
}
