import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// Gradient boosted trees, trained and asked through XGBoost's own library.
///
/// May be asked from any thread at once: it keeps up to ``poolLimit`` copies of the trees, made when two callers first
/// meet; a caller beyond that waits its turn.
package struct XGBoostModel: Predictor {
    /// How a model is saved.
    ///
    /// Both are read by every XGBoost from 1.7 on of at least the writing version.
    package enum FileFormat: String, Sendable, CaseIterable {
        case json
        /// Universal Binary JSON: smaller and faster to read.
        case ubj
    }

    /// Ways to measure how much a feature matters to the trees.
    package enum Importance: String, Sendable, CaseIterable {
        /// Mean gain of the splits on the feature.
        case gain
        /// How many splits are on the feature.
        case weight
        case cover
        case totalGain = "total_gain"
        case totalCover = "total_cover"
    }

    /// Most copies of the trees held at once.
    package static let poolLimit = 8
    /// Most features a model may have.
    package static let featureLimit = 100_000

    package let featureNames: [String]
    /// Rounds of boosting in the model.
    package let rounds: Int
    /// The version of the library that trained it.
    package let version: XGBoostLibrary.Version
    private let pool: BoosterPool

    package var format: String { "xgboost" }

    /// Loads a model saved as JSON or UBJSON.
    ///
    /// - Parameters:
    ///   - bytes: The file.
    ///   - threads: How many threads one prediction uses. One is best for a server: more cost a single row far
    ///     more than they give.
    ///   - library: The library that is to run it.
    /// - Throws: `LearnerError(.libraryTooOld)` when a newer library wrote the model, `.badModel`.
    package init(loading bytes: [UInt8], threads: Int = 1, library: XGBoostLibrary) throws(LearnerError) {
        version = try ModelFormat.version(of: bytes)
        guard !version.isNewerFormat(than: library.version) else {
            throw LearnerError(
                .libraryTooOld, "the model was written by XGBoost \(version), the library is \(library.version)",
                hint: "An older library misreads newer models without an error. " + XGBoostLibrary.hint)
        }
        let booster = try Booster(loading: bytes, threads: max(threads, 1), library: library)
        (featureNames, rounds) = try booster.run { turn throws(LearnerError) in
            (try turn.featureNames(), try turn.rounds())
        }
        guard (1...Self.featureLimit).contains(featureNames.count) else {
            throw LearnerError(.badModel, "the model has \(featureNames.count) features, not 1 to \(Self.featureLimit)")
        }
        pool = BoosterPool(first: booster, bytes: bytes, threads: max(threads, 1))
    }

    package func predict(_ batch: Matrix) throws(LearnerError) -> [Float] {
        try batch.checkWidth(featureNames)
        guard batch.rows > 0 else { return [] }
        try batch.checkInfinite(names: featureNames)
        return try pool.run { turn throws(LearnerError) in try turn.predict(batch) }
    }

    /// What each feature adds to each prediction, on the scale of the margin (log-odds for `binary:logistic`).
    ///
    /// Exact TreeSHAP (Lundberg, Erion & Lee 2018).
    ///
    /// - Returns: rows × outputs × (features + 1); the last of each is the bias, and they sum to the margin.
    package func contributions(_ batch: Matrix) throws(LearnerError) -> [Float] {
        try batch.checkWidth(featureNames)
        guard batch.rows > 0 else { return [] }
        try batch.checkInfinite(names: featureNames)
        let threads = pool.threads
        return try pool.run { turn throws(LearnerError) in try turn.contributions(batch, threads: threads) }
    }

    /// How much each feature matters to the trees; features never split on are 0.
    package func importance(_ type: Importance = .gain) throws(LearnerError) -> [String: Float] {
        let names = featureNames
        var scores = try pool.run { turn throws(LearnerError) in try turn.scores(type, names: names) }
        for name in names where scores[name] == nil { scores[name] = 0 }
        return scores
    }

    /// The model as the bytes of a file.
    package func save(_ format: FileFormat = .ubj) throws(LearnerError) -> [UInt8] {
        try pool.run { turn throws(LearnerError) in try turn.save(format) }
    }

    /// Processors this machine has.
    static var processors: Int { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }
}

/// Copies of one model, so that threads do not wait for each other.
private final class BoosterPool: Sendable {
    let threads: Int
    private let bytes: [UInt8]
    private let limit: Int
    private let boosters: Mutex<[Booster]>
    private let next = Atomic<Int>(0)

    init(first: Booster, bytes: [UInt8], threads: Int) {
        self.threads = threads
        self.bytes = bytes
        limit = min(XGBoostModel.processors, XGBoostModel.poolLimit)
        boosters = Mutex([first])
    }

    func run<R: Sendable>(_ body: (borrowing Booster.Turn) throws(LearnerError) -> R) throws(LearnerError) -> R {
        let present = boosters.withLock { $0 }
        for booster in present {
            if let result = try booster.runIfFree(body) { return result }
        }
        if present.count < limit {
            let fresh = try Booster(loading: bytes, threads: threads, library: present[0].library)
            let isKept = boosters.withLock { list in
                guard list.count < limit else { return false }
                list.append(fresh)
                return true
            }
            if isKept { return try fresh.run(body) }
        }
        let turn = next.wrappingAdd(1, ordering: .relaxed).oldValue
        return try present[Int(UInt(bitPattern: turn) % UInt(present.count))].run(body)
    }
}
