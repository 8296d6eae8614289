/// A table: named columns of one length.
package struct Frame: Sendable {
    package private(set) var schema: [ColumnSchema]
    package private(set) var columns: [Column]
    package private(set) var rowCount: Int
    private var positions: [String: Int]

    /// Puts columns together.
    ///
    /// - Parameter columns: Names, types and values, in the order of the table.
    /// - Throws: `duplicate_column`, `length_mismatch`, or `type_mismatch` when a schema says another type than its values.
    package init(_ columns: [(ColumnSchema, Column)]) throws(FrameError) {
        schema = []
        self.columns = []
        positions = [:]
        rowCount = columns.first?.1.count ?? 0
        for (schema, column) in columns { try add(schema, column) }
    }

    package var names: [String] { schema.map(\.name) }

    /// The column with a name, or nil.
    package subscript(name: String) -> Column? { positions[name].map { columns[$0] } }

    /// The column with a name.
    ///
    /// - Throws: `unknown_column` with the name that may have been meant.
    package func column(_ name: String) throws(FrameError) -> Column { columns[try position(of: name)] }

    /// The type of the column with a name, or nil.
    package func type(of name: String) -> ColumnType? { positions[name].map { schema[$0].type } }

    /// The place of a column in the table.
    ///
    /// - Throws: `unknown_column` with the name that may have been meant.
    package func position(of name: String) throws(FrameError) -> Int {
        guard let position = positions[name] else { throw .unknownColumn(name, known: names) }
        return position
    }

    /// The table with only these columns, in this order.
    package func select(_ names: [String]) throws(FrameError) -> Frame {
        var chosen: [(ColumnSchema, Column)] = []
        for name in names {
            let position = try position(of: name)
            chosen.append((schema[position], columns[position]))
        }
        return try Frame(chosen)
    }

    /// The table without these columns.
    package func dropping(_ names: [String]) throws(FrameError) -> Frame {
        for name in names { _ = try position(of: name) }
        let gone = Set(names)
        return try select(self.names.filter { !gone.contains($0) })
    }

    /// The table with one column more at its end.
    package func appending(_ name: String, _ column: Column) throws(FrameError) -> Frame {
        var copy = self
        if columns.isEmpty { copy.rowCount = column.count }
        try copy.add(ColumnSchema(name, column.type), column)
        return copy
    }

    /// The table with other values, and perhaps another type, in one of its columns.
    package func replacing(_ name: String, with column: Column) throws(FrameError) -> Frame {
        let position = try position(of: name)
        guard column.count == rowCount else { throw Self.wrongLength(name, column.count, rowCount) }
        var copy = self
        copy.schema[position].type = column.type
        copy.columns[position] = column
        return copy
    }

    /// The table with another name for one of its columns.
    package func renaming(_ name: String, to newName: String) throws(FrameError) -> Frame {
        let position = try position(of: name)
        var pairs = Array(zip(schema, columns))
        pairs[position].0.name = newName
        return try Frame(pairs)
    }

    /// The table with the same schema over other columns of one length.
    func rebuilt(_ columns: [Column], rowCount: Int) -> Frame {
        var copy = self
        copy.columns = columns
        copy.rowCount = rowCount
        return copy
    }

    private mutating func add(_ schema: ColumnSchema, _ column: Column) throws(FrameError) {
        guard positions[schema.name] == nil else {
            throw FrameError(
                .duplicateColumn, "column \"\(schema.name)\" is there twice",
                hint: "Give each column a name of its own.")
        }
        guard column.count == rowCount else { throw Self.wrongLength(schema.name, column.count, rowCount) }
        guard column.type == schema.type else {
            throw FrameError(
                .typeMismatch,
                "column \"\(schema.name)\" is declared \(schema.type.rawValue) but holds \(column.type.rawValue)",
                hint: "Convert the values or declare the type that they have.")
        }
        positions[schema.name] = columns.count
        self.schema.append(schema)
        columns.append(column)
    }

    private static func wrongLength(_ name: String, _ count: Int, _ rows: Int) -> FrameError {
        FrameError(
            .lengthMismatch, "column \"\(name)\" has \(count) rows and the table has \(rows)",
            hint: "All columns of a table have the same number of rows.")
    }
}

extension Frame: Equatable {
    package static func == (left: Frame, right: Frame) -> Bool {
        left.schema == right.schema && left.rowCount == right.rowCount && left.columns == right.columns
    }
}
