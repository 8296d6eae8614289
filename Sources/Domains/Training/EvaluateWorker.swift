import API
import Expressions
import Frames
package import Kernel
import Learners
import Manifests

/// Measures a model on rows it has not seen, perhaps against a champion on the same rows, and holds it to its gates.
///
/// Artifact: `report`; it is kept when a gate fails. Values: passed, rows. Metrics: those of the model.
package struct EvaluateWorker: Worker {
    package static let verb = "evaluate"
    static let report = "report.json"

    package init() {}

    package func run(_ order: WorkOrder, log: @Sendable (String) -> Void) async throws -> WorkResult {
        let spec = try TrainingFiles.settings(EvaluateSpec.self, of: order)
        let gates = try Gates(spec.require)
        try check(spec, gates)
        let folder = try TrainingFiles.input("model", of: order)
        let frame = try TrainingFiles.table("data", of: order)
        let labels = try Labels(frame, target: ModelFolder.target(of: folder), of: "evaluation data")
        log("evaluating on \(counted(frame.rowCount, "row"))")
        let scores = try Self.scores(folder, on: frame, order)
        let metrics = Judgement.metrics(scores, labels, threshold: spec.bias.threshold, log: log)
        for (name, value) in metrics { log("  \(name) \(short(value))") }
        let champion = try Self.champion(order, frame, labels, spec, log)
        let bias = try Self.bias(spec.bias, frame, scores, labels, log)
        let verdicts = gates.judge(Self.figures(metrics, champion, bias), hasChampion: champion != nil)
        for gate in verdicts {
            log(
                "\(gate.passed ? "ok    " : "FAILED") \(gate.require)\(gate.message.isEmpty ? "" : ": ")\(gate.message)"
            )
        }
        return try finish(order, frame, metrics, champion, bias, verdicts)
    }

    private func check(_ spec: EvaluateSpec, _ gates: Gates) throws(Problem) {
        guard spec.champion != nil || !gates.mentionChampion else {
            throw Problem(
                "evaluate.champion", status: 422, "a requirement compares with a champion, and none is named",
                hint: "Name it: `champion: MODEL@ALIAS`.", location: "evaluate.champion")
        }
        guard spec.bias.by.count <= TrainingLimits.biasColumns else {
            throw Problem(
                "evaluate.bias", status: 422,
                "bias is asked by \(spec.bias.by.count) columns, more than \(TrainingLimits.biasColumns)")
        }
    }

    private static func scores(_ folder: String, on frame: Frame, _ order: WorkOrder) throws(Problem) -> [Double] {
        let bundle = try TrainingFiles.learning { () throws(LearnerError) in
            try ModelBundle.load(folder: folder, xgboost: order.xgboost)
        }
        guard bundle.signature.output.size == 1 else {
            throw Problem(
                "evaluate.outputs", status: 422,
                "the model gives \(bundle.signature.output.size) numbers a row, and only one can be judged",
                hint: "Train with a binary: or reg: objective.")
        }
        return try TrainingFiles.learning { () throws(LearnerError) in try bundle.predict(frame) }
    }

    // MARK: Champion

    struct Champion {
        var version: JSONValue
        var metrics: Ordered<Double>
        /// What was noted when it was registered, on other rows.
        var registered: JSONValue
    }

    private static func champion(
        _ order: WorkOrder, _ frame: Frame, _ labels: Labels, _ spec: EvaluateSpec, _ log: (String) -> Void
    ) throws(Problem) -> Champion? {
        let fact = order.facts["champion"]
        guard let folder = order.inputs["champion"] else {
            guard let fact, !fact.isNull else {
                if let name = spec.champion { log("there is no champion \"\(name)\" yet") }
                return nil
            }
            throw Problem(
                "evaluate.champion", status: 422, "the files of champion \"\(spec.champion ?? "")\" were not given",
                hint: "Look at its version: vagus models")
        }
        let scores = try scores(folder, on: frame, order)
        let metrics = Judgement.metrics(scores, labels, threshold: spec.bias.threshold) { log("champion: \($0)") }
        let version = fact?["version"] ?? .null
        log("champion \(spec.champion ?? "")\(version.isNull ? "" : ", version \(version.text)"), on the same rows:")
        for (name, value) in metrics { log("  \(name) \(short(value))") }
        return Champion(version: version, metrics: metrics, registered: fact?["metrics"] ?? [:])
    }

    // MARK: Bias

    private static func bias(
        _ spec: BiasSpec, _ frame: Frame, _ scores: [Double], _ labels: Labels, _ log: (String) -> Void
    ) throws(Problem) -> [BiasFinding] {
        guard !spec.by.isEmpty else { return [] }
        guard labels.areBinary else {
            throw Problem(
                "evaluate.bias", status: 422, "bias by group needs a target of 0 and 1",
                hint: "Leave `bias` out for a target that is a number.", location: "evaluate.bias")
        }
        var findings: [BiasFinding] = []
        for column in spec.by {
            let finding = try BiasFinding(column, of: frame, scores: scores, labels: labels.flags, spec: spec)
            let figures = finding.figures.map { "\($0.key) \(short($0.value))" }.joined(separator: "  ")
            log("bias by \(column): \(figures.isEmpty ? "too few rows in each group to tell" : figures)")
            if !finding.leftOut.isEmpty {
                let names = finding.leftOut.prefix(10).map { "\($0.name) (\($0.n))" }.joined(separator: ", ")
                log("  left out, below \(spec.min_cell) rows: \(names)")
            }
            findings.append(finding)
        }
        return findings
    }

    /// What requirements can read.
    private static func figures(_ metrics: Ordered<Double>, _ champion: Champion?, _ bias: [BiasFinding])
        -> [String: Value]
    {
        var figures: [String: Value] = metrics.reduce(into: [:]) { $0[$1.key] = .number($1.value) }
        if let champion { figures["champion"] = .object(champion.metrics.map { .number($0) }) }
        figures["bias"] = .object(Ordered(bias.map { ($0.column, .object($0.figures.map { .number($0) })) }))
        return figures
    }

    // MARK: Verdict

    private func finish(
        _ order: WorkOrder, _ frame: Frame, _ metrics: Ordered<Double>, _ champion: Champion?, _ bias: [BiasFinding],
        _ gates: [Gate]
    ) throws -> WorkResult {
        let failed = gates.filter { !$0.passed }
        var report: Ordered<JSONValue> = [
            "rows": .count(frame.rowCount), "data_digest": .string("sha256:" + frame.digest),
            "metrics": metrics.json, "gates": .array(gates.map(\.json)), "passed": .bool(failed.isEmpty),
            "bias": .object(Ordered(bias.map { ($0.column, $0.json) })),
        ]
        if let champion {
            report["champion"] = [
                "version": champion.version, "metrics": champion.metrics.json,
                "registered_metrics": champion.registered,
            ]
        }
        try TrainingFiles.write(.object(report), to: "\(order.outputs)/\(Self.report)")
        var result = WorkResult()
        result.artifacts = ["report": Self.report]
        result.outputs = ["passed": .bool(failed.isEmpty), "rows": .count(frame.rowCount)]
        result.metrics = metrics
        result.report = .object(report)
        if !failed.isEmpty { result.failure = Self.failure(failed, of: gates.count) }
        return result
    }

    /// The gates' no, with the numbers of each failed requirement.
    static func failure(_ failed: [Gate], of count: Int) -> Problem {
        let numbers = failed.prefix(5).map { "\($0.require) (\($0.message))" }.joined(separator: "; ")
        let more = failed.count > 5 ? "; and \(failed.count - 5) more" : ""
        return Problem(
            "gate.model", status: 422,
            "\(failed.count) of \(counted(count, "requirement")) failed: \(numbers)\(more)",
            hint: "The model is not good enough to go on; its report has all figures.")
    }
}
