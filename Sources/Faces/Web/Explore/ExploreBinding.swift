import API
import Kernel
import Manifests

/// A question of the Explore page with what came back.
struct MetricQuestion: Sendable {
    struct Fault: Sendable {
        let message: String
        let hint: String?
        /// Bytes of the text that it is about.
        let place: Range<Int>?
    }
    let text: String
    var answer: MetricAnswer?
    var fault: Fault?
    var series: [MetricSeries] = []
}

extension Visitor {
    /// Names of the fields of the queries on one page.
    static let questionKeys = ["q", "q2", "q3", "q4", "q5", "q6"]
    /// Characters of a query that are taken.
    static let questionLimit = 16_000
    /// Rows of the table of an instant query.
    static let rowLimit = 1000

    func explore(_ parts: [String]) async throws -> WebResponse? {
        switch parts {
        case []: try await exploreMetrics()
        case ["logs"]: try await exploreLogs()
        case ["logs", "tail"]: try await logTail()
        case ["traces"]: try await exploreTraces()
        case ["services"]: try await exploreServices()
        case _ where parts.count == 2 && parts[0] == "traces": try await trace(parts[1])
        default: nil
        }
    }

    /// A query as it was typed, white space at its ends aside.
    func question(_ key: String) -> String {
        String((request.query[key] ?? "").replacing("\r\n", with: "\n").trimmed().prefix(Self.questionLimit))
    }

    private func exploreMetrics() async throws -> WebResponse {
        try await render(title: "Explore metrics") {
            let time = TimeChoice(request.query, now: now)
            let isTable = request.query["view"] == "table"
            let texts = Self.questionKeys.map(question).filter { !$0.isEmpty }
            let step = TimeSpan(question("step"))
            let asked = try await together(texts) { try await metric($0, time, step: step, isTable: isTable) }
            var names = MetricNameQuery()
            names.limit = 12
            let known = texts.isEmpty ? try await ask(Metrics.names, names).items : []
            let hasMore = request.query["more"] != nil && texts.count < Self.questionKeys.count
            return ExploreMetricsPage(
                asked, time: time, step: question("step"), isTable: isTable, hasMore: hasMore, known: known,
                here: SendHere(request))
        }
    }

    /// Works out several at a time, in order.
    func together<Item: Sendable, Result: Sendable>(
        _ items: [Item], limit: Int = 6, _ work: @escaping @Sendable (Item) async throws -> Result
    ) async throws -> [Result] {
        try await withThrowingTaskGroup(of: (Int, Result).self) { group in
            var results = [Result?](repeating: nil, count: items.count)
            var next = 0
            func start() {
                guard next < items.count else { return }
                let (place, item) = (next, items[next])
                group.addTask { (place, try await work(item)) }
                next += 1
            }
            for _ in 0..<limit { start() }
            while let (place, result) = try await group.next() {
                results[place] = result
                start()
            }
            return results.compactMap { $0 }
        }
    }

    /// Asks one query; what is wrong with it is part of the answer.
    func metric(_ text: String, _ time: TimeChoice, step: TimeSpan?, isTable: Bool) async throws -> MetricQuestion {
        var made = MetricQuestion(text: text)
        do {
            var parse = ParseQuery()
            parse.query = text
            let parsed = try await ask(Metrics.parse, parse)
            guard parsed.ok else {
                let size = text.utf8.count
                let start = min(max(0, parsed.start ?? 0), size)
                made.fault = MetricQuestion.Fault(
                    message: parsed.message ?? "this is no PromQL", hint: nil,
                    place: parsed.start == nil ? nil : start..<min(max(start, parsed.end ?? start + 1), size))
                return made
            }
            let answer = isTable ? try await instant(text, time) : try await range(text, time, step: step)
            made.series = MetricSeries.read(answer.result, type: answer.resultType)
            made.answer = answer
        } catch let problem as Problem {
            made.fault = MetricQuestion.Fault(message: problem.message, hint: problem.hint, place: nil)
        }
        return made
    }

    private func instant(_ text: String, _ time: TimeChoice) async throws -> MetricAnswer {
        var query = MetricQuery()
        (query.query, query.time, query.limit) = (text, time.last, Self.rowLimit)
        return try await ask(Metrics.query, query)
    }

    func range(_ text: String, _ time: TimeChoice, step: TimeSpan?, limit: Int = TimeGraph.lineLimit) async throws
        -> MetricAnswer
    {
        var query = MetricRangeQuery()
        (query.query, query.from, query.to, query.step) = (text, time.first, time.last, step)
        query.limit = limit
        return try await ask(Metrics.queryRange, query)
    }
}
