/// A moment as the pages write it: seconds since 1970 in UTC, taken apart into civil fields.
struct Moment: Sendable, Equatable, Comparable {
    let seconds: Double
    let year: Int
    let month: Int
    let day: Int
    let hour: Int
    let minute: Int
    let second: Int

    /// Days to civil date after Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms" (2013).
    init(_ seconds: Double) {
        let safe = seconds.isFinite ? min(max(seconds, -6e10), 2.5e11) : 0
        self.seconds = safe
        let total = Int(safe.rounded(.down))
        let days = Int((Double(total) / 86_400).rounded(.down))
        let rest = total - days * 86_400
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        hour = rest / 3600
        minute = rest % 3600 / 60
        second = rest % 60
    }

    static func < (left: Moment, right: Moment) -> Bool { left.seconds < right.seconds }

    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]
    var monthName: String { Self.months[month - 1] }

    /// "2026-11-23T09:28:00Z", for `datetime` attributes.
    var rfc3339: String {
        "\(year)-\(Format.two(month))-\(Format.two(day))T\(clock):\(Format.two(second))Z"
    }
    /// "09:28".
    var clock: String { "\(Format.two(hour)):\(Format.two(minute))" }
    /// "23 Nov 2026, 09:28:07 UTC".
    var full: String { "\(day) \(monthName) \(year), \(clock):\(Format.two(second)) UTC" }
    /// "23 Nov 2026".
    var date: String { "\(day) \(monthName) \(year)" }

    /// A label on a time axis that spans so many seconds.
    func axisLabel(span: Double) -> String {
        switch span {
        case ..<600: "\(clock):\(Format.two(second))"
        case ..<129_600: clock
        case ..<(86_400 * 120): "\(day) \(monthName)"
        case ..<(86_400 * 1500): "\(monthName) \(year)"
        default: "\(year)"
        }
    }
}
