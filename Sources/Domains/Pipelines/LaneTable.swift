import API
import Kernel
import Manifests
import SQL

/// Who stands in which lane. A row says only that somebody does; how far they have come, and so who holds a place, is read
/// from the jobs themselves, so that no place can be left taken by somebody who died.
extension Connection {
    func keep(_ claim: Claim, of stored: StoredRun) throws {
        let run = stored.run
        try self.run(
            """
            INSERT INTO pipelines_claim (run, origin, stage, job, lane, created_at, number, pipeline)
            VALUES (\(run.id), \(claim.origin.rawValue), \(claim.stage), \(claim.job), \(claim.lane),
                \(run.created_at.microseconds), \(run.number), \(run.pipeline))
            ON CONFLICT (run, origin, stage, job) DO NOTHING
            """)
    }

    /// Notes that work has begun under a claim.
    func take(_ claim: Claim, of run: String, at now: Timestamp) throws {
        try self.run(
            """
            UPDATE pipelines_claim SET taken_at = coalesce(taken_at, \(now.microseconds))
            WHERE run = \(run) AND origin = \(claim.origin.rawValue) AND stage = \(claim.stage) AND job = \(claim.job)
            """)
    }

    func laneFacts(for stored: StoredRun) throws -> LaneFacts {
        var facts = LaneFacts()
        guard stored.plan.hasLanes else { return facts }
        facts.claims = try rows("SELECT origin, lane, stage, job FROM pipelines_claim WHERE run = \(stored.run.id)")
            .map(Claim.init(row:))
        for lane in Set(facts.claims.map(\.lane)) {
            facts.units[lane] = try units(in: lane)
            facts.newestTaken[lane] = try newestTaken(in: lane)
        }
        facts.environments = try environmentLanes(of: stored)
        return facts
    }

    /// Lanes of the environments that a run works in, as those are now.
    func environmentLanes(of stored: StoredRun) throws -> [String: ConcurrencySpec] {
        var lanes: [String: ConcurrencySpec] = [:]
        for name in stored.plan.environments {
            let found = try resource(kind: EnvironmentKind.name, project: stored.run.project, name: name)
            if let json = found?.spec["concurrency"] {
                lanes[name] = try ConcurrencySpec(json: json, at: ["concurrency"])
            }
        }
        return lanes
    }

    /// Everybody in a lane whose run is open, oldest first, as far as they have come.
    private func units(in lane: String) throws -> [LaneUnit] {
        try rows(
            """
            SELECT claim.run, claim.origin, claim.lane, claim.stage, claim.job, claim.created_at, claim.number,
                claim.pipeline, run.stopping,
                (SELECT count(*) FROM pipelines_job job WHERE job.run = claim.run AND job.hold = 'gate'
                    AND job.status = 'waiting') AS gated,
                count(job.run) AS jobs,
                sum(CASE WHEN job.ready_at IS NOT NULL THEN 1 ELSE 0 END) AS begun,
                sum(CASE WHEN job.finished_at IS NULL THEN 1 ELSE 0 END) AS left_over,
                sum(CASE WHEN job.ready_at IS NOT NULL AND job.finished_at IS NULL THEN 1 ELSE 0 END) AS busy,
                sum(CASE WHEN job.hold = 'lane' AND job.status = 'waiting' THEN 1 ELSE 0 END) AS arrived,
                sum(CASE WHEN job.stop_as IS NOT NULL AND job.finished_at IS NULL THEN 1 ELSE 0 END) AS ending
            FROM pipelines_claim claim
                JOIN pipelines_run run ON run.id = claim.run
                JOIN pipelines_job job ON job.run = claim.run AND (claim.stage = '' OR job.stage = claim.stage)
                    AND (claim.job = '' OR job.name = claim.job)
            WHERE claim.lane = \(lane) AND run.status IN ('queued', 'running', 'waiting')
            GROUP BY claim.run, claim.origin, claim.lane, claim.stage, claim.job, claim.created_at, claim.number,
                claim.pipeline, run.stopping
            ORDER BY claim.created_at, claim.number, claim.run
            """
        ).compactMap(LaneUnit.init(row:))
    }

    private func newestTaken(in lane: String) throws -> Rival? {
        try row(
            """
            SELECT run, number, pipeline, created_at FROM pipelines_claim
            WHERE lane = \(lane) AND taken_at IS NOT NULL ORDER BY created_at DESC, number DESC LIMIT 1
            """
        ).map(Rival.init(row:))
    }

    /// Open runs that stand in a lane together with this one.
    func neighbours(of run: String) throws -> [String] {
        try rows(
            """
            SELECT DISTINCT other.run FROM pipelines_claim mine
                JOIN pipelines_claim other ON other.lane = mine.lane AND other.run <> mine.run
                JOIN pipelines_run run ON run.id = other.run
            WHERE mine.run = \(run) AND run.status IN ('queued', 'running', 'waiting')
            """
        ).map { try $0.get(0) }
    }

    /// Forgets the claims of a run that has ended, but for those that say who was the newest to take a place.
    func leaveLanes(_ stored: StoredRun) throws {
        let run = stored.run
        for row in try rows("SELECT DISTINCT lane FROM pipelines_claim WHERE run = \(run.id) AND taken_at IS NOT NULL")
        {
            let lane: String = try row.get(0)
            try self.run(
                """
                DELETE FROM pipelines_claim WHERE lane = \(lane) AND created_at < \(run.created_at.microseconds)
                    AND run IN (SELECT id FROM pipelines_run WHERE status NOT IN ('queued', 'running', 'waiting'))
                """)
        }
        try self.run("DELETE FROM pipelines_claim WHERE run = \(run.id) AND taken_at IS NULL")
    }
}

extension Claim {
    init(row: Row) throws {
        let word: String = try row.get("origin")
        guard let known = LaneOrigin(rawValue: word) else {
            throw Problem("lane.origin", status: 500, "a lane has somebody of unknown origin \"\(word)\" in it")
        }
        origin = known
        lane = try row.get("lane")
        stage = try row.get("stage")
        job = try row.get("job")
    }
}

extension Rival {
    init(row: Row) throws {
        run = try row.get("run")
        number = try row.get("number")
        pipeline = try row.get("pipeline")
        createdAt = try row.time("created_at")
    }
}

extension LaneUnit {
    /// Nil when it has ended.
    init?(row: Row) throws {
        rival = try Rival(row: row)
        claim = try Claim(row: row)
        let (begun, left): (Int, Int) = (try row.get("begun"), try row.get("left_over"))
        let isWhole = claim.stage.isEmpty
        // A whole run holds its place until it has ended itself.
        guard left > 0 || isWhole else { return nil }
        isEnding =
            try row.get("stopping", as: String?.self) != nil || (!isWhole && (try row.get("ending", as: Int.self)) > 0)
        if begun > 0 {
            standing = .holding(isIdle: try row.get("busy", as: Int.self) == 0)
        } else if try row.get("arrived", as: Int.self) > 0 {
            standing = .arrived
        } else {
            standing = try row.get("gated", as: Int.self) > 0 ? .gated : .coming
        }
    }
}
