import API
import Manifests
import Stats

/// What the predictions of a window say, given the reference: a pure function.
struct WindowDecision {
    let spec: MonitorSpec
    let reference: MonitorReference
    let table: WindowTable

    /// Columns that are read out of the predictions, and how.
    static func wanted(_ spec: MonitorSpec, _ reference: MonitorReference) -> [WindowTable.Wanted] {
        var wanted: [WindowTable.Wanted] = []
        for feature in reference.features {
            var isNumber = false
            if case .numbers = feature.values { isNumber = true }
            let isGroup = spec.checks.bias.by.contains(feature.name)
            wanted.append(.init(name: feature.name, asNumber: isNumber, asLevel: !isNumber || isGroup))
        }
        for name in spec.checks.bias.by where !wanted.contains(where: { $0.name == name }) {
            wanted.append(.init(name: name, asNumber: false, asLevel: true))
        }
        return wanted
    }

    func report(of window: Window) -> WindowReport {
        var report = WindowReport()
        (report.window, report.from, report.to) = (window.name, window.from, window.to)
        report.rows = table.scores.count
        report.labelled = table.labels.reduce(0) { $0 + ($1.isNaN ? 0 : 1) }
        guard report.rows > 0 else { return report }
        report.coverage = Double(report.labelled) / Double(report.rows)
        report.mean_score = table.scores.reduce(0, +) / Double(report.rows)
        guard report.rows >= spec.window.min_rows else { return report }
        report.features = features()
        report.prediction = prediction()
        let isMature = report.labelled > 0 && report.coverage >= spec.labels.coverage
        if isMature {
            let rows = table.labels.indices.filter { !table.labels[$0].isNaN }
            report.performance = Performance.metrics(
                scores: rows.map { table.scores[$0] }, labels: rows.map { table.labels[$0] },
                threshold: spec.checks.bias.threshold)
        }
        let fairness = Fairness(bias: spec.checks.bias, table: table, isMature: isMature).columns()
        report.bias = fairness.map(\.json)
        report.breaches = performanceBreaches(report.performance) + fairness.flatMap { $0.value.breaches }
        let isDrifted = report.features.contains(where: \.drifted) || report.prediction?.drifted == true
        report.state = !report.breaches.isEmpty ? .breach : isDrifted ? .drift : .ok
        return report
    }

    // MARK: - Drift

    /// Largest first.
    private func features() -> [FeatureDrift] {
        reference.features.compactMap { feature in
            table.columns[feature.name].flatMap { drift(of: feature, now: $0) }
        }.sorted { ($1.effect, $0.feature) < ($0.effect, $1.feature) }
    }

    /// Nil when either side has no values to compare.
    private func drift(of feature: MonitorReference.Feature, now column: WindowTable.Column) -> FeatureDrift? {
        var drift = FeatureDrift()
        drift.feature = feature.name
        drift.missing_reference = feature.missing
        let rows = Double(max(1, table.scores.count))
        switch feature.values {
        case .numbers(let before):
            let after = FastSort.ascending(column.numbers.filter(\.isFinite))
            drift.missing_current = 1 - Double(after.count) / rows
            drift.method = "wasserstein_norm"
            let effect = Performance.defined { () throws(StatsError) in
                try Drift.wassersteinNormalised(reference: before, current: after)
            }
            guard let effect else { return nil }
            drift.effect = effect
        case .levels(let before):
            let after = Self.counts(column, like: before)
            drift.missing_current = 1 - Double(after.values.reduce(0, +)) / rows
            drift.method = "js"
            let levels = Set(before.keys).union(after.keys).sorted()
            let effect = Performance.defined { () throws(StatsError) in
                try Drift.jensenShannon(
                    reference: levels.map { before[$0] ?? 0 }, current: levels.map { after[$0] ?? 0 })
            }
            guard let effect else { return nil }
            drift.effect = effect
        }
        drift.drifted = drift.effect >= spec.checks.drift.threshold
        return drift
    }

    /// Rows by level; 0 and 1 mean false and true where the reference has truth values.
    private static func counts(_ column: WindowTable.Column, like before: [String: Int]) -> [String: Int] {
        var byCode = [Int](repeating: 0, count: column.levels.count)
        for code in column.codes where code >= 0 { byCode[Int(code)] += 1 }
        let isTruth = !before.isEmpty && before.keys.allSatisfy { $0 == "true" || $0 == "false" }
        var counts: [String: Int] = [:]
        for (level, count) in zip(column.levels, byCode) {
            let name = isTruth ? (level == "1" ? "true" : level == "0" ? "false" : level) : level
            counts[name, default: 0] += count
        }
        return counts
    }

    private func prediction() -> FeatureDrift? {
        let scores = FastSort.ascending(table.scores)
        let effect = Performance.defined { () throws(StatsError) in
            try Drift.wassersteinNormalised(reference: reference.scores, current: scores)
        }
        guard let effect else { return nil }
        var drift = FeatureDrift()
        (drift.feature, drift.method, drift.effect) = ("score", "wasserstein_norm", effect)
        drift.drifted = effect >= spec.checks.prediction.threshold
        return drift
    }

    // MARK: - Bounds

    private func performanceBreaches(_ metrics: Ordered<Double>) -> [String] {
        spec.checks.performance.metrics.flatMap { name, bounds -> [String] in
            guard let value = metrics[name] else { return [] }
            var breaches: [String] = []
            if let min = bounds.min, value < min { breaches.append("\(name) \(Self.short(value)) is below \(min)") }
            if let max = bounds.max, value > max { breaches.append("\(name) \(Self.short(value)) is above \(max)") }
            return breaches
        }
    }

    /// Four decimals: what a person reads.
    static func short(_ value: Double) -> String { "\((value * 10_000).rounded() / 10_000)" }
}

/// Whether groups are treated alike, column by column.
struct Fairness {
    /// Groups that are told for one column.
    static let groupLimit = 50

    struct Found: Sendable {
        var json: JSONValue
        var breaches: [String]
    }

    let bias: MonitorBiasSpec
    let table: WindowTable
    /// Without enough labels only selection rates are told, over all rows.
    let isMature: Bool

    func columns() -> Ordered<Found> {
        var found = Ordered<Found>()
        for name in bias.by {
            if let column = table.columns[name] { found[name] = look(name, column) }
        }
        return found
    }

    private func look(_ name: String, _ column: WindowTable.Column) -> Found? {
        let rows = column.codes.indices.filter { column.codes[$0] >= 0 && (!isMature || !table.labels[$0].isNaN) }
        let groups = rows.map { column.levels[Int(column.codes[$0])] }
        guard !rows.isEmpty else { return nil }
        let labels = isMature ? Performance.truths(rows.map { table.labels[$0] }) : nil
        let scores = rows.map { table.scores[$0] }
        let fairness = Performance.defined { () throws(StatsError) in
            try GroupFairness(
                groups: groups, labels: labels ?? Array(repeating: false, count: rows.count),
                selected: scores.map { $0 >= bias.threshold }, scores: labels == nil ? nil : scores,
                minCell: bias.min_cell)
        }
        var json = Ordered<JSONValue>()
        json["rows"] = .integer(Int64(rows.count))
        json["with_labels"] = .bool(labels != nil)
        guard let fairness else {
            json["groups"] = []
            json["left_out"] = leftOut(Dictionary(grouping: groups, by: { $0 }).map { ($0.key, $0.value.count) })
            return Found(json: .object(json), breaches: [])
        }
        let told = fairness.metrics.filter { labels != nil || $0.key.hasPrefix("selection_") }
        for (metric, value) in told.sorted(by: { $0.key < $1.key }) { json[metric] = .number(value) }
        json["groups"] = .array(
            fairness.groups.prefix(Self.groupLimit).map { group($0, hasLabels: labels != nil) })
        json["left_out"] = leftOut(fairness.omitted.map { ($0.name, $0.n) })
        return Found(json: .object(json), breaches: breaches(name, told))
    }

    private func group(_ group: GroupFairness.Group, hasLabels: Bool) -> JSONValue {
        var json = Ordered<JSONValue>()
        json["name"] = .string(group.name)
        json["n"] = .integer(Int64(group.n))
        json["selection_rate"] = .number(group.selectionRate)
        guard hasLabels else { return .object(json) }
        json["positives"] = .integer(Int64(group.positives))
        json["tpr"] = group.tpr.map(JSONValue.number)
        json["fpr"] = group.fpr.map(JSONValue.number)
        json["accuracy"] = .number(group.accuracy)
        json["auc"] = group.auc.map(JSONValue.number)
        return .object(json)
    }

    private func leftOut(_ groups: [(name: String, n: Int)]) -> JSONValue {
        .array(
            groups.sorted { ($1.n, $0.name) < ($0.n, $1.name) }.prefix(Self.groupLimit).map {
                ["name": .string($0.name), "n": .integer(Int64($0.n))]
            })
    }

    private func breaches(_ column: String, _ metrics: [String: Double]) -> [String] {
        var breaches: [String] = []
        if let limit = bias.max_tpr_gap, let gap = metrics["tpr_gap"], gap > limit {
            breaches.append("tpr_gap by \(column) \(WindowDecision.short(gap)) is above \(limit)")
        }
        if let limit = bias.min_selection_ratio, let ratio = metrics["selection_ratio"], ratio < limit {
            breaches.append("selection_ratio by \(column) \(WindowDecision.short(ratio)) is below \(limit)")
        }
        return breaches
    }
}
