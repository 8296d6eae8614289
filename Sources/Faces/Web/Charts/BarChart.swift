/// One bar for each thing, side by side: durations of runs, rows per window, counts per quantile.
struct BarChart: Sendable {
    struct Bar: Sendable {
        let label: String
        let value: Double
        let tone: Tone?
        let note: String
        init(_ label: String, _ value: Double, tone: Tone? = nil, note: String = "") {
            (self.label, self.value, self.tone, self.note) = (label, value, tone, note)
        }
    }

    let title: String
    let unit: Unit
    let bars: [Bar]
    var height = 170.0

    /// A chart shows no more bars than this, the latest.
    static let barLimit = 120

    init(_ title: String, unit: Unit, bars: [Bar]) {
        (self.title, self.unit) = (title, unit)
        self.bars = Array(bars.filter { $0.value.isFinite }.suffix(Self.barLimit))
    }

    func figure(_ size: ChartSize) -> Figure {
        let table = ValueTable(
            title: title, columns: ["", "Value", "Note"],
            rows: bars.map { ValueTable.Row(head: $0.label, cells: [unit.written($0.value), $0.note]) })
        return Figure(size, table: table) { draw($0) }
    }

    func draw(_ size: ChartSize) -> Markup {
        let frame = ChartFrame(width: size.width, height: height)
        var svg = SVG()
        frame.open(&svg, label: "\(title), \(bars.count) bars")
        let highest = bars.map(\.value).max() ?? 0
        let y = Scale(
            around: min(0, bars.map(\.value).min() ?? 0)...max(highest, 0), count: 3, pixels: (frame.bottom, frame.top),
            unit: unit)
        frame.drawY(&svg, y, unit: unit)
        let slot = min(90, (frame.right - frame.left) / Double(max(1, bars.count)))
        let width = min(34, max(1.5, slot * 0.72))
        for (index, bar) in bars.enumerated() {
            let middle = frame.left + (Double(index) + 0.5) * slot
            let (upper, lower) = (min(y(bar.value), y(0)), max(y(bar.value), y(0)))
            svg.add(
                "rect",
                [
                    "class": "\(bar.tone.map { "f\($0.rawValue)" } ?? "f0")", "x": .number(middle - width / 2),
                    "y": .number(min(upper, lower - 1.5)), "width": .number(width),
                    "height": .number(max(1.5, lower - upper)), "rx": .number(min(3, width / 3)),
                ])
        }
        let x = Scale(
            exactly: 0...Double(max(1, bars.count)), ticks: bars.indices.map { Double($0) + 0.5 },
            pixels: (frame.left, frame.left + slot * Double(max(1, bars.count))))
        frame.drawX(&svg, x) { bars[min(bars.count - 1, Int($0))].label }
        for (index, bar) in bars.enumerated() {
            let from = frame.left + Double(index) * slot
            let values = [("value", unit.written(bar.value))] + (bar.note.isEmpty ? [] : [("", bar.note)])
            frame.drawHit(&svg, from: from, to: from + slot, at: from + slot / 2, head: bar.label, values: values)
        }
        svg.close("svg")
        return Markup(svg.text)
    }
}
