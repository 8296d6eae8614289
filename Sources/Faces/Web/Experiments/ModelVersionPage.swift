import API
import Kernel
import Manifests

/// One version: whether it is sound, what people have said, how it differs from another, what is on record.
struct ModelVersionPage: PageBody {
    static let template = "modelversion"
    static let section = Section.models

    struct Line: Sendable {
        let text: String
        /// "add", "gone" or nothing.
        let mark: String
    }
    struct Difference: Sendable {
        let title: String
        let verdict: Badge
        let breaks: Rows<Line>?
        let facts: Rows<Line>?
        let files: Rows<Line>?
        let others: [Link]
    }
    struct File: Sendable {
        let path: String
        let size: String
        let digest: String
    }
    struct Files: Sendable {
        let note: String
        let rows: [File]
        let more: String?
    }

    let head: PageHead
    let facts: [Fact]
    let requests: [RequestCard]
    let asks: Listing<Action>?
    let difference: Difference?
    let files: Files?
    let card: Markup

    /// Files listed one by one.
    static let fileLimit = 100
    /// Other versions offered to compare with.
    static let otherLimit = 12

    init(
        _ evidence: ModelEvidence, _ resource: Resource, versions: [ModelVersion], difference: ModelDifference?,
        viewer: GateCard.Viewer, csrf: String, now: Double
    ) {
        let one = evidence.version
        let waits = evidence.requests.filter { $0.status == .waiting }
        head = PageHead(
            "v\(one.version)" + (one.label.map { " · \($0)" } ?? ""),
            in: [Link("Models", "/models"), Link(one.model, Links.model(one.model))],
            status: evidence.requests.first.map(RequestCard.badge),
            lead: one.aliases.isEmpty ? one.description : "Aliases: " + one.aliases.joined(separator: ", "),
            actions: viewer.mayRun ? [Self.verify(one, csrf)] : [])
        facts = Self.facts(evidence, now: now)
        requests = evidence.requests.prefix(10).map { RequestCard($0, for: viewer, csrf: csrf, now: now) }
        let stages = (resource.spec["stages"]?.array ?? []).compactMap { $0["name"]?.string }
        asks = Listing(
            !viewer.mayRun
                ? []
                : stages.filter { stage in !waits.contains { $0.stage == stage } }.map {
                    Self.ask(one, stage: $0, csrf)
                })
        self.difference = difference.map { Self.difference($0, versions) }
        files = evidence.files.isEmpty ? nil : Self.files(evidence)
        // Its title is the page's own.
        card = Markdown.html(
            evidence.card.split(separator: "\n", omittingEmptySubsequences: false).dropFirst().joined(separator: "\n"))
    }

    private static func facts(_ evidence: ModelEvidence, now: Double) -> [Fact] {
        let one = evidence.version
        var facts = [
            Fact("Format", one.format), Fact("Size", Format.bytes(Int(one.size_bytes))),
            Fact("Registered", Format.ago(now - one.created_at.seconds)),
        ]
        if let by = one.created_by { facts.append(Fact("By", RunWords.person(by))) }
        if !one.authors.isEmpty {
            facts.append(Fact("Made by", one.authors.map(RunWords.person).joined(separator: ", ")))
        }
        if let stage = one.stage { facts.append(Fact("Stage", stage)) }
        facts.append(Fact("Signature", one.signed_with == nil ? "not signed" : "signed when registered"))
        facts.append(Fact("Bill of materials", evidence.bom == nil ? "none" : "CycloneDX 1.6"))
        if let parent = one.parent {
            let parts = parent.split(separator: "@", maxSplits: 1).map(String.init)
            facts.append(Fact("Parent", parent, href: Links.version(parts[0], parts.last ?? "latest")))
        }
        if let run = one.run {
            facts.append(Fact("Run", Format.clipped(run, 18), href: one.pipeline == nil ? nil : Links.run(run)))
        }
        if !one.digest.isEmpty { facts.append(Fact("Digest", one.digest, code: true)) }
        if let key = one.signed_with { facts.append(Fact("Key", Format.short(key, 16), code: true)) }
        return facts
    }

    private static func files(_ evidence: ModelEvidence) -> Files {
        let more = evidence.files.count - fileLimit
        return Files(
            note: Format.plural(evidence.files.count, "file"),
            rows: evidence.files.prefix(fileLimit).map {
                File(path: $0.path, size: Format.bytes(Int($0.size_bytes)), digest: Format.short($0.digest, 12))
            }, more: more > 0 ? "and \(more) more" : nil)
    }

    private static func difference(_ found: ModelDifference, _ versions: [ModelVersion]) -> Difference {
        let verdict =
            found.is_full
            ? Badge(.ok, "ok", "Compatible both ways")
            : found.is_backward ? Badge(.ok, "ok", "Backward compatible") : Badge(.bad, "failed", "Not compatible")
        func lines(_ texts: [String]) -> Rows<Line>? {
            Rows(
                texts.map { text in
                    Line(text: text, mark: text.hasPrefix("+") ? "add" : text.hasPrefix("-") ? "gone" : "")
                })
        }
        return Difference(
            title: "Since v\(found.from.version)", verdict: verdict, breaks: lines(found.breaks),
            facts: lines(found.lines),
            files: lines(found.files),
            others: versions.filter { $0.version != found.to.version && $0.version != found.from.version }
                .prefix(otherLimit).map {
                    Link(
                        "v\($0.version)", Links.version(found.to.model, "\(found.to.version)", against: "\($0.version)")
                    )
                })
    }

    private static func verify(_ one: ModelVersion, _ csrf: String) -> Action {
        Action(
            id: "verify", label: "Verify", icon: "shield", look: "", isDanger: false,
            target: "/ui/models/\(Links.encoded(one.model))/verify",
            question: "Read every file of v\(one.version) again?",
            consequences: [
                "Each is held against what was registered and signed.",
                "If one has changed, approvals of this version are void.",
            ], confirm: "Verify", csrf: csrf, hidden: [Action.Pair(name: "version", value: "\(one.version)")])
    }

    private static func ask(_ one: ModelVersion, stage: String, _ csrf: String) -> Action {
        Action(
            id: "ask-\(stage)", label: "Ask for \(stage)", icon: "shield", look: "", isDanger: false,
            target: "/ui/models/\(Links.encoded(one.model))/ask",
            question: "Ask people to approve v\(one.version) for \(stage)?",
            consequences: ["Whoever asks does not approve it, unless the stage lets authors."], confirm: "Ask",
            csrf: csrf,
            hidden: [
                Action.Pair(name: "version", value: "\(one.version)"), Action.Pair(name: "stage", value: stage),
            ],
            asks: [
                Action.Question(id: "ask-\(stage)-why", name: "comment", label: "Why", isRequired: false, isLong: true)
            ])
    }
}

extension Visitor {
    func modelVersion(_ model: String, _ word: String) async throws -> WebResponse {
        try await render(title: "\(model) \(word)") {
            let wanted = ModelVersionName(project: project, name: model, version: word)
            var evidence = try await ask(Models.evidence, wanted)
            let number = evidence.version.version
            let versions = try await ask(Models.versions, name(model)).items
            // Which of them are for the viewer is the server's to know.
            var query = ModelRequestQuery()
            (query.project, query.model, query.mine) = (project, model, true)
            let mine = Set(try await find(Models.requests, query)?.items.map(\.id) ?? [])
            for index in evidence.requests.indices {
                evidence.requests[index].mine = mine.contains(evidence.requests[index].id)
            }
            let before = typed("against") ?? versions.first { $0.version < number }.map { "\($0.version)" }
            var difference: ModelDifference?
            if let before {
                var input = ModelComparison()
                (input.project, input.name, input.from, input.to) = (project, model, before, "\(number)")
                difference = try await find(Models.compare, input)
            }
            return ModelVersionPage(
                evidence, try await resource(ModelKind.self, model), versions: versions, difference: difference,
                viewer: GateCard.Viewer(call), csrf: csrf, now: now)
        }
    }

    /// Does what a button of a version says, then leads back to its page.
    func act(onModel model: String, verb: String) async throws -> WebResponse? {
        let version = given("version") ?? "latest"
        var done = verb
        switch verb {
        case "approve", "reject":
            var input = ModelVerdictInput()
            (input.project, input.name, input.version) = (project, model, version)
            (input.stage, input.comment, input.digest) = (given("stage"), given("comment"), given("digest"))
            _ = try await ask(verb == "approve" ? Models.approve : Models.reject, input)
            done = verb == "reject" ? "reject-version" : verb
        case "ask":
            var input = ModelRequestInput()
            (input.project, input.name, input.version) = (project, model, version)
            (input.stage, input.comment) = (given("stage") ?? "", given("comment"))
            _ = try await ask(Models.ask, input)
        case "verify":
            let result = try await ask(
                Models.verify, ModelVersionName(project: project, name: model, version: version))
            guard result.isGood else {
                throw Problem(
                    "model.changed", status: 409,
                    "v\(result.version.version) of \"\(model)\" is not what was registered: \(result.problems.first ?? "")",
                    hint: "Register it anew from its run. It will not be deployed as it is.")
            }
        default: return nil
        }
        return .redirect(Links.path(["models", model, version], ["done": done]))
    }
}
