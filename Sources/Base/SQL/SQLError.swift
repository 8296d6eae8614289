/// What went wrong in the database.
@usableFromInline
package struct SQLError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kinds of failure that a caller may want to tell apart.
    @usableFromInline
    package enum Code: String, Sendable, CaseIterable {
        /// A row with this key is there already.
        case uniqueViolation
        /// A row refers to one that is not there, or is still referred to.
        case foreignKeyViolation
        /// A NOT NULL or CHECK rule of the table does not hold.
        case constraintViolation
        /// Someone else held the database for longer than the wait allows.
        case busy
        /// The file is damaged or cannot be read back.
        case corrupt
        /// The disk, or the size limit of the database, is full, or writing failed.
        case full
        /// The database or its folder may not be written, or a read tried to write.
        case readOnly
        /// The file or its folder cannot be opened.
        case cannotOpen
        /// The file is something else than a database.
        case notADatabase
        /// The row has no such column.
        case noSuchColumn
        /// The column holds another type, or the value cannot be stored.
        case wrongType
        /// The database was closed.
        case closed
        /// An applied migration differs from the one in the program.
        case migrationChanged
        /// Anything else: a mistake in SQL, most of the time.
        case other
    }

    package let code: Code
    package let message: String

    @usableFromInline package init(_ code: Code, _ message: String) { (self.code, self.message) = (code, message) }

    @usableFromInline package var description: String { message }
}
