import Glibc
import Segments
import Series
import Testing

@testable import SpanStore

private let millisecond: Int64 = 1_000_000

/// A folder of its own that goes with its last user.
final class TemporaryFolder {
    let path: String

    init() throws {
        var template = Array("/tmp/vagus-spans-XXXXXX".utf8CString)
        guard template.withUnsafeMutableBufferPointer({ $0.baseAddress.flatMap { mkdtemp($0) } }) != nil else {
            throw StorageError(.other, "no folder", hint: "")
        }
        path = template.withUnsafeBufferPointer {
            String(decoding: $0.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
    }

    deinit {
        for name in (try? Disk.names(in: path)) ?? [] { unlink("\(path)/\(name)") }  // What is left over is in /tmp.
        rmdir(path)
    }

    func copy() throws -> TemporaryFolder {
        let other = try TemporaryFolder()
        for name in try Disk.names(in: path) {
            let bytes = try OpenFile("\(path)/\(name)", O_RDONLY).read()
            try Disk.replace("\(other.path)/\(name)") { try Disk.writeAll(bytes, to: $0) }
        }
        return other
    }
}

struct SeededNumbers: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

func span(
    _ trace: UInt64, _ id: UInt64, parent: UInt64 = 0, _ service: String = "api", _ operation: String = "GET /",
    at start: Int64 = 0, takes duration: Int64 = 1, _ tags: [String: String] = [:]
) -> Span {
    var span = Span(
        traceID: TraceID(high: 0, low: trace), id: SpanID(id), service: service, operation: operation,
        start: start * millisecond, duration: duration * millisecond)
    span.parent = SpanID(parent)
    span.attributes = tags.sorted { $0.key < $1.key }.map { SpanAttribute($0.key, .text($0.value)) }
    return span
}

@Suite struct SpanStoreTests {
    static var small: SpanStore.Limits {
        var limits = SpanStore.Limits()
        (limits.oldest, limits.ahead, limits.blockBytes, limits.headBytes) = (nil, nil, 400, 1 << 20)
        return limits
    }

    static var full: Span {
        var full = span(1, 2, parent: 3, "api", "POST /cart", at: 5, takes: 7)
        (full.kind, full.status, full.statusMessage, full.scope) = (.server, .error, "no stock", "http")
        full.attributes = [
            SpanAttribute("a", .text("é")), SpanAttribute("b", .whole(-7)), SpanAttribute("c", .real(1.5)),
            SpanAttribute("d", .flag(true)), SpanAttribute("e", .json("[1,2]")),
        ]
        full.events = [.init(time: 6 * millisecond, name: "exception", attributes: [SpanAttribute("x", .text("y"))])]
        full.links = [
            .init(traceID: TraceID(high: 9, low: 8), spanID: SpanID(7), attributes: [SpanAttribute("z", .flag(false))])
        ]
        full.resource = [SpanAttribute("host.name", .text("one"))]
        return full
    }

    @Test func `a trace comes back with all that its spans said, from memory, disk and both`() throws {
        let folder = try TemporaryFolder()
        let store = try SpanStore(folder.path, limits: Self.small)
        _ = try store.append([Self.full, span(2, 1)], now: 0)
        #expect(try store.trace(TraceID(high: 0, low: 1)) == Trace(id: TraceID(high: 0, low: 1), spans: [Self.full]))
        try store.flush()
        #expect(try store.trace(TraceID(high: 0, low: 1))?.spans == [Self.full])
        let late = span(1, 9, at: 1)
        _ = try store.append([late, Self.full], now: 0)
        #expect(try store.trace(TraceID(high: 0, low: 1))?.spans == [late, Self.full])
        #expect(
            try SpanStore(folder.path, limits: Self.small).trace(TraceID(high: 0, low: 1))?.spans == [late, Self.full])
        #expect(try store.trace(TraceID(high: 1, low: 1)) == nil)
    }

    @Test(arguments: [21, 22, 23] as [UInt64])
    func `a search answers as going through all spans would`(seed: UInt64) throws {
        print("seed \(seed)")
        var numbers = SeededNumbers(state: seed)
        let folder = try TemporaryFolder()
        var store = try SpanStore(folder.path, limits: Self.small)
        var model: [Span] = []
        for step in 0..<30 {
            let batch = (0..<20).map { index in
                span(
                    UInt64(step * 5 + index % 7 + 1), UInt64(step * 100 + index + 1), "service\(numbers.next() % 3)",
                    "operation\(numbers.next() % 4)", at: Int64(step * 1_000 + index * 31),
                    takes: Int64(numbers.next() % 100),
                    ["http.route": "/r\(numbers.next() % 5)", "code": "\(numbers.next() % 3)"])
            }
            model += batch
            _ = try store.append(batch, now: 0)
            if step % 7 == 4 { try store.flush() }
            if step % 11 == 6 { store = try SpanStore(folder.path, limits: Self.small) }
        }
        for _ in 0..<60 {
            let from = Int64.random(in: 0..<30_000, using: &numbers) * millisecond
            var search = SpanSearch(from: from, to: from + Int64.random(in: 0..<15_000, using: &numbers) * millisecond)
            if Bool.random(using: &numbers) { search.service = "service\(numbers.next() % 4)" }
            if Bool.random(using: &numbers) { search.operation = "operation\(numbers.next() % 5)" }
            if Bool.random(using: &numbers) { search.tags = [("http.route", "/r\(numbers.next() % 6)")] }
            if Bool.random(using: &numbers) { search.tags.append(("code", "\(numbers.next() % 4)")) }
            if Bool.random(using: &numbers) { search.least = Int64.random(in: 0..<100, using: &numbers) * millisecond }
            if Bool.random(using: &numbers) { search.most = Int64.random(in: 0..<100, using: &numbers) * millisecond }
            search.limit = Int.random(in: 1...30, using: &numbers)
            var newest: [TraceID: Int64] = [:]
            for span in model where span.start >= search.from && span.start <= search.to {
                guard search.service == nil || search.service == span.service else { continue }
                guard search.operation == nil || search.operation == span.operation else { continue }
                guard span.duration >= search.least ?? .min, span.duration <= search.most ?? .max else { continue }
                guard
                    search.tags.allSatisfy({ tag in span.attributes.contains(SpanAttribute(tag.key, .text(tag.value))) }
                    )
                else { continue }
                newest[span.traceID] = max(newest[span.traceID] ?? .min, span.start)
            }
            let expected = newest.sorted { ($0.value, $1.key) > ($1.value, $0.key) }.prefix(search.limit).map(\.key)
            let traces = try store.search(search)
            #expect(traces.map(\.id) == expected, "seed \(seed)")
            for trace in traces {
                #expect(Set(trace.spans) == Set(model.filter { $0.traceID == trace.id }))
            }
        }
    }

    @Test func `spans acknowledged before a kill at any byte are there, and nothing else`() throws {
        let folder = try TemporaryFolder()
        let store = try SpanStore(folder.path, limits: Self.small)
        let file = try StoreFolder(folder.path, segmentEnding: ".spans").log(1)
        var sizes = [try OpenFile(file, O_RDONLY).size()]
        for number in 1...3 {
            _ = try store.append([span(UInt64(number), 1), span(UInt64(number), 2)], now: 0)
            sizes.append(try OpenFile(file, O_RDONLY).size())
        }
        for cut in 0...(sizes.last ?? 0) {
            let copy = try folder.copy()
            #expect(truncate(try StoreFolder(copy.path, segmentEnding: ".spans").log(1), cut) == 0)
            let survivor = try SpanStore(copy.path, limits: Self.small)
            #expect(survivor.status.spans == 2 * sizes.dropFirst().filter { $0 <= cut }.count, "cut at \(cut)")
            #expect(survivor.recovery.tornLogs.isEmpty == (sizes + [0]).contains(cut), "cut at \(cut)")
        }
    }

    @Test func `damage in a segment is an error or harmless, never a crash`() throws {
        let folder = try TemporaryFolder()
        let store = try SpanStore(folder.path, limits: Self.small)
        _ = try store.append((1...20).map { span(UInt64($0), 1, at: Int64($0), ["k": "value"]) }, now: 0)
        try store.flush()
        let path = try StoreFolder(folder.path, segmentEnding: ".spans").segment(1)
        let bytes = try OpenFile(path, O_RDONLY).read()
        var told = 0
        for place in stride(from: 0, to: bytes.count, by: 3) {
            var damaged = bytes
            damaged[place] ^= 0x41
            try Disk.replace(path) { try Disk.writeAll(damaged, to: $0) }
            do {
                let store = try SpanStore(folder.path, limits: Self.small)
                var search = SpanSearch(from: 0, to: .max)
                search.tags = [("k", "value")]
                _ = try store.search(search)
                for trace in 1...20 { _ = try store.trace(TraceID(high: 0, low: UInt64(trace))) }
            } catch is StorageError {
                told += 1
            }
        }
        #expect(told > 0)
    }

    @Test func `tags may be of the span, its resource, its events, or what it is`() throws {
        let folder = try TemporaryFolder()
        let store = try SpanStore(folder.path, limits: Self.small)
        _ = try store.append([Self.full, span(2, 1)], now: 0)
        for _ in 0..<2 {
            for (key, value, count) in [
                ("a", "é", 1), ("b", "-7", 1), ("d", "true", 1), ("x", "y", 1), ("host.name", "one", 1),
                ("error", "true", 1),
                ("error", "false", 1), ("span.kind", "server", 1), ("otel.status_code", "ERROR", 1), ("a", "e", 0),
                ("host.name", "on", 0),
            ] {
                var search = SpanSearch(from: 0, to: .max)
                search.tags = [(key, value)]
                #expect(try store.search(search).count == count, "\(key)=\(value)")
            }
            try store.flush()
        }
    }

    @Test func `services, operations and calls between services are told`() throws {
        let folder = try TemporaryFolder()
        let store = try SpanStore(folder.path, limits: Self.small)
        var failed = span(1, 3, parent: 1, "db", "SELECT")
        (failed.kind, failed.status) = (.client, .error)
        _ = try store.append(
            [
                span(1, 1, "web", "GET /"), span(1, 2, parent: 1, "web", "render"), failed,
                span(1, 4, parent: 1, "db", "SELECT"),
            ], now: 0)
        for _ in 0..<2 {
            #expect(store.services() == ["db", "web"])
            #expect(store.operations(of: "web").map(\.name) == ["GET /", "render"])
            #expect(store.operations(of: "db", kind: .client).map(\.name) == ["SELECT"])
            #expect(
                store.dependencies(from: 0, to: millisecond) == [
                    ServiceDependency(parent: "web", child: "db", calls: 2, errors: 1)
                ])
            #expect(store.dependencies(from: 7_200_000 * millisecond, to: .max).isEmpty)
            try store.flush()
        }
    }

    @Test func `spans are counted by operation, status and duration`() throws {
        let folder = try TemporaryFolder()
        var limits = Self.small
        limits.measuredOperations = 1
        let store = try SpanStore(folder.path, limits: limits)
        var failed = span(1, 3, takes: 20_000)
        failed.status = .error
        _ = try store.append([span(1, 1, takes: 2), span(1, 2, takes: 3), failed, span(1, 4, "api", "beyond")], now: 0)
        func value(_ name: String, _ labels: [String: String]) -> Double? {
            let all = labels.merging(
                [
                    "__name__": "traces_span_metrics_\(name)", "service_name": "api",
                    "span_kind": "SPAN_KIND_UNSPECIFIED",
                ]) { $1 }
            return store.figures().first { $0.labels == Labels(all) }?.value
        }
        #expect(value("calls_total", ["span_name": "GET /", "status_code": "STATUS_CODE_UNSET"]) == 2)
        #expect(value("calls_total", ["span_name": "GET /", "status_code": "STATUS_CODE_ERROR"]) == 1)
        #expect(value("duration_milliseconds_bucket", ["span_name": "GET /", "le": "2"]) == 1)
        #expect(value("duration_milliseconds_bucket", ["span_name": "GET /", "le": "15000"]) == 2)
        #expect(value("duration_milliseconds_bucket", ["span_name": "GET /", "le": "+Inf"]) == 3)
        #expect(value("duration_milliseconds_sum", ["span_name": "GET /"]) == 20_005)
        #expect(value("duration_milliseconds_count", ["span_name": "other"]) == 1)
    }

    @Test func `spans that cannot be kept are refused and told`() throws {
        let folder = try TemporaryFolder()
        var limits = SpanStore.Limits()
        (limits.oldest, limits.ahead, limits.spanBytes) = (100 * millisecond, 10 * millisecond, 200)
        let store = try SpanStore(folder.path, limits: limits)
        let now = 1_000 * millisecond
        let refused = [
            span(0, 1, at: 1_000), span(1, 0, at: 1_000), span(1, 1, "", at: 1_000), span(1, 1, at: 1_000, takes: -1),
            span(1, 1, at: 899), span(1, 1, at: 1_011),
            span(1, 1, at: 1_000, ["k": String(repeating: "x", count: 200)]),
        ]
        for span in refused { #expect(try store.append([span], now: now).refused == 1) }
        #expect(try store.append([span(1, 1, at: 900), span(1, 2, at: 1_010)], now: now).accepted == 2)
    }

    @Test func `old segments go by age and by size`() throws {
        let folder = try TemporaryFolder()
        let store = try SpanStore(folder.path, limits: Self.small)
        for number in 1...3 {
            _ = try store.append([span(UInt64(number), 1, at: Int64(number))], now: 0)
            try store.flush()
        }
        try store.maintain(keep: 10 * millisecond, bytes: nil, now: 12 * millisecond)
        #expect(store.status.spans == 2)
        try store.maintain(keep: nil, bytes: store.status.segmentBytes - 1, now: 0)
        #expect(store.status.spans == 1)
        #expect(try store.trace(TraceID(high: 0, low: 3)) != nil)
        #expect(try SpanStore(folder.path, limits: Self.small).status.spans == 1)
    }

    @Test(arguments: [
        ("1", TraceID(high: 0, low: 1)), ("00000000000000010000000000000002", TraceID(high: 1, low: 2)),
        ("ABCDEF", TraceID(high: 0, low: 0xABCDEF)), ("", nil), ("g", nil), ("000000000000000000000000000000001", nil),
    ])
    func `ids are read from hexadecimal digits`(text: String, id: TraceID?) {
        #expect(TraceID(text) == id)
        if let id { #expect(TraceID(id.description) == id) }
    }
}
