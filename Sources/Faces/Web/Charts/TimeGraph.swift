/// Many series over time: each can be hidden, and the values under the pointer are told from the legend.
struct TimeGraph: Sendable {
    struct Line: Sendable {
        let name: String
        let points: [LineChart.Point]
    }
    struct Limit: Sendable {
        let value: Double
        let tone: Tone
    }

    var title: String
    var unit: Unit = .plain
    var lines: [Line]
    /// The whole time, also where nothing was measured.
    var span: ClosedRange<Double>
    var isStacked = false
    var low: Double?
    var high: Double?
    var limits: [Limit] = []
    var height = 260.0
    /// More lines there are, for words below the graph.
    var leftOut = 0

    /// Lines that are drawn; more cannot be told apart, and a page of them would be slow.
    static let lineLimit = 60
    /// Columns of a phone's drawing.
    private static let narrowColumns = 120
    /// With more lines than these the values are not repeated as a table.
    private static let tableLines = 8

    init(_ title: String, unit: Unit = .plain, lines: [Line], span: ClosedRange<Double>) {
        (self.title, self.unit, self.span) = (title, unit, span)
        self.lines = Array(lines.prefix(Self.lineLimit))
        leftOut = max(0, lines.count - Self.lineLimit)
    }

    func figure(_ size: ChartSize) -> GraphFigure {
        let columns = Set(lines.flatMap { $0.points.map(\.x) }).sorted()
        let values = lines.map { line in
            Dictionary(line.points.map { ($0.x, $0.y) }, uniquingKeysWith: { $1 })
        }
        let legend = lines.enumerated().map { index, line in
            let known = line.points.compactMap(\.y)
            return GraphFigure.Entry(
                number: index, name: line.name,
                swatch: (isStacked ? LegendItem.area(line.name, "f\(index % 8)") : .line(line.name, index)).swatch,
                last: line.points.last { $0.y != nil }?.y.map(unit.written) ?? "–",
                least: known.min().map(unit.written) ?? "–", most: known.max().map(unit.written) ?? "–",
                values: columns.map { x in values[index][x].flatMap { $0 }.map(unit.written) ?? "" }
                    .joined(separator: "\t"))
        }
        let table =
            lines.count > Self.tableLines || columns.isEmpty
            ? nil
            : ValueTable(
                title: title, columns: ["Time"] + lines.map(\.name),
                rows: columns.suffix(ValueTable.rowLimit).map { x in
                    ValueTable.Row(
                        head: Moment(x).full,
                        cells: values.map { $0[x].flatMap { $0 }.map(unit.written) ?? "–" })
                })
        return GraphFigure(
            wide: draw(size, columns), narrow: draw(.phone, columns), legend: legend, hasRows: legend.count > 4,
            table: table)
    }

    private func draw(_ size: ChartSize, _ columns: [Double]) -> Markup {
        let stacks = isStacked ? stacked(columns) : nil
        let drawn = stacks?.flatMap { $0.flatMap { [$0.low, $0.high] } } ?? lines.flatMap { $0.points.compactMap(\.y) }
        guard let least = drawn.min(), let most = drawn.max() else { return nothing(size) }
        let bottom = low ?? min(least, isStacked ? 0 : least)
        let top = max(high ?? max(most, limits.map(\.value).filter { $0 <= most * 2 }.max() ?? most), bottom)
        let draft = Scale(around: bottom...top, count: 4, pixels: (0, 1), unit: unit)
        let widest = draft.ticks.map { ChartFrame.textWidth(unit.short($0, step: draft.step)) }.max() ?? 0
        let frame = ChartFrame(
            width: size.width, height: size == .phone ? min(height, 220) : height, left: max(34, widest + 14))
        let y = Scale(around: bottom...top, count: 4, pixels: (frame.bottom, frame.top), unit: unit)
        let x = Scale(
            exactly: span, ticks: Scale.timeTicks(span, count: size == .full ? 9 : 4),
            pixels: (frame.left + 2, frame.right - 2))
        var svg = SVG()
        frame.open(&svg, label: label)
        frame.drawY(&svg, y, unit: unit) { unit.short($0, step: y.step) }
        frame.drawX(&svg, x) { Moment($0).axisLabel(span: span.upperBound - span.lowerBound) }
        drawLimits(&svg, frame, y)
        if let stacks {
            draw(stacks, columns, &svg, x, y)
        } else {
            for (index, line) in lines.enumerated() { draw(line, index, &svg, x, y, narrow: size == .phone) }
        }
        frame.drawCursor(&svg)
        drawHits(&svg, frame, x, columns, narrow: size == .phone)
        svg.close("svg")
        return Markup(svg.text)
    }

    private func nothing(_ size: ChartSize) -> Markup {
        let frame = ChartFrame(width: size.width, height: min(height, 160))
        var svg = SVG()
        frame.open(&svg, label: "\(title): no value in this time")
        svg.add(
            "text",
            [
                "class": "empty-note", "x": .number(frame.width / 2), "y": .number(frame.height / 2),
                "text-anchor": "middle",
            ], "No value in this time")
        svg.close("svg")
        return Markup(svg.text)
    }

    private var label: String {
        let shown = lines.prefix(4).compactMap { line in
            line.points.last { $0.y != nil }?.y.map { "\(line.name) latest \(unit.written($0))" }
        }
        return ([title] + shown + (lines.count > 4 ? ["and \(lines.count - 4) more"] : [])).joined(separator: ", ")
    }

    /// Each line's lower and upper edge in each column.
    private func stacked(_ columns: [Double]) -> [[(low: Double, high: Double)]] {
        var floor = [Double](repeating: 0, count: columns.count)
        return lines.map { line in
            let values = Dictionary(line.points.map { ($0.x, $0.y) }, uniquingKeysWith: { $1 })
            return columns.enumerated().map { index, x in
                let value = values[x].flatMap { $0 } ?? 0
                defer { floor[index] += value }
                return (floor[index], floor[index] + value)
            }
        }
    }

    private func draw(
        _ stacks: [[(low: Double, high: Double)]], _ columns: [Double], _ svg: inout SVG, _ x: Scale, _ y: Scale
    ) {
        for (index, edges) in stacks.enumerated() {
            let upper = zip(columns, edges).map { (x($0), y($1.high)) }
            let lower = zip(columns, edges).map { (x($0), y($1.low)) }
            svg.open("g", ["data-series": .number(Double(index))])
            svg.add(
                "path", ["class": "area f\(index % 8)", "d": "\(LineChart.path(upper + lower.reversed()))Z"])
            svg.close("g")
        }
    }

    private func draw(_ line: Line, _ index: Int, _ svg: inout SVG, _ x: Scale, _ y: Scale, narrow: Bool) {
        svg.open("g", ["data-series": .number(Double(index))])
        let stride = narrow ? max(1, line.points.count / Self.narrowColumns) : 1
        for piece in LineChart.pieces(line.points) {
            let shown = piece.enumerated().compactMap { place, point in
                place % stride == 0 || place == piece.count - 1
                    ? point.y.map { (x(point.x), min(max(y($0), y.pixels.to), y.pixels.from)) } : nil
            }
            if shown.count > 1 {
                svg.add("path", ["class": "line l\(index % 8)", "d": "\(LineChart.path(shown))"])
            } else if let only = shown.first {
                svg.add(
                    "circle", ["class": "dot f\(index % 8)", "cx": .number(only.0), "cy": .number(only.1), "r": 3])
            }
        }
        svg.close("g")
    }

    private func drawLimits(_ svg: inout SVG, _ frame: ChartFrame, _ y: Scale) {
        for limit in limits where y.domain.contains(limit.value) {
            let at = y(limit.value)
            svg.add(
                "line",
                [
                    "class": "limit-line l\(limit.tone.rawValue)", "x1": .number(frame.left),
                    "x2": .number(frame.right), "y1": .number(at), "y2": .number(at),
                ], title: "limit \(unit.written(limit.value))")
        }
    }

    private func drawHits(_ svg: inout SVG, _ frame: ChartFrame, _ x: Scale, _ columns: [Double], narrow: Bool) {
        let stride = narrow ? max(1, columns.count / Self.narrowColumns) : 1
        let shown = columns.indices.filter { $0 % stride == 0 }
        for (place, index) in shown.enumerated() {
            let at = x(columns[index])
            let from = place == 0 ? frame.left : (x(columns[shown[place - 1]]) + at) / 2
            let to = place == shown.count - 1 ? frame.right : (at + x(columns[shown[place + 1]])) / 2
            svg.add(
                "rect",
                [
                    "class": "hit", "x": .number(from), "y": .number(frame.top), "width": .number(max(0.5, to - from)),
                    "height": .number(frame.bottom - frame.top), "data-x": .number(at),
                    "data-column": .number(Double(index)),
                    "data-at": "\(Moment(columns[index]).full)", "data-moment": "\(Moment(columns[index]).rfc3339)",
                ])
        }
    }
}

/// A graph with a legend whose entries hide and show their series.
struct GraphFigure: Sendable {
    struct Entry: Sendable {
        let number: Int
        let name: String
        let swatch: Markup
        let last: String
        let least: String
        let most: String
        /// One value a column, tabs between.
        let values: String
    }
    let wide: Markup
    let narrow: Markup
    let legend: [Entry]
    /// More entries than fit a line: least, most and last stand beside them.
    let hasRows: Bool
    let table: ValueTable?
}

extension Unit {
    /// A tick with few characters: "12k", "3.4M".
    func short(_ value: Double, step: Double) -> String {
        switch self {
        case .plain, .count, .named: step >= 1000 ? Format.short(value) : tick(value, step: step)
        default: tick(value, step: step)
        }
    }
}
