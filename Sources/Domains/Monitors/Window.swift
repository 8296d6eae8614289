import API

/// A span of time that predictions are grouped by, in UTC.
struct Window: Sendable, Hashable {
    /// 2018, 2018-03, 2018-W05, 2018-03-07, 2018-03-07T10.
    var name: String
    var from: Timestamp
    /// Not included.
    var to: Timestamp

    init(name: String, from: Timestamp, to: Timestamp) { (self.name, self.from, self.to) = (name, from, to) }

    private static let day: Int64 = 86_400_000_000

    /// The window in which a moment lies.
    init(at moment: Int64, every: WindowSpec.Every) {
        let text = Timestamp(microseconds: moment).description
        switch every {
        case .hour:
            let from = HourChanges.hour(of: moment)
            self.init(name: String(text.prefix(13)), from: from, length: HourChanges.length)
        case .day: self.init(name: String(text.prefix(10)), from: Self.midnight(moment), length: Self.day)
        case .week:
            let monday = Self.monday(moment)
            self.init(name: Self.weekName(monday), from: monday, length: 7 * Self.day)
        case .month:
            let (year, month) = Self.yearAndMonth(text)
            let next = month == 12 ? Self.first(year + 1, 1) : Self.first(year, month + 1)
            self.init(name: String(text.prefix(7)), from: Self.first(year, month), to: next)
        case .year:
            let year = Self.yearAndMonth(text).year
            self.init(name: String(text.prefix(4)), from: Self.first(year, 1), to: Self.first(year + 1, 1))
        }
    }

    private init(name: String, from: Int64, length: Int64) {
        self.init(name: name, from: Timestamp(microseconds: from), to: Timestamp(microseconds: from + length))
    }

    private static func midnight(_ moment: Int64) -> Int64 {
        let rest = moment % day
        return moment - (rest < 0 ? rest + day : rest)
    }

    /// Monday's midnight; 1970-01-01 was a Thursday.
    private static func monday(_ moment: Int64) -> Int64 {
        let days = midnight(moment) / day
        let weekday = ((days + 3) % 7 + 7) % 7
        return (days - weekday) * day
    }

    /// ISO 8601: a week belongs to the year in which its Thursday lies.
    private static func weekName(_ monday: Int64) -> String {
        let thursday = monday + 3 * day
        let year = yearAndMonth(Timestamp(microseconds: thursday).description).year
        let week = (thursday - first(year, 1).microseconds) / (7 * day) + 1
        return "\(padded(year, 4))-W\(padded(Int(week), 2))"
    }

    private static func yearAndMonth(_ text: String) -> (year: Int, month: Int) {
        (Int(text.prefix(4)) ?? 1970, Int(text.dropFirst(5).prefix(2)) ?? 1)
    }

    private static func first(_ year: Int, _ month: Int) -> Timestamp {
        Timestamp("\(padded(year, 4))-\(padded(month, 2))-01") ?? .zero
    }

    private static func padded(_ number: Int, _ width: Int) -> String {
        let text = "\(number)"
        return String(repeating: "0", count: max(0, width - text.count)) + text
    }
}
