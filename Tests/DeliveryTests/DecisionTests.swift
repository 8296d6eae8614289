import API
import Kernel
import Manifests
import Testing

@testable import Delivery

let ruleZero = Timestamp(microseconds: 1_000_000_000_000)
func second(_ seconds: Double) -> Timestamp { ruleZero.advanced(by: .milliseconds(Int64(seconds * 1000))) }
let ruleName = ServiceReference(project: "default", name: "web")

/// Copies of a revision: so many well, so many not.
func revision(_ number: Int, ready: Int, ill: Int = 0, retired: Double? = nil) -> RolloutView.Revision {
    var revision = RolloutView.Revision(revision: number)
    for index in 0..<(ready + ill) {
        var copy = CopyRow(ruleName, revision: number, number: index + 1, at: ruleZero)
        copy.state = .running
        copy.isReady = index < ready
        copy.unreadyAt = copy.isReady ? nil : ruleZero
        revision.copies.append(copy)
    }
    revision.retiredAt = retired.map(second)
    return revision
}

func ruleSettings(_ yaml: String) throws -> RolloutSpec {
    try RolloutSpec(json: YAML.documents(yaml)[0].value, at: [])
}

/// A rollout of revision 2 over revision 1, both as they are when nothing has happened yet.
func ruleView(
    _ yaml: String =
        "{ strategy: canary, steps: [{ weight: 20 }, { analyze: [errors] }, { pause: { for: 60s } }], analysis: { errors: { built_in: error_rate } } }",
    replicas: Int = 2, step: Int = 0, weight: Int = 0, new: RolloutView.Revision? = nil,
    old: RolloutView.Revision? = revision(1, ready: 2),
    change: (inout RolloutView, inout RolloutRow) -> Void = { _, _ in }
) throws -> RolloutView {
    var view = RolloutView()
    view.replicas = replicas
    view.stable = 1
    var rollout = RolloutRow(ruleName, number: 2, revision: 2, settings: try ruleSettings(yaml), at: ruleZero)
    (rollout.origin, rollout.step, rollout.weight) = (1, step, weight)
    let fresh = new ?? revision(2, ready: 0)
    rollout.shortAt = fresh.ready == 0 ? ruleZero : nil
    view.revisions = [old, fresh].compactMap { $0 }
    change(&view, &rollout)
    view.rollout = rollout
    return view
}

func analysis(_ verdict: AnalysisStatus.Verdict, step: Int) -> AnalysisRecord {
    var record = AnalysisRecord()
    (record.name, record.step, record.verdict, record.message) = ("errors", step, verdict, "it is so")
    return record
}

@Suite struct DecisionTests {
    private func check(
        _ view: RolloutView, at time: Double = 1, _ expected: [RolloutStep], _ line: SourceLocation = #_sourceLocation
    ) {
        #expect(RolloutDecision.decide(view, now: second(time)) == expected, sourceLocation: line)
    }

    @Test func `a canary orders the copies that its weight needs`() throws {
        check(try ruleView(), [.start(revision: 2, count: 1)])
        check(try ruleView(replicas: 10, old: revision(1, ready: 10)), [.start(revision: 2, count: 2)])
        check(try ruleView(replicas: 10, new: revision(2, ready: 0, ill: 2), old: revision(1, ready: 10)), [])
    }

    @Test func `a weight comes after the copies, and the next step after the proxies`() throws {
        check(try ruleView(new: revision(2, ready: 1)), [.weight(20)])
        check(try ruleView(weight: 20, new: revision(2, ready: 1)) { view, _ in view.acknowledgement = .waiting }, [])
        check(try ruleView(weight: 20, new: revision(2, ready: 1)) { view, _ in view.acknowledgement = .away }, [])
        check(try ruleView(weight: 20, new: revision(2, ready: 1)), [.next])
    }

    @Test func `an analysis is begun, waited for, and heeded`() throws {
        let well = revision(2, ready: 1)
        func at(_ verdict: AnalysisStatus.Verdict?, automatic: Bool = true) throws -> RolloutView {
            try ruleView(step: 1, weight: 20, new: well) { view, _ in
                view.analyses = verdict.map { [analysis($0, step: 1)] } ?? []
                view.rollback.automatic = automatic
            }
        }
        check(try at(nil), [.measure(["errors"], step: 1)])
        check(try at(.running), [])
        check(try at(.passed), [.next])
        check(try at(.failed), [.abort(reason: "errors failed: it is so")])
        check(try at(.failed, automatic: false), [.pause(.failed, reason: "errors failed: it is so")])
        check(try at(.inconclusive), [.pause(.inconclusive, reason: "errors is inconclusive: it is so")])
    }

    @Test func `a background analysis begins with the first traffic and aborts at any step`() throws {
        let yaml =
            "{ strategy: canary, steps: [{ weight: 20 }, { pause: {} }], background: [errors], analysis: { errors: { built_in: error_rate } } }"
        let well = revision(2, ready: 1)
        check(try ruleView(yaml, new: well), [.weight(20)])
        check(try ruleView(yaml, weight: 20, new: well), [.measure(["errors"], step: -1)])
        check(
            try ruleView(yaml, step: 1, weight: 20, new: well) { view, _ in
                view.analyses = [analysis(.running, step: -1)]
            },
            [])
        check(
            try ruleView(yaml, step: 1, weight: 20, new: well) { view, _ in
                view.analyses = [analysis(.failed, step: -1)]
            },
            [.abort(reason: "errors failed: it is so")])
        check(
            try ruleView(yaml, step: 1, weight: 20, new: well) { view, _ in
                view.analyses = [analysis(.inconclusive, step: -1)]
            }, [.pause(.inconclusive, reason: "errors is inconclusive: it is so")])
    }

    @Test func `a pause ends with its time, and one without with a person`() throws {
        let well = revision(2, ready: 1)
        let timed = try ruleView(step: 2, weight: 20, new: well)
        check(timed, at: 59, [])
        check(timed, at: 60, [.next])
        #expect(RolloutDecision.nextLook(timed, now: second(1)) == second(60))
        check(try ruleView("{ strategy: canary, steps: [{ pause: {} }] }", new: well), at: 9999, [])
    }

    @Test func `what waits for a person does nothing else`() throws {
        let paused = try ruleView(step: 2, weight: 20, new: revision(2, ready: 1)) { _, rollout in rollout.pause = "why"
        }
        check(paused, at: 100, [])
        #expect(
            RolloutWords.tell(paused, now: ruleZero) == (
                .paused, "Revision 2 waits for a decision with 20 % of the traffic: why."
            ))
    }

    @Test func `after the last step come all copies, all traffic, and the promotion`() throws {
        check(try ruleView(step: 3, weight: 20, new: revision(2, ready: 1)), [.note(isShort: true)])
        let short = try ruleView(step: 3, weight: 20, new: revision(2, ready: 1)) { _, rollout in
            rollout.shortAt = ruleZero
        }
        check(short, [.start(revision: 2, count: 1)])
        check(try ruleView(step: 3, weight: 20, new: revision(2, ready: 2)), [.weight(100)])
        check(try ruleView(step: 3, weight: 100, new: revision(2, ready: 2)), [.promote])
        check(
            try ruleView(step: 3, weight: 100, new: revision(2, ready: 2)) { view, _ in view.acknowledgement = .waiting
            },
            [])
    }

    @Test(arguments: [("canary", 0), ("rolling", 0), ("recreate", 0), ("blue_green", 0)])
    func `no copy is well at the deadline: abort, whatever the strategy`(strategy: String, step: Int) throws {
        let late = try ruleView("{ strategy: \(strategy) }", step: step, new: revision(2, ready: 0, ill: 1))
        let abort = RolloutStep.abort(
            reason: "0 of 2 copies of revision 2 were well after 10m "
                + "(what they printed: vagus logs search '{service=\"web\", revision=\"2\"}')")
        check(
            late, at: 599,
            strategy == "rolling"
                ? []
                : strategy == "recreate"
                    ? RolloutDecision.decide(late, now: second(599)) : [.start(revision: 2, count: 1)])
        check(late, at: 600, [abort])
    }

    @Test(
        arguments: [
            (nil, nil, 0, nil), ("answered", nil, 0, "answered"), (nil, "ended", 1, "ended"),
            ("answered", "ended", 1, "answered"), ("answered", "ended", 2, "ended"),
        ] as [(String?, String?, Int, String?)])
    func `why copies are not well is what they answer, or how they keep ending`(
        answer: String?, problem: String?, crashes: Int, trouble: String?
    ) {
        var ill = revision(2, ready: 0, ill: 1)
        ill.copies[0].reason = answer
        (ill.problem, ill.crashes) = (problem, crashes)
        #expect(ill.trouble == trouble)
    }

    @Test func `rolling adds one, shifts, takes one away`() throws {
        let yaml = "{ strategy: rolling }"
        func at(_ old: Int, _ new: Int, weight: Int, _ ack: Acknowledgement = .yes) throws -> RolloutView {
            try ruleView(yaml, replicas: 3, weight: weight, new: revision(2, ready: new), old: revision(1, ready: old))
            {
                view, rollout in
                rollout.shortAt = ruleZero
                view.acknowledgement = ack
            }
        }
        check(try at(3, 0, weight: 0), [.start(revision: 2, count: 1)])
        check(try at(3, 1, weight: 0), [.weight(25)])
        // Four copies is the most, a quarter more than three rounded up: the next one waits for an old one to go.
        check(try at(3, 1, weight: 25, .waiting), [])
        check(
            try at(3, 1, weight: 25),
            [.stop(InstanceID("default/web/1/3"), reason: "fewer copies are wanted", isFault: false)])
        check(try at(2, 2, weight: 33), [.weight(50)])
        check(try at(1, 2, weight: 67), [.start(revision: 2, count: 1)])
        let whole = try ruleView(yaml, replicas: 3, weight: 75, new: revision(2, ready: 3), old: revision(1, ready: 1))
        check(whole, [.weight(100)])
    }

    @Test func `recreate stops all old copies before it starts one`() throws {
        let yaml = "{ strategy: recreate }"
        check(
            try ruleView(yaml),
            [1, 2].reversed().map {
                .stop(InstanceID("default/web/1/\($0)"), reason: "revision 1 has no traffic any more", isFault: false)
            })
        let stopping = try ruleView(yaml) { view, _ in
            for index in view.revisions[0].copies.indices { view.revisions[0].copies[index].state = .stopping }
        }
        check(stopping, [])
        check(try ruleView(yaml, old: revision(1, ready: 0)), [.start(revision: 2, count: 2)])
    }

    @Test func `blue green needs all copies before the preview is done`() throws {
        let yaml = "{ strategy: blue_green, auto_promote: false }"
        check(try ruleView(yaml), [.start(revision: 2, count: 2)])
        check(try ruleView(yaml, new: revision(2, ready: 2)), [.next])
        check(try ruleView(yaml, step: 1, new: revision(2, ready: 2)), [])
        check(try ruleView(yaml, step: 2, new: revision(2, ready: 2)), [.weight(100)])
    }

    @Test func `old copies stay for the delay, and none is replaced`() throws {
        var view = RolloutView()
        (view.replicas, view.stable) = (1, 2)
        view.revisions = [revision(1, ready: 1, retired: 0), revision(2, ready: 1)]
        check(view, at: 29, [])
        check(
            view, at: 30,
            [.stop(InstanceID("default/web/1/1"), reason: "revision 1 has no traffic any more", isFault: false)])
        #expect(RolloutDecision.nextLook(view, now: second(1)) == second(30))
    }

    @Test(arguments: [(1, 1.0), (2, 2), (3, 4), (6, 32), (7, 60), (50, 60)])
    func `a copy that keeps ending is started later and later`(crashes: Int, wait: Double) throws {
        var view = RolloutView()
        view.stable = 1
        view.revisions = [RolloutView.Revision(revision: 1, crashes: crashes, crashedAt: ruleZero)]
        check(view, at: wait - 0.001, [])
        check(view, at: wait, [.start(revision: 1, count: 1)])
    }

    @Test func `a copy that is not well for the whole deadline is replaced`() throws {
        var view = RolloutView()
        view.stable = 1
        view.revisions = [revision(1, ready: 0, ill: 1)]
        check(view, at: 599, [])
        check(view, at: 600, [.stop(InstanceID("default/web/1/1"), reason: "it was not well for 10m", isFault: true)])
    }

    @Test func `recovery is noted when the proxies have it and the stable revision is well`() throws {
        var view = RolloutView()
        (view.stable, view.unrecovered) = (1, [2])
        view.revisions = [revision(1, ready: 1)]
        check(view, [.recovered])
        view.acknowledgement = .waiting
        check(view, [])
        view.acknowledgement = .yes
        view.revisions = [revision(1, ready: 0, ill: 1)]
        check(view, [])
    }

    @Test(arguments: [
        (10, 0, 1), (10, 1, 1), (10, 10, 1), (10, 11, 2), (10, 50, 5), (10, 100, 10), (1, 50, 1), (0, 50, 0),
    ])
    func `copies follow the weight`(replicas: Int, weight: Int, copies: Int) {
        #expect(RolloutDecision.copies(for: weight, of: replicas) == copies)
    }
}
