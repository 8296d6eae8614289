import API
import Kernel
import Manifests
import SQL

/// What our own API, command line and pages ask of the tracking store.
struct ExperimentRoutes: Sendable {
    let tracking: TrackingHouse

    /// Runs of one comparison.
    private static let comparedLimit = 100

    func add(to routes: inout Routes) {
        routes.on(Experiments.list) { input, _ in try await told { try await list(input) } }
        routes.on(Experiments.get) { input, _ in
            try await told {
                try await tracking.store.read { sql in
                    try sql.info(of: Self.experiment(input.experiment, in: input.project, sql))
                }
            }
        }
        routes.on(Experiments.runs) { input, _ in try await told { try await runs(input) } }
        routes.on(Experiments.run) { input, _ in
            try await told {
                try await tracking.store.read { try $0.experimentRun(like: input.run, in: input.project) }
            }
        }
        routes.on(Experiments.compare) { input, _ in try await told { try await compare(input) } }
    }

    /// What the store refuses in MLflow's words, in ours.
    private func told<T>(_ body: () async throws -> T) async throws -> T {
        do {
            return try await body()
        } catch let error as MLflowError {
            let first = error.message.prefix(1).lowercased() + error.message.dropFirst()
            throw Problem(
                error.code == .doesNotExist ? "experiment.not-found" : "experiment.invalid",
                status: error.status == 400 ? 422 : error.status, first,
                hint: "See docs: experiments have the filters and orders of MLflow, and OR, NOT, IN and BETWEEN.")
        }
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

    private func list(_ input: ExperimentQuery) async throws -> ItemList<ExperimentInfo> {
        let search = try ExperimentSearch(
            project: input.project, stages: input.deleted ? [false, true] : [false], filter: input.filter ?? "",
            order: [], limit: input.limit)
        let store = try tracking.store
        return try await store.read { sql in
            let page = try search.run(in: sql, tokens: store.tokens, token: input.after)
            return ItemList(try page.experiments.map(sql.info), next: page.next)
        }
    }

    private func runs(_ input: ExperimentRunQuery) async throws -> ItemList<ExperimentRun> {
        let filter = try FilterParser.parse(input.filter ?? "", .runs)
        let order = try OrderClause.parse(input.order_by, .runs)
        let stages = input.deleted ? [false, true] : [false]
        let question =
            ["own runs", input.project, "\(input.experiments)", "\(stages)", input.filter ?? ""] + input.order_by
        let store = try tracking.store
        let place = try input.after.map { try store.tokens.read($0, for: question) }
        return try await store.read { sql in
            let ids =
                input.experiments.isEmpty
                ? try sql.experiments(of: input.project)
                : try input.experiments.map { try Self.experiment($0, in: input.project, sql).id }
            let search = RunSearch(
                experiments: ids, stages: stages, filter: filter, order: order, limit: input.limit, place: place)
            let page = try search.run(in: sql)
            return ItemList(
                try sql.experimentRuns(page.items.map(\.id)),
                next: page.next.map { store.tokens.make($0, for: question) })
        }
    }

    private func compare(_ input: ExperimentComparison) async throws -> ExperimentDifference {
        guard (1...Self.comparedLimit).contains(input.runs.count) else {
            throw MLflowError.invalid("Between 1 and \(Self.comparedLimit) runs can be compared")
        }
        return try await tracking.store.read { sql in
            var difference = ExperimentDifference()
            difference.runs = try input.runs.map { try sql.experimentRun(like: $0, in: input.project) }
            difference.values = Self.values(difference.runs)
            return difference
        }
    }

    /// Everything that was logged to any of the runs, side by side: params, then metrics, then tags, by key.
    static func values(_ runs: [ExperimentRun]) -> [ComparedValue] {
        let kinds: [(String, (ExperimentRun) -> Ordered<JSONValue>)] = [
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

extension Connection {
    func experiments(of project: String) throws -> [Int64] {
        try rows("SELECT id FROM experiment WHERE project = \(project) ORDER BY id").map { try $0.get(0) }
    }

    func info(of experiment: StoredExperiment) throws -> ExperimentInfo {
        var info = ExperimentInfo()
        (info.id, info.name, info.project) = (String(experiment.id), experiment.name, experiment.project)
        info.created_at = Timestamp(microseconds: experiment.created * 1000)
        info.updated_at = Timestamp(microseconds: experiment.updated * 1000)
        (info.is_deleted, info.artifact_location) = (experiment.isDeleted, experiment.artifactLocation)
        for tag in experiment.tags { info.tags[tag.key] = tag.value }
        info.runs =
            try value("SELECT count(*) FROM run WHERE experiment = \(experiment.id) AND is_deleted = 0") ?? 0
        return info
    }

    /// A run by its id or enough of its first digits.
    func experimentRun(like text: String, in project: String) throws -> ExperimentRun {
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
        guard let id = ids.first, let run = try experimentRuns([id]).first else {
            throw MLflowError.missing("Run with id=\(text) not found")
        }
        return run
    }

    /// Runs with the latest of what was logged to them, in the order of the ids.
    func experimentRuns(_ ids: [Int64]) throws -> [ExperimentRun] {
        var found: [Int64: ExperimentRun] = [:]
        for stored in try storedRuns(ids) {
            var run = ExperimentRun()
            (run.id, run.experiment, run.name) = (stored.uuid, String(stored.experiment), stored.name)
            (run.user, run.status, run.is_deleted) = (stored.user, stored.status, stored.isDeleted)
            run.started_at = Timestamp(microseconds: stored.start * 1000)
            run.ended_at = stored.end.map { Timestamp(microseconds: $0 * 1000) }
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
