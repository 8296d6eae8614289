/// What a value on an axis is counted in, and how it is written there.
enum Unit: Sendable, Equatable {
    case plain
    /// A share of 1, written in per cent.
    case share
    case count
    case seconds
    case bytes
    case bytesPerSecond
    /// Seconds since 1970.
    case moment
    case yesNo
    /// Written behind the number: "req/s".
    case named(String)

    func written(_ value: Double) -> String {
        switch self {
        case .plain: Format.number(value)
        case .share: Format.percent(value)
        case .count: value == value.rounded() && abs(value) < 1e15 ? Format.count(Int(value)) : Format.number(value)
        case .seconds: Format.duration(value)
        case .bytes: Self.bytes(value)
        case .bytesPerSecond: "\(Self.bytes(value))/s"
        case .moment: value.isFinite && abs(value) < 1e11 ? Moment(value).full : Format.number(value)
        case .yesNo: value == 0 ? "No" : value == 1 ? "Yes" : Format.number(value)
        case .named(let name): "\(Format.number(value)) \(name)"
        }
    }

    /// A limit as a person wrote it.
    func limit(_ value: Double) -> String { self == .plain ? Format.plain(value) : written(value) }

    /// A tick: the step between ticks decides the decimals.
    func tick(_ value: Double, step: Double) -> String {
        switch self {
        case .share: "\(Format.fixed(value * 100, Scale.decimals(step * 100))) %"
        case .seconds: Format.duration(value)
        case .bytes: Self.bytes(value)
        case .bytesPerSecond: "\(Self.bytes(value))/s"
        case .moment: value.isFinite && abs(value) < 1e11 ? Moment(value).date : Format.number(value)
        case .yesNo: written(value)
        case .plain, .count, .named: Format.fixed(value, Scale.decimals(step))
        }
    }

    private static func bytes(_ value: Double) -> String {
        guard value.isFinite else { return Format.number(value) }
        return (value < 0 ? "−" : "") + Format.bytes(Int(min(abs(value), 9e18)))
    }

    var axisTitle: String? {
        if case .named(let name) = self { return name }
        return nil
    }
}

/// A linear scale from values to pixels with round ticks.
struct Scale: Sendable, Equatable {
    let domain: ClosedRange<Double>
    let pixels: (from: Double, to: Double)
    let ticks: [Double]
    let step: Double

    static func == (left: Scale, right: Scale) -> Bool {
        left.domain == right.domain && left.pixels == right.pixels && left.ticks == right.ticks
    }

    /// Widens `values` to round ends with about `count` ticks between them.
    init(around values: ClosedRange<Double>, count: Int, pixels: (from: Double, to: Double), unit: Unit = .plain) {
        var (low, high) = (values.lowerBound, values.upperBound)
        if high - low < 1e-12 * max(1, abs(high)) {
            let room = max(abs(high) * 0.1, 0.5)
            (low, high) = (low == 0 ? 0 : low - room, high + room)
        }
        let step = Self.niceStep((high - low) / Double(max(1, count)), unit: unit)
        let first = (low / step + 1e-9).rounded(.down)
        let last = (high / step - 1e-9).rounded(.up)
        self.step = step
        self.ticks = stride(from: first, through: max(last, first + 1), by: 1).map { $0 * step }
        self.domain = first * step...max(last, first + 1) * step
        self.pixels = pixels
    }

    /// Keeps `exactly` as it is, with ticks given.
    init(exactly domain: ClosedRange<Double>, ticks: [Double], pixels: (from: Double, to: Double)) {
        let flat = domain.upperBound == domain.lowerBound
        self.domain = flat ? domain.lowerBound - 0.5...domain.upperBound + 0.5 : domain
        self.ticks = ticks
        self.step = ticks.count > 1 ? ticks[1] - ticks[0] : 1
        self.pixels = pixels
    }

    func callAsFunction(_ value: Double) -> Double {
        let share = (value - domain.lowerBound) / (domain.upperBound - domain.lowerBound)
        return pixels.from + share * (pixels.to - pixels.from)
    }

    /// The step of 1, 2 or 5 times a power of ten next above `raw` (Heckbert 1990, "Nice numbers for graph labels").
    ///
    /// Durations above a minute go by what clocks divide them into instead.
    static func niceStep(_ raw: Double, unit: Unit = .plain) -> Double {
        guard raw.isFinite, raw > 0 else { return 1 }
        let clock: [Double] = [
            15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400, 172_800, 604_800,
        ]
        if unit == .seconds, raw > 10, let step = clock.first(where: { $0 >= raw }) { return step }
        var power = 1.0
        while power * 10 <= raw { power *= 10 }
        while power > raw { power /= 10 }
        let part = raw / power
        return (part <= 1.0001 ? 1 : part <= 2.0001 ? 2 : part <= 5.0001 ? 5 : 10) * power
    }

    static func decimals(_ step: Double) -> Int {
        var (scaled, count) = (abs(step), 0)
        while count < 6, abs(scaled - scaled.rounded()) > 1e-6 * max(1, scaled) {
            (scaled, count) = (scaled * 10, count + 1)
        }
        return count
    }

    /// Round moments within a span: whole minutes, hours, days, months or years.
    static func timeTicks(_ span: ClosedRange<Double>, count: Int) -> [Double] {
        let length = span.upperBound - span.lowerBound
        guard length > 0, length.isFinite else { return [span.lowerBound] }
        let wanted = length / Double(max(1, count))
        let steps: [Double] = [
            1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800,
            604_800, 1_209_600,
        ]
        guard let step = steps.first(where: { $0 >= wanted }) else { return monthTicks(span, wanted: wanted) }
        let first = (span.lowerBound / step).rounded(.up) * step
        return Array(stride(from: first, through: span.upperBound, by: step))
    }

    private static func monthTicks(_ span: ClosedRange<Double>, wanted: Double) -> [Double] {
        let months = wanted / (86_400 * 30.44)
        let step = [1, 2, 3, 6, 12, 24, 60, 120, 600].first { Double($0) >= months } ?? 1200
        let start = Moment(span.lowerBound)
        var month = (start.year * 12 + start.month - 1) / step * step
        var ticks: [Double] = []
        // A span has at most as many month ticks as it has months; the bound keeps a wild span from running on.
        while ticks.count < 100 {
            let seconds = secondsAtStart(year: month / 12, month: month % 12 + 1)
            if seconds > span.upperBound { break }
            if seconds >= span.lowerBound { ticks.append(seconds) }
            month += step
        }
        return ticks
    }

    /// Civil date to days after Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms" (2013).
    private static func secondsAtStart(year: Int, month: Int) -> Double {
        let shifted = month <= 2 ? year - 1 : year
        let era = (shifted >= 0 ? shifted : shifted - 399) / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return Double(era * 146_097 + dayOfEra - 719_468) * 86_400
    }
}
