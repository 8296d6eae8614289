import API
import Manifests

/// The things of one kind, for kinds without a page of their own and for those with.
struct ResourcesPage: PageBody {
    static let template = "resources"
    static let section = Section.resources

    struct Row: Sendable {
        let href: String
        let name: String
        let conditions: [Badge]
        let generation: String
        let when: When?
    }
    let title: String
    let lead: String
    let caption: String
    let tabs: [Tab]
    let table: Rows<Row>?
    let empty: EmptyState?

    init(_ resources: [Resource], kind: any Kind.Type, now: Double) {
        title = kind.plural.prefix(1).uppercased() + kind.plural.dropFirst()
        lead = kind.summary
        caption = title
        tabs = Kinds.all.map { other in
            Tab(
                other.plural.prefix(1).uppercased() + other.plural.dropFirst(),
                Links.path(["resources", other.plural]),
                current: other.plural == kind.plural)
        }
        table = Rows(
            resources.map { one in
                Row(
                    href: Links.resource(kind.plural, one.name), name: one.name,
                    conditions: one.conditions.prefix(4).map(ConditionLook.badge), generation: "\(one.generation)",
                    when: When(one.updated_at.seconds, now: now))
            })
        let name = kind.name.lowercased()
        empty =
            !resources.isEmpty
            ? nil
            : EmptyState(
                icon: "info", title: "No \(name) yet", text: kind.summary,
                commands: ["vagus explain \(kind.name)", "vagus apply -f \(name).yaml"])
    }
}

/// How a condition looks.
///
/// Whether "yes" is good depends on what it speaks of.
enum ConditionLook {
    static func badge(_ condition: Condition) -> Badge {
        let base = badge(condition.truth, of: condition.name)
        return Badge(base.tone, base.icon, condition.name)
    }

    static func badge(_ truth: Condition.Truth, of name: String) -> Badge {
        let isBadNews = ["fail", "degrad", "stall", "drift", "breach", "lost", "error"].contains {
            name.lowercased().contains($0)
        }
        switch truth {
        case .unknown: return Badge(.mute, "unknown", "Not known yet")
        case .yes: return isBadNews ? Badge(.bad, "failed", "Yes") : Badge(.ok, "ok", "Yes")
        case .no: return isBadNews ? Badge(.ok, "ok", "No") : Badge(.bad, "failed", "No")
        }
    }
}

/// One declared thing, whatever its kind: manifest, status, conditions, events.
struct ResourcePage: PageBody {
    static let template = "resource"
    static let section = Section.resources

    struct ConditionRow: Sendable {
        let name: String
        let status: Badge
        let message: String
        let reason: String
    }
    struct EventList: Sendable {
        let allHref: String
        let rows: [EventRow]
    }
    let head: PageHead
    let facts: [Fact]
    let conditions: Rows<ConditionRow>?
    let generation: String
    let plainYAML: String
    let yaml: Markup
    let statusNote: String
    let statusYAML: Markup
    let events: EventList?

    /// A manifest or status is shown up to this many characters.
    static let textLimit = 60_000

    init(_ resource: Resource, kind: any Kind.Type, events all: [Event], now: Double) {
        var crumbs = [
            Link(kind.plural.prefix(1).uppercased() + kind.plural.dropFirst(), Links.path(["resources", kind.plural]))
        ]
        if let page = Links.subject(kind: kind.name, name: resource.name), !page.hasPrefix("/resources") {
            crumbs.append(Link("Page of \(resource.name)", page))
        }
        head = PageHead(resource.name, in: crumbs, lead: kind.summary)
        facts =
            [
                Fact("Kind", kind.name), Fact("Project", resource.project),
                Fact("Generation", "\(resource.generation)"),
                Fact("First applied", Moment(resource.created_at.seconds).full),
                Fact("Last changed", Moment(resource.updated_at.seconds).full),
            ] + resource.labels.map { Fact($0.key, $0.value, code: true) }
        conditions = Rows(
            resource.conditions.map { one in
                ConditionRow(
                    name: one.name, status: ConditionLook.badge(one.truth, of: one.name), message: one.message,
                    reason: one.reason)
            })
        generation = "\(resource.generation)"
        plainYAML = Format.clipped(resource.manifest.yaml, Self.textLimit)
        yaml = YAMLMarkup.coloured(plainYAML)
        statusNote = resource.status == nil ? "nothing told yet" : ""
        statusYAML = YAMLMarkup.coloured(
            resource.status.map { Format.clipped($0.yaml, Self.textLimit) } ?? "# nothing yet\n")
        events =
            all.isEmpty
            ? nil
            : EventList(
                allHref: Links.path(["events"], ["subject": resource.name]), rows: all.map { EventRow($0, now: now) })
    }
}

/// Colours YAML by the line: keys and comments.
enum YAMLMarkup {
    static func coloured(_ text: String) -> Markup {
        Markup(text.split(separator: "\n", omittingEmptySubsequences: false).map(line).joined(separator: "\n"))
    }

    private static func line(_ line: Substring) -> String {
        let start = line.firstIndex { $0 != " " && $0 != "-" } ?? line.endIndex
        if line[start...].first == "#" { return "<span class=\"c\">\(escaped(line))</span>" }
        guard let colon = line[start...].firstIndex(of: ":"), line[start] != "\"", line[start] != "{",
            line.index(after: colon) == line.endIndex || line[line.index(after: colon)] == " ",
            !line[start..<colon].contains(" ")
        else { return escaped(line) }
        let key = "<span class=\"k\">\(escaped(line[start..<colon]))</span>"
        return escaped(line[..<start]) + key + escaped(line[colon...])
    }
}

/// A page that says what went wrong and what to do.
struct ProblemPage: PageBody {
    static let template = "problem"
    static let section = Section.overview
    static let title = "Problem"

    let title: String
    let message: String
    let detail: String?
    let hint: String?
    let back: String
    let backText: String

    init(_ problem: Problem, back: String = "/") {
        title =
            switch problem.status {
            case 404: "Not found"
            case 401, 403: "Not allowed"
            case 409: "Not possible now"
            case 503: "Not ready yet"
            default: "That did not work"
            }
        message = problem.message.prefix(1).uppercased() + problem.message.dropFirst() + "."
        (detail, hint) = (problem.detail, problem.hint)
        self.back = back
        backText = back == "/" ? "To the overview" : "Back"
    }
}
