import Series

/// Operations that look at one series and step at a time.
enum Elementwise {
    static func negate(_ row: inout Row, _ lane: Lane) {
        for step in row.values.indices {
            if !Absent.isAbsent(row.values[step]) {
                row.values[step] = -row.values[step]
            } else if var histogram = row.histogram(at: step) {
                histogram.multiply(by: -1)
                row.histograms[step] = histogram
            }
        }
        lane.dropName(&row)
    }

    /// Applies a function to each number; histograms are left out.
    static func map(_ row: inout Row, _ lane: Lane, _ function: (Double) -> Double) {
        row.histograms.removeAll(keepingCapacity: true)
        for step in row.values.indices where !Absent.isAbsent(row.values[step]) {
            row.values[step] = function(row.values[step])
        }
        lane.dropName(&row)
    }

    /// Applies a function to each histogram; numbers are left out.
    static func mapHistograms(_ row: inout Row, _ lane: Lane, _ function: (FloatHistogram) -> Double) {
        for step in row.values.indices { row.values[step] = row.histogram(at: step).map(function) ?? Absent.value }
        row.histograms.removeAll(keepingCapacity: true)
        lane.dropName(&row)
    }

    /// Two scalars; a comparison gives 1 or 0.
    static func scalar(_ operation: BinaryOperation.Operator, _ left: Double, _ right: Double) -> Double {
        operation.isComparison ? (compare(operation, left, right) ? 1 : 0) : compute(operation, left, right)
    }

    @inline(__always)
    static func compute(_ operation: BinaryOperation.Operator, _ left: Double, _ right: Double) -> Double {
        switch operation {
        case .add: left + right
        case .subtract: left - right
        case .multiply: left * right
        case .divide: left / right
        case .power: Mathematics.power(left, right)
        case .modulo: Mathematics.remainder(left, right)
        case .atan2: Mathematics.arcTangent(left, right)
        default: left
        }
    }

    @inline(__always)
    static func compare(_ operation: BinaryOperation.Operator, _ left: Double, _ right: Double) -> Bool {
        switch operation {
        case .equal: left == right
        case .notEqual: left != right
        case .greater: left > right
        case .less: left < right
        case .greaterOrEqual: left >= right
        case .lessOrEqual: left <= right
        default: true
        }
    }
}

/// What one side of an operation is at a step.
enum Operand {
    case number(Double)
    case histogram(FloatHistogram)

    var name: String { if case .number = self { "float" } else { "histogram" } }
}

/// A binary operator over values of which one at least may be a histogram.
struct ElementOperation {
    let operation: BinaryOperation.Operator
    let place: Range<Int>

    /// The result, and whether a filter keeps it; nil (with a note) where the operator has no meaning for the two.
    func apply(_ left: Operand, _ right: Operand, _ lane: Lane) -> (value: Operand, isKept: Bool)? {
        switch (left, right) {
        case (.number(let one), .number(let other)):
            if operation.isComparison { return (left, Elementwise.compare(operation, one, other)) }
            return (.number(Elementwise.compute(operation, one, other)), true)
        case (.number(let factor), .histogram(var histogram)):
            guard operation == .multiply else { return mismatch(left, right, lane) }
            histogram.multiply(by: factor)
            histogram.compact()
            return (.histogram(histogram), true)
        case (.histogram(var histogram), .number(let factor)):
            switch operation {
            case .multiply: histogram.multiply(by: factor)
            case .divide: histogram.divide(by: factor)
            default: return mismatch(left, right, lane)
            }
            histogram.compact()
            return (.histogram(histogram), true)
        case (.histogram(let one), .histogram(let other)): return combine(one, other, lane)
        }
    }

    private func combine(_ left: FloatHistogram, _ right: FloatHistogram, _ lane: Lane) -> (
        value: Operand, isKept: Bool
    )? {
        var result = left
        switch operation {
        case .equal, .notEqual:
            let isSame = left.compacted().isSame(as: right.compacted())
            return (.histogram(left), isSame == (operation == .equal))
        case .add, .subtract:
            do throws(HistogramMismatch) {
                if operation == .add { try result.add(right) } else { try result.subtract(right) }
            } catch {
                lane.notes.warn(
                    "incompatible bucket layout encountered for binary operator \(operation.rawValue)", at: place)
                return nil
            }
            result.compact()
            return (.histogram(result), true)
        default: return mismatch(.histogram(left), .histogram(right), lane)
        }
    }

    private func mismatch(_ left: Operand, _ right: Operand, _ lane: Lane) -> (value: Operand, isKept: Bool)? {
        let name = operation.rawValue
        let text =
            "incompatible sample types encountered for binary operator \"\(name)\": \(left.name) \(name) \(right.name)"
        lane.notes.inform(text, at: place)
        return nil
    }
}

extension Row {
    func operand(at step: Int) -> Operand? {
        if !Absent.isAbsent(values[step]) { return .number(values[step]) }
        return histogram(at: step).map { .histogram($0) }
    }

    mutating func put(_ operand: Operand, at step: Int) {
        switch operand {
        case .number(let value):
            values[step] = value
            if !histograms.isEmpty { histograms[step] = nil }
        case .histogram(let histogram): set(histogram, at: step)
        }
    }
}
