import API
import Kernel
import Manifests
import Segments
import SpanStore

/// Jaeger's query API below `/jaeger`, as its UI and Grafana call it.
struct JaegerMount: Sendable {
    let house: TelemetryHouse

    var mount: Mount {
        Mount("/jaeger", bodyLimit: 1 << 20) { problem, _ in
            Self.refusal(problem.status, problem.message)
        } handle: { request, call in
            do {
                return try await answer(request, call)
            } catch let error as StorageError {
                return Self.refusal(500, error.description)
            }
        }
    }

    /// `{"data": null, "errors": [{"code": 404, "msg": "…"}]}`
    private static func refusal(_ status: Int, _ message: String) -> ForeignAnswer {
        var out = JSONOut()
        out.raw("{\"data\":null,\"total\":0,\"limit\":0,\"offset\":0,\"errors\":[{\"code\":\(status),\"msg\":")
        out.text(message)
        out.raw("}]}")
        return ForeignAnswer(status, type: "application/json", .bytes(out.bytes))
    }

    private func answer(_ request: ForeignRequest, _ call: Call) async throws -> ForeignAnswer {
        try call.allowLooking("a query of traces")
        let form = Form(request)
        let parts = request.path.split(separator: "/").map { FormText.decode($0.replacing("+", with: "%2B")) }
        guard parts.first == "api" else { throw Self.notFound(request) }
        switch (parts.count, parts.dropFirst().first) {
        case (2, "services"):
            return try await house.readers.run {
                let names = house.spans.services()
                return Self.success(names.count) { $0.texts(names) }
            }
        case (4, "services") where parts[3] == "operations":
            return try await house.readers.run {
                let names = Set(house.spans.operations(of: parts[2]).map(\.name)).sorted()
                return Self.success(names.count) { $0.texts(names) }
            }
        case (2, "operations"): return try await operations(form)
        case (2, "traces"): return try await search(form)
        case (3, "traces"): return try await trace(parts[2])
        case (2, "dependencies"): return try await dependencies(form)
        default: throw Self.notFound(request)
        }
    }

    private static func notFound(_ request: ForeignRequest) -> Problem {
        Problem("path.not-found", status: 404, "nothing is at the path /jaeger\(request.path)")
    }

    private static func success(_ total: Int, _ body: (inout JSONOut) -> Void) -> ForeignAnswer {
        var out = JSONOut()
        out.raw("{\"data\":")
        body(&out)
        out.raw(",\"total\":\(total),\"limit\":0,\"offset\":0,\"errors\":null}")
        return ForeignAnswer(type: "application/json", .bytes(out.bytes))
    }

    private func operations(_ form: Form) async throws -> ForeignAnswer {
        guard let service = form["service"] else { throw Self.bad("parameter 'service' is required") }
        let kind = form["spanKind"].flatMap { word in Span.Kind.allCases.first { $0.name == word.lowercased() } }
        return try await house.readers.run {
            let all = house.spans.operations(of: service, kind: kind)
            return Self.success(all.count) { out in
                out.raw("[")
                for (index, operation) in all.enumerated() {
                    out.comma(index)
                    out.raw("{\"name\":")
                    out.text(operation.name)
                    out.raw(",\"spanKind\":")
                    out.text(operation.kind.name)
                    out.raw("}")
                }
                out.raw("]")
            }
        }
    }

    private func trace(_ text: String) async throws -> ForeignAnswer {
        guard let id = TraceID(text) else { throw Self.bad("\"\(text)\" is no id of a trace") }
        return try await house.readers.run {
            guard let trace = try house.spans.trace(id) else { return Self.refusal(404, "trace not found") }
            return Self.success(1) { out in
                out.raw("[")
                JaegerTrace(trace).write(&out)
                out.raw("]")
            }
        }
    }

    private func search(_ form: Form) async throws -> ForeignAnswer {
        let ids = form.all("traceID")
        if !ids.isEmpty {
            let wanted = ids.compactMap { TraceID($0) }
            return try await house.readers.run {
                Self.traces(try wanted.prefix(TelemetryLimits.traces).compactMap { try house.spans.trace($0) })
            }
        }
        guard let service = form["service"] else { throw Self.bad("parameter 'service' is required") }
        let now = house.nanoseconds
        let to = try Self.micros(form, "end") ?? now
        var search = SpanSearch(from: try Self.micros(form, "start") ?? min(now, to) - 48 * 3_600_000_000_000, to: to)
        search.service = service
        search.operation = form["operation"]
        search.least = try Self.length(form, "minDuration")
        search.most = try Self.length(form, "maxDuration")
        search.tags = try Self.tags(form)
        search.limit = form["limit"].flatMap { Int($0) } ?? 20
        guard search.limit > 0, search.limit <= TelemetryLimits.traces else {
            throw Self.bad("parameter 'limit' must be from 1 to \(TelemetryLimits.traces)")
        }
        let wanted = search
        return try await house.readers.run { Self.traces(try house.spans.search(wanted)) }
    }

    private static func traces(_ traces: [Trace]) -> ForeignAnswer {
        success(traces.count) { out in
            out.raw("[")
            for (index, trace) in traces.enumerated() {
                out.comma(index)
                JaegerTrace(trace).write(&out)
            }
            out.raw("]")
        }
    }

    private func dependencies(_ form: Form) async throws -> ForeignAnswer {
        let end = try Self.millis(form, "endTs") ?? house.nanoseconds
        let lookback = try Self.millis(form, "lookback") ?? 86_400_000_000_000
        return try await house.readers.run {
            let calls = house.spans.dependencies(from: end - lookback, to: end)
            return Self.success(calls.count) { out in
                out.raw("[")
                for (index, call) in calls.enumerated() {
                    out.comma(index)
                    out.raw("{\"parent\":")
                    out.text(call.parent)
                    out.raw(",\"child\":")
                    out.text(call.child)
                    out.raw(",\"callCount\":\(call.calls)}")
                }
                out.raw("]")
            }
        }
    }

    // MARK: Parameters

    private static func bad(_ message: String) -> Problem { Problem("traces.parameter", status: 400, message) }

    private static func micros(_ form: Form, _ name: String) throws -> Int64? {
        guard let text = form[name] else { return nil }
        guard let value = Int64(text), value.magnitude < 4_000_000_000_000_000 else {
            throw bad("parameter '\(name)' is no number of microseconds: \(text)")
        }
        return value * 1000
    }

    private static func millis(_ form: Form, _ name: String) throws -> Int64? {
        guard let text = form[name] else { return nil }
        guard let value = Int64(text), value.magnitude < 4_000_000_000_000 else {
            throw bad("parameter '\(name)' is no number of milliseconds: \(text)")
        }
        return value * 1_000_000
    }

    /// Nanoseconds of a length as Go writes it: `1.5s`, `200ms`, `30us`.
    private static func length(_ form: Form, _ name: String) throws -> Int64? {
        guard let text = form[name] else { return nil }
        let units: [(String, Double)] = [
            ("ns", 1), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9),
        ]
        for (unit, size) in units where text.hasSuffix(unit) {
            if let number = Double(text.dropLast(unit.count)), number >= 0, number * size < 4e18 {
                return Int64(number * size)
            }
        }
        throw bad("parameter '\(name)' is no duration: \(text)")
    }

    /// `tags={"http.status_code":"500"}` and `tag=key:value`.
    private static func tags(_ form: Form) throws -> [(key: String, value: String)] {
        var tags: [(key: String, value: String)] = []
        for text in form.all("tags") where !text.isEmpty {
            guard let object = try? JSONParser.parse(Array(text.utf8)).object else {  // told in the next line
                throw bad("parameter 'tags' is no JSON object: \(text)")
            }
            for (key, value) in object { tags.append((key, value.string ?? value.text)) }
        }
        for text in form.all("tag") {
            guard let colon = text.firstIndex(of: ":") else { throw bad("parameter 'tag' is not KEY:VALUE: \(text)") }
            tags.append((String(text[..<colon]), String(text[text.index(after: colon)...])))
        }
        return tags
    }
}
