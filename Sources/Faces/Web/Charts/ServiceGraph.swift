import API

/// Who calls whom: callers on the left (above on a phone), callees behind, lines as thick as calls are many.
struct ServiceGraph: Sendable {
    let calls: [ServiceCall]
    /// Services that are drawn; the table below has all.
    static let nodeLimit = 40

    private let layers: [[String]]
    private let received: [String: (calls: Int, errors: Int)]

    init(_ all: [ServiceCall]) {
        var (names, kept): ([String], [ServiceCall]) = ([], [])
        for call in all.sorted(by: { ($1.calls, $0.from, $0.to) < ($0.calls, $1.from, $1.to) })
        where call.from != call.to {
            let fresh = [call.from, call.to].filter { !names.contains($0) }
            guard names.count + fresh.count <= Self.nodeLimit else { continue }
            names += fresh
            kept.append(call)
        }
        calls = kept
        layers = Self.layers(names.sorted(), kept)
        var received: [String: (calls: Int, errors: Int)] = [:]
        for call in all {
            let before = received[call.to] ?? (0, 0)
            received[call.to] = (before.calls + call.calls, before.errors + call.errors)
        }
        self.received = received
    }

    /// Each service behind those that call it; a circle of calls is cut where it closes.
    private static func layers(_ names: [String], _ calls: [ServiceCall]) -> [[String]] {
        var depth = Dictionary(names.map { ($0, 0) }, uniquingKeysWith: { $1 })
        // As many rounds as there can be steps on a way without a circle.
        for _ in 0..<min(names.count, 12) {
            var isSettled = true
            for call in calls {
                let wanted = (depth[call.from] ?? 0) + 1
                guard wanted > depth[call.to] ?? 0, wanted < 8 else { continue }
                depth[call.to] = wanted
                isSettled = false
            }
            if isSettled { break }
        }
        let used = Set(depth.values).sorted()
        return used.map { layer in names.filter { depth[$0] == layer } }
    }

    func figure() -> Figure {
        let table = ValueTable(
            title: "Calls between services", columns: ["From", "To", "Calls", "Failed", "Mean time"],
            rows: calls.map { call in
                ValueTable.Row(
                    head: call.from,
                    cells: [
                        call.to, Format.count(call.calls), Format.count(call.errors),
                        call.mean_seconds.map(Format.duration) ?? "–",
                    ])
            })
        return Figure(.full, table: table) { draw($0) }
    }

    private struct Box {
        let x: Double
        let y: Double
        let width: Double
        static let height = 46.0
        var middle: (x: Double, y: Double) { (x + width / 2, y + Self.height / 2) }
    }

    private func boxes(_ size: ChartSize) -> (all: [String: Box], height: Double) {
        var boxes: [String: Box] = [:]
        guard size == .phone else {
            let step = size.width / Double(max(1, layers.count))
            let tallest = Double(layers.map(\.count).max() ?? 1)
            let height = max(120, tallest * 66 + 10)
            for (column, layer) in layers.enumerated() {
                let room = height / Double(layer.count)
                for (row, name) in layer.enumerated() {
                    let width = min(190, step - 40)
                    boxes[name] = Box(
                        x: (Double(column) + 0.5) * step - width / 2, y: (Double(row) + 0.5) * room - Box.height / 2,
                        width: width)
                }
            }
            return (boxes, height)
        }
        var y = 4.0
        for layer in layers {
            for start in stride(from: 0, to: layer.count, by: 2) {
                let pair = layer[start..<min(layer.count, start + 2)]
                let step = size.width / Double(pair.count)
                for (place, name) in pair.enumerated() {
                    boxes[name] = Box(x: (Double(place) + 0.5) * step - 72, y: y, width: 144)
                }
                y += Box.height + 14
            }
            y += 26
        }
        return (boxes, y)
    }

    private func draw(_ size: ChartSize) -> Markup {
        let (boxes, height) = boxes(size)
        var svg = SVG()
        ChartFrame(width: size.width, height: height).open(
            &svg, label: "Calls between \(boxes.count) services, \(calls.count) pairs")
        let most = Double(calls.map(\.calls).max() ?? 1)
        for call in calls {
            guard let from = boxes[call.from], let to = boxes[call.to] else { continue }
            draw(call, from: from, to: to, share: Double(call.calls) / max(1, most), vertical: size == .phone, &svg)
        }
        for (name, box) in boxes.sorted(by: { $0.key < $1.key }) { draw(name, box, &svg) }
        svg.close("svg")
        return Markup(svg.text)
    }

    private func draw(
        _ call: ServiceCall, from: Box, to: Box, share: Double, vertical: Bool, _ svg: inout SVG
    ) {
        let isBack = vertical ? to.y <= from.y : to.x <= from.x
        let start =
            vertical
            ? (from.middle.x, from.y + Box.height)
            : (isBack ? from.middle.x : from.x + from.width, isBack ? from.y : from.middle.y)
        let end = vertical ? (to.middle.x, to.y) : (isBack ? to.middle.x : to.x, isBack ? to.y : to.middle.y)
        let bend = max(24, (vertical ? abs(end.1 - start.1) : abs(end.0 - start.0)) / 2)
        let (first, second) =
            vertical
            ? ((start.0, start.1 + bend), (end.0, end.1 - bend))
            : isBack
                ? ((start.0, start.1 - 34), (end.0, end.1 - 34))
                : ((start.0 + bend, start.1), (end.0 - bend, end.1))
        let path = [first, second, end].map { "\(SVG.coordinate($0.0)) \(SVG.coordinate($0.1))" }.joined(separator: " ")
        let errors = call.calls > 0 ? Double(call.errors) / Double(call.calls) : 0
        svg.add(
            "path",
            [
                "class": "call hit\(errors > 0.01 ? " bad" : "")",
                "d": "M\(SVG.coordinate(start.0)) \(SVG.coordinate(start.1))C\(path)",
                "stroke-width": .number(1.5 + 4 * share.squareRoot()), "data-at": "\(call.from) → \(call.to)",
                "data-values":
                    "calls\t\(Format.count(call.calls))\nfailed\t\(Format.percent(errors))\nmean time\t\(call.mean_seconds.map(Format.duration) ?? "–")",
            ])
    }

    private func draw(_ name: String, _ box: Box, _ svg: inout SVG) {
        let told = received[name]
        let share = told.map { $0.calls > 0 ? Double($0.errors) / Double($0.calls) : 0 } ?? 0
        svg.add(
            "rect",
            [
                "class": "node\(share > 0.01 ? " bad" : "")", "x": .number(box.x), "y": .number(box.y),
                "width": .number(box.width), "height": .number(Box.height), "rx": 9,
            ])
        svg.add(
            "text",
            ["class": "node-name", "x": .number(box.middle.x), "y": .number(box.y + 20), "text-anchor": "middle"],
            Format.clipped(name, Int(box.width / 7.2)))
        let words = told.map {
            "\(Format.short(Double($0.calls))) calls\(share > 0 ? ", \(Format.percent(share)) failed" : "")"
        }
        svg.add(
            "text", ["x": .number(box.middle.x), "y": .number(box.y + 36), "text-anchor": "middle"],
            Format.clipped(words ?? "calls others", Int(box.width / 6)))
    }
}
