package import Learners
import Manifests

/// Answers requests to one model. Knows bytes, not sockets; may be asked from any thread at once.
package struct ModelServer: Sendable {
    /// One answer.
    package struct Answer: Sendable {
        package var status: Int
        package var contentType = "application/json"
        package var body: [UInt8]
    }

    /// Bytes of a request.
    package static let bodyLimit = 16 << 20
    /// Rows of a request.
    package static let rowLimit = 100_000

    let bundle: ModelBundle
    let name: String
    let version: String
    let log: PredictionLog?
    let now: @Sendable () -> Int64

    /// Loads the model.
    ///
    /// - Parameters:
    ///   - folder: The model folder.
    ///   - name: What the model is called in paths.
    ///   - version: Its version.
    ///   - xgboost: Path of the XGBoost library, if one was set.
    ///   - log: Where predictions are kept; nil: nowhere.
    ///   - now: Microseconds since 1970.
    /// - Throws: `LearnerError` for a folder that holds no usable model.
    package init(
        folder: String, name: String, version: String, xgboost: String?, log: PredictionLog?,
        now: @escaping @Sendable () -> Int64
    ) throws(LearnerError) {
        bundle = try ModelBundle.load(folder: folder, xgboost: xgboost)
        (self.name, self.version, self.log, self.now) = (name, version, log, now)
    }

    package func answer(method: String, path: String, contentType: String, body: [UInt8]) -> Answer {
        let parts = path.split(separator: "/").map(String.init)
        switch parts.first {
        case "v2": return inference(method, Array(parts.dropFirst()), body)
        case "invocations" where parts.count == 1:
            return method == "POST" ? scoring(contentType, body) : Self.text(405, "use POST\n")
        case "ping" where parts.count == 1, "health" where parts.count == 1: return Self.text(200, "\n")
        case "version" where parts.count == 1: return Self.text(200, "\(version)\n")
        default: return Self.json(404, ["error": "nothing is at this path; there are /v2 and /invocations"])
        }
    }

    /// Scores for rows, logged.
    func predict(_ batch: Batch) throws(ServingError) -> [Double] {
        guard !batch.rows.isEmpty else { throw ServingError("the request has no rows") }
        guard batch.rows.count <= Self.rowLimit else {
            throw ServingError("the request has \(batch.rows.count) rows, more than \(Self.rowLimit)", status: 413)
        }
        let scores: [Double]
        do { scores = try bundle.predict(rows: batch.rows) } catch {
            // A well-formed row that this model cannot take (a category it never saw, where that is an error) is the model's
            // failure, not the caller's: it must count against the revision.
            throw ServingError(error.message, status: error.code == .unknownLevel ? 500 : 400)
        }
        log?.add(batch, scores: scores, width: bundle.signature.output.size, model: name, version: version, at: now())
        return scores
    }

    static func json(_ status: Int, _ value: JSONValue) -> Answer { Answer(status: status, body: value.bytes) }

    static func text(_ status: Int, _ text: String) -> Answer {
        Answer(status: status, contentType: "text/plain; charset=utf-8", body: Array(text.utf8))
    }
}

/// Rows to predict, with what names them and tells when they happened.
package struct Batch: Sendable {
    package var rows: [[String: RawValue]] = []
    /// Prediction ids; empty, or one a row.
    package var ids: [String] = []
    /// Times of the events in microseconds; empty, one for all, or one a row.
    package var eventTimes: [Int64] = []
}

/// A request that cannot be answered, in the words of whoever sent it.
struct ServingError: Error {
    let message: String
    let status: Int
    init(_ message: String, status: Int = 400) { (self.message, self.status) = (message, status) }
}
