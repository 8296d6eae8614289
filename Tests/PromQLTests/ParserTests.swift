import Series
import Testing

@testable import PromQL

@Suite struct ParserTests {
    @Test(arguments: [
        ("-1 ^ 2", "-1 ^ 2"), ("SUM(x) BY (job)", "sum by (job) (x)"), ("x[90s]offset-5m", "x[1m30s] offset -5m"),
        ("{\"a.b\", c=\"d\"}", "{\"a.b\",c=\"d\"}"), ("x @ start()", "x @ start()"), ("x @ 1.5", "x @ 1.500"),
        ("sum without()(x)", "sum without () (x)"), ("a+on(b)group_left a", "a + on (b) group_left () a"),
        ("0x1F", "31"),
        ("1_000", "1000"), ("5m", "300"), ("rate(x[2m*15])", "rate(x[2m * 15])"), ("x[1h:]", "x[1h:]"),
        ("a == bool 1", "a == bool 1"),
        ("topk(3, x) # end", "topk(3, x)"), ("`a\\`", "\"a\\\\\""),
    ])
    func `a query prints in one canonical way, which parses to itself`(text: String, canonical: String) throws {
        let printed = try parseExpression(text).description
        #expect(printed == canonical)
        #expect(try parseExpression(printed).description == printed)
    }

    @Test(arguments: [
        ("", 0), ("sum(", 4), ("x[5m", 4), ("x{", 2), ("x{a=b}", 4), ("1 + ", 4), ("foo(x)", 0), ("rate(x)", 5),
        ("x and 1", 0),
        ("{}", 0), ("{a=~\".*\"}", 0), ("x{a=~\"(\"}", 2), ("1 == 1", 2), ("x offset 5m offset 5m", 0), ("30m1h", 0),
        ("x[0s]", 2),
        ("sum by (a) (x) by (b)", 15), ("\"open", 0), ("x ! y", 2), ("topk(x)", 0), ("a + bool b", 2), ("x[5m] + 1", 0),
    ])
    func `what is not a query is refused with its place`(text: String, offset: Int) {
        do {
            let parsed = try parseExpression(text)
            Issue.record("parsed as \(parsed)")
        } catch {
            #expect(error.range?.lowerBound == offset, "\(error)")
            #expect(error.kind == .syntax || error.kind == .type)
        }
    }

    @Test func `depth and length have ends`() {
        #expect(throws: PromQLError.self) { try parseExpression(String(repeating: "(", count: 100_000)) }
        #expect(throws: PromQLError.self) { try parseExpression("x[" + String(repeating: "(", count: 100_000)) }
        #expect(throws: PromQLError.self) { try parseExpression(String(repeating: "-", count: 100_000) + "1") }
    }

    @Test func `experimental parts can be switched off`() {
        var options = LanguageOptions()
        options.experimentalFunctions = false
        options.durationExpressions = false
        #expect(throws: PromQLError.self) { try parseExpression("limitk(1, x)", options) }
        #expect(throws: PromQLError.self) { try parseExpression("mad_over_time(x[5m])", options) }
        #expect(throws: PromQLError.self) { try parseExpression("x[5m*2]", options) }
    }

    @Test func `every function has a signature`() {
        for function in Function.allCases { #expect(!function.signature.summary.isEmpty, "\(function.rawValue)") }
    }

    @Test func `the mark of absence is the staleness marker`() {
        #expect(Absent.bits == StaleMarker.bits)
    }
}

@Suite struct EngineTests {
    private func source(_ count: Int) -> MemorySource {
        var source = MemorySource()
        for index in 0..<count { source.append(Labels(["__name__": "x", "i": "\(index)"]), 0, .number(Double(index))) }
        return source
    }

    @Test func `too many samples are refused`() throws {
        var options = EngineOptions()
        options.maximumSamples = 50
        let error = #expect(throws: PromQLError.self) {
            try PromQLEngine(options).instant(parseExpression("x"), at: 0, source: source(100))
        }
        #expect(error?.kind == .tooManySamples)
    }

    @Test func `a cancelled query stops`() throws {
        let cancel = CancelFlag()
        cancel.cancel()
        let error = #expect(throws: PromQLError.self) {
            try PromQLEngine().instant(parseExpression("sum(x)"), at: 0, source: source(10), cancel: cancel)
        }
        #expect(error?.kind == .cancelled)
    }

    @Test func `a query out of time stops`() throws {
        var options = EngineOptions()
        options.timeout = .seconds(-1)
        let error = #expect(throws: PromQLError.self) {
            try PromQLEngine(options).instant(parseExpression("x"), at: 0, source: source(10))
        }
        #expect(error?.kind == .timeout)
    }

    @Test(arguments: [
        "sum by (i) (x)", "avg(x)", "stddev(x)", "topk(3, x)", "quantile(0.3, x)", "x * 2", "max(x)",
        "count_values(\"v\", x)",
    ])
    func `lanes do not change an answer`(text: String) throws {
        let source = source(9_000)
        var options = EngineOptions()
        options.lanes = 1
        let expression = try parseExpression(text)
        let one = try PromQLEngine(options).instant(expression, at: 0, source: source)
        options.lanes = 3
        let three = try PromQLEngine(options).instant(expression, at: 0, source: source)
        guard case .vector(let a) = one.value, case .vector(let b) = three.value else {
            Issue.record("no vectors")
            return
        }
        #expect(a.labels == b.labels)
        for index in 0..<min(a.count, b.count) {
            #expect(isClose(a.samples(of: index).values[0], b.samples(of: index).values[0]))
        }
    }
}
