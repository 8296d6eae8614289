package import Series

/// A query, read.
package struct LogQuery: Sendable {
    package let text: String
    let root: LogExpression

    /// Whether it answers figures, not lines.
    package var isMetric: Bool {
        if case .lines = root { return false }
        return true
    }

    /// The conditions on streams, of every selector in it.
    package var selectors: [[LabelMatcher]] { root.selectors }
}

indirect enum LogExpression: Sendable {
    case lines(LineSource)
    case range(RangeAggregation)
    case aggregation(VectorAggregation, LogExpression)
    case binary(BinaryOperation, LogExpression, LogExpression)
    case labelReplace(LabelReplacement, LogExpression)
    case number(Double)
    /// A number as a vector without labels.
    case vector(Double)

    var selectors: [[LabelMatcher]] {
        switch self {
        case .lines(let source): [source.matchers]
        case .range(let range): [range.source.matchers]
        case .aggregation(_, let inner), .labelReplace(_, let inner): inner.selectors
        case .binary(_, let left, let right): left.selectors + right.selectors
        case .number, .vector: []
        }
    }
}

/// Streams, and what is done with their lines.
struct LineSource: Sendable {
    var matchers: [LabelMatcher]
    var stages: [PipelineStage] = []
}

enum PipelineStage: Sendable {
    case line(LineFilter)
    case json([Extraction])
    case logfmt(LogfmtOptions)
    case pattern(PatternTemplate)
    case regexp(LabelPattern)
    case unpack
    case label(LabelFilter)
    case lineFormat(LineTemplate)
    case labelFormat([LabelAssignment])
    case keep([LabelChoice])
    case drop([LabelChoice])
    case decolorize
}

/// A label that is taken from a place in a line.
struct Extraction: Sendable {
    let label: String
    /// Names of fields and places in arrays.
    let path: [PathPart]

    enum PathPart: Sendable, Hashable { case field(String), place(Int) }
}

struct LogfmtOptions: Sendable {
    var isStrict = false
    var keepsEmpty = false
    var extractions: [Extraction] = []
}

struct LabelAssignment: Sendable {
    enum Source: Sendable { case label(String), template(LineTemplate) }

    let name: String
    let source: Source
}

/// A label by name, or only where it has a value.
struct LabelChoice: Sendable {
    let name: String
    let test: StringTest?
}

struct Grouping: Sendable, Hashable {
    let isWithout: Bool
    let names: Set<String>

    /// The labels by which a series is told apart.
    func apply(_ labels: Labels) -> Labels {
        labels.filtered { name in names.contains(String(decoding: name, as: UTF8.self)) != isWithout }
    }
}

struct RangeAggregation: Sendable {
    enum Function: String, Sendable, CaseIterable {
        case count = "count_over_time"
        case rate
        case bytes = "bytes_over_time"
        case bytesRate = "bytes_rate"
        case sum = "sum_over_time"
        case average = "avg_over_time"
        case least = "min_over_time"
        case most = "max_over_time"
        case deviation = "stddev_over_time"
        case variance = "stdvar_over_time"
        case quantile = "quantile_over_time"
        case first = "first_over_time"
        case last = "last_over_time"
        case absent = "absent_over_time"
        case rateCounter = "rate_counter"

        /// Whether it needs a value from each line.
        var needsUnwrap: Bool {
            switch self {
            case .count, .rate, .bytes, .bytesRate, .absent: false
            default: true
            }
        }
    }

    enum Conversion: String, Sendable, CaseIterable {
        case number = ""
        case duration
        case durationSeconds = "duration_seconds"
        case bytes
    }

    struct Unwrap: Sendable {
        let label: String
        let conversion: Conversion
        /// Filters behind it.
        var stages: [PipelineStage] = []
    }

    let function: Function
    /// Of `quantile_over_time`.
    var parameter: Double = 0
    var source: LineSource
    var unwrap: Unwrap?
    /// Nanoseconds.
    var range: Int64
    var offset: Int64 = 0
    var grouping: Grouping?
}

struct VectorAggregation: Sendable {
    enum Function: String, Sendable, CaseIterable {
        case sum, avg, min, max, count, stddev, stdvar, topk, bottomk, sort
        case sortDescending = "sort_desc"
    }

    let function: Function
    let grouping: Grouping
    /// Of `topk` and `bottomk`.
    var parameter = 0
}

struct BinaryOperation: Sendable {
    enum Operator: String, Sendable {
        case or, and, unless
        case equal = "=="
        case notEqual = "!="
        case less = "<"
        case lessOrEqual = "<="
        case greater = ">"
        case greaterOrEqual = ">="
        case add = "+"
        case subtract = "-"
        case multiply = "*"
        case divide = "/"
        case modulo = "%"
        case power = "^"

        /// The higher one binds more tightly.
        var precedence: Int {
            switch self {
            case .or: 1
            case .and, .unless: 2
            case .equal, .notEqual, .less, .lessOrEqual, .greater, .greaterOrEqual: 3
            case .add, .subtract: 4
            case .multiply, .divide, .modulo: 5
            case .power: 6
            }
        }

        var isComparison: Bool { precedence == 3 }
        var isSet: Bool { precedence <= 2 }
    }

    enum Many: Sendable { case none, left, right }

    let function: Operator
    var returnsBool = false
    /// Which labels must agree: `on` is a grouping by, `ignoring` one without.
    var matching = Grouping(isWithout: true, names: [])
    /// The side of which several series may meet one of the other.
    var many = Many.none
    /// Labels that come from the side of the one.
    var included: [String] = []
}

struct LabelReplacement: Sendable {
    let target: String
    let replacement: String
    let source: String
    let pattern: LabelPattern
}
