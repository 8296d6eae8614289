/// How a whole was divided over time: traffic between revisions, stacked to 100 %.
struct ShareChart: Sendable {
    /// The division that held from a moment until the next one.
    struct Moments: Sendable {
        let at: Double
        let shares: [String: Double]
        init(at: Double, shares: [String: Double]) { (self.at, self.shares) = (at, shares) }
    }

    let title: String
    /// Bottom to top; the rest is left out.
    let parts: [String]
    let moments: [Moments]
    let until: Double
    var height = 190.0

    /// A chart draws no more changes than this, the latest.
    static let changeLimit = 400

    init(_ title: String, parts: [String], moments: [Moments], until: Double) {
        self.title = title
        self.parts = Array(parts.prefix(LineChart.seriesLimit))
        self.moments = Array(moments.sorted { $0.at < $1.at }.suffix(Self.changeLimit))
        self.until = max(until, self.moments.last?.at ?? until)
    }

    func figure(_ size: ChartSize) -> Figure {
        let rows = moments.suffix(ValueTable.rowLimit).map { moment in
            ValueTable.Row(head: Moment(moment.at).full, cells: parts.map { Format.percent(share($0, in: moment)) })
        }
        return Figure(
            size, legend: parts.enumerated().map { LegendItem.area($1, "f\($0 % 8)") },
            table: ValueTable(title: title, columns: ["From"] + parts, rows: Array(rows))
        ) { draw($0) }
    }

    /// A part's share at a moment, of what all parts have then.
    private func share(_ part: String, in moment: Moments) -> Double {
        let total = moment.shares.values.filter { $0.isFinite && $0 > 0 }.reduce(0, +)
        return total > 0 ? max(0, moment.shares[part] ?? 0) / total : 0
    }

    func draw(_ size: ChartSize) -> Markup {
        let frame = ChartFrame(width: size.width, height: height)
        var svg = SVG()
        frame.open(&svg, label: title)
        let y = Scale(around: 0...1, count: 4, pixels: (frame.bottom, frame.top))
        frame.drawY(&svg, y, unit: .share)
        guard let first = moments.first else {
            svg.add(
                "text", ["x": .number(frame.width / 2), "y": .number(frame.height / 2), "text-anchor": "middle"],
                "No traffic routed yet")
            svg.close("svg")
            return Markup(svg.text)
        }
        let span = first.at...max(until, first.at + 1)
        let ticks = Scale.timeTicks(span, count: size == .phone ? 4 : max(4, Int(frame.width / 110)))
        let x = Scale(exactly: span, ticks: ticks, pixels: (frame.left, frame.right))
        frame.drawX(&svg, x) { Moment($0).axisLabel(span: span.upperBound - span.lowerBound) }
        for index in parts.indices { drawArea(index, &svg, x, y) }
        frame.drawCursor(&svg)
        for (index, moment) in moments.enumerated() {
            let end = index + 1 < moments.count ? moments[index + 1].at : span.upperBound
            frame.drawHit(
                &svg, from: x(moment.at), to: x(end), at: x(moment.at), head: "From \(Moment(moment.at).full)",
                values: parts.reversed().map { ($0, Format.percent(share($0, in: moment))) })
        }
        svg.close("svg")
        return Markup(svg.text)
    }

    /// Shares hold until they are changed, so areas are steps, not slopes.
    private func drawArea(_ index: Int, _ svg: inout SVG, _ x: Scale, _ y: Scale) {
        var upper: [(Double, Double)] = []
        var lower: [(Double, Double)] = []
        for (position, moment) in moments.enumerated() {
            let end = position + 1 < moments.count ? moments[position + 1].at : max(until, moment.at + 1)
            let below = parts[..<index].map { share($0, in: moment) }.reduce(0, +)
            let above = below + share(parts[index], in: moment)
            upper += [(x(moment.at), y(above)), (x(end), y(above))]
            lower += [(x(moment.at), y(below)), (x(end), y(below))]
        }
        svg.add("path", ["class": "area f\(index % 8)", "d": "\(LineChart.path(upper + lower.reversed()))Z"])
    }
}
