package import Frames
import Manifests

extension FittedTransforms {
    /// The name of the feature that one-hot encoding makes for a level.
    package static func featureName(_ column: String, _ level: String) -> String { "\(column)=\(level)" }

    /// Learns what the steps need from the training rows.
    ///
    /// - Parameters:
    ///   - steps: What to do, in order.
    ///   - frame: The training split, and nothing else: what is learned from validation rows would flatter the model.
    ///   - excluding: Columns that are no features: target, identifiers, times, weights.
    /// - Returns: Transforms that read only the columns their features are made of.
    /// - Throws: `LearnerError`: `.missingColumn`, `.badParameter`, `.badValue`, `.nonFinite`.
    package static func fit(
        _ steps: [TransformStep], on frame: Frame, excluding: [String] = []
    ) throws(LearnerError) -> FittedTransforms {
        guard frame.rowCount > 0 else {
            throw LearnerError(
                .badValue, "the training rows are empty", hint: "Transforms learn from at least one row.")
        }
        var fitter = try TransformFitter(frame, excluding: excluding)
        for (index, step) in steps.enumerated() {
            do throws(LearnerError) {
                try fitter.fit(step)
            } catch {
                throw LearnerError(error.code, "transform \(index + 1): \(error.message)", hint: error.hint)
            }
        }
        return try fitter.finish()
    }
}

/// Runs steps over the training rows, one after the other, and notes what each learned.
private struct TransformFitter {
    private let workspace: TransformWorkspace
    private var compiler: TransformCompiler
    private let inputs: [InputColumn]
    private let excluded: Set<String>
    /// Columns that would become features if no step followed, in order.
    private var visible: [String]
    private var steps: [FittedStep] = []
    private var levels: [String: [String]] = [:]

    init(_ frame: Frame, excluding: [String]) throws(LearnerError) {
        excluded = Set(excluding)
        for name in excluding where frame[name] == nil {
            throw LearnerError(
                .missingColumn, "no column \"\(name)\" to leave out of the features",
                hint: suggestion(for: name, among: frame.names, called: "column"))
        }
        // Instants cannot be features; they are not read, and naming one in a step tells so.
        inputs = frame.schema.filter { !excluding.contains($0.name) }
            .compactMap { column in InputType(column.type).map { InputColumn(column.name, $0) } }
        visible = frame.names.filter { !excluding.contains($0) }
        var compiler = TransformCompiler()
        let slots = try compiler.declare(inputs)
        let workspace = TransformWorkspace(rows: frame.rowCount, numbers: compiler.numbers, texts: compiler.texts)
        let source = try FrameSource(frame, inputs: inputs)
        for (input, slot) in slots.enumerated() {
            switch slot {
            case .number(let slot): source.readNumbers(input, from: 0, into: workspace.numberCells(slot))
            case .text(let slot): source.readTexts(input, from: 0, into: workspace.textCells(slot))
            }
        }
        self.compiler = compiler
        self.workspace = workspace
    }

    mutating func fit(_ step: TransformStep) throws(LearnerError) {
        for problem in type(of: step).problems(step) {
            throw LearnerError(.badParameter, problem.message, hint: problem.hint)
        }
        if let spec = step.impute { for column in spec.columns { try impute(column, spec) } }
        if let spec = step.oneHot { for column in spec.columns { try oneHot(column, spec) } }
        if let spec = step.ordinal {
            for column in spec.columns {
                let found = try foundLevels(column, limit: nil)
                levels[column] = found
                try add(FittedStep(\.ordinal, .init(column, found, spec.unknown)))
            }
        }
        if let spec = step.scale { for column in spec.columns { try scale(column, spec.method) } }
        if let spec = step.log {
            for column in spec.columns {
                _ = try numbers(column)
                try add(FittedStep(\.log, .init(column, spec.offset)))
            }
        }
        if let spec = step.bin { for column in spec.columns { try bin(column, spec) } }
        if let spec = step.ratio { try ratio(spec) }
        if let spec = step.drop { for column in spec.columns { try drop(column) } }
        if let spec = step.keep {
            for column in spec.columns { _ = try position(column) }
            visible.removeAll { !spec.columns.contains($0) }
        }
    }

    /// What was learned, without the steps and inputs that no feature needs.
    func finish() throws(LearnerError) -> FittedTransforms {
        for name in visible {
            if case .number = compiler.slots[name] { continue }
            let isInstant = compiler.slots[name] == nil
            throw LearnerError(
                .badValue, "column \"\(name)\" is \(isInstant ? "an instant" : "text"), which is no feature by itself",
                hint: isInstant
                    ? "Drop it, or leave it out of the features." : "Add one_hot or ordinal for it, or drop it.")
        }
        guard (1...FittedTransforms.featureLimit).contains(visible.count) else {
            throw LearnerError(
                .badParameter,
                "the transforms give \(visible.count) features, not 1 to \(FittedTransforms.featureLimit)")
        }
        var needed = Set(visible)
        var kept: [FittedStep] = []
        for step in steps.reversed() where step.makes(anyOf: needed) {
            needed.formUnion(step.reads)
            kept.append(step)
        }
        let inputs = inputs.filter { needed.contains($0.name) }
            .map { InputColumn($0.name, $0.type, levels: levels[$0.name] ?? []) }
        return try FittedTransforms(inputs: inputs, steps: kept.reversed(), features: visible)
    }

    // MARK: - Steps

    private mutating func impute(_ column: String, _ spec: ImputeSpec) throws(LearnerError) {
        _ = try position(column)
        guard case .text(let slot) = compiler.slots[column] else {
            let present = try numbers(column).filter { !$0.isNaN }
            let value: Double?
            switch spec.strategy {
            case .mean: value = present.isEmpty ? nil : Self.mean(present)
            case .median: value = Self.quantile(present.sorted(), 0.5)
            case .mostFrequent: value = Self.mode(present)
            case .constant:
                switch spec.value {
                case .number(let number): value = number
                case .bool(let truth): value = truth ? 1 : 0
                default: throw wrongFill(column, spec, "a number")
                }
            }
            guard let value else { throw nothingToLearn(column) }
            return try add(FittedStep(\.fillNumber, .init(column, value)))
        }
        switch spec.strategy {
        case .mean, .median:
            throw LearnerError(
                .badParameter, "\"\(column)\" is text and has no \(spec.strategy.rawValue)",
                hint: "Use most_frequent or constant.")
        case .constant:
            guard let level = spec.value?.level else { throw wrongFill(column, spec, "a level") }
            try add(FittedStep(\.fillText, .init(column, level)))
        case .mostFrequent:
            let cells = workspace.textCells(slot)
            var counts: [String: Int] = [:]
            for level in cells { if let level { counts[level, default: 0] += 1 } }
            guard let level = Self.ranked(counts).first else { throw nothingToLearn(column) }
            try add(FittedStep(\.fillText, .init(column, level)))
        }
    }

    private mutating func oneHot(_ column: String, _ spec: OneHotSpec) throws(LearnerError) {
        let found = try foundLevels(column, limit: spec.maxLevels)
        levels[column] = found
        let place = try position(column)
        let names = found.map { FittedTransforms.featureName(column, $0) }
        if let taken = names.first(where: { visible.contains($0) }) {
            throw LearnerError(.badParameter, "\"\(taken)\" is already a column", hint: "Rename or drop that column.")
        }
        try add(FittedStep(\.oneHot, .init(column, found, spec.unknown)))
        visible.replaceSubrange(place...place, with: names)
    }

    private mutating func scale(_ column: String, _ method: ScaleMethod) throws(LearnerError) {
        let present = try numbers(column).filter { !$0.isNaN }
        guard let low = present.min(), let high = present.max() else { throw nothingToLearn(column) }
        let offset: Double
        let spread: Double
        switch method {
        case .standard:
            let mean = Self.mean(present)
            offset = mean
            // Two passes: the textbook one-pass form cancels for large means.
            spread = (present.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(present.count)).squareRoot()
        case .minMax: (offset, spread) = (low, high - low)
        }
        guard spread.isFinite, offset.isFinite else {
            throw LearnerError(.nonFinite, "the values of \"\(column)\" are too large to scale")
        }
        try add(FittedStep(\.scale, .init(column, offset: offset, divisor: low == high ? 1 : spread)))
    }

    private mutating func bin(_ column: String, _ spec: BinSpec) throws(LearnerError) {
        let sorted = try numbers(column).filter { !$0.isNaN }.sorted()
        var edges = spec.edges
        if let bins = spec.bins {
            guard !sorted.isEmpty else { throw nothingToLearn(column) }
            let cuts = (1..<bins).compactMap { Self.quantile(sorted, Double($0) / Double(bins)) }
            edges = Array(Set(cuts)).sorted()
        }
        try add(FittedStep(\.bin, .init(column, edges)))
    }

    private mutating func ratio(_ spec: RatioSpec) throws(LearnerError) {
        _ = try numbers(spec.numerator)
        _ = try numbers(spec.denominator)
        guard compiler.slots[spec.name] == nil, !excluded.contains(spec.name), !spec.name.isEmpty else {
            throw LearnerError(
                .badParameter, "\"\(spec.name)\" cannot name a new column", hint: "Choose a name that is not taken.")
        }
        try add(FittedStep(\.ratio, spec))
        visible.append(spec.name)
    }

    private mutating func drop(_ column: String) throws(LearnerError) { visible.remove(at: try position(column)) }

    // MARK: - Helpers

    /// Notes a step and runs it, so that the next one learns from its results.
    private mutating func add(_ step: FittedStep) throws(LearnerError) {
        let operations = try compiler.compile(step)
        workspace.grow(numbers: compiler.numbers, texts: compiler.texts)
        for (column, operation) in operations { try workspace.run(operation, column: column) }
        steps.append(step)
    }

    private func position(_ column: String) throws(LearnerError) -> Int {
        if let place = visible.firstIndex(of: column) { return place }
        let hint: String =
            if excluded.contains(column) {
                "It is left out of the features, as target, identifier or time."
            } else if compiler.slots[column] != nil || levels[column] != nil {
                "A step before this one dropped or replaced it."
            } else {
                suggestion(for: column, among: visible, called: "column")
            }
        throw LearnerError(.missingColumn, "no column \"\(column)\"", hint: hint)
    }

    private func numbers(_ column: String) throws(LearnerError) -> UnsafeMutableBufferPointer<Double> {
        _ = try position(column)
        guard case .number(let slot) = compiler.slots[column] else {
            throw LearnerError(
                .badParameter, "\"\(column)\" holds no numbers", hint: "Encode it by ordinal or one_hot first.")
        }
        return workspace.numberCells(slot)
    }

    /// The levels of a category in order: as numbers when all of them are, else as text.
    private func foundLevels(_ column: String, limit: Int?) throws(LearnerError) -> [String] {
        _ = try position(column)
        var counts: [String: Int] = [:]
        switch compiler.slots[column] {
        case .text(let slot):
            for level in workspace.textCells(slot) { if let level { counts[level, default: 0] += 1 } }
        case .number(let slot):
            for number in workspace.numberCells(slot) where !number.isNaN {
                counts[RawValue.level(of: number), default: 0] += 1
            }
        case nil:
            throw LearnerError(.badParameter, "\"\(column)\" holds instants, which have no levels", hint: "Drop it.")
        }
        guard !counts.isEmpty else { throw nothingToLearn(column) }
        if let limit, counts.count > limit {
            let frequent = Set(Self.ranked(counts).prefix(limit))
            counts = counts.filter { frequent.contains($0.key) }
        }
        guard counts.count <= FittedTransforms.levelLimit else {
            throw LearnerError(
                .badParameter, "\"\(column)\" has \(counts.count) levels, more than \(FittedTransforms.levelLimit)",
                hint: "Set max_levels, bin the column, or drop it.")
        }
        return Self.ordered(Array(counts.keys))
    }

    static func ordered(_ levels: [String]) -> [String] {
        let numbers = levels.map { (level: $0, number: Double($0) ?? .nan) }
        guard numbers.allSatisfy({ $0.number.isFinite }) else { return levels.sorted() }
        return numbers.sorted { ($0.number, $0.level) < ($1.number, $1.level) }.map(\.level)
    }

    /// Most frequent first; of equally frequent ones the first in order.
    private static func ranked(_ counts: [String: Int]) -> [String] {
        let places = Dictionary(uniqueKeysWithValues: ordered(Array(counts.keys)).enumerated().map { ($1, $0) })
        return counts.sorted { left, right in
            left.value != right.value
                ? left.value > right.value : places[left.key, default: 0] < places[right.key, default: 0]
        }.map(\.key)
    }

    private static func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(values.count) }

    /// The most frequent value; of equally frequent ones the smallest.
    private static func mode(_ values: [Double]) -> Double? {
        var counts: [Double: Int] = [:]
        for value in values { counts[value, default: 0] += 1 }
        return counts.max { ($0.value, $1.key) < ($1.value, $0.key) }?.key
    }

    /// Linear interpolation between order statistics (Hyndman & Fan 1996, type 7, numpy's default).
    private static func quantile(_ sorted: [Double], _ share: Double) -> Double? {
        guard let last = sorted.last else { return nil }
        let place = share * Double(sorted.count - 1)
        let low = Int(place)
        guard low + 1 < sorted.count else { return last }
        return sorted[low] + (place - Double(low)) * (sorted[low + 1] - sorted[low])
    }

    private func nothingToLearn(_ column: String) -> LearnerError {
        LearnerError(
            .badValue, "\"\(column)\" has no value in any training row", hint: "Drop it, or impute a constant first.")
    }

    private func wrongFill(_ column: String, _ spec: ImputeSpec, _ expected: String) -> LearnerError {
        LearnerError(
            .badParameter, "\"\(column)\" is filled with \(spec.value?.kindName ?? "nothing"), it needs \(expected)")
    }
}

extension TransformStep {
    /// What is wrong with the one verb of a step, also when it was not decoded but made in code.
    fileprivate static func problems(_ step: Self) -> [ManifestError] {
        check(step) + (step.impute.map(ImputeSpec.check) ?? []) + (step.oneHot.map(OneHotSpec.check) ?? [])
            + (step.ordinal.map(OrdinalSpec.check) ?? []) + (step.bin.map(BinSpec.check) ?? [])
    }
}

extension FittedStep {
    /// The columns a step reads.
    fileprivate var reads: [String] {
        if let ratio { return [ratio.numerator, ratio.denominator] }
        return [column].compactMap(\.self)
    }

    private var column: String? {
        fillNumber?.column ?? fillText?.column ?? oneHot?.column ?? ordinal?.column ?? scale?.column ?? log?.column
            ?? bin?.column
    }

    /// Whether one of `names` holds what this step makes.
    fileprivate func makes(anyOf names: Set<String>) -> Bool {
        if let oneHot {
            return oneHot.levels.contains { names.contains(FittedTransforms.featureName(oneHot.column, $0)) }
        }
        if let ratio { return names.contains(ratio.name) }
        return column.map(names.contains) ?? false
    }
}
