import API
import Manifests

/// One line of a prediction log.
struct Prediction: Sendable, Equatable {
    var id: String
    /// When the event happened, else when the prediction was made: microseconds.
    var moment: Int64
    var model: String
    var version: String
    var score: Double
    /// The row as it was asked with: a flat JSON object.
    var features: String

    /// Bytes of the features of one row.
    static let featuresLimit = 256 << 10
    /// Moments outside of the years 1 to 9998 have no window.
    static let moments = Int64(-62_135_596_800_000_000)..<Int64(253_370_764_800_000_000)

    /// Reads a line; nil when it is no prediction.
    init?(_ start: UnsafePointer<UInt8>, _ count: Int) {
        var parts = Parts()
        var scan = JSONScan(start, count)
        guard parts.read(&scan), let id = parts.id, Labelling.isID(id), let score = parts.score,
            let moment = parts.eventTime ?? parts.at, Self.moments.contains(moment), let features = parts.features
        else { return nil }
        let bytes = UnsafeBufferPointer(rebasing: UnsafeBufferPointer(start: start, count: count)[features])
        guard bytes.count <= Self.featuresLimit, let text = String(validating: bytes, as: UTF8.self) else { return nil }
        (self.id, self.moment, self.score) = (id, moment, score)
        (model, version, self.features) = (parts.model, parts.version, text)
    }

    private struct Parts {
        var id: String?
        var at: Int64?
        var eventTime: Int64?
        var model = ""
        var version = ""
        var score: Double?
        var features: Range<Int>?

        mutating func read(_ scan: inout JSONScan) -> Bool {
            guard scan.enter() else { return false }
            var isFirst = true
            while let key = scan.nextKey(&isFirst) {
                guard readMember(key, &scan) else { return false }
            }
            scan.skipSpace()
            return !scan.isBroken && scan.at == scan.count
        }

        private mutating func readMember(_ key: JSONScan.Text, _ scan: inout JSONScan) -> Bool {
            if scan.is(key, "features") { return readFeatures(&scan) }
            if scan.is(key, "at") {
                at = scan.integer()
                return at != nil
            }
            let isEventTime = scan.is(key, "event_time")
            if isEventTime, let time = scan.integer() {
                eventTime = time
                return true
            }
            guard let value = scan.scalar() else { return false }
            if isEventTime {
                if case .null = value { return true }
                return false
            }
            if scan.is(key, "id") {
                id = word(value, scan)
                return id != nil
            }
            if scan.is(key, "score") {
                if case .number(let number) = value { score = number }
                return score != nil
            }
            if scan.is(key, "model") { model = word(value, scan) ?? "" }
            if scan.is(key, "version") { version = word(value, scan) ?? "" }
            return !model.utf8.contains(0) && !version.utf8.contains(0)
        }

        private mutating func readFeatures(_ scan: inout JSONScan) -> Bool {
            scan.skipSpace()
            let begin = scan.at
            guard scan.enter() else { return false }
            var isFirst = true
            while scan.nextKey(&isFirst) != nil {
                guard scan.scalar() != nil else { return false }
            }
            features = begin..<scan.at
            return !scan.isBroken
        }

        private func word(_ value: JSONScan.Scalar, _ scan: JSONScan) -> String? {
            switch value {
            case .text(let text): return scan.string(text)
            case .number(let number): return Level.text(number)
            default: return nil
            }
        }
    }
}

/// How values of other types are spelled as categories.
enum Level {
    /// 3.0 is "3": whether a client writes a point must not look like drift.
    static func text(_ number: Double) -> String {
        number == number.rounded() && abs(number) < 1e15 ? "\(Int64(number))" : "\(number)"
    }
}
