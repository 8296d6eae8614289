import Testing

@testable import Web

struct ChartTests {
    @Test(arguments: [
        (0.0, 1.0, 4, [0, 0.5, 1.0]), (0.0, 97.0, 4, [0, 50.0, 100.0]),
        (-0.3, 0.7, 5, [-0.4, -0.2, 0, 0.2, 0.4, 0.6, 0.8]),
        (5.0, 5.0, 2, [4.5, 5.0, 5.5]),
    ])
    func `ticks are round and hold the values`(low: Double, high: Double, count: Int, ticks: [Double]) {
        let scale = Scale(around: low...high, count: count, pixels: (100, 0))
        #expect(scale.ticks.count == ticks.count)
        for (tick, wanted) in zip(scale.ticks, ticks) { #expect(abs(tick - wanted) < 1e-9) }
        #expect(scale.domain.lowerBound <= low && scale.domain.upperBound >= high)
        #expect(scale(scale.domain.lowerBound) == 100)
        #expect(scale(scale.domain.upperBound) == 0)
    }

    @Test func `durations are divided as clocks do`() {
        let scale = Scale(around: 0...800, count: 4, pixels: (100, 0), unit: .seconds)
        #expect(scale.ticks == [0, 300, 600, 900])
    }

    @Test func `time ticks are round moments`() {
        let day = 86_400.0
        let start = 1_514_764_800.0  // 2018-01-01T00:00:00Z
        #expect(Scale.timeTicks(start...(start + day), count: 4) == [0, 6, 12, 18, 24].map { start + $0 * 3600 })
        let years = Scale.timeTicks(start...(start + 4 * 365.25 * day), count: 4)
        #expect(years.map { Moment($0).rfc3339 }.first == "2018-01-01T00:00:00Z")
        #expect(years.allSatisfy { Moment($0).day == 1 && Moment($0).month == 1 })
    }

    @Test func `a gap breaks the line`() {
        let points = [1.0, 2, nil, 3, 4, nil, 5].enumerated().map { LineChart.Point(Double($0), $1) }
        #expect(LineChart.pieces(points).map(\.count) == [2, 2, 1])
        let svg = LineChart("x", axis: .step, series: [.init("a", points)]).draw(.half).text
        #expect(svg.matches(of: /<path class="line l0"/).count == 2)
        #expect(svg.contains("no value"))
    }

    @Test func `hours without a point break a line of minutes`() {
        let points = [0.0, 60, 120, 180, 7200, 7260].map { LineChart.Point($0, 1) }
        #expect(LineChart.pieces(points, breaksAtGaps: true).map(\.count) == [4, 2])
        #expect(LineChart.pieces(points).map(\.count) == [6])
        #expect(LineChart.pieces(Array(points.suffix(3)), breaksAtGaps: true).map(\.count) == [3])
    }

    @Test func `values that are no numbers are gaps`() {
        let points = [1.0, .nan, 3, .infinity, 2].enumerated().map { LineChart.Point(Double($0), $1) }
        let svg = LineChart("x", axis: .step, series: [.init("a", points)]).draw(.half).text
        #expect(!svg.lowercased().contains("nan\""))
        #expect(!svg.contains("inf"))
    }

    @Test func `a line goes where its values say`() {
        var chart = LineChart("x", axis: .step, series: [.init("a", [.init(0, 0), .init(10, 1)])])
        chart.startsAtZero = true
        let svg = chart.draw(.half).text
        // The frame of a half chart: 46 left, 10 right, 18 above, 26 below; 4 pixels of room at both sides.
        #expect(svg.contains("d=\"M50 214L516 18\""))
    }

    @Test func `a threshold is a line, a band on its bad side and words`() {
        var chart = LineChart("AUC", axis: .step, series: [.init("auc", [.init(1, 0.9), .init(2, 0.8)])])
        chart.thresholds = [.init(0.87, "at least", bad: .below)]
        let svg = chart.draw(.half).text
        #expect(svg.contains("class=\"threshold\""))
        #expect(svg.contains(">at least 0.87</text>"))
        #expect(svg.contains("aria-label=\"AUC, auc latest 0.8000, at least 0.87\""))
    }

    @Test func `a chart without values says so`() {
        #expect(LineChart("x", series: []).draw(.half).text.contains("Nothing measured yet"))
        #expect(ShareChart("x", parts: ["a"], moments: [], until: 1).draw(.half).text.contains("No traffic routed yet"))
    }

    @Test func `long series are thinned, their ends kept`() {
        let points = (0..<50_000).map { LineChart.Point(Double($0), Double($0)) }
        let chart = LineChart("x", axis: .step, series: [.init("a", points)])
        #expect(chart.series[0].points.count == LineChart.pointLimit)
        #expect(chart.series[0].points.last?.x == 49_999)
    }

    @Test func `shares fill the whole height`() {
        let chart = ShareChart(
            "split", parts: ["r1", "r2"],
            moments: [.init(at: 0, shares: ["r1": 3, "r2": 1]), .init(at: 10, shares: ["r1": 1, "r2": 1])],
            until: 20)
        let svg = chart.draw(.half).text
        // r1 holds 75 %, then 50 %; height 190, 18 above, 26 below: 146 pixels.
        #expect(svg.contains("M46 54.5L283 54.5L283 91L520 91"))
        #expect(svg.contains("r2\t25 %\nr1\t75 %"))
    }

    @Test(arguments: [(0.0, 0), (0.03, 1), (0.06, 2), (0.1, 3), (0.25, 4), (0.5, 5), (.nan, 0)])
    func `the fourth shade begins at the limit`(value: Double, shade: Int) {
        #expect(HeatMap("x", columns: [], rows: [], threshold: 0.1).shade(value) == shade)
    }

    @Test func `a heat map marks what is over the limit without colour`() {
        let map = HeatMap(
            "drift", columns: ["w1", "w2", "w3"], rows: [.init("age", [0.05, 0.2, nil])], threshold: 0.1)
        let svg = map.draw(.full).text
        #expect(svg.matches(of: /class="over-dot"/).count == 1)
        #expect(svg.contains("too few rows"))
        #expect(svg.contains("1 of 3 cells at or above 0.1"))
    }

    private func stage(_ name: String, _ needs: [String]) -> RunGraph.Stage {
        RunGraph.Stage(
            name: name, type: "test", needs: needs, tone: .ok,
            jobs: [.init(name: name, status: Badge(.ok, "ok", "Succeeded"), time: "3s", href: "/x")])
    }

    @Test func `stages stand behind all that they need`() {
        let stages = [
            stage("a", []), stage("b", ["a"]), stage("c", ["a"]), stage("d", ["c", "b"]), stage("e", ["a", "d"]),
        ]
        #expect(RunGraph.levels(stages) == [0, 1, 1, 2, 3])
    }

    @Test func `needs in a circle or of nobody do not hang the graph`() {
        #expect(RunGraph.levels([stage("a", ["b"]), stage("b", ["a"]), stage("c", ["ghost"])]).count == 3)
        #expect(!RunGraph(stages: [stage("a", ["a"])], icons: "/i").draw(.full).text.isEmpty)
    }

    @Test func `no stage of a graph stands on another, however long the chain`() {
        let chain =
            (0..<12).map { stage("s\($0)", $0 == 0 ? [] : ["s\($0 - 1)"]) } + [stage("x", ["s3"]), stage("y", ["s3"])]
        let graph = RunGraph(stages: chain, icons: "/i")
        for size in [ChartSize.full, .phone] {
            let (boxes, width, height) = graph.boxes(size)
            for (index, one) in boxes.enumerated() {
                #expect(one.x >= 0 && one.x + one.width <= width && one.y + one.height <= height)
                for other in boxes.dropFirst(index + 1) {
                    let isApart =
                        one.x + one.width <= other.x || other.x + other.width <= one.x || one.y + one.height <= other.y
                        || other.y + other.height <= one.y
                    #expect(isApart)
                }
            }
        }
    }

    @Test func `a timeline shows waiting before work`() {
        let bars = [
            StepTimeline.Bar(name: "a", queued: 0, start: 10, end: 20, status: Badge(.ok, "ok", "Succeeded")),
            StepTimeline.Bar(name: "b", queued: nil, start: nil, end: nil, status: Badge(.mute, "skipped", "Skipped")),
        ]
        let svg = StepTimeline(bars: bars, now: 100).draw(.full).text
        #expect(svg.contains("waited\t10s"))
        #expect(svg.matches(of: /class="hit"/).count == 1)
    }

    @Test func `every chart is drawn for wide and narrow, and told as a table`() {
        let figure = LineChart("x", axis: .step, series: [.init("a", [.init(1, 2), .init(2, nil)])]).figure(.half)
        #expect(figure.wide.text.contains("viewBox=\"0 0 530 240\""))
        #expect(figure.narrow.text.contains("viewBox=\"0 0 330 210\""))
        #expect(figure.table?.rows.map(\.cells) == [["2"], ["–"]])
    }

    @Test func `names in charts are escaped`() {
        let svg = LineChart("<x>", axis: .step, series: [.init("\"><script>", [.init(1, 1), .init(2, 2)])]).draw(.half)
            .text
        #expect(!svg.contains("<script"))
        #expect(!svg.contains("<x>"))
    }
}
