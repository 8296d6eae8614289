import Manifests
import SQL
import Testing

@testable import Experiments

@Suite struct TraceMetricTests {
    private func npmi(_ total: Int64, _ first: Int64, _ second: Int64, _ both: Int64) -> Double {
        TraceCorrelation(total: total, first: first, second: second, both: both).npmi(smoothed: false)
    }

    @Test func `correlation is 1 for what always comes together, 0 for what is independent, -1 for what never does`() {
        #expect(npmi(10, 10, 10, 10) == 1)
        #expect(abs(npmi(100, 50, 50, 25)) < 1e-12)
        #expect(npmi(10, 5, 5, 0) == -1)
        #expect(npmi(10, 0, 5, 0).isNaN)
        #expect(npmi(0, 0, 0, 0).isNaN)
        let few = TraceCorrelation(total: 10, first: 5, second: 5, both: 0)
        #expect(few.npmi(smoothed: true) > -1)
    }

    @Test func `a filter of a metric is one comparison for equality with what its view has`() throws {
        _ = try TraceMetricFilter.condition("trace.tag.`a b` = 'x'", .traces)
        for wrong in [
            "trace.status != 'OK'", "trace.status = 'OK' AND trace.status = 'OK'", "nope.a = 'x'", "trace.tag = 'x'",
            "trace.status.x = 'y'", "span.name = 'x'", "status = 'x'", "trace.status = 5", "",
        ] {
            #expect(throws: MLflowError.self, "\(wrong)") { try TraceMetricFilter.condition(wrong, .traces) }
        }
        _ = try TraceMetricFilter.condition("span.name = 'x'", .spans)
    }

    @Test func `tests of spans that all must hold are of one span`() throws {
        let filter = try #require(
            try FilterParser.parse("span.name = 'a' AND span.type = 'b' AND tags.t = 'c'", .traces))
        let text = "\(try TraceSearch.source.condition(filter))"
        #expect(text.components(of: "trace_span") == 1)
        #expect(text.components(of: "trace_tag") == 1)
        let either = try #require(try FilterParser.parse("span.name = 'a' OR span.type = 'b'", .traces))
        #expect("\(try TraceSearch.source.condition(either))".components(of: "trace_span") == 2)
    }
}

extension String {
    /// How often a word stands in it.
    fileprivate func components(of word: String) -> Int {
        split(separator: word, omittingEmptySubsequences: false).count - 1
    }
}
