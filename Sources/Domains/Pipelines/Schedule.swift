import API
import Foundation
import Manifests

/// When a cron expression comes, by the clocks of a time zone; pure.
///
/// Clocks that are put on or back: one with fixed hours goes by the clock's face. A time that the clock skips comes once, at
/// the moment it skips to; a time that it shows twice comes once, the first time. One whose hour begins with `*` goes by
/// the time that passes: it comes whenever the clock shows one of its times, twice when the clock shows it twice.
struct Schedule: Sendable {
    let cron: Cron
    private let zone: TimeZone
    private let times: [Int64]

    /// The longest wait that is looked through: the calendar repeats after 28 years, 40 with a century between.
    private static let longestDays: Int64 = 40 * 366
    private static let day: Int64 = 86_400

    init(_ trigger: ScheduleTrigger) throws(ManifestError) {
        do {
            cron = try Cron(trigger.cron)
        } catch {
            throw error.below(["cron"])
        }
        guard let zone = TimeZone(identifier: trigger.tz), trigger.tz == "UTC" || trigger.tz.contains("/") else {
            throw ManifestError(
                at: ["tz"], message: "no time zone \"\(trigger.tz)\"",
                hint: "Write UTC, or an IANA name like Europe/Berlin.")
        }
        self.zone = zone
        times = cron.timesOfDay
    }

    /// The first moment after `moment` at which it comes; nil: never.
    func next(after moment: Timestamp) -> Timestamp? {
        let now = moment.microseconds.quotientAndRemainder(dividingBy: 1_000_000).quotient
        let today = Self.days(now + offset(at: now))
        for day in (today - 1)...(today + Self.longestDays) where comes(on: day) {
            if let found = moments(of: day).first(where: { $0 > now }) {
                return Timestamp(microseconds: found * 1_000_000)
            }
        }
        return nil
    }

    /// The last moment after `cursor` and not after `now` at which it came; nil: none.
    ///
    /// Looks back further and further, so that a long sleep costs no more than a short one.
    func last(after cursor: Timestamp, upTo now: Timestamp) -> Timestamp? {
        for window in [Duration.seconds(7200), .seconds(2 * 86_400), .seconds(62 * 86_400), now.since(cursor)] {
            let start = max(cursor, now.advanced(by: .zero - window))
            guard var found = next(after: start), found <= now else {
                if start == cursor { return nil }
                continue
            }
            while let later = next(after: found), later <= now { found = later }
            return found
        }
        return nil
    }

    // MARK: -

    private static func days(_ seconds: Int64) -> Int64 {
        seconds >= 0 ? seconds / day : (seconds - day + 1) / day
    }

    private func comes(on day: Int64) -> Bool {
        let date = Timestamp.civil(day)
        // 1970-01-01 was a Thursday.
        let weekday = ((day + 4) % 7 + 7) % 7
        return cron.comesOn(month: Int(date.month), day: Int(date.day), weekday: Int(weekday))
    }

    /// The moments at which it comes on a date, ascending.
    private func moments(of day: Int64) -> [Int64] {
        let midnight = day * Self.day
        let before = offset(at: midnight - 26 * 3600)
        let after = offset(at: midnight + 50 * 3600)
        if before == after { return times.map { midnight + $0 - before } }
        var found: [Int64] = []
        for time in times {
            let face = midnight + time
            let shown = Set([before, after]).map { face - $0 }.filter { offset(at: $0) == face - $0 }.sorted()
            if cron.isHourly { found += shown } else { found.append(shown.first ?? skip(face, before, after)) }
        }
        return Set(found).sorted()
    }

    /// The moment at which the clock jumps over the time it would have shown.
    private func skip(_ face: Int64, _ before: Int64, _ after: Int64) -> Int64 {
        var low = face - max(before, after)
        var high = face - min(before, after)
        while high - low > 1 {
            let middle = (low + high) / 2
            if offset(at: middle) == before { low = middle } else { high = middle }
        }
        return high
    }

    /// Seconds that the clock is ahead of UTC at a moment.
    private func offset(at seconds: Int64) -> Int64 {
        Int64(zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(seconds))))
    }
}
