import Testing

@testable import Stats

struct JudgementTests {
    @Test func `ties count half in the area under the curve`() throws {
        let scores = [0.1, 0.4, 0.4, 0.8]
        #expect(try Classification.auc(scores: scores, labels: [false, false, true, true]) == 0.875)
        #expect(try Classification.auc(scores: [1, 1, 1], labels: [true, false, true]) == 0.5)
        #expect(try Classification.auc(scores: [0, 1], labels: [true, false]) == 0)
    }

    @Test func `one class alone has no area under the curve`() {
        #expect { try Classification.auc(scores: [0.1, 0.9], labels: [true, true]) } throws: { error in
            (error as? StatsError)?.code == .oneClassOnly
        }
    }

    @Test func `calibration error weighs each bin by its rows`() throws {
        // Bin 0.2: two rows of mean 0.25, half true: gap 0.25. Bin 0.9: two rows of mean 0.95, all true: gap 0.05.
        let error = try Classification.expectedCalibrationError(
            scores: [0.2, 0.3, 0.9, 1.0], labels: [false, true, true, true], bins: 2)
        #expect(isClose(error, (2 * 0.25 + 2 * 0.05) / 4))
        let fine = try Classification.expectedCalibrationError(scores: [0.0, 1.0], labels: [false, true])
        #expect(fine == 0)
    }

    @Test func `certainty that turns out wrong costs much but not infinity`() throws {
        let loss = try Classification.logLoss(scores: [0, 1], labels: [true, false])
        #expect(loss > 30 && loss.isFinite)
        #expect(throws: StatsError.self) { try Classification.logLoss(scores: [1.1], labels: [true]) }
        #expect(throws: StatsError.self) { try Classification.brier(scores: [0.1, 0.2], labels: [true]) }
    }

    @Test func `targets that never change are explained fully or not at all`() throws {
        #expect(try Regression.r2(predictions: [2, 2], targets: [2, 2]) == 1)
        #expect(try Regression.r2(predictions: [2, 3], targets: [2, 2]) == 0)
        #expect(throws: StatsError.self) { try Regression.r2(predictions: [2], targets: [2]) }
    }

    @Test func `gaps without two groups to compare have no value`() throws {
        let one = try GroupFairness(
            groups: ["a", "a", "b"], labels: [true, false, true], selected: [true, false, true], minCell: 2)
        #expect(one.groups.map(\.name) == ["a"])
        #expect(one.omitted.map(\.name) == ["b"])
        #expect(one.tprGap == nil && one.selectionRatio == nil && one.metrics.isEmpty)
        let none = try GroupFairness(
            groups: ["a", "b"], labels: [true, true], selected: [false, false], minCell: 1)
        #expect(none.selectionRatio == nil)
        #expect(none.fprGap == nil)
        #expect(none.metrics == ["tpr_gap": 0, "selection_gap": 0])
        #expect(throws: StatsError.self) {
            try GroupFairness(groups: ["a"], labels: [true], selected: [true])
        }
    }
}
