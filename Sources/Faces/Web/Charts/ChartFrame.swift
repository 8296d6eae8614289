/// The size a chart is drawn for.
///
/// Each chart is drawn twice, and the style sheet shows the one that fits.
enum ChartSize: Sendable {
    /// The width of a page.
    case full
    /// Half a page, beside another.
    case half
    /// A third of a page: a panel among others.
    case third
    /// A phone.
    case phone

    var width: Double {
        switch self {
        case .full: 1120
        case .half: 530
        case .third: 350
        case .phone: 330
        }
    }
}

/// A chart drawn for wide and narrow screens, with its legend and its values as a table.
struct Figure: Sendable {
    let wide: Markup
    let narrow: Markup
    let legend: [LegendItem]
    let table: ValueTable?

    init(_ size: ChartSize, legend: [LegendItem] = [], table: ValueTable? = nil, draw: (ChartSize) -> Markup) {
        self.wide = draw(size)
        self.narrow = draw(.phone)
        self.legend = legend
        self.table = table
    }
}

/// One line of a legend.
struct LegendItem: Sendable {
    let name: String
    let swatch: Markup

    /// A piece of the line as it is drawn, so colour is not the only difference.
    static func line(_ name: String, _ index: Int) -> LegendItem {
        var svg = SVG()
        svg.open("svg", ["viewBox": "0 0 20 10", "aria-hidden": "true"])
        svg.add(
            "line",
            [
                "class": "l\(index % 8)", "x1": 1, "y1": 5, "x2": 19, "y2": 5, "stroke-width": 2.2,
                "stroke-linecap": "round",
            ])
        svg.close("svg")
        return LegendItem(name: name, swatch: Markup(svg.text))
    }

    static func area(_ name: String, _ fill: String) -> LegendItem {
        var svg = SVG()
        svg.open("svg", ["viewBox": "0 0 20 10", "aria-hidden": "true"])
        svg.add("rect", ["class": "\(fill)", "x": 3, "y": 0, "width": 14, "height": 10, "rx": 3])
        svg.close("svg")
        return LegendItem(name: name, swatch: Markup(svg.text))
    }
}

/// The values of a chart for those who cannot or do not want to see it.
struct ValueTable: Sendable {
    struct Row: Sendable {
        let head: String
        let cells: [String]
    }
    let title: String
    let columns: [String]
    let rows: [Row]

    /// A table says no more than this many rows; the API has the rest.
    static let rowLimit = 200
}

/// The plot area within a chart: margins, grid, both axes.
struct ChartFrame {
    let width: Double
    let height: Double
    let left: Double
    let right: Double
    let top: Double
    let bottom: Double

    init(width: Double, height: Double, left: Double = 46, right: Double = 10, top: Double = 18, bottom: Double = 26) {
        (self.width, self.height) = (width, height)
        (self.left, self.right, self.top, self.bottom) = (left, width - right, top, height - bottom)
    }

    func open(_ svg: inout SVG, label: String) {
        svg.open(
            "svg",
            [
                "class": "chart", "viewBox": "0 0 \(SVG.coordinate(width)) \(SVG.coordinate(height))", "role": "img",
                "aria-label": "\(label)", "tabindex": 0,
            ])
    }

    func drawY(_ svg: inout SVG, _ scale: Scale, unit: Unit, label: ((Double) -> String)? = nil) {
        for tick in scale.ticks {
            let y = scale(tick).rounded()
            svg.add(
                "line",
                ["class": "grid", "x1": .number(left), "x2": .number(right), "y1": .number(y), "y2": .number(y)])
            svg.add(
                "text", ["x": .number(left - 8), "y": .number(y + 4), "text-anchor": "end"],
                label?(tick) ?? unit.tick(tick, step: scale.step))
        }
        if let title = unit.axisTitle {
            svg.add("text", ["class": "axis-title", "x": .number(left), "y": .number(top - 7)], title)
        }
    }

    func drawX(_ svg: inout SVG, _ scale: Scale, label: (Double) -> String) {
        svg.add(
            "line",
            ["class": "axis", "x1": .number(left), "x2": .number(right), "y1": .number(bottom), "y2": .number(bottom)])
        var free = -Double.infinity
        for tick in scale.ticks {
            let (x, text) = (scale(tick), label(tick))
            let half = Self.textWidth(text) / 2
            guard x - half >= free, x >= left - 1, x <= right + 1 else { continue }
            let anchor = x + half > width ? "end" : x - half < 0 ? "start" : "middle"
            let at = anchor == "end" ? width : anchor == "start" ? 0 : x
            svg.add("text", ["x": .number(at), "y": .number(bottom + 18), "text-anchor": "\(anchor)"], text)
            free = x + half + 10
        }
    }

    func drawCursor(_ svg: inout SVG) {
        svg.add("line", ["class": "cursor", "x1": 0, "x2": 0, "y1": .number(top), "y2": .number(bottom)])
    }

    /// A column over the plot that tells its values on hover.
    func drawHit(_ svg: inout SVG, from: Double, to: Double, at x: Double, head: String, values: [(String, String)]) {
        svg.add(
            "rect",
            [
                "class": "hit", "x": .number(from), "y": .number(top), "width": .number(max(0.5, to - from)),
                "height": .number(bottom - top), "data-x": .number(x), "data-at": "\(head)",
                "data-values": "\(values.map { "\($0.0)\t\($0.1)" }.joined(separator: "\n"))",
            ],
            title: ([head] + values.map { "\($0.0): \($0.1)" }).joined(separator: "\n"))
    }

    /// About how wide a label of the charts' type size is.
    static func textWidth(_ text: String) -> Double { Double(text.count) * 6.3 }
}
