public import Manifests

/// A table that pipelines read, with what must hold of it.
public enum DatasetKind: Kind {
    public typealias Spec = DatasetSpec
    public typealias Status = DatasetStatus
    public static let name = "Dataset"
    public static let plural = "datasets"
    public static let summary =
        "A table that pipelines read: where it is, what its columns are, and what must hold of it."
}

public struct DatasetSpec: Manifest {
    public var source = SourceSpec()
    public var primary_key: [String] = []
    public var time = TimeColumns()
    public var schema_: [ColumnSpec] = []
    public var expectations: [ExpectationSpec] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("source", \.source, "Where it is."),
        .optional("primary_key", \.primary_key, "Columns that name a row."),
        .optional("time", \.time, "Columns that tell when."),
        .optional("schema", \.schema_, "Its columns; absent: found out from the data."),
        .optional("expectations", \.expectations, "What must hold of it."),
    ]
    public static func check(_ value: Self) -> [ManifestError] {
        let columns = value.schema_.map(\.name)
        guard !columns.isEmpty else { return [] }
        return value.expectations.enumerated().compactMap { index, expectation in
            guard let column = expectation.column, !columns.contains(column) else { return nil }
            return ManifestError(
                at: ["expectations", "\(index)", "column"], message: "no column \"\(column)\" in the schema",
                hint: suggestion(for: column, among: columns, called: "column"))
        }
    }
}

public struct SourceSpec: Manifest {
    public enum Format: String, WireEnum { case csv, json_lines }
    public var type = Format.csv
    public var uri = ""
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("type", \.type, "Its format."),
        .required(
            "uri", \.uri,
            "A file: beneath the runner's dataset folder (--datasets), beneath the workspace (./…), or absolute."),
    ]
}

public struct TimeColumns: Manifest {
    public var event: String?
    public init() {}
    public static let fields: [Field<Self>] = [.optional("event", \.event, "Column that tells when the row happened.")]
}

public struct ColumnSpec: Manifest {
    public enum ValueType: String, WireEnum { case int, float, bool, category, string, timestamp }
    public enum Missing: String, WireEnum { case allow, refuse }
    public enum Role: String, WireEnum { case feature, target, protected, id, time, ignored }
    public var name = ""
    public var type = ValueType.float
    public var role = Role.feature
    public var missing = Missing.allow
    public var min: Double?
    public var max: Double?
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("name", \.name, "Its name."),
        .required("type", \.type, "Its type."),
        .optional(
            "role", \.role, "What it is for. Only features reach a model; protected columns only fairness checks."),
        .optional("missing", \.missing, "Whether a cell may be empty."),
        .optional("min", \.min, "Smallest value."),
        .optional("max", \.max, "Largest value."),
    ]
}

public struct ExpectationSpec: Manifest {
    public enum Severity: String, WireEnum { case fail, warn, quarantine }
    /// The names of Great Expectations that vagus checks.
    public enum Name: String, WireEnum {
        case expect_column_to_exist, expect_table_columns_to_match_set, expect_table_row_count_to_be_between
        case expect_column_values_to_not_be_null, expect_column_values_to_be_unique
        case expect_column_values_to_be_in_set, expect_column_values_to_not_be_in_set
        case expect_column_values_to_be_between, expect_column_values_to_match_regex
        case expect_column_value_lengths_to_be_between
        case expect_column_min_to_be_between, expect_column_max_to_be_between, expect_column_mean_to_be_between
        case expect_column_median_to_be_between, expect_column_stdev_to_be_between, expect_column_sum_to_be_between
        case expect_column_unique_value_count_to_be_between
        case expect_column_proportion_of_unique_values_to_be_between
        case expect_column_pair_values_a_to_be_greater_than_b, expect_compound_columns_to_be_unique
    }
    public var expect = Name.expect_column_to_exist
    public var column: String?
    public var column_a: String?
    public var column_b: String?
    public var columns: [String] = []
    public var min_value: Double?
    public var max_value: Double?
    public var value_set: [JSONValue] = []
    public var regex: String?
    public var mostly = 1.0
    public var severity = Severity.fail
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("expect", \.expect, "What must hold; the names are those of Great Expectations."),
        .optional("column", \.column, "Column it speaks of."),
        .optional("column_a", \.column_a, "Column that must be greater."),
        .optional("column_b", \.column_b, "Column that must be smaller."),
        .optional("columns", \.columns, "Columns it speaks of together."),
        .optional("min_value", \.min_value, "Lower bound, included."),
        .optional("max_value", \.max_value, "Upper bound, included."),
        .optional("value_set", \.value_set, "Allowed (or forbidden) values."),
        .optional("regex", \.regex, "Pattern that the text must contain."),
        .optional("mostly", \.mostly, "Share of the non-missing values for which it must hold.", in: 0...1),
        .optional("severity", \.severity, "fail stops the run, warn tells, quarantine sets the bad rows aside."),
    ]
}

public struct DatasetStatus: Manifest {
    public var versions: [DatasetVersion] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("versions", \.versions, "What was read, newest first, at most 20.")
    ]
}

/// What one ingestion read.
public struct DatasetVersion: Manifest {
    public var digest = ""
    public var rows = 0
    public var quarantined = 0
    public var run = ""
    public var at = Timestamp.zero
    public init() {}
    public static let fields: [Field<Self>] = [
        .told("digest", \.digest, "SHA-256 of its content, whatever its spelling."),
        .told("rows", \.rows, "Rows that passed."),
        .told("quarantined", \.quarantined, "Rows set aside."),
        .told("run", \.run, "Run that read it."),
        .told("at", \.at, "When."),
    ]
}

public struct IngestSpec: Manifest {
    public var dataset = ""
    public init() {}
    public static let fields: [Field<Self>] = [.required("dataset", \.dataset, "Dataset to read.")]
}

public struct ValidateSpec: Manifest {
    public enum Gate: String, WireEnum { case fail, warn }
    public var input = ""
    public var dataset = ""
    public var gate = Gate.fail
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("input", \.input, "Rows to check: `stage.rows`."),
        .required("dataset", \.dataset, "Dataset whose expectations must hold."),
        .optional("gate", \.gate, "Whether a failed expectation of severity \"fail\" stops the run."),
    ]
}

public struct TransformSpec: Manifest {
    public var input = ""
    public var target = ""
    public var split = SplitSpec()
    public var drop: [String] = []
    /// Transforms, one verb each: impute, one_hot, ordinal, scale, log, bin, ratio, drop, keep.
    public var steps: [JSONValue] = []
    public init() {}
    public static let fields: [Field<Self>] = [
        .required("input", \.input, "Rows: `stage.rows`."),
        .required("target", \.target, "Column to predict; never a feature."),
        .optional("split", \.split, "How test rows are set apart."),
        .optional("drop", \.drop, "Columns that are no features but stay in the rows (protected ones, ids)."),
        .optional(
            "steps", \.steps,
            "Transforms, each one of impute, one_hot, ordinal, scale, log, bin, ratio, drop, keep; fitted on the training rows only."
        ),
    ]
}

public struct SplitSpec: Manifest {
    public var test = Share(0.25)
    public var seed = 1
    public init() {}
    public static let fields: [Field<Self>] = [
        .optional("test", \.test, "Share of rows for testing."),
        .optional("seed", \.seed, "Seed: the same rows are set apart each time."),
    ]
}
