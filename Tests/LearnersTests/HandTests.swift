import Foundation
import Testing
import Frames
@testable import Learners

@Suite(.serialized) struct HandTests {
    @Test func hand() throws {
        let library = try TestLibrary.found.get()
        let old = try XGBoostLibrary(path: "/tmp/xgbwork/deb/usr/lib/x86_64-linux-gnu/libxgboost.so.0")
        print("HAND old", old.version)
        let golden = try Golden.bytes("treeshap_model.ubj")
        do { _ = try XGBoostModel(loading: golden, library: old); print("HAND old took it!") } catch { print("HAND old:", error) }
        let train = Synthetic(rows: 2000, seed: 77)
        let oldModel = try XGBoostModel.train(train.data, labels: train.labels, featureNames: Synthetic.names, hyperparameters: ["objective": "binary:logistic"], rounds: 10, library: old).model
        let inNew = try XGBoostModel(loading: oldModel.save(.ubj), library: library)
        let (p, q) = (try oldModel.predict(train.data), try inNew.predict(train.data))
        print("HAND 1.7 vs 3.2 max diff", zip(p, q).map { abs($0 - $1) }.max() ?? -1)
        let names = (0..<30).map { "x=\($0) y" }
        var g = SeededGenerator(seed: 5)
        let big = Matrix(rows: 3000, columns: 30, values: (0..<90000).map { _ in Int.random(in: 0..<12, using: &g) == 0 ? .nan : Float.random(in: -3...3, using: &g) })
        let labels = (0..<3000).map { row in Float((big[row, 0].isNaN ? 0 : big[row, 0]) + (big[row, 1].isNaN ? 0 : big[row, 1]) > 0.3 ? 1 : 0) }
        var clock = ContinuousClock.now
        let model = try XGBoostModel.train(big, labels: labels, featureNames: names, hyperparameters: ["objective": "binary:logistic", "max_depth": "6"], rounds: 50, library: library).model
        print("HAND train", ContinuousClock.now - clock)
        try Data(model.save(.ubj)).write(to: URL(fileURLWithPath: "/tmp/xgbwork/hand.ubj"))
        try Data(big.values.withUnsafeBytes { Array($0) }).write(to: URL(fileURLWithPath: "/tmp/xgbwork/hand.x"))
        try Data(model.predict(big).withUnsafeBytes { Array($0) }).write(to: URL(fileURLWithPath: "/tmp/xgbwork/hand.p"))
        try Data(model.contributions(big).withUnsafeBytes { Array($0) }).write(to: URL(fileURLWithPath: "/tmp/xgbwork/hand.c"))
        let one = big.take([5])
        for lib in [library] { _ = lib
            _ = try model.predict(one)
            clock = ContinuousClock.now
            for _ in 0..<5000 { _ = try model.predict(one) }
            print("HAND one row", (ContinuousClock.now - clock) / 5000)
        }
        let om = try XGBoostModel.train(big, labels: labels, featureNames: names, hyperparameters: ["objective": "binary:logistic", "max_depth": "6"], rounds: 50, library: old).model
        _ = try om.predict(one)
        clock = ContinuousClock.now
        for _ in 0..<5000 { _ = try om.predict(one) }
        print("HAND one row 1.7", (ContinuousClock.now - clock) / 5000)
        // linear on many rows
        let n = 60_000
        let cats = (0..<8).map { k in ("c\(k)", Column.categories((0..<n).map { _ in "l\(Int.random(in: 0..<12, using: &g))" as String? })) }
        let nums = (0..<3).map { k in ("n\(k)", Column.floats((0..<n).map { _ in Double.random(in: 0...9, using: &g) as Double? })) }
        let f = try Frame((cats + nums).map { (ColumnSchema($0.0, $0.1.type), $0.1) })
        var s1 = TransformStep(); var oh = OneHotSpec(); oh.columns = cats.map(\.0); s1.oneHot = oh
        clock = ContinuousClock.now
        let t = try FittedTransforms.fit([s1], on: f)
        print("HAND fit", ContinuousClock.now - clock, t.featureNames.count)
        clock = ContinuousClock.now
        let m = try t.apply(f)
        print("HAND apply frame 60k", ContinuousClock.now - clock)
        let y = (0..<n).map { Float(m[$0, 0] + m[$0, 97] / 9 + Float.random(in: 0..<1, using: &g) > 1 ? 1 : 0) }
        clock = ContinuousClock.now
        var steps = 0
        _ = try LinearModel.train(m, labels: y, featureNames: t.featureNames) { _, _ in steps += 1; return true }
        print("HAND linear 60k x \(m.columns), steps \(steps)", ContinuousClock.now - clock)
        var row: [String: RawValue] = [:]
        for c in cats { row[c.0] = .text("l3") }
        for c in nums { row[c.0] = .number(2.5) }
        clock = ContinuousClock.now
        for _ in 0..<500 { _ = try t.apply(row: row) }
        print("HAND apply one row", (ContinuousClock.now - clock) / 500)
    }
}
