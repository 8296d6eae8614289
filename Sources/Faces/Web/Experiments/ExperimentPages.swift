import API
import Manifests

/// The list of experiments.
struct ExperimentsPage: PageBody {
    static let template = "experiments"
    static let section = Section.experiments
    static let lead: String? = "What was tried, with which parameters, and what came out."

    struct Row: Sendable {
        let href: String
        let name: String
        let id: String
        let note: String?
        let when: When
    }
    let search: String
    let isFiltered: Bool
    let table: Rows<Row>?
    let empty: EmptyState?
    let older: String?

    init(_ experiments: [Experiment], search: String?, next: String?, now: Double) {
        (self.search, isFiltered) = (search ?? "", search != nil)
        table = Rows(
            experiments.map { one in
                Row(
                    href: Links.path(["experiments", one.id]), name: one.name, id: one.id,
                    note: one.tags["mlflow.note.content"].map { Format.clipped($0, 120) },
                    when: When(one.created_at.seconds, now: now))
            })
        empty =
            !experiments.isEmpty
            ? nil
            : EmptyState(
                icon: "experiments", title: search == nil ? "No experiment yet" : "No experiment has this in its name",
                text: "Scripts that log to MLflow log here when they are told so; nothing else in them changes.",
                commands: ["export MLFLOW_TRACKING_URI=http://localhost:8420/mlflow"])
        older = next.map { Links.path(["experiments"], ["search": search, "after": $0]) }
    }
}

/// One experiment: its runs in a table of chosen columns.
struct ExperimentPage: PageBody {
    static let template = "experiment"
    static let section = Section.experiments

    /// Runs of a page.
    static let limit = 100
    /// Columns that are shown when nobody chose: the first metrics and the first params.
    private static let unaskedColumns = 4

    struct Head: Sendable {
        let name: String
        let href: String
        let sorted: String?
        let isNumber: Bool
    }
    struct Cell: Sendable {
        let text: String
        let full: String
        let isNumber: Bool
    }
    struct Row: Sendable {
        let id: String
        let href: String
        let name: String
        let status: Badge
        let cells: [Cell]
        let elapsed: Elapsed?
        let when: When
    }
    struct Table: Sendable {
        let heads: [Head]
        let rows: [Row]
    }
    struct ColumnChoice: Sendable {
        let field: String
        let name: String
        let isChosen: Bool
    }
    struct View: Sendable {
        let name: String
        let href: String
        let isCurrent: Bool
    }

    let head: PageHead
    let id: String
    let filter: String
    let order: String
    let isFiltered: Bool
    let isDeleted: Bool
    let fault: Notice?
    let columns: Listing<ColumnChoice>?
    let chosen: [ColumnChoice]
    let views: Listing<View>?
    let view: String?
    let table: Table?
    let empty: EmptyState?
    let older: String?
    let count: String
    let csrf: String

    init(
        _ experiment: Experiment, runs: [TrackedRun], next: String?, search: RunSearchForm, views: [Resource],
        fault: Problem?, csrf: String, now: Double
    ) {
        head = PageHead(
            experiment.name, in: [Link("Experiments", "/experiments")],
            lead: experiment.tags["mlflow.note.content"].map { Format.clipped($0, 300) })
        id = experiment.id
        (filter, order) = (search.filter ?? "", search.order ?? "")
        (isFiltered, isDeleted) = (search.filter != nil || search.order != nil || search.view != nil, search.isDeleted)
        self.csrf = csrf
        self.fault = fault.map {
            Notice(tone: .bad, icon: "failed", title: "The search could not be read", text: $0.message)
        }
        let all = RunColumn.all(of: runs)
        let asked = search.columns.compactMap { RunColumn($0) }
        let shown = asked.isEmpty ? Self.unasked(all) : asked
        let isShown = Set(shown)
        columns = Listing(
            (all + asked.filter { !all.contains($0) }).map {
                ColumnChoice(field: RunSearchForm.columnPrefix + $0.name, name: $0.name, isChosen: isShown.contains($0))
            })
        chosen = search.columns.map {
            ColumnChoice(field: RunSearchForm.columnPrefix + $0, name: $0, isChosen: true)
        }
        let here = experiment.id
        self.views = Listing(
            views.map {
                View(
                    name: $0.name, href: Links.path(["experiments", here], ["view": $0.name]),
                    isCurrent: $0.name == search.view)
            })
        view = search.view.flatMap { name in views.contains { $0.name == name } ? name : nil }
        table =
            runs.isEmpty
            ? nil
            : Table(
                heads: shown.map { Self.head($0, search, in: here) }, rows: runs.map { Self.row($0, shown, now: now) })
        empty = runs.isEmpty && fault == nil ? Self.nothing(isFiltered: isFiltered, experiment.name) : nil
        older = next.map { Links.path(["experiments", here], pairs: search.pairs + [("after", $0)]) }
        count = next == nil ? Format.plural(runs.count, "run") : "the first \(runs.count) runs"
    }

    private static func unasked(_ all: [RunColumn]) -> [RunColumn] {
        Array(all.filter { $0.part == .metrics }.prefix(unaskedColumns))
            + all.filter { $0.part == .params }.prefix(unaskedColumns)
    }

    /// A head sorts by its column: downwards first, then upwards.
    private static func head(_ column: RunColumn, _ search: RunSearchForm, in id: String) -> Head {
        let isDown = search.order == column.clause(descending: true)
        let isUp = search.order == column.clause(descending: false)
        let pairs = search.pairs.filter { $0.0 != "order" } + [("order", column.clause(descending: !isDown))]
        return Head(
            name: column.part == .metrics ? column.key : column.name,
            href: Links.path(["experiments", id], pairs: pairs),
            sorted: isDown ? "descending" : isUp ? "ascending" : nil, isNumber: column.part == .metrics)
    }

    private static func row(_ run: TrackedRun, _ columns: [RunColumn], now: Double) -> Row {
        Row(
            id: run.id, href: TrackedRunPage.link(run), name: run.name, status: TrackedRunPage.badge(run),
            cells: columns.map { column in
                let full = column.value(of: run) ?? "–"
                return Cell(text: Format.clipped(full, 40), full: full, isNumber: column.part == .metrics)
            },
            elapsed: run.ended_at.flatMap { Elapsed(from: run.started_at.seconds, to: $0.seconds, now: now) },
            when: When(run.started_at.seconds, now: now))
    }

    private static func nothing(isFiltered: Bool, _ name: String) -> EmptyState {
        isFiltered
            ? EmptyState(
                icon: "search", title: "No run fits",
                text: "Change the filter, for example: metrics.auc > 0.9 AND (params.lr = '0.1' OR tags.team = 'a')",
                commands: [])
            : EmptyState(
                icon: "experiments", title: "No run yet",
                text: "The next script that logs to this experiment shows here.",
                commands: [
                    "export MLFLOW_TRACKING_URI=http://localhost:8420/mlflow", "export MLFLOW_EXPERIMENT_NAME=\(name)",
                ])
    }
}
