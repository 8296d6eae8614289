/// One cell for each row and column: drift of each feature in each window.
struct HeatMap: Sendable {
    struct Row: Sendable {
        let name: String
        /// One value a column; nothing where there were too few rows to judge.
        let values: [Double?]
        init(_ name: String, _ values: [Double?]) { (self.name, self.values) = (name, values) }
    }

    let title: String
    let columns: [String]
    let rows: [Row]
    /// Values at or above are outlined: colour is never the only sign.
    let threshold: Double
    var unit: Unit = .plain

    /// A map shows no more rows and columns than can be told apart.
    static let rowLimit = 60
    static let columnLimit = 60

    init(_ title: String, columns: [String], rows: [Row], threshold: Double) {
        self.title = title
        self.columns = Array(columns.suffix(Self.columnLimit))
        self.rows = rows.prefix(Self.rowLimit).map { Row($0.name, Array($0.values.suffix(Self.columnLimit))) }
        self.threshold = threshold
    }

    func figure(_ size: ChartSize) -> Figure {
        let table = ValueTable(
            title: title, columns: ["Feature"] + columns,
            rows: rows.map { row in
                ValueTable.Row(head: row.name, cells: row.values.map { $0.map(unit.written) ?? "–" })
            })
        return Figure(size, table: table) { draw($0) }
    }

    /// Which of six shades a value gets: the threshold is where the fourth begins.
    func shade(_ value: Double) -> Int {
        guard threshold > 0, value.isFinite else { return 0 }
        let ratio = max(0, value) / threshold
        return ratio < 0.2 ? 0 : ratio < 0.5 ? 1 : ratio < 1 ? 2 : ratio < 2 ? 3 : ratio < 4 ? 4 : 5
    }

    func draw(_ size: ChartSize) -> Markup {
        let longest = rows.map { ChartFrame.textWidth($0.name) }.max() ?? 0
        let labelWidth = min(longest + 14, size == .phone ? 108 : 220)
        let count = Double(max(1, columns.count))
        let cell = min(96, (size.width - labelWidth) / count)
        let rowHeight = 24.0
        let top = 22.0
        var svg = SVG()
        // As wide as its card, so that few windows do not blow its letters up.
        let width = size.width
        let frame = ChartFrame(width: width, height: top + rowHeight * Double(rows.count) + 6)
        frame.open(
            &svg, label: "\(title). \(over) of \(rows.count * columns.count) cells at or above \(unit.limit(threshold))"
        )
        drawColumns(&svg, labelWidth: labelWidth, cell: cell, width: width)
        for (index, row) in rows.enumerated() {
            let y = top + Double(index) * rowHeight
            svg.add(
                "text",
                ["class": "row-label", "x": .number(labelWidth - 9), "y": .number(y + 16), "text-anchor": "end"],
                Format.clipped(row.name, Int((labelWidth - 12) / 6)))
            for (column, value) in row.values.enumerated() {
                drawCell(
                    &svg, row, column, value, x: labelWidth + Double(column) * cell, y: y, cell: cell, row: rowHeight)
            }
        }
        svg.close("svg")
        return Markup(svg.text)
    }

    private var over: Int {
        rows.reduce(0) { $0 + $1.values.count { $0.map { $0 >= threshold } ?? false } }
    }

    private func drawColumns(_ svg: inout SVG, labelWidth: Double, cell: Double, width: Double) {
        var free = 0.0
        for (index, name) in columns.enumerated() {
            let (x, half) = (labelWidth + (Double(index) + 0.5) * cell, ChartFrame.textWidth(name) / 2)
            guard x - half >= free, x + half <= width + 8 else { continue }
            svg.add("text", ["x": .number(x), "y": 13, "text-anchor": "middle"], name)
            free = x + half + 8
        }
    }

    private func drawCell(
        _ svg: inout SVG, _ row: Row, _ column: Int, _ value: Double?, x: Double, y: Double, cell: Double,
        row height: Double
    ) {
        let isOver = value.map { $0 >= threshold } ?? false
        let inset = cell > 14 ? 1.0 : 0.5
        let told = value.map(unit.written) ?? "too few rows"
        let shape: SVG.Attributes = [
            "class": "hit \(value.map { "h\(shade($0))" } ?? "hx")\(isOver ? " over-cell" : "")",
            "x": .number(x + inset), "y": .number(y + 1), "width": .number(max(1, cell - 2 * inset)),
            "height": .number(height - 2), "rx": .number(cell > 14 ? 3.5 : 1),
            "data-at": "\(row.name), \(column < columns.count ? columns[column] : "")",
            "data-values":
                "value\t\(told)\nlimit\t\(unit.limit(threshold))",
        ]
        svg.add("rect", shape, title: "\(row.name), \(column < columns.count ? columns[column] : ""): \(told)")
        guard isOver, cell >= 9 else { return }
        // A dot for what is over the limit, readable without colour.
        svg.add(
            "circle",
            [
                "class": "over-dot", "cx": .number(x + cell / 2), "cy": .number(y + height / 2),
                "r": .number(min(3, cell / 4)),
            ])
    }
}
