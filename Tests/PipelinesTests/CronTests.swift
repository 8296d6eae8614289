import API
import Manifests
import Testing

@testable import Pipelines

@Suite struct CronTests {
    struct Row: Sendable, CustomTestStringConvertible {
        var cron: String
        var tz: String
        var from: String
        var next: [String]
        init(_ cron: String, _ tz: String, from: String, _ next: [String]) {
            (self.cron, self.tz, self.from, self.next) = (cron, tz, from, next)
        }
        var testDescription: String { "\(cron) \(tz) from \(from)" }
    }

    /// Berlin puts its clocks on at 2026-03-29T01:00Z (2:00 becomes 3:00) and back at 2026-10-25T01:00Z (3:00 becomes
    /// 2:00); New York on at 2026-03-08T07:00Z and back at 2026-11-01T06:00Z; Lord Howe on by 30 minutes at
    /// 2026-10-03T15:30Z. Source: IANA time zone database 2025b.
    static let rows: [Row] = [
        Row(
            "30 2 * * *", "Europe/Berlin", from: "2026-03-28T00:00:00Z",
            ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]),
        Row(
            "30 2 * * *", "Europe/Berlin", from: "2026-10-24T00:00:00Z",
            ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
        Row(
            "30 * * * *", "Europe/Berlin", from: "2026-10-25T00:00:00Z",
            ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"]),
        Row(
            "30 * * * *", "Europe/Berlin", from: "2026-03-29T00:00:00Z",
            ["2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z", "2026-03-29T02:30:00Z"]),
        Row(
            "*/15 2 * * *", "Europe/Berlin", from: "2026-03-29T00:00:00Z",
            ["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z", "2026-03-30T00:15:00Z"]),
        Row(
            "*/30 2 * * *", "Europe/Berlin", from: "2026-10-25T00:00:00Z",
            ["2026-10-25T00:30:00Z", "2026-10-26T01:00:00Z"]),
        Row("30 */2 * * *", "Europe/Berlin", from: "2026-03-29T00:00:00Z", ["2026-03-29T02:30:00Z"]),
        Row(
            "0 1 * * *", "America/New_York", from: "2026-11-01T00:00:00Z",
            ["2026-11-01T05:00:00Z", "2026-11-02T06:00:00Z"]),
        Row(
            "15 2 8 3 *", "America/New_York", from: "2026-01-01T00:00:00Z",
            ["2026-03-08T07:00:00Z", "2027-03-08T07:15:00Z"]),
        Row(
            "0 * * * *", "America/New_York", from: "2026-11-01T04:30:00Z",
            ["2026-11-01T05:00:00Z", "2026-11-01T06:00:00Z", "2026-11-01T07:00:00Z"]),
        Row("15 2 4 10 *", "Australia/Lord_Howe", from: "2026-10-01T00:00:00Z", ["2026-10-03T15:30:00Z"]),
        Row("0 6 * * *", "Asia/Kathmandu", from: "2026-01-01T00:00:00Z", ["2026-01-01T00:15:00Z"]),
        Row("0 3 * * 1-5", "Europe/Berlin", from: "2026-11-27T02:30:00Z", ["2026-11-30T02:00:00Z"]),
        Row("0 3 * * mon-FRI", "Europe/Berlin", from: "2026-11-27T02:30:00Z", ["2026-11-30T02:00:00Z"]),
        Row(
            "0 0 13 * 5", "UTC", from: "2026-11-27T12:00:00Z",
            ["2026-12-04T00:00:00Z", "2026-12-11T00:00:00Z", "2026-12-13T00:00:00Z", "2026-12-18T00:00:00Z"]),
        Row(
            "0 0 */2 * 1", "UTC", from: "2026-11-01T00:00:00Z", ["2026-11-09T00:00:00Z", "2026-11-23T00:00:00Z"]),
        Row("0 0 29 2 *", "UTC", from: "2026-01-01T00:00:00Z", ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
        Row("0 0 * * 7", "UTC", from: "2026-11-26T00:00:00Z", ["2026-11-29T00:00:00Z", "2026-12-06T00:00:00Z"]),
        Row("0 0 * * 0,7", "UTC", from: "2026-11-26T00:00:00Z", ["2026-11-29T00:00:00Z", "2026-12-06T00:00:00Z"]),
        Row("@daily", "UTC", from: "2026-11-26T00:00:00Z", ["2026-11-27T00:00:00Z"]),
        Row("@weekly", "UTC", from: "2026-11-26T00:00:00Z", ["2026-11-29T00:00:00Z"]),
        Row("@yearly", "UTC", from: "2026-11-26T00:00:00Z", ["2027-01-01T00:00:00Z"]),
        Row(
            "5,10-20/5 0 1 jan,Jul *", "UTC", from: "2026-06-30T23:59:00Z",
            [
                "2026-07-01T00:05:00Z", "2026-07-01T00:10:00Z", "2026-07-01T00:15:00Z", "2026-07-01T00:20:00Z",
                "2027-01-01T00:05:00Z",
            ]),
        Row("* * * * *", "UTC", from: "2026-12-31T23:59:30Z", ["2027-01-01T00:00:00Z", "2027-01-01T00:01:00Z"]),
    ]

    private func schedule(_ cron: String, _ tz: String = "UTC") throws -> Schedule {
        var trigger = ScheduleTrigger()
        (trigger.cron, trigger.tz) = (cron, tz)
        return try Schedule(trigger)
    }

    @Test(arguments: rows)
    func `a schedule comes when the clock of its zone says so`(row: Row) throws {
        let schedule = try schedule(row.cron, row.tz)
        var moment = try #require(Timestamp(row.from))
        for wanted in row.next {
            moment = try #require(schedule.next(after: moment))
            #expect(moment == Timestamp(wanted), "\(moment) is not \(wanted)")
        }
    }

    @Test(arguments: [
        "", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 13 *",
        "* * * * 8", "5-1 * * * *", "5/10 * * * *", "*/0 * * * *", "1,,2 * * * *", "a * * * *", "* * * * fri-mon",
        "@reboot", "@daily x", "1-2-3 * * * *", "*/2/3 * * * *", "-1 * * * *", "? * * * *", "* * L * *", "H * * * *",
        "٣ * * * *",
    ])
    func `what is no schedule is refused with a hint`(text: String) {
        let error = #expect(throws: ManifestError.self) { try Cron(text) }
        #expect(error?.hint?.isEmpty == false)
    }

    @Test func `a zone that is none is refused, and a day that no month has never comes`() throws {
        #expect(throws: ManifestError.self) { try schedule("0 0 * * *", "Europe/Nowhere") }
        #expect(throws: ManifestError.self) { try schedule("0 0 * * *", "") }
        #expect(try schedule("0 0 30 2 *").next(after: .zero) == nil)
    }

    @Test func `of those that were missed the last one counts, however long ago it was asked`() throws {
        let (from, now) = try (
            #require(Timestamp("2024-01-01T00:00:00Z")), #require(Timestamp("2026-11-26T14:30:30Z"))
        )
        #expect(try schedule("* * * * *").last(after: from, upTo: now) == Timestamp("2026-11-26T14:30:00Z"))
        #expect(try schedule("@yearly").last(after: from, upTo: now) == Timestamp("2026-01-01T00:00:00Z"))
        #expect(try schedule("0 3 * * *").last(after: from, upTo: now) == Timestamp("2026-11-26T03:00:00Z"))
        #expect(try schedule("0 0 29 2 *").last(after: from, upTo: now) == Timestamp("2024-02-29T00:00:00Z"))
        let today = try #require(Timestamp("2026-11-26T03:00:00Z"))
        #expect(try schedule("0 3 * * *").last(after: today, upTo: now) == nil)
    }
}
