import Manifests

/// What an expression can see.
///
///     let context = Context(values: ["ref": .string("main")], status: .init(isSuccess: true))
///     let lazy = Context { name in name == "needs" ? try loadNeeds() : nil }
package struct Context: Sendable {
    /// How the run stands, for `success()`, `failure()` and `cancelled()`.
    package struct Status: Sendable {
        package var isSuccess: Bool
        package var isFailure: Bool
        package var isCancelled: Bool

        package init(isSuccess: Bool, isFailure: Bool = false, isCancelled: Bool = false) {
            (self.isSuccess, self.isFailure, self.isCancelled) = (isSuccess, isFailure, isCancelled)
        }
    }

    /// What an absent member means.
    package enum Missing: Sendable {
        /// It is null, as GitHub has it: right for `if:` and templates.
        case null
        /// It is an error, so that a gate whose metric is absent fails instead of comparing 0.
        case error
    }

    /// Finds the value of a top-level name, only when it is needed, once an evaluation; nil is an unknown name.
    package var lookup: @Sendable (String) throws -> Value?
    /// Nil where the status functions make no sense.
    package var status: Status?
    package var missing: Missing
    /// Hashes the files that the patterns match; nil where there are no files.
    package var hashFiles: (@Sendable ([String]) throws -> String)?

    package init(
        status: Status? = nil, missing: Missing = .null, hashFiles: (@Sendable ([String]) throws -> String)? = nil,
        lookup: @escaping @Sendable (String) throws -> Value?
    ) {
        (self.lookup, self.status, self.missing, self.hashFiles) = (lookup, status, missing, hashFiles)
    }

    package init(
        values: [String: Value], status: Status? = nil, missing: Missing = .null,
        hashFiles: (@Sendable ([String]) throws -> String)? = nil
    ) {
        let all = Value.object(Ordered(values.map { ($0.key, $0.value) }))
        self.init(status: status, missing: missing, hashFiles: hashFiles) { all.member($0) }
    }
}
