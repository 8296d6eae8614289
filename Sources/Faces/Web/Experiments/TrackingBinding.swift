import API
import Kernel
import Manifests

extension Visitor {
    func experiments() async throws -> WebResponse {
        try await render {
            var query = ExperimentQuery()
            (query.project, query.search, query.after) = (project, typed("search"), request.query["after"])
            let page = try await ask(Experiments.list, query)
            return ExperimentsPage(page.items, search: query.search, next: page.next, now: now)
        }
    }

    /// The pages below an experiment.
    func experiment(_ parts: [String]) async throws -> WebResponse? {
        switch parts.count {
        case 1: try await experiment(parts[0])
        case 2 where parts[1] == "compare": try await compare(in: parts[0])
        case 3 where parts[1] == "runs": try await trackedRun(parts[2], in: parts[0])
        default: nil
        }
    }

    private func experiment(_ id: String) async throws -> WebResponse {
        let experiment = try await ask(Experiments.get, ExperimentName(project: project, experiment: id))
        return try await render(title: experiment.name) {
            let views = try await resources(RunViewKind.self).filter { $0.spec["experiment"]?.string == id }
            let search = RunSearchForm(request.query, views: views)
            var query = TrackedRunQuery()
            (query.project, query.experiment, query.limit) = (project, id, ExperimentPage.limit)
            (query.filter, query.order_by, query.after) = (search.filter, search.order, request.query["after"])
            query.deleted = search.isDeleted
            var page = ItemList<TrackedRun>()
            var fault: Problem?
            do {
                page = try await ask(Experiments.runs, query)
            } catch let problem as Problem where problem.status == 400 {
                fault = problem
            }
            return ExperimentPage(
                experiment, runs: page.items, next: page.next, search: search, views: views, fault: fault, csrf: csrf,
                now: now)
        }
    }

    private func trackedRun(_ id: String, in experiment: String) async throws -> WebResponse? {
        let name = TrackedRunName(project: project, run: id)
        let run = try await ask(Experiments.run, name)
        guard run.experiment == experiment else { return nil }
        return try await render(title: run.name) {
            async let parent = ask(Experiments.get, ExperimentName(project: project, experiment: experiment))
            let look = CurveLook(request.query)
            let keys = run.metrics.keys.filter { look.shows($0) }
            let curves = try await together(Array(keys.prefix(TrackedRunPage.chartLimit))) { key in
                try await curve(of: run, key, look)
            }
            let folder = request.query["path"] ?? ""
            let files = try await find(Experiments.files, TrackedFileName(project: project, run: id, path: folder))
            return TrackedRunPage(
                run, experiment: try await parent.name, curves: curves, hidden: keys.count - curves.count, look: look,
                files: files?.items ?? [], folder: folder, preview: try await preview(of: run), now: now)
        }
    }

    private func curve(of run: TrackedRun, _ key: String, _ look: CurveLook) async throws -> MetricCurve {
        var query = CurveQuery()
        (query.project, query.run, query.key) = (project, run.id, key)
        (query.axis, query.buckets) = (look.isTime ? .time : .step, CurveLook.buckets)
        return try await ask(Experiments.curve, query)
    }

    private func preview(of run: TrackedRun) async throws -> FilePreview? {
        guard let path = request.query["file"], !path.isEmpty else { return nil }
        let kind = FilePreview.Kind(path)
        guard kind.isText else { return FilePreview(path, kind, run: run.id, text: nil) }
        let text = try await find(Experiments.text, TrackedFileName(project: project, run: run.id, path: path))
        return FilePreview(path, kind, run: run.id, text: text)
    }

    private func compare(in experiment: String) async throws -> WebResponse {
        let parent = try await ask(Experiments.get, ExperimentName(project: project, experiment: experiment))
        let chosen = request.query.keys.filter { $0.utf8.count == 32 }.sorted()
        return try await render(title: "Compare runs") {
            let runs = try await together(Array(chosen.prefix(ComparePage.limit))) { id in
                try await find(Experiments.run, TrackedRunName(project: project, run: id))
            }.compactMap { $0 }.filter { $0.experiment == experiment }.sorted { $0.started_at > $1.started_at }
            let look = CurveLook(request.query)
            let choice = CompareChoice(request.query, runs: runs)
            var curves: [MetricCurve] = []
            if let key = choice.metric {
                let shown = runs.filter { $0.metrics[key] != nil }.prefix(LineChart.seriesLimit)
                curves = try await together(Array(shown)) { try await curve(of: $0, key, look) }
            }
            return ComparePage(parent, runs: runs, curves: curves, choice: choice, look: look)
        }
    }

    /// Saves the search of an experiment's page under a name, or forgets one.
    func actOnExperiment(_ id: String, verb: String) async throws -> WebResponse? {
        let name = (request.form["name"] ?? "").trimmed()
        switch verb {
        case "save-view":
            let search = RunSearchForm(request.form, views: [])
            var document: Ordered<JSONValue> = [
                "kind": .string(RunViewKind.name), "name": .string(name), "experiment": .string(id),
            ]
            if let filter = search.filter { document["filter"] = .string(filter) }
            if let order = search.order { document["order_by"] = .string(order) }
            if !search.columns.isEmpty { document["columns"] = .array(search.columns.map { .string($0) }) }
            var input = ApplyInput()
            (input.documents, input.project) = ([.object(document)], project)
            _ = try await ask(Resources.apply, input)
            return .redirect(Links.path(["experiments", id], ["view": name]))
        case "delete-view":
            _ = try await ask(
                Resources.delete, ResourceName(project: project, kind: RunViewKind.plural, name: name))
            return .redirect(Links.path(["experiments", id]))
        default: return nil
        }
    }
}
