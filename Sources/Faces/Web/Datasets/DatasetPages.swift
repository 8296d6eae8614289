import API
import Manifests

/// The list of datasets.
struct DatasetsPage: PageBody {
    static let template = "datasets"
    static let section = Section.datasets
    static let lead: String? = "What models learn from: typed, counted, checked and versioned by content."

    struct Row: Sendable {
        let href: String
        let name: String
        let source: String
        let status: Badge
        let count: String
        let columns: String
        let version: String
        let when: When?
    }
    let table: Rows<Row>?
    let empty: EmptyState?

    init(_ datasets: [Resource], now: Double) {
        table = Rows(datasets.map { Self.row($0, now: now) })
        empty =
            !datasets.isEmpty
            ? nil
            : EmptyState(
                icon: "datasets", title: "No dataset yet",
                text: "A dataset says where a table is, what its columns are, and what must hold of it.",
                commands: ["vagus explain Dataset", "vagus apply -f dataset.yaml"])
    }

    private static func row(_ resource: Resource, now: Double) -> Row {
        let latest = DatasetPage.versions(resource).first
        let columns = resource.spec["schema"]?.array?.count
        return Row(
            href: Links.dataset(resource.name), name: resource.name,
            source: resource.spec["source"]?["uri"]?.string ?? "",
            status: DatasetPage.status(latest), count: latest.map { Format.count($0.rows) } ?? "–",
            columns: columns.map(Format.count) ?? "found out", version: latest.map { Format.short($0.digest) } ?? "–",
            when: latest.map { When($0.at.seconds, now: now) })
    }
}

/// One dataset: columns, expectations, versions.
struct DatasetPage: PageBody {
    static let template = "dataset"
    static let section = Section.datasets

    struct VersionRow: Sendable {
        let name: String
        let count: String
        let aside: String
        let digest: String
        let run: Link?
        let when: When?
    }
    struct Column: Sendable {
        let name: String
        let type: String
        let bounds: String
    }
    struct Expectation: Sendable {
        let name: String
        let detail: String
        let asked: String
        let severity: String
    }
    struct Table<Row: Sendable>: Sendable {
        let note: String
        let rows: [Row]
    }

    let head: PageHead
    let facts: [Fact]
    let chart: Figure?
    let versions: Rows<VersionRow>?
    let noVersions: EmptyState?
    let columns: Table<Column>?
    let expectations: Table<Expectation>?
    let resourceHref: String

    init(_ resource: Resource, now: Double) {
        let all = Self.versions(resource)
        let spec = resource.spec
        head = PageHead(resource.name, in: [Link("Datasets", "/datasets")], status: Self.status(all.first))
        facts = Self.facts(spec, latest: all.first)
        let bars = all.reversed().map {
            BarChart.Bar(Format.short($0.digest, 6), Double($0.rows), note: Moment($0.at.seconds).full)
        }
        chart = bars.count < 2 ? nil : BarChart("Rows of each version", unit: .count, bars: bars).figure(.full)
        versions = Rows(all.map { Self.row($0, now: now) })
        noVersions =
            !all.isEmpty
            ? nil
            : EmptyState(
                icon: "datasets", title: "Never read yet",
                text: "An ingest step of a pipeline reads it and leaves a version here.",
                commands: ["vagus explain Pipeline.stages.ingest", "vagus run PIPELINE --follow"])
        columns = Self.columns(spec)
        expectations = Self.expectations(spec)
        resourceHref = Links.resource(DatasetKind.plural, resource.name)
    }

    static func versions(_ resource: Resource) -> [DatasetVersion] {
        // A status that another version of vagus wrote may not read; the page then shows the spec alone.
        let read = resource.status.flatMap { try? DatasetStatus(json: $0, at: []) }  // unreadable: as if not told
        return read?.versions ?? []
    }

    static func status(_ latest: DatasetVersion?) -> Badge {
        guard let latest else { return Badge(.mute, "queued", "Never read") }
        return latest.quarantined == 0
            ? Badge(.ok, "ok", "All rows passed")
            : Badge(.warn, "warn", "\(Format.count(latest.quarantined)) put aside")
    }

    private static func facts(_ spec: JSONValue, latest: DatasetVersion?) -> [Fact] {
        var facts = [
            Fact("Source", spec["source"]?["uri"]?.string ?? "–", code: true),
            Fact("Format", (spec["source"]?["type"]?.string ?? "csv").replacing("_", with: " ")),
        ]
        if let latest { facts.append(Fact("Rows", Format.count(latest.rows))) }
        if let key = spec["primary_key"]?.array, !key.isEmpty {
            facts.append(Fact("Key", key.map(\.gist).joined(separator: ", ")))
        }
        if let event = spec["time"]?["event"]?.string { facts.append(Fact("Time of the row", event, code: true)) }
        if let latest { facts.append(Fact("Content", Format.short(latest.digest, 16), code: true)) }
        return facts
    }

    private static func row(_ one: DatasetVersion, now: Double) -> VersionRow {
        VersionRow(
            name: Moment(one.at.seconds).date, count: Format.count(one.rows), aside: Format.count(one.quarantined),
            digest: Format.short(one.digest, 12), run: one.run.isEmpty ? nil : Link("run", Links.run(one.run)),
            when: When(one.at.seconds, now: now))
    }

    private static func columns(_ spec: JSONValue) -> Table<Column>? {
        let rows = (spec["schema"]?.array ?? []).map { column in
            var bounds = [
                column["min"]?.double.map { "≥ \(Format.number($0))" },
                column["max"]?.double.map { "≤ \(Format.number($0))" },
            ]
            .compactMap { $0 }
            if column["missing"]?.string == "refuse" { bounds.append("never empty") }
            let role = column["role"]?.string ?? "feature"
            return Column(
                name: column["name"]?.string ?? "–",
                type: "\(column["type"]?.string ?? "–")\(role == "feature" ? "" : ", \(role)")",
                bounds: bounds.joined(separator: ", "))
        }
        return rows.isEmpty ? nil : Table(note: "\(rows.count)", rows: rows)
    }

    private static func expectations(_ spec: JSONValue) -> Table<Expectation>? {
        let rows = (spec["expectations"]?.array ?? []).map { one in
            let name = one["expect"]?.string ?? ""
            let rest = (one.object ?? [:]).filter { !["expect", "mostly", "severity"].contains($0.key) }
            return Expectation(
                name: (name.hasPrefix("expect_") ? String(name.dropFirst(7)) : name).replacing("_", with: " "),
                detail: Format.clipped(
                    rest.map { "\($0.key.replacing("_", with: " ")) \($0.value.gist)" }.joined(separator: ", "), 160),
                asked: one["mostly"]?.double.map { $0 >= 1 ? "all" : Format.percent($0) } ?? "all",
                severity: one["severity"]?.string ?? "fail")
        }
        return rows.isEmpty ? nil : Table(note: "\(rows.count)", rows: rows)
    }
}
