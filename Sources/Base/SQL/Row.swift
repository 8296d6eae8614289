/// The column names of one result, shared by its rows.
@usableFromInline
final class Columns: Sendable {
    @usableFromInline let names: [String]
    private let positions: [String: Int]

    init(_ names: [String]) {
        self.names = names
        // The first of two equal names wins, as in the order of the SELECT.
        positions = Dictionary(zip(names, names.indices), uniquingKeysWith: { first, _ in first })
    }

    @usableFromInline func position(of name: String) -> Int? { positions[name] }
}

/// One row of a result: values by name, or faster by position.
@usableFromInline
package struct Row: Sendable {
    @usableFromInline let columns: Columns
    @usableFromInline let values: [SQLValue]

    /// How many columns the row has.
    package var count: Int { values.count }
    /// The names of the columns, in the order of the SELECT.
    package var columnNames: [String] { columns.names }

    /// Reads a column by name.
    ///
    ///     try row.get("name")                       // by the type that is asked for
    ///     try row.get("ended_at", as: Int64?.self)  // NULL is nil
    ///
    /// - Throws: `noSuchColumn`, or `wrongType` when the value is not of this type (NULL without an Optional included).
    // Inlinable: a row has dozens of columns, and each read of one that is not specialised looks its types up.
    @inlinable package func get<Value: SQLReadable>(_ column: String, as type: Value.Type = Value.self) throws(SQLError)
        -> Value
    {
        guard let position = columns.position(of: column) else {
            throw SQLError(.noSuchColumn, "no column \"\(column)\" in this row")
        }
        return try get(position, as: type)
    }

    /// Reads a column by its position, from 0.
    @inlinable package func get<Value: SQLReadable>(_ position: Int, as type: Value.Type = Value.self) throws(SQLError)
        -> Value
    {
        guard values.indices.contains(position) else {
            throw SQLError(.noSuchColumn, "no column at position \(position), the row has \(values.count)")
        }
        guard let value = Value(sqlValue: values[position]) else {
            let name = columns.names[position]
            throw SQLError(.wrongType, "column \"\(name)\" is \(values[position].typeName), not \(Value.self)")
        }
        return value
    }

    /// The stored value at a position.
    package subscript(position: Int) -> SQLValue { values[position] }
}

extension SQLValue {
    @usableFromInline var typeName: String {
        switch self {
        case .null: "NULL"
        case .integer: "an integer"
        case .real: "a real number"
        case .text: "text"
        case .blob: "bytes"
        }
    }
}
