/// How many lines there were over time, a bar for each span, stacked by level.
struct VolumeChart: Sendable {
    struct Bar: Sendable {
        let from: Double
        let to: Double
        /// From the bottom.
        let parts: [(level: LogLevel, count: Double)]
    }
    let bars: [Bar]
    let span: ClosedRange<Double>
    var height = 130.0

    func figure(_ size: ChartSize) -> Figure {
        let levels = LogLevel.allCases.filter { level in
            bars.contains { $0.parts.contains { $0.level == level && $0.count > 0 } }
        }
        let table = ValueTable(
            title: "Lines over time", columns: ["From"] + levels.map(\.word),
            rows: bars.suffix(ValueTable.rowLimit).map { bar in
                ValueTable.Row(
                    head: Moment(bar.from).full,
                    cells: levels.map { level in
                        Unit.count.written(bar.parts.filter { $0.level == level }.reduce(0) { $0 + $1.count })
                    })
            })
        return Figure(size, legend: levels.map { LegendItem.area($0.word, $0.fill) }, table: table) { draw($0) }
    }

    private func draw(_ size: ChartSize) -> Markup {
        let sums = bars.map { $0.parts.reduce(0) { $0 + $1.count } }
        let frame = ChartFrame(width: size.width, height: height, left: 52)
        var svg = SVG()
        frame.open(&svg, label: "Lines over time, \(Format.number(sums.reduce(0, +))) in all")
        let y = Scale(around: 0...max(1, sums.max() ?? 0), count: 2, pixels: (frame.bottom, frame.top), unit: .count)
        let x = Scale(
            exactly: span, ticks: Scale.timeTicks(span, count: size == .full ? 9 : 4),
            pixels: (frame.left + 2, frame.right - 2))
        frame.drawY(&svg, y, unit: .count) { Unit.count.short($0, step: y.step) }
        frame.drawX(&svg, x) { Moment($0).axisLabel(span: span.upperBound - span.lowerBound) }
        for (bar, sum) in zip(bars, sums) {
            let (left, right) = (max(frame.left, x(bar.from)), min(frame.right, x(bar.to)))
            guard right > left else { continue }
            var floor = 0.0
            for part in bar.parts where part.count > 0 {
                let (lower, upper) = (y(floor), y(floor + part.count))
                floor += part.count
                svg.add(
                    "rect",
                    [
                        "class": "\(part.level.fill)", "x": .number(left + 0.5), "y": .number(upper),
                        "width": .number(max(1, right - left - 1)), "height": .number(max(0.5, lower - upper)),
                    ])
            }
            let values =
                bar.parts.filter { $0.count > 0 }.reversed().map { ($0.level.word, Unit.count.written($0.count)) }
                + [("all", Unit.count.written(sum))]
            frame.drawHit(
                &svg, from: left, to: right, at: (left + right) / 2, head: Moment(bar.from).full, values: values)
        }
        svg.close("svg")
        return Markup(svg.text)
    }
}

/// What a line's level is, in the words of most that write them.
enum LogLevel: Int, CaseIterable, Sendable {
    case unknown, trace, debug, info, warning, error, fatal

    init(_ text: String?) {
        switch text?.lowercased() {
        case "trace", "trc", "finest": self = .trace
        case "debug", "dbg", "fine": self = .debug
        case "info", "information", "notice", "inf": self = .info
        case "warning", "warn", "wrn": self = .warning
        case "error", "err", "eror": self = .error
        case "fatal", "critical", "crit", "alert", "emerg", "emergency", "panic": self = .fatal
        default: self = .unknown
        }
    }

    var word: String {
        switch self {
        case .unknown: "level not told"
        default: "\(self)"
        }
    }

    var tone: Tone {
        switch self {
        case .error, .fatal: .bad
        case .warning: .warn
        case .info: .run
        case .unknown, .trace, .debug: .mute
        }
    }

    var fill: String {
        switch self {
        case .fatal: "fbad dark"
        case .debug, .trace: "f4"
        default: "f\(tone.rawValue)"
        }
    }
}
