import API
import Kernel
import Manifests

@testable import Web

/// Three runs of an experiment as the tracking store would tell of them, with names that people could have typed.
enum SampleExperiments {
    static let hostile = "<script>alert(1)</script>"

    static let experiment: Experiment = {
        var one = Experiment()
        (one.id, one.name) = ("7", "churn")
        one.created_at = Timestamp(microseconds: 1_760_000_000_000_000)
        one.tags = ["mlflow.note.content": "Who leaves \(hostile)"]
        return one
    }()

    static let ids = [1, 2, 3].map { String(repeating: "0", count: 31) + "\($0)" }

    static let runs: [TrackedRun] = ids.indices.map { run(at: $0) }

    private static func run(at place: Int) -> TrackedRun {
        var run = TrackedRun()
        (run.id, run.name, run.experiment, run.user) = (ids[place], "able-ant-\(place)", "7", "ana")
        run.status = ["finished", "running", "failed"][place]
        let start: Int64 = 1_760_000_000_000_000 + Int64(place) * 60_000_000
        run.started_at = Timestamp(microseconds: start)
        if place != 1 { run.ended_at = Timestamp(microseconds: start + 31_000_000) }
        let auc: [Double] = [0.8, 0.81, 0.82]
        let loss: [Double] = [0.5, 0.4, 0.3]
        run.metrics = ["auc": auc[place], "loss": loss[place]]
        run.params["depth"] = "4"
        run.params["lr"] = ["0.1", "0.01", "0.001"][place]
        run.params["solver"] = ["lbfgs", "sag", hostile][place]
        run.tags = ["team": "blue", "mlflow.user": "ana"]
        return run
    }

    static func curve(_ query: CurveQuery) -> MetricCurve {
        var curve = MetricCurve()
        (curve.run, curve.key, curve.total) = (query.run, query.key, 100_000)
        for place in 0..<200 as Range<Int64> {
            curve.steps.append(place * 500)
            curve.times.append(1_760_000_000_000 + place * 1000)
            curve.values.append(place == 77 ? 9 : place == 80 ? Double.nan : 1 / Double(place + 1))
        }
        return curve
    }

    static let files: [TrackedFile] = [
        ("model", true), ("chart.png", false), ("rows.csv", false), ("page.html", false),
    ]
    .map { name, isFolder in
        var file = TrackedFile()
        (file.path, file.is_folder, file.size_bytes) = (name, isFolder, isFolder ? 0 : 2048)
        return file
    }

    static func text(_ path: String) -> String {
        switch path {
        case "rows.csv": "id,\"what, said\"\n1,\"he \"\"said\"\" \(hostile)\"\n2,b\n"
        case "page.html": "<h1>Report</h1>\(hostile)"
        default: "{\"a\":[1,2]}"
        }
    }

    static let view: Resource = SampleWorld.resource(
        RunViewKind.self, "best", ["experiment": "7", "filter": "metrics.auc > 0.5", "columns": ["params.lr"]], nil)
}

extension SampleHouse {
    func experiments(_ routes: inout Routes) {
        let isEmpty = isEmpty
        routes.on(Experiments.list) { _, _ in ItemList(isEmpty ? [] : [SampleExperiments.experiment]) }
        routes.on(Experiments.get) { _, _ in SampleExperiments.experiment }
        routes.on(Experiments.runs) { [self] query, _ in
            note("experiments.runs", query.json)
            if query.filter == "nonsense" {
                throw Problem(
                    "experiments.invalid-parameter-value", status: 400, "invalid clause(s) in filter string: 'nonsense'"
                )
            }
            return ItemList(isEmpty ? [] : SampleExperiments.runs, next: isEmpty ? nil : "token")
        }
        routes.on(Experiments.run) { name, _ in
            var bare = TrackedRun()
            (bare.id, bare.name, bare.experiment, bare.status) = (name.run, "able-ant-0", "7", "running")
            if isEmpty { return bare }
            guard let run = SampleExperiments.runs.first(where: { $0.id == name.run }) else {
                throw Problem("experiments.resource-does-not-exist", status: 404, "no such run")
            }
            return run
        }
        routes.on(Experiments.curve) { query, _ in SampleExperiments.curve(query) }
        routes.on(Experiments.files) { _, _ in ItemList(isEmpty ? [] : SampleExperiments.files) }
        routes.on(Experiments.text) { name, _ in
            var text = TrackedText()
            text.path = name.path
            text.text = SampleExperiments.text(name.path)
            text.size_bytes = Int64(text.text.utf8.count)
            return text
        }
        routes.on(Resources.delete) { [self] name, _ in
            note("resources.delete", name.json)
            return SampleExperiments.view
        }
    }
}
