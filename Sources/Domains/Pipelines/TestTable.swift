import API
import Kernel
import Manifests
import SQL

/// A test as it is stored.
struct StoredTest: Sendable {
    var id: Int64
    var record: TestRecord
    var lastFlakyAt: Timestamp?
}

/// What one run says about one test.
struct TestSighting: Sendable, Equatable {
    var number: Int
    var attempt: Int
    var round: Int
    var verdict: TestCase.Verdict
    var hasFailed: Bool { verdict == .failed || verdict == .broken }
}

extension Tables {
    /// Tests of pipelines, what runs told of them, and which are in quarantine.
    static let tests = Migration(
        id: "pipelines-logs-1",
        statements: [
            """
            CREATE TABLE pipelines_test (
                id BIGINT PRIMARY KEY, project TEXT NOT NULL, pipeline TEXT NOT NULL, suite TEXT NOT NULL,
                name TEXT NOT NULL, file TEXT, verdict TEXT NOT NULL, last_number BIGINT NOT NULL, last_at BIGINT NOT NULL,
                runs BIGINT NOT NULL, failures BIGINT NOT NULL, flakes BIGINT NOT NULL, flaky_at BIGINT,
                total_ms BIGINT NOT NULL, UNIQUE (project, pipeline, suite, name))
            """,
            """
            CREATE TABLE pipelines_test_result (
                test BIGINT NOT NULL, number BIGINT NOT NULL, job TEXT NOT NULL, attempt BIGINT NOT NULL,
                round BIGINT NOT NULL, verdict TEXT NOT NULL, flaky BIGINT NOT NULL, ms BIGINT NOT NULL, message TEXT,
                told_at BIGINT NOT NULL, PRIMARY KEY (test, number, job, attempt, round))
            """,
            """
            CREATE TABLE pipelines_quarantine (
                test BIGINT PRIMARY KEY, owner TEXT NOT NULL, reason TEXT, automatic BIGINT NOT NULL, since BIGINT NOT NULL,
                until BIGINT NOT NULL, told BIGINT NOT NULL)
            """,
        ])
}

/// Rows of tests.
extension Connection {
    private static var columns: Statement {
        """
        SELECT test.*, q.owner, q.reason, q.automatic, q.since, q.until FROM pipelines_test test
        LEFT JOIN pipelines_quarantine q ON q.test = test.id
        """
    }

    func test(_ project: String, _ pipeline: String, suite: String, name: String, at now: Timestamp) throws
        -> StoredTest?
    {
        try row(
            """
            \(Self.columns) WHERE test.project = \(project) AND test.pipeline = \(pipeline) AND test.suite = \(suite)
                AND test.name = \(name)
            """
        ).map { try StoredTest(row: $0, at: now) }
    }

    /// Tests called so: by "suite.name", or by the name alone.
    func tests(_ project: String, _ pipeline: String, called name: String, at now: Timestamp) throws -> [StoredTest] {
        try rows(
            """
            \(Self.columns) WHERE test.project = \(project) AND test.pipeline = \(pipeline)
                AND (test.name = \(name) OR test.suite || '.' || test.name = \(name)) ORDER BY test.suite, test.id
            """
        ).map { try StoredTest(row: $0, at: now) }
    }

    func tests(_ query: TestQuery, at now: Timestamp) throws -> [StoredTest] {
        var conditions: [Statement] = ["test.project = \(query.project)", "test.pipeline = \(query.pipeline)"]
        if query.flaky {
            conditions.append("test.flaky_at > \(now.advanced(by: .zero - TestLimits.memory).microseconds)")
        }
        if query.quarantined { conditions.append("q.test IS NOT NULL") }
        if query.failing { conditions.append("test.verdict IN ('failed', 'broken')") }
        if let after = query.after.flatMap({ Int64($0) }) { conditions.append("test.id > \(after)") }
        return try rows(
            "\(Self.columns) WHERE \(conditions.joined(separator: " AND ")) ORDER BY test.id LIMIT \(query.limit)"
        ).map { try StoredTest(row: $0, at: now) }
    }

    func nextTestID() throws -> Int64 { (try value("SELECT coalesce(max(id), 0) FROM pipelines_test") ?? 0) + 1 }

    func insert(_ test: StoredTest, project: String) throws {
        let record = test.record
        try run(
            """
            INSERT INTO pipelines_test (id, project, pipeline, suite, name, file, verdict, last_number, last_at, runs,
                failures, flakes, flaky_at, total_ms)
            VALUES (\(test.id), \(project), \(record.pipeline), \(record.suite), \(record.name), \(record.file.sqlValue),
                \(record.verdict.rawValue), 0, 0, 0, 0, 0, NULL, 0)
            """)
    }

    /// Counts one result; `flaky` when it contradicts another on the same code.
    func count(_ result: TestCase, of test: StoredTest, number: Int, isFlaky: Bool, at now: Timestamp) throws {
        try run(
            """
            UPDATE pipelines_test SET file = \(result.file.sqlValue), verdict = \(result.verdict.rawValue),
                last_number = \(number), last_at = \(now.microseconds), runs = runs + 1,
                failures = failures + \(result.hasFailed ? 1 : 0), flakes = flakes + \(isFlaky ? 1 : 0),
                total_ms = total_ms + \(Int64(result.seconds * 1000)) WHERE id = \(test.id)
            """)
        if isFlaky { try run("UPDATE pipelines_test SET flaky_at = \(now.microseconds) WHERE id = \(test.id)") }
    }

    /// Writes a result down; false when it was there already.
    func keep(
        _ result: TestCase, of test: Int64, _ place: TestSighting, job: String, isFlaky: Bool, at now: Timestamp
    ) throws -> Bool {
        let known: Int =
            try value(
                """
                SELECT count(*) FROM pipelines_test_result WHERE test = \(test) AND number = \(place.number)
                    AND job = \(job) AND attempt = \(place.attempt) AND round = \(place.round)
                """) ?? 0
        guard known == 0 else { return false }
        try run(
            """
            INSERT INTO pipelines_test_result (test, number, job, attempt, round, verdict, flaky, ms, message, told_at)
            VALUES (\(test), \(place.number), \(job), \(place.attempt), \(place.round), \(result.verdict.rawValue),
                \(isFlaky), \(Int64(result.seconds * 1000)),
                \((result.hasFailed ? result.message.map { String($0.prefix(TestCase.messageBytes)) } : nil).sqlValue),
                \(now.microseconds))
            """)
        return true
    }

    /// What runs of these numbers, or the latest ones, told of a test in a job; newest first.
    func sightings(of test: Int64, job: String, in numbers: [Int]?) throws -> [TestSighting] {
        let which: Statement = numbers.map { "AND number IN \(list: $0)" } ?? ""
        return try rows(
            """
            SELECT number, attempt, round, verdict FROM pipelines_test_result WHERE test = \(test) AND job = \(job) \(which)
            ORDER BY number DESC, attempt DESC, round DESC LIMIT \(TestLimits.compared)
            """
        ).map {
            TestSighting(
                number: try $0.get("number"), attempt: try $0.get("attempt"), round: try $0.get("round"),
                verdict: try $0.word("verdict"))
        }
    }

    /// Numbers of the latest runs of a commit.
    func numbers(of pipeline: String, project: String, commit: String) throws -> [Int] {
        try rows(
            """
            SELECT number FROM pipelines_run WHERE project = \(project) AND pipeline = \(pipeline)
                AND commit_id = \(commit) ORDER BY number DESC LIMIT \(TestLimits.compared)
            """
        ).map { try $0.get(0) }
    }

    func results(of test: StoredTest, project: String, limit: Int) throws -> [TestResult] {
        try rows(
            """
            SELECT result.*, run.id AS run_id, run.commit_id FROM pipelines_test_result result
            LEFT JOIN pipelines_run run ON run.project = \(project) AND run.pipeline = \(test.record.pipeline)
                AND run.number = result.number
            WHERE result.test = \(test.id)
            ORDER BY result.number DESC, result.told_at DESC, result.round DESC LIMIT \(limit)
            """
        ).map { row in
            var result = TestResult()
            result.run = try row.get("run_id", as: String?.self) ?? ""
            result.number = try row.get("number")
            result.job = try row.get("job")
            result.attempt = try row.get("attempt")
            result.round = try row.get("round")
            result.commit = try row.get("commit_id", as: String?.self)
            result.verdict = try row.word("verdict")
            result.is_flaky = try row.get("flaky")
            result.seconds = Double(try row.get("ms", as: Int64.self)) / 1000
            result.message = try row.get("message", as: String?.self)
            result.at = try row.time("told_at")
            return result
        }
    }

    /// Forgets results of runs that are too long ago.
    func forgetResults(project: String, pipeline: String, upTo number: Int) throws {
        try run(
            """
            DELETE FROM pipelines_test_result WHERE number <= \(number) AND test IN
                (SELECT id FROM pipelines_test WHERE project = \(project) AND pipeline = \(pipeline))
            """)
    }

    // MARK: Quarantine

    func quarantine(_ test: Int64, _ quarantine: TestQuarantine) throws {
        try run(
            """
            INSERT INTO pipelines_quarantine (test, owner, reason, automatic, since, until, told)
            VALUES (\(test), \(quarantine.owner), \(quarantine.reason.sqlValue), \(quarantine.is_automatic),
                \(quarantine.since.microseconds), \(quarantine.until.microseconds), 0)
            ON CONFLICT (test) DO UPDATE SET owner = excluded.owner, reason = excluded.reason,
                automatic = excluded.automatic, since = excluded.since, until = excluded.until, told = 0
            """)
    }

    func release(_ test: Int64) throws { try run("DELETE FROM pipelines_quarantine WHERE test = \(test)") }

    /// Tests whose failures do not count now: "suite.name".
    func quarantined(project: String, pipeline: String, at now: Timestamp) throws -> [String] {
        try rows(
            """
            SELECT test.suite, test.name FROM pipelines_quarantine q JOIN pipelines_test test ON test.id = q.test
            WHERE test.project = \(project) AND test.pipeline = \(pipeline) AND q.until > \(now.microseconds)
            ORDER BY test.id
            """
        ).map { TestCase.id(suite: try $0.get(0), name: try $0.get(1)) }
    }

    /// Quarantines whose time is over and of which nobody has been told.
    func lapsed(at now: Timestamp) throws -> [Int64] {
        try rows(
            "SELECT test FROM pipelines_quarantine WHERE told = 0 AND until <= \(now.microseconds) ORDER BY test LIMIT 100"
        ).map { try $0.get(0) }
    }

    /// When the next quarantine ends.
    func nextLapse() throws -> Timestamp? {
        try row("SELECT min(until) AS at FROM pipelines_quarantine WHERE told = 0")?.maybeTime("at")
    }

    func setTold(_ test: Int64) throws { try run("UPDATE pipelines_quarantine SET told = 1 WHERE test = \(test)") }

    func test(id: Int64, at now: Timestamp) throws -> (StoredTest, project: String)? {
        try row("\(Self.columns) WHERE test.id = \(id)").map {
            (try StoredTest(row: $0, at: now), try $0.get("project"))
        }
    }

    func forgetTests(project: String, pipeline: String) throws {
        let all: Statement = "SELECT id FROM pipelines_test WHERE project = \(project) AND pipeline = \(pipeline)"
        try run("DELETE FROM pipelines_test_result WHERE test IN (\(all))")
        try run("DELETE FROM pipelines_quarantine WHERE test IN (\(all))")
        try run("DELETE FROM pipelines_test WHERE project = \(project) AND pipeline = \(pipeline)")
    }
}

extension StoredTest {
    init(row: Row, at now: Timestamp) throws {
        id = try row.get("id")
        record = TestRecord()
        record.pipeline = try row.get("pipeline")
        record.suite = try row.get("suite")
        record.name = try row.get("name")
        record.file = try row.get("file", as: String?.self)
        record.verdict = try row.word("verdict")
        record.last_number = try row.get("last_number")
        record.last_at = try row.time("last_at")
        record.runs = try row.get("runs")
        record.failures = try row.get("failures")
        record.flakes = try row.get("flakes")
        lastFlakyAt = try row.maybeTime("flaky_at")
        record.is_flaky = lastFlakyAt.map { now.since($0) < TestLimits.memory } ?? false
        record.mean_seconds = Double(try row.get("total_ms", as: Int64.self)) / 1000 / Double(max(1, record.runs))
        if let owner = try row.get("owner", as: String?.self) {
            var quarantine = TestQuarantine()
            quarantine.owner = owner
            quarantine.reason = try row.get("reason", as: String?.self)
            quarantine.is_automatic = try row.get("automatic")
            quarantine.since = try row.time("since")
            quarantine.until = try row.time("until")
            quarantine.has_expired = quarantine.until <= now
            record.quarantine = quarantine
        }
    }
}
