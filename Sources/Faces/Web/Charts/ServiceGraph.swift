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

    /// Each service behind those that call it. Where calls go in a circle, the one with the fewest does not count.
    private static func layers(_ names: [String], _ calls: [ServiceCall]) -> [[String]] {
        var callees: [String: [String]] = [:]
        func reaches(_ from: String, _ to: String) -> Bool {
            var (seen, open): (Set<String>, [String]) = ([from], [from])
            while let name = open.popLast() {
                if name == to { return true }
                for next in callees[name] ?? [] where seen.insert(next).inserted { open.append(next) }
            }
            return false
        }
        // The busiest come first.
        for call in calls where !reaches(call.to, call.from) { callees[call.from, default: []].append(call.to) }
        var depth = Dictionary(names.map { ($0, 0) }, uniquingKeysWith: { $1 })
        // Without circles no way is longer than there are services.
        for _ in names {
            for (from, list) in callees {
                for to in list { depth[to] = max(depth[to] ?? 0, (depth[from] ?? 0) + 1) }
            }
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
        let (start, first, second, end) = Self.way(from, to, vertical: vertical)
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

    /// From one box to another; back around the boxes where the callee does not lie behind.
    private static func way(_ from: Box, _ to: Box, vertical: Bool) -> (Point, Point, Point, Point) {
        switch (vertical, vertical ? to.y <= from.y : to.x <= from.x) {
        case (true, false):
            let bend = max(24, abs(to.y - from.y - Box.height) / 2)
            let (start, end) = ((from.middle.x, from.y + Box.height), (to.middle.x, to.y))
            return (start, (start.0, start.1 + bend), (end.0, end.1 - bend), end)
        case (true, true):
            let (start, end) = ((from.x + from.width, from.middle.y), (to.x + to.width, to.middle.y))
            return (start, (start.0 + 26, start.1), (end.0 + 26, end.1), end)
        case (false, false):
            let bend = max(24, abs(to.x - from.x - from.width) / 2)
            let (start, end) = ((from.x + from.width, from.middle.y), (to.x, to.middle.y))
            return (start, (start.0 + bend, start.1), (end.0 - bend, end.1), end)
        case (false, true):
            let (start, end) = ((from.middle.x, from.y), (to.middle.x, to.y))
            return (start, (start.0, start.1 - 34), (end.0, end.1 - 34), end)
        }
    }
    private typealias Point = (Double, Double)

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
