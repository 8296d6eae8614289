import API
import Kernel
import Manifests
import Testing

@testable import Delivery

/// The rules of docs/reference/rollouts.md, one by one.
@Suite struct RuleTests {
    private func check(
        _ view: RolloutView, at time: Double = 1, _ expected: [RolloutStep], _ line: SourceLocation = #_sourceLocation
    ) {
        #expect(RolloutDecision.decide(view, now: second(time)) == expected, sourceLocation: line)
    }

    private func canary(_ steps: String, more: String = "") -> String {
        "{ strategy: canary, steps: [\(steps)], analysis: { errors: { built_in: error_rate } }\(more) }"
    }

    // MARK: - Steps

    @Test func `a scale step decides the copies, whatever the weight, until another does`() throws {
        let plan = RolloutPlan(
            try ruleSettings(
                canary(
                    "{ scale: { replicas: 3 } }, { weight: 10 }, { scale: { weight: 50 } }, { scale: { match_traffic: true } }, { weight: 90 }"
                )), isDirect: false)
        #expect((0...5).map { plan.scaled(at: $0, of: 5) } == [3, 3, 3, nil, nil, nil])
        let yaml = canary("{ scale: { replicas: 3 } }, { weight: 10 }")
        check(try ruleView(yaml, replicas: 4, old: revision(1, ready: 4)), [.start(revision: 2, count: 3)])
        check(try ruleView(yaml, replicas: 4, new: revision(2, ready: 3), old: revision(1, ready: 4)), [.next])
    }

    @Test func `routes are in force from their step until they are removed, and none at the end`() throws {
        let plan = RolloutPlan(
            try ruleSettings(
                canary(
                    "{ route: { name: staff, header: { X-Staff: \"1\" } } }, { route: { name: beta, cookie: { beta: \"yes\" } } }, { weight: 5 }, { route: { name: staff } }"
                )), isDirect: false)
        #expect(
            (0...4).map { plan.routes(at: $0).map(\.name) } == [
                ["staff"], ["beta", "staff"], ["beta", "staff"], ["beta"], [],
            ])
    }

    @Test func `a mirror with a time ends with its step, one without stays until another step`() throws {
        let plan = RolloutPlan(
            try ruleSettings(
                canary(
                    "{ mirror: { percent: 20, for: 5m } }, { weight: 5 }, { mirror: { percent: 10 } }, { weight: 9 }, { mirror: { percent: 0 } }"
                )), isDirect: false)
        #expect((0...5).map { plan.mirrored(at: $0) } == [20, 0, 10, 10, 0, 0])
        let timed = try ruleView(canary("{ mirror: { percent: 20, for: 60s } }"), new: revision(2, ready: 1))
        check(timed, at: 59, [])
        check(timed, at: 60, [.next])
    }

    @Test func `percentage and duration are a canary in short`() throws {
        let timed = RolloutPlan(try ruleSettings("{ strategy: canary, percentage: 10, duration: 5m }"), isDirect: false)
        #expect(timed.stages == [.weight(10), .pause(.seconds(300))])
        let open = RolloutPlan(try ruleSettings("{ strategy: canary, percentage: 10 }"), isDirect: false)
        #expect(open.stages == [.weight(10), .pause(nil)])
    }

    @Test func `a step needs its copies, and the proxies' word`() throws {
        let yaml = canary("{ route: { name: staff, header: { X-Staff: \"1\" } } }")
        check(try ruleView(yaml), [.start(revision: 2, count: 1)])
        check(try ruleView(yaml, new: revision(2, ready: 1)) { view, _ in view.acknowledgement = .waiting }, [])
        check(try ruleView(yaml, new: revision(2, ready: 1)), [.next])
    }

    // MARK: - Pauses and deadlines

    @Test func `the deadline does not run while it is paused`() throws {
        let ill = revision(2, ready: 0, ill: 1)
        let step = try ruleView(canary("{ pause: {} }"), new: ill)
        #expect(
            !RolloutDecision.decide(step, now: second(9999)).contains { if case .abort = $0 { true } else { false } })
        let held = try ruleView(canary("{ weight: 50 }"), new: ill) { _, rollout in
            (rollout.pause, rollout.pauseKind) = ("why", .held)
        }
        #expect(
            !RolloutDecision.decide(held, now: second(9999)).contains { if case .abort = $0 { true } else { false } })
    }

    @Test func `a failed judgement aborts even what a person holds`() throws {
        let held = try ruleView(canary("{ analyze: [errors] }"), weight: 20, new: revision(2, ready: 1)) {
            view, rollout in
            (rollout.pause, rollout.pauseKind) = ("why", .held)
            view.analyses = [analysis(.failed, step: 0)]
        }
        check(held, [.abort(reason: "errors failed: it is so")])
    }

    @Test func `an error of the source aborts, a dry run does not`() throws {
        func at(_ verdict: AnalysisStatus.Verdict, dry: Bool) throws -> RolloutView {
            try ruleView(canary("{ analyze: [errors] }"), weight: 20, new: revision(2, ready: 1)) { view, _ in
                var record = analysis(verdict, step: 0)
                record.spec.dry_run = dry
                view.analyses = [record]
            }
        }
        check(try at(.error, dry: false), [.abort(reason: "errors could not be measured: it is so")])
        check(try at(.failed, dry: true), [.next])
    }

    @Test func `what a person went on from pauses no more`() throws {
        let view = try ruleView(canary("{ pause: { for: 60s } }"), weight: 20, new: revision(2, ready: 1)) { view, _ in
            var record = analysis(.inconclusive, step: -1)
            record.isHeeded = true
            view.analyses = [record]
        }
        check(view, [])
    }

    // MARK: - Blue-green

    @Test func `blue green is preview, checks, wait, switch, checks, in this order`() throws {
        let spec = try ruleSettings(
            "{ strategy: blue_green, before_promotion: [a], after_promotion: [b], auto_promote_after: 30s, analysis: { a: { built_in: error_rate }, b: { built_in: error_rate } } }"
        )
        #expect(
            RolloutPlan(spec, isDirect: false).stages == [
                .preview, .analyze(["a"]), .pause(.seconds(30)), .weight(100), .analyze(["b"]),
            ])
        #expect(RolloutPlan.gates(spec) == 2)
        let gradual = try ruleSettings("{ strategy: blue_green, switch_strategy: gradual, switch_interval: 10s }")
        let pause = RolloutPlan.Stage.pause(.seconds(10))
        #expect(
            RolloutPlan(gradual, isDirect: false).stages == [
                .preview, .weight(25), pause, .weight(50), pause, .weight(75), pause,
            ])
    }

    @Test func `a preview may be smaller, and the switch waits for all copies`() throws {
        let yaml = "{ strategy: blue_green, preview: { replicas: 1 }, auto_promote: false }"
        let old = revision(1, ready: 4)
        check(try ruleView(yaml, replicas: 4, old: old), [.start(revision: 2, count: 1)])
        check(try ruleView(yaml, replicas: 4, new: revision(2, ready: 1), old: old), [.next])
        check(try ruleView(yaml, replicas: 4, step: 1, new: revision(2, ready: 1), old: old), [])
        let late = try ruleView(yaml, replicas: 4, step: 2, new: revision(2, ready: 1), old: old) { _, rollout in
            rollout.shortAt = ruleZero
        }
        check(late, [.start(revision: 2, count: 3)])
    }

    @Test func `while the checks after the switch run, the old copies stay, however long that takes`() throws {
        let yaml =
            "{ strategy: blue_green, after_promotion: [errors], analysis: { errors: { built_in: error_rate } } }"
        let view = try ruleView(yaml, step: 2, weight: 100, new: revision(2, ready: 2)) { view, rollout in
            rollout.switchedAt = ruleZero
            view.analyses = [analysis(.running, step: 2)]
        }
        check(view, at: 9999, [])
    }

    // MARK: - Rolling

    @Test(arguments: [
        ("1", "0", 5, 4), ("25%", "25%", 5, 3), ("0", "1", 4, 3), ("100%", "0", 8, 4), ("0", "25%", 4, 3),
    ])
    func `rolling keeps within surge and unavailable`(surge: String, unavailable: String, most: Int, least: Int) throws
    {
        let yaml = "{ strategy: rolling, surge: \(surge), unavailable: \(unavailable) }"
        var (old, new, weight) = (4, 0, 0)
        var seen: [Int] = []
        for _ in 0..<40 {
            let view = try ruleView(
                yaml, replicas: 4, weight: weight, new: revision(2, ready: new), old: revision(1, ready: old)
            ) { _, rollout in rollout.shortAt = new < 4 ? ruleZero : nil }
            let steps = RolloutDecision.decide(view, now: second(1))
            if steps == [.promote] { break }
            for step in steps {
                switch step {
                case .start(_, let count): new += count
                case .stop: old -= 1
                case .weight(let share): weight = share
                default: break
                }
            }
            seen.append(old + new)
            #expect(old + new <= most)
            #expect(old + new >= least)
        }
        #expect(new == 4)
        #expect(weight == 100)
    }

    // MARK: - Abort

    @Test func `an abort of a rolling leaves the new copies what the old ones cannot bear`() throws {
        func aborted(ready: Int, ill: Int = 0, weight: Int) -> RolloutView {
            var view = RolloutView()
            (view.replicas, view.stable) = (4, 1)
            var rollout = RolloutRow(ruleName, number: 2, revision: 2, settings: RolloutSpec(), at: ruleZero)
            (rollout.origin, rollout.weight, rollout.completion, rollout.outcome) = (1, weight, .aborted, .failed)
            (view.rollout, view.leaving) = (rollout, rollout)
            view.revisions = [revision(1, ready: ready, ill: ill), revision(2, ready: 3)]
            return view
        }
        check(aborted(ready: 1, weight: 75), [.start(revision: 1, count: 3)])
        check(aborted(ready: 2, ill: 2, weight: 75), [.retreat(50)])
        check(aborted(ready: 4, weight: 25), [.retreat(0)])
        #expect(aborted(ready: 2, weight: 50).weight(of: 1) == 50)
        #expect(aborted(ready: 2, weight: 50).weight(of: 2) == 50)
    }

    @Test func `stable copies follow the weight only when that was asked for, and once it is in force`() throws {
        let yaml = canary("{ weight: 50 }, { pause: {} }", more: ", dynamic_stable_scale: true")
        func at(_ acknowledgement: Acknowledgement) throws -> RolloutView {
            try ruleView(yaml, replicas: 4, step: 1, weight: 50, new: revision(2, ready: 2), old: revision(1, ready: 4))
            {
                view, _ in view.acknowledgement = acknowledgement
            }
        }
        check(try at(.waiting), [])
        #expect(RolloutDecision.decide(try at(.yes), now: second(1)).count == 2)
        check(
            try ruleView(
                canary("{ weight: 50 }, { pause: {} }"), replicas: 4, step: 1, weight: 50, new: revision(2, ready: 2),
                old: revision(1, ready: 4)), [])
    }

    @Test(arguments: [("30s", 29.0, false), ("30s", 30, true), ("0s", 9999, false)])
    func `copies of an aborted revision are kept for the abort delay, and for good when it is nothing`(
        delay: String, at time: Double, isStopped: Bool
    ) throws {
        var view = RolloutView()
        (view.replicas, view.stable) = (1, 1)
        view.rollback = try RollbackSpec(json: ["abort_delay": .string(delay), "scale_down_delay": "1s"], at: [])
        var rollout = RolloutRow(ruleName, number: 2, revision: 2, settings: RolloutSpec(), at: ruleZero)
        (rollout.origin, rollout.completion) = (1, .aborted)
        view.rollout = rollout
        view.revisions = [revision(1, ready: 1), revision(2, ready: 1, retired: 0)]
        #expect(RolloutDecision.decide(view, now: second(time)).isEmpty == !isStopped)
    }

    @Test func `as many earlier revisions are kept warm as was asked for, none of them a bad one`() throws {
        var view = RolloutView()
        (view.replicas, view.stable) = (1, 4)
        view.rollback.keep_running = 1
        view.revisions = (1...4).map { revision($0, ready: 1, retired: $0 == 4 ? nil : 0) }
        for index in 0..<4 { view.revisions[index].wasStable = true }
        view.revisions[2].isCondemned = true
        let stopped = RolloutDecision.decide(view, now: second(99)).compactMap { step in
            if case .stop(let id, _, _) = step { id.text } else { nil }
        }
        #expect(stopped == ["default/web/1/1", "default/web/3/1"])
    }

    // MARK: - Arms

    @Test(arguments: [(10, 10, 80), (30, 30, 40), (50, 25, 25), (90, 5, 5)])
    func `the baseline has as much as the canary, or half of what is left`(canary: Int, baseline: Int, stable: Int)
        throws
    {
        let yaml = self.canary("{ weight: \(canary) }, { pause: {} }", more: ", baseline: { replicas: 1 }")
        let view = try ruleView(yaml, step: 1, weight: canary, new: revision(2, ready: 2))
        let number = ArmPlan.number(2, 1)
        check(view, [.arm(ArmPlan(number: number, name: "baseline", source: 1, replicas: 1, weight: baseline))])
        #expect([view.weight(of: 2), view.weight(of: number), view.weight(of: 1)] == [canary, baseline, stable])
        #expect(ArmPlan.isOf(2, number))
        #expect(!ArmPlan.isOf(3, number))
    }

    @Test func `an experiment makes its arms, compares them for its time, and ends`() throws {
        let yaml = canary(
            "{ experiment: { for: 60s, analyze: [errors], arms: { old: { from: stable, weight: 5 }, new: { from: canary, weight: 5 } } } }"
        )
        let (old, new) = (ArmPlan.number(2, 10), ArmPlan.number(2, 11))
        let well = revision(2, ready: 1)
        check(
            try ruleView(yaml, new: well),
            [
                .arm(ArmPlan(number: old, name: "old", source: 1, replicas: 1, weight: 5)),
                .arm(ArmPlan(number: new, name: "new", source: 2, replicas: 1, weight: 5)),
            ])
        func at(_ verdict: AnalysisStatus.Verdict?) throws -> RolloutView {
            try ruleView(yaml, new: well) { view, _ in
                view.revisions += [revision(old, ready: 1), revision(new, ready: 1)]
                view.analyses = verdict.map { [analysis($0, step: 0)] } ?? []
            }
        }
        check(try at(nil), [.measure(["errors"], step: 0)])
        check(try at(.running), at: 59, [])
        check(try at(.running), at: 60, [.close(step: 0)])
        check(try at(.passed), at: 60, [.next])
        check(try at(.failed), at: 2, [.abort(reason: "errors failed: it is so")])
    }

    // MARK: - Restart

    @Test func `a restart replaces copies within surge and unavailable`() throws {
        func at(old: Int, fresh: Int, freshReady: Bool = true) -> RolloutView {
            var view = RolloutView()
            (view.replicas, view.stable, view.restartedAt) = (3, 1, second(10))
            var one = revision(1, ready: old + fresh)
            for index in old..<(old + fresh) {
                one.copies[index].orderedAt = second(11)
                one.copies[index].isReady = freshReady
            }
            view.revisions = [one]
            return view
        }
        check(at(old: 3, fresh: 0), at: 12, [.start(revision: 1, count: 1)])
        check(at(old: 3, fresh: 1, freshReady: false), at: 12, [])
        check(
            at(old: 3, fresh: 1), at: 12,
            [.stop(InstanceID("default/web/1/1"), reason: "the service was restarted", isFault: false)])
        check(at(old: 0, fresh: 3), at: 12, [])
    }
}
