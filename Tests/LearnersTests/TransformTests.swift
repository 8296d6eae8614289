import Frames
import Manifests
import Testing

@testable import Learners

struct TransformTests {
    private func steps(_ yaml: String) throws -> [TransformStep] {
        let list = try YAML.documents(yaml, file: nil).first?.value ?? .null
        return try [TransformStep](json: list, at: [])
    }

    private func fit(_ yaml: String, on frame: Frame, excluding: [String] = []) throws -> FittedTransforms {
        try FittedTransforms.fit(steps(yaml), on: frame, excluding: excluding)
    }

    private func frame(_ columns: [(String, Column)]) throws -> Frame {
        try Frame(columns.map { (ColumnSchema($0.0, $0.1.type), $0.1) })
    }

    /// What a caller of a served model would send for the rows of a table.
    private func rows(_ frame: Frame) -> [[String: RawValue]] {
        (0..<frame.rowCount).map { row in
            var cells: [String: RawValue] = [:]
            for (schema, column) in zip(frame.schema, frame.columns) {
                cells[schema.name] =
                    if column.isMissing(row) {
                        .missing
                    } else {
                        switch schema.type {
                        case .bool: .bool(column.double(row) == 1)
                        case .category, .string: .text(column.text(row) ?? "")
                        default: .number(column.double(row))
                        }
                    }
            }
            return cells
        }
    }

    private func people() throws -> Frame {
        try frame([
            ("age", .ints([20, nil, 40, 60])), ("income", .floats([1, 2, nil, 9])),
            ("job", .categories(["b", "a", nil, "b"])), ("member", .bools([true, false, nil, true])),
            ("label", .ints([0, 1, 0, 1])),
        ])
    }

    // MARK: - Each step

    @Test(arguments: [
        ("mean", [20, 40, 40, 60] as [Float]), ("median", [20, 40, 40, 60]), ("most_frequent", [20, 20, 40, 60]),
        ("constant, value: 7", [20, 7, 40, 60]),
    ])
    func `missing numbers are filled in`(strategy: String, expected: [Float]) throws {
        let fitted = try fit(
            "[{impute: {columns: [age], strategy: \(strategy)}}, {keep: {columns: [age]}}]", on: people())
        #expect(try fitted.apply(people()).values == expected)
    }

    @Test func `missing levels are filled in and encoded`() throws {
        let text =
            "[{impute: {columns: [job], strategy: most_frequent}}, {one_hot: {columns: [job]}}, {keep: [job=a, job=b]}]"
        let fitted = try fit(text, on: people())
        #expect(fitted.featureNames == ["job=a", "job=b"])
        #expect(try fitted.apply(people()).values == [0, 1, 1, 0, 0, 1, 0, 1])
        #expect(fitted.inputColumns == [InputColumn("job", .category, levels: ["a", "b"])])
    }

    @Test func `one-hot features stand where their column stood and a missing level is zero everywhere`() throws {
        let fitted = try fit("[{one_hot: {columns: [job, member]}}]", on: people(), excluding: ["label"])
        #expect(fitted.featureNames == ["age", "income", "job=a", "job=b", "member=0", "member=1"])
        let matrix = try fitted.apply(people())
        #expect(Array(matrix.row(0)) == [20, 1, 0, 1, 0, 1])
        #expect(Array(matrix.row(2).dropFirst(2)) == [0, 0, 0, 0])
        #expect(matrix[1, 0].isNaN)
    }

    @Test func `rare levels count as unknown`() throws {
        let table = try frame([("x", .categories(["c", "b", "b", "a", "a", "d"]))])
        let fitted = try fit("[{one_hot: {columns: [x], max_levels: 2}}]", on: table)
        #expect(fitted.featureNames == ["x=a", "x=b"])
        #expect(try fitted.apply(table).row(0) == [0, 0])
    }

    @Test func `levels that are numbers are sorted as numbers`() throws {
        let table = try frame([("x", .categories(["10", "9", "2"]))])
        let fitted = try fit("[{ordinal: {columns: [x]}}]", on: table)
        #expect(try fitted.apply(table).values == [2, 1, 0])
        #expect(try fitted.apply(row: ["x": .number(9)]).values == [1])
    }

    @Test func `an unknown level is coded, ignored or refused`() throws {
        let table = try frame([("x", .categories(["a", "b"]))])
        let row: [String: RawValue] = ["x": .text("z")]
        #expect(try fit("[{ordinal: {columns: [x]}}]", on: table).apply(row: row).values == [-1])
        #expect(try fit("[{one_hot: {columns: [x]}}]", on: table).apply(row: row).values == [0, 0])
        for step in ["ordinal", "one_hot"] {
            let fitted = try fit("[{\(step): {columns: [x], unknown: error}}]", on: table)
            do {
                _ = try fitted.apply(rows: [["x": .text("a")], row])
                Issue.record("an unknown level was taken")
            } catch {
                #expect(error.code == .unknownLevel)
                #expect(error.message == "\"z\" is no known level of \"x\" in row 1")
            }
        }
    }

    @Test func `numbers are scaled by what the training rows say`() throws {
        let table = try frame([("x", .floats([2, 4, 4, 4, 5, 5, 7, 9])), ("y", .ints(Array(repeating: 3, count: 8)))])
        let fitted = try fit("[{scale: {columns: [x, y]}}]", on: table)
        // Mean 5, population deviation 2.
        #expect(try fitted.apply(row: ["x": .number(9), "y": .number(3)]).values == [2, 0])
        let ranged = try fit("[{scale: {columns: [x], method: min_max}}, {drop: [y]}]", on: table)
        #expect(
            try ranged.apply(rows: [["x": .number(2)], ["x": .number(9)], ["x": .number(16)]]).values == [0, 1, 2])
    }

    @Test func `logarithms need a positive argument`() throws {
        let table = try frame([("x", .floats([0, 1]))])
        let fitted = try fit("[{log: {columns: [x]}}]", on: table)
        #expect(try fitted.apply(table).values == [0, Float(0.693_147_180_559_945_3)])
        #expect(code { _ = try fitted.apply(row: ["x": .number(-1)]) } == .nonFinite)
        #expect(code { _ = try fit("[{log: {columns: [x], offset: 0}}]", on: table) } == .nonFinite)
    }

    @Test func `bins are cut at edges or at quantiles of the training rows`() throws {
        let table = try frame([("x", .floats([1, 2, 3, 4, nil]))])
        let own = try fit("[{bin: {columns: [x], edges: [2, 3.5]}}]", on: table)
        #expect(try own.apply(table).values.dropLast() == [0, 1, 1, 2])
        #expect(try own.apply(table).values[4].isNaN)
        let quantiles = try fit("[{bin: {columns: [x], bins: 2}}]", on: table)
        #expect(quantiles.steps.first?.bin?.edges == [2.5])
        #expect(try quantiles.apply(row: ["x": .number(-9)]).values == [0])
    }

    @Test func `a ratio is missing where its denominator is 0`() throws {
        let table = try frame([("a", .floats([1, 4, 1])), ("b", .floats([2, 8, 0]))])
        let fitted = try fit("[{ratio: {name: r, numerator: a, denominator: b}}, {keep: [r]}]", on: table)
        let values = try fitted.apply(table).values
        #expect(values.prefix(2) == [0.5, 0.5] && values[2].isNaN)
        #expect(fitted.inputColumns.map(\.name) == ["a", "b"])
    }

    @Test func `steps see what the ones before have left`() throws {
        let table = try frame([("a", .floats([1, nil, 3])), ("b", .floats([2, 2, 2]))])
        let text = """
            - impute: {columns: [a], strategy: mean}
            - ratio: {name: r, numerator: a, denominator: b}
            - scale: {columns: [a], method: min_max}
            - drop: [b]
            """
        let fitted = try fit(text, on: table)
        #expect(fitted.featureNames == ["a", "r"])
        #expect(try fitted.apply(table).values == [0, 0.5, 0.5, 1, 1, 1.5])
    }

    // MARK: - What is kept

    @Test func `only the training rows are learned from`() throws {
        let train = try frame([("x", .floats([1, 3, nil])), ("c", .categories(["a", "b", "a"]))])
        let later = try frame([("x", .floats([nil, 100])), ("c", .categories(["new", "b"]))])
        let fitted = try fit(
            "[{impute: {columns: [x], strategy: mean}}, {one_hot: {columns: [c]}}]", on: train)
        #expect(try fitted.apply(later).values == [2, 0, 0, 100, 0, 1])
    }

    @Test func `columns and steps that no feature needs are left out`() throws {
        let text = """
            - impute: {columns: [income], strategy: mean}
            - one_hot: {columns: [job]}
            - keep: [age]
            """
        let fitted = try fit(text, on: people())
        #expect(fitted.inputColumns == [InputColumn("age", .int)])
        #expect(fitted.steps.isEmpty)
        #expect(try fitted.apply(row: ["age": .number(3)]).values == [3])
    }

    @Test func `the artifact reads back equal and with equal bytes`() throws {
        let text = """
            - impute: {columns: [age, income], strategy: mean}
            - impute: {columns: [job], strategy: constant, value: "none"}
            - ratio: {name: r, numerator: age, denominator: income}
            - one_hot: {columns: [job]}
            - ordinal: {columns: [member], unknown: error}
            - log: {columns: [income], offset: 0.1}
            - bin: {columns: [age], bins: 3}
            - scale: {columns: [r]}
            """
        let fitted = try fit(text, on: people(), excluding: ["label"])
        let copy = try FittedTransforms(artifact: fitted.artifact)
        #expect(copy == fitted && copy.artifact == fitted.artifact)
        #expect(try copy.apply(people()).values.map(\.bitPattern) == fitted.apply(people()).values.map(\.bitPattern))
        let again = try fit(text, on: people(), excluding: ["label"])
        #expect(again.artifact == fitted.artifact)
    }

    @Test func `a damaged artifact is refused`() throws {
        let good = String(decoding: try fit("[{drop: [job]}]", on: people()).artifact, as: UTF8.self)
        for bad in [
            "", "{}", good.replacingOccurrences("\"version\":1", "\"version\":2"),
            good.replacingOccurrences("\"features\":[\"age\"", "\"features\":[\"agee\""),
            good.replacingOccurrences("\"features\":[\"age\"", "\"features\":[\"income\""),
            good.replacingOccurrences("\"type\":\"int\"", "\"type\":\"category\""),
        ] {
            #expect(bad != good)
            #expect(code { _ = try FittedTransforms(artifact: Array(bad.utf8)) } == .badModel)
        }
    }

    // MARK: - Errors

    @Test(arguments: [
        ("[{drop: [agee]}]", LearnerError.Code.missingColumn), ("[{scale: {columns: [label]}}]", .missingColumn),
        ("[{one_hot: {columns: [job]}}, {ordinal: {columns: [job]}}]", .missingColumn),
        ("[{scale: {columns: [job]}}]", .badParameter), ("[{impute: {columns: [job], strategy: mean}}]", .badParameter),
        ("[{impute: {columns: [age], strategy: constant, value: old}}]", .badParameter),
        ("[{ratio: {name: age, numerator: age, denominator: income}}]", .badParameter),
        ("[{ratio: {name: r, numerator: job, denominator: income}}]", .badParameter),
        ("[]", .badValue), ("[{drop: [age, income, job, member]}]", .badParameter),
    ])
    func `steps that do not fit the table are refused`(text: String, expected: LearnerError.Code) throws {
        let table = try people()
        let steps = try steps(text)
        #expect(code { _ = try FittedTransforms.fit(steps, on: table, excluding: ["label"]) } == expected)
    }

    @Test func `an unknown column is an error that tells what was meant and in which step`() throws {
        let (steps, table) = (try steps("[{drop: [job]}, {scale: {columns: [incom]}}]"), try people())
        do {
            _ = try FittedTransforms.fit(steps, on: table)
            Issue.record("an unknown column was taken")
        } catch {
            #expect(error.message == "transform 2: no column \"incom\"")
            #expect(error.hint == "Did you mean \"income\"?")
        }
    }

    @Test(arguments: [
        "[{imput: {columns: [a]}}]", "[{impute: {columns: [a], strategy: best}}]", "[{drop: []}]", "[{drop: [a, a]}]",
        "[{impute: {columns: [a], strategy: constant}}]", "[{impute: {columns: [a], strategy: mean, value: 1}}]",
        "[{bin: {columns: [a]}}]", "[{bin: {columns: [a], bins: 3, edges: [1]}}]",
        "[{bin: {columns: [a], edges: [2, 1]}}]", "[{one_hot: {columns: [a], unknown: code}}]",
        "[{ordinal: {columns: [a], unknown: ignore}}]", "[{drop: [a], keep: [b]}]", "[{}]",
        "[{one_hot: {columns: [a], unknown: error, max_levels: 3}}]", "[{bin: {columns: [a], bins: 1}}]",
    ])
    func `steps that make no sense are refused when they are read`(text: String) {
        #expect(throws: ManifestError.self) { try steps(text) }
    }

    @Test func `raw rows are checked with feature and row`() throws {
        let fitted = try fit("[{drop: [job, member, label]}]", on: people())
        let good: [String: RawValue] = ["age": .number(1), "income": .missing, "more": .text("is passed over")]
        #expect(try fitted.apply(row: good).values[0] == 1)
        for (bad, expected, message) in [
            (["age": .number(1)], LearnerError.Code.missingColumn, "row 1 has no \"income\""),
            (
                ["age": .text("old"), "income": .missing], .badValue,
                "\"age\" must be a number in row 1, not \"old\""
            ),
            (
                ["age": .number(1e300), "income": .missing], .nonFinite,
                "feature \"age\" is too big in row 1: 1e+300"
            ),
        ] as [([String: RawValue], LearnerError.Code, String)] {
            do {
                _ = try fitted.apply(rows: [good, bad])
                Issue.record("a bad row was taken")
            } catch {
                #expect(error.code == expected && error.message == message)
            }
        }
    }

    @Test func `tables are checked against what the model was trained on`() throws {
        let fitted = try fit("[{keep: [age]}]", on: people())
        #expect(code { _ = try fitted.apply(frame([("agee", .ints([1]))])) } == .missingColumn)
        #expect(code { _ = try fitted.apply(frame([("age", .categories(["1"]))])) } == .badValue)
        #expect(try fitted.apply(frame([("age", .floats([1.5]))])).values == [1.5])
        let instant = try frame([("at", .timestamps([1])), ("x", .ints([1]))])
        #expect(code { _ = try fit("[]", on: instant) } == .badValue)
        #expect(try fit("[{drop: [at]}]", on: instant).featureNames == ["x"])
    }

    // MARK: - One program for tables and rows

    @Test(arguments: 0..<25)
    func `tables and rows give the same features to the last bit`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        // More rows than one chunk, so that chunks meet.
        let count = Int.random(in: 1...5_000, using: &random)
        func maybe<T>(_ make: () -> T) -> T? { Int.random(in: 0..<10, using: &random) == 0 ? nil : make() }
        let table = try frame([
            ("n1", .floats((0..<count).map { _ in maybe { Double.random(in: -50...50, using: &random) } })),
            ("n2", .ints((0..<count).map { _ in maybe { Int64.random(in: 0...9, using: &random) } })),
            ("flag", .bools((0..<count).map { _ in maybe { Bool.random(using: &random) } })),
            ("c1", .categories((0..<count).map { _ in maybe { "level \(Int.random(in: 0..<7, using: &random))" } })),
            ("c2", .strings((0..<count).map { _ in maybe { "\(Int.random(in: 0..<12, using: &random))" } })),
            ("gap", .floats([0.5] + (1..<max(count, 1)).map { _ in maybe { 1e6 } }.prefix(count - 1))),
        ])
        let text = """
            - impute: {columns: [n1], strategy: \(["mean", "median"][Int(seed % 2)])}
            - impute: {columns: [c1], strategy: constant, value: "level 3"}
            - ratio: {name: r, numerator: n1, denominator: n2}
            - one_hot: {columns: [c1, n2], max_levels: 5}
            - ordinal: {columns: [c2]}
            - bin: {columns: [n1], bins: 4}
            - scale: {columns: [r, c2], method: \(["standard", "min_max"][Int(seed % 2)])}
            - log: {columns: [gap]}
            """
        // A column may by chance have no value in a tiny table: nothing can be learned from it.
        let present = ["n1", "n2", "c1", "c2"].allSatisfy { table[$0].map { $0.missingCount < count } ?? false }
        guard present, count > 50 else {
            try compare(fit("[{drop: [c1, c2]}]", on: table), table)
            return
        }
        try compare(fit(text, on: table), table)
    }

    private func compare(_ fitted: FittedTransforms, _ table: Frame) throws {
        let whole = try fitted.apply(table)
        let byRows = try fitted.apply(rows: rows(table))
        #expect(whole.rows == table.rowCount && whole.columns == fitted.featureNames.count)
        #expect(whole.values.map(\.bitPattern) == byRows.values.map(\.bitPattern))
        let last = table.rowCount - 1
        let alone = try fitted.apply(row: rows(table.take([last]))[0])
        #expect(alone.values.map(\.bitPattern) == whole.row(last).map(\.bitPattern))
    }
}

extension String {
    fileprivate func replacingOccurrences(_ old: String, _ new: String) -> String {
        split(separator: old, omittingEmptySubsequences: false).joined(separator: new)
    }
}
