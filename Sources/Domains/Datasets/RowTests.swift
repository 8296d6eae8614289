import API
import Foundation
import Frames
import Manifests

/// What a rule found row by row.
struct RowTest {
    /// Rows, from 0, in order.
    var unexpected: [Int] = []
    /// Rows of which nothing can be said, as a value is missing.
    var missing = 0
    /// Whether missing values are what is tested for.
    var countsMissing = false
    var words: Words

    /// What is said of values: "are there", and of those that break the rule: "are missing".
    struct Words {
        let good: String
        let bad: String
        init(_ good: String, else bad: String) { (self.good, self.bad) = (good, bad) }
    }
}

/// The rules that hold or fail row by row.
enum RowTests {
    static func run(_ spec: ExpectationSpec, on frame: Frame) throws(Unfit) -> RowTest {
        switch spec.expect {
        case .expect_column_pair_values_a_to_be_greater_than_b: return try greater(spec, frame)
        case .expect_compound_columns_to_be_unique: return try compound(spec, frame)
        default: break
        }
        let column = try frame.needed(spec.column, "column")
        switch spec.expect {
        case .expect_column_values_to_not_be_null:
            let rows = (0..<column.count).filter(column.isMissing)
            return RowTest(
                unexpected: rows, missing: rows.count, countsMissing: true,
                words: .init("are there", else: "are missing"))
        case .expect_column_values_to_be_unique: return unique(column)
        case .expect_column_values_to_be_in_set: return try members(spec, column, wanted: true)
        case .expect_column_values_to_not_be_in_set: return try members(spec, column, wanted: false)
        case .expect_column_values_to_be_between: return try between(spec, column)
        case .expect_column_values_to_match_regex: return try matches(spec, column)
        case .expect_column_value_lengths_to_be_between: return try lengths(spec, column)
        default: throw Unfit("\(spec.expect.rawValue) does not speak of rows")
        }
    }

    // MARK: -

    private static func between(_ spec: ExpectationSpec, _ column: Column) throws(Unfit) -> RowTest {
        let range = try Bounds(spec)
        guard column.type != .timestamp else {
            throw Unfit("\"\(spec.column ?? "")\" holds times, which min_value and max_value cannot bound")
        }
        let numbers = column.doubles
        // Text that spells no number is NaN, and so outside of every range.
        return test(column, .init("lie \(range.words)", else: "do not lie \(range.words)")) {
            range.contains(numbers[$0])
        }
    }

    private static func members(_ spec: ExpectationSpec, _ column: Column, wanted: Bool) throws(Unfit) -> RowTest {
        guard !spec.value_set.isEmpty else { throw Unfit("\(spec.expect.rawValue) says no value_set") }
        let words: RowTest.Words =
            wanted
            ? .init("belong to the set", else: "do not belong to the set")
            : .init("stay out of the set", else: "belong to the forbidden set")
        switch column {
        case .int, .float:
            let numbers = Set(spec.value_set.compactMap { $0.double ?? $0.string.flatMap(Double.init) })
            let values = column.doubles
            return test(column, words) { numbers.contains(values[$0]) == wanted }
        default:
            let texts = Set(spec.value_set.map { $0.string ?? $0.text })
            return textTest(column, words) { texts.contains($0) == wanted }
        }
    }

    private static func matches(_ spec: ExpectationSpec, _ column: Column) throws(Unfit) -> RowTest {
        guard let pattern = spec.regex else { throw Unfit("\(spec.expect.rawValue) says no regex") }
        let expression: NSRegularExpression
        do {
            expression = try NSRegularExpression(pattern: pattern)
        } catch {
            throw Unfit("\"\(pattern)\" is no regular expression")
        }
        return textTest(column, .init("match \(pattern)", else: "do not match \(pattern)")) { text in
            expression.firstMatch(in: text, range: NSRange(location: 0, length: text.utf16.count)) != nil
        }
    }

    private static func lengths(_ spec: ExpectationSpec, _ column: Column) throws(Unfit) -> RowTest {
        let range = try Bounds(spec)
        return textTest(column, .init("have lengths \(range.words)", else: "do not have lengths \(range.words)")) {
            range.contains(Double($0.unicodeScalars.count))
        }
    }

    private static func unique(_ column: Column) -> RowTest {
        repeated((0..<column.count).map(column.text), .init("are there once only", else: "are there more than once"))
    }

    private static func compound(_ spec: ExpectationSpec, _ frame: Frame) throws(Unfit) -> RowTest {
        guard !spec.columns.isEmpty else { throw Unfit("\(spec.expect.rawValue) says no columns") }
        var columns: [Column] = []
        for name in spec.columns { columns.append(try frame.needed(name, "columns")) }
        let keys = (0..<frame.rowCount).map { row -> [String?]? in
            let cells = columns.map { $0.text(row) }
            return cells.allSatisfy { $0 == nil } ? nil : cells
        }
        return repeated(keys, .init("are there once only", else: "are there more than once"))
    }

    private static func greater(_ spec: ExpectationSpec, _ frame: Frame) throws(Unfit) -> RowTest {
        let a = try frame.needed(spec.column_a, "column_a")
        let b = try frame.needed(spec.column_b, "column_b")
        let isText = { (column: Column) in column.type == .category || column.type == .string }
        guard isText(a) == isText(b), (a.type == .timestamp) == (b.type == .timestamp) else {
            throw Unfit("\(a.type.rawValue) and \(b.type.rawValue) cannot be compared")
        }
        let names = "greater in \(spec.column_a ?? "") than in \(spec.column_b ?? "")"
        var result = RowTest(words: .init("are \(names)", else: "are not \(names)"))
        for row in 0..<frame.rowCount {
            if a.isMissing(row) || b.isMissing(row) {
                result.missing += 1
            } else if isText(a) ? (a.text(row) ?? "") <= (b.text(row) ?? "") : a.double(row) <= b.double(row) {
                result.unexpected.append(row)
            }
        }
        return result
    }

    // MARK: -

    private static func repeated<Key: Hashable>(_ keys: [Key?], _ words: RowTest.Words) -> RowTest {
        var counts: [Key: Int] = [:]
        for case let key? in keys { counts[key, default: 0] += 1 }
        var result = RowTest(words: words)
        for (row, key) in keys.enumerated() {
            guard let key else {
                result.missing += 1
                continue
            }
            if counts[key] ?? 0 > 1 { result.unexpected.append(row) }
        }
        return result
    }

    private static func test(_ column: Column, _ words: RowTest.Words, _ isGood: (Int) -> Bool) -> RowTest {
        var result = RowTest(words: words)
        for row in 0..<column.count {
            if column.isMissing(row) {
                result.missing += 1
            } else if !isGood(row) {
                result.unexpected.append(row)
            }
        }
        return result
    }

    /// A test of texts, once a level where the column has levels.
    private static func textTest(_ column: Column, _ words: RowTest.Words, _ isGood: (String) -> Bool) -> RowTest {
        if case .category(let codes, let levels) = column {
            let good = levels.map(isGood)
            return test(column, words) { good[Int(codes[$0])] }
        }
        return test(column, words) { row in column.text(row).map(isGood) ?? false }
    }
}

/// Figures of a whole column, over the values that are there.
enum ColumnFigures {
    /// The figure that an expectation asks for and its name; nil when there are too few values for it.
    static func figure(_ name: ExpectationSpec.Name, of column: Column, called title: String) throws(Unfit)
        -> (noun: String, value: Double?)
    {
        switch name {
        case .expect_column_unique_value_count_to_be_between:
            return ("count of different values", Double(distinct(column)))
        case .expect_column_proportion_of_unique_values_to_be_between:
            let present = column.count - column.missingCount
            return ("share of different values", present == 0 ? nil : Double(distinct(column)) / Double(present))
        default: break
        }
        guard [.int, .float, .bool].contains(column.type) else {
            throw Unfit("\"\(title)\" holds \(column.type.rawValue), which has no such figure")
        }
        let values = column.doubles.filter { !$0.isNaN }
        switch name {
        case .expect_column_min_to_be_between: return ("minimum", values.min())
        case .expect_column_max_to_be_between: return ("maximum", values.max())
        case .expect_column_mean_to_be_between: return ("mean", mean(values))
        case .expect_column_median_to_be_between: return ("median", median(values))
        case .expect_column_stdev_to_be_between: return ("standard deviation", deviation(values))
        case .expect_column_sum_to_be_between: return ("sum", values.reduce(0, +))
        default: throw Unfit("\(name.rawValue) does not speak of a column's figure")
        }
    }

    private static func distinct(_ column: Column) -> Int {
        Set((0..<column.count).lazy.compactMap(column.text)).count
    }

    private static func mean(_ values: [Double]) -> Double? {
        values.isEmpty ? nil : values.reduce(0, +) / Double(values.count)
    }

    private static func median(_ values: [Double]) -> Double? {
        guard !values.isEmpty else { return nil }
        let sorted = values.sorted()
        let middle = sorted.count / 2
        return sorted.count.isMultiple(of: 2) ? (sorted[middle - 1] + sorted[middle]) / 2 : sorted[middle]
    }

    /// Of a sample (one degree of freedom less), as Great Expectations has it.
    private static func deviation(_ values: [Double]) -> Double? {
        guard values.count > 1, let mean = mean(values) else { return nil }
        let squares = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
        return (squares / Double(values.count - 1)).squareRoot()
    }
}
