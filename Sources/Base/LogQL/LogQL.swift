package import Series

/// The language of log queries (Loki's LogQL): `{app="api"} |= "error" | json | status >= 500`, and figures made of lines:
/// `sum by (path) (rate({app="api"} | json [5m]))`.
///
/// Text becomes a tree (`LogQuery.parse`), and a `LogEngine` runs the tree over a `LogStore`. Patterns take time in proportion to
/// the line; there is no backtracking anywhere. Not there: `ip()`, `approx_topk`, `variants`, and template functions beyond
/// those of `LineTemplate`.
package struct LogQLError: Error, Sendable, Hashable, CustomStringConvertible {
    package let message: String
    /// Bytes from the query's start; nil when the trouble is not in the text.
    package let position: Int?
    package let line: Int
    package let column: Int

    init(_ message: String, at position: Int, in text: [UInt8]) {
        self.message = message
        self.position = position
        let before = text.prefix(position)
        line = before.count { $0 == UInt8(ascii: "\n") } + 1
        column = position - (before.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0) + 1
    }

    init(_ message: String) {
        self.message = message
        (position, line, column) = (nil, 0, 0)
    }

    package var description: String {
        position == nil ? message : "parse error at line \(line), col \(column): \(message)"
    }
}

/// One line of an answer.
package struct LogRow: Sendable, Hashable {
    /// The stream's labels, the metadata's and those that parsers made.
    package let labels: Labels
    /// Nanoseconds since 1970.
    package let time: Int64
    package let line: String
    /// The labels of the stream alone.
    package let stream: Labels
}

/// Values of one series of figures.
package struct LogSeries: Sendable, Hashable {
    package let labels: Labels
    /// One for each step of the query; nil where there is none.
    package var values: [Double?]
}

/// What a query answers.
package enum LogAnswer: Sendable, Hashable {
    case rows([LogRow])
    case series([LogSeries])
    /// One number for each step.
    case scalar([Double])
}
