import API
import Manifests

/// What a run left behind.
struct ArtifactsView: Sendable {
    struct Row: Sendable {
        let name: String
        let type: String
        let from: String
        let digest: String
        let short: String
        let size: String
        let href: String?
    }
    let table: Rows<Row>?
    let empty: EmptyState?

    init(_ artifacts: [Artifact], run: Run) {
        table = Rows(
            artifacts.map { artifact in
                Row(
                    name: artifact.name, type: artifact.form == .tree ? "folder" : artifact.file_name,
                    from: RunWords.job(artifact.stage, artifact.job),
                    digest: artifact.digest, short: Format.short(artifact.digest, 12),
                    size: Format.bytes(Int(artifact.size_bytes)),
                    href: artifact.form == .file ? "/api/v1/blobs/\(Links.encoded(artifact.digest))" : nil)
            })
        empty =
            !artifacts.isEmpty
            ? nil
            : EmptyState(
                icon: "artifact", title: run.status.hasEnded ? "This run left nothing behind" : "Nothing yet",
                text: "Name files to keep in a job, and fetch them with:",
                commands: [
                    "vagus explain Pipeline.stages.jobs.artifacts", "vagus artifacts \(run.pipeline):\(run.number)",
                ])
    }
}

/// What JUnit reports said, job by job.
struct TestsView: Sendable {
    struct Failure: Sendable {
        let name: String
        let message: String
    }
    struct Suite: Sendable {
        let name: String
        let status: Badge
        let note: String
        let split: Markup
        let failures: [Failure]
    }
    let suites: [Suite]
    let empty: EmptyState?

    init(_ run: Run) {
        suites = Self.summaries(run).map { Self.suite($0.job, $0.summary) }
        empty =
            !suites.isEmpty
            ? nil
            : EmptyState(
                icon: "ok", title: "No test report",
                text: "A job that names its JUnit file under reports has its tests listed here.",
                commands: ["vagus explain Pipeline.stages.jobs.reports"])
    }

    /// The test summaries of a run's jobs, as the jobs tell them.
    static func summaries(_ run: Run) -> [(job: Job, summary: TestSummary)] {
        run.jobs.compactMap { job in
            let told = job.json["tests"] ?? job.outputs["tests"]
            // A job without a report has no summary; one that does not read as a summary is left out likewise.
            let summary = told.flatMap { try? TestSummary(json: $0, at: []) }  // unreadable: as if not told
            return summary.map { (job, $0) }
        }
    }

    private static func suite(_ job: Job, _ summary: TestSummary) -> Suite {
        let bad = summary.failures + summary.errors
        let passed = max(0, summary.tests - bad - summary.skipped)
        let total = Double(max(1, summary.tests))
        var svg = SVG()
        svg.open(
            "svg", ["class": "bar", "viewBox": "0 0 400 10", "preserveAspectRatio": "none", "aria-hidden": "true"])
        var x = 0.0
        for (count, look) in [(passed, "fok"), (bad, "fbad"), (summary.skipped, "fmute")] where count > 0 {
            let width = Double(count) / total * 400
            svg.add(
                "rect", ["class": "\(look)", "x": .number(x), "y": 0, "width": .number(max(2, width)), "height": 10])
            x += width
        }
        svg.close("svg")
        return Suite(
            name: RunWords.job(job),
            status: bad > 0
                ? Badge(.bad, "failed", "\(Format.plural(bad, "test")) failed") : Badge(.ok, "ok", "All passed"),
            note:
                "\(Format.plural(summary.tests, "test")), \(passed) passed, \(summary.skipped) skipped",
            split: Markup(svg.text),
            failures: summary.failed_names.map { Failure(name: $0, message: "Its output is in the log of \(job.key).") }
        )
    }
}

/// What the expectations on the data found.
struct QualityView: Sendable {
    struct Row: Sendable {
        let status: Badge
        let expectation: String
        let detail: String
        let severity: String
        let unexpected: String
        let asked: String
    }
    struct Table: Sendable {
        let title: String
        let status: Badge
        let note: String
        let rows: [Row]
    }
    struct Aside: Sendable {
        let note: String
        let rows: [StepFindings.PutAside]
    }
    let tables: [Table]
    let quarantine: Aside?
    let empty: EmptyState?

    init(_ run: Run) {
        var tables: [Table] = []
        var aside: [StepFindings.PutAside] = []
        var count = 0
        for job in run.jobs {
            for step in job.steps {
                guard let report = step.report else { continue }
                let found = StepFindings.expectations(report)
                if !found.isEmpty { tables.append(Self.table(found, title: "\(job.stage): \(step.name)")) }
                aside += StepFindings.aside(report)
                count += StepFindings.asideCount(report) ?? 0
            }
        }
        self.tables = tables
        let all = max(count, aside.count)
        quarantine =
            aside.isEmpty
            ? nil
            : Aside(
                note: aside.count < all
                    ? "the first \(Format.count(aside.count)) of \(Format.count(all))" : Format.plural(all, "finding"),
                rows: Array(aside.prefix(StepFindings.asideLimit)))
        empty =
            !tables.isEmpty || quarantine != nil
            ? nil
            : EmptyState(
                icon: "datasets", title: "No data was checked",
                text: "A stage of type data_validation holds rows against the expectations of a dataset.",
                commands: ["vagus explain Dataset.expectations"])
    }

    private static func table(_ found: [StepFindings.Expectation], title: String) -> Table {
        let failed = found.count { !$0.success }
        let stops = found.contains { !$0.success && $0.severity == "fail" }
        return Table(
            title: title,
            status: failed == 0
                ? Badge(.ok, "ok", "All met")
                : Badge(stops ? .bad : .warn, stops ? "failed" : "warn", "\(failed) not met"),
            note: Format.plural(found.count, "expectation"), rows: found.map(row))
    }

    private static func row(_ one: StepFindings.Expectation) -> Row {
        let status: Badge =
            one.success
            ? Badge(.ok, "ok", "Met")
            : one.severity == "fail" ? Badge(.bad, "failed", "Not met") : Badge(.warn, "warn", "Not met")
        let plain = one.name.hasPrefix("expect_") ? String(one.name.dropFirst("expect_".count)) : one.name
        let share = one.unexpected.flatMap { count in
            one.elements.map { $0 > 0 ? " of \(Format.count($0)) (\(Format.percent(Double(count) / Double($0))))" : "" }
        }
        return Row(
            status: status, expectation: plain.replacing("_", with: " "),
            detail: [one.column, one.message].compactMap { $0 }.filter { !$0.isEmpty }.joined(separator: " · "),
            severity: one.severity, unexpected: one.unexpected.map { Format.count($0) + (share ?? "") } ?? "–",
            asked: one.mostly.map { $0 >= 1 ? "all" : "\(Format.percent($0))" } ?? "–")
    }
}

/// What a run measured, beside the champion, with the gates it had to pass.
struct MetricsView: Sendable {
    struct Row: Sendable {
        let name: String
        let from: String
        let value: String
        let champion: String
        let gate: Badge?
        let rule: String?
    }
    let gate: Notice?
    let table: Rows<Row>?
    let curves: [ChartCard]
    let empty: EmptyState?

    init(_ run: Run) {
        var rows: [Row] = []
        var gates: [StepFindings.Gate] = []
        var curves: [ChartCard] = []
        for job in run.jobs {
            for step in job.steps {
                let report = step.report ?? [:]
                let own = StepFindings.gates(report)
                let champion = StepFindings.championMetrics(report)
                gates += own
                rows += step.metrics.map { Self.row($0, $1, from: job.stage, champion: champion, gates: own) }
                rows += Self.others(own, metrics: step.metrics.keys, from: job.stage)
                let lines = StepFindings.rounds(report)
                if !lines.isEmpty {
                    let chart = LineChart("Progress of \(job.stage) by round", axis: .step, series: lines)
                    curves.append(ChartCard(title: chart.title, note: "", figure: chart.figure(.full)))
                }
            }
        }
        gate = Self.verdict(gates)
        table = Rows(rows)
        self.curves = curves
        empty =
            !rows.isEmpty || !curves.isEmpty
            ? nil
            : EmptyState(
                icon: "monitors", title: "Nothing was measured",
                text: "Steps that train and evaluate models leave their metrics here, beside those of the champion.",
                commands: ["vagus explain Pipeline.stages.evaluate"])
    }

    private static func row(
        _ name: String, _ value: Double, from: String, champion: Ordered<JSONValue>, gates: [StepFindings.Gate]
    ) -> Row {
        let gate = gates.first { words($0.rule).first == name }
        return Row(
            name: Metric.title(name), from: from, value: Format.number(value),
            champion: champion[name]?.double.map(Format.number) ?? "–",
            gate: gate.map { $0.passed ? Badge(.ok, "ok", "Passed") : Badge(.bad, "failed", "Failed") },
            rule: gate?.rule)
    }

    /// Gates that speak of something else than the first metric of this step: differences, fairness.
    private static func others(_ gates: [StepFindings.Gate], metrics: [String], from: String) -> [Row] {
        var told: Set<String> = []
        return gates.compactMap { gate in
            if let first = words(gate.rule).first, metrics.contains(first), told.insert(first).inserted { return nil }
            return Row(
                name: "Gate", from: from, value: gate.message ?? "–", champion: "–",
                gate: gate.passed ? Badge(.ok, "ok", "Passed") : Badge(.bad, "failed", "Failed"), rule: gate.rule)
        }
    }

    private static func words(_ rule: String) -> [String] {
        rule.split { !($0.isLetter || $0.isNumber || $0 == "_" || $0 == ".") }.map(String.init)
    }

    private static func verdict(_ gates: [StepFindings.Gate]) -> Notice? {
        guard !gates.isEmpty else { return nil }
        let failed = gates.filter { !$0.passed }
        if failed.isEmpty {
            return Notice(
                tone: .ok, icon: "shield", title: "The gate is open",
                text: "\(Format.plural(gates.count, "requirement")) held.")
        }
        let words = failed.map { [$0.rule, $0.message].compactMap { $0 }.joined(separator: ": ") }
        return Notice(
            tone: .bad, icon: "failed", title: "The gate stopped this run", text: words.joined(separator: "; "))
    }
}
