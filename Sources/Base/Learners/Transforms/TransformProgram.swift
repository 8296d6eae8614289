import Manifests

/// Steps with names replaced by places: what runs for each row.
///
/// Numbers and texts of a chunk of rows lie in two flat arrays, slot after slot.
struct TransformProgram: Sendable {
    enum Operation: Sendable {
        case fillNumber(Int, Double)
        case fillText(Int, String)
        /// Numbers as the names of levels.
        case levelsOf(number: Int, text: Int)
        case oneHot(text: Int, levels: [String: Int], first: Int, isStrict: Bool)
        case ordinal(text: Int, levels: [String: Int], number: Int, isStrict: Bool)
        case scale(Int, offset: Double, divisor: Double)
        case log(Int, offset: Double)
        case bin(Int, edges: [Double])
        case ratio(numerator: Int, denominator: Int, into: Int)
    }

    /// Where a column is kept.
    enum Slot: Sendable, Equatable {
        case number(Int)
        case text(Int)
    }

    /// Rows that are worked at once, so that they stay in the cache.
    static let chunkRows = 2_048

    let operations: [(column: String, operation: Operation)]
    let inputs: [Slot]
    let numbers: Int
    let texts: Int
    let outputs: [Int]
    let features: [String]

    init(inputs: [InputColumn], steps: [FittedStep], features: [String]) throws(LearnerError) {
        var compiler = TransformCompiler()
        self.inputs = try compiler.declare(inputs)
        var operations: [(column: String, operation: Operation)] = []
        for step in steps { operations += try compiler.compile(step) }
        var outputs: [Int] = []
        for feature in features {
            guard case .number(let slot) = compiler.slots[feature] else {
                throw LearnerError(.badModel, "no step of the transforms makes the feature \"\(feature)\"")
            }
            outputs.append(slot)
        }
        guard Set(features).count == features.count else {
            throw LearnerError(.badModel, "the transforms name a feature twice")
        }
        (self.operations, self.outputs, self.features) = (operations, outputs, features)
        (numbers, texts) = (compiler.numbers, compiler.texts)
    }

    /// The features of all rows of a source.
    func run(_ source: some RowsOfColumns) throws(LearnerError) -> Matrix {
        let rows = source.count
        var values = Array(repeating: Float.nan, count: rows * features.count)
        let workspace = TransformWorkspace(rows: min(rows, Self.chunkRows), numbers: numbers, texts: texts)
        var start = 0
        while start < rows {
            let count = min(Self.chunkRows, rows - start)
            workspace.restart(rows: count, firstRow: start)
            for (input, slot) in inputs.enumerated() {
                switch slot {
                case .number(let slot): try source.readNumbers(input, from: start, into: workspace.numberCells(slot))
                case .text(let slot): try source.readTexts(input, from: start, into: workspace.textCells(slot))
                }
            }
            for (column, operation) in operations { try workspace.run(operation, column: column) }
            try write(workspace, to: &values)
            start += count
        }
        return Matrix(rows: rows, columns: features.count, values: values)
    }

    private func write(_ workspace: TransformWorkspace, to values: inout [Float]) throws(LearnerError) {
        let width = features.count
        for (column, slot) in outputs.enumerated() {
            let cells = workspace.numberCells(slot)
            for row in 0..<workspace.rows {
                let value = Float(cells[row])
                if value.isInfinite {
                    throw LearnerError(
                        .nonFinite,
                        "feature \"\(features[column])\" is too big in row \(workspace.firstRow + row): \(cells[row])",
                        hint: "Leave the value out, or scale or bin the column.")
                }
                values[(workspace.firstRow + row) * width + column] = value
            }
        }
    }
}

/// Gives columns their slots, and turns steps into operations on slots.
struct TransformCompiler {
    private(set) var slots: [String: TransformProgram.Slot] = [:]
    private(set) var numbers = 0
    private(set) var texts = 0

    mutating func declare(_ inputs: [InputColumn]) throws(LearnerError) -> [TransformProgram.Slot] {
        var declared: [TransformProgram.Slot] = []
        for input in inputs {
            guard slots[input.name] == nil else {
                throw LearnerError(.badModel, "the transforms name the column \"\(input.name)\" twice")
            }
            let slot = input.type.isNumber ? newNumber() : newText()
            slots[input.name] = slot
            declared.append(slot)
        }
        return declared
    }

    /// - Returns: Operations in order, each with the column that its errors name.
    mutating func compile(_ step: FittedStep) throws(LearnerError) -> [(
        column: String, operation: TransformProgram.Operation
    )] {
        if let fill = step.fillNumber { return [(fill.column, .fillNumber(try number(fill.column), fill.value))] }
        if let fill = step.fillText {
            guard case .text(let slot) = slots[fill.column] else { throw wrongKind(fill.column, "a category") }
            return [(fill.column, .fillText(slot, fill.value))]
        }
        if let encoding = step.oneHot { return try oneHot(encoding) }
        if let encoding = step.ordinal { return try ordinal(encoding) }
        if let scale = step.scale {
            let slot = try number(scale.column)
            return [(scale.column, .scale(slot, offset: scale.offset, divisor: scale.divisor))]
        }
        if let log = step.log { return [(log.column, .log(try number(log.column), offset: log.offset))] }
        if let bin = step.bin { return [(bin.column, .bin(try number(bin.column), edges: bin.edges))] }
        guard let ratio = step.ratio else { throw LearnerError(.badModel, "a step of the transforms is empty") }
        let (above, below) = (try number(ratio.numerator), try number(ratio.denominator))
        guard slots[ratio.name] == nil else {
            throw LearnerError(.badModel, "the transforms make the column \"\(ratio.name)\" twice")
        }
        let slot = newNumberIndex()
        slots[ratio.name] = .number(slot)
        return [(ratio.name, .ratio(numerator: above, denominator: below, into: slot))]
    }

    private mutating func oneHot(
        _ encoding: FittedStep.Levels
    ) throws(LearnerError) -> [(column: String, operation: TransformProgram.Operation)] {
        var (operations, text) = try levels(of: encoding.column)
        slots[encoding.column] = nil
        let first = numbers
        for level in encoding.levels {
            let name = FittedTransforms.featureName(encoding.column, level)
            guard slots[name] == nil else {
                throw LearnerError(.badModel, "the transforms make the column \"\(name)\" twice")
            }
            slots[name] = newNumber()
        }
        operations.append(
            (
                encoding.column,
                .oneHot(
                    text: text, levels: Self.positions(encoding.levels), first: first,
                    isStrict: encoding.unknown == .error)
            ))
        return operations
    }

    private mutating func ordinal(
        _ encoding: FittedStep.Levels
    ) throws(LearnerError) -> [(column: String, operation: TransformProgram.Operation)] {
        var (operations, text) = try levels(of: encoding.column)
        let slot = newNumberIndex()
        slots[encoding.column] = .number(slot)
        operations.append(
            (
                encoding.column,
                .ordinal(
                    text: text, levels: Self.positions(encoding.levels), number: slot,
                    isStrict: encoding.unknown == .error)
            ))
        return operations
    }

    private static func positions(_ levels: [String]) -> [String: Int] {
        Dictionary(levels.enumerated().map { ($0.element, $0.offset) }) { first, _ in first }
    }

    /// The text slot of a category; numbers are turned into the names of levels first.
    private mutating func levels(
        of column: String
    ) throws(LearnerError) -> ([(column: String, operation: TransformProgram.Operation)], Int) {
        switch slots[column] {
        case .text(let slot): return ([], slot)
        case .number(let slot):
            guard case .text(let text) = newText() else { return ([], 0) }
            return ([(column, .levelsOf(number: slot, text: text))], text)
        case nil: throw wrongKind(column, "a column")
        }
    }

    private func number(_ column: String) throws(LearnerError) -> Int {
        guard case .number(let slot) = slots[column] else { throw wrongKind(column, "a number") }
        return slot
    }

    private func wrongKind(_ column: String, _ expected: String) -> LearnerError {
        LearnerError(.badModel, "the transforms use \"\(column)\" as \(expected), which it is not there")
    }

    private mutating func newNumberIndex() -> Int {
        numbers += 1
        return numbers - 1
    }

    private mutating func newNumber() -> TransformProgram.Slot { .number(newNumberIndex()) }

    private mutating func newText() -> TransformProgram.Slot {
        texts += 1
        return .text(texts - 1)
    }
}
