#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// The cells of some rows while a program runs over them: slot after slot, row after row.
final class TransformWorkspace {
    private(set) var rows: Int
    /// The number of the first row, for messages.
    private(set) var firstRow = 0
    private let capacity: Int
    private var numbers: UnsafeMutableBufferPointer<Double>
    private var texts: UnsafeMutableBufferPointer<String?>

    init(rows: Int, numbers: Int, texts: Int) {
        (self.rows, capacity) = (rows, rows)
        self.numbers = .allocate(capacity: max(rows * numbers, 1))
        self.numbers.initialize(repeating: .nan)
        self.texts = .allocate(capacity: max(rows * texts, 1))
        self.texts.initialize(repeating: nil)
    }

    deinit {
        numbers.deallocate()
        texts.deinitialize()
        texts.deallocate()
    }

    /// Begins anew with other rows, at most as many as at first.
    func restart(rows: Int, firstRow: Int) {
        precondition(rows <= capacity, "a workspace holds \(capacity) rows")
        (self.rows, self.firstRow) = (rows, firstRow)
    }

    /// Makes room for more slots; the present ones keep their cells.
    func grow(numbers numberSlots: Int, texts textSlots: Int) {
        if numberSlots * capacity > numbers.count {
            // By half more at least, so that many small steps do not copy all cells each time.
            let grown = UnsafeMutableBufferPointer<Double>.allocate(
                capacity: max(numberSlots * capacity, numbers.count * 3 / 2))
            grown.initialize(repeating: .nan)
            for index in 0..<numbers.count { grown[index] = numbers[index] }
            numbers.deallocate()
            numbers = grown
        }
        if textSlots * capacity > texts.count {
            let grown = UnsafeMutableBufferPointer<String?>.allocate(
                capacity: max(textSlots * capacity, texts.count * 3 / 2))
            grown.initialize(repeating: nil)
            for index in 0..<texts.count { grown[index] = texts[index] }
            texts.deinitialize()
            texts.deallocate()
            texts = grown
        }
    }

    /// The cells of one slot of numbers.
    ///
    /// Valid until the workspace grows or ends.
    func numberCells(_ slot: Int) -> UnsafeMutableBufferPointer<Double> {
        UnsafeMutableBufferPointer(rebasing: numbers[slot * capacity..<slot * capacity + rows])
    }

    /// The cells of one slot of texts.
    ///
    /// Valid until the workspace grows or ends.
    func textCells(_ slot: Int) -> UnsafeMutableBufferPointer<String?> {
        UnsafeMutableBufferPointer(rebasing: texts[slot * capacity..<slot * capacity + rows])
    }

    /// Runs one operation over all rows.
    func run(_ operation: TransformProgram.Operation, column: String) throws(LearnerError) {
        switch operation {
        case .fillNumber(let slot, let value):
            let cells = numberCells(slot)
            for row in 0..<rows where cells[row].isNaN { cells[row] = value }
        case .fillText(let slot, let value):
            let cells = textCells(slot)
            for row in 0..<rows where cells[row] == nil { cells[row] = value }
        case .levelsOf(let number, let text):
            let (from, to) = (numberCells(number), textCells(text))
            for row in 0..<rows { to[row] = from[row].isNaN ? nil : RawValue.level(of: from[row]) }
        case .oneHot(let text, let levels, let first, let isStrict):
            try oneHot(textCells(text), levels, first: first, isStrict: isStrict, column: column)
        case .ordinal(let text, let levels, let number, let isStrict):
            try ordinal(textCells(text), levels, into: numberCells(number), isStrict: isStrict, column: column)
        case .scale(let slot, let offset, let divisor):
            let cells = numberCells(slot)
            for row in 0..<rows { cells[row] = (cells[row] - offset) / divisor }
        case .log(let slot, let offset): try takeLog(numberCells(slot), offset: offset, column: column)
        case .bin(let slot, let edges):
            let cells = numberCells(slot)
            for row in 0..<rows where !cells[row].isNaN { cells[row] = Double(Self.edges(edges, notAbove: cells[row])) }
        case .ratio(let numerator, let denominator, let into):
            let (above, below, result) = (numberCells(numerator), numberCells(denominator), numberCells(into))
            for row in 0..<rows { result[row] = below[row] == 0 ? .nan : above[row] / below[row] }
        }
    }

    private func oneHot(
        _ cells: UnsafeMutableBufferPointer<String?>, _ levels: [String: Int], first: Int, isStrict: Bool,
        column: String
    ) throws(LearnerError) {
        for slot in first..<first + levels.count {
            let zeros = numberCells(slot)
            for row in 0..<rows { zeros[row] = 0 }
        }
        for row in 0..<rows {
            guard let level = cells[row] else { continue }
            if let position = levels[level] {
                numbers[(first + position) * capacity + row] = 1
            } else if isStrict {
                throw unknown(level, of: column, row: row, known: levels)
            }
        }
    }

    private func ordinal(
        _ cells: UnsafeMutableBufferPointer<String?>, _ levels: [String: Int],
        into numbers: UnsafeMutableBufferPointer<Double>, isStrict: Bool, column: String
    ) throws(LearnerError) {
        for row in 0..<rows {
            guard let level = cells[row] else {
                numbers[row] = .nan
                continue
            }
            if let position = levels[level] {
                numbers[row] = Double(position)
            } else if isStrict {
                throw unknown(level, of: column, row: row, known: levels)
            } else {
                numbers[row] = -1
            }
        }
    }

    private func unknown(_ level: String, of column: String, row: Int, known: [String: Int]) -> LearnerError {
        let names = known.sorted { $0.value < $1.value }.map(\.key)
        let shown = names.prefix(10).joined(separator: ", ") + (names.count > 10 ? ", …" : "")
        return LearnerError(
            .unknownLevel, "\"\(level)\" is no known level of \"\(column)\" in row \(firstRow + row)",
            hint: "Known levels: \(shown). Or let the transform ignore or code unknown ones.")
    }

    private func takeLog(
        _ cells: UnsafeMutableBufferPointer<Double>, offset: Double, column: String
    ) throws(LearnerError) {
        for row in 0..<rows where !cells[row].isNaN {
            let shifted = cells[row] + offset
            guard shifted > 0 else {
                throw LearnerError(
                    .nonFinite, "\"\(column)\" has no logarithm in row \(firstRow + row): \(cells[row]) + \(offset)",
                    hint: "Use a larger offset for the log of this column.")
            }
            cells[row] = log(shifted)
        }
    }

    /// How many of the ascending `edges` are not above `value`.
    static func edges(_ edges: [Double], notAbove value: Double) -> Int {
        var (low, high) = (0, edges.count)
        while low < high {
            let middle = (low + high) / 2
            if edges[middle] <= value { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
