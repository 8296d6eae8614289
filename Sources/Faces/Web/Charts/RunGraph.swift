/// The graph of a run: stages in columns by what they need, their jobs within, each with status and time.
///
/// Long chains fold into several rows, so that the graph never needs to be scrolled sideways; on a phone it
/// runs downwards.
struct RunGraph: Sendable {
    struct Job: Sendable {
        let name: String
        let status: Badge
        let time: String
        /// When it started, while it runs: the page counts on from there.
        let since: String?
        let href: String
        let isChosen: Bool
        /// It lies on the chain of jobs that took longest.
        let isCritical: Bool
        init(
            name: String, status: Badge, time: String, since: String? = nil, href: String, isChosen: Bool = false,
            isCritical: Bool = false
        ) {
            (self.name, self.status, self.time, self.since) = (name, status, time, since)
            (self.href, self.isChosen, self.isCritical) = (href, isChosen, isCritical)
        }
    }
    struct Stage: Sendable {
        let name: String
        let type: String
        let needs: [String]
        let tone: Tone
        let jobs: [Job]
        init(name: String, type: String, needs: [String], tone: Tone, jobs: [Job]) {
            (self.name, self.type, self.needs, self.tone, self.jobs) = (name, type, needs, tone, jobs)
        }
    }

    /// A stage with where it stands.
    struct Box: Sendable, Equatable {
        let index: Int
        let level: Int
        var x = 0.0
        var y = 0.0
        var width = 0.0
        var height = 0.0
    }

    let stages: [Stage]
    /// Where the icon sprite is.
    let icons: String

    /// A stage shows no more jobs than this; the list beside the log has all.
    static let jobLimit = 12
    private static let head = 30.0
    private static let row = 25.0
    private static let gap = 34.0
    private static let bandGap = 40.0

    init(stages: [Stage], icons: String) { (self.stages, self.icons) = (stages, icons) }

    var figure: Figure { Figure(.full) { draw($0) } }

    /// The longest way from a stage without needs to each stage.
    ///
    /// A need that names nothing, or a circle, counts as none.
    static func levels(_ stages: [Stage]) -> [Int] {
        let index = Dictionary(stages.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
        var levels = [Int](repeating: 0, count: stages.count)
        for _ in stages.indices {
            var moved = false
            for (position, stage) in stages.enumerated() {
                let wanted =
                    stage.needs.compactMap { index[$0] }.filter { $0 != position }.map { levels[$0] + 1 }.max() ?? 0
                if wanted > levels[position], wanted < stages.count { (levels[position], moved) = (wanted, true) }
            }
            if !moved { break }
        }
        return levels
    }

    func boxes(_ size: ChartSize) -> (boxes: [Box], width: Double, height: Double) {
        let levels = Self.levels(stages)
        let columns = (levels.max() ?? 0) + 1
        let perBand = size == .phone ? 1 : max(1, min(columns, 5))
        let width = size.width
        let boxWidth = min(size == .phone ? width : 236, (width - Self.gap * Double(perBand - 1)) / Double(perBand))
        var boxes = stages.indices.map { Box(index: $0, level: levels[$0]) }
        var top = 2.0
        for band in 0...((columns - 1) / perBand) {
            var deepest = 0.0
            for slot in 0..<perBand {
                var y = top
                for index in boxes.indices where boxes[index].level == band * perBand + slot {
                    boxes[index].x = Double(slot) * (boxWidth + Self.gap) + 1
                    boxes[index].y = y
                    boxes[index].width = boxWidth - 2
                    boxes[index].height = Self.height(stages[index])
                    y += boxes[index].height + 14
                }
                deepest = max(deepest, y - 14 - top)
            }
            top += deepest + (size == .phone ? 22 : Self.bandGap)
        }
        let used = boxes.map { $0.x + $0.width }.max() ?? width
        return (
            boxes, size == .phone ? width : max(used + 1, width * 0.72), (boxes.map { $0.y + $0.height }.max() ?? 0) + 4
        )
    }

    private static func height(_ stage: Stage) -> Double {
        let rows = min(stage.jobs.count, jobLimit) + (stage.jobs.count > jobLimit ? 1 : 0)
        return head + 14 + Double(max(rows, 1)) * row + 5
    }

    func draw(_ size: ChartSize) -> Markup {
        let (boxes, width, height) = boxes(size)
        var svg = SVG()
        let words = stages.map { "\($0.name) \($0.jobs.first?.status.text ?? "")" }.joined(separator: ", ")
        svg.open(
            "svg",
            [
                "class": "dag", "viewBox": "0 0 \(SVG.coordinate(width)) \(SVG.coordinate(height))", "role": "group",
                "aria-label": "Stages: \(words)",
            ])
        drawEdges(&svg, boxes, size)
        for box in boxes { drawStage(&svg, box) }
        svg.close("svg")
        return Markup(svg.text)
    }

    private func drawEdges(_ svg: inout SVG, _ boxes: [Box], _ size: ChartSize) {
        let index = Dictionary(stages.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
        for box in boxes {
            for need in stages[box.index].needs {
                guard let from = index[need].map({ boxes[$0] }), from.index != box.index else { continue }
                let path = size == .phone ? Self.down(from, box) : Self.across(from, box)
                let tone = stages[box.index].tone
                let isCritical = [need, stages[box.index].name].allSatisfy { name in
                    index[name].map { stages[$0].jobs.contains(where: \.isCritical) } ?? false
                }
                let state = (tone == .run ? " now" : tone == .ok ? " done" : "") + (isCritical ? " critical" : "")
                svg.add("path", ["class": "edge\(state)", "d": "\(path)"])
            }
        }
    }

    private static func across(_ from: Box, _ to: Box) -> String {
        let (x1, y1) = (from.x + from.width, from.y + head / 2 + 6)
        let (x2, y2) = (to.x, to.y + head / 2 + 6)
        let n = SVG.coordinate
        if x2 > x1 {
            let bend = max(14, (x2 - x1) / 2)
            return "M\(n(x1)) \(n(y1))C\(n(x1 + bend)) \(n(y1)) \(n(x2 - bend)) \(n(y2)) \(n(x2)) \(n(y2))"
        }
        // To the next band: out of the bottom, through the gutter above the target, in at its top.
        let (bx, by) = (from.x + from.width / 2, from.y + from.height)
        let (tx, ty) = (to.x + to.width / 2, to.y)
        let middle = ty - bandGap / 2
        let turn = tx < bx ? -8.0 : 8.0
        return "M\(n(bx)) \(n(by))V\(n(middle - 8))Q\(n(bx)) \(n(middle)) \(n(bx + turn)) \(n(middle))"
            + "H\(n(tx - turn))Q\(n(tx)) \(n(middle)) \(n(tx)) \(n(middle + 8))V\(n(ty))"
    }

    private static func down(_ from: Box, _ to: Box) -> String {
        let n = SVG.coordinate
        let (x, y1, y2) = (from.x + 24, from.y + from.height, to.y)
        // A longer way runs along the edge, so that it is seen beside the boxes between.
        guard to.y - y1 > 40 else { return "M\(n(x)) \(n(y1))V\(n(y2))" }
        return "M\(n(from.x + 10)) \(n(y1))V\(n(y2))"
    }

    private func drawStage(_ svg: inout SVG, _ box: Box) {
        let stage = stages[box.index]
        let state = stage.tone == .run ? " now" : stage.tone == .bad ? " bad" : ""
        svg.add(
            "rect",
            [
                "class": "stage\(state)", "x": .number(box.x), "y": .number(box.y), "width": .number(box.width),
                "height": .number(box.height), "rx": 9,
            ])
        let room = Int((box.width - 24) / 7)
        svg.add(
            "text", ["class": "stage-name", "x": .number(box.x + 12), "y": .number(box.y + 20)],
            Format.clipped(stage.name, room))
        svg.add(
            "text", ["class": "stage-type", "x": .number(box.x + 12), "y": .number(box.y + 35)],
            Format.clipped(stage.type.replacing("_", with: " "), room))
        for (index, job) in stage.jobs.prefix(Self.jobLimit).enumerated() {
            drawJob(&svg, job, x: box.x, y: box.y + Self.head + 12 + Double(index) * Self.row, width: box.width)
        }
        if stage.jobs.count > Self.jobLimit {
            let y = box.y + Self.head + 12 + Double(Self.jobLimit) * Self.row
            svg.add(
                "text", ["class": "job-time", "x": .number(box.x + 34), "y": .number(y + 17)],
                "and \(stage.jobs.count - Self.jobLimit) more")
        }
    }

    private func drawJob(_ svg: inout SVG, _ job: Job, x: Double, y: Double, width: Double) {
        svg.open(
            "a",
            [
                "href": "\(job.href)",
                "class": "\(job.isChosen ? "on " : "")\(job.status.tone == .mute ? "skipped" : "")",
                "aria-label": "\(job.name): \(job.status.text)\(job.isCritical ? ", on the critical path" : "")",
            ])
        svg.add(
            "rect",
            [
                "class": "job-bg", "x": .number(x + 5), "y": .number(y + 1), "width": .number(width - 10), "height": 23,
                "rx": 6,
            ])
        if job.isCritical {
            svg.add(
                "rect",
                [
                    "class": "critical", "x": .number(x + 5), "y": .number(y + 4), "width": 3, "height": 17, "rx": 1.5,
                ])
        }
        svg.open("g", ["transform": "translate(\(SVG.coordinate(x + 12)) \(SVG.coordinate(y + 5)))"])
        svg.add(
            "use",
            [
                "href": "\(icons)#\(job.status.icon)", "width": 15, "height": 15,
                "class": "t-\(job.status.tone.rawValue)\(job.status.icon == "running" ? " turn" : "")",
            ])
        svg.close("g")
        let room = Int((width - 44 - Double(max(job.time.count, 4)) * 6.6 - 14) / 6.9)
        svg.add(
            "text", ["class": "job-name", "x": .number(x + 34), "y": .number(y + 17)],
            Format.clipped(job.name, max(4, room)))
        if let since = job.since {
            svg.add(
                "text",
                [
                    "class": "job-time", "x": .number(x + width - 12), "y": .number(y + 17), "text-anchor": "end",
                    "data-since": "\(since)",
                ],
                job.time)
        } else {
            svg.add(
                "text",
                ["class": "job-time", "x": .number(x + width - 12), "y": .number(y + 17), "text-anchor": "end"],
                job.time)
        }
        svg.close("a")
    }
}
