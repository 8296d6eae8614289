import API
import Kernel
import Manifests
import Testing

@testable import Pipelines

@Suite struct GateDecisionTests {
    static let now = Self.time("2026-03-04T12:00:00Z")

    static func time(_ text: String) -> Timestamp { Timestamp(text) ?? .zero }

    static func spec(_ yaml: String) throws -> EnvironmentSpec { try EnvironmentSpec(yaml: yaml) }

    static func run(
        ref: String? = "refs/heads/main", actor: String = "token:bob", edit: (inout Trigger) -> Void = { _ in }
    )
        -> Run
    {
        var run = Run()
        (run.trigger.ref, run.trigger.actor) = (ref, actor)
        edit(&run.trigger)
        return run
    }

    /// A job that came to the gate an hour ago and was asked approval for half an hour ago.
    static func known(
        _ yaml: String, approved: [String] = [], checks: [GateCheck.Status?] = [],
        edit: (inout GateCase) -> Void = { _ in }
    ) throws -> GateCase {
        var known = GateCase(environment: "production", spec: try spec(yaml))
        let expires = known.spec?.approval_gates.approvals?.expires
        known.gate = StoredGate(
            key: JobKey(run: "r", stage: "s", job: "j"), project: "default", pipeline: "p", number: 1,
            environment: "production", digest: "d", beganAt: now.advanced(by: .seconds(-3600)),
            askedAt: now.advanced(by: .seconds(-1800)),
            expiresAt: expires.map { now.advanced(by: .seconds(-1800) + $0.duration) })
        known.approvals = approved.map { name in
            var said = Approval()
            said.by = name
            return said
        }
        for (position, status) in checks.enumerated() {
            guard let status else { continue }
            var told = GateCheck()
            (told.position, told.status, told.message) = (position, status, "because")
            known.checks.append(told)
        }
        edit(&known)
        return known
    }

    struct Row: Sendable {
        var what: String
        var yaml: String
        var ref: String? = "refs/heads/main"
        var isTrusted = true
        var labels: [String] = []
        var approved: [String] = []
        var checks: [GateCheck.Status?] = []
        var isRollback = false
        var expected: GateAnswer
    }

    static let freeze = """
        freeze:
          - { name: release-week, from: 2026-03-02T00:00:00Z, to: 2026-03-06T00:00:00Z, allow: [rollback, "label:hotfix"] }
        """
    static let frozen = GateAnswer.wait(
        reason: "environment \"production\" is frozen by \"release-week\" until 2026-03-06T00:00:00Z",
        until: time("2026-03-06T00:00:00Z"))
    static let hook = "approval_gates: { checks: [{ webhook: \"https://itsm.local/change\" }] }"
    static let two = "approval_gates: { approvals: { min: 2, from: [\"team:sre\", \"user:ana\"], expires: 24h } }"
    static let expiry = time("2026-03-05T11:30:00Z")

    static let table: [Row] = [
        Row(what: "an environment without gates", yaml: "{}", expected: .open),
        Row(what: "an untrusted run in an open environment", yaml: "{}", isTrusted: false, expected: .open),
        Row(
            what: "an untrusted run in a protected environment", yaml: "branches: [main]", isTrusted: false,
            expected: .refuse(reason: "environment \"production\" is protected, and this run's code is not trusted")),
        Row(
            what: "an untrusted run in production", yaml: "tier: production", isTrusted: false,
            expected: .refuse(reason: "environment \"production\" is protected, and this run's code is not trusted")),
        Row(
            what: "an untrusted run where secrets are", yaml: "secrets: { A: A }", isTrusted: false,
            expected: .refuse(reason: "environment \"production\" is protected, and this run's code is not trusted")),
        Row(what: "a branch that may", yaml: "branches: [main]", expected: .open),
        Row(
            what: "a branch that may not", yaml: "branches: [main, \"release/*\"]", ref: "refs/heads/feature/x",
            expected: .refuse(reason: "environment \"production\" takes only runs of main, release/*, not of feature/x")
        ),
        Row(
            what: "a branch whose name only begins so", yaml: "branches: [main]", ref: "refs/heads/mainline",
            expected: .refuse(reason: "environment \"production\" takes only runs of main, not of mainline")),
        Row(
            what: "a tag called like a branch", yaml: "branches: [main]", ref: "refs/tags/main",
            expected: .refuse(reason: "environment \"production\" takes only runs of main, not of refs/tags/main")),
        Row(what: "a wildcard", yaml: "branches: [\"release/*\"]", ref: "refs/heads/release/1.2", expected: .open),
        Row(
            what: "a wildcard that ends at a slash", yaml: "branches: [\"release/*\"]", ref: "refs/heads/release/1/x",
            expected: .refuse(reason: "environment \"production\" takes only runs of release/*, not of release/1/x")),
        Row(
            what: "a tag by its whole ref", yaml: "branches: [\"refs/tags/v*\"]", ref: "refs/tags/v1.2", expected: .open
        ),
        Row(
            what: "a run of no branch", yaml: "branches: [main]", ref: nil,
            expected: .refuse(reason: "environment \"production\" takes only runs of main; this one is of no branch")),
        Row(what: "a freeze", yaml: freeze, expected: frozen),
        Row(what: "a freeze and a label that it lets pass", yaml: freeze, labels: ["hotfix"], expected: .open),
        Row(what: "a freeze and another label", yaml: freeze, labels: ["label:hotfix", "urgent"], expected: frozen),
        Row(what: "a freeze and a rollback", yaml: freeze, isRollback: true, expected: .open),
        Row(
            what: "a refusal comes before a freeze", yaml: freeze + "\nbranches: [main]", ref: "refs/heads/x",
            expected: .refuse(reason: "environment \"production\" takes only runs of main, not of x")),
        Row(
            what: "a freeze comes before all other gates",
            yaml: freeze + "\napproval_gates: { wait: 5h, approvals: { min: 1 } }", expected: frozen),
        Row(
            what: "a wait that is not over", yaml: "approval_gates: { wait: 90m, approvals: { min: 1 } }",
            expected: .wait(
                reason: "environment \"production\" lets it in at 2026-03-04T12:30:00Z, after 1h30m",
                until: time("2026-03-04T12:30:00Z"))),
        Row(what: "a wait that is over", yaml: "approval_gates: { wait: 1h }", expected: .open),
        Row(
            what: "a check that was not begun", yaml: hook, checks: [nil],
            expected: .wait(reason: "waits for the answer of webhook https://itsm.local/change", until: nil)),
        Row(
            what: "a check without an answer", yaml: hook, checks: [.waiting],
            expected: .wait(reason: "waits for the answer of webhook https://itsm.local/change: because", until: nil)),
        Row(what: "a check that has passed", yaml: hook, checks: [.passed], expected: .open),
        Row(
            what: "a check that has failed", yaml: hook, checks: [.failed],
            expected: .refuse(reason: "webhook https://itsm.local/change has said no: because")),
        Row(
            what: "the second of two checks",
            yaml: "approval_gates: { checks: [{ webhook: \"https://a\" }, { webhook: \"https://b\" }], approvals: {} }",
            approved: ["ana"], checks: [.passed, .waiting],
            expected: .wait(reason: "waits for the answer of webhook https://b: because", until: nil)),
        Row(
            what: "nobody has approved", yaml: two,
            expected: .wait(
                reason:
                    "environment \"production\" has 0 of 2 approvals; it waits for more from team:sre, user:ana until 2026-03-05T11:30:00Z",
                until: expiry)),
        Row(
            what: "one has approved", yaml: two, approved: ["ana"],
            expected: .wait(
                reason:
                    "environment \"production\" has 1 of 2 approvals (ana); it waits for more from team:sre, user:ana until 2026-03-05T11:30:00Z",
                until: expiry)),
        Row(
            what: "one has approved twice", yaml: two, approved: ["ana", "ana"],
            expected: .wait(
                reason:
                    "environment \"production\" has 1 of 2 approvals (ana); it waits for more from team:sre, user:ana until 2026-03-05T11:30:00Z",
                until: expiry)),
        Row(what: "two have approved", yaml: two, approved: ["ana", "cleo"], expected: .open),
        Row(
            what: "the time is over", yaml: "approval_gates: { approvals: { min: 2, expires: 30m } }",
            approved: ["ana"],
            expected: .refuse(
                reason:
                    "approval for environment \"production\" expired at 2026-03-04T12:00:00Z: it had 1 of 2 approvals (ana)"
            )),
        Row(
            what: "the time is over, but all have approved",
            yaml: "approval_gates: { approvals: { min: 1, expires: 30m } }", approved: ["ana"], expected: .open),
    ]

    @Test(arguments: table.indices)
    func `says what each gate says, in words`(row: Int) throws {
        let row = Self.table[row]
        let known = try Self.known(row.yaml, approved: row.approved, checks: row.checks) {
            $0.isRollback = row.isRollback
        }
        let run = Self.run(ref: row.ref) { ($0.is_trusted, $0.labels) = (row.isTrusted, row.labels) }
        #expect(GateDecision.decide(known, run, at: Self.now).answer == row.expected, "\(row.what)")
    }

    @Test func `an environment that is not declared lets nobody in`() {
        let known = GateCase(environment: "nowhere")
        #expect(
            GateDecision.decide(known, Self.run(), at: Self.now).answer
                == .refuse(reason: "there is no environment \"nowhere\" in project \"default\""))
    }

    @Test func `what was said of something else does not count`() throws {
        let known = try Self.known("approval_gates: { approvals: { min: 1 } }", approved: ["ana"]) {
            $0.approvals[0].is_void = true
        }
        #expect(GateDecision.decide(known, Self.run(), at: Self.now).phase == .approvals)
    }

    @Test func `a job that has not come to the gate waits, however open it is`() throws {
        var state = try RunDecisionTests.state([("deploy", .queued)])
        var spec = state.stored.spec
        spec.stages[0].environment = "production"
        state.stored = try StoredRun(run: state.stored.run, spec: spec)
        state.gates.cases["deploy/deploy"] = GateCase(environment: "production", spec: EnvironmentSpec())
        #expect(
            RunDecision.decide(state, at: RunDecisionTests.now).actions
                == [.wait("deploy/deploy", .gate, reason: "comes to the gate of environment \"production\"")])
    }

    @Test func `time at gates is counted once, however many jobs stand there`() throws {
        var facts = GateFacts()
        for (job, from, to) in [("a", 0, 100), ("b", 50, 150), ("c", 60, 70), ("d", 200, nil)] as [(String, Int, Int?)]
        {
            facts.cases[job] = try Self.known("{}") { known in
                known.gate?.beganAt = Self.now.advanced(by: .seconds(from))
                known.gate?.endedAt = to.map { Self.now.advanced(by: .seconds($0)) }
            }
        }
        #expect(facts.waited(at: Self.now.advanced(by: .seconds(230))) == .seconds(150 + 30))
        #expect(GateFacts().waited(at: Self.now) == .zero)
    }

    // Friday 18:00 in Berlin, for 62 hours: until Monday 08:00. In winter Berlin is an hour ahead of UTC, in summer two.
    static let weekends: [(moment: String, end: String?)] = [
        ("2026-03-06T16:59:59Z", nil),
        ("2026-03-06T17:00:00Z", "2026-03-09T07:00:00Z"),
        ("2026-03-09T06:59:59Z", "2026-03-09T07:00:00Z"),
        ("2026-03-09T07:00:00Z", nil),
        // The clocks went forward on Sunday 2026-03-29: 62 hours are 62 hours.
        ("2026-03-27T17:00:00Z", "2026-03-30T07:00:00Z"),
        ("2026-04-03T15:59:59Z", nil),
        ("2026-04-03T16:00:00Z", "2026-04-06T06:00:00Z"),
    ]

    @Test(arguments: weekends.indices)
    func `a freeze that comes again goes by the clocks of its time zone`(row: Int) throws {
        let spec = try Self.spec("freeze: [{ name: weekends, cron: \"0 18 * * 5\", for: 62h, tz: Europe/Berlin }]")
        let (moment, end) = Self.weekends[row]
        #expect(Freezes.end(of: spec.freeze[0], at: Self.time(moment)) == end.map(Self.time))
    }

    static let people: [(person: String, actor: String, author: String?, isAuthor: Bool)] = [
        ("ana", "token:ana", nil, true), ("ana", "user:ana", nil, true), ("ana", "token:bob", nil, false),
        ("ana", "git:Ana <ana@example.com>", nil, true), ("ana", "git:Someone <ana@example.com>", nil, true),
        ("ana", "git:Someone <a.lopez@example.com>", nil, true),
        ("ana", "git:Someone <A.Lopez@Example.com>", nil, true),
        ("ana", "git:Someone <bob@example.com>", nil, false), ("ana", "token:bob", "Ana <x@example.com>", true),
        ("ana-lopez", "token:bob", "Ana Lopez <x@example.com>", true), ("ana", "system:pipelines", nil, false),
        ("ana", "token:bob", "Anabel <anabel@example.com>", false),
    ]

    @Test(arguments: people.indices)
    func `knows an author by token, name and e-mail`(row: Int) throws {
        let (person, actor, author, isAuthor) = Self.people[row]
        let team = try TeamSpec(yaml: "members: [bob, { user: ana, emails: [a.lopez@example.com] }]")
        #expect(
            People(teams: ["sre": team]).isAuthor(person, of: Self.run(actor: actor), author: author) == isAuthor)
    }

    @Test func `knows who pushed, and a webhook's author`() {
        let run = Self.run(actor: "git:Bob <bob@example.com>") {
            $0.event = ["pusher": "ana", "author": "Cleo <cleo@example.com>"]
        }
        let people = People(teams: [:])
        #expect(["ana", "bob", "cleo"].allSatisfy { people.isAuthor($0, of: run, author: nil) })
        #expect(!people.isAuthor("dan", of: run, author: nil))
    }

    static let asked: [(from: [String], person: String, isAsked: Bool)] = [
        ([], "anyone", true), (["user:ana"], "ana", true), (["user:ana"], "bob", false),
        (["team:sre"], "bob", true), (["team:sre"], "cleo", false), (["team:none"], "bob", false),
        (["user:cleo", "team:sre"], "cleo", true),
    ]

    @Test(arguments: asked.indices)
    func `knows whom an environment asks`(row: Int) throws {
        let (from, person, isAsked) = Self.asked[row]
        let people = People(teams: ["sre": try TeamSpec(yaml: "members: [bob]")])
        #expect(people.isNamed(person, in: from) == isAsked)
    }

    static let invalid: [(yaml: String, message: String)] = [
        ("approval_gates: { checks: [{ slo: a/b }] }", "\"a/b\" cannot be the name of an Slo"),
        ("approval_gates: { checks: [{ query: up, min_budget: 20% }] }", "only an slo has a min_budget"),
        ("approval_gates: { checks: [{ webhook: itsm }] }", "\"itsm\" is not a URL that can be asked"),
        ("approval_gates: { checks: [{ timeout: 1m }] }", "a check says nothing of what it does"),
        ("approval_gates: { approvals: { from: [ana] } }", "\"ana\" names nobody"),
        ("approval_gates: { approvals: { min: 2, from: [\"user:ana\"] } }", "2 people must say yes, and only 1 may"),
        ("approval_gates: { approvals: { min: 0 } }", "0 is out of range for \"min\""),
        ("freeze: [{ name: x }]", "freeze \"x\" says not clearly when it is"),
        (
            "freeze: [{ name: x, from: 2026-01-02T00:00:00Z, to: 2026-01-01T00:00:00Z }]",
            "freeze \"x\" ends before it begins"
        ),
        (
            "freeze: [{ name: x, cron: \"0 0 * * *\", for: 1h, allow: [all] }]",
            "\"all\" is nothing that a freeze can let pass"
        ),
        ("secrets: { \"a b\": A }", "\"a b\" cannot be the name of a job's secret"),
        ("secrets: { A: \"vault:\" }", "\"vault:\" names no secret"),
        ("targets: [{ podman: x, namespace: y }]", "only a kubernetes target has a namespace"),
        ("targets: [{ kubernetes: a, podman: b }]", "a target has both \"kubernetes\" and \"podman\""),
        ("branches: [\"/main\"]", "\"/main\" is no branch"),
    ]

    @Test(arguments: invalid.indices)
    func `an environment that cannot be meant is refused`(row: Int) throws {
        let (yaml, message) = Self.invalid[row]
        let error = #expect(throws: ManifestError.self) { try Self.spec(yaml) }
        #expect(error?.message == message)
    }

    @Test(arguments: ["61 * * * *", "* * * *"])
    func `a freeze whose cron cannot be read is refused when it is applied`(cron: String) throws {
        let spec = try Self.spec("freeze: [{ name: x, cron: \"\(cron)\", for: 1h }]")
        let error = #expect(throws: ManifestError.self) { try GateAdmission.check(spec) }
        #expect(error?.at == ["freeze", "0", "cron"])
    }
}
