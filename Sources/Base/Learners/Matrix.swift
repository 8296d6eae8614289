/// Rows × columns of 32-bit floats in one piece, row after row; NaN is a missing value.
package struct Matrix: Sendable, Equatable {
    package let rows: Int
    package let columns: Int
    /// Row-major, `rows * columns` long.
    package private(set) var values: [Float]

    /// Takes row-major values, exactly `rows * columns` of them.
    package init(rows: Int, columns: Int, values: [Float]) {
        precondition(rows >= 0 && columns >= 0 && values.count == rows * columns, "a matrix has rows × columns values")
        self.rows = rows
        self.columns = columns
        self.values = values
    }

    /// A matrix of missing values.
    package init(rows: Int, columns: Int) {
        self.init(rows: rows, columns: columns, values: Array(repeating: .nan, count: rows * columns))
    }

    package subscript(row: Int, column: Int) -> Float {
        get { values[row * columns + column] }
        set { values[row * columns + column] = newValue }
    }

    /// The values of one row.
    package func row(_ index: Int) -> ArraySlice<Float> { values[index * columns..<(index + 1) * columns] }

    /// The rows at `indices`, in that order.
    package func take(_ indices: some Collection<Int>) -> Matrix {
        var taken: [Float] = []
        taken.reserveCapacity(indices.count * columns)
        for index in indices { taken.append(contentsOf: row(index)) }
        return Matrix(rows: indices.count, columns: columns, values: taken)
    }

    /// Lets `body` fill the values in place.
    package mutating func fill<E: Error>(_ body: (UnsafeMutableBufferPointer<Float>) throws(E) -> Void) throws(E) {
        try values.withUnsafeMutableBufferPointer { (buffer) throws(E) in try body(buffer) }
    }

    /// Where the first infinite value stands, or nil.
    ///
    /// Missing values (NaN) do not count.
    func firstInfinite() -> (row: Int, column: Int)? {
        values.withUnsafeBufferPointer { buffer in
            for index in 0..<buffer.count where buffer[index].isInfinite {
                return (index / columns, index % columns)
            }
            return nil
        }
    }

    /// Refuses infinite values, naming the feature and the row.
    func checkInfinite(names: [String]) throws(LearnerError) {
        guard let place = firstInfinite() else { return }
        throw LearnerError(
            .nonFinite, "feature \"\(names[place.column])\" is infinite in row \(place.row)",
            hint: "Leave the value out, or check the transform that made it.")
    }

    /// Refuses a batch that has another number of features than the model was trained with.
    func checkWidth(_ names: [String]) throws(LearnerError) {
        guard columns == names.count else {
            throw LearnerError(
                .badValue, "the batch has \(columns) features, the model has \(names.count)",
                hint: "Make the batch with the transforms that were saved with the model.")
        }
    }
}
