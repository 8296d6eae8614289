import Glibc

/// Lines over time or over numbered steps, with gaps where nothing was measured, limits and intervals.
struct LineChart: Sendable {
    struct Point: Sendable {
        let x: Double
        /// Nothing when nothing was measured: the line is broken there.
        let y: Double?
        let low: Double?
        let high: Double?

        init(_ x: Double, _ y: Double?, low: Double? = nil, high: Double? = nil) {
            (self.x, self.y, self.low, self.high) = (x, y, low, high)
        }
    }
    struct Series: Sendable {
        let name: String
        let points: [Point]
        init(_ name: String, _ points: [Point]) { (self.name, self.points) = (name, points) }
    }
    /// A limit with the side on which a value is bad.
    struct Threshold: Sendable {
        enum Side: Sendable { case above, below }
        let value: Double
        let label: String
        let bad: Side
        init(_ value: Double, _ label: String, bad: Side) {
            (self.value, self.label, self.bad) = (value, label, bad)
        }
    }
    /// A moment worth a line of its own: a deployment, a new champion.
    struct Mark: Sendable {
        let x: Double
        let label: String
        init(_ x: Double, _ label: String) { (self.x, self.label) = (x, label) }
    }
    /// What the horizontal axis counts.
    enum Axis: Sendable { case time, step }

    var title: String
    var unit: Unit = .plain
    var axis: Axis = .time
    var series: [Series] = []
    var thresholds: [Threshold] = []
    var marks: [Mark] = []
    var startsAtZero = false
    /// Whether the upright axis is logarithmic; what is not above zero is a gap then.
    var isLogarithmic = false
    var height = 240.0

    /// A chart draws no more points of a series than it has room for; the rest is thinned evenly.
    static let pointLimit = 1200
    /// A chart tells no more series apart than it has colours.
    static let seriesLimit = 8

    init(_ title: String, unit: Unit = .plain, axis: Axis = .time, series: [Series]) {
        (self.title, self.unit, self.axis) = (title, unit, axis)
        self.series = series.prefix(Self.seriesLimit).map { Series($0.name, Self.thinned($0.points)) }
    }

    func figure(_ size: ChartSize) -> Figure {
        let legend = series.count > 1 ? series.enumerated().map { LegendItem.line($1.name, $0) } : []
        return Figure(size, legend: legend, table: table) { draw($0) }
    }

    private static func thinned(_ points: [Point]) -> [Point] {
        let sound = points.filter { $0.x.isFinite }.map { point in
            Point(point.x, point.y.flatMap { $0.isFinite ? $0 : nil }, low: point.low, high: point.high)
        }
        let sorted = sound.sorted { $0.x < $1.x }
        guard sorted.count > pointLimit else { return sorted }
        let step = Double(sorted.count - 1) / Double(pointLimit - 1)
        return (0..<pointLimit).map { sorted[Int((Double($0) * step).rounded())] }
    }

    private var columns: [Double] { Set(series.flatMap { $0.points.map(\.x) }).sorted() }

    private func head(_ x: Double) -> String {
        switch axis {
        case .time: Moment(x).full
        case .step: "Step \(Format.number(x))"
        }
    }

    private var table: ValueTable? {
        let all = columns
        guard !all.isEmpty else { return nil }
        let byX = series.map { Dictionary($0.points.map { ($0.x, $0) }, uniquingKeysWith: { $1 }) }
        let rows = all.suffix(ValueTable.rowLimit).map { x in
            ValueTable.Row(head: head(x), cells: byX.map { $0[x]?.y.map(unit.written) ?? "–" })
        }
        return ValueTable(
            title: title, columns: [axis == .time ? "Time" : "Step"] + series.map(\.name), rows: Array(rows))
    }

    func draw(_ size: ChartSize) -> Markup {
        let frame = ChartFrame(width: size.width, height: size == .phone ? min(height, 210) : height)
        var svg = SVG()
        frame.open(&svg, label: label)
        let lines = isLogarithmic ? series.map(Self.logarithmic) : series
        let values = lines.flatMap { $0.points.flatMap { [$0.y, $0.low, $0.high] } }.compactMap { $0 }.filter(
            \.isFinite)
        guard let low = values.min(), let high = values.max(), let first = columns.first, let last = columns.last else {
            svg.add(
                "text",
                [
                    "class": "empty-note", "x": .number(frame.width / 2), "y": .number(frame.height / 2),
                    "text-anchor": "middle",
                ],
                "Nothing measured yet")
            svg.close("svg")
            return Markup(svg.text)
        }
        let limits = thresholds.map(\.value)
        let bottom = startsAtZero ? min(0, low) : min(low, limits.min() ?? low)
        let y = Scale(
            around: bottom...max(high, limits.max() ?? high, bottom), count: 4, pixels: (frame.bottom, frame.top),
            unit: unit)
        let x = horizontal(first...last, frame: frame, narrow: size == .phone)
        frame.drawY(&svg, y, unit: unit, label: isLogarithmic ? { Format.number(pow(10, $0)) } : nil)
        drawBands(&svg, frame, y)
        frame.drawX(&svg, x) { axis == .time ? Moment($0).axisLabel(span: last - first) : Format.number($0) }
        drawMarks(&svg, frame, x)
        for (index, one) in lines.enumerated() { draw(one, index, &svg, x, y) }
        drawThresholds(&svg, frame, y)
        frame.drawCursor(&svg)
        drawHits(&svg, frame, x)
        svg.close("svg")
        return Markup(svg.text)
    }

    private static func logarithmic(_ series: Series) -> Series {
        Series(series.name, series.points.map { Point($0.x, $0.y.flatMap { $0 > 0 ? log10($0) : nil }) })
    }

    private var label: String {
        let latest = series.compactMap { one in
            one.points.last { $0.y != nil }?.y.map { "\(one.name) latest \(unit.written($0))" }
        }
        return ([title] + latest + thresholds.map { "\($0.label) \(unit.limit($0.value))" }).joined(separator: ", ")
    }

    private func horizontal(_ span: ClosedRange<Double>, frame: ChartFrame, narrow: Bool) -> Scale {
        let pixels = (from: frame.left + 4, to: frame.right - 4)
        let count = narrow ? 4 : max(4, Int(frame.width / 110))
        switch axis {
        case .time: return Scale(exactly: span, ticks: Scale.timeTicks(span, count: count), pixels: pixels)
        case .step:
            let step = max(1, Scale.niceStep((span.upperBound - span.lowerBound) / Double(count)))
            let first = (span.lowerBound / step).rounded(.up) * step
            return Scale(
                exactly: span, ticks: Array(stride(from: first, through: span.upperBound, by: step)), pixels: pixels)
        }
    }

    private func drawBands(_ svg: inout SVG, _ frame: ChartFrame, _ y: Scale) {
        for limit in thresholds {
            let edge = min(max(y(limit.value), frame.top), frame.bottom)
            let (from, to) = limit.bad == .above ? (frame.top, edge) : (edge, frame.bottom)
            svg.add(
                "rect",
                [
                    "class": "band", "x": .number(frame.left), "y": .number(from),
                    "width": .number(frame.right - frame.left), "height": .number(max(0, to - from)),
                ])
        }
    }

    private func drawThresholds(_ svg: inout SVG, _ frame: ChartFrame, _ y: Scale) {
        for limit in thresholds {
            let at = y(limit.value)
            svg.add(
                "line",
                [
                    "class": "threshold", "x1": .number(frame.left), "x2": .number(frame.right), "y1": .number(at),
                    "y2": .number(at),
                ])
            let above = at - frame.top > 16
            svg.add(
                "text",
                [
                    "class": "limit", "x": .number(frame.right - 4), "y": .number(above ? at - 6 : at + 15),
                    "text-anchor": "end",
                ],
                "\(limit.label) \(unit.limit(limit.value))")
        }
    }

    private func drawMarks(_ svg: inout SVG, _ frame: ChartFrame, _ x: Scale) {
        for mark in marks where x.domain.contains(mark.x) {
            let at = x(mark.x)
            svg.add(
                "line",
                [
                    "class": "mark", "x1": .number(at), "x2": .number(at), "y1": .number(frame.top - 6),
                    "y2": .number(frame.bottom),
                ])
            let anchor = at > frame.right - 80 ? "end" : "start"
            svg.add(
                "text",
                ["x": .number(anchor == "end" ? at - 4 : at + 4), "y": .number(frame.top), "text-anchor": "\(anchor)"],
                mark.label)
        }
    }

    private func draw(_ one: Series, _ index: Int, _ svg: inout SVG, _ x: Scale, _ y: Scale) {
        for piece in Self.pieces(one.points, breaksAtGaps: axis == .time) {
            let bounds = piece.compactMap { point in
                point.low.flatMap { low in point.high.map { (x: x(point.x), low: y(low), high: y($0)) } }
            }
            if bounds.count > 1, bounds.count == piece.count {
                let path = bounds.map { ($0.x, $0.high) } + bounds.reversed().map { ($0.x, $0.low) }
                svg.add("path", ["class": "interval f\(index)", "d": "\(Self.path(path))Z"])
            }
            let line = piece.compactMap { point in point.y.map { (x(point.x), y($0)) } }
            if line.count > 1 { svg.add("path", ["class": "line l\(index)", "d": "\(Self.path(line))"]) }
            if line.count == 1 || one.points.count <= 24 {
                for (px, py) in line {
                    svg.add("circle", ["class": "dot f\(index)", "cx": .number(px), "cy": .number(py), "r": 3.2])
                }
            }
        }
    }

    /// The runs of points between gaps.
    ///
    /// A gap is a point without a value and, over time, an interval without points that is much longer than is usual:
    /// a line across it would tell of values that nobody measured.
    static func pieces(_ points: [Point], breaksAtGaps: Bool = false) -> [[Point]] {
        let steps = zip(points.dropFirst(), points).map { $0.x - $1.x }.sorted()
        let longest =
            breaksAtGaps && steps.count >= gapSteps ? gapFactor * steps[steps.count / 2] : Double.infinity
        var pieces: [[Point]] = []
        var last: Point?
        for point in points {
            if point.y != nil {
                if let last, last.y != nil, point.x - last.x <= longest {
                    pieces[pieces.count - 1].append(point)
                } else {
                    pieces.append([point])
                }
            }
            last = point
        }
        return pieces
    }

    /// Steps from which on there is a usual one, and how many of them are a gap.
    private static let gapSteps = 3
    private static let gapFactor = 3.0

    static func path(_ points: [(Double, Double)]) -> String {
        points.enumerated().map { index, point in
            "\(index == 0 ? "M" : "L")\(SVG.coordinate(point.0)) \(SVG.coordinate(point.1))"
        }.joined()
    }

    private func drawHits(_ svg: inout SVG, _ frame: ChartFrame, _ x: Scale) {
        let byX = series.map { Dictionary($0.points.map { ($0.x, $0) }, uniquingKeysWith: { $1 }) }
        let all = columns
        for (index, column) in all.enumerated() {
            let from = index == 0 ? frame.left : (x(all[index - 1]) + x(column)) / 2
            let to = index == all.count - 1 ? frame.right : (x(column) + x(all[index + 1])) / 2
            let values = zip(series, byX).compactMap { one, points in
                points[column].map { (one.name, $0.y.map(unit.written) ?? "no value") }
            }
            frame.drawHit(&svg, from: from, to: to, at: x(column), head: head(column), values: values)
        }
    }
}
