import API
import Kernel
import PromQL
import Segments
import Series

/// Why Prometheus's API does not answer: its status, its word for the kind, and the message.
struct PrometheusError: Error {
    var status: Int
    var type: String
    var message: String

    init(_ status: Int, _ type: String, _ message: String) {
        (self.status, self.type, self.message) = (status, type, message)
    }

    static func bad(_ message: String) -> PrometheusError { PrometheusError(400, "bad_data", message) }

    /// What Prometheus calls an error of any kind.
    init(_ error: any Error) {
        switch error {
        case let error as PrometheusError: self = error
        case let error as PromQLError: self = Self.query(error)
        case let error as SeriesError: self = Self.source(error)
        case let error as Problem: self = Self.problem(error)
        default: self.init(500, "internal", "something failed inside the server; see its log")
        }
    }

    private static func query(_ error: PromQLError) -> PrometheusError {
        switch error.kind {
        case .syntax, .type: .bad(error.description)
        case .execution, .tooManySamples: PrometheusError(422, "execution", error.description)
        case .timeout: PrometheusError(503, "timeout", error.description)
        case .cancelled: PrometheusError(503, "canceled", error.description)
        case .storage: PrometheusError(500, "internal", error.description)
        }
    }

    private static func source(_ error: SeriesError) -> PrometheusError {
        switch error.code {
        case .tooManySeries: PrometheusError(422, "execution", error.description)
        case .badMatcher: .bad(error.description)
        case .cancelled: PrometheusError(503, "canceled", error.description)
        case .storage: PrometheusError(500, "internal", error.description)
        }
    }

    private static func problem(_ problem: Problem) -> PrometheusError {
        let type =
            switch problem.status {
            case 400, 413, 415: "bad_data"
            case 401: "unauthorized"
            case 403: "forbidden"
            case 404, 405: "not_found"
            case 422: "execution"
            case 429, 503: "unavailable"
            default: "internal"
            }
        let hint = problem.hint.map { ". \($0)" } ?? ""
        return PrometheusError(problem.status, type, problem.message + hint)
    }

    var answer: ForeignAnswer {
        var out = JSONOut()
        out.raw("{\"status\":\"error\",\"errorType\":")
        out.text(type)
        out.raw(",\"error\":")
        out.text(message)
        out.raw("}")
        return ForeignAnswer(status, type: "application/json", .bytes(out.bytes))
    }
}

extension JSONOut {
    /// The envelope of an answer, with what the body writes as its `data`.
    static func success(
        warnings: [String] = [], infos: [String] = [], capacity: Int = 256, _ body: (inout JSONOut) throws -> Void
    ) rethrows -> ForeignAnswer {
        var out = JSONOut(capacity: capacity)
        out.raw("{\"status\":\"success\",\"data\":")
        try body(&out)
        for (name, list) in [("warnings", warnings), ("infos", infos)] where !list.isEmpty {
            out.raw(",\"\(name)\":")
            out.texts(list)
        }
        out.raw("}")
        return ForeignAnswer(type: "application/json", .bytes(out.bytes))
    }

    /// `{"resultType": …, "result": …}` of a query's answer.
    ///
    /// - Parameter limit: Series at most; 0 for all.
    mutating func result(_ value: QueryAnswer.Value, limit: Int = 0) {
        switch value {
        case .scalar(let number, let at):
            raw("{\"resultType\":\"scalar\",\"result\":")
            pair(at) { $0.sample(number) }
        case .string(let text, let at):
            raw("{\"resultType\":\"string\",\"result\":")
            pair(at) { $0.text(text) }
        case .vector(let list):
            raw("{\"resultType\":\"vector\",\"result\":[")
            for index in 0..<(limit > 0 ? min(limit, list.count) : list.count) {
                comma(index)
                raw("{\"metric\":")
                labels(list.labels[index])
                list.forEachSample(of: index) { time, value, histogram in
                    if let histogram {
                        raw(",\"histogram\":")
                        pair(time) { $0.histogram(histogram) }
                    } else {
                        raw(",\"value\":")
                        pair(time) { $0.sample(value) }
                    }
                }
                raw("}")
            }
            raw("]")
        case .matrix(let list):
            raw("{\"resultType\":\"matrix\",\"result\":[")
            for index in 0..<(limit > 0 ? min(limit, list.count) : list.count) {
                comma(index)
                series(list, index)
            }
            raw("]")
        }
        raw("}")
    }

    /// One series of a matrix: its numbers, then its histograms.
    private mutating func series(_ list: SeriesList, _ index: Int) {
        raw("{\"metric\":")
        labels(list.labels[index])
        var (numbers, histograms) = (0, 0)
        list.forEachSample(of: index) { time, value, histogram in
            guard histogram == nil else {
                histograms += 1
                return
            }
            if numbers == 0 { raw(",\"values\":[") } else { raw(",") }
            numbers += 1
            pair(time) { $0.sample(value) }
        }
        if numbers > 0 { raw("]") }
        if histograms > 0 {
            raw(",\"histograms\":[")
            var count = 0
            list.forEachSample(of: index) { time, _, histogram in
                guard let histogram else { return }
                comma(count)
                count += 1
                pair(time) { $0.histogram(histogram) }
            }
            raw("]")
        }
        raw("}")
    }

    /// `[TIME, …]`
    mutating func pair(_ time: Int64, _ body: (inout JSONOut) -> Void) {
        raw("[")
        self.time(time)
        raw(",")
        body(&self)
        raw("]")
    }
}
