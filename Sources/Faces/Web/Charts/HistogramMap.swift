import Manifests

/// How values were distributed over time: a row for each bucket, a column for each moment, shaded by count.
struct HistogramMap: Sendable {
    struct Column: Sendable {
        let at: Double
        let buckets: [(low: Double, high: Double, count: Double)]
    }

    let title: String
    let unit: Unit
    let span: ClosedRange<Double>
    let columns: [Column]
    var height = 260.0

    /// Rows and columns that can still be told apart; neighbours are taken together.
    static let rowLimit = 32
    static let columnLimit = 120

    init(_ title: String, unit: Unit, columns: [Column], span: ClosedRange<Double>) {
        (self.title, self.unit, self.span) = (title, unit, span)
        let sorted = columns.sorted { $0.at < $1.at }
        let stride = max(1, (sorted.count + Self.columnLimit - 1) / Self.columnLimit)
        self.columns = sorted.enumerated().filter { $0.offset % stride == 0 }.map(\.element)
    }

    /// From native histograms, those of all series added up.
    static func columns(_ series: [MetricSeries]) -> [Column] {
        var byTime: [Double: [(low: Double, high: Double, count: Double)]] = [:]
        for one in series {
            for sample in one.histograms { byTime[sample.at, default: []] += sample.buckets }
        }
        return byTime.map { Column(at: $0.key, buckets: $0.value) }
    }

    /// From the buckets of classic histograms, which count everything up to their bound `le`.
    static func classic(_ series: [MetricSeries]) -> [Column] {
        var byTime: [Double: [Double: Double]] = [:]
        for one in series {
            guard let bound = one.labels["le"].flatMap({ Double($0) }) else { continue }
            for point in one.points where point.value.isFinite {
                byTime[point.at, default: [:]][bound, default: 0] += point.value
            }
        }
        return byTime.map { at, counts in
            var (low, below) = (0.0, 0.0)
            let buckets = counts.sorted { $0.key < $1.key }.map { bound, count in
                defer { (low, below) = (bound, count) }
                // Scrapes are not taken at one moment for all buckets, so a difference may fall a little below 0.
                return (low: low, high: bound, count: max(0, count - below))
            }
            return Column(at: at, buckets: buckets)
        }
    }

    /// The bounds of the rows, from the lowest.
    private var bounds: [Double] {
        let all = Set(columns.flatMap { $0.buckets.flatMap { [$0.low, $0.high] } }).filter { !$0.isNaN }.sorted()
        guard all.count - 1 > Self.rowLimit else { return all }
        let stride = (all.count - 1 + Self.rowLimit - 1) / Self.rowLimit
        var kept = all.enumerated().filter { $0.offset % stride == 0 }.map(\.element)
        if let last = all.last, kept.last != last { kept.append(last) }
        return kept
    }

    /// The counts of each row in a column; a bucket that spans several rows is shared out among them.
    static func counts(_ column: Column, bounds: [Double]) -> [Double] {
        var counts = [Double](repeating: 0, count: max(0, bounds.count - 1))
        for bucket in column.buckets where bucket.count > 0 {
            let rows = counts.indices.filter { bounds[$0] < bucket.high && bounds[$0 + 1] > bucket.low }
            let home =
                rows.isEmpty
                ? counts.indices.filter { bounds[$0] <= bucket.low && bounds[$0 + 1] >= bucket.high } : rows
            for row in home { counts[row] += bucket.count / Double(home.count) }
        }
        return counts
    }

    func figure(_ size: ChartSize) -> GraphFigure {
        GraphFigure(wide: draw(size), narrow: draw(.phone), legend: [], hasRows: false, table: nil)
    }

    private func draw(_ size: ChartSize) -> Markup {
        let edges = bounds
        let counts = columns.map { Self.counts($0, bounds: edges) }
        let most = counts.flatMap { $0 }.max() ?? 0
        let names = edges.map { $0.isFinite ? unit.limit($0) : $0 > 0 ? "+∞" : "−∞" }
        let widest = names.map(ChartFrame.textWidth).max() ?? 0
        let frame = ChartFrame(
            width: size.width, height: size == .phone ? min(height, 220) : height, left: min(120, max(34, widest + 14)))
        var svg = SVG()
        let total = columns.reduce(0) { $0 + $1.buckets.reduce(0) { $0 + $1.count } }
        frame.open(&svg, label: "\(title), \(columns.count) moments, \(Format.number(total)) observations in all")
        guard most > 0, edges.count > 1 else {
            svg.add(
                "text",
                [
                    "class": "empty-note", "x": .number(frame.width / 2), "y": .number(frame.height / 2),
                    "text-anchor": "middle",
                ], "No observation in this time")
            svg.close("svg")
            return Markup(svg.text)
        }
        let x = Scale(
            exactly: span, ticks: Scale.timeTicks(span, count: size == .full ? 9 : 4),
            pixels: (frame.left + 2, frame.right - 2))
        let row = (frame.bottom - frame.top) / Double(edges.count - 1)
        drawNames(&svg, names, frame, row: row)
        frame.drawX(&svg, x) { Moment($0).axisLabel(span: span.upperBound - span.lowerBound) }
        let width = cellWidth(x, frame)
        for (index, column) in columns.enumerated() {
            for (place, count) in counts[index].enumerated() where count > 0 {
                let right = min(frame.right, x(column.at))
                let left = max(frame.left, right - width)
                guard right > left else { continue }
                svg.add(
                    "rect",
                    [
                        "class": "hit h\(Self.shade(count, of: most))", "x": .number(left),
                        "y": .number(frame.bottom - Double(place + 1) * row),
                        "width": .number(max(1, right - left - 0.5)),
                        "height": .number(max(1, row - 0.5)), "data-at": "\(Moment(column.at).full)",
                        "data-values":
                            "\(names[place]) to \(names[place + 1])\t\(Format.number(count))",
                    ])
            }
        }
        svg.close("svg")
        return Markup(svg.text)
    }

    private func cellWidth(_ x: Scale, _ frame: ChartFrame) -> Double {
        let steps = zip(columns.dropFirst(), columns).map { $0.at - $1.at }.sorted()
        guard let usual = steps.isEmpty ? nil : steps[steps.count / 2] else { return 12 }
        return max(2, x(span.lowerBound + usual) - x(span.lowerBound))
    }

    /// Names of the bounds, as many as there is room for.
    private func drawNames(_ svg: inout SVG, _ names: [String], _ frame: ChartFrame, row: Double) {
        let every = max(1, Int((16 / row).rounded(.up)))
        for (index, name) in names.enumerated() where index % every == 0 {
            let y = frame.bottom - Double(index) * row
            svg.add(
                "text", ["x": .number(frame.left - 8), "y": .number(y + 4), "text-anchor": "end"],
                Format.clipped(name, 16))
        }
    }

    /// Counts spread over powers: the root tells the few apart too.
    static func shade(_ count: Double, of most: Double) -> Int {
        guard most > 0, count > 0 else { return 0 }
        return min(5, 1 + Int((count / most).squareRoot() * 4.999))
    }
}
