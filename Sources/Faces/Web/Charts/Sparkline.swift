/// Small drawings that stand within a line of text or a card.
enum Sparkline {
    /// A line without axes; the words beside it carry the numbers.
    static func line(_ values: [Double?], label: String, tone: Int = 0) -> Markup {
        let known = values.compactMap { $0 }.filter(\.isFinite)
        guard let low = known.min(), let high = known.max(), known.count > 1 else { return Markup("") }
        let (width, height) = (220.0, 40.0)
        let room = high - low < 1e-12 ? 1 : high - low
        let step = (width - 6) / Double(max(1, values.count - 1))
        var svg = SVG()
        svg.open("svg", ["viewBox": "0 0 220 40", "role": "img", "aria-label": "\(label)"])
        svg.add("title", [:], label)
        let points = values.enumerated().map {
            LineChart.Point(3 + Double($0) * step, $1.flatMap { $0.isFinite ? $0 : nil })
        }
        for piece in LineChart.pieces(points) {
            let line = piece.compactMap { point in
                point.y.map {
                    (point.x, high - low < 1e-12 ? height / 2 : height - 5 - ($0 - low) / room * (height - 10))
                }
            }
            svg.add("path", ["class": "line l\(tone)", "d": "\(LineChart.path(line))"])
            if line.count == 1 {
                svg.add("circle", ["class": "f\(tone)", "cx": .number(line[0].0), "cy": .number(line[0].1), "r": 2])
            }
            if piece.last?.x == points.last?.x, let end = line.last {
                svg.add("circle", ["class": "f\(tone)", "cx": .number(end.0), "cy": .number(end.1), "r": 3])
            }
        }
        svg.close("svg")
        return Markup(svg.text)
    }

    /// Bars without axes, for counts per day or week.
    static func bars(_ values: [Double], label: String) -> Markup {
        guard let high = values.max(), high > 0 else { return Markup("") }
        let slot = 220 / Double(values.count)
        var svg = SVG()
        svg.open("svg", ["viewBox": "0 0 220 40", "role": "img", "aria-label": "\(label)"])
        svg.add("title", [:], label)
        for (index, value) in values.enumerated() {
            let height = value > 0 ? max(2.5, value / high * 36) : 1
            let width = min(16, slot * 0.7)
            svg.add(
                "rect",
                [
                    "class": "\(value > 0 ? "f0" : "fmute")", "x": .number((Double(index) + 0.5) * slot - width / 2),
                    "y": .number(39 - height), "width": .number(width), "height": .number(height),
                    "rx": .number(min(2, width / 4)),
                ])
        }
        svg.close("svg")
        return Markup(svg.text)
    }

    /// One small block for each stage of a run.
    static func strip(_ stages: [(name: String, tone: Tone, status: String)]) -> Markup {
        guard !stages.isEmpty else { return Markup("") }
        let shown = stages.prefix(24)
        let width = Double(shown.count) * 13 - 3
        var svg = SVG()
        let label = shown.map { "\($0.name) \($0.status)" }.joined(separator: ", ")
        svg.open(
            "svg",
            [
                "class": "strip", "viewBox": "0 0 \(SVG.coordinate(width)) 14", "width": .number(width), "height": 14,
                "role": "img", "aria-label": "\(label)",
            ])
        for (index, stage) in shown.enumerated() {
            // Height tells the failed apart without colour.
            let (top, height) = stage.tone == .bad ? (0.0, 14.0) : stage.tone == .mute ? (5.0, 4.0) : (2.0, 10.0)
            svg.add(
                "rect",
                [
                    "class": "f\(stage.tone.rawValue)", "x": .number(Double(index) * 13), "y": .number(top),
                    "width": 10,
                    "height": .number(height), "rx": 2,
                ],
                title: "\(stage.name): \(stage.status)")
        }
        svg.close("svg")
        return Markup(svg.text)
    }

    /// How much of the longest something is.
    static func meter(_ share: Double, label: String, tone: Tone) -> Markup {
        var svg = SVG()
        svg.open(
            "svg",
            [
                "class": "meter", "viewBox": "0 0 400 8", "preserveAspectRatio": "none", "role": "img",
                "aria-label": "\(label)",
            ])
        svg.add("rect", ["class": "track", "x": 0, "y": 0, "width": 400, "height": 8])
        let width = share.isFinite ? min(400, max(3, share * 400)) : 3
        svg.add("rect", ["class": "f\(tone.rawValue)", "x": 0, "y": 0, "width": .number(width), "height": 8])
        svg.close("svg")
        return Markup(svg.text)
    }

    /// Shares of a whole as one bar.
    static func split(_ parts: [(name: String, share: Double)]) -> Markup {
        var svg = SVG()
        let label = parts.map { "\($0.name) \(Format.percent($0.share))" }.joined(separator: ", ")
        svg.open(
            "svg",
            [
                "class": "bar", "viewBox": "0 0 400 10", "preserveAspectRatio": "none", "role": "img",
                "aria-label": "\(label)",
            ])
        var x = 0.0
        for (index, part) in parts.enumerated() where part.share > 0 && part.share.isFinite {
            let width = min(400 - x, part.share * 400)
            svg.add(
                "rect",
                [
                    "class": "f\(index % 8)", "x": .number(x), "y": 0, "width": .number(max(1, width - 1.5)),
                    "height": 10,
                ],
                title: "\(part.name): \(Format.percent(part.share))")
            x += width
        }
        svg.close("svg")
        return Markup(svg.text)
    }
}
