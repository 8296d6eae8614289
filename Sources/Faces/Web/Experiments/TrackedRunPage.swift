import API
import Manifests

/// One run: what it was given, what it measured, and the files that it left.
struct TrackedRunPage: PageBody {
    static let template = "trackedrun"
    static let section = Section.experiments

    /// Charts of a page; a field finds the others by name.
    static let chartLimit = 24

    struct Value: Sendable {
        let name: String
        let value: String
        let href: String?
    }
    struct File: Sendable {
        let name: String
        let href: String
        let size: String
        let isFolder: Bool
    }
    struct Files: Sendable {
        let crumbs: [Link]
        let list: [File]
    }

    let head: PageHead
    let action: String
    let facts: [Fact]
    let params: Listing<Value>?
    let metrics: Listing<Value>?
    let tags: Listing<Value>?
    let look: CurveLook
    let charts: Listing<ChartCard>?
    let hidden: String?
    let files: Files?
    let preview: FilePreview?
    let empty: EmptyState?

    static func link(_ run: TrackedRun) -> String { Links.path(["experiments", run.experiment, "runs", run.id]) }

    static func badge(_ run: TrackedRun) -> Badge {
        switch run.status {
        case "finished": Badge(.ok, "ok", "Finished")
        case "killed": Badge(.mute, "cancelled", "Killed")
        case "scheduled": Badge(.mute, "queued", "Scheduled")
        default: Badge(status: run.status)
        }
    }

    init(
        _ run: TrackedRun, experiment: String, curves: [MetricCurve], hidden more: Int, look: CurveLook,
        files entries: [TrackedFile], folder: String, preview: FilePreview?, now: Double
    ) {
        head = PageHead(
            run.name,
            in: [Link("Experiments", "/experiments"), Link(experiment, Links.path(["experiments", run.experiment]))],
            status: Self.badge(run), lead: run.tags["mlflow.note.content"].map { Format.clipped($0, 300) })
        let here = Self.link(run)
        action = here
        facts = Self.facts(run, now: now)
        params = Listing(run.params.keys.map { Value(name: $0, value: run.params[$0] ?? "", href: nil) })
        metrics = Listing(
            run.metrics.keys.map { key in
                Value(
                    name: key, value: run.metrics[key].map(Format.plain) ?? "–",
                    href: "\(here)?metric=\(Links.encoded(key))#curves")
            })
        tags = Listing(
            run.tags.keys.filter { !$0.hasPrefix("mlflow.") }.map {
                Value(name: $0, value: run.tags[$0] ?? "", href: nil)
            })
        self.look = look
        charts = Listing(curves.map { Self.card($0, look) })
        hidden = more > 0 ? "\(Format.plural(more, "more metric")): type a part of a name to see others" : nil
        files = Self.files(entries, folder: folder, preview: preview, here: here)
        self.preview = preview
        empty =
            run.metrics.isEmpty && run.params.isEmpty && entries.isEmpty
            ? EmptyState(
                icon: "experiments", title: "Nothing logged yet", text: "What the run logs shows here.", commands: [])
            : nil
    }

    private static func facts(_ run: TrackedRun, now: Double) -> [Fact] {
        var facts = [
            Fact("Begun", Moment(run.started_at.seconds).full), Fact("By", run.user.isEmpty ? "–" : run.user),
            Fact("Run", run.id, code: true),
        ]
        if let end = run.ended_at {
            facts.insert(Fact("Took", Format.duration(end.seconds - run.started_at.seconds)), at: 1)
        }
        if let source = run.tags["mlflow.source.name"] { facts.append(Fact("Script", source, code: true)) }
        if let commit = run.tags["mlflow.source.git.commit"] {
            facts.append(Fact("Commit", Format.short(commit, 12), code: true))
        }
        if let parent = run.tags["mlflow.parentRunId"] {
            facts.append(
                Fact(
                    "Part of", Format.short(parent, 12),
                    href: Links.path(["experiments", run.experiment, "runs", parent])))
        }
        return facts
    }

    private static func card(_ curve: MetricCurve, _ look: CurveLook) -> ChartCard {
        let shown = curve.values.count
        let last = curve.values.last.map(Format.number) ?? "–"
        let note =
            shown == curve.total
            ? "last \(last)" : "last \(last); \(Format.count(curve.total)) points, every peak is shown"
        return ChartCard(
            title: curve.key, note: note, figure: look.chart(curve.key, [(curve.key, curve)]).figure(.half))
    }

    private static func files(_ entries: [TrackedFile], folder: String, preview: FilePreview?, here: String) -> Files? {
        guard !entries.isEmpty || !folder.isEmpty else { return nil }
        var crumbs = [Link("All files", "\(here)#files")]
        var path = ""
        for part in folder.split(separator: "/") {
            path += path.isEmpty ? String(part) : "/\(part)"
            crumbs.append(Link(String(part), "\(here)?path=\(Links.encoded(path))#files"))
        }
        let list = entries.map { entry in
            let query =
                entry.is_folder
                ? "path=\(Links.encoded(entry.path))"
                : "path=\(Links.encoded(folder))&file=\(Links.encoded(entry.path))"
            return File(
                name: entry.path.split(separator: "/").last.map(String.init) ?? entry.path,
                href: "\(here)?\(query)#files",
                size: entry.is_folder ? "" : Format.bytes(Int(entry.size_bytes)), isFolder: entry.is_folder)
        }
        return Files(crumbs: crumbs, list: list)
    }
}
