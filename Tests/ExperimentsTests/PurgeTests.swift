import API
import Blobs
import Kernel
import KernelTesting
import Manifests
import Points
import SQL
import Testing

@testable import Experiments

@Suite struct PurgeTests {
    private typealias Place = TrackingTests.Place

    private func keep(_ path: String, _ bytes: [UInt8], in store: TrackingStore) async throws {
        let now = store.milliseconds
        try await store.write { try $0.keepArtifact(path, Digest(of: bytes), bytes: Int64(bytes.count), at: now) }
    }

    @Test func `a purge takes deleted runs that are old enough, with points and artifacts, and nothing else`()
        async throws
    {
        let place = try await Place()
        let store = try place.domain.tracking.store
        var runs: [String] = []
        for index in 0..<3 {
            let run = try await place.makeRun(Int64(index))
            try await place.log(run, "m", Double(index))
            try await keep("0/\(run)/artifacts/a.txt", [UInt8(index)], in: store)
            runs.append(run)
        }
        try await store.mark(run: runs[0], deleted: true, in: "default")
        place.house.time.advance(by: .seconds(3600))
        try await store.mark(run: runs[1], deleted: true, in: "default")
        let moment = store.milliseconds - 60_000
        let told = try await store.purge(in: "default", before: moment, isDry: true)
        #expect((told.runs, told.artifacts, told.size_bytes) == (1, 1, 1))
        #expect(try await place.ask("GET", "runs/get", ["run_id": .string(runs[0])]).status == 200)
        let gone = try await store.purge(in: "default", before: moment, isDry: false)
        #expect((gone.runs, gone.artifacts, gone.is_dry) == (1, 1, false))
        #expect(try await place.ask("GET", "runs/get", ["run_id": .string(runs[0])]).status == 404)
        for run in runs[1...] {
            #expect(try await place.ask("GET", "runs/get", ["run_id": .string(run)]).status == 200)
        }
        let ids = try runs.map { try #require(RunID($0)) }
        #expect(try await store.points.history(ids[0], "m").isEmpty)
        #expect(try await store.points.history(ids[1], "m").count == 1)
        #expect(try await place.domain.namesOfOwnContent().count == 2)
        #expect(try await store.purge(in: "default", before: moment, isDry: false).runs == 0)
    }

    @Test func `a purge that was cut off between rows and points is finished at the next start`() async throws {
        let first = try await Place()
        let store = try first.domain.tracking.store
        let run = try await first.makeRun()
        try await first.log(run, "m", 1)
        try await store.mark(run: run, deleted: true, in: "default")
        // As if the process had ended right after the rows went.
        let dead = try await store.read { try $0.deadRuns(in: "default", before: Int64.max, after: 0, atMost: 9) }
        try await store.write { sql in for run in dead { try sql.purge(run: run) } }
        let id = try #require(RunID(run))
        #expect(try await store.points.history(id, "m").count == 1)
        await first.house.store.close()
        let second = try await Place(folder: first.house.folder)
        let again = try second.domain.tracking.store
        #expect(try await again.points.history(id, "m").isEmpty)
        #expect(try await again.look { try $0.purgedRuns(atMost: 9) }.isEmpty)
        withExtendedLifetime(first) {}  // whose folder it is
    }

    @Test func `a deleted experiment goes whole, the first one never`() async throws {
        let place = try await Place()
        let store = try place.domain.tracking.store
        let made = try await place.ask("POST", "experiments/create", ["name": "old"])
        let id = try #require(made.json["experiment_id"]?.string)
        let run = try await place.makeRun(experiment: id)
        try await place.log(run, "m", 1)
        _ = try await place.ask("POST", "logged-models", ["experiment_id": .string(id), "name": "lm"])
        for experiment in [id, "0"] {
            let answer = try await place.ask("POST", "experiments/delete", ["experiment_id": .string(experiment)])
            #expect(answer.status == 200)
        }
        let gone = try await store.purge(in: "default", before: store.milliseconds, isDry: false)
        #expect((gone.runs, gone.models, gone.experiments) == (1, 1, ["old"]))
        #expect(try await place.ask("GET", "experiments/get", ["experiment_id": .string(id)]).status == 404)
        #expect(try await place.ask("GET", "experiments/get", ["experiment_id": "0"]).status == 200)
        // Its name is free again.
        #expect(try await place.ask("POST", "experiments/create", ["name": "old"]).status == 200)
    }

    @Test func `a new run is never shown as the one that had its row before`() async throws {
        let place = try await Place()
        let store = try place.domain.tracking.store
        let old = try await place.makeRun()
        _ = try await place.ask("GET", "runs/get", ["run_id": .string(old)])
        try await store.mark(run: old, deleted: true, in: "default")
        _ = try await place.ask("GET", "runs/get", ["run_id": .string(old)])
        _ = try await store.purge(in: "default", before: store.milliseconds, isDry: false)
        let new = try await place.makeRun()
        try await place.log(new, "m", 5)
        let shown = try await place.ask("GET", "runs/get", ["run_id": .string(new)])
        #expect(shown.json["run"]?["info"]?["run_id"]?.string == new)
    }

    @Test func `points whose latest values SQL does not know yet are told to it at the next start`() async throws {
        let first = try await Place()
        let store = try first.domain.tracking.store
        let run = try await first.makeRun()
        try await first.log(run, "m", 1, step: 1)
        _ = try await first.ask("GET", "runs/get", ["run_id": .string(run)])
        // Not read any more: what follows is in the store of points only, part of it in a segment already.
        try await first.log(run, "m", 2, step: 2)
        try await first.log(run, "other", 7, step: 1)
        try await store.points.flush()
        try await first.log(run, "m", 3, step: 3)
        let before: Double? = try await store.look { try $0.value("SELECT max(value) FROM metric") }
        #expect(before == 1)
        await first.house.store.close()
        let second = try await Place(folder: first.house.folder)
        let shown = try await second.ask("GET", "runs/get", ["run_id": .string(run)])
        let metrics = shown.json["run"]?["data"]?["metrics"]?.array ?? []
        #expect(
            Set(metrics.map { "\($0["key"]?.string ?? "") \($0["value"]?.double ?? 0)" }) == ["m 3.0", "other 7.0"])
        withExtendedLifetime(first) {}  // whose folder it is
    }

    @Test func `a run that was deleted is not logged to, however lately it was`() async throws {
        let place = try await Place()
        let run = try await place.makeRun()
        try await place.log(run, "m", 1)
        _ = try await place.ask("POST", "runs/delete", ["run_id": .string(run)])
        let metric: JSONValue = ["run_id": .string(run), "key": "m", "value": 2, "timestamp": 1]
        #expect(try await place.ask("POST", "runs/log-metric", metric).status == 400)
        _ = try await place.ask("POST", "runs/restore", ["run_id": .string(run)])
        #expect(try await place.ask("POST", "runs/log-metric", metric).status == 200)
        _ = try await place.ask("POST", "experiments/delete", ["experiment_id": "0"])
        #expect(try await place.ask("POST", "runs/log-metric", metric).status == 400)
    }
}
