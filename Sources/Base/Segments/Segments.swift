/// What stores that only ever append have in common: a write-ahead log, files that never change once they are written,
/// compression, and a filter that tells which blocks cannot hold a piece of text.
///
/// `LogStore` and `SpanStore` stand on it. Nothing here asks a clock, starts a thread or keeps global state; all calls block.
package struct StorageError: Error, Sendable, CustomStringConvertible {
    package enum Code: Sendable {
        /// No room on the disk.
        case full
        /// A file does not hold what its checksum says.
        case damaged
        /// An argument that no store can act on.
        case invalid
        /// A limit of the store.
        case limit
        case notFound
        case other
    }

    package let code: Code
    package let description: String
    package let hint: String

    package init(_ code: Code, _ description: String, hint: String) {
        self.code = code
        self.description = description
        self.hint = hint
    }

    /// A file that cannot be what it claims to be.
    package static func damaged(_ what: String) -> StorageError {
        StorageError(.damaged, what, hint: "Look at the disk; the file can be moved away, and what it held is lost.")
    }
}
