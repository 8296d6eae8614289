// Content-addressed files: what a blob is called is the SHA-256 of what it holds.
//
// What comes in is bytes, in pieces; what goes out is a `Digest` to keep and, later, the same bytes or an error. A blob
// never changes, putting the same content twice is putting it once, and two writers of one content cannot disturb each
// other. Folder of a store:
//
//   ab/cdef…      the blob whose digest is abcdef…, read-only
//   incoming/     what is being written
//
// Order of a write: file in `incoming`, locked; all bytes; fsync; rename to its digest; fsync of the folder. So a kill or
// a power cut at any point leaves either the whole blob or none. What was left in `incoming` is recognised by its lock,
// which dies with its writer, and is removed by `sweepTemporaries`.
//
//   Digest           the name
//   BlobStore        put, open, verify, list, delete
//   BlobWriter       one blob being written            BlobReader   one blob being read, in ranges
//   Tree             a folder as one blob: a manifest of paths, modes and digests
//   WorkerThreads    the few threads on which all of this happens; the Swift pool is never blocked
//   Files            system calls with errors of this room

/// Why blobs could not be written or read.
package struct BlobError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The closed list of reasons.
    package enum Code: String, Sendable {
        case notFound = "not_found"
        case full
        case tooLarge = "too_large"
        case corrupt
        /// What was given is not what it should be: a digest, a range, a path in a manifest.
        case invalid
        /// The place is taken.
        case exists
        case notAllowed = "not_allowed"
        /// More work is waiting than is allowed to.
        case busy
        case other
    }

    package let code: Code
    /// One lower-case clause.
    package let message: String
    /// What to do about it, in a sentence.
    package let hint: String

    init(_ code: Code, _ message: String, hint: String) {
        self.code = code
        self.message = message
        self.hint = hint
    }

    package var description: String { message }
}
