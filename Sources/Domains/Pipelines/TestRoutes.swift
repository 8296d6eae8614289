import API
import Kernel
import Manifests
import SQL

/// Handlers of `Tests.*`.
struct TestRoutes: Sendable {
    let context: DomainContext
    private var store: Store { context.store }

    func add(to routes: inout Routes) {
        let me = self
        routes.on(Tests.list) { input, _ in try await me.list(input) }
        routes.on(Tests.history) { input, _ in try await me.history(input) }
        routes.on(Tests.quarantine) { input, call in try await me.quarantine(input, call) }
        routes.on(Tests.release) { input, call in try await me.release(input, call) }
    }

    private func list(_ query: TestQuery) async throws -> ItemList<TestRecord> {
        let now = context.time.now
        let found = try await store.read { sql in
            let reference = Reference<PipelineKind>(project: query.project, name: query.pipeline)
            guard try sql.resource(PipelineKind.self, reference) != nil else {
                throw Problem.notFound("Pipeline", query.pipeline, project: query.project, list: "get pipelines")
            }
            return try sql.tests(query, at: now)
        }
        return ItemList(found.map(\.record), next: found.count == query.limit ? found.last.map { String($0.id) } : nil)
    }

    private func history(_ query: TestHistoryQuery) async throws -> TestHistory {
        let now = context.time.now
        return try await store.read { sql in
            let test = try sql.theTest(query.test, of: query.pipeline, in: query.project, at: now)
            var history = TestHistory()
            history.test = test.record
            history.results = try sql.results(of: test, project: query.project, limit: query.limit)
            return history
        }
    }

    private func quarantine(_ input: QuarantineInput, _ call: Call) async throws -> TestRecord {
        guard !input.owner.isEmpty, input.owner.utf8.count <= 100 else {
            throw Problem(
                "quarantine.owner", status: 422, "a quarantine has an owner who looks after it",
                hint: "Name one: --owner team:payments.")
        }
        guard input.expire.duration > .zero, input.expire.duration <= TestLimits.quarantine else {
            throw Problem(
                "quarantine.expire", status: 422, "a quarantine ends within a year, not after \(input.expire)",
                hint: "Give --expire 30d; it can be put in again.")
        }
        return try await store.change(call) { change in
            let test = try change.sql.theTest(input.test, of: input.pipeline, in: input.project, at: change.now)
            var quarantine = TestQuarantine()
            (quarantine.owner, quarantine.reason) = (input.owner, input.reason)
            (quarantine.since, quarantine.until) = (change.now, change.now.advanced(by: input.expire.duration))
            try change.put(test, project: input.project, into: quarantine)
            return try change.sql.theTest(input.test, of: input.pipeline, in: input.project, at: change.now).record
        }
    }

    private func release(_ input: TestName, _ call: Call) async throws -> TestRecord {
        try await store.change(call) { change in
            let test = try change.sql.theTest(input.test, of: input.pipeline, in: input.project, at: change.now)
            if test.record.quarantine != nil {
                try change.sql.release(test.id)
                try change.tellTest("test.released", test.record, project: input.project, [:])
            }
            return try change.sql.theTest(input.test, of: input.pipeline, in: input.project, at: change.now).record
        }
    }
}

extension Connection {
    /// The one test called so.
    func theTest(_ name: String, of pipeline: String, in project: String, at now: Timestamp) throws -> StoredTest {
        let found = try tests(project, pipeline, called: name, at: now)
        // The whole name goes before a name that only ends likewise.
        if let exact = found.first(where: { $0.record.id == name }) { return exact }
        guard let first = found.first else {
            throw Problem(
                "test.not-found", status: 404, "pipeline \"\(pipeline)\" has told of no test \"\(name)\"",
                hint: "List them with: vagus tests \(pipeline)")
        }
        guard found.count == 1 else {
            let names = found.prefix(3).map(\.record.id).joined(separator: ", ")
            throw Problem(
                "test.ambiguous", status: 422, "\(found.count) tests are called \"\(name)\"",
                hint: "Name one with its suite: \(names).")
        }
        return first
    }
}
