package import Manifests

/// One act on one column with all it learned from the training rows; exactly one is set.
package struct FittedStep: Manifest {
    package var fillNumber: FillNumber?
    package var fillText: FillText?
    package var oneHot: Levels?
    package var ordinal: Levels?
    package var scale: Scale?
    package var log: Log?
    package var bin: Bin?
    package var ratio: RatioSpec?

    package init() {}
    package static let fields: [Field<Self>] = [
        .optional("fill_number", \.fillNumber, "Fills missing numbers."),
        .optional("fill_text", \.fillText, "Fills missing levels."),
        .optional("one_hot", \.oneHot, "Replaces a level by a feature for each known level."),
        .optional("ordinal", \.ordinal, "Replaces a level by its number."),
        .optional("scale", \.scale, "Subtracts, then divides."),
        .optional("log", \.log, "Takes the natural logarithm of value plus offset."),
        .optional("bin", \.bin, "Counts the edges that are not above the value."),
        .optional("ratio", \.ratio, "Divides one column by another."),
    ]
    package static var choices: [String] { fields.map(\.name) }

    init<Value>(_ path: WritableKeyPath<Self, Value?>, _ value: Value) {
        self.init()
        self[keyPath: path] = value
    }

    package struct FillNumber: Manifest {
        package var column = ""
        package var value = 0.0
        package init() {}
        init(_ column: String, _ value: Double) { (self.column, self.value) = (column, value) }
        package static let fields: [Field<Self>] = [
            .required("column", \.column, "Column."), .required("value", \.value, "What to fill in."),
        ]
    }

    package struct FillText: Manifest {
        package var column = ""
        package var value = ""
        package init() {}
        init(_ column: String, _ value: String) { (self.column, self.value) = (column, value) }
        package static let fields: [Field<Self>] = [
            .required("column", \.column, "Column."), .required("value", \.value, "What to fill in."),
        ]
    }

    package struct Levels: Manifest {
        package var column = ""
        package var levels: [String] = []
        package var unknown = UnknownLevel.ignore
        package init() {}
        init(_ column: String, _ levels: [String], _ unknown: UnknownLevel) {
            (self.column, self.levels, self.unknown) = (column, levels, unknown)
        }
        package static let fields: [Field<Self>] = [
            .required("column", \.column, "Column."), .required("levels", \.levels, "Known levels, in order."),
            .required("unknown", \.unknown, "What becomes of other levels."),
        ]
    }

    package struct Scale: Manifest {
        package var column = ""
        package var offset = 0.0
        package var divisor = 1.0
        package init() {}
        init(_ column: String, offset: Double, divisor: Double) {
            (self.column, self.offset, self.divisor) = (column, offset, divisor)
        }
        package static let fields: [Field<Self>] = [
            .required("column", \.column, "Column."), .required("offset", \.offset, "Subtracted first."),
            .required("divisor", \.divisor, "Divides the rest."),
        ]
    }

    package struct Log: Manifest {
        package var column = ""
        package var offset = 0.0
        package init() {}
        init(_ column: String, _ offset: Double) { (self.column, self.offset) = (column, offset) }
        package static let fields: [Field<Self>] = [
            .required("column", \.column, "Column."), .required("offset", \.offset, "Added first."),
        ]
    }

    package struct Bin: Manifest {
        package var column = ""
        package var edges: [Double] = []
        package init() {}
        init(_ column: String, _ edges: [Double]) { (self.column, self.edges) = (column, edges) }
        package static let fields: [Field<Self>] = [
            .required("column", \.column, "Column."), .required("edges", \.edges, "Inner edges, ascending."),
        ]
    }
}
