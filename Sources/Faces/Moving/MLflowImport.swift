import API
package import Client
import Foundation
import Manifests

/// Takes everything of a source over into a vagus server.
///
/// Run by run the server is asked what it holds; what is whole is passed over. Rows of a run come first, then its points, then its
/// files: whatever ends the move on the way, the counts tell afterwards what is missing.
package struct MLflowImport: Sendable {
    private let source: any MoveSource
    private let client: VagusClient
    /// The artifact proxy of the server.
    private let proxy: MLflowServer
    private let project: String
    private let options: MoveOptions
    private let progress: MoveProgress
    private let scratch: String

    /// Files that are sent at once.
    private static let filesAtOnce = 6

    /// - Parameters:
    ///   - proxy: The server's `/mlflow`.
    ///   - scratch: A folder for files that lie on no disk of this machine; it is there and stays.
    package init(
        from source: any MoveSource, to client: VagusClient, proxy: MLflowServer, project: String, options: MoveOptions,
        progress: MoveProgress, scratch: String
    ) {
        (self.source, self.client, self.proxy, self.project) = (source, client, proxy, project)
        (self.options, self.progress, self.scratch) = (options, progress, scratch)
    }

    /// Moves, and counts on both sides.
    package func run() async throws -> MoveReport {
        let view = try await source.look()
        progress.expect(options.experiments.isEmpty ? view.runs : nil)
        var first = MoveReport()
        (first.source, first.target, first.not_taken) = (source.name, client.server, view.notTaken)
        for kind in Self.kinds { first.count(kind, source: 0, target: 0) }
        let report = SharedReport(first)
        let experiments = try await source.experiments().filter { options.includes($0.name) }
        for name in options.experiments where !experiments.contains(where: { $0.name == name }) {
            throw Problem("move.no-experiment", status: 404, "\(source.name) has no experiment \"\(name)\"")
        }
        let places = try await move(experiments, report)
        for experiment in experiments {
            let here = places[experiment.id] ?? MovedPlace()
            for model in try await source.loggedModels(of: experiment) { try await move([model], here, report) }
            try await source.runs(of: experiment) { page in try await move(page, here, report) }
        }
        if options.experiments.isEmpty { try await moveRegistry(report) }
        progress.end()
        var whole = report.value
        whole.is_equal = whole.differences.isEmpty
        whole.seconds =
            Double(progress.elapsed.components.seconds) + Double(progress.elapsed.components.attoseconds) / 1e18
        return whole
    }

    /// In the order in which they are told.
    private static let kinds = [
        "experiments", "runs", "params", "tags", "metrics", "points", "datasets", "logged models", "model links",
        "files",
        "file bytes", "registered models", "model versions", "aliases",
    ]

    // MARK: Experiments

    /// Experiments of one request.
    private static let experimentsAtOnce = 200

    /// - Returns: What each is here, by its number there.
    private func move(_ experiments: [MovedExperiment], _ report: SharedReport) async throws -> [String: MovedPlace] {
        report.change { $0.count("experiments", source: experiments.count) }
        guard !options.isDry else { return [:] }
        var places: [String: MovedPlace] = [:]
        for start in stride(from: 0, to: experiments.count, by: Self.experimentsAtOnce) {
            var input = MovedExperiments()
            input.project = project
            input.experiments = Array(experiments[start..<min(start + Self.experimentsAtOnce, experiments.count)])
            for place in try await client.call(Moves.experiments, input).items {
                places[place.source] = place
                report.change { report in
                    report.count("experiments", target: 1)
                    if place.id != place.source {
                        report.mapped.append("experiment \"\(place.name)\" is \(place.id) here, it was \(place.source)")
                    }
                }
            }
        }
        return places
    }

    // MARK: Runs

    /// A run with all that is to be known of it before it is sent.
    private struct Wanted {
        var source: SourceRun
        var points: [MovedPoints]?
        var files: [SourceFile]
        var held: Held

        /// What is not on the other side, in words; empty when all is.
        func lacks(_ other: Held?) -> [String] {
            guard let other else { return ["it is not there"] }
            var words = other.lacks(held)
            let isOpen = other.status == "RUNNING" || other.status == "SCHEDULED"
            if isOpen, other.status != held.status { words.append("it has ended since") }
            return words
        }
    }

    private func move(_ page: [SourceRun], _ here: MovedPlace, _ report: SharedReport) async throws {
        var wanted: [Wanted] = []
        for run in page { wanted.append(try await look(at: run, report)) }
        for run in wanted { report.change { $0.count(run.held, asSource: true) } }
        guard !options.isDry else { return progress.moved(runs: page.count) }
        let before = try await held(runs: page.map(\.run.id))
        let lacking = wanted.filter { !$0.lacks(before[$0.held.id]).isEmpty }
        report.change { $0.passed_over += wanted.count - lacking.count }
        progress.moved(runs: wanted.count - lacking.count)
        try await send(lacking, here, report)
        for run in lacking { try await upload(run, before[run.held.id], here, report) }
        progress.moved(runs: lacking.count)
        let after = lacking.isEmpty ? [:] : try await held(runs: lacking.map(\.held.id))
        for run in wanted {
            let there = after[run.held.id] ?? before[run.held.id]
            report.change { report in
                if let there { report.count(there, asSource: false) }
                let lacks = run.lacks(there)
                if !lacks.isEmpty { report.differ("run \(run.held.id): \(lacks.joined(separator: ", "))") }
            }
        }
    }

    private func look(at run: SourceRun, _ report: SharedReport) async throws -> Wanted {
        var held = Held()
        (held.id, held.status, held.metrics) = (run.run.id, run.run.status, run.metrics)
        (held.params, held.tags, held.datasets) = (run.run.params.count, run.run.tags.count, run.run.datasets.count)
        held.models = run.run.model_inputs.count + run.run.model_outputs.count
        var points: [MovedPoints]?
        if let known = run.points {
            held.points = known
        } else {
            let read = try await source.points(of: run)
            held.points = read.reduce(0) { $0 + $1.values.count }
            points = read
        }
        let files = try await files(of: run.owner, report)
        (held.files, held.file_bytes) = (files.count, files.reduce(0) { $0 + $1.bytes })
        return Wanted(source: run, points: points, files: files, held: held)
    }

    private func files(of owner: FileOwner, _ report: SharedReport) async throws -> [SourceFile] {
        switch try await source.files(of: owner) {
        case .here(let files): return files
        case .elsewhere: return []
        case .missing(let place):
            report.change { $0.tell("files that should be below \(place)") }
            return []
        }
    }

    private func held(runs: [String] = [], models: [String] = []) async throws -> [String: Held] {
        var query = HeldQuery()
        (query.project, query.runs, query.models) = (project, runs, models)
        let found = try await client.call(Moves.held, query)
        return Dictionary((found.runs + found.models).map { ($0.id, $0) }) { first, _ in first }
    }

    // MARK: Rows

    /// Sends runs in requests of a bounded size; a run that is refused is told and the others go on.
    private func send(_ runs: [Wanted], _ here: MovedPlace, _ report: SharedReport) async throws {
        var (batch, weight) = ([MovedRun](), 0)
        for run in runs {
            var whole = run.source.run
            whole.experiment = here.id
            if let points = run.points {
                whole.metrics = points
            } else {
                whole.metrics = try await source.points(of: run.source)
            }
            for piece in MovePieces.cut(whole) {
                let more = MovePieces.weight(piece)
                if !batch.isEmpty, weight + more > MovePieces.limit {
                    try await send(batch, report)
                    (batch, weight) = ([], 0)
                }
                batch.append(piece)
                weight += more
            }
        }
        if !batch.isEmpty { try await send(batch, report) }
    }

    private func send(_ batch: [MovedRun], _ report: SharedReport) async throws {
        var input = MovedRuns()
        (input.project, input.runs) = (project, batch)
        do {
            _ = try await client.call(Moves.runs, input)
        } catch let problem as Problem where [400, 404, 409, 413, 422].contains(problem.status) {
            guard batch.count > 1 else {
                report.change { $0.differ("run \(batch[0].id): \(problem.message)") }
                return
            }
            for run in batch { try await send([run], report) }
        }
    }

    // MARK: Files

    private func upload(_ run: Wanted, _ before: Held?, _ here: MovedPlace, _ report: SharedReport) async throws {
        let isThere = before?.files == run.held.files && before?.file_bytes == run.held.file_bytes
        guard !isThere, !run.files.isEmpty, run.source.run.artifact_uri == nil,
            let root = Addresses.proxied(here.artifact_location)
        else { return }
        try await upload(run.files, of: run.source.owner, to: "\(root)/\(run.held.id)/artifacts", report)
    }

    private func upload(
        _ files: [SourceFile], of owner: FileOwner, to root: String, _ report: SharedReport
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (index, file) in files.enumerated() {
                if index >= Self.filesAtOnce { try await group.next() }
                group.addTask { try await upload(file, of: owner, to: root, report) }
            }
            try await group.waitForAll()
        }
    }

    private func upload(_ file: SourceFile, of owner: FileOwner, to root: String, _ report: SharedReport) async throws {
        let scratch = "\(scratch)/\(owner.id)-\(UInt64.random(in: .min ... .max))"
        do {
            if let place = file.place {
                try await proxy.upload(file: place, to: "\(root)/\(file.path)")
            } else {
                try await source.fetch(file, of: owner, to: scratch)
                defer { unlink(scratch) }
                try await proxy.upload(file: scratch, to: "\(root)/\(file.path)")
            }
            progress.moved(bytes: file.bytes)
        } catch let problem as Problem where [400, 404, 413, 422].contains(problem.status) {
            report.change { $0.differ("file \(file.path) of \(owner.id): \(problem.message)") }
        }
    }

    // MARK: Models

    private func move(_ models: [SourceModel], _ here: MovedPlace, _ report: SharedReport) async throws {
        for model in models {
            let files = try await files(of: model.owner, report)
            report.change { report in
                report.count("logged models", source: 1)
                report.count("files", source: files.count)
                report.count("file bytes", source: files.reduce(0) { $0 + $1.bytes })
            }
            guard !options.isDry else { continue }
            var input = MovedRuns()
            var moved = model.model
            moved.experiment = here.id
            (input.project, input.models) = (project, [moved])
            let id = moved.id
            do { _ = try await client.call(Moves.runs, input) } catch let problem as Problem
                where [400, 404, 409, 413, 422].contains(problem.status)
            {
                report.change { $0.differ("logged model \(id): \(problem.message)") }
                continue
            }
            let bytes = files.reduce(0) { $0 + $1.bytes }
            var there = try await held(models: [id])[id]
            if there?.files != files.count || there?.file_bytes != bytes, moved.artifact_uri == nil,
                let root = Addresses.proxied(here.artifact_location)
            {
                try await upload(files, of: model.owner, to: "\(root)/models/\(id)/artifacts", report)
                there = try await held(models: [id])[id]
            }
            let known = there
            report.change { report in
                report.count("logged models", target: known == nil ? 0 : 1)
                report.count("files", target: known?.files ?? 0)
                report.count("file bytes", target: known?.file_bytes ?? 0)
                if (known?.files ?? 0) < files.count {
                    report.differ("logged model \(id): \(known?.files ?? 0) of \(files.count) files")
                }
            }
        }
    }

    /// Versions of one request.
    private static let versionsAtOnce = 100

    private func moveRegistry(_ report: SharedReport) async throws {
        for model in try await source.registeredModels() {
            report.change { report in
                report.count("registered models", source: 1)
                report.count("model versions", source: model.versions.count)
                report.count("aliases", source: model.aliases.count)
            }
            guard !options.isDry else { continue }
            var refused: [String] = []
            // The aliases come last: they point to versions.
            for start in stride(from: 0, through: max(0, model.versions.count - 1), by: Self.versionsAtOnce) {
                var part = model
                part.project = project
                let end = min(start + Self.versionsAtOnce, model.versions.count)
                part.versions = Array(model.versions[start..<end])
                if end < model.versions.count { part.aliases = [:] }
                let isLast = end == model.versions.count
                do {
                    let state = try await client.call(Moves.models, part)
                    refused += state.refused
                    report.change { report in
                        report.count("model versions", target: state.versions)
                        guard isLast else { return }
                        report.count("registered models", target: 1)
                        report.count("aliases", target: state.aliases)
                        if state.aliases < model.aliases.count {
                            report.differ(
                                "model \"\(model.name)\": \(state.aliases) of \(model.aliases.count) aliases point where they pointed"
                            )
                        }
                        if state.name != model.name {
                            report.mapped.append("model \"\(model.name)\" has the manifest \(state.name)")
                        }
                    }
                } catch let problem as Problem where [400, 404, 409, 413, 422].contains(problem.status) {
                    refused.append(problem.message)
                }
            }
            let told = refused
            report.change { report in for words in told { report.differ("model \"\(model.name)\": \(words)") } }
        }
    }
}
