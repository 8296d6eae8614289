import Testing

@testable import Stats

private struct NumericalCases: Decodable {
    struct Case: Decodable {
        struct Scipy: Decodable {
            struct Test: Decodable {
                var statistic: Double
                var p: Double
            }
            var ks2Samp: Test
            var wassersteinDistance: Double
        }
        struct Evidently: Decodable {
            struct Value: Decodable { var value: Double }
            /// Evidently counts by value where there are few; the file then says so in words.
            struct Bins: Decodable {
                var edges: [Double]?

                enum CodingKeys: CodingKey { case edges }

                init(from decoder: any Decoder) throws {
                    let container = try decoder.container(keyedBy: CodingKeys.self)
                    edges = try? container.decode([Double].self, forKey: .edges)  // words stand for no edges
                }
            }
            var bins: Bins?
            var psi: Value
            var wasserstein: Value
            var jensenshannon: Value
        }
        var scipy: Scipy
        var evidently: Evidently
    }
    var cases: [String: Case]
}

private struct CategoricalCases: Decodable {
    struct Case: Decodable {
        struct Scipy: Decodable {
            struct Contingency: Decodable {
                var statistic: Double
                var p: Double
                var dof: Int
            }
            var chi2ContingencyNocorr: Contingency
            var tvd: Double
            var jsDistanceE: Double
        }
        struct Evidently: Decodable {
            struct Value: Decodable { var value: Double }
            var chisquare: Value
            var psi: Value
            var jensenshannon: Value
            var z: Value?
        }
        var keys: [String]
        var refCounts: [Int]
        var curCounts: [Int]
        var scipy: Scipy
        var evidently: Evidently
    }
    var cases: [String: Case]
}

/// Figures of scipy 1.17, Evidently 0.7.23, fairlearn 0.15 and scikit-learn 1.9 on the workshop's samples.
@Suite(.enabled(if: Golden.isPresent, "the workshop's reference data is not here"))
struct GoldenTests {
    @Test(arguments: [
        "norm_same_500", "norm_shift_500", "norm_scale_1000", "exp_2000", "lognorm_3000_1000", "uniform_300_ties",
        "fewvals_400", "binary_800", "empty_bins_1500",
    ])
    func `drift of numbers is what scipy and Evidently say`(name: String) throws {
        let cases = try Golden.json("drift_numerical.json", as: NumericalCases.self).cases
        let golden = try #require(cases[name])
        let sample = try Golden.numbers("num_\(name)")
        let reference = try #require(sample["ref"])
        let current = try #require(sample["cur"])

        let distance = try Drift.wasserstein(reference: reference, current: current)
        #expect(isClose(distance, golden.scipy.wassersteinDistance))
        let normalised = try Drift.wassersteinNormalised(reference: reference, current: current)
        #expect(isClose(normalised, golden.evidently.wasserstein.value))
        let ks = try Drift.ks(reference: reference, current: current)
        #expect(isClose(ks.statistic, golden.scipy.ks2Samp.statistic))
        #expect(isClose(ks.pValue, golden.scipy.ks2Samp.p, relative: 1e-7))

        let distinct = Set(reference)
        let counts: (reference: [Int], current: [Int])
        if distinct.count > 20 {
            let edges = try Drift.sturgesEdges(reference: reference, current: current)
            if let expected = golden.evidently.bins?.edges {
                #expect(edges.count == expected.count)
                #expect(zip(edges, expected).allSatisfy { isClose($0, $1) })
            }
            let js = try Drift.jensenShannonNumeric(
                reference: reference, current: current, edges: edges, base: 2.718281828459045)
            #expect(isClose(js, golden.evidently.jensenshannon.value))
            counts = (try Drift.histogram(reference, edges: edges), try Drift.histogram(current, edges: edges))
        } else {
            let keys = distinct.union(current).sorted()
            counts = (
                keys.map { key in reference.count { $0 == key } }, keys.map { key in current.count { $0 == key } }
            )
        }
        let psi = try Drift.psi(reference: counts.reference, current: counts.current)
        #expect(isClose(psi.value, golden.evidently.psi.value))
        let js = try Drift.jensenShannon(
            reference: counts.reference, current: counts.current, base: 2.718281828459045)
        #expect(isClose(js, golden.evidently.jensenshannon.value))
    }

    @Test(arguments: ["cat3_500", "cat8_2000", "newcat_600", "binary_900", "binary_same_300"])
    func `drift of categories is what scipy and Evidently say`(name: String) throws {
        let cases = try Golden.json("drift_categorical.json", as: CategoricalCases.self).cases
        let golden = try #require(cases[name])
        let (reference, current) = (golden.refCounts, golden.curCounts)
        let e = 2.718281828459045

        let js = try Drift.jensenShannon(reference: reference, current: current, base: e)
        #expect(isClose(js, golden.scipy.jsDistanceE))
        #expect(isClose(js, golden.evidently.jensenshannon.value))
        let base2 = try Drift.jensenShannon(reference: reference, current: current)
        #expect(isClose(base2, js / 0.6931471805599453.squareRoot()))
        #expect(isClose(try Drift.psi(reference: reference, current: current).value, golden.evidently.psi.value))
        #expect(isClose(try Drift.totalVariation(reference: reference, current: current), golden.scipy.tvd))
        let test = try Drift.chiSquare(reference: reference, current: current)
        #expect(isClose(test.statistic, golden.scipy.chi2ContingencyNocorr.statistic))
        #expect(test.degreesOfFreedom == golden.scipy.chi2ContingencyNocorr.dof)
        #expect(isClose(test.pValue, golden.scipy.chi2ContingencyNocorr.p))
        let exact = try Drift.chiSquareAgainstExact(reference: reference, current: current)
        #expect(isClose(exact, golden.evidently.chisquare.value, absolute: 0))
        if let z = golden.evidently.z {
            let test = try Drift.twoProportionZ(
                referenceSuccesses: reference[0], referenceCount: reference.reduce(0, +),
                currentSuccesses: current[0], currentCount: current.reduce(0, +))
            #expect(isClose(test.pValue, z.value))
        }
    }

    @Test func `metrics of a classifier and a regression are what scikit-learn says`() throws {
        struct Metrics: Decodable {
            struct Binary: Decodable {
                var accuracy, balancedAccuracy, precision, recall, f1, rocAuc, logLoss, brier: Double
                var confusion: [[Int]]
            }
            struct Regression: Decodable { var mae, rmse, r2: Double }
            var binary: Binary
            var regression: Regression
        }
        let golden = try Golden.json("metrics.json", as: Metrics.self)
        let sample = try Golden.numbers("binary_scores")
        let labels = try #require(sample["y"]).map { $0 == 1 }
        let scores = try #require(sample["score"])
        let selected = try #require(sample["pred"]).map { $0 == 1 }
        #expect(isClose(try Classification.auc(scores: scores, labels: labels), golden.binary.rocAuc))
        #expect(isClose(try Classification.logLoss(scores: scores, labels: labels), golden.binary.logLoss))
        #expect(isClose(try Classification.brier(scores: scores, labels: labels), golden.binary.brier))
        let counts = try Classification.confusion(scores: scores, labels: labels)
        #expect(try counts == Classification.confusion(selected: selected, labels: labels))
        #expect(
            [[counts.trueNegatives, counts.falsePositives], [counts.falseNegatives, counts.truePositives]]
                == golden.binary.confusion)
        #expect(isClose(counts.balancedAccuracy, golden.binary.balancedAccuracy))
        #expect(isClose(try Classification.accuracy(scores: scores, labels: labels), golden.binary.accuracy))
        #expect(isClose(try Classification.precision(scores: scores, labels: labels), golden.binary.precision))
        #expect(isClose(try Classification.recall(scores: scores, labels: labels), golden.binary.recall))
        #expect(isClose(try Classification.f1(scores: scores, labels: labels), golden.binary.f1))

        let regression = try Golden.numbers("regression")
        let targets = try #require(regression["y"])
        let predictions = try #require(regression["pred"])
        #expect(isClose(try Regression.rmse(predictions: predictions, targets: targets), golden.regression.rmse))
        #expect(isClose(try Regression.mae(predictions: predictions, targets: targets), golden.regression.mae))
        #expect(isClose(try Regression.r2(predictions: predictions, targets: targets), golden.regression.r2))
    }

    @Test func `fairness by group is what fairlearn says`() throws {
        struct Fairness: Decodable {
            struct Groups: Decodable { var selectionRate, tpr, fpr, accuracy, count: [String: Double] }
            struct Gaps: Decodable { var selectionRate, tpr, fpr: Double }
            var byGroup: Groups
            var difference: Gaps
            var demographicParityRatio: Double
            var equalizedOddsDifferenceMean: Double
        }
        let golden = try Golden.json("fairness.json", as: Fairness.self)
        let sample = try Golden.sample("binary_scores")
        let names = try #require(sample["group"])
        let labels = try #require(sample["y"]).map { $0 == "1" }
        let selected = try #require(sample["pred"]).map { $0 == "1" }
        let scores = try #require(sample["score"]).compactMap(Double.init)
        let fairness = try GroupFairness(groups: names, labels: labels, selected: selected, scores: scores)
        #expect(fairness.groups.map(\.name) == ["A", "B", "C"])
        for group in fairness.groups {
            #expect(golden.byGroup.count[group.name] == Double(group.n))
            #expect(isClose(try #require(golden.byGroup.selectionRate[group.name]), group.selectionRate))
            #expect(isClose(try #require(golden.byGroup.accuracy[group.name]), group.accuracy))
            #expect(isClose(try #require(golden.byGroup.tpr[group.name]), try #require(group.tpr)))
            #expect(isClose(try #require(golden.byGroup.fpr[group.name]), try #require(group.fpr)))
            #expect(try #require(group.auc) > 0.8)
        }
        #expect(isClose(try #require(fairness.tprGap), golden.difference.tpr))
        #expect(isClose(try #require(fairness.fprGap), golden.difference.fpr))
        #expect(isClose(try #require(fairness.selectionGap), golden.difference.selectionRate))
        #expect(isClose(try #require(fairness.selectionRatio), golden.demographicParityRatio))
        #expect(isClose(try #require(fairness.averageOddsGap), golden.equalizedOddsDifferenceMean))

        let without = try GroupFairness(groups: names, labels: labels, selected: selected, minCell: 150)
        #expect(without.groups.map(\.name) == ["A", "B"])
        #expect(without.omitted == [GroupFairness.SmallGroup(name: "C", n: 128)])
        #expect(without.groups.allSatisfy { $0.auc == nil })
    }
}
