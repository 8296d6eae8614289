/// Why a model could not be made, loaded or asked.
package struct LearnerError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The closed set of reasons that callers may switch on.
    package enum Code: String, Sendable, CaseIterable {
        /// A native library that a model needs was not found.
        case libraryMissing = "library_missing"
        /// The native library is older than the model, or older than what vagus can use.
        case libraryTooOld = "library_too_old"
        /// A hyperparameter or the setting of a transform is unknown or out of range.
        case badParameter = "bad_parameter"
        /// The bytes or files of a model do not hold what they should.
        case badModel = "bad_model"
        /// A column or feature that is needed is not there.
        case missingColumn = "missing_column"
        /// A category that was not seen in training, where that is an error.
        case unknownLevel = "unknown_level"
        /// A value has another type than the column it stands in, or a label cannot be learned from.
        case badValue = "bad_value"
        /// A number is missing or infinite where the model needs a finite one.
        case nonFinite = "non_finite"
        /// The fit did not come to an end.
        case noConvergence = "no_convergence"
        /// The caller asked to stop.
        case cancelled
        case other
    }

    package let code: Code
    /// One lower-case clause.
    package let message: String
    /// What to do about it, in a sentence.
    package let hint: String?

    package init(_ code: Code, _ message: String, hint: String? = nil) {
        self.code = code
        self.message = message
        self.hint = hint
    }

    package var description: String { message + (hint.map { "\n  hint: " + $0 } ?? "") }
}
