import Manifests
import Points

/// What MLflow lets keys and values be, with its own messages. Lengths count characters as Python does: Unicode scalars.
enum NameRules {
    static let metricsPerBatch = 1000
    static let paramsPerBatch = 100
    static let entitiesPerBatch = 1000
    static let batchBytes = 1_000_000
    static let keyLength = 250
    static let paramLength = 6000
    static let tagLength = 8000
    static let experimentNameLength = 500
    static let experimentTagLength = 20_000
    static let resultLimit = 50_000

    private static let wrongCharacters =
        "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and slashes (/)."

    static func invalid(_ path: String, _ value: JSONValue, _ message: String? = nil) -> MLflowError {
        let shown = value.text
        return .invalid("Invalid value \(shown) for parameter '\(path)' supplied" + (message.map { ": \($0)" } ?? "."))
    }

    /// Checks the name of a metric, param or tag: it must be a path that means itself.
    static func check(_ name: String, at path: String) throws(MLflowError) {
        guard name.unicodeScalars.allSatisfy(isPlain) else { throw invalid(path, .string(name), wrongCharacters) }
        let normal = normalized(name)
        guard normal == name, normal != ".", !normal.hasPrefix(".."), !normal.hasPrefix("/") else {
            throw invalid(
                path, .string(name),
                "Names may be treated as files in certain cases, and must not resolve to other names when treated as such. This name would resolve to '\(normal)'"
            )
        }
    }

    private static func isPlain(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.isASCII {
            switch scalar.value {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: return true
            default: return "/_.- :".unicodeScalars.contains(scalar)
            }
        }
        return scalar.properties.isAlphabetic || scalar.properties.numericType != nil
    }

    /// A path without `.`, `..` and doubled slashes, as POSIX programs would read it.
    static func normalized(_ path: String) -> String {
        guard !path.isEmpty else { return "." }
        let isAbsolute = path.hasPrefix("/")
        var parts: [Substring] = []
        for part in path.split(separator: "/") where part != "." {
            if part != ".." || (parts.isEmpty && !isAbsolute) || parts.last == ".." {
                parts.append(part)
            } else if !parts.isEmpty {
                parts.removeLast()
            }
        }
        let joined = (isAbsolute ? "/" : "") + parts.joined(separator: "/")
        return joined.isEmpty ? "." : joined
    }

    static func checkLength(_ what: String, _ text: String, _ limit: Int) throws(MLflowError) {
        guard text.utf8.count > limit, text.unicodeScalars.count > limit else { return }
        throw .invalid("'\(what)' exceeds the maximum length of \(limit) characters")
    }

    /// Values of params and tags that are too long are cut, as MLflow's server cuts them.
    static func cut(_ text: String, _ limit: Int) -> String {
        guard text.utf8.count > limit, text.unicodeScalars.count > limit else { return text }
        return String(String.UnicodeScalarView(text.unicodeScalars.prefix(limit)))
    }

    static func param(_ key: String, _ value: String, at path: String = "") throws(MLflowError) -> (
        key: String, value: String
    ) {
        try check(key, at: joined(path, "key"))
        try checkLength("Param key", key, keyLength)
        return (key, cut(value, paramLength))
    }

    static func tag(_ key: String, _ value: String, at path: String = "") throws(MLflowError) -> (
        key: String, value: String
    ) {
        try check(key, at: joined(path, "key"))
        try checkLength(joined(path, "key"), key, keyLength)
        return (key, cut(value, tagLength))
    }

    static func metric(_ metric: LoggedMetric, at path: String = "") throws(MLflowError) {
        try check(metric.key, at: joined(path, "name"))
        guard metric.point.timestamp >= 0 else {
            throw invalid(
                joined(path, "timestamp"), .integer(metric.point.timestamp),
                "metric '\(metric.key)' (value=\(metric.point.value)). Timestamp must be a nonnegative long (64-bit integer) "
            )
        }
        try checkLength("Metric name", metric.key, keyLength)
    }

    static func experimentTag(_ key: String, _ value: String) throws(MLflowError) {
        try check(key, at: "key")
        try checkLength("key", key, keyLength)
        try checkLength("value", value, experimentTagLength)
    }

    static func experimentName(_ name: String) throws(MLflowError) {
        try checkLength("name", name, experimentNameLength)
    }

    static func runID(_ id: String) throws(MLflowError) {
        let isWord = id.utf8.enumerated().allSatisfy { index, byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
            case UInt8(ascii: "_"), UInt8(ascii: "-"): index > 0
            default: false
            }
        }
        guard isWord, (1...256).contains(id.utf8.count) else { throw invalid("run_id", .string(id)) }
    }

    static func experimentID(_ text: String) throws(MLflowError) -> Int64 {
        guard let id = Int64(text) else {
            throw .invalid("Invalid experiment ID '\(text)'. Experiment ID must be a valid integer.")
        }
        return id
    }

    static func batch(metrics: Int, params: Int, tags: Int) throws(MLflowError) {
        for (what, count, limit) in [
            ("metrics", metrics, metricsPerBatch), ("params", params, paramsPerBatch), ("tags", tags, paramsPerBatch),
            ("metrics, params, and tags", metrics + params + tags, entitiesPerBatch),
        ] where count > limit {
            throw .invalid(
                "A batch logging request can contain at most \(limit) \(what). Got \(count) \(what). Please split up \(what) across multiple requests and try again."
            )
        }
    }

    /// How many results a search may give.
    static func results(_ number: Int64?, standard: Int64) throws(MLflowError) -> Int {
        let number = number ?? standard
        guard number >= 1 else {
            throw .invalid(
                "Invalid value \(number) for parameter 'max_results' supplied. It must be a positive integer")
        }
        guard number <= Int64(resultLimit) else {
            throw .invalid(
                "Invalid value \(number) for parameter 'max_results' supplied. It must be at most \(resultLimit)")
        }
        return Int(number)
    }

    private static func joined(_ path: String, _ name: String) -> String { path.isEmpty ? name : "\(path).\(name)" }
}
