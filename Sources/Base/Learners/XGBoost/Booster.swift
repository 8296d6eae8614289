import Synchronization

/// One booster of the library, with the scratch that lets it answer one row without allocating.
///
/// Every use of the handle and of the scratch goes through ``run(_:)`` or ``runIfFree(_:)``, one caller at a time.
final class Booster: @unchecked Sendable {  // handle and scratch are only touched while `gate` is held
    let library: XGBoostLibrary
    fileprivate let handle: OpaquePointer
    private let gate = Mutex(())
    fileprivate let features: Int
    /// The values of one row, at a place that never moves.
    fileprivate let row: UnsafeMutablePointer<Float>
    /// The text that tells the library of that place, written once.
    fileprivate let rowInterface: [CChar]

    /// Missing values are NaN; the result is always rows × outputs; the whole model is used.
    fileprivate static let predictConfiguration = """
        {"type":0,"training":false,"iteration_begin":0,"iteration_end":0,"strict_shape":true,"cache_id":0,"missing":NaN}
        """
    fileprivate static let contributionConfiguration = """
        {"type":2,"training":false,"iteration_begin":0,"iteration_end":0,"strict_shape":true}
        """

    /// Takes over a handle, which is freed with this object.
    init(owning handle: OpaquePointer, library: XGBoostLibrary) throws(LearnerError) {
        self.library = library
        self.handle = handle
        var count: UInt64 = 0
        let status = library.functions.featureCount(handle, &count)
        features = Int(count)
        row = UnsafeMutablePointer<Float>.allocate(capacity: max(features, 1))
        row.initialize(repeating: .nan, count: max(features, 1))
        rowInterface = Self.interface(UnsafePointer(row), rows: 1, columns: features)
        try library.check(status, "count the features of the model", as: .badModel)
    }

    /// Loads a saved model.
    ///
    /// Predictions use `threads` threads each.
    convenience init(loading bytes: [UInt8], threads: Int, library: XGBoostLibrary) throws(LearnerError) {
        var created: OpaquePointer?
        try library.check(library.functions.create(nil, 0, &created), "make a model")
        guard let handle = created else { throw LearnerError(.other, "XGBoost could not make a model") }
        let status = bytes.withUnsafeBytes { library.functions.load(handle, $0.baseAddress, UInt64($0.count)) }
        do throws(LearnerError) {
            try library.check(status, "read the model", as: .badModel)
            for (name, value) in [("nthread", "\(threads)"), ("verbosity", "0")] {
                try library.check(library.functions.setParameter(handle, name, value), "set \(name)")
            }
        } catch {
            _ = library.functions.free(handle)
            throw error.code == .badModel ? error : LearnerError(.badModel, error.message, hint: error.hint)
        }
        try self.init(owning: handle, library: library)
    }

    deinit {
        _ = library.functions.free(handle)
        row.deallocate()
    }

    // Not optimized: specializing these two crashes the optimizer of Swift 6.3.1 (SILValue.h:375, GenericSpecializer) in
    // release builds. They only take the lock; what they call is optimized.

    /// Waits for its turn, then runs `body`.
    @_optimize(none)
    func run<R: Sendable>(_ body: (borrowing Turn) throws(LearnerError) -> R) throws(LearnerError) -> R {
        try gate.withLock { _ throws(LearnerError) in try body(Turn(booster: self)) }
    }

    /// Runs `body`, or returns nil when another caller is at it.
    @_optimize(none)
    func runIfFree<R: Sendable>(_ body: (borrowing Turn) throws(LearnerError) -> R) throws(LearnerError) -> R? {
        try gate.withLockIfAvailable { _ throws(LearnerError) in try body(Turn(booster: self)) }
    }

    /// The right to use the booster, lent for one call.
    struct Turn: ~Copyable {
        fileprivate let booster: Booster
        private var handle: OpaquePointer { booster.handle }
        private var functions: XGBoostFunctions { booster.library.functions }

        fileprivate init(booster: Booster) { self.booster = booster }
    }

    /// The array interface (version 3) of row-major floats, as a C string.
    static func interface(_ values: UnsafePointer<Float>?, rows: Int, columns: Int) -> [CChar] {
        let address = UInt(bitPattern: values)
        let text = #"{"data":[\#(address),true],"shape":[\#(rows),\#(columns)],"typestr":"<f4","version":3}"#
        return Array(text.utf8CString)
    }
}

extension Booster.Turn {
    /// Predictions of all rows, rows × outputs.
    func predict(_ batch: Matrix) throws(LearnerError) -> [Float] {
        let booster = booster
        guard batch.rows == 1 else {
            return try batch.values.withUnsafeBufferPointer { (buffer) throws(LearnerError) in
                let interface = Booster.interface(buffer.baseAddress, rows: batch.rows, columns: batch.columns)
                return try predict(interface, rows: batch.rows)
            }
        }
        batch.values.withUnsafeBufferPointer { buffer in
            for column in 0..<buffer.count { booster.row[column] = buffer[column] }
        }
        return try predict(booster.rowInterface, rows: 1)
    }

    private func predict(_ interface: [CChar], rows: Int) throws(LearnerError) -> [Float] {
        var shape: UnsafePointer<UInt64>?
        var dimensions: UInt64 = 0
        var result: UnsafePointer<Float>?
        let status = functions.predictDense(
            handle, interface, Booster.predictConfiguration, nil, &shape, &dimensions, &result)
        try booster.library.check(status, "predict")
        return try Self.copy(result, shape: shape, dimensions: dimensions, rows: rows)
    }

    /// TreeSHAP values, rows × outputs × (features + 1); the last of each is the bias.
    func contributions(_ batch: Matrix, threads: Int) throws(LearnerError) -> [Float] {
        let data = try XGBoostMatrix(batch, threads: threads, library: booster.library)
        var shape: UnsafePointer<UInt64>?
        var dimensions: UInt64 = 0
        var result: UnsafePointer<Float>?
        let status = withExtendedLifetime(data) {
            functions.predictMatrix(
                handle, data.handle, Booster.contributionConfiguration, &shape, &dimensions, &result)
        }
        try booster.library.check(status, "explain predictions")
        return try Self.copy(result, shape: shape, dimensions: dimensions, rows: batch.rows)
    }

    /// The results belong to the library and to this thread: they are copied before anything else is called.
    private static func copy(
        _ result: UnsafePointer<Float>?, shape: UnsafePointer<UInt64>?, dimensions: UInt64, rows: Int
    ) throws(LearnerError) -> [Float] {
        let sizes = UnsafeBufferPointer(start: shape, count: Int(dimensions))
        guard let result, let first = sizes.first, first == rows else {
            throw LearnerError(.other, "XGBoost answered with another number of rows than it was asked")
        }
        return Array(UnsafeBufferPointer(start: result, count: Int(sizes.reduce(1, *))))
    }

    /// The model as bytes.
    func save(_ format: XGBoostModel.FileFormat) throws(LearnerError) -> [UInt8] {
        var length: UInt64 = 0
        var bytes: UnsafePointer<CChar>?
        let configuration = #"{"format":"\#(format.rawValue)"}"#
        try booster.library.check(functions.save(handle, configuration, &length, &bytes), "save the model")
        return Array(UnsafeRawBufferPointer(start: bytes, count: Int(length)))
    }

    /// The names the model was saved with; `f0`, `f1`, … when it has none.
    func featureNames() throws(LearnerError) -> [String] {
        var count: UInt64 = 0
        var texts: UnsafePointer<UnsafePointer<CChar>?>?
        try booster.library.check(
            functions.names(handle, "feature_name", &count, &texts), "read the names of the features", as: .badModel)
        let names = UnsafeBufferPointer(start: texts, count: Int(count)).map { $0.map { String(cString: $0) } ?? "" }
        return names.count == booster.features ? names : (0..<booster.features).map { "f\($0)" }
    }

    func rounds() throws(LearnerError) -> Int {
        var rounds: Int32 = 0
        try booster.library.check(functions.rounds(handle, &rounds), "count the rounds", as: .badModel)
        return Int(rounds)
    }

    /// Importance of each feature that the model uses.
    func scores(_ type: XGBoostModel.Importance, names: [String]) throws(LearnerError) -> [String: Float] {
        // Numbers instead of names in the request: names may hold what the library takes for a separator.
        let indices = names.indices.map { "\"\($0)\"" }.joined(separator: ",")
        let configuration = #"{"importance_type":"\#(type.rawValue)","feature_names":[\#(indices)]}"#
        var (count, dimensions): (UInt64, UInt64) = (0, 0)
        var texts: UnsafePointer<UnsafePointer<CChar>?>?
        var shape: UnsafePointer<UInt64>?
        var values: UnsafePointer<Float>?
        try booster.library.check(
            functions.score(handle, configuration, &count, &texts, &dimensions, &shape, &values),
            "tell the importance of features")
        let keys = UnsafeBufferPointer(start: texts, count: Int(count))
        let numbers = UnsafeBufferPointer(start: values, count: Int(count))
        var scores: [String: Float] = [:]
        for (key, value) in zip(keys, numbers) {
            guard let index = key.flatMap({ Int(String(cString: $0)) }), names.indices.contains(index) else { continue }
            scores[names[index]] = value
        }
        return scores
    }
}

/// Rows inside the library, copied from a ``Matrix``.
final class XGBoostMatrix {
    let handle: OpaquePointer
    private let library: XGBoostLibrary

    init(_ matrix: Matrix, threads: Int, library: XGBoostLibrary) throws(LearnerError) {
        self.library = library
        var made: OpaquePointer?
        let configuration = #"{"missing":NaN,"nthread":\#(threads)}"#
        let status = matrix.values.withUnsafeBufferPointer { buffer in
            let interface = Booster.interface(buffer.baseAddress, rows: matrix.rows, columns: matrix.columns)
            return library.functions.matrixFromDense(interface, configuration, &made)
        }
        try library.check(status, "take the data")
        guard let made else { throw LearnerError(.other, "XGBoost could not take the data") }
        handle = made
    }

    deinit { _ = library.functions.matrixFree(handle) }

    func set(_ field: String, _ values: [Float]) throws(LearnerError) {
        let status = library.functions.matrixSetFloats(handle, field, values, UInt64(values.count))
        try library.check(status, "take the \(field)s", as: .badValue)
    }
}
