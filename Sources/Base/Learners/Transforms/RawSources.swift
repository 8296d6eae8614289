import Frames
import Manifests

/// Raw columns that a program can read chunk by chunk.
protocol RowsOfColumns {
    var count: Int { get }
    /// Writes the numbers of an input, NaN where missing.
    func readNumbers(
        _ input: Int, from start: Int, into cells: UnsafeMutableBufferPointer<Double>) throws(LearnerError)
    /// Writes the levels of an input, nil where missing.
    func readTexts(
        _ input: Int, from start: Int, into cells: UnsafeMutableBufferPointer<String?>) throws(LearnerError)
}

/// The raw columns of a table.
struct FrameSource: RowsOfColumns {
    let count: Int
    private let columns: [Column]

    /// - Throws: `LearnerError`: `.missingColumn`, `.badValue` when a number is asked of text or the reverse.
    init(_ frame: Frame, inputs: [InputColumn]) throws(LearnerError) {
        count = frame.rowCount
        var columns: [Column] = []
        for input in inputs {
            guard let column = frame[input.name] else {
                throw LearnerError(
                    .missingColumn, "the table has no column \"\(input.name)\"",
                    hint: suggestion(for: input.name, among: frame.names, called: "column"))
            }
            guard let type = InputType(column.type), !input.type.isNumber || type.isNumber else {
                throw LearnerError(
                    .badValue,
                    "column \"\(input.name)\" is \(column.type.rawValue), the model took \(input.type.rawValue)",
                    hint: "Declare the column as \(input.type.rawValue) in the data set's schema.")
            }
            columns.append(column)
        }
        self.columns = columns
    }

    func readNumbers(_ input: Int, from start: Int, into cells: UnsafeMutableBufferPointer<Double>) {
        let column = columns[input]
        for row in 0..<cells.count { cells[row] = column.double(start + row) }
    }

    func readTexts(_ input: Int, from start: Int, into cells: UnsafeMutableBufferPointer<String?>) {
        let column = columns[input]
        for row in 0..<cells.count { cells[row] = column.level(start + row) }
    }
}

extension Column {
    /// The name of the level in a row, nil where missing: what ``RawValue/level`` says of the same value.
    func level(_ row: Int) -> String? {
        switch self {
        case .float, .int:
            let number = double(row)
            return number.isNaN ? nil : RawValue.level(of: number)
        default: return text(row)
        }
    }
}

extension InputType {
    /// The type of a table's column; nil for instants, which are no features by themselves.
    init?(_ type: ColumnType) {
        switch type {
        case .int: self = .int
        case .float: self = .float
        case .bool: self = .bool
        case .category: self = .category
        case .string: self = .string
        case .timestamp: return nil
        }
    }
}

/// Raw rows as a caller sends them.
struct RowSource: RowsOfColumns {
    let rows: [[String: RawValue]]
    let inputs: [InputColumn]

    var count: Int { rows.count }

    func readNumbers(
        _ input: Int, from start: Int, into cells: UnsafeMutableBufferPointer<Double>
    ) throws(LearnerError) {
        for row in 0..<cells.count {
            switch try value(input, start + row) {
            case .number(let number): cells[row] = number
            case .bool(let truth): cells[row] = truth ? 1 : 0
            case .missing: cells[row] = .nan
            case .text(let text):
                throw LearnerError(
                    .badValue,
                    "\"\(inputs[input].name)\" must be a number in row \(start + row), not \"\(text.prefix(40))\"",
                    hint: "Send numbers without quotes, and null for a missing value.")
            }
        }
    }

    func readTexts(
        _ input: Int, from start: Int, into cells: UnsafeMutableBufferPointer<String?>
    ) throws(LearnerError) {
        for row in 0..<cells.count { cells[row] = try value(input, start + row).level }
    }

    private func value(_ input: Int, _ row: Int) throws(LearnerError) -> RawValue {
        let name = inputs[input].name
        guard let value = rows[row][name] else {
            throw LearnerError(
                .missingColumn, "row \(row) has no \"\(name)\"",
                hint: "Send null for a missing value. The inputs are: \(inputs.map(\.name).joined(separator: ", ")).")
        }
        return value
    }
}
