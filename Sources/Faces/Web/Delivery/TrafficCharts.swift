import API

/// What the proxy counted, revision by revision, as charts.
struct TrafficCharts: Sendable {
    let split: Figure?
    let cards: [ChartCard]

    init(_ points: [TrafficPoint], now: Double) {
        let sorted = points.sorted { ($0.at, $0.revision) < ($1.at, $1.revision) }
        let revisions = Set(sorted.map(\.revision)).sorted()
        guard !sorted.isEmpty else {
            (split, cards) = (nil, [])
            return
        }
        split = Self.split(sorted, revisions)
        cards = [
            Self.card("Requests", "per interval", .count, sorted, revisions) { Double($0.requests) },
            Self.card("Errors", "share of requests that failed", .share, sorted, revisions) {
                $0.requests > 0 ? Double($0.errors) / Double($0.requests) : nil
            },
            Self.card("Latency, median", "half of the answers took less", .seconds, sorted, revisions) {
                $0.p50_ms.map { $0 / 1000 }
            },
            Self.card("Latency, 99th percentile", "99 in 100 answers took less", .seconds, sorted, revisions) {
                $0.p99_ms.map { $0 / 1000 }
            },
        ]
    }

    /// A point tells of the interval that ends with it; the interval begins where the one before ended.
    private static func split(_ points: [TrafficPoint], _ revisions: [Int]) -> Figure {
        let ends = Set(points.map(\.at.seconds)).sorted()
        let length = zip(ends.dropFirst(), ends).map { $0 - $1 }.min() ?? 10
        let byEnd = Dictionary(grouping: points, by: \.at.seconds)
        let moments = ends.enumerated().map { index, end in
            let begin = index == 0 ? end - length : max(ends[index - 1], end - length * 1.5)
            let shares = (byEnd[end] ?? []).map { ("r\($0.revision)", Double($0.requests)) }
            return ShareChart.Moments(at: begin, shares: Dictionary(shares, uniquingKeysWith: +))
        }
        return ShareChart(
            "Traffic split over time", parts: revisions.suffix(8).map { "r\($0)" }, moments: moments,
            until: ends.last ?? 0
        ).figure(.full)
    }

    private static func card(
        _ title: String, _ note: String, _ unit: Unit, _ points: [TrafficPoint], _ revisions: [Int],
        value: (TrafficPoint) -> Double?
    ) -> ChartCard {
        let series = revisions.suffix(LineChart.seriesLimit).map { revision in
            LineChart.Series(
                "r\(revision)",
                points.filter { $0.revision == revision }.map { LineChart.Point($0.at.seconds, value($0)) })
        }
        var chart = LineChart(title, unit: unit, series: series)
        chart.startsAtZero = true
        return ChartCard(title: title, note: note, figure: chart.figure(.half))
    }
}
