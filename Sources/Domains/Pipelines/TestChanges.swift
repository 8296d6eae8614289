import API
import Kernel
import Manifests
import SQL

/// What becomes of tests, each in the transaction under way, with its event.
extension Change {
    /// Writes down what a job's reports say; what was told already is left alone.
    func keep(_ input: TestCasesInput, of job: StoredJob, in stored: StoredRun) throws {
        let run = stored.run
        let spec = job.spec(in: stored.spec)?.reports.flaky ?? FlakySpec()
        let numbers = try run.commit.map { try sql.numbers(of: run.pipeline, project: run.project, commit: $0) }
        // Only where there may be a contradiction is it worth looking for one.
        let mayContradict = input.round > 0 || input.attempt > 1 || (numbers?.count ?? 2) > 1
        var nextID: Int64?
        var told = 0
        for result in input.cases {
            let known = try sql.test(run.project, run.pipeline, suite: result.suite, name: result.name, at: now)
            var test = known ?? StoredTest(id: 0, record: TestRecord())
            if known == nil {
                let id = try nextID ?? sql.nextTestID()
                (nextID, test.id) = (id + 1, id)
                (test.record.pipeline, test.record.suite, test.record.name) = (run.pipeline, result.suite, result.name)
                (test.record.file, test.record.verdict) = (result.file, result.verdict)
                try sql.insert(test, project: run.project)
            }
            let sighting = TestSighting(
                number: run.number, attempt: input.attempt, round: input.round, verdict: result.verdict)
            var isFlaky = false
            if mayContradict, test.record.failures > 0 || result.hasFailed {
                let others = try sql.sightings(of: test.id, job: job.job.key, in: numbers.map { $0 + [run.number] })
                isFlaky = FlakyDecision.isFlaky(sighting, among: others, ofSameCommit: numbers)
            }
            guard try sql.keep(result, of: test.id, sighting, job: job.job.key, isFlaky: isFlaky, at: now) else {
                continue
            }
            try sql.count(result, of: test, number: run.number, isFlaky: isFlaky, at: now)
            if isFlaky, !test.record.is_flaky, told < TestLimits.told {
                told += 1
                try tellTest("test.flaky", test.record, project: run.project, ["run": .string(run.id)])
            }
            if isFlaky, spec.quarantine == .auto, test.record.quarantine == nil {
                var quarantine = TestQuarantine()
                (quarantine.owner, quarantine.is_automatic) = (spec.owner ?? "pipeline:\(run.pipeline)", true)
                quarantine.reason = "it failed and passed on the same code in run \(run.pipeline):\(run.number)"
                (quarantine.since, quarantine.until) = (now, now.advanced(by: spec.expire.duration))
                try put(test, project: run.project, into: quarantine)
            }
        }
        if run.number > TestLimits.runs, run.number % 20 == 0 {
            try sql.forgetResults(project: run.project, pipeline: run.pipeline, upTo: run.number - TestLimits.runs)
        }
    }

    func put(_ test: StoredTest, project: String, into quarantine: TestQuarantine) throws {
        try sql.quarantine(test.id, quarantine)
        try tellTest(
            "test.quarantined", test.record, project: project,
            [
                "owner": .string(quarantine.owner), "reason": quarantine.reason.map(JSONValue.string) ?? .null,
                "until": quarantine.until.json, "is_automatic": .bool(quarantine.is_automatic),
            ])
        ring(QuarantineReconciler.topic)
    }

    func tellTest(_ name: String, _ test: TestRecord, project: String, _ data: Ordered<JSONValue>) throws {
        var all: Ordered<JSONValue> = ["suite": .string(test.suite), "name": .string(test.name)]
        for (key, value) in data { all[key] = value }
        try tell(name, about: Subject(kind: PipelineKind.name, project: project, name: test.pipeline), all)
    }

    /// Tells a lease which tests may fail.
    func addQuarantine(of job: StoredJob, in stored: StoredRun, to lease: inout Lease) throws {
        guard let reports = job.spec(in: stored.spec)?.reports, reports.junit != nil,
            reports.flaky?.quarantine != .never
        else { return }
        lease.quarantined = try sql.quarantined(project: stored.run.project, pipeline: stored.run.pipeline, at: now)
    }
}

extension Leases {
    func testCases(_ input: TestCasesInput, _ call: Call) async throws -> LeaseState {
        guard input.cases.count <= TestCase.batchLimit else {
            throw Problem(
                "tests.count", status: 413, "at most \(TestCase.batchLimit) test cases are told at once",
                hint: "Send them in smaller pieces.")
        }
        let key = JobKey(run: input.run, stage: input.stage, job: input.job)
        let runCall = Call(
            actor: call.actor, correlation: input.run, permission: call.permission, project: call.project)
        return try await context.store.change(runCall) { change in
            let (job, state) = try change.sql.held(key, epoch: input.epoch)
            guard let job, let stored = try change.sql.run(id: key.run) else { return state }
            try change.keep(input, of: job, in: stored)
            return state
        }
    }
}

/// Tells of quarantines whose time is over: from then on the tests' failures count again.
struct QuarantineReconciler: Reconciler {
    static let name = "pipelines-quarantine"
    /// Rings when a quarantine was begun.
    static let topic = "Quarantine"
    static let topics: Set<String> = [topic]
    let context: DomainContext

    /// One key for all of them: there are few, and they lapse one by one.
    func keys() async throws -> [String] { ["all"] }

    func reconcile(_ key: String) async throws -> Next {
        let now = context.time.now
        let lapsed = try await context.store.read { try $0.lapsed(at: now) }
        for id in lapsed {
            try await context.store.change(.system("pipelines")) { change in
                guard let (test, project) = try change.sql.test(id: id, at: change.now) else { return }
                try change.sql.setTold(id)
                try change.tellTest(
                    "test.quarantine-expired", test.record, project: project,
                    ["owner": (test.record.quarantine?.owner).map(JSONValue.string) ?? .null])
            }
        }
        guard let next = try await context.store.read({ try $0.nextLapse() }) else { return .settled }
        return next <= now ? .now : .again(in: next.since(now))
    }
}
