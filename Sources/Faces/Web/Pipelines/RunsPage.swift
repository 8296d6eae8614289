import API

/// The list of runs.
struct RunsPage: PageBody {
    static let template = "runs"
    static let section = Section.runs
    static let lead: String? = "Every run of every pipeline, newest first."

    let pipelines: [Choice]
    let statuses: [Choice]
    let isFiltered: Bool
    let chart: Figure?
    let table: RunTable?
    let empty: EmptyState?
    let older: String?

    /// A page holds this many runs.
    static let limit = 50

    init(_ runs: [Run], pipelines names: [String], query: RunQuery, next: String?, now: Double) {
        pipelines = names.map { Choice(value: $0, text: $0, isChosen: $0 == query.pipeline) }
        statuses = RunStatus.allCases.map { status in
            Choice(
                value: status.rawValue, text: Badge(status: status.rawValue).text, isChosen: status == query.status)
        }
        isFiltered = query.pipeline != nil || query.status != nil
        chart = Self.durations(runs)
        table = RunTable(runs, caption: "Runs, newest first", now: now)
        empty = !runs.isEmpty ? nil : Self.nothing(isFiltered: isFiltered, pipelines: names)
        older = next.map { next in
            Links.path(["runs"], ["pipeline": query.pipeline, "status": query.status?.rawValue, "after": next])
        }
    }

    /// Bars of the ended runs, oldest first.
    static func durations(_ runs: [Run]) -> Figure? {
        let bars = runs.reversed().compactMap { run -> BarChart.Bar? in
            guard let start = run.started_at, let end = run.finished_at else { return nil }
            let badge = Badge(status: run.status.rawValue)
            let tone: Tone? = badge.tone == .ok ? nil : badge.tone
            return BarChart.Bar(
                "#\(run.number)", end.seconds - start.seconds, tone: tone,
                note: "\(run.pipeline), \(badge.text.lowercased())")
        }
        return bars.count < 3 ? nil : BarChart("Time of each run", unit: .seconds, bars: bars).figure(.full)
    }

    static func nothing(isFiltered: Bool, pipelines: [String]) -> EmptyState {
        if isFiltered {
            return EmptyState(
                icon: "search", title: "No run fits this filter",
                text: "Take another pipeline or status, or clear the filter.",
                commands: [])
        }
        if let pipeline = pipelines.first {
            return EmptyState(
                icon: "runs", title: "No run yet", text: "A push to the repository starts one, and so does this:",
                commands: ["vagus run \(pipeline) --follow"])
        }
        return EmptyState(
            icon: "runs", title: "No run yet", text: "Declare a pipeline first, then run it.",
            commands: ["vagus explain Pipeline", "vagus apply -f pipeline.yaml"])
    }
}
