import API
import Manifests

/// The tabs of Explore.
enum ExploreTabs {
    static func all(current: String) -> [Tab] {
        [("Metrics", []), ("Logs", ["logs"]), ("Traces", ["traces"]), ("Service graph", ["services"])].map {
            Tab($0.0, Links.path(["explore"] + $0.1), current: $0.0 == current)
        }
    }
}

/// The choice of a time, as a part of a form.
struct TimeFields: Sendable {
    let choices: [Choice]
    let from: String
    let to: String
    let isExact: Bool
    let words: String
    let problem: String?
    let moves: [Link]

    /// - Parameter path: Path and query of the page without its time, to which links to other times are added.
    init(_ time: TimeChoice, path: String) {
        choices = time.choices
        (from, to, isExact) = (time.fromText, time.toText, time.range == nil)
        (words, problem) = (time.words, time.problem)
        let joint = path.contains("?") ? "&" : "?"
        moves = time.moves.map { Link($0.text, path + joint + $0.href) }
    }
}

/// Metrics: PromQL in, a graph or a table out.
struct ExploreMetricsPage: PageBody {
    static let template = "explore"
    static let section = Section.explore
    static let title = "Explore"
    static let lead: String? = "Ask the metrics, log lines and traces that came in."

    struct Editor: Sendable {
        let id: String
        let key: String
        let letter: String
        let text: String
        /// The text again, with what is wrong marked: it lies behind the field.
        let marked: Markup
        let fault: String?
        let hint: String?
        let remarks: [Notice]
        let took: String?
        let without: String?
    }
    struct Row: Sendable {
        let cells: [String]
        let value: String
    }
    struct Table: Sendable {
        let title: String
        let columns: [String]
        let rows: [Row]
        let note: String
    }
    struct Example: Sendable {
        let text: String
        let what: String
        let href: String
    }

    let tabs = ExploreTabs.all(current: "Metrics")
    let editors: [Editor]
    let canAdd: Bool
    let step: String
    let time: TimeFields
    let views: [Tab]
    let view: String
    let graph: GraphFigure?
    let graphNote: String
    let heats: Listing<PanelCard>?
    let tables: Listing<Table>?
    let examples: Listing<Example>?
    let here: SendHere?
    let nothing: EmptyState?

    /// - Parameter known: Some metrics there are, for a page without a query.
    init(
        _ asked: [MetricQuestion], time: TimeChoice, step: String, isTable: Bool, hasMore: Bool, known: [MetricName],
        here: SendHere
    ) {
        let keys = Visitor.questionKeys
        let texts = asked.map(\.text)
        self.editors = (asked + (hasMore || asked.isEmpty ? [MetricQuestion(text: "")] : [])).enumerated().map {
            Self.editor($0.element, $0.offset, among: texts, time, step: step, isTable: isTable)
        }
        canAdd = asked.count < keys.count && !asked.isEmpty && !hasMore
        self.step = step
        let path = Self.path(texts, step: step, isTable: isTable, time: nil)
        self.time = TimeFields(time, path: path)
        view = isTable ? "table" : "graph"
        views = [false, true].map {
            Tab($0 ? "Table" : "Graph", Self.path(texts, step: step, isTable: $0, time: time), current: $0 == isTable)
        }
        let graphed = isTable ? [] : asked.filter { $0.answer != nil }
        let lines = Self.lines(graphed, many: asked.count > 1)
        let left = graphed.reduce(0) { $0 + ($1.answer?.left_out ?? 0) } + max(0, lines.count - TimeGraph.lineLimit)
        graph = lines.isEmpty ? nil : TimeGraph("Result", lines: lines, span: time.from...time.to).figure(.full)
        graphNote = Self.note(lines.count, left: left, step: graphed.first?.answer?.step)
        heats = Listing(graphed.compactMap { Self.heat($0, time) })
        tables = isTable ? Listing(asked.compactMap { $0.answer == nil ? nil : Self.table($0) }) : nil
        examples = asked.isEmpty ? Listing(known.map(Self.example)) : nil
        self.here = asked.isEmpty && known.isEmpty ? here : nil
        let isNothing = !asked.isEmpty && asked.allSatisfy { $0.fault == nil && $0.series.isEmpty }
        nothing =
            isNothing
            ? EmptyState(
                icon: "search", title: "No series fits in this time",
                text:
                    "Look at a longer time, or at fewer labels; the names of metrics complete themselves as you type.",
                commands: [])
            : nil
    }

    static func path(_ texts: [String], step: String, isTable: Bool, time: TimeChoice?) -> String {
        var pairs = zip(Visitor.questionKeys, texts).map { ($0, $1) }
        if isTable { pairs.append(("view", "table")) }
        if !step.isEmpty { pairs.append(("step", step)) }
        return Links.path(["explore"], pairs: pairs + (time?.pairs ?? []))
    }

    private static func editor(
        _ question: MetricQuestion, _ place: Int, among texts: [String], _ time: TimeChoice, step: String, isTable: Bool
    ) -> Editor {
        let key = Visitor.questionKeys[min(place, Visitor.questionKeys.count - 1)]
        let answer = question.answer
        let remarks =
            (answer?.warnings ?? []).map { Notice(tone: .warn, icon: "warn", title: "Doubtful", text: $0) }
            + (answer?.infos ?? []).map { Notice(tone: .mute, icon: "info", title: "Note", text: $0) }
        let others = texts.enumerated().filter { $0.offset != place }.map(\.element)
        return Editor(
            id: "x-\(key)", key: key, letter: letter(place), text: question.text,
            marked: marked(question.text, question.fault?.place), fault: question.fault?.message,
            hint: question.fault?.hint, remarks: remarks,
            took: answer.map {
                "\(Format.plural(question.series.count, "series", "series")) in \(Format.duration($0.seconds))"
            },
            without: texts.count > 1 && !question.text.isEmpty
                ? path(others, step: step, isTable: isTable, time: time) : nil)
    }

    static func letter(_ place: Int) -> String { ["A", "B", "C", "D", "E", "F"][min(place, 5)] }

    /// The text, escaped, with a mark around the bytes that are wrong; at the end of the text around nothing.
    static func marked(_ text: String, _ place: Range<Int>?) -> Markup {
        guard let place else { return Markup(escaped(text)) }
        let bytes = Array(text.utf8)
        let (start, end) = (
            min(place.lowerBound, bytes.count), min(max(place.lowerBound, place.upperBound), bytes.count)
        )
        func piece(_ range: Range<Int>) -> String { escaped(String(decoding: bytes[range], as: UTF8.self)) }
        let wrong = start == end ? " " : piece(start..<end)
        return Markup("\(piece(0..<start))<mark class=\"wrong\">\(wrong)</mark>\(piece(end..<bytes.count))")
    }

    private static func lines(_ asked: [MetricQuestion], many: Bool) -> [TimeGraph.Line] {
        asked.enumerated().flatMap { place, question in
            question.series.filter { !$0.points.isEmpty }.map { series in
                TimeGraph.Line(
                    name: (many ? "\(letter(place)) " : "") + series.name,
                    points: series.graphPoints(step: question.answer?.step?.seconds))
            }
        }
    }

    private static func note(_ shown: Int, left: Int, step: TimeSpan?) -> String {
        var words = [Format.plural(min(shown, TimeGraph.lineLimit), "series", "series")]
        if left > 0 {
            words.append("\(Format.count(left)) more are left out: narrow the query, or sum or topk its series")
        }
        if let step { words.append("a point every \(step)") }
        return words.joined(separator: " · ")
    }

    private static func heat(_ question: MetricQuestion, _ time: TimeChoice) -> PanelCard? {
        guard question.series.contains(where: { !$0.histograms.isEmpty }) else { return nil }
        let map = HistogramMap(
            question.text, unit: .plain, columns: HistogramMap.columns(question.series), span: time.from...time.to)
        return PanelCard(
            title: "Histogram of \(Format.clipped(question.text, 80))", note: "stronger: more observations",
            graph: map.figure(.full))
    }

    /// Label names that get a column of their own.
    private static let columnLimit = 8

    private static func table(_ question: MetricQuestion) -> Table {
        var names: [String] = []
        for series in question.series {
            for name in series.labels.keys where !names.contains(name) && names.count <= columnLimit {
                names.append(name)
            }
        }
        let isWide = names.count > columnLimit
        let rows = question.series.map { series in
            Row(
                cells: isWide ? [series.name] : names.map { series.labels[$0] ?? "" },
                value: series.lastValue.map(Format.number)
                    ?? series.histograms.last.map {
                        "\(Format.number($0.count)) observations, sum \(Format.number($0.sum))"
                    } ?? text(question.answer?.result))
        }
        let left = question.answer?.left_out ?? 0
        return Table(
            title: question.text,
            columns: isWide ? ["Series"] : names.map { $0 == "__name__" ? "metric" : $0 }, rows: rows,
            note: Format.plural(rows.count, "row") + (left > 0 ? ", \(Format.count(left)) more are left out" : ""))
    }

    private static func text(_ result: JSONValue?) -> String { result?[1]?.string ?? "–" }

    private static func example(_ metric: MetricName) -> Example {
        let text: String
        switch metric.type {
        case "counter": text = "sum(rate(\(metric.name)[5m]))"
        case "histogram": text = "histogram_quantile(0.95, sum by (le) (rate(\(metric.name)_bucket[5m])))"
        default: text = metric.name
        }
        return Example(
            text: text, what: metric.help.isEmpty ? metric.type : metric.help,
            href: Links.path(["explore"], ["q": text]))
    }
}

/// A graph in a card.
struct PanelCard: Sendable {
    let title: String
    let note: String
    let graph: GraphFigure
}
