/// Instants as text: RFC 3339 over the proleptic Gregorian calendar, years 1...9999.
enum Calendar {
    private static let daysBeforeMonth = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334]
    private static let microsecondsADay: Int64 = 86_400_000_000
    /// Days from 0001-01-01 to 1970-01-01.
    private static let epochDay = daysBefore(year: 1970)

    /// Microseconds since 1970 of a date or an instant, or nil.
    ///
    /// Reads `2026-01-31`, `2026-01-31T08:30`, `2026-01-31 08:30:15.25` with `Z`, `+02:00`, `-0530` or nothing (UTC)
    /// at the end. A leap second counts as the second after it.
    static func microseconds(_ p: UnsafePointer<UInt8>, _ count: Int) -> Int64? {
        let (p, count) = CellParser.trimmed(p, count)
        var text = Scanner(p: p, count: count)
        guard let year = text.digits(4), text.take("-"), let month = text.digits(2), text.take("-"),
            let day = text.digits(2), let days = days(year, month, day)
        else { return nil }
        let midnight = Int64(days) * microsecondsADay
        if text.isAtEnd { return midnight }
        guard text.take("T") || text.take("t") || text.take(" "), let clock = timeOfDay(&text),
            let offset = zone(&text), text.isAtEnd
        else { return nil }
        return midnight + clock - offset
    }

    /// RFC 3339 in UTC, with microseconds only where there are some.
    static func text(of microseconds: Int64) -> String {
        var days = Int(microseconds / microsecondsADay)
        var rest = microseconds % microsecondsADay
        if rest < 0 {
            rest += microsecondsADay
            days -= 1
        }
        let (year, month, day) = date(ofDay: days)
        let seconds = Int(rest / 1_000_000)
        let fraction = Int(rest % 1_000_000)
        let clock =
            "\(padded(seconds / 3600, 2)):\(padded(seconds / 60 % 60, 2)):\(padded(seconds % 60, 2))"
        let tail = fraction == 0 ? "" : ".\(padded(fraction, 6))"
        return "\(padded(year, 4))-\(padded(month, 2))-\(padded(day, 2))T\(clock)\(tail)Z"
    }

    private static func padded(_ number: Int, _ width: Int) -> String {
        let digits = "\(number)"
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }

    private static func timeOfDay(_ text: inout Scanner) -> Int64? {
        guard let hour = text.digits(2), hour < 24, text.take(":"), let minute = text.digits(2), minute < 60 else {
            return nil
        }
        var clock = Int64(hour * 3600 + minute * 60) * 1_000_000
        guard text.take(":") else { return clock }
        guard let second = text.digits(2), second <= 60 else { return nil }
        clock += Int64(second) * 1_000_000
        if text.take(".") {
            guard let fraction = text.fraction() else { return nil }
            clock += fraction
        }
        return clock
    }

    private static func zone(_ text: inout Scanner) -> Int64? {
        if text.isAtEnd || text.take("Z") || text.take("z") { return 0 }
        let isWest = text.take("-")
        guard isWest || text.take("+"), let hours = text.digits(2), hours < 24 else { return nil }
        _ = text.take(":")
        guard let minutes = text.digits(2), minutes < 60 else { return nil }
        let offset = Int64(hours * 60 + minutes) * 60_000_000
        return isWest ? -offset : offset
    }

    private static func isLeap(_ year: Int) -> Bool { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) }

    /// Days from 0001-01-01 to the first day of a year.
    private static func daysBefore(year: Int) -> Int {
        let past = year - 1
        return past * 365 + past / 4 - past / 100 + past / 400
    }

    /// Days since 1970 of a date, or nil when there is no such day.
    private static func days(_ year: Int, _ month: Int, _ day: Int) -> Int? {
        guard year >= 1, month >= 1, month <= 12, day >= 1 else { return nil }
        let isLeap = isLeap(year)
        let length = month == 2 ? (isLeap ? 29 : 28) : month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31
        guard day <= length else { return nil }
        let leapDay = isLeap && month > 2 ? 1 : 0
        return daysBefore(year: year) + daysBeforeMonth[month - 1] + leapDay + day - 1 - epochDay
    }

    private static func date(ofDay days: Int) -> (year: Int, month: Int, day: Int) {
        let count = days + epochDay
        var year = max(1, count * 400 / 146_097)
        while daysBefore(year: year + 1) <= count { year += 1 }
        while daysBefore(year: year) > count { year -= 1 }
        let leap = isLeap(year) ? 1 : 0
        let dayOfYear = count - daysBefore(year: year)
        var month = 12
        while month > 1, dayOfYear < daysBeforeMonth[month - 1] + (month > 2 ? leap : 0) { month -= 1 }
        return (year, month, dayOfYear - daysBeforeMonth[month - 1] - (month > 2 ? leap : 0) + 1)
    }

    /// A place in a run of bytes.
    private struct Scanner {
        let p: UnsafePointer<UInt8>
        let count: Int
        var position = 0

        var isAtEnd: Bool { position == count }

        mutating func take(_ character: Unicode.Scalar) -> Bool {
            guard position < count, UInt32(p[position]) == character.value else { return false }
            position += 1
            return true
        }

        mutating func digits(_ width: Int) -> Int? {
            guard position + width <= count else { return nil }
            var number = 0
            for i in position..<(position + width) {
                let digit = p[i] &- 48
                guard digit < 10 else { return nil }
                number = number * 10 + Int(digit)
            }
            position += width
            return number
        }

        /// Up to nine digits behind the point, cut to microseconds.
        mutating func fraction() -> Int64? {
            var value: Int64 = 0
            var read = 0
            while position < count, p[position] &- 48 < 10, read < 9 {
                if read < 6 { value = value * 10 + Int64(p[position] &- 48) }
                read += 1
                position += 1
            }
            guard read > 0 else { return nil }
            while read < 6 {
                value *= 10
                read += 1
            }
            return value
        }
    }
}
