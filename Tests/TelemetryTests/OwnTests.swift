import API
import Kernel
import KernelTesting
import Manifests
import Series
import SpanStore
import Testing

@testable import Telemetry

@Suite struct OwnTests {
    @Test func `an event becomes a line with its trace, and is counted`() async throws {
        let room = try await Room.open()
        try await room.house.apply("{ kind: Telemetry, name: a, metrics: { retention: 30d } }")
        let loop = EventLoop(house: room.domain.house)
        var place = EventLoop.Place()
        while try await loop.step(&place) {}
        var search = LogQLQuery()
        (search.query, search.to) = ("{source=\"events\"} | json | event=\"telemetry.created\"", "now")
        room.time.advance(by: .seconds(1))
        let found = try await room.house.call(Logs.search, search)
        #expect(found.lines.count == 1)
        let values = room.house.context.instruments.all().filter { $0.key.name == "vagus_events_total" }
        #expect(values.contains { $0.key.labels == ["name", "telemetry.created"] })
        // Once more tells nothing twice.
        place = EventLoop.Place()
        #expect(try await loop.step(&place) == false)
        #expect(try await room.house.call(Logs.search, search).lines.count == 1)
    }

    @Test func `a request and what it set off are one trace, found by the request's id`() async throws {
        let room = try await Room.open()
        var input = ApplyInput()
        input.documents = [["kind": "Telemetry", "name": "a", "tracing": ["retention": "3d"]]]
        let call = Call(actor: "user:ana", correlation: "req_12345678")
        _ = try await room.house.caller.call(Resources.apply, input, as: call)
        room.house.context.instruments.note(
            Instruments.Request(
                correlation: "req_12345678", operation: "resources.apply", began: room.time.now,
                duration: .milliseconds(3), status: 200))
        let loop = EventLoop(house: room.domain.house)
        var place = EventLoop.Place()
        while try await loop.step(&place) {}
        var name = TraceName()
        name.trace = "req_12345678"
        let found = try await room.house.call(Traces.get, name)
        #expect(found.spans.map(\.name) == ["resources.apply"])
        #expect(found.seconds == 0.003)
        #expect(found.lines.count == 1)
        #expect(found.lines.first?.line.contains("telemetry.created") == true)
    }

    @Test func `a run is a trace of its jobs and steps, found by the run's id`() throws {
        var run = Run()
        (run.id, run.pipeline, run.status) = ("run_01", "shop", .failed)
        (run.started_at, run.finished_at) = (Timestamp(microseconds: 1_000_000), Timestamp(microseconds: 9_000_000))
        var job = Job()
        (job.stage, job.name, job.status, job.attempt) = ("build", "image", .failed, 1)
        (job.started_at, job.finished_at) = (run.started_at, run.finished_at)
        var step = Step()
        (step.name, step.verb, step.status, step.exit_code) = ("compile", "run", .failed, 2)
        (step.started_at, step.finished_at) = (Timestamp(microseconds: 2_000_000), Timestamp(microseconds: 3_000_000))
        job.steps = [step]
        run.jobs = [job]
        let spans = RunSpans(run).all
        #expect(spans.map(\.operation) == ["pipeline shop", "job build/image", "compile"])
        #expect(spans[1].parent == spans[0].id)
        #expect(spans[2].parent == spans[1].id)
        #expect(spans[2].duration == 1_000_000_000)
        #expect(spans.allSatisfy { $0.traceID == TraceNaming.trace("run_01") && $0.status == .error })
        #expect(RunSpans(run).all == spans)
    }

    @Test func `own metrics tell of the process, of requests, of proxies and of the stores`() async throws {
        let room = try await Room.open()
        room.house.context.instruments.count("vagus_http_requests_total", ["code", "200", "operation", "runs.list"])
        var report = CountersInput()
        (report.name, report.epoch) = ("proxy", "1")
        var count = RevisionCount()
        (count.service, count.revision, count.requests, count.errors) = ("default/shop", 3, 10, 1)
        report.revisions = [count]
        count.revision = 2
        report.revisions.append(count)
        room.domain.house.proxies.take(report)
        // Only what has changed: the rest stays as it was told.
        (count.revision, count.requests) = (2, 12)
        (report.revisions, report.whole) = ([count], false)
        room.domain.house.proxies.take(report)
        let answer = try await room.ask(ForeignRequest(method: "GET", path: ""), at: "/metrics")
        let text = String(decoding: answer.bytes, as: UTF8.self)
        #expect(text.contains("vagus_http_requests_total{code=\"200\",operation=\"runs.list\"} 1\n"))
        #expect(
            text.contains(
                "vagus_proxy_requests_total{project=\"default\",proxy=\"proxy\",revision=\"2\",service=\"shop\"} 12\n"
                    + "vagus_proxy_requests_total{project=\"default\",proxy=\"proxy\",revision=\"3\",service=\"shop\"} 10\n"
            ))
        for name in ["process_resident_memory_bytes", "vagus_telemetry_series", "vagus_build_info"] {
            #expect(text.contains(name))
        }
    }

    @Test func `whoever comes when all threads and places are taken is told to come again`() async throws {
        let pool = WorkPool(name: "test", threads: 1, queue: 0)
        let gate = Bell()
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            let (started, release) = (Bell(), Gate())
            tasks.addTask {
                try await pool.run {
                    started.ring()
                    release.wait()
                }
            }
            try await started.wait()
            let problem = await #expect(throws: Problem.self) { try await pool.run {} }
            #expect(problem?.status == 429)
            #expect(pool.load.refused == 1)
            release.open()
            try await tasks.waitForAll()
        }
        try await pool.run { gate.ring() }
        try await gate.wait()
    }

    @Test(arguments: [
        ("0", 0), ("1.5", 1500), ("1970-01-01T00:00:01Z", 1000), ("1970-01-01T01:00:01+01:00", 1000), ("x", nil),
        ("-1", -1000),
    ])
    func `moments are read as Prometheus reads them`(text: String, wanted: Int64?) {
        #expect(TimeText.milliseconds(text) == wanted)
    }

    @Test(arguments: [
        (1.0, "\"1\""), (0.1, "\"0.1\""), (-0.0, "\"-0\""), (1e21, "\"1000000000000000000000\""),
        (.infinity, "\"+Inf\""),
        (.nan, "\"NaN\""), (-123456789.0, "\"-123456789\""), (1e-7, "\"0.0000001\""),
    ])
    func `values are written as Prometheus writes them`(value: Double, wanted: String) {
        var out = JSONOut()
        out.sample(value)
        #expect(String(decoding: out.bytes, as: UTF8.self) == wanted)
    }

    @Test(arguments: [(0, "0"), (1, "0.001"), (1500, "1.5"), (-1500, "-1.5"), (1_700_000_000_123, "1700000000.123")])
    func `times are written as seconds`(milliseconds: Int64, wanted: String) {
        var out = JSONOut()
        out.time(milliseconds)
        #expect(String(decoding: out.bytes, as: UTF8.self) == wanted)
    }
}
