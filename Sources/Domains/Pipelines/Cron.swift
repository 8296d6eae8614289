import Manifests

/// A cron expression: five fields, or a word like `@daily`.
///
/// Fields: minute 0-59, hour 0-23, day of the month 1-31, month 1-12 or jan-dec, day of the week 0-7 or sun-sat (0 and 7
/// are Sunday). In each: `*`, a value, a range `a-b`, a step `*/n` or `a-b/n`, and lists of those with commas.
///
/// Days follow Vixie's rule (crontab(5)): when both the day of the month and the day of the week are restricted, that is,
/// when neither begins with `*`, either may match; else both must.
struct Cron: Sendable, Equatable {
    private let minutes: UInt64
    private let hours: UInt64
    private let days: UInt64
    private let months: UInt64
    private let weekdays: UInt64
    private let isDayOpen: Bool
    private let isWeekdayOpen: Bool
    /// Whether its hour begins with `*`: then it goes by time that passes, and not by the clock's face.
    let isHourly: Bool

    static let words = [
        "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
        "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
    ]
    private static let monthNames = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ]
    private static let weekdayNames = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]

    init(_ text: String) throws(ManifestError) {
        var whole = text
        if let word = text.split(separator: " ").first, word.hasPrefix("@") {
            guard let meant = Self.words[word.lowercased()], text.split(separator: " ").count == 1 else {
                throw ManifestError(
                    at: [], message: "\"\(text)\" is not a schedule",
                    hint: "Write five fields, or one of \(Self.words.keys.sorted().joined(separator: ", ")).")
            }
            whole = meant
        }
        let parts = whole.split { $0 == " " || $0 == "\t" }
        guard parts.count == 5 else {
            throw ManifestError(
                at: [], message: "a schedule has five fields, \"\(text)\" has \(parts.count)",
                hint: "Write minute, hour, day of the month, month, day of the week: \"0 3 * * 1-5\".")
        }
        minutes = try Self.field(parts[0], "minute", 0...59)
        hours = try Self.field(parts[1], "hour", 0...23)
        days = try Self.field(parts[2], "day of the month", 1...31)
        months = try Self.field(parts[3], "month", 1...12, names: Self.monthNames, first: 1)
        let week = try Self.field(parts[4], "day of the week", 0...7, names: Self.weekdayNames)
        weekdays = week & 0x7F | week >> 7 & 1
        (isDayOpen, isWeekdayOpen, isHourly) = (
            parts[2].hasPrefix("*"), parts[4].hasPrefix("*"), parts[1].hasPrefix("*")
        )
    }

    // MARK: Reading

    private static func field(
        _ text: Substring, _ name: String, _ range: ClosedRange<Int>, names: [String] = [], first: Int = 0
    ) throws(ManifestError) -> UInt64 {
        var bits: UInt64 = 0
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            for value in try values(part, name, range, names, first) { bits |= 1 << UInt64(value) }
        }
        return bits
    }

    private static func values(
        _ part: Substring, _ name: String, _ range: ClosedRange<Int>, _ names: [String], _ first: Int
    ) throws(ManifestError) -> [Int] {
        func wrong(_ hint: String) -> ManifestError {
            ManifestError(at: [], message: "\"\(part)\" is not a \(name) of a schedule", hint: hint)
        }
        func value(_ text: Substring) throws(ManifestError) -> Int {
            if let index = names.firstIndex(of: text.lowercased()) { return index + first }
            guard let number = Int(text), text.allSatisfy(\.isNumber), range.contains(number) else {
                throw wrong("It goes from \(range.lowerBound) to \(range.upperBound).")
            }
            return number
        }
        let pieces = part.split(separator: "/", omittingEmptySubsequences: false)
        var bounds = range
        if pieces[0] == "*" {
            // Sunday is one day, though it has two numbers.
            if range == 0...7 { bounds = 0...6 }
        } else {
            let ends = pieces[0].split(separator: "-", omittingEmptySubsequences: false)
            guard ends.count <= 2, let low = ends.first else { throw wrong("Write a-b for a range.") }
            let lower = try value(low)
            guard ends.count == 2 else {
                guard pieces.count == 1 else { throw wrong("A step needs a range: \(lower)-\(range.upperBound)/2.") }
                return [lower]
            }
            let upper = try value(ends[1])
            guard lower <= upper else { throw wrong("A range goes upwards; write two, with a comma between them.") }
            bounds = lower...upper
        }
        guard pieces.count <= 2 else { throw wrong("Write one step.") }
        guard pieces.count == 2 else { return Array(bounds) }
        guard let step = Int(pieces[1]), pieces[1].allSatisfy(\.isNumber), step > 0 else {
            throw wrong("A step is a number from 1 on.")
        }
        return Array(stride(from: bounds.lowerBound, through: bounds.upperBound, by: step))
    }

    // MARK: Asking

    /// Whether it comes on this date; Sunday is weekday 0.
    func comesOn(month: Int, day: Int, weekday: Int) -> Bool {
        guard months >> UInt64(month) & 1 == 1 else { return false }
        let isDay = days >> UInt64(day) & 1 == 1
        let isWeekday = weekdays >> UInt64(weekday) & 1 == 1
        return isDayOpen || isWeekdayOpen ? isDay && isWeekday : isDay || isWeekday
    }

    /// Its times of a day, in seconds from midnight by the clock's face, ascending.
    var timesOfDay: [Int64] {
        var times: [Int64] = []
        for hour in Int64(0)..<24 where hours >> UInt64(hour) & 1 == 1 {
            for minute in Int64(0)..<60 where minutes >> UInt64(minute) & 1 == 1 {
                times.append(hour * 3600 + minute * 60)
            }
        }
        return times
    }
}
