package import Manifests

/// One step that turns columns into features; exactly one verb is written.
///
/// Steps run in their order, each on what the ones before have left. What a step needs to know (means, levels, edges)
/// is learned from the training split alone, see ``FittedTransforms``.
package struct TransformStep: Manifest {
    package var impute: ImputeSpec?
    package var oneHot: OneHotSpec?
    package var ordinal: OrdinalSpec?
    package var scale: ScaleSpec?
    package var log: LogSpec?
    package var bin: BinSpec?
    package var ratio: RatioSpec?
    package var drop: ColumnsSpec?
    package var keep: ColumnsSpec?

    package init() {}
    package static let noun = "transform"
    package static let fields: [Field<Self>] = [
        .optional("impute", \.impute, "Fills in missing values."),
        .optional("one_hot", \.oneHot, "Replaces a category by one feature of 0 or 1 for each level: `column=level`."),
        .optional("ordinal", \.ordinal, "Replaces a category by the number of its level."),
        .optional("scale", \.scale, "Brings numbers to a common range."),
        .optional("log", \.log, "Replaces numbers by the natural logarithm of number plus offset."),
        .optional("bin", \.bin, "Replaces numbers by the number of the interval they lie in."),
        .optional("ratio", \.ratio, "Adds one column divided by another."),
        .optional("drop", \.drop, "Leaves columns out."),
        .optional("keep", \.keep, "Leaves out all columns but these."),
    ]
    package static var choices: [String] { fields.map(\.name) }
    /// The short form of lists of columns does not pass their own check.
    package static func check(_ value: Self) -> [ManifestError] {
        (value.drop.map(ColumnsSpec.check) ?? []).map { $0.below(["drop"]) }
            + (value.keep.map(ColumnsSpec.check) ?? []).map { $0.below(["keep"]) }
    }
}

/// How missing values are filled in.
package enum ImputeStrategy: String, WireEnum {
    case mean, median, constant
    case mostFrequent = "most_frequent"
}

/// What to fill into which columns.
package struct ImputeSpec: Manifest {
    package var columns: [String] = []
    package var strategy = ImputeStrategy.mean
    package var value: RawValue?

    package init() {}
    package static let fields: [Field<Self>] = [
        .required("columns", \.columns, "Columns with missing values."),
        .required("strategy", \.strategy, "What to fill in; mean and median are for numbers."),
        .optional("value", \.value, "What the strategy `constant` fills in."),
    ]
    package static func check(_ value: Self) -> [ManifestError] {
        if (value.strategy == .constant) == (value.value != nil) { return columnErrors(value.columns) }
        let message =
            value.strategy == .constant
            ? "the strategy \"constant\" needs a value" : "only the strategy \"constant\" takes a value"
        return [ManifestError(at: ["value"], message: message, hint: "Write strategy: constant with a value.")]
    }
}

/// What becomes of a level that was not there in training.
package enum UnknownLevel: String, WireEnum {
    /// All its features are 0.
    case ignore
    /// Its number is -1.
    case code
    /// The row is refused.
    case error
}

/// Which categories become features of 0 or 1.
///
/// A missing value is 0 in all of them.
package struct OneHotSpec: Manifest {
    package var columns: [String] = []
    package var unknown = UnknownLevel.ignore
    package var maxLevels: Int?

    package init() {}
    package static let fields: [Field<Self>] = [
        .required("columns", \.columns, "Categories; whole numbers are taken as levels too."),
        .optional("unknown", \.unknown, "What becomes of a level not seen in training: ignore or error."),
        .optional(
            "max_levels", \.maxLevels,
            "Only the most frequent levels get a feature, the rest count as unknown. "
                + "Without it more than \(FittedTransforms.levelLimit) levels are an error.",
            in: 1...Double(FittedTransforms.levelLimit)),
    ]
    package static func check(_ value: Self) -> [ManifestError] {
        if value.unknown == .code {
            return [
                ManifestError(
                    at: ["unknown"], message: "one_hot cannot give an unknown level a code",
                    hint: "Use ignore or error.")
            ]
        }
        guard value.unknown == .error, value.maxLevels != nil else { return columnErrors(value.columns) }
        return [
            ManifestError(
                at: ["max_levels"], message: "max_levels makes rare levels unknown, which is an error here",
                hint: "Use unknown: ignore with max_levels.")
        ]
    }
}

/// Which categories become numbers.
///
/// A missing value stays missing.
package struct OrdinalSpec: Manifest {
    package var columns: [String] = []
    package var unknown = UnknownLevel.code

    package init() {}
    package static let fields: [Field<Self>] = [
        .required("columns", \.columns, "Categories; levels are numbered from 0 in their sorted order."),
        .optional("unknown", \.unknown, "What becomes of a level not seen in training: code (-1) or error."),
    ]
    package static func check(_ value: Self) -> [ManifestError] {
        guard value.unknown == .ignore else { return columnErrors(value.columns) }
        return [
            ManifestError(
                at: ["unknown"], message: "ordinal cannot ignore an unknown level", hint: "Use code or error.")
        ]
    }
}

/// Ways to bring numbers to a common range.
package enum ScaleMethod: String, WireEnum {
    /// Mean 0 and (population) standard deviation 1.
    case standard
    /// From 0 to 1.
    case minMax = "min_max"
}

/// Which numbers are scaled.
package struct ScaleSpec: Manifest {
    package var columns: [String] = []
    package var method = ScaleMethod.standard

    package init() {}
    package static let fields: [Field<Self>] = [
        .required("columns", \.columns, "Numbers."),
        .optional("method", \.method, "How to scale; a column of one value becomes 0."),
    ]
    package static func check(_ value: Self) -> [ManifestError] { columnErrors(value.columns) }
}

/// Which numbers are replaced by their logarithm.
package struct LogSpec: Manifest {
    package var columns: [String] = []
    package var offset = 1.0

    package init() {}
    package static let fields: [Field<Self>] = [
        .required("columns", \.columns, "Numbers; number plus offset must be above 0."),
        .optional("offset", \.offset, "Added before the logarithm is taken.", in: 0...1e12),
    ]
    package static func check(_ value: Self) -> [ManifestError] { columnErrors(value.columns) }
}

/// Which numbers are replaced by the interval they lie in.
package struct BinSpec: Manifest {
    package var columns: [String] = []
    package var bins: Int?
    package var edges: [Double] = []

    package init() {}
    package static let fields: [Field<Self>] = [
        .required("columns", \.columns, "Numbers."),
        .optional("bins", \.bins, "How many intervals, cut at quantiles of the training rows.", in: 2...1000),
        .optional("edges", \.edges, "Ascending inner edges; the number is how many edges are not above the value."),
    ]
    package static func check(_ value: Self) -> [ManifestError] {
        if (value.bins == nil) == value.edges.isEmpty {
            return [
                ManifestError(
                    at: [], message: "a bin has either bins or edges",
                    hint: "Write bins: 10 for quantiles, or edges: [18, 65] for your own.")
            ]
        }
        let isAscending = zip(value.edges, value.edges.dropFirst()).allSatisfy { $0 < $1 }
        guard isAscending, value.edges.allSatisfy(\.isFinite) else {
            return [ManifestError(at: ["edges"], message: "the edges do not ascend", hint: "Sort them, each once.")]
        }
        return columnErrors(value.columns)
    }
}

/// A new column made of two others.
///
/// Where the denominator is 0 it is missing.
package struct RatioSpec: Manifest {
    package var name = ""
    package var numerator = ""
    package var denominator = ""

    package init() {}
    package static let fields: [Field<Self>] = [
        .required("name", \.name, "Name of the new column."),
        .required("numerator", \.numerator, "Column of numbers above the line."),
        .required("denominator", \.denominator, "Column of numbers below the line."),
    ]
}

/// Some columns.
package struct ColumnsSpec: Manifest {
    package var columns: [String] = []

    package init() {}
    package static let noun = "list of columns"
    package static let fields: [Field<Self>] = [.required("columns", \.columns, "Names of columns.")]
    package static func check(_ value: Self) -> [ManifestError] { columnErrors(value.columns) }
    /// `drop: [a, b]` for `drop: {columns: [a, b]}`.
    package static func shorthand(_ json: JSONValue) -> Self? {
        guard case .array(let items) = json else { return nil }
        let names = items.compactMap(\.string)
        guard names.count == items.count else { return nil }
        var value = Self()
        value.columns = names
        return value
    }
}

private func columnErrors(_ columns: [String]) -> [ManifestError] {
    if columns.isEmpty {
        return [ManifestError(at: ["columns"], message: "no column is named", hint: "Name at least one column.")]
    }
    guard Set(columns).count < columns.count else { return [] }
    return [ManifestError(at: ["columns"], message: "a column is named twice", hint: "Name each column once.")]
}
