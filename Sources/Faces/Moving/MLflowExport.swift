import API
import Foundation
import Manifests

/// Logs everything of a source to an MLflow server, with the calls that every client has.
///
/// A run gets a new id there; its old one is the tag `vagus.run_id`, by which a second export finds it. A run whose tag `vagus.whole` is
/// set, which is its last, is passed over; another is filled up: what MLflow has it takes a second time without keeping it twice.
package struct MLflowExport: Sendable {
    let source: any MoveSource
    let server: MLflowServer
    private let options: MoveOptions
    private let progress: MoveProgress
    let scratch: String

    static let runTag = "vagus.run_id"
    static let wholeTag = "vagus.whole"
    static let modelTag = "vagus.model_id"
    static let versionTag = "vagus.version"
    private static let parentTag = "mlflow.parentRunId"
    /// Runs that are filled at once: MLflow's server has few workers.
    private static let runsAtOnce = 4

    /// - Parameter scratch: A folder for files on their way; it is there and stays.
    package init(
        from source: any MoveSource, to server: MLflowServer, options: MoveOptions, progress: MoveProgress,
        scratch: String
    ) {
        (self.source, self.server, self.options) = (source, server, options)
        (self.progress, self.scratch) = (progress, scratch)
    }

    /// What is known of the other side: new ids by old ones.
    struct Known: Sendable {
        var runs: [String: SourceRun] = [:]
        var models: [String: SourceModel] = [:]
    }

    package func run() async throws -> MoveReport {
        let view = try await source.look()
        if !options.isDry { _ = try await ServerSource(server).look() }
        var first = MoveReport()
        (first.source, first.target, first.not_taken) = (source.name, server.base, view.notTaken)
        let report = SharedReport(first)
        let experiments = try await source.experiments().filter { options.includes($0.name) }
        for name in options.experiments where !experiments.contains(where: { $0.name == name }) {
            throw Problem("move.no-experiment", status: 404, "\(source.name) has no experiment \"\(name)\"")
        }
        var all = Known()
        for experiment in experiments {
            let known = try await export(experiment, report)
            all.runs.merge(known.runs) { _, new in new }
            all.models.merge(known.models) { _, new in new }
        }
        if options.experiments.isEmpty {
            try await RegistryExport(source: source, server: server, known: all, isDry: options.isDry).run(report)
        }
        progress.end()
        var whole = report.value
        whole.is_equal = whole.differences.isEmpty
        whole.seconds =
            Double(progress.elapsed.components.seconds) + Double(progress.elapsed.components.attoseconds) / 1e18
        return whole
    }

    func moved(_ bytes: Int64) { progress.moved(bytes: bytes) }

    // MARK: Experiments

    private func export(_ experiment: MovedExperiment, _ report: SharedReport) async throws -> Known {
        report.change { $0.count("experiments", source: 1) }
        guard !options.isDry else {
            try await source.runs(of: experiment) { page in
                for run in page { try await count(run, report) }
                progress.moved(runs: page.count)
            }
            report.change { $0.count("experiments", target: 0) }
            return Known()
        }
        let place = try await open(experiment)
        report.change { report in
            report.count("experiments", target: 1)
            if place.id != experiment.id {
                report.mapped.append(
                    "experiment \"\(experiment.name)\" is \(place.id) there, it is \(experiment.id) here")
            }
        }
        var known = try await known(in: place)
        try await source.runs(of: experiment) { page in
            for run in page {
                if known.runs[run.run.id] == nil { known.runs[run.run.id] = try await create(run, place) }
            }
        }
        let created = known
        for model in try await source.loggedModels(of: experiment) {
            known.models[model.model.id] = try await export(model, place, created, report)
        }
        let ready = known
        var expected: [String: Held] = [:]
        try await source.runs(of: experiment) { page in
            let counted = try await fill(page, ready, report)
            expected.merge(counted) { _, new in new }
            progress.moved(runs: page.count)
        }
        try await check(place, expected, report)
        if experiment.is_deleted {
            _ = try await server.send("POST", "experiments/delete", ["experiment_id": .string(place.id)])
        }
        return known
    }

    /// The experiment of that name there, made when it is missing, and active while it is filled.
    private func open(_ experiment: MovedExperiment) async throws -> MovedExperiment {
        var place = experiment
        do {
            let found =
                try await server.get("experiments/get-by-name", [("experiment_name", experiment.name)])["experiment"]
                ?? [:]
            place.id = found["experiment_id"]?.string ?? ""
            if found["lifecycle_stage"]?.string == "deleted" {
                _ = try await server.send("POST", "experiments/restore", ["experiment_id": .string(place.id)])
            }
        } catch let problem as Problem where problem.isMLflowMissing {
            let made = try await server.send(
                "POST", "experiments/create", ["name": .string(experiment.name), "tags": .wire(experiment.tags)])
            place.id = made["experiment_id"]?.string ?? ""
        }
        return place
    }

    /// What an earlier export has left there.
    private func known(in place: MovedExperiment) async throws -> Known {
        let there = ServerSource(server)
        var found = Known()
        try await there.runs(of: place) { page in
            for run in page { if let old = run.run.tags[Self.runTag] { found.runs[old] = run } }
        }
        for model in try await there.loggedModels(of: place) {
            if let old = model.model.tags[Self.modelTag] { found.models[old] = model }
        }
        return found
    }

    // MARK: Runs

    /// Makes a run without what is logged to it.
    private func create(_ run: SourceRun, _ place: MovedExperiment) async throws -> SourceRun {
        let made = try await server.send(
            "POST", "runs/create",
            [
                "experiment_id": .string(place.id), "run_name": .string(run.run.name), "user_id": .string(run.run.user),
                "start_time": .integer(run.run.started_ms), "tags": .wire([Self.runTag: run.run.id]),
            ])
        var there = SourceRun(run: MovedRun())
        (there.run.id, there.run.experiment) = (made["run"]?["info"]?["run_id"]?.string ?? "", place.id)
        there.artifactURI = made["run"]?["info"]?["artifact_uri"]?.string ?? ""
        return there
    }

    /// - Returns: What each run has, by its old id.
    private func fill(_ page: [SourceRun], _ known: Known, _ report: SharedReport) async throws -> [String: Held] {
        try await withThrowingTaskGroup(of: Held.self) { group in
            var counted: [String: Held] = [:]
            for (index, run) in page.enumerated() {
                if index >= Self.runsAtOnce, let held = try await group.next() { counted[held.id] = held }
                group.addTask {
                    guard let there = known.runs[run.run.id] else { return Held() }
                    return try await fill(run, there, known, report)
                }
            }
            for try await held in group { counted[held.id] = held }
            return counted
        }
    }

    private func fill(_ run: SourceRun, _ there: SourceRun, _ known: Known, _ report: SharedReport) async throws -> Held
    {
        var run = run
        if let parent = run.run.tags[Self.parentTag] {
            run.run.tags[Self.parentTag] = known.runs[parent]?.run.id ?? parent
        }
        let (points, files, held) = try await count(run, report)
        guard there.run.tags[Self.wholeTag] == nil else {
            report.change { $0.passed_over += 1 }
            return held
        }
        do {
            try await log(run, points, to: there.run.id)
            try await link(run, there, known)
            try await send(files, of: run.owner, to: there.artifactURI, report)
            // A run is begun as a running one, without an end.
            if run.run.status != "RUNNING" || run.run.ended_ms != nil {
                var end: Ordered<JSONValue> = ["run_id": .string(there.run.id), "status": .string(run.run.status)]
                if let time = run.run.ended_ms { end["end_time"] = .integer(time) }
                _ = try await server.send("POST", "runs/update", .object(end))
            }
            _ = try await server.send(
                "POST", "runs/set-tag",
                ["run_id": .string(there.run.id), "key": .string(Self.wholeTag), "value": "yes"])
            if run.run.is_deleted {
                _ = try await server.send("POST", "runs/delete", ["run_id": .string(there.run.id)])
            }
        } catch let problem as Problem where [400, 404, 409, 413, 422].contains(problem.status) {
            report.change { $0.differ("run \(held.id): \(problem.message)") }
        }
        return held
    }

    /// Counts what a run has here, reading its points and listing its files.
    @discardableResult
    private func count(
        _ run: SourceRun, _ report: SharedReport
    ) async throws -> (points: [MovedPoints], files: [SourceFile], held: Held) {
        let points = try await source.points(of: run)
        var files: [SourceFile] = []
        switch try await source.files(of: run.owner) {
        case .here(let found): files = found
        case .elsewhere: report.change { $0.tell("files that stay where they are, such as \(run.artifactURI)") }
        case .missing(let place): report.change { $0.tell("files that should be below \(place)") }
        }
        var held = Held()
        (held.id, held.params, held.tags) = (run.run.id, run.run.params.count, MLflowExport.tags(run))
        (held.metrics, held.points) = (run.metrics, points.reduce(0) { $0 + $1.values.count })
        (held.datasets, held.models) = (
            run.run.datasets.count, run.run.model_inputs.count + run.run.model_outputs.count
        )
        (held.files, held.file_bytes) = (files.count, files.reduce(0) { $0 + $1.bytes })
        let counted = held
        report.change { $0.count(counted, asSource: true) }
        return (points, files, held)
    }

    /// Tags but those of exports.
    private static func tags(_ run: SourceRun) -> Int {
        run.run.tags.keys.count { $0 != runTag && $0 != wholeTag }
    }

    private func check(
        _ place: MovedExperiment, _ expected: [String: Held], _ report: SharedReport
    ) async throws {
        let there = ServerSource(server)
        var seen: Set<String> = []
        try await there.runs(of: place) { page in
            for run in page {
                guard let old = run.run.tags[Self.runTag], let wanted = expected[old], seen.insert(old).inserted else {
                    continue
                }
                var held = Held()
                (held.id, held.params, held.tags) = (old, run.run.params.count, Self.tags(run))
                (held.metrics, held.datasets) = (run.metrics, run.run.datasets.count)
                held.models = run.run.model_inputs.count + run.run.model_outputs.count
                held.points = try await there.points(of: run).reduce(0) { $0 + $1.values.count }
                if case .here(let files) = try await there.files(of: run.owner) {
                    (held.files, held.file_bytes) = (files.count, files.reduce(0) { $0 + $1.bytes })
                }
                let found = held
                report.change { report in
                    report.count(found, asSource: false)
                    let lacks = found.lacks(wanted)
                    if !lacks.isEmpty { report.differ("run \(old): \(lacks.joined(separator: ", "))") }
                }
            }
        }
        let missing = expected.keys.filter { !seen.contains($0) && !$0.isEmpty }
        report.change { report in for id in missing { report.differ("run \(id): it is not there") } }
    }
}

extension Held {
    /// What this has less of than it should, in words.
    func lacks(_ wanted: Held) -> [String] {
        let counts: [(String, Int64, Int64)] = [
            ("params", Int64(wanted.params), Int64(params)), ("tags", Int64(wanted.tags), Int64(tags)),
            ("metrics", Int64(wanted.metrics), Int64(metrics)), ("points", Int64(wanted.points), Int64(points)),
            ("datasets", Int64(wanted.datasets), Int64(datasets)), ("model links", Int64(wanted.models), Int64(models)),
            ("files", Int64(wanted.files), Int64(files)), ("file bytes", wanted.file_bytes, file_bytes),
        ]
        return counts.filter { $0.2 < $0.1 }.map { "\($0.2) of \($0.1) \($0.0)" }
    }
}

extension MoveReport {
    /// Counts a run on one of the sides.
    mutating func count(_ held: Held, asSource: Bool) {
        let counts: [(String, Int64)] = [
            ("runs", 1), ("params", Int64(held.params)), ("tags", Int64(held.tags)), ("metrics", Int64(held.metrics)),
            ("points", Int64(held.points)), ("datasets", Int64(held.datasets)), ("model links", Int64(held.models)),
            ("files", Int64(held.files)), ("file bytes", held.file_bytes),
        ]
        for (kind, number) in counts { count(kind, source: asSource ? number : 0, target: asSource ? 0 : number) }
    }

    /// Missing places that are listed.
    private static let missingListed = 50

    mutating func tell(_ missing: String) {
        if !self.missing.contains(missing), self.missing.count < Self.missingListed { self.missing.append(missing) }
    }
}
