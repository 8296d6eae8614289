/// One dot for each run: a metric or parameter across, another one upwards.
struct ScatterChart: Sendable {
    struct Dot: Sendable {
        let x: Double
        let y: Double
        let name: String
        let href: String
    }

    let title: String
    let across: String
    let upwards: String
    let dots: [Dot]

    /// Dots that can be told apart.
    static let dotLimit = 500
    private static let height = 300.0

    init(_ title: String, across: String, upwards: String, dots: [Dot]) {
        (self.title, self.across, self.upwards) = (title, across, upwards)
        self.dots = Array(dots.filter { $0.x.isFinite && $0.y.isFinite }.prefix(Self.dotLimit))
    }

    func figure(_ size: ChartSize) -> Figure {
        let rows = dots.prefix(ValueTable.rowLimit).map {
            ValueTable.Row(head: $0.name, cells: [Format.number($0.x), Format.number($0.y)])
        }
        let table = rows.isEmpty ? nil : ValueTable(title: title, columns: ["Run", across, upwards], rows: Array(rows))
        return Figure(size, table: table) { draw($0) }
    }

    private func draw(_ size: ChartSize) -> Markup {
        let frame = ChartFrame(width: size.width, height: Self.height, left: 56, bottom: 40)
        var svg = SVG()
        frame.open(&svg, label: "\(title): \(Format.plural(dots.count, "run"))")
        let (xs, ys) = (dots.map(\.x), dots.map(\.y))
        guard let left = xs.min(), let right = xs.max(), let low = ys.min(), let high = ys.max() else {
            svg.add(
                "text",
                [
                    "class": "empty-note", "x": .number(frame.width / 2), "y": .number(frame.height / 2),
                    "text-anchor": "middle",
                ], "No run has both")
            svg.close("svg")
            return Markup(svg.text)
        }
        let y = Scale(around: low...high, count: 4, pixels: (frame.bottom, frame.top))
        let x = Scale(
            around: left...right, count: max(3, Int(size.width / 120)), pixels: (frame.left + 6, frame.right - 6))
        frame.drawY(&svg, y, unit: .named(upwards))
        frame.drawX(&svg, x) { Format.number($0) }
        svg.add(
            "text",
            ["class": "axis-title", "x": .number(frame.right), "y": .number(frame.height - 4), "text-anchor": "end"],
            across)
        for dot in dots {
            svg.open("a", ["href": "\(dot.href)", "aria-label": "\(dot.name)"])
            svg.add(
                "circle", ["class": "dot f0", "cx": .number(x(dot.x)), "cy": .number(y(dot.y)), "r": 4.5],
                title: "\(dot.name)\n\(across): \(Format.number(dot.x))\n\(upwards): \(Format.number(dot.y))")
            svg.close("a")
        }
        svg.close("svg")
        return Markup(svg.text)
    }
}
