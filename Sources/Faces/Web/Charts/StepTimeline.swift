/// When each job of a run ran: bars over the run's own clock, with the time it waited before.
struct StepTimeline: Sendable {
    struct Bar: Sendable {
        let name: String
        let queued: Double?
        let start: Double?
        let end: Double?
        let status: Badge
        /// Seconds since 1970; nothing where the moment has not come.
        init(name: String, queued: Double?, start: Double?, end: Double?, status: Badge) {
            (self.name, self.queued, self.start, self.end, self.status) = (name, queued, start, end, status)
        }
    }

    let bars: [Bar]
    let now: Double

    /// A timeline shows no more bars than this.
    static let barLimit = 100

    init(bars: [Bar], now: Double) { (self.bars, self.now) = (Array(bars.prefix(Self.barLimit)), now) }

    func figure(_ size: ChartSize) -> Figure {
        let origin = self.origin
        let rows = bars.map { bar in
            ValueTable.Row(
                head: bar.name,
                cells: [
                    bar.start.map { Format.duration($0 - origin) } ?? "–",
                    bar.start.map { Format.duration((bar.end ?? now) - $0) } ?? "–", bar.status.text,
                ])
        }
        let table = ValueTable(
            title: "When each job ran", columns: ["Job", "Started after", "Took", "Status"], rows: rows)
        return Figure(size, table: table) { draw($0) }
    }

    private var origin: Double { bars.compactMap { $0.queued ?? $0.start }.min() ?? now }

    func draw(_ size: ChartSize) -> Markup {
        let longest = bars.map { ChartFrame.textWidth($0.name) }.max() ?? 0
        let left = min(longest + 14, size == .phone ? 104 : 220)
        let rowHeight = 26.0
        let frame = ChartFrame(
            width: size.width, height: 12 + rowHeight * Double(max(1, bars.count)) + 28, left: left, right: 14, top: 8,
            bottom: 26)
        var svg = SVG()
        frame.open(&svg, label: "When each job ran")
        let end = max(bars.compactMap { $0.end ?? ($0.start == nil ? nil : now) }.max() ?? now, origin + 1)
        let count = size == .phone ? 3 : 8
        let ticks = Scale.timeTicks(0...(end - origin), count: count)
        let x = Scale(exactly: 0...(end - origin), ticks: ticks, pixels: (frame.left, frame.right))
        for tick in ticks {
            let at = x(tick)
            svg.add(
                "line",
                [
                    "class": "grid", "x1": .number(at), "x2": .number(at), "y1": .number(frame.top),
                    "y2": .number(frame.bottom),
                ])
        }
        frame.drawX(&svg, x) { $0 == 0 ? "0s" : Format.duration($0) }
        for (index, bar) in bars.enumerated() {
            draw(bar, &svg, x, frame, y: frame.top + Double(index) * rowHeight + 4, height: rowHeight)
        }
        svg.close("svg")
        return Markup(svg.text)
    }

    private func draw(_ bar: Bar, _ svg: inout SVG, _ x: Scale, _ frame: ChartFrame, y: Double, height: Double) {
        svg.add(
            "text", ["class": "row-label", "x": .number(frame.left - 9), "y": .number(y + 14), "text-anchor": "end"],
            Format.clipped(bar.name, Int((frame.left - 10) / 6)))
        if let queued = bar.queued, let start = bar.start, start - queued > 0.05 {
            svg.add(
                "line",
                [
                    "class": "axis", "x1": .number(x(queued - origin)), "x2": .number(x(start - origin)),
                    "y1": .number(y + 9),
                    "y2": .number(y + 9),
                ])
        }
        guard let start = bar.start else { return }
        let (from, to) = (x(start - origin), x((bar.end ?? now) - origin))
        let took = Format.duration((bar.end ?? now) - start)
        var values = [("status", bar.status.text), ("took", took)]
        if let queued = bar.queued { values.append(("waited", Format.duration(start - queued))) }
        svg.add(
            "rect",
            [
                "class": "f\(bar.status.tone.rawValue)", "x": .number(from), "y": .number(y + 1),
                "width": .number(max(2.5, to - from)), "height": 16, "rx": 4,
            ])
        svg.add(
            "rect",
            [
                "class": "hit", "x": .number(frame.left), "y": .number(y - 3),
                "width": .number(frame.right - frame.left),
                "height": .number(height), "data-at": "\(bar.name)",
                "data-values": "\(values.map { "\($0.0)\t\($0.1)" }.joined(separator: "\n"))",
            ],
            title: "\(bar.name): \(bar.status.text), \(took)")
        let label = ChartFrame.textWidth(took)
        if to + 8 + label < frame.right {
            svg.add("text", ["x": .number(max(to, from + 2.5) + 6), "y": .number(y + 13)], took)
        } else if from - 8 - label > frame.left {
            svg.add("text", ["x": .number(from - 6), "y": .number(y + 13), "text-anchor": "end"], took)
        }
    }
}
