/// How differently a model treats groups of people, with the groups that are too small to say left out and listed.
package struct GroupFairness: Sendable, Codable, Equatable {
    /// The figures of one group.
    package struct Group: Sendable, Codable, Equatable {
        package var name: String
        package var n: Int
        /// Rows whose label is true.
        package var positives: Int
        /// Share of rows that are chosen.
        package var selectionRate: Double
        /// Share of true ones that are chosen; nil when the group has none.
        package var tpr: Double?
        /// Share of false ones that are chosen; nil when the group has none.
        package var fpr: Double?
        package var accuracy: Double
        /// Nil without scores or with one class only.
        package var auc: Double?

        enum CodingKeys: String, CodingKey {
            case name, n, positives, tpr, fpr, accuracy, auc
            case selectionRate = "selection_rate"
        }
    }

    /// A group that was left out.
    package struct SmallGroup: Sendable, Codable, Equatable {
        package var name: String
        package var n: Int
    }

    /// The groups with enough rows, by name.
    package var groups: [Group]
    /// The groups with fewer than `minCell` rows, by name.
    package var omitted: [SmallGroup]
    package var minCell: Int

    enum CodingKeys: String, CodingKey {
        case groups, omitted
        case minCell = "min_cell"
    }

    /// Counts decisions by group.
    ///
    /// - Parameters:
    ///   - groups: The group of each row.
    ///   - labels: What came true.
    ///   - selected: What was decided.
    ///   - scores: What the decisions rest on, for AUC by group; may be left out.
    ///   - minCell: Groups with fewer rows say nothing and are left out.
    /// - Throws: `length_mismatch`; `too_few_values` when no group is large enough.
    package init(groups: [String], labels: [Bool], selected: [Bool], scores: [Double]? = nil, minCell: Int = 50)
        throws(StatsError)
    {
        try StatsError.requireSameCount(groups.count, labels.count, "groups and labels")
        try StatsError.requireSameCount(groups.count, selected.count, "groups and decisions")
        if let scores { try StatsError.requireSameCount(groups.count, scores.count, "groups and scores") }
        var rows: [String: [Int]] = [:]
        for (row, group) in groups.enumerated() { rows[group, default: []].append(row) }
        self.minCell = minCell
        self.groups = []
        omitted = []
        for (name, rows) in rows.sorted(by: { $0.key < $1.key }) {
            if rows.count < minCell {
                omitted.append(SmallGroup(name: name, n: rows.count))
            } else {
                self.groups.append(try Self.group(name, rows, labels, selected, scores))
            }
        }
        if self.groups.isEmpty { throw StatsError(.tooFewValues, "no group has \(minCell) rows") }
    }

    /// Difference between the largest and the smallest true positive rate (equal opportunity); nil below two groups.
    package var tprGap: Double? { Self.gap(groups.compactMap(\.tpr)) }
    /// Difference between the largest and the smallest false positive rate; nil below two groups with one.
    package var fprGap: Double? { Self.gap(groups.compactMap(\.fpr)) }
    /// Difference between the largest and the smallest selection rate (demographic parity); nil below two groups.
    package var selectionGap: Double? { Self.gap(groups.map(\.selectionRate)) }
    /// Difference between the largest and the smallest AUC; nil below two groups with one.
    package var aucGap: Double? { Self.gap(groups.compactMap(\.auc)) }

    /// Smallest selection rate over the largest (the four-fifths rule asks for 0.8).
    ///
    /// Nil below two groups or when nobody is chosen.
    package var selectionRatio: Double? {
        let rates = groups.map(\.selectionRate)
        guard rates.count > 1, let low = rates.min(), let high = rates.max(), high > 0 else { return nil }
        return low / high
    }

    /// Mean of the gaps of true and false positive rate (fairlearn's equalised odds difference with `agg="mean"`).
    package var averageOddsGap: Double? {
        guard let tprGap, let fprGap else { return nil }
        return (tprGap + fprGap) / 2
    }

    /// The gaps that have a value, by the names that gates use.
    package var metrics: [String: Double] {
        let named: [(String, Double?)] = [
            ("tpr_gap", tprGap), ("fpr_gap", fprGap), ("selection_gap", selectionGap),
            ("selection_ratio", selectionRatio), ("average_odds_gap", averageOddsGap), ("auc_gap", aucGap),
        ]
        return named.reduce(into: [:]) { $0[$1.0] = $1.1 }
    }

    private static func gap(_ values: [Double]) -> Double? {
        guard values.count > 1, let low = values.min(), let high = values.max() else { return nil }
        return high - low
    }

    private static func group(_ name: String, _ rows: [Int], _ labels: [Bool], _ selected: [Bool], _ scores: [Double]?)
        throws(StatsError) -> Group
    {
        let labels = rows.map { labels[$0] }
        let counts = try Classification.confusion(selected: rows.map { selected[$0] }, labels: labels)
        let positives = counts.truePositives + counts.falseNegatives
        let negatives = rows.count - positives
        var auc: Double?
        if let scores, positives > 0, negatives > 0 {
            auc = try Classification.auc(scores: rows.map { scores[$0] }, labels: labels)
        }
        return Group(
            name: name, n: rows.count, positives: positives, selectionRate: counts.selectionRate,
            tpr: positives > 0 ? counts.recall : nil, fpr: negatives > 0 ? counts.falsePositiveRate : nil,
            accuracy: counts.accuracy, auc: auc)
    }
}
