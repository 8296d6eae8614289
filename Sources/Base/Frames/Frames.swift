// Frames: tables held column by column.
//
// A `Frame` is a schema and as many `Column`s, all of one length. It is read from CSV or JSON Lines (rows that do not
// fit the schema go aside with row, column, value and reason), kept in its own compact file (`Formats.md`), cut, joined
// and split by pure functions, and named by a digest of what it says rather than of how it was spelled.
// Nothing here knows of vagus, of clocks or of randomness: a split takes its seed.

/// The types that a column can have.
package enum ColumnType: String, Codable, CaseIterable, Sendable {
    /// Whole numbers of 64 bits.
    case int
    /// Double precision numbers; NaN is missing.
    case float
    /// True or false.
    case bool
    /// Text out of a small set of levels.
    case category
    /// Any text.
    case string
    /// Instants in UTC, in microseconds since 1970.
    case timestamp
}

/// The name and type of a column.
package struct ColumnSchema: Codable, Sendable, Equatable, Hashable {
    package var name: String
    package var type: ColumnType

    package init(_ name: String, _ type: ColumnType) {
        self.name = name
        self.type = type
    }
}

/// The reason why a table could not be read, written or cut as asked.
package struct FrameError: Error, Equatable, CustomStringConvertible {
    /// The closed set of what can go wrong.
    package enum Code: String, Sendable {
        case unknownColumn = "unknown_column"
        case duplicateColumn = "duplicate_column"
        case lengthMismatch = "length_mismatch"
        case typeMismatch = "type_mismatch"
        case invalidArgument = "invalid_argument"
        case emptyFile = "empty_file"
        case malformedHeader = "malformed_header"
        case limitExceeded = "limit_exceeded"
        case unreadable = "unreadable"
        case unwritable = "unwritable"
        case corrupt = "corrupt"
    }

    package let code: Code
    /// What was tried and what came of it: a lower-case clause.
    package let message: String
    /// What to do about it: a sentence.
    package let hint: String

    package init(_ code: Code, _ message: String, hint: String) {
        self.code = code
        self.message = message
        self.hint = hint
    }

    package var description: String { "\(message). \(hint)" }

    /// Tells that no column has a name, and which known one it may have meant.
    static func unknownColumn(_ name: String, known: [String]) -> FrameError {
        let shown = known.prefix(shownNames).map { "\"\($0)\"" }.joined(separator: ", ")
        let more = known.count > shownNames ? " and \(known.count - shownNames) more" : ""
        let hint =
            nearestName(to: name, in: known).map { "Did you mean \"\($0)\"?" }
            ?? (known.isEmpty ? "The table has no columns." : "The columns are \(shown)\(more).")
        return FrameError(.unknownColumn, "no column \"\(name)\"", hint: hint)
    }
}

/// How many column names an error lists.
private let shownNames = 12

/// The known name that is nearest by edits, when it is near enough to be a slip.
///
/// - Complexity: O(n · m) per known name.
func nearestName(to name: String, in known: [String]) -> String? {
    let wanted = Array(name.lowercased().utf8)
    guard wanted.count <= 128 else { return nil }
    let allowed = max(1, wanted.count / 3)
    var best: (name: String, distance: Int)?
    for candidate in known where abs(candidate.utf8.count - wanted.count) <= allowed {
        let distance = editDistance(wanted, Array(candidate.lowercased().utf8))
        if distance <= allowed, distance < best?.distance ?? Int.max { best = (candidate, distance) }
    }
    return best?.name
}

/// Edits between two texts in bytes, swapped neighbours counting once (Damerau 1964, optimal string alignment).
private func editDistance(_ a: [UInt8], _ b: [UInt8]) -> Int {
    var earlier = Array(0...b.count)
    var previous = earlier
    var current = earlier
    for (i, x) in a.enumerated() {
        current[0] = i + 1
        for (j, y) in b.enumerated() {
            current[j + 1] = min(previous[j] + (x == y ? 0 : 1), previous[j + 1] + 1, current[j] + 1)
            if i > 0, j > 0, x == b[j - 1], y == a[i - 1] { current[j + 1] = min(current[j + 1], earlier[j - 1] + 1) }
        }
        (earlier, previous, current) = (previous, current, earlier)
    }
    return previous[b.count]
}
