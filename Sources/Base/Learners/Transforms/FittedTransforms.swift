package import Frames
package import Manifests

/// The type of a raw column that a model takes.
package enum InputType: String, WireEnum {
    case int, float, bool, category, string

    /// Whether the values are numbers to the transforms.
    var isNumber: Bool { self == .int || self == .float || self == .bool }
}

/// A raw column that a model takes, and the levels that were known in training where it is a category.
package struct InputColumn: Manifest {
    package var name = ""
    package var type = InputType.float
    package var levels: [String] = []

    package init() {}
    package init(_ name: String, _ type: InputType, levels: [String] = []) {
        (self.name, self.type, self.levels) = (name, type, levels)
    }
    package static let noun = "input column"
    package static let fields: [Field<Self>] = [
        .required("name", \.name, "Name of the column."),
        .required("type", \.type, "Type of its values."),
        .optional("levels", \.levels, "Levels known in training."),
    ]
}

/// Transforms with all they learned from the training rows: the one artifact that training and serving share.
///
/// Frames and rows are turned into features by one program, so equal raw values give bit-identical features.
package struct FittedTransforms: Sendable, Equatable {
    /// Most levels that a column may have.
    package static let levelLimit = 1_000
    /// Most features that transforms may give.
    package static let featureLimit = 20_000
    /// The version of the artifact that is written here.
    package static let artifactVersion = 1

    /// The raw columns that the features are made of; no others are read.
    package let inputColumns: [InputColumn]
    /// What the columns of the resulting matrix are called, in order.
    package let featureNames: [String]
    package let steps: [FittedStep]
    private let program: TransformProgram

    init(inputs: [InputColumn], steps: [FittedStep], features: [String]) throws(LearnerError) {
        (inputColumns, featureNames, self.steps) = (inputs, features, steps)
        program = try TransformProgram(inputs: inputs, steps: steps, features: features)
    }

    /// Transforms that hand over numeric columns as they are.
    package static func identity(_ names: [String]) throws(LearnerError) -> Self {
        try Self(inputs: names.map { InputColumn($0, .float) }, steps: [], features: names)
    }

    /// Reads an artifact.
    package init(artifact bytes: [UInt8]) throws(LearnerError) {
        let artifact = try ModelFiles.decode(Artifact.self, from: bytes, called: "the transforms")
        guard artifact.version == Self.artifactVersion else {
            throw LearnerError(
                .badModel, "the transforms are of version \(artifact.version), not \(Self.artifactVersion)",
                hint: "They were saved by a newer vagus.")
        }
        try self.init(inputs: artifact.inputs, steps: artifact.steps, features: artifact.features)
    }

    /// The artifact as JSON.
    ///
    /// Equal transforms give equal bytes, so that their digest can be compared.
    package var artifact: [UInt8] {
        var artifact = Artifact()
        (artifact.inputs, artifact.steps, artifact.features) = (inputColumns, steps, featureNames)
        return ModelFiles.encode(artifact)
    }

    /// The features of every row of a table.
    ///
    /// Columns that are not inputs may be missing from it.
    ///
    /// - Throws: `LearnerError`: `.missingColumn`, `.badValue` for a column of another type, `.unknownLevel`,
    ///   `.nonFinite`.
    package func apply(_ frame: Frame) throws(LearnerError) -> Matrix {
        try program.run(FrameSource(frame, inputs: inputColumns))
    }

    /// The features of raw rows.
    ///
    /// A key that is not an input is passed over; an input without its key is an error, one that is `missing` is not.
    package func apply(rows: [[String: RawValue]]) throws(LearnerError) -> Matrix {
        try program.run(RowSource(rows: rows, inputs: inputColumns))
    }

    /// The features of one raw row.
    package func apply(row: [String: RawValue]) throws(LearnerError) -> Matrix { try apply(rows: [row]) }

    package static func == (left: Self, right: Self) -> Bool {
        left.inputColumns == right.inputColumns && left.featureNames == right.featureNames && left.steps == right.steps
    }
}

extension FittedTransforms: Codable {
    package init(from decoder: any Decoder) throws {
        try self.init(artifact: Array(JSONValue(from: decoder).text.utf8))
    }

    package func encode(to encoder: any Encoder) throws { try JSONParser.parse(artifact).encode(to: encoder) }
}

/// The shape of `transforms.json`.
private struct Artifact: Manifest {
    var version = FittedTransforms.artifactVersion
    var inputs: [InputColumn] = []
    var steps: [FittedStep] = []
    var features: [String] = []

    static let fields: [Field<Self>] = [
        .required("version", \.version, "Version of this format."),
        .required("inputs", \.inputs, "Raw columns."),
        .required("steps", \.steps, "What is done, in order."),
        .required("features", \.features, "Names of the features, in order."),
    ]
}
