/// Rows that a model is judged on while it is trained.
package struct EvaluationSet: Sendable {
    package let name: String
    package let data: Matrix
    package let labels: [Float]
    package let weights: [Float]?

    package init(name: String, data: Matrix, labels: [Float], weights: [Float]? = nil) {
        self.name = name
        self.data = data
        self.labels = labels
        self.weights = weights
    }
}

/// What training gave.
package struct TrainedXGBoost: Sendable {
    package let model: XGBoostModel
    /// Rounds that were run; with early stopping more than the model keeps.
    package let roundsRun: Int
    /// The best round by the last metric of the last evaluation set, from 0; nil without early stopping.
    package let bestRound: Int?
    /// Per round, "set-metric" → value.
    package let history: [[String: Double]]
}

extension XGBoostModel {
    /// Most rounds of one training.
    package static let roundLimit = 100_000
    /// Most metrics of one `eval_metric`.
    package static let metricLimit = 20

    /// Trains trees.
    ///
    /// Blocks its thread to the end; give it one of its own. With the same data, parameters and thread count the same
    /// model comes out.
    ///
    /// - Parameters:
    ///   - data: The features; NaN is missing.
    ///   - labels: One per row, finite.
    ///   - weights: One per row; 1 without them.
    ///   - featureNames: One per column; they are saved in the model.
    ///   - hyperparameters: XGBoost's own names; checked by ``XGBoostParameters/check(_:)``, values passed through.
    ///     `nthread` is how many threads train; all processors without it.
    ///   - rounds: How many rounds of boosting, at most ``roundLimit``.
    ///   - evaluation: What is judged after each round; early stopping looks at the last set.
    ///   - earlyStopping: Stops after this many rounds without a gain on the last evaluation set, and keeps the rounds
    ///     up to the best.
    ///   - library: The library that trains.
    ///   - progress: Called after each round, counted from 0; false cancels.
    /// - Returns: The model, and what each round scored.
    /// - Throws: `LearnerError`: `.badParameter`, `.badValue`, `.nonFinite`, `.cancelled`.
    package static func train(
        _ data: Matrix, labels: [Float], weights: [Float]? = nil, featureNames: [String],
        hyperparameters: [String: String], rounds: Int, evaluation: [EvaluationSet] = [], earlyStopping: Int? = nil,
        library: XGBoostLibrary, progress: (Int, [String: Double]) -> Bool = { _, _ in true }
    ) throws(LearnerError) -> TrainedXGBoost {
        try check(data, featureNames, hyperparameters, rounds: rounds, evaluation, earlyStopping: earlyStopping)
        let threads = (hyperparameters["nthread"] ?? hyperparameters["n_jobs"]).flatMap(Int.init) ?? 0
        let session = try TrainingSession(
            data: EvaluationSet(name: "train", data: data, labels: labels, weights: weights), evaluation: evaluation,
            featureNames: featureNames, threads: threads > 0 ? threads : processors, library: library)
        try session.configure(hyperparameters)
        var watch = earlyStopping.map { EarlyStopping(patience: $0) }
        var history: [[String: Double]] = []
        for round in 0..<rounds {
            let scores = try session.boost(round)
            let byName = Dictionary(scores) { _, last in last }
            history.append(byName)
            guard progress(round, byName) else {
                throw LearnerError(.cancelled, "training was cancelled after round \(round)")
            }
            if let last = scores.last, watch?.shouldStop(after: round, last) == true { break }
        }
        let kept = watch?.best.map { $0.round + 1 } ?? history.count
        let bytes = try session.finish(keeping: kept, of: history.count)
        return TrainedXGBoost(
            model: try XGBoostModel(loading: bytes, library: library), roundsRun: history.count,
            bestRound: watch?.best?.round, history: history)
    }

    private static func check(
        _ data: Matrix, _ names: [String], _ parameters: [String: String], rounds: Int, _ evaluation: [EvaluationSet],
        earlyStopping: Int?
    ) throws(LearnerError) {
        try XGBoostParameters.check(parameters)
        guard (1...roundLimit).contains(rounds) else {
            throw LearnerError(.badParameter, "\"rounds\" must be from 1 to \(roundLimit), not \(rounds)")
        }
        guard XGBoostParameters.metricNames(parameters).count <= metricLimit else {
            throw LearnerError(.badParameter, "\"eval_metric\" names more than \(metricLimit) metrics")
        }
        guard (1...featureLimit).contains(names.count), Set(names).count == names.count else {
            throw LearnerError(.badValue, "the names of the features must be distinct, and 1 to \(featureLimit)")
        }
        if let earlyStopping {
            guard earlyStopping > 0 else {
                throw LearnerError(.badParameter, "\"early_stopping\" must be at least 1, not \(earlyStopping)")
            }
            guard !evaluation.isEmpty else {
                throw LearnerError(
                    .badParameter, "early stopping needs data to judge on", hint: "Give validation data as well.")
            }
        }
        for set in evaluation where set.name.isEmpty || set.name.contains(where: { $0 == "\t" || $0 == ":" }) {
            throw LearnerError(.badParameter, "\"\(set.name)\" cannot name an evaluation set")
        }
        try data.checkWidth(names)
        for set in evaluation { try set.data.checkWidth(names) }
    }
}

/// Remembers the best round.
struct EarlyStopping {
    let patience: Int
    private(set) var best: (round: Int, value: Double)?

    init(patience: Int) { self.patience = patience }

    /// Notes a round's score, "set-metric" and its value, and tells whether patience is over.
    ///
    /// NaN never counts as better.
    mutating func shouldStop(after round: Int, _ score: (name: String, value: Double)) -> Bool {
        let metric = score.name.split(separator: "-", maxSplits: 1).last.map(String.init) ?? score.name
        let isMaximised = XGBoostParameters.isMaximised(metric)
        guard let present = best else {
            best = (round, score.value)
            return false
        }
        let isBetter = isMaximised ? score.value > present.value : score.value < present.value
        if isBetter || (present.value.isNaN && !score.value.isNaN) { best = (round, score.value) }
        return round - (best?.round ?? round) >= patience
    }
}

/// The library's objects of one training, freed together.
private final class TrainingSession {
    private let library: XGBoostLibrary
    private let threads: Int
    private let names: [String]
    private let features: [String]
    private let matrices: [XGBoostMatrix]
    private let handle: OpaquePointer

    init(
        data: EvaluationSet, evaluation: [EvaluationSet], featureNames: [String], threads: Int, library: XGBoostLibrary
    ) throws(LearnerError) {
        self.library = library
        self.threads = threads
        features = featureNames
        names = evaluation.map(\.name)
        var matrices: [XGBoostMatrix] = []
        for set in [data] + evaluation {
            matrices.append(try Self.matrix(set, names: featureNames, threads: threads, library: library))
        }
        self.matrices = matrices
        var created: OpaquePointer?
        let handles = matrices.map { Optional($0.handle) }
        try library.check(library.functions.create(handles, UInt64(handles.count), &created), "start training")
        guard let created else { throw LearnerError(.other, "XGBoost could not start training") }
        handle = created
    }

    deinit { _ = library.functions.free(handle) }

    private static func matrix(
        _ set: EvaluationSet, names: [String], threads: Int, library: XGBoostLibrary
    ) throws(LearnerError) -> XGBoostMatrix {
        try set.data.checkWidth(names)
        try set.data.checkInfinite(names: names)
        guard set.data.rows > 0 else { throw LearnerError(.badValue, "the \(set.name) data has no rows") }
        for (values, noun) in [(set.labels, "labels"), (set.weights ?? set.labels, "weights")] {
            guard values.count == set.data.rows else {
                throw LearnerError(
                    .badValue, "the \(set.name) data has \(set.data.rows) rows and \(values.count) \(noun)")
            }
            if let row = values.firstIndex(where: { !$0.isFinite }) {
                throw LearnerError(
                    .nonFinite, "the \(set.name) data has no finite value among its \(noun) in row \(row)",
                    hint: "Leave out the rows whose label is not known.")
            }
        }
        let matrix = try XGBoostMatrix(set.data, threads: threads, library: library)
        try matrix.set("label", set.labels)
        if let weights = set.weights { try matrix.set("weight", weights) }
        return matrix
    }

    func configure(_ parameters: [String: String]) throws(LearnerError) {
        var pairs = parameters.filter { !["eval_metric", "nthread", "n_jobs"].contains($0.key) }
            .sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        pairs.append(("nthread", "\(threads)"))
        if parameters["verbosity"] == nil { pairs.append(("verbosity", "0")) }
        pairs += XGBoostParameters.metricNames(parameters).map { ("eval_metric", $0) }
        for (name, value) in pairs {
            let status = library.functions.setParameter(handle, name, value)
            try library.check(status, "set \"\(name)\"", as: .badParameter)
        }
        try name(handle)
    }

    /// Saves the names of the features in the model.
    private func name(_ booster: OpaquePointer) throws(LearnerError) {
        let texts = CTexts(features)
        let status = withExtendedLifetime(texts) {
            library.functions.setNames(booster, "feature_name", texts.pointers, UInt64(features.count))
        }
        try library.check(status, "name the features", as: .badValue)
    }

    /// Adds one round of trees and tells the metrics, in the order of the sets and of `eval_metric`.
    func boost(_ round: Int) throws(LearnerError) -> [(name: String, value: Double)] {
        let status = library.functions.update(handle, Int32(round), matrices[0].handle)
        try library.check(status, "train round \(round)")
        guard !names.isEmpty else { return [] }
        var text: UnsafePointer<CChar>?
        let handles = matrices.dropFirst().map { Optional($0.handle) }
        let texts = CTexts(names)
        let judged = withExtendedLifetime(texts) {
            library.functions.evaluate(handle, Int32(round), handles, texts.pointers, UInt64(handles.count), &text)
        }
        try library.check(judged, "evaluate round \(round)")
        return Self.scores(in: text.map { String(cString: $0) } ?? "")
    }

    /// Reads "[3]\tvalid-auc:0.71\tvalid-logloss:0.62".
    static func scores(in text: String) -> [(name: String, value: Double)] {
        text.split(separator: "\t").dropFirst().compactMap { part in
            guard let colon = part.lastIndex(of: ":") else { return nil }
            let number = part[part.index(after: colon)...].filter { !$0.isWhitespace }
            return (String(part[..<colon]), Double(number) ?? .nan)
        }
    }

    /// The bytes of the model, without the rounds after the best.
    func finish(keeping kept: Int, of total: Int) throws(LearnerError) -> [UInt8] {
        guard kept < total else { return try bytes(of: handle) }
        var sliced: OpaquePointer?
        try library.check(library.functions.slice(handle, 0, Int32(kept), 1, &sliced), "keep the best rounds")
        guard let sliced else { throw LearnerError(.other, "XGBoost could not keep the best rounds") }
        defer { _ = library.functions.free(sliced) }
        try name(sliced)
        return try bytes(of: sliced)
    }

    private func bytes(of handle: OpaquePointer) throws(LearnerError) -> [UInt8] {
        var length: UInt64 = 0
        var bytes: UnsafePointer<CChar>?
        let status = library.functions.save(handle, #"{"format":"ubj"}"#, &length, &bytes)
        try library.check(status, "save the model")
        return Array(UnsafeRawBufferPointer(start: bytes, count: Int(length)))
    }
}

/// An array of C strings that lives as long as this object.
private final class CTexts {
    private let storage: [UnsafeMutablePointer<CChar>]
    let pointers: [UnsafePointer<CChar>?]

    init(_ texts: [String]) {
        storage = texts.map { text in
            let bytes = text.utf8CString
            let copy = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count)
            for (index, byte) in bytes.enumerated() { copy[index] = byte }
            return copy
        }
        pointers = storage.map { UnsafePointer($0) }
    }

    deinit { for copy in storage { copy.deallocate() } }
}
