import API
import Kernel
import Manifests

extension Visitor {
    static let logChoices = [50, 100, 500, 1000, 2000]
    /// Bars of the histogram of lines.
    private static let volumeBars = 60.0

    func exploreLogs() async throws -> WebResponse {
        try await render(title: "Explore logs") {
            let time = TimeChoice(request.query, now: now)
            var query = LogQLQuery()
            query.query = question("q")
            query.limit = question("limit").isEmpty ? 100 : min(5000, max(1, Int(question("limit")) ?? 100))
            query.direction = question("direction") == "forward" ? .forward : .backward
            (query.from, query.to) = (time.first, time.last)
            guard !query.query.isEmpty else {
                let labels = try await logLabels()
                return ExploreLogsPage(
                    query, nil, fault: nil, volume: nil, time: time, labels: labels, here: SendHere(request), now: now)
            }
            let asked = query
            async let volume = volume(asked.query, time)
            do {
                let answer = try await ask(Logs.search, asked)
                return ExploreLogsPage(
                    asked, answer, fault: nil, volume: try await volume, time: time, labels: [],
                    here: SendHere(request), now: now)
            } catch let problem as Problem {
                _ = try await volume
                return ExploreLogsPage(
                    asked, nil, fault: problem, volume: nil, time: time, labels: [], here: SendHere(request), now: now)
            }
        }
    }

    private func logLabels() async throws -> [(name: String, values: [String])] {
        var query = MetricLabelQuery()
        query.limit = 20
        let names = try await ask(Logs.labels, query).items.map(\.value)
        let found = try await together(Array(names.prefix(8))) { name -> (name: String, values: [String]) in
            var values = MetricValueQuery()
            (values.label, values.limit) = (name, 8)
            return (name, try await ask(Logs.values, values).items.map(\.value))
        }
        return found
    }

    /// Lines over time by level; nothing when the query answers figures, or the store cannot tell.
    private func volume(_ query: String, _ time: TimeChoice) async throws -> VolumeChart? {
        let step = max(1, (time.span / Self.volumeBars).rounded(.up))
        var counts = LogQLQuery()
        counts.query = "sum by (detected_level) (count_over_time(\(query) [\(Int(step))s]))"
        (counts.from, counts.to, counts.step) = (time.first, time.last, .seconds(step))
        do {
            let answer = try await ask(Logs.search, counts)
            let series = MetricSeries.read(answer.result, type: answer.resultType)
            guard !series.isEmpty else { return nil }
            var bars: [Double: [LogLevel: Double]] = [:]
            for one in series {
                for point in one.points where point.value > 0 {
                    bars[point.at, default: [:]][LogLevel(one.labels["detected_level"]), default: 0] += point.value
                }
            }
            let made = bars.sorted { $0.key < $1.key }.map { at, levels in
                VolumeChart.Bar(
                    from: at - step, to: at,
                    parts: LogLevel.allCases.reversed().compactMap { level in levels[level].map { (level, $0) } })
            }
            return VolumeChart(bars: made, span: time.from...time.to)
        } catch is Problem {
            // A query for figures cannot be counted; its own answer tells what is wrong with any other.
            return nil
        }
    }

    /// Waits for lines that come in, as a part of the page.
    func logTail() async throws -> WebResponse {
        var query = LogTailQuery()
        (query.query, query.after) = (question("q"), request.query["after"].flatMap { $0.isEmpty ? nil : $0 })
        let answer = try await ask(Logs.tail, query)
        let rows = answer.lines.enumerated().map { index, line in
            LogRow(line, number: index, now: now) { _, _ in nil }
        }
        return .html(
            status: 200,
            face.site.logTail(
                LogTailPart(
                    next: answer.next ?? query.after ?? "",
                    missed: answer.missed > 0 ? "\(Format.count(answer.missed)) lines went by too fast" : nil,
                    rows: rows.reversed())))
    }
}

/// Log lines: LogQL in, lines or a graph out.
struct ExploreLogsPage: PageBody {
    static let template = "explorelogs"
    static let section = Section.explore
    static let title = "Explore"
    static let lead: String? = ExploreMetricsPage.lead

    struct Label: Sendable {
        let name: String
        let values: [Link]
    }
    struct Lines: Sendable {
        let note: String
        let rows: [LogRow]
        /// Where the live tail is asked for; nil when old lines come first.
        let tail: String?
    }

    let tabs = ExploreTabs.all(current: "Logs")
    let text: String
    let limits: [Choice]
    let directions: [Choice]
    let time: TimeFields
    let fault: Notice?
    let volume: Figure?
    let graph: GraphFigure?
    let graphNote: String
    let lines: Lines?
    let labels: Listing<Label>?
    let here: SendHere?
    let nothing: EmptyState?
    let older: String?

    init(
        _ query: LogQLQuery, _ answer: LogAnswer?, fault: Problem?, volume: VolumeChart?, time: TimeChoice,
        labels: [(name: String, values: [String])], here: SendHere, now: Double
    ) {
        text = query.query
        limits = Visitor.logChoices.map {
            Choice(value: "\($0)", text: "\(Format.count($0)) lines", isChosen: $0 == query.limit)
        }
        directions = [("backward", "Newest first"), ("forward", "Oldest first")].map {
            Choice(value: $0.0, text: $0.1, isChosen: $0.0 == query.direction.rawValue)
        }
        let path = { (text: String) in
            Links.path(
                ["explore", "logs"],
                ["q": text, "limit": "\(query.limit)", "direction": query.direction == .forward ? "forward" : nil])
        }
        let timed = time.pairs.map { "&\($0.0)=\(Links.encoded($0.1))" }.joined()
        self.time = TimeFields(time, path: path(query.query))
        self.fault = fault.map {
            Notice(tone: .bad, icon: "failed", title: Self.sentence($0.message), text: $0.hint ?? $0.detail)
        }
        self.volume = volume.flatMap { $0.bars.isEmpty ? nil : $0.figure(.full) }
        let found = answer?.lines ?? []
        let isLines = answer.map { $0.resultType == "streams" } ?? false
        let series = isLines ? [] : MetricSeries.read(answer?.result, type: answer?.resultType ?? "")
        let drawn = series.map { TimeGraph.Line(name: $0.name, points: $0.graphPoints(step: query.step?.seconds)) }
        graph = drawn.isEmpty ? nil : TimeGraph("Result", lines: drawn, span: time.from...time.to).figure(.full)
        graphNote = Format.plural(series.count, "series", "series")
        let rows = found.enumerated().map { index, line in
            LogRow(line, number: index, now: now) { name, value in
                LogRow.narrowed(query.query, name, value).map { path($0) + timed }
            }
        }
        let isFull = rows.count >= query.limit
        let took = answer.map { " in \(Format.duration($0.seconds))" } ?? ""
        lines =
            isLines && !(rows.isEmpty && query.direction == .forward)
            ? Lines(
                note: Format.plural(rows.count, "line") + took + (isFull ? ", more are left out" : ""), rows: rows,
                tail: query.direction == .backward ? Links.path(["explore", "logs", "tail"], ["q": query.query]) : nil)
            : nil
        older =
            isFull && query.direction == .backward
            ? found.last.map { last in
                path(query.query) + "&" + TimeChoice.query(from: last.at.seconds - time.span, to: last.at.seconds)
            } : nil
        self.labels = Listing(
            labels.map { label in
                Label(
                    name: label.name,
                    values: label.values.map { Link($0, path("{\(label.name)=\(MetricSeries.quoted($0))}")) })
            })
        self.here = query.query.isEmpty && labels.isEmpty ? here : nil
        nothing =
            isLines && rows.isEmpty
            ? EmptyState(
                icon: "search", title: "No line fits in this time",
                text: "Look at a longer time, or take a filter away. With Live on, lines show as they come in.",
                commands: []) : nil
    }

    static func sentence(_ message: String) -> String { message.prefix(1).uppercased() + message.dropFirst() }
}
