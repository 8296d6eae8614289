import API
import Kernel
import Manifests
import Testing

@testable import Pipelines

/// Freezes as a calendar shows them.
@Suite struct FreezeCalendarTests {
    private func at(_ text: String) -> Timestamp { Timestamp(text) ?? .zero }

    private func freeze(_ yaml: String) throws -> FreezeSpec {
        try FreezeSpec(json: YAML.documents(yaml)[0].value, at: [])
    }

    private func spans(_ yaml: String, _ from: String, _ to: String) throws -> [String] {
        try Freezes.spans(of: freeze(yaml), from: at(from), to: at(to)).map { span in
            [span.from, span.to].map { String($0.description.prefix(16)) }.joined(separator: " ")
        }
    }

    @Test func `one that comes again is written out, that which has begun already too`() throws {
        let weekends = "{ name: weekends, cron: \"0 18 * * 5\", for: 62h }"
        // 2026-11-22 is a Sunday.
        #expect(
            try spans(weekends, "2026-11-22T12:00:00Z", "2026-12-05T00:00:00Z") == [
                "2026-11-20T18:00 2026-11-23T08:00", "2026-11-27T18:00 2026-11-30T08:00",
                "2026-12-04T18:00 2026-12-07T08:00",
            ])
        #expect(try spans(weekends, "2026-11-23T08:00:00Z", "2026-11-27T18:00:00Z").isEmpty)
    }

    @Test func `one with a date is there where it touches`() throws {
        let sales = "{ name: sales, from: 2026-11-26T00:00:00Z, to: 2026-11-30T00:00:00Z }"
        #expect(try spans(sales, "2026-11-29T00:00:00Z", "2026-12-01T00:00:00Z").count == 1)
        #expect(try spans(sales, "2026-11-30T00:00:00Z", "2026-12-01T00:00:00Z").isEmpty)
        #expect(try spans(sales, "2026-11-01T00:00:00Z", "2026-11-26T00:00:00Z").isEmpty)
    }

    @Test func `no more is told than an answer holds`() throws {
        let often = "{ name: often, cron: \"* * * * *\", for: 30s }"
        #expect(try spans(often, "2026-11-01T00:00:00Z", "2026-11-30T00:00:00Z").count == CalendarQuery.limit)
    }
}
