/// Parallel coordinates: an upright axis for each parameter and metric, a line through them for each run.
struct ParallelChart: Sendable {
    /// One axis: numbers, or words that stand at even distances.
    struct Axis: Sendable {
        let name: String
        /// The value of each line; nothing where it has none.
        let values: [Double?]
        /// Words by place, when the values are places among them.
        let words: [String]

        init(_ name: String, _ values: [Double?]) { (self.name, self.values, words) = (name, values, []) }

        /// Numbers when all texts are some, else words, sorted.
        init(_ name: String, texts: [String?]) {
            self.name = name
            let numbers = texts.map { $0.flatMap { Double($0) } }
            if zip(texts, numbers).allSatisfy({ $0 == nil || ($1?.isFinite ?? false) }) {
                (values, words) = (numbers, [])
                return
            }
            let all = Set(texts.compactMap { $0 }).sorted()
            let places = Dictionary(uniqueKeysWithValues: all.enumerated().map { ($1, Double($0)) })
            (values, words) = (texts.map { $0.flatMap { places[$0] } }, all)
        }

        func written(_ value: Double?) -> String {
            guard let value else { return "–" }
            return words.isEmpty ? Format.number(value) : words[Int(value)]
        }
    }

    struct Line: Sendable {
        let name: String
        let href: String
    }

    /// Axes that find room; lines that can be told apart.
    static let axisLimit = 10
    static let lineLimit = 100
    /// Shades of the last axis.
    private static let shades = 5
    private static let height = 300.0
    private static let wordLimit = 8

    let title: String
    let axes: [Axis]
    let lines: [Line]

    init(_ title: String, axes: [Axis], lines: [Line]) {
        self.title = title
        self.axes = Array(axes.prefix(Self.axisLimit))
        self.lines = Array(lines.prefix(Self.lineLimit))
    }

    func figure(_ size: ChartSize) -> Figure { Figure(size) { draw($0) } }

    private func draw(_ size: ChartSize) -> Markup {
        let frame = ChartFrame(width: size.width, height: Self.height, left: 50, right: 60, top: 34, bottom: 12)
        var svg = SVG()
        frame.open(&svg, label: "\(title): \(axes.map(\.name).joined(separator: ", "))")
        let scales = axes.map { axis in
            Self.scale(axis, pixels: (frame.bottom, frame.top))
        }
        let step = axes.count > 1 ? (frame.right - frame.left) / Double(axes.count - 1) : 0
        for (place, line) in lines.enumerated() {
            let points = axes.indices.compactMap { axis -> (Double, Double)? in
                guard let value = axes[axis].values[place], value.isFinite, let scale = scales[axis] else { return nil }
                return (frame.left + Double(axis) * step, scale(value))
            }
            let told = axes.map { "\($0.name): \($0.written($0.values[place]))" }.joined(separator: "\n")
            svg.open("a", ["href": "\(line.href)", "aria-label": "\(line.name)"])
            svg.add(
                "path", ["class": "parallel p\(shade(place))", "d": "\(LineChart.path(points))"],
                title: "\(line.name)\n\(told)")
            svg.close("a")
        }
        for (index, axis) in axes.enumerated() {
            draw(axis, scales[index], at: frame.left + Double(index) * step, frame, &svg, isEven: index % 2 == 0)
        }
        svg.close("svg")
        return Markup(svg.text)
    }

    private static func scale(_ axis: Axis, pixels: (from: Double, to: Double)) -> Scale? {
        let known = axis.values.compactMap { $0 }.filter(\.isFinite)
        guard let low = known.min(), let high = known.max() else { return nil }
        if !axis.words.isEmpty {
            let ticks = axis.words.count > wordLimit ? [low, high] : axis.words.indices.map { Double($0) }
            return Scale(exactly: 0...Double(max(1, axis.words.count - 1)), ticks: ticks, pixels: pixels)
        }
        return Scale(around: low...high, count: 4, pixels: pixels)
    }

    /// How high a line ends on the last axis, in shades.
    private func shade(_ line: Int) -> Int {
        guard let last = axes.last, let value = last.values[line], value.isFinite else { return 0 }
        let known = last.values.compactMap { $0 }.filter(\.isFinite)
        guard let low = known.min(), let high = known.max(), high > low else { return Self.shades }
        return 1 + min(Self.shades - 1, Int((value - low) / (high - low) * Double(Self.shades)))
    }

    private func draw(
        _ axis: Axis, _ scale: Scale?, at x: Double, _ frame: ChartFrame, _ svg: inout SVG, isEven: Bool
    ) {
        svg.add(
            "line",
            [
                "class": "axis", "x1": .number(x), "x2": .number(x), "y1": .number(frame.top),
                "y2": .number(frame.bottom),
            ])
        svg.add(
            "text",
            [
                "class": "row-label", "x": .number(x), "y": .number(frame.top - (isEven ? 10 : 22)),
                "text-anchor": "middle",
            ],
            Format.clipped(axis.name, 22))
        for tick in scale?.ticks ?? [] {
            svg.add(
                "text", ["x": .number(x + 5), "y": .number((scale?(tick) ?? 0) + 4)],
                axis.words.isEmpty ? Format.number(tick) : Format.clipped(axis.written(tick), 14))
        }
    }
}
