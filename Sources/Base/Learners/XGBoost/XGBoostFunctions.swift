/// The functions of XGBoost's C interface that are used here, with the types of its `c_api.h`.
///
/// Each returns 0, or -1 after which `XGBGetLastError` of the same thread tells why.
struct XGBoostFunctions: Sendable {
    typealias Handle = OpaquePointer
    typealias Text = UnsafePointer<CChar>
    typealias Texts = UnsafePointer<UnsafePointer<CChar>?>
    typealias Size = UInt64
    typealias Shape = UnsafePointer<UInt64>

    typealias Version =
        @convention(c) @Sendable (
            UnsafeMutablePointer<Int32>?, UnsafeMutablePointer<Int32>?, UnsafeMutablePointer<Int32>?
        ) -> Void
    typealias LastError = @convention(c) @Sendable () -> Text?
    typealias MatrixFromDense =
        @convention(c) @Sendable (Text?, Text?, UnsafeMutablePointer<Handle?>?) -> Int32
    typealias Free = @convention(c) @Sendable (Handle?) -> Int32
    typealias SetFloats = @convention(c) @Sendable (Handle?, Text?, UnsafePointer<Float>?, Size) -> Int32
    typealias Create =
        @convention(c) @Sendable (UnsafePointer<Handle?>?, Size, UnsafeMutablePointer<Handle?>?) -> Int32
    typealias SetText = @convention(c) @Sendable (Handle?, Text?, Text?) -> Int32
    typealias Update = @convention(c) @Sendable (Handle?, Int32, Handle?) -> Int32
    typealias Evaluate =
        @convention(c) @Sendable (
            Handle?, Int32, UnsafePointer<Handle?>?, Texts?, Size, UnsafeMutablePointer<Text?>?
        ) -> Int32
    typealias PredictDense =
        @convention(c) @Sendable (
            Handle?, Text?, Text?, Handle?, UnsafeMutablePointer<Shape?>?, UnsafeMutablePointer<Size>?,
            UnsafeMutablePointer<UnsafePointer<Float>?>?
        ) -> Int32
    typealias PredictMatrix =
        @convention(c) @Sendable (
            Handle?, Handle?, Text?, UnsafeMutablePointer<Shape?>?, UnsafeMutablePointer<Size>?,
            UnsafeMutablePointer<UnsafePointer<Float>?>?
        ) -> Int32
    typealias Load = @convention(c) @Sendable (Handle?, UnsafeRawPointer?, Size) -> Int32
    typealias Save =
        @convention(c) @Sendable (Handle?, Text?, UnsafeMutablePointer<Size>?, UnsafeMutablePointer<Text?>?) -> Int32
    typealias Slice = @convention(c) @Sendable (Handle?, Int32, Int32, Int32, UnsafeMutablePointer<Handle?>?) -> Int32
    typealias Count = @convention(c) @Sendable (Handle?, UnsafeMutablePointer<Size>?) -> Int32
    typealias Rounds = @convention(c) @Sendable (Handle?, UnsafeMutablePointer<Int32>?) -> Int32
    typealias SetNames = @convention(c) @Sendable (Handle?, Text?, Texts?, Size) -> Int32
    typealias Names =
        @convention(c) @Sendable (Handle?, Text?, UnsafeMutablePointer<Size>?, UnsafeMutablePointer<Texts?>?) -> Int32
    typealias Score =
        @convention(c) @Sendable (
            Handle?, Text?, UnsafeMutablePointer<Size>?, UnsafeMutablePointer<Texts?>?, UnsafeMutablePointer<Size>?,
            UnsafeMutablePointer<Shape?>?, UnsafeMutablePointer<UnsafePointer<Float>?>?
        ) -> Int32

    let version: Version
    let lastError: LastError
    let matrixFromDense: MatrixFromDense
    let matrixFree: Free
    let matrixSetFloats: SetFloats
    let create: Create
    let free: Free
    let setParameter: SetText
    let update: Update
    let evaluate: Evaluate
    let predictDense: PredictDense
    let predictMatrix: PredictMatrix
    let load: Load
    let save: Save
    let slice: Slice
    let featureCount: Count
    let rounds: Rounds
    let setNames: SetNames
    let names: Names
    let score: Score

    /// Resolves every function once.
    ///
    /// - Parameter symbol: The address of an exported name, or nil.
    /// - Throws: `LearnerError(.libraryTooOld)` when one is not there.
    init(symbol: (String) -> UnsafeMutableRawPointer?) throws(LearnerError) {
        func find<T>(_ name: String, as type: T.Type) throws(LearnerError) -> T {
            guard let address = symbol(name) else {
                throw LearnerError(
                    .libraryTooOld, "the XGBoost library has no function \(name)", hint: XGBoostLibrary.hint)
            }
            return unsafeBitCast(address, to: type)
        }
        version = try find("XGBoostVersion", as: Version.self)
        lastError = try find("XGBGetLastError", as: LastError.self)
        matrixFromDense = try find("XGDMatrixCreateFromDense", as: MatrixFromDense.self)
        matrixFree = try find("XGDMatrixFree", as: Free.self)
        matrixSetFloats = try find("XGDMatrixSetFloatInfo", as: SetFloats.self)
        create = try find("XGBoosterCreate", as: Create.self)
        free = try find("XGBoosterFree", as: Free.self)
        setParameter = try find("XGBoosterSetParam", as: SetText.self)
        update = try find("XGBoosterUpdateOneIter", as: Update.self)
        evaluate = try find("XGBoosterEvalOneIter", as: Evaluate.self)
        predictDense = try find("XGBoosterPredictFromDense", as: PredictDense.self)
        predictMatrix = try find("XGBoosterPredictFromDMatrix", as: PredictMatrix.self)
        load = try find("XGBoosterLoadModelFromBuffer", as: Load.self)
        save = try find("XGBoosterSaveModelToBuffer", as: Save.self)
        slice = try find("XGBoosterSlice", as: Slice.self)
        featureCount = try find("XGBoosterGetNumFeature", as: Count.self)
        rounds = try find("XGBoosterBoostedRounds", as: Rounds.self)
        setNames = try find("XGBoosterSetStrFeatureInfo", as: SetNames.self)
        names = try find("XGBoosterGetStrFeatureInfo", as: Names.self)
        score = try find("XGBoosterFeatureScore", as: Score.self)
    }
}
